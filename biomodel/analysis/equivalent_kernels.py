"""Equivalent kernels: the derivatives of a cell's response to the luminance of each pixel, in a given state."""

from __future__ import annotations

import numpy as np
import xarray as xr
from brian2 import Quantity

from biomodel.circuit import v1
from biomodel.circuit.specification import STATIONS
from biomodel.engine.cluster import Workers
from biomodel.pathway import Pathway, check_rates
from biomodel.stimuli import luminance, positive
from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: Relative step of the finite differences.
STEP = 1e-3


def probe(background: float | Quantity, contrast: float, size: int, seed: int) -> np.ndarray:
    """Make the image about which kernels are measured: binary noise, or a uniform field at contrast 0.

    Parameters
    ----------
    background : float or brian2.Quantity
        Mean luminance, cd/m².
    contrast : float
        RMS contrast, 0 to 1.
    size : int
        Pixels along a side, one more than a multiple of 4.
    seed : int

    Returns
    -------
    numpy.ndarray, (size, size), cd/m²

    Raises
    ------
    InputError
        For values out of these ranges.
    """
    level = positive(background, "background", "cd/m²")
    contrast = as_number(contrast, "1", "contrast")
    if not 0 <= contrast <= 1:
        raise InputError(f"contrast must be from 0 to 1, got {contrast:g}")
    if whole_number(size, "size", 5) % 4 != 1:
        raise InputError(f"size must be 5, 9, 13, … (one more than a multiple of 4), got {size}")
    seed = whole_number(seed, "seed", 0)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(size, size))
    return level * (1 + contrast * signs)


#: Pixels between a kernel and the border of the image.
MARGIN = 12


def equivalent_kernels(
    pathway: Pathway,
    background: float | Quantity = 100.0,
    size: int = 33,
    pixels_per_degree: float = 16.0,
    output: str = "v1",
    workers: Workers = 1,
    contrast: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Measure the equivalent kernels of every channel about a uniform field or noise, by finite differences.

    The pathway is adapted to a uniform field of luminance `background`, and the image is that field, or noise with that
    mean. The pupil has the area for the background. One pixel is made brighter, then darker, by a thousandth of the
    background. In a uniform field all cells of one type respond alike, so the response of the cell at u to a change of pixel p
    gives the kernel at p - u; V1 has a column at every second pixel, and four pixels give its whole kernel. V1's cells square
    their input, so that their kernels are 0 in a uniform field. In noise every pixel is changed in turn, and the kernel is that
    of the cell in the middle.

    Parameters
    ----------
    pathway : Pathway
        Of rate fidelity.
    background : float or brian2.Quantity
        Mean luminance, cd/m².
    size : int
        Pixels along a side, one more than a multiple of 4.
    pixels_per_degree : float
    output : str
        The last station.
    workers : int, str or distributed.Client
        Number of processes.
    contrast : float
        RMS contrast of the noise, 0 to 1; 0 is the uniform field.
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.Dataset
        One variable per station, ([channel,] y, x), in the station's unit per cd/m².

    Raises
    ------
    InputError
        For a spiking pathway, and for values out of these ranges.
    """
    check_rates(pathway, "an equivalent kernel")
    one_of(output, STATIONS, "output")
    background = positive(background, "background", "cd/m²")
    pixels_per_degree = positive(pixels_per_degree, "pixels_per_degree", "px/deg")
    if as_number(contrast, "1", "contrast") != 0:
        return _about_noise(
            pathway, probe(background, contrast, size, seed), background, pixels_per_degree, output, workers
        )
    even = np.pad(probe(background, 0.0, size, 0), MARGIN, mode="edge")
    step = STEP * background
    middle = len(even) // 2
    bumps = np.zeros((4, *even.shape))
    for k, (down, right) in enumerate(_PIXELS):
        bumps[k, middle + down, middle + right] = step
    stimulus = luminance(np.concatenate([even + bumps, even - bumps]), pixels_per_degree)
    responses = pathway.simulate(stimulus, adapt_to=background, output=output, workers=workers)
    offsets = np.arange(size) - size // 2
    kernels = {}
    for station in STATIONS[: STATIONS.index(output) + 1]:
        rates = responses[station].values
        slopes = (rates[:4] - rates[4:]) / (2 * step)
        kernel = np.empty((*slopes.shape[1:-2], size, size))
        stride = v1.STRIDE if station == "v1" else 1
        for k, (down, right) in enumerate(_PIXELS):
            # The offsets to cells, for a pixel of this parity.
            rows, columns = (offsets[(offsets + middle + by) % 2 == 0] for by in (down, right))
            at_rows, at_columns = (middle + down - rows), (middle + right - columns)
            if stride == 1 and k == 0:
                rows = columns = offsets
                at_rows = at_columns = middle - offsets
            elif stride == 1:
                continue
            here = slopes[k][..., at_rows[:, None] // stride, at_columns[None, :] // stride]
            kernel[..., (rows + size // 2)[:, None], (columns + size // 2)[None, :]] = here
        kernels[station] = kernel
    return _labelled(kernels, responses, pixels_per_degree)


def _about_noise(
    pathway: Pathway, noise: np.ndarray, background: float, pixels_per_degree: float, output: str, workers: Workers
) -> xr.Dataset:
    """Measure the kernels of the cells in the middle of an image, (y, x) in cd/m²."""
    size, step = len(noise), STEP * background
    bumps = step * np.eye(size**2).reshape(-1, size, size)
    stimulus = luminance(np.concatenate([noise + bumps, noise - bumps]), pixels_per_degree)
    responses = pathway.simulate(stimulus, adapt_to=background, output=output, workers=workers)
    kernels = {}
    for station in STATIONS[: STATIONS.index(output) + 1]:
        middle = size // 2 // (v1.STRIDE if station == "v1" else 1)
        brighter, darker = np.split(responses[station].values[..., middle, middle], 2)
        kernels[station] = ((brighter - darker) / (2 * step)).T.reshape(*brighter.shape[1:], size, size)
    return _labelled(kernels, responses, pixels_per_degree)


def _labelled(kernels: dict[str, np.ndarray], responses: xr.Dataset, pixels_per_degree: float) -> xr.Dataset:
    """Combine kernels, ([channel,] y, x) by station, with the labels of the responses."""
    size = next(iter(kernels.values())).shape[-1]
    degrees = (np.arange(size) - size // 2) / pixels_per_degree
    variables = {
        station: (
            (*(() if kernel.ndim == 2 else (f"{station}_channel",)), "y", "x"),
            kernel,
            {"units": f"{responses[station].units} per cd/m²"},
        )
        for station, kernel in kernels.items()
    }
    channels = {name: c for name, c in responses.coords.items() if c.dims and c.dims[0].endswith("_channel")}
    return xr.Dataset(variables, {"y": degrees, "x": degrees, **channels}, attrs=responses.attrs)


_PIXELS = ((0, 0), (0, 1), (1, 0), (1, 1))
