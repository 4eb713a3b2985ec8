"""One picture of a population: receptive fields of V1 cells, their tuning, and its distributions over published ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from biomodel.physiology import distributions, receptive_fields, tuning
from biomodel.physiology.battery import Results
from biomodel.physiology.column import ORIENTATIONS, Column
from biomodel.physiology.plots.curves import BAND
from biomodel.physiology.results import CellValues
from biomodel.physiology.screens import PHASES
from biomodel.utils.errors import InputError

#: Experiments that the picture shows: orientation, frequency, modulation, contrast and size.
SHOWN = (16, 18, 19, 20, 22)

#: Ink of simple and of complex cells, and of what is published.
_INK = {"simple": "#d1495b", "complex": "#00798c"}
_PUBLISHED = "#263238"

#: Share of a class's cells of which a median is drawn.
_MEASURED = 0.6

#: Light that excites is bright, light that inhibits dark.
_FIELD_COLOURS = "gray"

#: Pixels along the side of a receptive field's picture.
_FIELD_PIXELS = 61

#: Of the picture, inches, and of the frame around the receptive fields in it: left, bottom, width, height.
_SIZE = (16.0, 9.0)
_FIELDS = (0.25, 0.55, 5.75, 7.15)

#: Of a panel's title; and the ink of what matters less.
_TITLE: dict[str, Any] = {"fontsize": 11.5, "weight": "bold"}
_QUIET = "#546e7a"

_Draw = Callable[[Axes, "_Population"], None]


@dataclass(frozen=True)
class _Population:
    """What a battery found of the cells of one column."""

    results: Results
    column: Column

    @cached_property
    def counted(self) -> np.ndarray:
        """Indices of the cells that count."""
        return self.column.characterisation.counted

    @cached_property
    def simple(self) -> np.ndarray:
        """(cell,): which of all cells respond as simple cells."""
        return self.column.characterisation.simple

    def classes(self, cells: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Names of the classes, and which of these cells belong to each."""
        return [("simple", self.simple[cells]), ("complex", ~self.simple[cells])]

    def values(self, name: str) -> CellValues:
        """A property by cell, by the name of its published histogram."""
        return next(m.cells[name] for m in self.results.curves.values() if name in m.cells)

    def band(self, key: str) -> tuple[float, float] | None:
        """The published range of a statistic, where it is among the results."""
        rows = [row for row in self.results if row.key == key]
        return (rows[0].low, rows[0].high) if rows and rows[0].low is not None and rows[0].high is not None else None


def shown(results: Results) -> bool:
    """Whether the experiments of the picture were made, on a subject with V1 cells that count."""
    made = set(SHOWN) <= set(results.curves)
    return made and results.column is not None and len(results.column.characterisation.counted) > 0


def draw(results: Results, path: str | Path) -> None:
    """Draw one PNG picture of the cells of the V1 column in the middle of the screen; nothing is simulated.

    Receptive fields are reverse-correlated with the gratings that cells were characterised by (`fields`).

    Parameters
    ----------
    results : Results
        Of the experiments `SHOWN`.
    path : str or pathlib.Path

    Raises
    ------
    InputError
        For results that the picture can't be drawn of; see `shown`.
    """
    if not shown(results) or results.column is None:
        needed = ", ".join(map(str, SHOWN))
        raise InputError(
            f"these results are not accepted: give those of experiments {needed}, of a subject with V1 cells"
        )
    population = _Population(results, results.column)
    figure = Figure(figsize=_SIZE, dpi=150)
    _draw_fields(figure, population)
    panels = GridSpec(3, 3, figure, 0.43, 0.06, 0.985, 0.855, hspace=0.6, wspace=0.36)
    places: list[tuple[_Draw, SubplotSpec]] = [
        (_orientation_tuning, panels[0, 0]),
        (_half_widths, panels[0, 1]),
        (_frequency_tuning, panels[0, 2]),
        (_contrast_responses, panels[1, 0]),
        (_size_tuning, panels[1, 1]),
        (_suppression, panels[1, 2]),
        (_modulation, panels[2, 0]),
    ]
    for function, place in places:
        axes = figure.add_subplot(place)
        function(axes, population)
        _plain(axes)
    _draw_preferences(figure, panels[2, 1:], population)
    _draw_header(figure, population)
    figure.savefig(path, metadata={"Software": None})


def _draw_header(figure: Figure, population: _Population) -> None:
    found = dict(population.classes(population.counted))
    place = population.column.preset.replace("_", " ")
    figure.text(0.25 / 16, 0.975, "A population of simulated V1 cells", fontsize=19, va="top", weight="bold")
    figure.text(0.25 / 16, 0.928, f"{place}, the cells of one cortical column", fontsize=11, va="top", color=_QUIET)
    keys = [
        *(Line2D([], [], color=_INK[name], linewidth=3, label=f"{name}, {found[name].sum()} cells") for name in _INK),
        Line2D([], [], color=_PUBLISHED, linewidth=1.4, label="published histogram"),
        Patch(color=BAND, label="published range of the median"),
    ]
    figure.legend(
        handles=keys,
        loc="upper right",
        bbox_to_anchor=(0.99, 0.985),
        ncols=len(keys),
        fontsize=10.5,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.6,
    )


def _draw_fields(figure: Figure, population: _Population) -> None:
    """A tile a simple cell, from low to high preferred frequency, all of them at one scale."""
    found = population.column.characterisation
    cells = population.counted[population.simple[population.counted]]
    cells = cells[np.argsort(found.best[1][cells], kind="stable")]
    width, height = _SIZE
    left, bottom, across, down = _FIELDS
    figure.text(left / width, (bottom + down + 0.13) / height, "Receptive fields of simple cells", **_TITLE)
    told = "reverse correlation with flashed gratings"
    figure.text((left + across) / width, (bottom + down + 0.13) / height, told, fontsize=9.5, ha="right", color=_QUIET)
    if not len(cells):
        return
    reach = 1 / float(np.median(found.frequencies[found.best[1][cells]]))
    degrees = np.linspace(-reach, reach, _FIELD_PIXELS)
    drawn = receptive_fields.receptive_fields(
        found.rates[..., cells], ORIENTATIONS, found.frequencies, PHASES, degrees, degrees
    )
    columns, side = _tiled(len(cells), across, down)
    for k, field in enumerate(drawn):
        corner = left + k % columns * side, bottom + down - (k // columns + 1) * side
        axes = figure.add_axes((corner[0] / width, corner[1] / height, 0.95 * side / width, 0.95 * side / height))
        axes.imshow(field, cmap=_FIELD_COLOURS, vmin=-1, vmax=1, interpolation="bilinear")
        axes.set_axis_off()
    lowest = bottom + down - (len(cells) - 1) // columns * side - side
    _draw_scale(figure, left, lowest - 0.17, 0.95 * side / (2 * reach))


def _draw_scale(figure: Figure, left: float, bottom: float, inches_per_degree: float) -> None:
    """A bar as long as half a degree, or as one, and what bright and dark mean; places in inches."""
    width, height = _SIZE
    degrees = 0.5 if inches_per_degree > 0.6 else 1.0
    ends = np.array([left, left + degrees * inches_per_degree]) / width
    figure.add_artist(Line2D(ends, [bottom / height] * 2, color=_PUBLISHED, linewidth=2.5, solid_capstyle="butt"))
    told = f"{degrees:g}°     bright: light excites, dark: light inhibits"
    figure.text(ends[1] + 0.08 / width, bottom / height, told, fontsize=9.5, va="center", color=_QUIET)


def _tiled(tiles: int, width: float, height: float) -> tuple[int, float]:
    """Columns of square tiles, and a tile's side, that make the tiles in a frame as large as can be."""
    sides = {columns: min(width / columns, height / np.ceil(tiles / columns)) for columns in range(1, tiles + 1)}
    best = max(sides, key=lambda columns: sides[columns])
    return best, float(sides[best])


def _orientation_tuning(axes: Axes, population: _Population) -> None:
    found = population.column.characterisation
    rows = found.answers[:, found.best[1][population.counted], population.counted].T
    half = len(ORIENTATIONS) // 2
    turned = [np.roll(row, half - int(row.argmax())) for row in rows]
    closed = np.array([[*row, row[0]] for row in turned])
    _curves(axes, np.arange(-half, half + 1) * 15.0, _of_peak(closed), population, population.counted)
    axes.set(title="Orientation tuning", xlabel="orientation − best (°)", ylabel="response / peak")
    axes.set_xticks([-90, -45, 0, 45, 90])


def _half_widths(axes: Axes, population: _Population) -> None:
    found = population.column.characterisation
    curves = [found.answers[:, found.best[1][cell], cell] for cell in population.counted]
    widths = np.array([tuning.half_width(ORIENTATIONS, curve) for curve in curves])
    band = population.band("orientation_half_width")
    _stacked(axes, widths, np.arange(0, 91, 7.5), population, population.counted, band)
    axes.set(title="Tuning width", xlabel="half-width at .707 of the peak (°)", ylabel="cells")
    axes.set_xticks([0, 30, 60, 90])


def _frequency_tuning(axes: Axes, population: _Population) -> None:
    found = population.column.characterisation
    best = found.best[1][population.counted]
    rows = found.answers[found.best[0][population.counted], :, population.counted]
    octaves = np.log2(found.frequencies)
    offsets = np.arange(-2, 2.01, 0.5)
    aligned = [
        np.interp(offsets, octaves - octaves[k], row, left=np.nan, right=np.nan)
        for k, row in zip(best, rows, strict=True)
    ]
    _curves(axes, offsets, _of_peak(np.array(aligned)), population, population.counted)
    axes.set(title="Spatial-frequency tuning", xlabel="octaves from the best frequency", ylabel="response / peak")


def _contrast_responses(axes: Axes, population: _Population) -> None:
    panel, contrasts, evoked = population.column.contrast_series
    _curves(axes, 100 * contrasts, _of_peak(evoked.T), population, panel.cells)
    _logarithmic(axes, (3, 10, 30, 100))
    axes.set(title="Contrast response", xlabel="contrast (%)", ylabel="evoked / peak")


def _size_tuning(axes: Axes, population: _Population) -> None:
    relative = np.geomspace(0.25, 8, 26)
    rows, cells = [], []
    for series in population.column.size_series:
        for cell, evoked in zip(series.panel.cells, series.evoked[-1].T, strict=True):
            across = series.diameters / tuning.summation_field(series.diameters, evoked)
            rows.append(np.interp(np.log(relative), np.log(across), evoked, left=np.nan, right=np.nan))
            cells.append(cell)
    _curves(axes, relative, _of_peak(np.reshape(rows, (-1, len(relative)))), population, np.array(cells, dtype=int))
    _logarithmic(axes, (0.25, 0.5, 1, 2, 4, 8))
    axes.set(title="Size tuning", xlabel="diameter / summation field", ylabel="evoked / peak")


def _suppression(axes: Axes, population: _Population) -> None:
    _beside_published(axes, "surround_suppression_index", population)
    axes.set(title="Surround suppression", xlabel="suppression index", ylabel="share of cells", xlim=(0, 1.2))
    axes.set_xticks([0, 0.4, 0.8, 1.2])


def _modulation(axes: Axes, population: _Population) -> None:
    cells, ratios = population.column.drift_modulation
    _stacked(axes, np.minimum(ratios, 1.999), np.linspace(0, 2, 11), population, cells)
    axes.axvline(1, color=_PUBLISHED, linewidth=0.8, linestyle=":")
    axes.set(title="Simple and complex", xlabel="F1/F0, drifting grating", ylabel="cells")


def _draw_preferences(figure: Figure, place: SubplotSpec, population: _Population) -> None:
    """Preferred orientation and frequency of every cell, the histogram of each in the margins."""
    grid = place.subgridspec(2, 2, hspace=0.1, wspace=0.04, height_ratios=(1, 3), width_ratios=(4, 1))
    axes = figure.add_subplot(grid[1, 0])
    above, beside = figure.add_subplot(grid[0, 0], sharex=axes), figure.add_subplot(grid[1, 1], sharey=axes)
    orientation, frequency = (population.values(name) for name in distributions.BY_CONSTRUCTION)
    for name, chosen in (("complex", ~orientation.simple), ("simple", orientation.simple)):
        x, y = orientation.values[chosen], frequency.values[chosen]
        axes.plot(x, y, "o", color=_INK[name], markersize=4.5, alpha=0.8, markeredgecolor="white", markeredgewidth=0.4)
    axes.set(xlim=(-22.5, 157.5), xlabel="preferred orientation (°)", ylabel="best frequency (c/deg)")
    _logarithmic(axes, (0.25, 0.5, 1, 2, 4, 8, 16, 32), axes.yaxis)
    axes.set_xticks([0, 45, 90, 135])
    axes.set_ylim(*_framed(frequency.values))
    for margin, name in ((above, "preferred_orientation"), (beside, "peak_spatial_frequency")):
        _beside_published(margin, name, population, sideways=margin is beside)
        margin.tick_params(labelbottom=False, labelleft=False, left=False, bottom=False, which="both")
        margin.spines["left" if margin is above else "bottom"].set_visible(False)
    above.set_title("Preferences, drawn from the published histograms")
    for one in (axes, above, beside):
        _plain(one)


def _framed(frequencies: np.ndarray) -> tuple[float, float]:
    """Limits in whole octaves around frequencies."""
    octaves = np.log2(frequencies)
    return 2 ** (np.floor(octaves.min() - 0.2)), 2 ** (np.ceil(octaves.max() + 0.2))


def _beside_published(axes: Axes, name: str, population: _Population, sideways: bool = False) -> None:
    """The share of cells in each bin of a published histogram, and the histogram itself as an outline."""
    values = population.values(name)
    edges, below = distributions.cumulative(name, values, population.column.preset)
    _bars(axes, values, edges, share=True, sideways=sideways)
    outline = axes.stairs(
        np.diff(below), edges, orientation="horizontal" if sideways else "vertical", color=_PUBLISHED, linewidth=1.4
    )
    outline.set_zorder(3)


def _stacked(
    axes: Axes,
    values: np.ndarray,
    edges: np.ndarray,
    population: _Population,
    cells: np.ndarray,
    band: tuple[float, float] | None = None,
) -> None:
    """Numbers of cells by a property; a mark points at the median, over its published range."""
    if band is not None:
        axes.axvspan(*band, color=BAND, linewidth=0)
        axes.plot([np.nanmedian(values)], [0.95], "v", color=_PUBLISHED, transform=axes.get_xaxis_transform())
    _bars(axes, CellValues(values, population.simple[cells]), edges)
    axes.margins(y=0.15)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _bars(axes: Axes, values: CellValues, edges: np.ndarray, share: bool = False, sideways: bool = False) -> None:
    """Simple cells upon complex ones in each bin."""
    total = max(int(np.isfinite(values.values).sum()), 1) if share else 1
    base = np.zeros(len(edges) - 1)
    for name, chosen in (("complex", ~values.simple), ("simple", values.simple)):
        counts = np.histogram(values.values[chosen], edges)[0] / total
        draw_bars = axes.barh if sideways else axes.bar
        where: dict[str, Any] = {"left" if sideways else "bottom": base}
        draw_bars(
            edges[:-1],
            counts,
            np.diff(edges),
            align="edge",
            color=_INK[name],
            edgecolor="white",
            linewidth=0.5,
            **where,
        )
        base = base + counts


def _curves(axes: Axes, x: np.ndarray, rows: np.ndarray, population: _Population, cells: np.ndarray) -> None:
    """A thin line a cell and, for each class, the median as a thick one where most cells were measured."""
    classes = population.classes(cells)
    # Many lines are fainter each, so that the medians stand out.
    alpha = float(np.clip(8 / max(len(cells), 1), 0.1, 0.3))
    for name, chosen in reversed(classes):
        axes.plot(x, rows[chosen].T, color=_INK[name], linewidth=0.7, alpha=alpha)
    for name, chosen in classes:
        if chosen.any():
            measured = np.isfinite(rows[chosen]).mean(axis=0) >= _MEASURED
            median = np.nanmedian(rows[chosen][:, measured], axis=0)
            axes.plot(x[measured], median, color="white", linewidth=4)
            axes.plot(x[measured], median, color=_INK[name], linewidth=2.4)
    axes.set_ylim(min(0.0, float(np.nanmin(rows, initial=0.0))), 1.04)
    axes.set_yticks([0, 0.5, 1])


def _of_peak(rows: np.ndarray) -> np.ndarray:
    """Curves (cell, stimulus) over the highest value of each."""
    return rows / np.maximum(np.nanmax(rows, axis=1, initial=1e-9, keepdims=True), 1e-9)


def _logarithmic(axes: Axes, ticks: tuple[float, ...], axis: Axis | None = None) -> None:
    """A logarithmic axis, the lower one unless another is given, labelled at these values in plain numbers."""
    chosen = axes.xaxis if axis is None else axis
    axes.set(**{"yscale" if chosen is axes.yaxis else "xscale": "log"})
    chosen.set_major_locator(FixedLocator(ticks))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_locator(NullLocator())


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#90a4ae")
    axes.tick_params(labelsize=8.5, length=3, color="#90a4ae")
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    axes.set_title(axes.get_title(), loc="left", pad=9, **_TITLE)
    axes.set_title("", loc="center")
