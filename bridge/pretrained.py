"""The front ends in this package, by preset and fidelity; ``make weights`` fits them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from biomodel.parameters import PRESETS, Parameters
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from bridge.model.front_end import OUTPUTS, FrontEnd

_FOLDER = Path(__file__).parent / "weights"
#: Presets by fidelity, each with the parameters that the fitted pathway changed. With spikes there are fewer types of V1 cells,
#: because every image was simulated 20 times.
SHIPPED: dict[str, dict[str, dict[str, float]]] = {
    "rate": {preset: {} for preset in PRESETS},
    "spiking": {"macaque_parafovea": {"v1.kinds": 16}},
}


def pretrained(preset: str = "macaque_parafovea", fidelity: str = "rate", output: str = "v1") -> FrontEnd:
    """Load a fitted front end that is part of the package.

    Parameters
    ----------
    preset : str
        Preset of the pathway that it was fitted to; only "macaque_parafovea" at spiking fidelity.
    fidelity : {"rate", "spiking"}
        Fidelity of that pathway. Fitted to spikes, it predicts rates over trials and has 16 types of V1 cells.
    output : {"lgn", "v1_input", "v1"}
        The last station.

    Returns
    -------
    FrontEnd
        Its `metadata` holds the data of the fit, the display of its photographs, and its scores on held-out stimuli.

    Raises
    ------
    InputError
        For an unknown preset, fidelity or output, and for weights that are missing, damaged, or fitted to other
        parameters than the preset has now.

    Examples
    --------
    >>> import bridge
    >>> front_end = bridge.pretrained("macaque_parafovea", output="lgn")
    >>> front_end.channels
    ['midget_on', 'midget_off', 'parasol_on', 'parasol_off']
    """
    for name, value, choices in (("fidelity", fidelity, SHIPPED), ("output", output, OUTPUTS)):
        one_of(value, choices, name)
    one_of(preset, SHIPPED[fidelity], f"preset at fidelity {fidelity!r}")
    front_end = FrontEnd.load(_FOLDER / f"{preset}_{fidelity}.safetensors")
    _check_fitted_on(front_end, preset, fidelity)
    return front_end.truncated(output)


def _check_fitted_on(front_end: FrontEnd, preset: str, fidelity: str) -> None:
    """Check that a front end was fitted to the pathway with its present parameters."""
    fitted_on = cast(dict[str, object], front_end.metadata.get("fitted_on", {}))
    digest = Parameters(preset, SHIPPED[fidelity][preset], fidelity).digest
    required = {"preset": preset, "fidelity": fidelity, "lesions": "", "parameters_digest": digest}
    for name, value in required.items():
        if fitted_on.get(name) != value:
            raise InputError(
                f"{name.replace('_', ' ')} of the weights must be {value!r}, got {fitted_on.get(name)!r}: "
                "run `make weights` to fit them again"
            )
