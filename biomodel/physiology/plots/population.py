"""A picture of a population: receptive fields of V1 cells, their tuning, and distributions compared with published ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from biomodel.physiology import distributions, measures
from biomodel.physiology.column import ORIENTATIONS, Characterisation, Column
from biomodel.physiology.measures import scale_to_peak
from biomodel.physiology.plots.style import BAND, CLASS_COLOURS, MUTED, PUBLISHED, frame, save, set_log_axis
from biomodel.physiology.receptive_fields import receptive_fields
from biomodel.physiology.results import CellValues, Results
from biomodel.physiology.screens import PHASES
from biomodel.utils.errors import InputError

#: Experiments that the picture needs: orientation, frequency, modulation, contrast and size.
NEEDED = (16, 18, 19, 20, 22)

#: Share of a class's cells with a value, from which a median is drawn.
_MEASURED = 0.6

#: Pixels along the side of a receptive field's picture.
_FIELD_PIXELS = 61

#: Inches: the picture; and of the frame around the receptive fields in it left, bottom, width and height.
_WIDTH, _HEIGHT = 16.0, 9.0
_LEFT, _BOTTOM, _ACROSS, _DOWN = 0.25, 0.55, 5.75, 7.15

#: Of a panel's title; and the colour of its axes.
_TITLE: dict[str, Any] = {"fontsize": 11.5, "weight": "bold"}
_AXES_COLOUR = "#90a4ae"


@dataclass(frozen=True)
class _Population:
    """The results of a battery for the cells of one column."""

    results: Results
    column: Column

    @property
    def found(self) -> Characterisation:
        return self.column.characterisation

    @cached_property
    def responsive(self) -> np.ndarray:
        return self.found.responsive

    def classes(self, cells: np.ndarray) -> dict[str, np.ndarray]:
        """By name of the class, which of these cells belong to it."""
        return {"simple": self.found.simple[cells], "complex": ~self.found.simple[cells]}

    def values(self, name: str) -> CellValues:
        """A property by cell, by the name of its published histogram."""
        return next(m.cells[name] for m in self.results.curves.values() if name in m.cells)

    def band(self, key: str) -> tuple[float, float] | None:
        """The published range of a statistic, if it is among the results."""
        rows = [row for row in self.results if row.key == key]
        return (rows[0].low, rows[0].high) if rows and rows[0].low is not None and rows[0].high is not None else None


def has_population(results: Results) -> bool:
    """Whether `draw_population` can draw results: the experiments it needs, of a subject with responsive V1 cells.

    Parameters
    ----------
    results : Results

    Returns
    -------
    bool

    Examples
    --------
    >>> from biomodel.physiology import Results, has_population
    >>> has_population(Results([], curves={}, seconds={}))
    False
    """
    column = results.column
    return set(NEEDED) <= set(results.curves) and column is not None and len(column.characterisation.responsive) > 0


def draw_population(results: Results, path: str | Path) -> None:
    """Draw one PNG picture of the cells of the V1 column in the middle of the screen, without a simulation.

    Receptive fields are reverse-correlated with the gratings that characterise the cells (`receptive_fields`).

    Parameters
    ----------
    results : Results
        Of the experiments 16, 18, 19, 20 and 22.
    path : str or pathlib.Path

    Raises
    ------
    InputError
        For results that cannot be drawn; see `has_population`.

    Examples
    --------
    The experiments on V1 take minutes; their results are drawn in seconds. Results without them are refused.

    >>> from biomodel import InputError
    >>> from biomodel.physiology import Results, draw_population
    >>> try:
    ...     draw_population(Results([], curves={}, seconds={}), "population.png")
    ... except InputError as error:
    ...     print(error)
    results must be those of experiments 16, 18, 19, 20, 22, of a subject with responsive V1 cells
    """
    if not has_population(results) or results.column is None:
        needed = ", ".join(map(str, NEEDED))
        raise InputError(f"results must be those of experiments {needed}, of a subject with responsive V1 cells")
    population = _Population(results, results.column)
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=150)
    _draw_fields(figure, population)
    panels = GridSpec(3, 3, figure, 0.43, 0.06, 0.985, 0.855, hspace=0.6, wspace=0.36)
    drawn: list[Callable[[Axes, _Population], None]] = [
        _draw_orientation_tuning,
        _draw_half_widths,
        _draw_frequency_tuning,
        _draw_contrast_responses,
        _draw_size_tuning,
        _draw_suppression,
        _draw_modulation,
    ]
    for k, draw in enumerate(drawn):
        axes = figure.add_subplot(panels[divmod(k, 3)])
        draw(axes, population)
        _finish(axes)
    _draw_preferences(figure, panels[2, 1:], population)
    _draw_header(figure, population)
    save(figure, path)


def _text(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Text at a position in inches."""
    figure.text(x / _WIDTH, y / _HEIGHT, text, **style)


def _draw_header(figure: Figure, population: _Population) -> None:
    classes = population.classes(population.responsive)
    preset = population.column.preset.replace("_", " ")
    _text(figure, 0.25, 8.775, "A population of simulated V1 cells", fontsize=19, va="top", weight="bold")
    _text(figure, 0.25, 8.352, f"{preset}, the cells of one cortical column", fontsize=11, va="top", color=MUTED)
    handles = [
        *(
            Line2D([], [], color=CLASS_COLOURS[name], linewidth=3, label=f"{name}, {chosen.sum()} cells")
            for name, chosen in classes.items()
        ),
        Line2D([], [], color=PUBLISHED, linewidth=1.4, label="published histogram"),
        Patch(color=BAND, label="published range of the median"),
    ]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.99, 0.985),
        ncols=len(handles),
        fontsize=10.5,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.6,
    )


def _draw_fields(figure: Figure, population: _Population) -> None:
    """A tile for each simple cell, from low to high preferred frequency, all at one scale."""
    found = population.found
    cells = population.responsive[found.simple[population.responsive]]
    cells = cells[np.argsort(found.best[1][cells], kind="stable")]
    top = _BOTTOM + _DOWN
    _text(figure, _LEFT, top + 0.13, "Receptive fields of simple cells", **_TITLE)
    method = "reverse correlation with flashed gratings"
    _text(figure, _LEFT + _ACROSS, top + 0.13, method, fontsize=9.5, ha="right", color=MUTED)
    if not len(cells):
        return
    reach = 1 / float(np.median(found.frequencies[found.best[1][cells]]))
    degrees = np.linspace(-reach, reach, _FIELD_PIXELS)
    fields = receptive_fields(found.rates[..., cells], ORIENTATIONS, found.frequencies, PHASES, degrees, degrees)
    columns, side = _tile(len(cells), _ACROSS, _DOWN)
    for k, field in enumerate(fields):
        left, bottom = _LEFT + k % columns * side, top - (k // columns + 1) * side
        axes = figure.add_axes((left / _WIDTH, bottom / _HEIGHT, 0.95 * side / _WIDTH, 0.95 * side / _HEIGHT))
        axes.imshow(field, cmap="gray", vmin=-1, vmax=1, interpolation="bilinear")
        axes.set_axis_off()
    lowest = top - (len(cells) - 1) // columns * side - side
    _draw_scale(figure, lowest - 0.17, 0.95 * side / (2 * reach))


def _draw_scale(figure: Figure, bottom: float, inches_per_degree: float) -> None:
    """A scale bar of half a degree, or of one, and the meaning of bright and dark; positions in inches."""
    degrees = 0.5 if inches_per_degree > 0.6 else 1.0
    right = _LEFT + degrees * inches_per_degree
    ends = np.array([_LEFT, right]) / _WIDTH
    figure.add_artist(Line2D(ends, [bottom / _HEIGHT] * 2, color=PUBLISHED, linewidth=2.5, solid_capstyle="butt"))
    meaning = f"{degrees:g}°     bright: light excites, dark: light inhibits"
    _text(figure, right + 0.08, bottom, meaning, fontsize=9.5, va="center", color=MUTED)


def _tile(tiles: int, width: float, height: float) -> tuple[int, float]:
    """Number of columns and side of square tiles that are as large as possible in a frame."""
    sides = {columns: min(width / columns, height / np.ceil(tiles / columns)) for columns in range(1, tiles + 1)}
    best = max(sides, key=lambda columns: sides[columns])
    return best, float(sides[best])


def _draw_orientation_tuning(axes: Axes, population: _Population) -> None:
    half = len(ORIENTATIONS) // 2
    turned = [np.roll(row, half - int(row.argmax())) for row in population.found.orientation_curves]
    closed = np.array([[*row, row[0]] for row in turned])
    _draw_cells(axes, np.arange(-half, half + 1) * 15.0, closed, population, population.responsive)
    axes.set(title="Orientation tuning", xlabel="orientation − best (°)", ylabel="response / peak")
    axes.set_xticks([-90, -45, 0, 45, 90])


def _draw_half_widths(axes: Axes, population: _Population) -> None:
    widths = np.array([measures.half_width(ORIENTATIONS, curve) for curve in population.found.orientation_curves])
    if (band := population.band("orientation_half_width")) is not None:
        axes.axvspan(*band, color=BAND, linewidth=0)
        axes.plot([np.nanmedian(widths)], [0.95], "v", color=PUBLISHED, transform=axes.get_xaxis_transform())
    _draw_counts(axes, widths, np.arange(0, 91, 7.5), population, population.responsive)
    axes.set(title="Tuning width", xlabel="half-width at .707 of the peak (°)", ylabel="cells")
    axes.set_xticks([0, 30, 60, 90])


def _draw_frequency_tuning(axes: Axes, population: _Population) -> None:
    found = population.found
    octaves, offsets = np.log2(found.frequencies), np.arange(-2, 2.01, 0.5)
    best = octaves[found.best[1][population.responsive]]
    each = zip(best, found.frequency_curves, strict=True)
    aligned = [np.interp(offsets, octaves - middle, row, left=np.nan, right=np.nan) for middle, row in each]
    _draw_cells(axes, offsets, np.array(aligned), population, population.responsive)
    axes.set(title="Spatial-frequency tuning", xlabel="octaves from the best frequency", ylabel="response / peak")


def _draw_contrast_responses(axes: Axes, population: _Population) -> None:
    panel, contrasts, evoked = population.column.contrast_series
    _draw_cells(axes, 100 * contrasts, evoked.T, population, panel.cells)
    set_log_axis(axes, ticks=(3, 10, 30, 100))
    axes.set(title="Contrast response", xlabel="contrast (%)", ylabel="evoked / peak")


def _draw_size_tuning(axes: Axes, population: _Population) -> None:
    relative = np.geomspace(0.25, 8, 26)
    rows = []
    for series in population.column.size_series:
        for evoked in series.evoked[-1].T:
            diameters = series.diameters / measures.summation_field(series.diameters, evoked)
            rows.append(np.interp(np.log(relative), np.log(diameters), evoked, left=np.nan, right=np.nan))
    cells = np.concatenate([series.panel.cells for series in population.column.size_series])
    _draw_cells(axes, relative, np.reshape(rows, (-1, len(relative))), population, cells)
    set_log_axis(axes, ticks=(0.25, 0.5, 1, 2, 4, 8))
    axes.set(title="Size tuning", xlabel="diameter / summation field", ylabel="evoked / peak")


def _draw_suppression(axes: Axes, population: _Population) -> None:
    _draw_shares(axes, "surround_suppression_index", population)
    axes.set(title="Surround suppression", xlabel="suppression index", ylabel="share of cells", xlim=(0, 1.2))
    axes.set_xticks([0, 0.4, 0.8, 1.2])


def _draw_modulation(axes: Axes, population: _Population) -> None:
    cells, ratios = population.column.drift_modulation
    _draw_counts(axes, np.minimum(ratios, 1.999), np.linspace(0, 2, 11), population, cells)
    axes.axvline(1, color=PUBLISHED, linewidth=0.8, linestyle=":")
    axes.set(title="Simple and complex", xlabel="F1/F0, drifting grating", ylabel="cells")


def _draw_preferences(figure: Figure, place: SubplotSpec, population: _Population) -> None:
    """Preferred orientation and frequency of every cell, with histograms in the margins."""
    grid = place.subgridspec(2, 2, hspace=0.1, wspace=0.04, height_ratios=(1, 3), width_ratios=(4, 1))
    axes = figure.add_subplot(grid[1, 0])
    above, beside = figure.add_subplot(grid[0, 0], sharex=axes), figure.add_subplot(grid[1, 1], sharey=axes)
    orientation, frequency = (population.values(name) for name in distributions.BY_CONSTRUCTION)
    for name, chosen in (("complex", ~orientation.simple), ("simple", orientation.simple)):
        style: dict[str, Any] = {"markersize": 4.5, "alpha": 0.8, "markeredgecolor": "white", "markeredgewidth": 0.4}
        axes.plot(orientation.values[chosen], frequency.values[chosen], "o", color=CLASS_COLOURS[name], **style)
    axes.set(xlim=(-22.5, 157.5), xlabel="preferred orientation (°)", ylabel="best frequency (c/deg)")
    set_log_axis(axes, "y", (0.25, 0.5, 1, 2, 4, 8, 16, 32))
    axes.set_xticks([0, 45, 90, 135])
    octaves = np.log2(frequency.values)
    axes.set_ylim(2 ** np.floor(octaves.min() - 0.2), 2 ** np.ceil(octaves.max() + 0.2))
    for margin, name in ((above, "preferred_orientation"), (beside, "peak_spatial_frequency")):
        _draw_shares(margin, name, population, sideways=margin is beside)
        margin.tick_params(labelbottom=False, labelleft=False, left=False, bottom=False, which="both")
        margin.spines["left" if margin is above else "bottom"].set_visible(False)
    above.set_title("Preferences, drawn from the published histograms")
    for one in (axes, above, beside):
        _finish(one)


def _draw_shares(axes: Axes, name: str, population: _Population, sideways: bool = False) -> None:
    """The share of cells in each bin of a published histogram, and the histogram itself as an outline."""
    values = population.values(name)
    edges, below = distributions.cumulative_histogram(name, values, population.column.preset)
    _draw_bars(axes, values, edges, max(int(np.isfinite(values.values).sum()), 1), sideways)
    style: dict[str, Any] = {"orientation": "horizontal" if sideways else "vertical", "color": PUBLISHED}
    axes.stairs(np.diff(below), edges, linewidth=1.4, zorder=3, **style)


def _draw_counts(axes: Axes, values: np.ndarray, edges: np.ndarray, population: _Population, cells: np.ndarray) -> None:
    """Numbers of cells by a property."""
    _draw_bars(axes, CellValues(values, population.found.simple[cells]), edges)
    axes.margins(y=0.15)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _draw_bars(axes: Axes, values: CellValues, edges: np.ndarray, total: int = 1, sideways: bool = False) -> None:
    """Simple cells stacked on complex ones in each bin, over a total."""
    base = np.zeros(len(edges) - 1)
    draw, side = (axes.barh, "left") if sideways else (axes.bar, "bottom")
    for name, chosen in (("complex", ~values.simple), ("simple", values.simple)):
        counts = np.histogram(values.values[chosen], edges)[0] / total
        style: dict[str, Any] = {"align": "edge", "color": CLASS_COLOURS[name], "edgecolor": "white", side: base}
        draw(edges[:-1], counts, np.diff(edges), linewidth=0.5, **style)
        base = base + counts


def _draw_cells(axes: Axes, x: np.ndarray, rows: np.ndarray, population: _Population, cells: np.ndarray) -> None:
    """Rows over their peaks: a thin line for each cell and, for each class, a thick one for the median of most cells."""
    rows = scale_to_peak(rows, axis=1)
    classes = population.classes(cells)
    # More lines are fainter, so that the medians are visible.
    alpha = float(np.clip(8 / max(len(cells), 1), 0.1, 0.3))
    for name, chosen in reversed(classes.items()):
        axes.plot(x, rows[chosen].T, color=CLASS_COLOURS[name], linewidth=0.7, alpha=alpha)
    for name, chosen in classes.items():
        if chosen.any():
            measured = np.isfinite(rows[chosen]).mean(axis=0) >= _MEASURED
            median = np.nanmedian(rows[chosen][:, measured], axis=0)
            axes.plot(x[measured], median, color="white", linewidth=4)
            axes.plot(x[measured], median, color=CLASS_COLOURS[name], linewidth=2.4)
    axes.set_ylim(min(0.0, float(np.nanmin(rows, initial=0.0))), 1.04)
    axes.set_yticks([0, 0.5, 1])


def _finish(axes: Axes) -> None:
    """Style of a panel's frame, labels and title."""
    axes.spines[["left", "bottom"]].set_color(_AXES_COLOUR)
    frame(axes, 8.5, length=3, color=_AXES_COLOUR)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    axes.set_title(axes.get_title(), loc="left", pad=9, **_TITLE)
    axes.set_title("", loc="center")
