"""Ablations: mechanisms that a front end can be fitted without, named after the lesions of the circuit.

An ablation sets one whole parameter of the front end to zero, so it needs a parameter that belongs to the mechanism alone. A
lesion whose mechanism has none (one element of a shared parameter, for example) is listed in `WITHOUT_ABLATION` instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import nn

from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError

#: Value of a logarithmic parameter that is ablated, in place of the logarithm of 0.
_LOG_ZERO = -30.0
#: The parameter that each ablation sets to zero.
ABLATIONS = {
    "cone_adaptation": "cone.log_desensitisation",
    "horizontal_feedback": "bipolar.log_feedback",
    "luminance_gain": "bipolar.log_level_gain",
    "contrast_gain": "ganglion.log_contrast_gain",
    "remote_suppression": "ganglion.remote_amacrine.log_weight",
    "contrast_adaptation": "ganglion.log_contrast_adaptation",
    "lgn_suppression": "lgn.log_suppression_gain",
    "push_pull": "v1.log_inhibition",
    "normalisation": "v1.normalisation.log_weight",
    "surround_suppression": "v1.log_surround_weight",
    "thalamocortical_depression": "v1_input.log_release",
    "thalamocortical_adaptation": "v1_input.log_contrast_adaptation",
}
#: Lesions of the circuit that a front end has no ablation for.
WITHOUT_ABLATION: frozenset[str] = frozenset()


def available(stations: Collection[str]) -> list[str]:
    """Names of the ablations that concern some of the stations."""
    return [name for name, path in ABLATIONS.items() if path.split(".")[0] in stations]


def check_ablations(names: Collection[str], stations: Collection[str]) -> None:
    """Check names of ablations.

    Raises
    ------
    InputError
        For an unknown name, or a mechanism of a station that is not among `stations`.
    """
    if not isinstance(names, Collection) or isinstance(names, str | bytes):
        raise InputError(f"ablations must be names of mechanisms, got {names!r}")
    for name in names:
        one_of(name, available(stations), "ablations")


def ablate(front_end: nn.Module, names: Iterable[str]) -> None:
    """Set the parameters of mechanisms to zero, and exclude them from the fit (``requires_grad`` is False)."""
    for name in names:
        parameter = front_end.get_parameter(ABLATIONS[name])
        with torch.no_grad():
            parameter.fill_(_LOG_ZERO)
        parameter.requires_grad_(False)
