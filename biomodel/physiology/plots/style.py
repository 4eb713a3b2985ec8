"""Colours, frames and axes that the plots share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from biomodel.utils.paths import local_path, replacing

#: The colour of a type of cell is the same in every plot.
CELL_COLOURS = {"midget_on": "#d1495b", "midget_off": "#00798c", "parasol_on": "#edae49", "parasol_off": "#66a182"}

#: Simple and complex cells of V1.
CLASS_COLOURS = {"simple": "#d1495b", "complex": "#00798c"}

#: Curves without a colour of their own, in this order.
COLOURS = (*CELL_COLOURS.values(), "#5b5f97")

#: A published range; published data; what is less important.
BAND, PUBLISHED, MUTED = "#cfd8dc", "#263238", "#546e7a"

#: A statistic in its band, outside it, and without a band.
VERDICTS = {True: "#2e7d32", False: "#c62828", None: MUTED}


def frame(axes: Axes, label_size: float = 7.0, hidden: Sequence[str] = ("top", "right"), **ticks: Any) -> None:
    """Hide the spines at the top and on the right, and set the size of the tick labels."""
    axes.spines[list(hidden)].set_visible(False)
    axes.tick_params(labelsize=label_size, **ticks)


def set_log_axis(axes: Axes, name: str = "x", ticks: Sequence[float] | None = None) -> None:
    """Make an axis, "x" or "y", logarithmic, with plain numbers at `ticks` or at the decades (and at 2 and 5)."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    if ticks is None:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG that is the same for every version of matplotlib's metadata."""
    with replacing(local_path(path)) as scratch:
        figure.savefig(scratch, format="png", metadata={"Software": None})
