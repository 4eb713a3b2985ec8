"""Published models of early vision from plenoptic: `OnOff` and `LuminanceContrastGainControl`.

Both are of Berardino, Ballé, Laparra & Simoncelli 2017 (NeurIPS 30; parameters: Berardino 2018, Table 2). `OnOff` has an ON and
an OFF centre-surround filter of light, divided by a local mean of luminance and then of contrast, through a softplus. It has no
adaptation field. Its cells represent the midget class, and the same cells of twice the size the parasol class.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
import xarray as xr

from biomodel.utils.errors import InputError
from bridge.evaluate.scores import tensor
from bridge.fit.stimuli import StimulusSet

#: Luminance of the models' unit, cd/m²: white on the display that shows the photographs, and in the studies.
_WHITE = 200.0

#: Pixels along a side of the filters: as published, and about twice as many.
_TAPS, _WIDE_TAPS = 31, 61

#: Images per batch.
_BATCH = 64


def check_installed() -> None:
    """Check that plenoptic is installed.

    Raises
    ------
    InputError
        Without the extra ``published``.
    """
    if importlib.util.find_spec("plenoptic") is None:
        raise InputError("plenoptic is not installed: pip install 'precortical[published]'")


@torch.no_grad()
def record_on_off(stimuli: StimulusSet, gaze: np.ndarray) -> tuple[xr.DataArray, xr.Dataset]:
    """Record the responses of `OnOff` as circuits are recorded; raises InputError without plenoptic.

    Parameters
    ----------
    stimuli : StimulusSet
        Light and adaptation fields.
    gaze : numpy.ndarray, (image, y, x)
        Image blurred by gaze, cd/m², for images without another field.

    Returns
    -------
    light : xarray.DataArray
    responses : xarray.Dataset
        ``lgn`` (image, lgn_channel, y, x), four channels, and ``background``.
    """
    check_installed()
    from plenoptic.models import OnOff

    midget = OnOff(_TAPS, pretrained=True, cache_filt=True)
    parasol = OnOff(_WIDE_TAPS, pretrained=False, cache_filt=False)
    values = midget.state_dict()
    parasol.load_state_dict({name: 2 * v if name.endswith("std") else v for name, v in values.items()})
    light = tensor(stimuli.light.values)[:, None] / _WHITE
    rates = torch.cat([midget(light), parasol(light)], dim=1).numpy()
    field = np.where(np.isnan(stimuli.fields)[:, None, None], gaze, np.nan_to_num(stimuli.fields)[:, None, None])
    responses = xr.Dataset(
        {"background": (("image", "y", "x"), field), "lgn": (("image", "lgn_channel", "y", "x"), rates)},
        {"lgn_channel": ["midget_on", "midget_off", "parasol_on", "parasol_off"]},
    )
    return stimuli.light, responses


@torch.no_grad()
def luminance_contrast_gain(light: np.ndarray) -> np.ndarray:
    """Maps (n, 1, H, W) of `LuminanceContrastGainControl`, of luminance (n, H, W) in cd/m²; needs plenoptic."""
    check_installed()
    from plenoptic.models import LuminanceContrastGainControl

    model = LuminanceContrastGainControl(_TAPS, pretrained=True, cache_filt=True).eval()
    batches = torch.from_numpy(light[:, None] / _WHITE).float().split(_BATCH)
    return torch.cat([model(batch) for batch in batches]).numpy()
