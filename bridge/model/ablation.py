"""Mechanisms that a front end can be fitted without, under the names of the circuit's lesions."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import nn

from biomodel.utils.errors import InputError

#: A logarithm of nothing.
_NONE = -30.0

#: Of each mechanism, the twin's parameter that is nothing without it.
MECHANISMS = {
    "cone_adaptation": "cone.log_desensitisation",
    "horizontal_feedback": "bipolar.log_feedback",
    "luminance_gain": "bipolar.log_level_gain",
    "contrast_gain": "ganglion.log_contrast_gain",
    "lgn_suppression": "lgn.log_suppression_gain",
    "push_pull": "v1.log_inhibition",
    "normalisation": "v1.normalisation.log_weight",
    "surround_suppression": "v1.surround.log_weight",
    "thalamocortical_depression": "v1.log_release",
}


def take_out(front_end: nn.Module, stations: Collection[str], without: Iterable[str]) -> None:
    """Take mechanisms out of a front end of some stations; their parameters are no longer fitted (they ask for no gradient).

    Raises
    ------
    InputError
        For a name that is unknown, or a mechanism of a station that the front end doesn't have.
    """
    here = [name for name, path in MECHANISMS.items() if path.split(".")[0] in stations]
    for name in without:
        if name not in here:
            raise InputError(f"mechanism {name!r} is not accepted: give some of {', '.join(here)}")
        parameter = front_end.get_parameter(MECHANISMS[name])
        with torch.no_grad():
            parameter.fill_(_NONE)
        parameter.requires_grad_(False)
