r"""Linear kernels from stimuli and responses: least squares over all images and cells, which share one kernel.

With the pixels x around every cell (replicated beyond the borders) and the responses r of a channel,

.. math:: k = (\langle \tilde x \tilde x^T \rangle + \lambda I)^{-1} \langle \tilde x \tilde r \rangle ,

where a tilde subtracts the mean. For white noise the first factor is a multiple of the identity, and k is the response-triggered
average (Chichilnisky 2001, eq. 4); for other stimuli it corrects for their correlations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from biomodel.analysis.alignment import arrange, canonical_light, match
from biomodel.stimuli import check_luminance, pixels_per_degree, positive
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number
from bridge.model.convolution import pad

#: Numbers that are unfolded at a time.
_BATCH = 2**24


@dataclass(frozen=True)
class Moments:
    """Means and second moments of the pixels around cells, (n,), and of the cells' responses, (K,).

    Attributes
    ----------
    mean_pixels, mean_response : Tensor, (n,) and (K,)
    gram : Tensor, (n, n)
        Covariance of the pixels, over cells.
    moment : Tensor, (n, K)
        Covariance of pixels and responses.
    shape : tuple of int
        Maps, rows and columns of a kernel; n is their product.
    """

    mean_pixels: Tensor
    mean_response: Tensor
    gram: Tensor
    moment: Tensor
    shape: tuple[int, int, int]

    def kernels(self, ridge: float = 0.0) -> tuple[Tensor, Tensor]:
        """Kernels (K, map, row, column) and offsets (K,); the penalty `ridge` is relative to the mean variance of a pixel.

        Raises
        ------
        InputError
            Where the stimuli do not determine all weights.
        """
        penalty = ridge * float(self.gram.diagonal().mean()) * torch.eye(len(self.gram), dtype=self.gram.dtype)
        try:
            weights = torch.linalg.solve(self.gram + penalty, self.moment)
        except torch.linalg.LinAlgError:
            raise InputError(
                f"ridge must be above 0 where the images do not determine all {len(self.gram)} weights, got {ridge:g}"
            ) from None
        return weights.T.reshape(-1, *self.shape), self.mean_response - self.mean_pixels @ weights


@torch.no_grad()
def moments(maps: Tensor, responses: Tensor, reach: int, stride: int = 1) -> Moments:
    """Moments over all images and cells, in double precision.

    Parameters
    ----------
    maps : Tensor, (image, map, y, x)
    responses : Tensor, (image, K, h, w)
        Responses of cells on every `stride`-th pixel.
    reach : int
        Pixels from a cell, across and down.
    stride : int
    """
    taps = 2 * reach + 1
    shape = (maps.shape[1], taps, taps)
    batch = max(1, _BATCH // (int(np.prod(shape)) * responses[0, 0].numel()))
    # Moments about the overall mean keep their precision where means are large.
    origin = maps.double().mean(dim=(0, 2, 3)).repeat_interleave(taps**2)
    level = responses.double().mean(dim=(0, 2, 3))
    count, total = 0, torch.zeros_like(origin)
    gram = torch.zeros(len(origin), len(origin), dtype=torch.double)
    moment = torch.zeros(len(origin), len(level), dtype=torch.double)
    for some, recorded in zip(maps.split(batch), responses.split(batch), strict=True):
        around = pad(some, reach, "replicate").unfold(2, taps, stride).unfold(3, taps, stride)
        x = around.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2) - origin.to(maps.dtype)
        r = recorded.movedim(1, -1).flatten(0, 2) - level.to(recorded.dtype)
        count += len(x)
        total += x.sum(dim=0).double()
        gram += (x.T @ x).double()
        moment += (x.T @ r).double()
    offset = total / count
    gram = gram / count - torch.outer(offset, offset)
    return Moments(origin + offset, level, gram, moment / count, shape)


def linear_kernels(
    stimulus: xr.DataArray, responses: xr.DataArray, reach: float = 0.5, ridge: float = 0.0
) -> tuple[xr.DataArray, xr.DataArray]:
    """The linear kernel of every channel, by reverse correlation.

    Parameters
    ----------
    stimulus : xarray.DataArray, (image, y, x)
        cd/m².
    responses : xarray.DataArray, (image, channel, y, x)
        Responses of cells on every pixel. Both arrays may be in any order: images and places are matched by the coordinates
        that both have.
    reach : float
        Half-width of the kernels, degrees.
    ridge : float
        Penalty of squared weights, relative to the mean variance of a pixel.

    Returns
    -------
    kernels : xarray.DataArray, (channel, y, x)
        In the responses' unit per cd/m²; correlated with the image, not convolved.
    offsets : xarray.DataArray, (channel,)
        In the responses' unit.

    Raises
    ------
    InputError
        For another shape, values that are not finite, a reach below one pixel, and images that do not determine the kernels.
    """
    stimulus = canonical_light(stimulus)
    check_luminance(stimulus)
    if not isinstance(responses, xr.DataArray):
        raise InputError(f"responses must be an xarray.DataArray, got {type(responses).__name__}")
    others = [d for d in responses.dims if d not in ("image", "y", "x")]
    if len(others) != 1:
        raise InputError(f"responses must have dimensions (image, channel, y, x), got {responses.dims}")
    label = str(others[0])
    responses = match(arrange(responses, ("image", label, "y", "x"), "responses"), stimulus)
    if not np.isfinite(responses.values).all():
        raise InputError("responses must be finite, got NaN or infinity")
    ppd, reach, ridge = pixels_per_degree(stimulus), positive(reach, "reach", "deg"), as_number(ridge, "1", "ridge")
    pixels = round(reach * ppd)
    if pixels < 1:
        raise InputError(f"reach must be at least a pixel, {1 / ppd:g}°, got {reach:g}°")
    light = torch.from_numpy(stimulus.values[:, None].astype(np.float32))
    kernels, offsets = moments(light, torch.from_numpy(responses.values.astype(np.float32)), pixels).kernels(ridge)
    degrees = np.arange(-pixels, pixels + 1) / ppd
    labels = {label: responses[label].values} if label in responses.coords else {}
    return (
        xr.DataArray(kernels[:, 0].numpy(), dims=(label, "y", "x"), coords={"y": degrees, "x": degrees, **labels}),
        xr.DataArray(offsets.numpy(), dims=(label,), coords=labels),
    )
