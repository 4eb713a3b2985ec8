"""One page of a battery: the curves of every experiment, and its values with the published bands."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biomodel.physiology.plots.style import BAND, CELL_COLOURS, COLOURS, MUTED, VERDICTS, frame, save, set_log_axis
from biomodel.physiology.results import Measurement, Result, Results
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path

_COLUMNS = 4

#: Inches: width of a column; heights of a title, of the curves, and of the page's header.
_WIDTH, _TITLE, _CURVES, _HEADER = 4.6, 0.75, 2.2, 0.5

#: Inches: height of a value below the curves, whose statistic has up to three lines, and of each further line.
_ROW, _LINE = 0.78, 0.11

#: Characters of a statistic that fit beside its value.
_CHARACTERS = 62

#: Share of an axis below which the limits of a band have one label.
_NARROW = 0.15


def draw_curves(results: Results, path: str | Path) -> None:
    """Draw one PNG page with a panel for each experiment.

    The dot of a value is green inside the published band (the grey bar), red outside, grey if there is no band.

    Parameters
    ----------
    results : Results
    path : str or pathlib.Path

    Raises
    ------
    InputError
        For results of no experiment, and a path that cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from biomodel.physiology import Result, Results, draw_curves
    >>> from biomodel.physiology.results import Curve, Measurement
    >>> row = Result("midget_peak_tf", 8, "temporal tuning", "peak", "Hz", 7.97, 7, 16, True, False, "Derrington 1984")
    >>> curve = Curve("midget_on", np.array([1, 4, 16]), np.array([5.0, 9.0, 6.0]))
    >>> measured = Measurement({"midget_peak_tf": 7.97}, (curve,), "frequency (Hz)", "first harmonic (Hz)", "x")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw_curves(Results([row], {8: measured}, {8: 12.0}), f"{folder}/page.png")
    """
    if not results.curves:
        raise InputError("results must be those of one or more experiments, got none")
    path, numbers = local_path(path), list(results.curves)
    columns = min(_COLUMNS, len(numbers))
    rows_of = {number: [row for row in results if row.id == number] for number in numbers}
    lines = [numbers[k : k + columns] for k in range(0, len(numbers), columns)]
    heights = [_TITLE + _CURVES + 0.7 + max(_values_height(rows_of[number]) for number in line) for line in lines]
    width, height = _WIDTH * columns, sum(heights) + _HEADER
    figure = Figure(figsize=(width, height), dpi=110)
    scored = [row for row in results if row.passed is not None]
    heading = f"{sum(bool(row.passed) for row in scored)} of {len(scored)} statistics in their published bands"
    figure.text(0.15 / width, 1 - 0.2 / height, heading, fontsize=13, va="top")

    def add_axes(column: int, top: float, inches: float) -> Axes:
        """Axes of some height, their upper edge at a distance from the top of the page."""
        left, bottom = column * _WIDTH + 0.75, height - top - inches
        return figure.add_axes((left / width, bottom / height, (_WIDTH - 1.0) / width, inches / height))

    top = _HEADER
    for line, line_height in zip(lines, heights, strict=True):
        for column, number in enumerate(line):
            rows = rows_of[number]
            axes = add_axes(column, top + _TITLE, _CURVES)
            held_out = " (held out)" if all(row.held_out for row in rows) else ""
            title = f"{rows[0].id}  {rows[0].name}{held_out}"
            axes.set_title(title, fontsize=10, loc="left", color=_experiment_colour(rows), pad=26)
            _draw_panel(axes, results.curves[number])
            partly = any(row.held_out for row in rows) and not held_out
            for k, row in enumerate(rows):
                below = _values_height(rows[: k + 1]) - _ROW
                _draw_value(add_axes(column, top + _TITLE + _CURVES + 0.9 + below, 0.16), row, partly and row.held_out)
        top += line_height
    save(figure, path)


def _statistic_lines(row: Result) -> list[str]:
    return textwrap.wrap(row.statistic, _CHARACTERS)


def _values_height(rows: list[Result]) -> float:
    """Inches of an experiment's values, one below the other."""
    return sum(_ROW + _LINE * max(0, len(_statistic_lines(row)) - 3) for row in rows)


def _experiment_colour(rows: list[Result]) -> str:
    """The colour of an experiment, which passes if all its rows do."""
    verdicts = [row.passed for row in rows if row.passed is not None]
    return VERDICTS[all(verdicts) if verdicts else None]


def _draw_panel(axes: Axes, measured: Measurement) -> None:
    for k, curve in enumerate(measured.curves):
        colour = CELL_COLOURS.get(curve.label.split(",")[0], COLOURS[k % len(COLOURS)])
        marker = "o" if len(curve.x) < 30 and not curve.reference else ""
        style = "--" if curve.reference else "-"
        axes.plot(curve.x, curve.y, style, marker=marker, markersize=3, linewidth=1.2, color=colour, label=curve.label)
    for name in measured.logarithmic:
        set_log_axis(axes, name)
    axes.set_xlabel(measured.x_label, fontsize=8, labelpad=1)
    axes.set_ylabel(measured.y_label, fontsize=8, labelpad=1)
    frame(axes)
    axes.margins(y=0.12)
    # Above the curves, in two lines, where it covers none.
    axes.legend(
        fontsize=6.5,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=math.ceil(len(measured.curves) / 2),
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.2,
        handlelength=1.5,
    )


def _draw_value(axes: Axes, row: Result, held_out: bool) -> None:
    """A number line with the band as a bar and the value as a dot; the statistic, held out or not, and the value above."""
    colour = VERDICTS[row.passed]
    known = [v for v in (row.low, row.high, row.value) if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = 0.15 * (high - low) or 0.5 * abs(high) or 1.0
    axes.set(xlim=(low - margin, high + margin), ylim=(0, 1), xticks=[], yticks=[])
    if row.low is not None and row.high is not None:
        axes.axvspan(row.low, row.high, color=BAND, linewidth=0)
        if row.high - row.low < _NARROW * (high - low):
            axes.set_xticks([(row.low + row.high) / 2], [f"{row.low:g} to {row.high:g}"])
        else:
            axes.set_xticks([row.low, row.high])
    axes.plot([row.value], [0.5], "o", color=colour, markersize=7, clip_on=False)
    frame(axes, 6.5, ("top", "right", "left"), length=2, pad=1)
    unit = "" if row.unit == "1" else f" {row.unit}"
    number = f"{row.value:,.0f}" if abs(row.value) >= 1000 else f"{round(row.value, 4) + 0.0:.3g}"
    value = f"{number}{unit}" if math.isfinite(row.value) else "not measured"
    above: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom"}
    axes.text(1, 1.25, value, fontsize=8.5, ha="right", color=colour, weight="bold", **above)
    statistic = "\n".join(_statistic_lines(row))
    axes.text(-0.14, 1.25, statistic, fontsize=6.5, ha="left", linespacing=1.1, **above)
    if held_out:
        axes.text(1, 2.3, "held out", fontsize=6.5, ha="right", color=MUTED, **above)
