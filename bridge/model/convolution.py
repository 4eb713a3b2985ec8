"""Convolutions with the borders of the simulated stations."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Edge = Literal["replicate", "mirror"]

#: Smallest number of output pixels per block of a banded matrix product.
_SHORTEST = 32


def _padded_index(size: int, reach: int, edge: Edge, device: torch.device) -> Tensor:
    """Index of the pixel at each position of an axis padded by `reach`, which may exceed the size."""
    index = torch.arange(-reach, size + reach, device=device)
    if edge == "replicate":
        return index.clamp(0, size - 1)
    folded = torch.remainder(index, 2 * size)
    return torch.where(folded < size, folded, 2 * size - 1 - folded)


def pad(x: Tensor, reach: int, edge: Edge) -> Tensor:
    """`x` (B, C, H, W) with `reach` more pixels on each side."""
    rows = _padded_index(x.shape[-2], reach, edge, x.device)
    columns = _padded_index(x.shape[-1], reach, edge, x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def separable(x: Tensor, kernel: Tensor, edge: Edge) -> Tensor:
    """Correlate maps (..., H, W) with a kernel (2 · reach + 1,) along both axes, as banded matrix products."""
    maps, reach = x.reshape(-1, *x.shape[-2:]), len(kernel) // 2
    rows, columns = (_matrix(kernel, size, edge) for size in maps.shape[-2:])
    down = [
        torch.bmm(rows[to, of].expand(maps.shape[0], -1, -1), maps[:, of]) for to, of in _blocks(maps.shape[-2], reach)
    ]
    maps = torch.cat(down, dim=-2) if len(down) > 1 else down[0]
    across = [maps[..., of] @ columns[to, of].T for to, of in _blocks(maps.shape[-1], reach)]
    return (torch.cat(across, dim=-1) if len(across) > 1 else across[0]).view(x.shape)


def channelwise(x: Tensor, kernels: Tensor, edge: Edge) -> Tensor:
    """`separable` with one kernel per channel: maps (..., K, H, W), kernels (K, 2 · reach + 1)."""
    each = zip(x.unbind(dim=-3), kernels, strict=True)
    return torch.stack([separable(maps, kernel, edge) for maps, kernel in each], dim=-3)


def gaussians(sigmas: Tensor, reach: int) -> Tensor:
    """Normalised one-dimensional Gaussians, (K, 2 · reach + 1), of standard deviations (K,) in pixels."""
    distance = torch.arange(-reach, reach + 1, device=sigmas.device, dtype=sigmas.dtype)
    weights = torch.exp(-(distance**2) / (2 * sigmas[:, None] ** 2))
    return weights / weights.sum(dim=1, keepdim=True)


def _blocks(size: int, reach: int) -> list[tuple[slice, slice]]:
    """Blocks of an axis, so that only the band of a matrix is multiplied: output pixels, and the input pixels they depend on."""
    length = max(_SHORTEST, reach)
    starts = range(0, max(1, size - length // 2), length)
    ends = [*starts[1:], size]
    return [
        (slice(start, end), slice(max(0, start - reach), min(size, end + reach)))
        for start, end in zip(starts, ends, strict=True)
    ]


def _matrix(kernel: Tensor, size: int, edge: Edge) -> Tensor:
    """Correlation along an axis of `size` pixels as a matrix, (size, size), with the borders folded in."""
    source = _padded_index(size, len(kernel) // 2, edge, kernel.device).unfold(0, len(kernel), 1)
    zeros = torch.zeros(size, size, dtype=kernel.dtype, device=kernel.device)
    return zeros.scatter_add(1, source, kernel.expand(size, -1))
