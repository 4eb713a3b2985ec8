"""Settings of the identification study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bridge
from biomodel import Pathway
from biomodel.engine import cache
from biomodel.images import PHOTOGRAPHS
from biomodel.utils.checks import whole_number
from biomodel.utils.code import code_digest
from bridge.fit.stimuli import IMAGES
from studies.common import plenoptic_models

#: Circuits that differ from the predicted one: mechanisms lesioned, and factors on parameters.
OTHER_CIRCUITS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "of a circuit without horizontal feedback": (("horizontal_feedback",), {}),
    "of a circuit without contrast gain": (("contrast_gain",), {}),
    "of a circuit with half of the horizontal feedback": ((), {"horizontal.feedback": 0.5}),
}

#: Stations that are fitted alone, predicted by baselines, and compared in kernels; the input of V1 would take hours more.
COMPARED = ("lgn", "v1")

#: States in which kernels are compared: backgrounds, cd/m², and contrasts of noise (V1's cells are silent without noise).
BACKGROUNDS, CONTRASTS = (10.0, 100.0, 1000.0), (0.0, 0.5)

#: Modules of this study that determine the results.
_CODE = ("baselines.py", "run.py", "settings.py")


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes
    ----------
    pathway : biomodel.Pathway
        The predicted circuit.
    images, seed : int
        Presentations that models are fitted to, and seed of all random choices.
    """

    pathway: Pathway
    images: int = IMAGES
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for a number out of range."""
        whole_number(self.images, "images", len(PHOTOGRAPHS))
        whole_number(self.seed, "seed", 0)

    @property
    def provenance(self) -> dict[str, Any]:
        """What determines the results."""
        here = Path(__file__).parent
        code = [Path(bridge.__file__).parent, Path(plenoptic_models.__file__), *(here / name for name in _CODE)]
        return {
            "parameters": self.pathway.parameters.digest,
            "lesions": list(self.pathway.lesions),
            "dt": self.pathway.dt,
            "images": self.images,
            "seed": self.seed,
            "simulation": cache.simulation_digest(),
            "bridge": code_digest(code),
        }
