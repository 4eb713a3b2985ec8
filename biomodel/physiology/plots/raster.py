"""Rasters and time courses: what single cells of each station fire before a flashed grating, trial by trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from biomodel.pathway import Pathway
from biomodel.physiology.plots.curves import CELL_INK
from biomodel.physiology.recording import FULL_CONTRAST, MEAN
from biomodel.physiology.screens import PHASES, Screen
from biomodel.stimuli import luminance

#: Trials, seconds that the grating stands, and width in seconds of the bins in which spikes are counted.
TRIALS, SHOWN, BIN = 40, 0.25, 0.01

#: Ink of V1's cells, and of the rate form beside them.
_V1_INK, _RATE_INK = "#5b5f97", "#212121"

#: Stations and cells that are shown before V1.
_BEFORE_V1 = [(station, cell) for station in ("ganglion", "lgn") for cell in ("midget_on", "parasol_on")]


def draw(pathway: Pathway, path: str | Path, workers: int = 1, seed: int = 0) -> None:
    """Draw one PNG page: of each station's cells in the middle of a screen a raster, and below it rates over the trials.

    Gratings of full contrast flash on grey, four phases of each; each cell is shown the one that it answers most at rate
    fidelity, and its time course stands beside that form's. V1's cells are the liveliest simple and complex one.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking".
    path : str or pathlib.Path
    workers : int
        Processes to simulate with.
    seed : int
        Of the noise.
    """
    radius = pathway.parameters.value("bipolar.midget_centre_radius")
    pixels = max(33, pathway.classical_centre(0.8 / radius))
    screen = Screen(pixels + (1 - pixels) % 4, 0.8 / radius)
    # Cycles a centre radius: near the best of parasol cells, and of V1's cells and midgets.
    gratings = [screen.grating(f / radius, PHASES, o) for f in (0.05, 0.15) for o in (0.0, 45.0, 90.0, 135.0)]
    images = MEAN * (1 + FULL_CONTRAST * np.concatenate(gratings))
    settings = {
        "adapt_to": MEAN,
        "duration": SHOWN,
        "window": (0.0, SHOWN),
        "workers": workers,
        "v1_within": 12 / screen.pixels_per_degree,
        "record_within": screen.one_pixel,
    }
    shared = Pathway(pathway.preset).parameters
    same = {name: pathway.parameters.value(name) for name in shared}
    form = Pathway(pathway.preset, parameters=same, lesions=pathway.lesions, dt=pathway.dt, target=pathway.target)
    stimulus = luminance(images, screen.pixels_per_degree)
    rates = form.simulate(stimulus, record="trace", **settings).isel(y=0, x=0, v1_y=0, v1_x=0)
    shown = [*_BEFORE_V1, *(("v1", _liveliest(rates.v1, kind)) for kind in ("simple", "complex"))]
    best = [int(rates[s].sel({f"{s}_channel": cell}).mean("time").values.argmax()) for s, cell in shown]
    flashed = sorted(set(best))
    spikes = pathway.simulate(stimulus.isel(image=flashed), record="spikes", trials=TRIALS, seed=seed, **settings)
    figure = Figure(figsize=(3.0 * len(shown) / 2, 7.6), dpi=110, layout="constrained")
    grid = figure.subplots(4, len(shown) // 2, sharex=True, height_ratios=(1.1, 1, 1.1, 1), squeeze=False)
    for k, (station, cell) in enumerate(shown):
        row, column = divmod(k, len(shown) // 2)
        raster, course = grid[2 * row : 2 * row + 2, column]
        own = spikes[(spikes.station == station) & (spikes.channel == cell) & (spikes.image == flashed.index(best[k]))]
        ink = CELL_INK.get(cell, _V1_INK)
        raster.plot(1000 * own.time, own.trial, "|", color=ink, markersize=2.6, markeredgewidth=0.9)
        raster.set_title(f"{station}, {cell.replace('_', ' ')}", fontsize=9, loc="left")
        raster.set_ylim(-1, TRIALS)
        edges = np.arange(0, SHOWN + BIN / 2, BIN)
        counts = np.histogram(own.time, edges)[0] / (TRIALS * BIN)
        course.stairs(counts, 1000 * edges, color=ink, fill=True, alpha=0.55)
        trace = rates[station].sel({f"{station}_channel": cell}).isel(image=best[k])
        course.plot(1000 * rates.time, trace, color=_RATE_INK, linewidth=1.2)
        course.set_ylim(bottom=0)
        for axes in (raster, course):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
        raster.set_yticks([0, TRIALS])
        if column == 0:
            raster.set_ylabel("trial", fontsize=8)
            course.set_ylabel("rate (Hz)", fontsize=8)
        if row:
            course.set_xlabel("time after the flash (ms)", fontsize=8)
    figure.suptitle(
        f"Bars: spikes of {TRIALS} trials; lines: the same cells at rate fidelity", fontsize=9, x=0.01, ha="left"
    )
    figure.savefig(path, metadata={"Software": None})


def _liveliest(rates: xr.DataArray, kind: str) -> str:
    """The V1 cell of a kind that answers any of the images most."""
    cells = rates.isel(v1_channel=(rates.v1_kind == kind).values)
    return str(cells.v1_channel.values[cells.mean("time").max("image").values.argmax()])
