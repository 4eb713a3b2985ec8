"""Convolutions with the edges of the simulated stations."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Edge = Literal["replicate", "mirror"]


def padded_index(size: int, reach: int, edge: Edge, device: torch.device) -> Tensor:
    """Which pixel stands at each place of an axis padded by `reach`; any reach, also beyond the image."""
    index = torch.arange(-reach, size + reach, device=device)
    if edge == "replicate":
        return index.clamp(0, size - 1)
    folded = torch.remainder(index, 2 * size)
    return torch.where(folded < size, folded, 2 * size - 1 - folded)


def pad(x: Tensor, reach: int, edge: Edge) -> Tensor:
    """`x` (B, C, H, W) with `reach` more pixels on each side."""
    rows = padded_index(x.shape[-2], reach, edge, x.device)
    columns = padded_index(x.shape[-1], reach, edge, x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def separable(x: Tensor, one_dimensional: Tensor, edge: Edge) -> Tensor:
    """Maps through separable kernels; each axis is one matrix product, whatever the kernels' reach.

    Parameters
    ----------
    x : Tensor, (..., H, W)
    one_dimensional : Tensor, (K, 2 · reach + 1)
        Applied along both axes.

    Returns
    -------
    Tensor, (..., K, H, W)
    """
    rows, columns = (_as_matrix(one_dimensional, size, edge) for size in x.shape[-2:])
    return rows @ (x.unsqueeze(-3) @ columns.mT)


def channelwise(x: Tensor, one_dimensional: Tensor, edge: Edge) -> Tensor:
    """Maps through separable kernels, each channel of (..., K, H, W) through one of its own, (K, 2 · reach + 1)."""
    rows, columns = (_as_matrix(one_dimensional, size, edge) for size in x.shape[-2:])
    return rows @ x @ columns.mT


def _as_matrix(one_dimensional: Tensor, size: int, edge: Edge) -> Tensor:
    """Correlation along an axis of `size` pixels as a matrix, (K, size, size), edges folded in."""
    kernels, taps = one_dimensional.shape
    source = padded_index(size, taps // 2, edge, one_dimensional.device).unfold(0, taps, 1)
    weights = one_dimensional[:, None, :].expand(kernels, size, taps)
    matrix = torch.zeros(kernels, size, size, dtype=weights.dtype, device=weights.device)
    return matrix.scatter_add(2, source.expand(kernels, size, taps), weights)


def gaussians(sigmas: Tensor, reach: int) -> Tensor:
    """Normalised one-dimensional Gaussians, (K, 2 · reach + 1), of standard deviations in pixels, (K,)."""
    distance = torch.arange(-reach, reach + 1, device=sigmas.device, dtype=sigmas.dtype)
    weights = torch.exp(-(distance**2) / (2 * sigmas[:, None] ** 2))
    return weights / weights.sum(dim=1, keepdim=True)
