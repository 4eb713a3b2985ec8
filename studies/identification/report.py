"""Page of the identification study, with its tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from biomodel.utils.paths import write_text
from bridge.model.front_end import STATIONS
from studies.identification.results import Results
from studies.identification.settings import COMPARED
from studies.reporting import kernel_figure
from studies.reporting.html import FIGURES, render, svg

#: Background, cd/m², and contrast by station, of the kernels that are drawn.
_DRAWN_BACKGROUND, _DRAWN_CONTRAST = 100.0, {"lgn": 0.0, "v1": 0.5}

_COLOURS = {"photographs": "#4e79a7", "luminance": "#f28e2b", "gratings": "#59a14f", "local_light": "#b07aa1"}


def write(results: Results, out: Path) -> dict:
    """Write ``evidence.json``, ``evidence.html`` and its figures to a folder; returns the content of ``evidence.json``."""
    content = {"models": results.summary(), "kernels": results.kernel_rows()}
    write_text(out / "evidence.json", json.dumps(content, indent=2) + "\n")
    drawn = [
        pairs
        for pairs in results.kernels
        if (pairs.background, pairs.contrast) == (_DRAWN_BACKGROUND, _DRAWN_CONTRAST[pairs.station])
    ]
    with plt.rc_context(FIGURES):
        page = render(
            "identification.html.j2",
            models=content["models"],
            kernels=content["kernels"],
            sets=list(_COLOURS),
            stations=COMPARED,
            inner_stations=[name for name in STATIONS if name != "v1"],
            best={station: results.best_baselines(station) for station in COMPARED},
            unexplained_figure=svg(draw_unexplained(results.scores), out / "unexplained.png"),
            kernel_figure=svg(kernel_figure.draw(drawn), out / "kernels.png"),
        )
    write_text(out / "evidence.html", page)
    return content


def draw_unexplained(scores: pd.DataFrame) -> Figure:
    """Draw the unexplained variance of every model, a panel per station, medians over channels."""
    medians = (
        scores.assign(unexplained=1 - scores.r2).groupby(["station", "model", "set"], sort=False).unexplained.median()
    )
    figure, axes = plt.subplots(1, len(COMPARED), figsize=(12, 7.5), layout="constrained")
    for ax, station in zip(axes, COMPARED, strict=True):
        here = medians[station]
        other = tuple(f", {name}" for name in COMPARED if name != station)
        models = [name for name in dict.fromkeys(here.index.get_level_values(0)) if not name.endswith(other)]
        for row, model in enumerate(models):
            for name, colour in _COLOURS.items():
                label = "" if row else name.replace("_", " ")
                ax.plot(here[model][name], row, "o", color=colour, ms=6, label=label)
        ax.set_yticks(range(len(models)), [name.removesuffix(f", {station}") for name in models], fontsize=9)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.grid(alpha=0.3, axis="both")
        ax.set_xlabel("unexplained variance, 1 - R² (median over channels)")
        ax.set_title({"lgn": "relay cells", "v1": "V1"}[station])
    axes[0].legend(frameon=False, fontsize=9)
    return figure
