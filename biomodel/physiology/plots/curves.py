"""One page of a battery: what every experiment measured, and its values in or beside the published bands."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from biomodel.physiology.battery import Result, Results
from biomodel.physiology.results import Measurement

_COLUMNS = 4

#: Of a panel's curves.
_INK = ("#d1495b", "#00798c", "#edae49", "#66a182", "#5b5f97")

#: A cell has the same ink on every panel.
CELL_INK = {"midget_on": "#d1495b", "midget_off": "#00798c", "parasol_on": "#edae49", "parasol_off": "#66a182"}

#: What values are wanted in.
BAND = "#cfd8dc"

_PASSED, _MISSED, _REPORTED = "#2e7d32", "#c62828", "#546e7a"

#: Inches: a column's width, and the heights of a title, of the curves, and of each value beneath them.
_WIDTH, _TITLE, _CURVES, _ROW = 4.6, 0.75, 2.2, 0.78

#: Characters of a statistic that fit beside its value.
_LINE = 62


def draw(results: Results, path: str | Path) -> None:
    """Draw one PNG page, a panel an experiment.

    A value's dot is green inside the published band (the grey bar), red outside, grey where there is no band.

    Parameters
    ----------
    results : Results
    path : str or pathlib.Path
    """
    numbers = list(results.curves)
    columns = min(_COLUMNS, len(numbers))
    rows_of = {number: [r for r in results if r.id == number] for number in numbers}
    lines = [numbers[k : k + columns] for k in range(0, len(numbers), columns)]
    deepest = [max(len(rows_of[number]) for number in line) for line in lines]
    heights = [_TITLE + _CURVES + 0.7 + _ROW * depth for depth in deepest]
    header = 0.5
    total = sum(heights) + header
    figure = Figure(figsize=(_WIDTH * columns, total), dpi=110)
    counted = [r for r in results if r.passed is not None]
    figure.text(
        0.15 / (_WIDTH * columns),
        1 - 0.2 / total,
        f"{sum(bool(r.passed) for r in counted)} of {len(counted)} statistics in their published bands",
        fontsize=13,
        va="top",
    )
    top = header
    for line, height in zip(lines, heights, strict=True):
        for column, number in enumerate(line):
            rows = rows_of[number]

            def place(below: float, high: float, column: int = column, top: float = top) -> Axes:
                left = (column * _WIDTH + 0.75) / (_WIDTH * columns)
                width = (_WIDTH - 1.0) / (_WIDTH * columns)
                return figure.add_axes((left, 1 - (top + below + high) / total, width, high / total))

            axes = place(_TITLE, _CURVES)
            axes.set_title(_title(rows), fontsize=10, loc="left", color=_verdict(rows), pad=26)
            _draw_curves(axes, results.curves[number])
            for k, row in enumerate(rows):
                _draw_value(place(_TITLE + _CURVES + 0.5 + _ROW * k + 0.4, 0.16), row)
        top += height
    figure.savefig(path, metadata={"Software": None})


def _title(rows: list[Result]) -> str:
    name = rows[0].name
    held_out = " (held out)" if rows[0].held_out else ""
    return f"{rows[0].id}  {name}{held_out}"


def _verdict(rows: list[Result]) -> str:
    """The colour of an experiment, which passes when all its rows do."""
    verdicts = [row.passed for row in rows if row.passed is not None]
    return _REPORTED if not verdicts else _PASSED if all(verdicts) else _MISSED


def _draw_curves(axes: Axes, measured: Measurement) -> None:
    for k, curve in enumerate(measured.curves):
        colour = CELL_INK.get(curve.label, _INK[k % len(_INK)])
        marker = "o" if len(curve.x) < 30 and not curve.reference else ""
        style = "--" if curve.reference else "-"
        axes.plot(curve.x, curve.y, style, marker=marker, markersize=3, linewidth=1.2, color=colour, label=curve.label)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if name in measured.logarithmic:
            axes.set(**{f"{name}scale": "log"})
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(measured.x_label, fontsize=8, labelpad=1)
    axes.set_ylabel(measured.y_label, fontsize=8, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    # Above the curves, in two lines, where it can't cover any.
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


def _draw_value(axes: Axes, row: Result) -> None:
    """A number line with the band as a bar, the value as a dot, and what it is above."""
    colour = {True: _PASSED, False: _MISSED, None: _REPORTED}[row.passed]
    known = [v for v in (row.low, row.high, row.value) if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = 0.15 * (high - low) or 0.5 * abs(high) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(0, 1)
    if row.low is not None and row.high is not None:
        axes.axvspan(row.low, row.high, color=BAND, linewidth=0)
        axes.set_xticks([row.low, row.high])
    else:
        axes.set_xticks([])
    axes.plot([row.value], [0.5], "o", color=colour, markersize=7, clip_on=False)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=6.5, length=2, pad=1)
    unit = "" if row.unit == "1" else f" {row.unit}"
    value = f"{round(row.value, 4) + 0.0:.3g}{unit}" if math.isfinite(row.value) else "not measured"
    axes.text(
        1, 1.25, value, transform=axes.transAxes, fontsize=8.5, ha="right", va="bottom", color=colour, weight="bold"
    )
    told = "\n".join(textwrap.wrap(row.statistic, _LINE, max_lines=3, placeholder=" …"))
    axes.text(-0.14, 1.25, told, transform=axes.transAxes, fontsize=6.5, ha="left", va="bottom", linespacing=1.1)
