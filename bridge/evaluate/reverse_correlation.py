r"""Linear kernels from stimuli and responses: least squares over all images and all cells, which are alike everywhere.

With the maps x around every cell (replicated beyond the edges) and the responses r of a channel,

.. math:: k = (\langle \tilde x \tilde x^T \rangle + \lambda I)^{-1} \langle \tilde x \tilde r \rangle ,

where a tilde takes the mean off. For white noise the first factor is a multiple of the identity, and k is the response-triggered
average (Chichilnisky 2001, eq. 4); it corrects for whatever else the stimulus's pixels have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from biomodel.stimuli import check_luminance, pixels_per_degree
from biomodel.utils.errors import InputError
from bridge.model.convolution import pad

#: Numbers that are unfolded together.
_TOGETHER = 2**24


@dataclass(frozen=True)
class Moments:
    """Means and second moments of what stands around cells, (n,), and of what they answer, (K,).

    Attributes
    ----------
    seen, answered : Tensor, (n,) and (K,)
        Means.
    gram : Tensor, (n, n)
        Of the maps about their mean, over cells.
    moment : Tensor, (n, K)
        Of the maps and the responses about theirs.
    shape : tuple of int
        Maps, rows and columns of a kernel; n is their product.
    """

    seen: Tensor
    answered: Tensor
    gram: Tensor
    moment: Tensor
    shape: tuple[int, int, int]

    def kernels(self, ridge: float = 0.0) -> tuple[Tensor, Tensor]:
        """Kernels, (K, map, row, column), and what is added to what they say, (K,); `ridge` is relative to the mean variance.

        Raises
        ------
        InputError
            Where what was shown does not tell all weights apart.
        """
        penalty = ridge * float(self.gram.diagonal().mean()) * torch.eye(len(self.gram), dtype=self.gram.dtype)
        try:
            found = torch.linalg.solve(self.gram + penalty, self.moment)
        except torch.linalg.LinAlgError:
            raise InputError(
                f"ridge = {ridge:g} is not accepted: what was shown doesn't tell {len(self.gram)} weights apart; "
                "give more images or a ridge above 0"
            ) from None
        return found.T.reshape(-1, *self.shape), self.answered - self.seen @ found


@torch.no_grad()
def moments(maps: Tensor, responses: Tensor, reach: int, stride: int = 1) -> Moments:
    """Moments over all images and cells, in double precision.

    Parameters
    ----------
    maps : Tensor, (image, map, y, x)
    responses : Tensor, (image, K, h, w)
        Of cells on every `stride`-th pixel.
    reach : int
        Pixels from a cell, across and down.
    """
    taps = 2 * reach + 1
    shape = (maps.shape[1], taps, taps)
    together = max(1, _TOGETHER // (int(np.prod(shape)) * responses[0, 0].numel()))
    # About one cell's surroundings, so that little is lost where means are large.
    origin = maps.double().mean(dim=(0, 2, 3)).repeat_interleave(taps**2)
    level = responses.double().mean(dim=(0, 2, 3))
    count, seen = 0, torch.zeros_like(origin)
    gram = torch.zeros(len(origin), len(origin), dtype=torch.double)
    moment = torch.zeros(len(origin), len(level), dtype=torch.double)
    for some, answers in zip(maps.split(together), responses.split(together), strict=True):
        around = pad(some, reach, "replicate").unfold(2, taps, stride).unfold(3, taps, stride)
        x = around.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2) - origin.to(maps.dtype)
        r = answers.movedim(1, -1).flatten(0, 2) - level.to(answers.dtype)
        count += len(x)
        seen += x.sum(dim=0).double()
        gram += (x.T @ x).double()
        moment += (x.T @ r).double()
    offset = seen / count
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
        Of cells on every pixel.
    reach : float
        Degrees from a cell, across and down, to which kernels go.
    ridge : float
        Penalty of square weights, relative to the mean variance of a pixel.

    Returns
    -------
    kernels : xarray.DataArray, (channel, y, x)
        In the responses' unit per cd/m²; correlated with the image, not convolved.
    offsets : xarray.DataArray, (channel,)
        In the responses' unit.

    Raises
    ------
    InputError
        For a stimulus or responses that are not accepted, or not of the same images and pixels.
    """
    check_luminance(stimulus)
    if stimulus.dims != ("image", "y", "x") or responses.ndim != 4 or responses.dims[0] != "image":
        raise InputError(
            f"dimensions {stimulus.dims} and {responses.dims} are not accepted: give (image, y, x) and (image, channel, y, x)"
        )
    if (responses.shape[0], *responses.shape[2:]) != stimulus.shape:
        raise InputError(
            f"responses of shape {responses.shape} to a stimulus of {stimulus.shape} are not accepted: one a pixel"
        )
    if not np.isfinite(responses.values).all():
        raise InputError("the responses hold NaN or infinity: give finite ones")
    ppd = pixels_per_degree(stimulus)
    pixels = round(reach * ppd)
    if pixels < 1:
        raise InputError(f"reach = {reach:g}° is not accepted: give at least a pixel, {1 / ppd:g}°")
    light = torch.from_numpy(stimulus.values[:, None].astype(np.float32))
    found = moments(light, torch.from_numpy(responses.values.astype(np.float32)), pixels)
    kernels, offsets = found.kernels(ridge)
    label = responses.dims[1]
    degrees = np.arange(-pixels, pixels + 1) / ppd
    named = {label: responses[label].values} if label in responses.coords else {}
    return (
        xr.DataArray(kernels[:, 0].numpy(), dims=(label, "y", "x"), coords={"y": degrees, "x": degrees, **named}),
        xr.DataArray(offsets.numpy(), dims=(label,), coords=named),
    )
