"""The equivalent kernel of a unit: how its response changes with the light at each pixel, about a state."""

from __future__ import annotations

import numpy as np
import xarray as xr

from biomodel.circuit import v1
from biomodel.circuit.specification import STATIONS
from biomodel.pathway import Pathway, check_rates
from biomodel.stimuli import luminance, positive
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: Relative step of the finite differences.
STEP = 1e-3


def probe(background: float, contrast: float, size: int, seed: int) -> np.ndarray:
    """Binary noise about which kernels are measured: an even field at contrast 0.

    Parameters
    ----------
    background : float
        Mean luminance, cd/m².
    contrast : float
        RMS contrast, 0 to 1.
    size : int
        Pixels along a side, one more than a multiple of 4.
    seed : int

    Returns
    -------
    numpy.ndarray, (size, size), cd/m²
    """
    level = positive(background, "background", "cd/m²")
    if not 0 <= as_number(contrast, "1", "contrast") <= 1:
        raise InputError(f"contrast = {contrast} is not accepted: give 0 to 1")
    if size < 5 or size % 4 != 1:
        raise InputError(f"size = {size} is not accepted: give 5, 9, 13, …, one more than a multiple of 4")
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(size, size))
    return level * (1 + contrast * signs)


#: Pixels around a kernel that keep the edges away from it.
MARGIN = 12


def equivalent_kernels(
    pathway: Pathway,
    background: float = 100.0,
    size: int = 33,
    pixels_per_degree: float = 16.0,
    output: str = "v1",
    workers: int = 1,
    contrast: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Equivalent kernels of every channel about an even field or about noise, by differences of the simulation.

    The pathway is adapted to an even `background` and looks at it, or at noise of that mean; one pixel gets a thousandth
    of the background more and less light. About an even field cells of one kind are alike everywhere, so what the cell at u
    says of the pixel p is the kernel at p - u; V1 stands on every second pixel, and four pixels show all of its kernel.
    But V1's cells square what drives them, and about an even field their kernels vanish. About noise every pixel is
    changed in turn, and the cell in the middle is asked.

    Parameters
    ----------
    background : float
        cd/m².
    size : int
        Pixels along a side, one more than a multiple of 4.
    pixels_per_degree : float
    output : str
        The last station.
    workers : int
    contrast : float
        RMS contrast of the noise, 0 to 1; 0 is the even field.
    seed : int
        Of the noise.

    Returns
    -------
    xarray.Dataset
        A variable a station: ([channel,] y, x) in the station's unit per cd/m².
    """
    check_rates(pathway, "an equivalent kernel")
    if contrast > 0:
        return _about_noise(
            pathway, probe(background, contrast, size, seed), background, pixels_per_degree, output, workers
        )
    even = np.pad(probe(background, 0.0, size, 0), MARGIN, mode="edge")
    step = STEP * float(background)
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
            # Of a pixel's parity, the offsets at which a cell stands.
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
    pathway: Pathway, noise: np.ndarray, background: float, pixels_per_degree: float, output: str, workers: int
) -> xr.Dataset:
    """Kernels of the cells in the middle of an image, (y, x) in cd/m²."""
    size, step = len(noise), STEP * float(background)
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
    """Kernels by station, ([channel,] y, x), with the labels of the responses that they come from."""
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
