"""A published model of the relay, recorded as circuits are: a circuit that no front end matches.

Berardino, Ballé, Laparra & Simoncelli 2017 (NeurIPS 30; parameters: Berardino 2018, Table 2), as plenoptic has it (``OnOff``): an
ON and an OFF centre-surround filter of light, divided by a local mean of luminance and then of contrast, through a softplus. It
knows no field adapted to. Its cells stand for the midget class, and the same ones of twice the size for the parasol class.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
import xarray as xr

from biomodel.utils.errors import InputError
from bridge.evaluate.scores import tensor
from bridge.fit.stimuli import StimulusSet

#: Luminance that the model's unit stands for, cd/m²: white on the display that photographs are shown on.
_WHITE = 200.0

#: Pixels along a side of its filters, as its parameters were published with, and about twice as many.
_TAPS, _WIDE_TAPS = 31, 61


def check_installed() -> None:
    """Refuse to begin where the extra ``published`` isn't installed.

    Raises
    ------
    InputError
    """
    if importlib.util.find_spec("plenoptic") is None:
        raise InputError("plenoptic is not installed: pip install 'precortical[published]'")


@torch.no_grad()
def recorded(shown: StimulusSet, gaze: np.ndarray) -> tuple[xr.DataArray, xr.Dataset]:
    """Light and responses of the relay's four channels; `gaze` (image, y, x) is the field that gaze leaves, cd/m².

    Raises
    ------
    InputError
        Where the extra ``published`` isn't installed.
    """
    check_installed()
    from plenoptic.models import OnOff

    midget = OnOff(_TAPS, pretrained=True, cache_filt=True)
    parasol = OnOff(_WIDE_TAPS, pretrained=False, cache_filt=False)
    values = midget.state_dict()
    parasol.load_state_dict({name: 2 * v if name.endswith("std") else v for name, v in values.items()})
    light = tensor(shown.light.values)[:, None] / _WHITE
    rates = torch.cat([midget(light), parasol(light)], dim=1).numpy()
    field = np.where(np.isnan(shown.fields)[:, None, None], gaze, np.nan_to_num(shown.fields)[:, None, None])
    responses = xr.Dataset(
        {"background": (("image", "y", "x"), field), "lgn": (("image", "lgn_channel", "y", "x"), rates)},
        {"lgn_channel": ["midget_on", "midget_off", "parasol_on", "parasol_off"]},
    )
    return shown.light, responses
