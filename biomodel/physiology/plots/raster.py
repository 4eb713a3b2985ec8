"""Rasters and time courses: spikes of single cells of each station during a flashed grating, trial by trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from biomodel.circuit.specification import Region
from biomodel.engine.cluster import Workers, check_workers
from biomodel.engine.spike_trains import SpikeTrains
from biomodel.pathway import Pathway
from biomodel.physiology.plots.style import CELL_COLOURS, COLOURS, PUBLISHED, frame, save
from biomodel.physiology.recording import FULL_CONTRAST, MEAN
from biomodel.physiology.screens import PHASES, Screen
from biomodel.stimuli import luminance
from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path

#: Trials; seconds of the flash; width in seconds of the bins in which spikes are counted.
TRIALS, DURATION, BIN = 40, 0.25, 0.01

#: Stations and cells before V1.
_BEFORE_V1 = [(station, cell) for station in ("ganglion", "lgn") for cell in ("midget_on", "parasol_on")]


def draw_rasters(pathway: Pathway, path: str | Path, workers: Workers = 1, seed: int = 0) -> None:
    """Draw one PNG page: for cells of each station in the middle of a screen a raster, with rates over the trials below.

    Gratings of full contrast are flashed on grey at four phases. Each cell is shown the one with its highest response at rate
    fidelity, whose time course is drawn as a line. V1's cells are the most active simple and complex one.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking".
    path : str or pathlib.Path
    workers : int, str or distributed.Client
        Processes to simulate with.
    seed : int
        Seed of the noise.

    Raises
    ------
    InputError
        For a pathway of fidelity "rate".

    Examples
    --------
    It takes minutes for a spiking pathway with V1; one of rates is refused at once.

    >>> from biomodel import InputError, Pathway
    >>> from biomodel.physiology import draw_rasters
    >>> try:
    ...     draw_rasters(Pathway(), "rasters.png")
    ... except InputError as error:
    ...     print(error)
    fidelity must be 'spiking', got 'rate'
    """
    if pathway.fidelity != "spiking":
        raise InputError(f"fidelity must be 'spiking', got {pathway.fidelity!r}")
    path, workers, seed = local_path(path), check_workers(workers), whole_number(seed, "seed", 0)
    rates, spikes, cells = _simulate(pathway, workers, seed)
    columns = len(cells) // 2
    figure = Figure(figsize=(3.0 * columns, 7.6), dpi=110, layout="constrained")
    grid = figure.subplots(4, columns, sharex=True, height_ratios=(1.1, 1, 1.1, 1), squeeze=False)
    images = sorted({image for *_, image in cells})
    edges = np.arange(0, DURATION + BIN / 2, BIN)
    for k, (station, cell, image) in enumerate(cells):
        row, column = divmod(k, columns)
        raster, course = grid[2 * row : 2 * row + 2, column]
        shown = spikes.image == images.index(image)
        own = spikes[(spikes.station == station) & (spikes.channel == cell) & shown]
        colour = CELL_COLOURS.get(cell, COLOURS[-1])
        raster.plot(1000 * own.time, own.trial, "|", color=colour, markersize=2.6, markeredgewidth=0.9)
        raster.set_title(f"{station}, {cell.replace('_', ' ')}", fontsize=9, loc="left")
        raster.set(ylim=(-1, TRIALS), yticks=[0, TRIALS])
        counts = np.histogram(own.time, edges)[0] / (TRIALS * BIN)
        course.stairs(counts, 1000 * edges, color=colour, fill=True, alpha=0.55)
        trace = rates[station].sel({f"{station}_channel": cell}).isel(image=image)
        course.plot(1000 * rates.time, trace, color=PUBLISHED, linewidth=1.2)
        course.set_ylim(bottom=0)
        for axes in (raster, course):
            frame(axes)
        if column == 0:
            raster.set_ylabel("trial", fontsize=8)
            course.set_ylabel("rate (Hz)", fontsize=8)
        if row:
            course.set_xlabel("time after the flash (ms)", fontsize=8)
    caption = f"Bars: spikes of {TRIALS} trials; lines: the same cells at rate fidelity"
    figure.suptitle(caption, fontsize=9, x=0.01, ha="left")
    save(figure, path)


def _simulate(
    pathway: Pathway, workers: Workers, seed: int
) -> tuple[xr.Dataset, SpikeTrains, list[tuple[str, str, int]]]:
    """Traces of rates, spikes, and the cells to draw: station, channel, and the index of the best image."""
    radius = pathway.parameters.value("bipolar.midget_centre_radius")
    pixels = max(33, pathway.classical_centre(0.8 / radius))
    screen = Screen(pixels + (1 - pixels) % 4, 0.8 / radius)
    # Cycles a centre radius: near the best of parasol cells, and of V1's cells and midgets.
    gratings = [screen.grating(f / radius, PHASES, o) for f in (0.05, 0.15) for o in (0.0, 45.0, 90.0, 135.0)]
    stimulus = luminance(MEAN * (1 + FULL_CONTRAST * np.concatenate(gratings)), screen.pixels_per_degree)
    settings: dict[str, Any] = {
        "adapt_to": MEAN,
        "duration": DURATION,
        "window": (0.0, DURATION),
        "workers": workers,
        "region": Region(screen.one_pixel, 12 / screen.pixels_per_degree),
    }
    rates = pathway.replace(fidelity="rate").simulate(stimulus, record="trace", **settings)
    rates = rates.isel(y=0, x=0, v1_y=0, v1_x=0)
    names = [*_BEFORE_V1, *(("v1", _most_active(rates.v1, cell_class)) for cell_class in ("simple", "complex"))]
    means = [rates[station].sel({f"{station}_channel": cell}).mean("time").values for station, cell in names]
    cells = [(station, cell, int(mean.argmax())) for (station, cell), mean in zip(names, means, strict=True)]
    images = sorted({image for *_, image in cells})
    spikes = pathway.simulate(stimulus.isel(image=images), record="spikes", trials=TRIALS, seed=seed, **settings)
    return rates, spikes, cells


def _most_active(rates: xr.DataArray, cell_class: str) -> str:
    """The V1 cell of a class with the highest response to any of the images."""
    cells = rates.isel(v1_channel=(rates.v1_kind == cell_class).values)
    return str(cells.v1_channel.values[cells.mean("time").max("image").values.argmax()])
