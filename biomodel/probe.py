"""The equivalent kernel of a unit: how its response changes with the light at each pixel, about a state."""

from __future__ import annotations

import numpy as np
import xarray as xr

from biomodel.circuit import STATIONS
from biomodel.pathway import Pathway
from biomodel.stimuli import luminance, positive
from biomodel.units import as_number

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
        raise ValueError(f"contrast = {contrast} is not accepted: give 0 to 1")
    if size < 5 or size % 4 != 1:
        raise ValueError(f"size = {size} is not accepted: give 5, 9, 13, …, one more than a multiple of 4")
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(size, size))
    return level * (1 + contrast * signs)


def equivalent_kernels(
    pathway: Pathway,
    background: float = 100.0,
    contrast: float = 0.0,
    size: int = 41,
    pixels_per_degree: float = 16.0,
    until: str = "v1",
    seed: int = 0,
    workers: int = 1,
) -> xr.Dataset:
    """Equivalent kernels of the central unit of every channel, by central differences of the simulation.

    The pathway is adapted to an even `background` and looks at `probe`; each pixel in turn gets a thousandth more and
    less light.

    Returns
    -------
    xarray.Dataset
        A variable a station: ([channel,] y, x) in the station's unit per cd/m².
    """
    image = probe(background, contrast, size, seed)
    step = STEP * float(background)
    bumps = np.eye(size * size).reshape(-1, size, size) * step
    stimulus = luminance(np.concatenate([image + bumps, image - bumps]), pixels_per_degree)
    responses = pathway.simulate(stimulus, adapt_to=background, until=until, workers=workers)
    half = size * size
    kernels = {}
    for station in STATIONS[: STATIONS.index(until) + 1]:
        y, x = ("v1_y", "v1_x") if station == "v1" else ("y", "x")
        central = responses[station].isel({y: responses.sizes[y] // 2, x: responses.sizes[x] // 2})
        slope = (central[:half].values - central[half:].values) / (2 * step)
        labels = () if central.ndim == 1 else (f"{station}_channel",)
        kernels[station] = (
            (*labels, "y", "x"),
            np.moveaxis(slope.reshape(size, size, -1), -1, 0).reshape(*central.shape[1:], size, size),
            {"units": f"{responses[station].units} per cd/m²"},
        )
    channels = {name: c for name, c in responses.coords.items() if c.dims and c.dims[0].endswith("_channel")}
    return xr.Dataset(kernels, {"y": stimulus.y.values, "x": stimulus.x.values, **channels}, attrs=responses.attrs)
