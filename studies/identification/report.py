"""The page on how near a front end comes to its circuit: `studies.identification.run`'s scores, kernels, tables and pictures."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from biomodel import Pathway
from biomodel.utils.progress import progress
from bridge import FrontEnd
from bridge.evaluate.kernels import KernelPairs, compare_kernels, most_effective_noise
from bridge.model.front_end import OUTPUTS, STATIONS
from studies.identification import run
from studies.reporting import kernel_figure

#: States about which kernels are compared: backgrounds, cd/m², and contrasts of noise.
BACKGROUNDS, CONTRASTS = (10.0, 100.0, 1000.0), (0.0, 0.5)

#: The state whose kernels are drawn.
_DRAWN = (100.0, {"lgn": 0.0, "v1": 0.5})

_COLOURS = {"photographs": "#4e79a7", "luminance": "#f28e2b", "gratings": "#59a14f", "local_light": "#b07aa1"}


def write(pathway: Pathway, out: Path, images: int, seed: int, workers: int) -> dict:
    """Gather the evidence, or what is left of it, under ``evidence``; write ``evidence.json`` and ``evidence.html`` beside it."""
    folder = out / "evidence"
    scores = run.gather(pathway, folder, images, seed, workers)
    front_end = FrontEnd.load(folder / "front_end.safetensors")
    kernels, drawn = _kernels(pathway, front_end, folder, workers)
    found = {"models": run.summary(scores), "kernels": kernels}
    text = json.dumps(found, indent=2) + "\n"
    (out / "evidence.json").write_text(text)
    page = jinja2.Environment(autoescape=True).from_string(_PAGE)
    (out / "evidence.html").write_text(
        page.render(
            models=found["models"],
            kernels=kernels,
            sets=list(_COLOURS),
            stations=OUTPUTS,
            inner=[name for name in STATIONS if name != "v1"],
            best={station: _best_rival(scores, station) for station in OUTPUTS},
            figures={
                "unexplained": _encoded(unexplained_figure(scores)),
                "kernels": _encoded(kernel_figure.draw(drawn)),
            },
        )
    )
    return found


def _kernels(pathway: Pathway, front_end: FrontEnd, out: Path, workers: int) -> tuple[list[dict], list[KernelPairs]]:
    """Numbers of every state, kept in ``kernels`` state by state, and the pairs that are drawn."""
    folder = out / "kernels"
    folder.mkdir(exist_ok=True)
    seed = most_effective_noise(pathway, front_end.pixels_per_degree)
    states = [(s, b, c) for s in OUTPUTS for b in BACKGROUNDS for c in CONTRASTS if s == "lgn" or c > 0]
    numbers, drawn = [], []
    for station, background, contrast in progress(states, what="kernels"):
        path = folder / f"{station}_{background:g}_{contrast:g}.npz"
        if not path.exists():
            compare_kernels(pathway, front_end, station, background, contrast, seed=seed, workers=workers).save(path)
        pairs = KernelPairs.load(path)
        gain = pairs.gain[pairs.firing]
        numbers.append(
            {
                "station": station,
                "background": background,
                "contrast": contrast,
                "channels": int(pairs.firing.sum()),
                "median_correlation": float(np.median(pairs.correlation[pairs.firing])),
                "min_correlation": float(pairs.correlation[pairs.firing].min()),
                "median_gain": float(np.median(gain)),
                "min_gain": float(gain.min()),
                "max_gain": float(gain.max()),
            }
        )
        if (background, contrast) == (_DRAWN[0], _DRAWN[1][station]):
            drawn.append(pairs)
    return numbers, drawn


def _best_rival(scores: pd.DataFrame, station: str) -> dict[str, dict]:
    """By set: the rival that explains most of a station, and how much it leaves unexplained, over what the front end does."""
    here = scores[scores.station == station]
    medians = here.groupby(["set", "model"], sort=False).r2.median().unstack()
    rivals = [name for name in medians.columns if name.endswith(f", {station}")]
    best = {}
    for name, row in medians.iterrows():
        rival = row[rivals].idxmax()
        best[str(name)] = {
            "rival": rival,
            "r2": row[rival],
            "times": (1 - row[rival]) / (1 - row[f"from {station} alone"]),
        }
    return best


def unexplained_figure(scores: pd.DataFrame) -> Figure:
    """The unexplained share of variance of every model, a panel a station, medians over channels."""
    medians = scores.assign(missed=1 - scores.r2).groupby(["station", "model", "set"], sort=False).missed.median()
    figure, axes = plt.subplots(1, 2, figsize=(12, 7.5), layout="constrained")
    for ax, station in zip(axes, OUTPUTS, strict=True):
        here = medians[station]
        other = tuple(f", {name}" for name in OUTPUTS if name != station)
        models = [name for name in dict.fromkeys(here.index.get_level_values(0)) if not name.endswith(other)]
        for place, model in enumerate(models):
            for name, colour in _COLOURS.items():
                ax.plot(
                    here[model][name],
                    place,
                    "o",
                    color=colour,
                    ms=6,
                    label=name.replace("_", " ") if not place else None,
                )
        ax.set_yticks(range(len(models)), [name.removesuffix(f", {station}") for name in models], fontsize=9)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.grid(alpha=0.3, axis="both")
        ax.set_xlabel("unexplained share of variance, 1 - R² (median over channels)")
        ax.set_title({"lgn": "relay cells", "v1": "V1"}[station])
    axes[0].legend(frameon=False, fontsize=9)
    return figure


def _encoded(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return base64.b64encode(data.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>precortical: the front end and its circuit</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2rem auto; padding: 0 1rem; color: #222;
background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
small { color: #666; } img { max-width: 100%; height: auto; } .wide { overflow-x: auto; } .own td { font-weight: 600; }
</style></head><body>
<h1>How near the front end comes to its circuit</h1>
<p>Every model is shown the same images and given the field adapted to. The front end saw the responses of every station; fitted
again without a mechanism it saw those up to the relay, or, without one of V1's, all; rivals, and front ends fitted to an output
alone, saw that station's. All are scored on stimuli that none was fitted on: photographs at the light they were fitted in, the
same in other light and after other fields, gratings and spots, photographs under gradients and shadows. Front ends “of” another
circuit were fitted to that one's relay and are scored on this one's. The one fitted to a published model is scored on that
model's own responses: it tells what a front end can imitate that it was not made for.</p>
<ul>{% for station in stations %}<li>{{ station }}: {% for name in sets %}{{ name|replace("_", " ") }} {{
"%.4f"|format(models["front end"].scores[station][name].median_r2) }} (best rival: {{ best[station][name].rival }}, which
leaves {{ "%.1f"|format(best[station][name].times) }} × as much unexplained as the
front end fitted to that output alone){{ "; " if not loop.last else "." }}{% endfor %}</li>
{% endfor %}</ul>
<div class="wide"><img alt="Unexplained variance of every model" src="data:image/png;base64,{{ figures.unexplained }}"></div>
{% for station in stations %}<h2>{{ {"lgn": "Relay cells", "v1": "V1"}[station] }}: R², median and least over channels</h2>
<div class="wide"><table><tr><th>model</th><th>parameters</th>
{% for name in sets %}<th>{{ name|replace("_", " ") }}</th>{% endfor %}</tr>
{% for name, model in models.items() if station in model.scores %}<tr{% if name == "front end" %} class="own"{% endif %}>
<td>{{ name }}</td><td>{{ model.parameters }}</td>
{% for s in sets %}<td>{{ "%.4f"|format(model.scores[station][s].median_r2) }}
<small>{{ "%.3f"|format(model.scores[station][s].min_r2) }}</small></td>{% endfor %}</tr>
{% endfor %}</table></div>{% endfor %}
<h2>What was not recorded</h2>
<p>R² (median over channels, photographs) of stations that a front end fitted to the output alone never saw:</p>
<table><tr><th>fitted</th>{% for s in inner %}<th>{{ s }}</th>{% endfor %}</tr>
{% for name in ("front end", "from lgn alone", "from v1 alone") %}<tr><td>{{ name }}</td>
{% for s in inner %}<td>{{ "%.3f"|format(models[name].scores[s].photographs.median_r2) }}</td>{% endfor %}</tr>
{% endfor %}</table>
<h2>Equivalent kernels</h2>
<table><tr><th>station</th><th>background</th><th>contrast</th><th>channels</th><th>correlation</th><th>least</th>
<th>gain, fitted over simulated</th><th>range</th></tr>
{% for k in kernels %}<tr><td>{{ k.station }}</td><td>{{ "%g"|format(k.background) }}</td><td>{{ "%g"|format(k.contrast) }}</td>
<td>{{ k.channels }}</td><td>{{ "%.4f"|format(k.median_correlation) }}</td><td>{{ "%.3f"|format(k.min_correlation) }}</td>
<td>{{ "%.3f"|format(k.median_gain) }}</td><td>{{ "%.2f"|format(k.min_gain) }} to {{ "%.2f"|format(k.max_gain) }}</td></tr>
{% endfor %}</table>
<div class="wide"><img alt="Simulated and fitted kernels" src="data:image/png;base64,{{ figures.kernels }}"></div>
<p><small>Relay cells about an even field of 100 cd/m², V1's about noise of that mean, of contrast .5; each pair shares its
scale.</small></p>
</body></html>
"""
