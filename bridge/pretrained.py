"""Front ends that ship with the package, by preset and fidelity: fitted by ``make weights``, checked when they are loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import cast

from biomodel.parameters import PRESETS, Parameters
from biomodel.utils.errors import InputError
from bridge.model.front_end import OUTPUTS, FrontEnd

_FOLDER = Path(__file__).parent / "weights"

#: Presets of which front ends ship, by fidelity, each with the parameters in which the fitted pathway departs from it. Kinds of
#: V1 cells that spike are few: every image is simulated 20 times.
SHIPPED: dict[str, dict[str, dict[str, float]]] = {
    "rate": {preset: {} for preset in PRESETS},
    "spiking": {"macaque_parafovea": {"v1.kinds": 16}},
}


def path(preset: str, fidelity: str = "rate") -> Path:
    """Where a front end lies, or would."""
    return _FOLDER / f"{preset}_{fidelity}.safetensors"


def pretrained(preset: str = "macaque_parafovea", fidelity: str = "rate", output: str = "v1") -> FrontEnd:
    """A front end that ships with the package; nothing is downloaded.

    Its `metadata` holds what it was fitted on, the display that its photographs were shown on, and its scores on stimuli that it
    never saw.

    Parameters
    ----------
    preset : str
        Of the pathway that it was fitted to; "macaque_parafovea" alone at spiking fidelity.
    fidelity : {"rate", "spiking"}
        Of that pathway. Fitted to spikes, it has 16 kinds of V1 cells, and tells rates over trials.
    output : {"lgn", "v1"}

    Raises
    ------
    InputError
        For an unknown preset, fidelity or output, and for weights that are missing, damaged, or fitted to other
        parameters than the pathway has now.
    """
    _check(fidelity, SHIPPED, "fidelity")
    _check(preset, SHIPPED[fidelity], "preset", f" at fidelity {fidelity!r}")
    _check(output, OUTPUTS, "output")
    return _checked(FrontEnd.load(path(preset, fidelity)), preset, fidelity).ending_at(output)


def _check(value: str, accepted: Collection[str], what: str, where: str = "") -> None:
    if value not in accepted:
        raise InputError(f"{what} = {value!r} is not accepted{where}: accepted are {', '.join(accepted)}")


def _checked(front_end: FrontEnd, preset: str, fidelity: str) -> FrontEnd:
    """Refuse a front end that was not fitted to this pathway as it is now."""
    fitted_on = cast(dict[str, object], front_end.metadata.get("fitted_on", {}))
    digest = Parameters(preset, SHIPPED[fidelity][preset], fidelity).digest
    now = {"preset": preset, "fidelity": fidelity, "lesions": "", "parameters_digest": digest}
    for name, value in now.items():
        if fitted_on.get(name) != value:
            told = f"{name.replace('_', ' ')} {fitted_on.get(name)!r}"
            raise InputError(f"the weights were fitted to {told}: accepted is {value!r}; `make weights` fits them anew")
    return front_end
