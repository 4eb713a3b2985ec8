"""The lesions of the circuit: mechanisms that can be removed, by name.

To add a lesion, describe it in `_LESIONS` and leave the mechanism out where its station is built (the functions of
`biomodel.circuit.retina`, `lgn`, `v1_input`, `v1` and `spiking` take the names of a circuit's lesions). As an example see
"contrast_gain" in `biomodel.circuit.retina.ganglion`, which the spiking circuit calls too. `precortical physiology --shadow`
(of the retina) and `precortical study luminance --lesions` then remove the new mechanism too, and `precortical fit --evidence`
removes it where the front end has an ablation of it (`bridge.model.ablation`).
"""

from __future__ import annotations

from dataclasses import dataclass

from biomodel.utils.errors import InputError


@dataclass(frozen=True)
class Lesion:
    """One mechanism that can be removed.

    Attributes
    ----------
    name : str
    station : {"retina", "lgn", "v1_input", "v1"}
        Where the mechanism is. Stations before it respond as in the intact circuit.
    removes : str
        The mechanism that is removed.
    leaves : str
        What takes its place. Symbols are those of the station's module.
    """

    name: str
    station: str
    removes: str
    leaves: str


_LESIONS = (
    Lesion(
        "cone_adaptation",
        "retina",
        "adaptation of the cones' gain to light",
        "z at its value for cone.reference_luminance through cone.pupil_area: the cone is linear, with the gain it has there",
    ),
    Lesion(
        "horizontal_feedback",
        "retina",
        "the feedback of horizontal cells to cones, and with it the linear surround",
        "the feedback to each cone at its steady state: the operating point stays, changes of the image don't reach the cones",
    ),
    Lesion(
        "luminance_gain",
        "retina",
        "the luminance gain control of bipolar cells",
        "q at its steady state in a uniform field of cone.reference_luminance through cone.pupil_area",
    ),
    Lesion(
        "contrast_gain",
        "retina",
        "the contrast gain control of parasol ganglion cells",
        "c at 0 in the high-pass filter, its value in a static field",
    ),
    Lesion(
        "remote_suppression",
        "retina",
        "the part of that gain control that contrast far around a place drives",
        "c_r at 0, its value in a static field",
    ),
    Lesion(
        "contrast_adaptation",
        "retina",
        "adaptation of parasol ganglion cells to the contrast of the last seconds",
        "k at 0, its value after an even field",
    ),
    Lesion("lgn_suppression", "lgn", "the suppressive field of relay cells", "s at 0"),
    Lesion("push_pull", "v1", "the inhibitory partners' input to simple cells", "p = 0 (in spiking cells g_I = 0)"),
    Lesion(
        "normalisation", "v1", "divisive normalisation by the pools of inhibitory cells", "n at 0, its value at rest"
    ),
    Lesion("surround_suppression", "v1", "suppression from the surround", "b and B at 0, their values at rest"),
    Lesion(
        "thalamocortical_depression",
        "v1_input",
        "depression of the synapses of relay cells in V1",
        "x at x₀, its value at the maintained rate",
    ),
    Lesion(
        "thalamocortical_adaptation",
        "v1_input",
        "adaptation of the synapses of relay cells in V1 to the contrast of the last seconds",
        "f at 1, its value after an even field",
    ),
)

#: Names of the mechanisms that can be removed.
LESIONS = tuple(lesion.name for lesion in _LESIONS)


def lesions_of(station: str) -> tuple[str, ...]:
    """Names of the lesions of one station: "retina", "lgn", "v1_input" or "v1".

    Raises
    ------
    InputError
        For a station without lesions.
    """
    stations = tuple(dict.fromkeys(lesion.station for lesion in _LESIONS))
    if station not in stations:
        raise InputError(f"station must be one of {', '.join(stations)}, got {station!r}")
    return tuple(lesion.name for lesion in _LESIONS if lesion.station == station)
