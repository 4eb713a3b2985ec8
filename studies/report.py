"""The report of the light study: PNG plots, and one HTML page that carries them."""

from __future__ import annotations

import base64
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from biomodel import Pathway, luminance
from bridge import FrontEnd
from bridge.kernels import compare, noise_to_which_most_answer
from studies import datasets, kernel_figure
from studies.illumination import LIGHTS, PIXELS_PER_DEGREE, illuminate, scene
from studies.luminance import Settings, group_scores

#: State about which kernels are compared: background, cd/m², contrast of the noise before V1, and pixels along a side.
_KERNEL_BACKGROUND, _KERNEL_CONTRAST, _KERNEL_SIZE = 100.0, 0.5, 29

_COLOURS = {
    "pixels": "#888888",
    "instance_norm": "#b07aa1",
    "standardise": "#9c755f",
    "local_contrast_norm": "#f28e2b",
    "front_end_lgn": "#4e79a7",
    "front_end_v1": "#59a14f",
    "simulated_lgn": "#e15759",
}


#: What the images of a data set are.
_IMAGES = {
    "digits": "Scikit-learn's handwritten digits",
    "mnist": "MNIST's handwritten digits",
    "fashion-mnist": "Fashion-MNIST's articles of clothing",
    "svhn": "House numbers (SVHN, or a part of it)",
}


def write(settings: Settings, results: pd.DataFrame, out: Path, workers: int, data: Path | None = None) -> None:
    """Draw the plots of a study and write its report into the study's folder."""
    front_end = FrontEnd.load(out / "front_end.safetensors")
    pathway = settings.pathway
    figures = {"accuracy": accuracy_figure(results)}
    figures["kernels"], correlations = kernels(front_end, pathway, workers)
    image = datasets.load(settings.dataset, data).test[:1]
    figures["examples"] = example_figure(settings, scene(image), front_end, pathway)
    encoded = {}
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        encoded[name] = base64.b64encode((out / f"{name}.png").read_bytes()).decode()
    page = jinja2.Environment(autoescape=True).from_string(_PAGE)
    text = page.render(
        settings=settings,
        images=_IMAGES[settings.dataset],
        table=_table(results),
        fit=_fit_table(pd.read_csv(out / "fit.csv")),
        correlations=correlations,
        figures=encoded,
    )
    (out / "report.html").write_text(text)


def _table(results: pd.DataFrame) -> list[dict]:
    """A row an arm and state: mean and least of each group over seeds, in percent."""
    scores = group_scores(results)
    rows = []
    for (arm, state), part in scores.groupby(["arm", "adaptation"], sort=False):
        groups = {}
        for group, values in part.groupby("group", sort=False):
            groups[group] = {
                "mean": 100 * values.accuracy.mean(),
                "low": 100 * values.accuracy.min(),
                "high": 100 * values.accuracy.max(),
            }
        n = results[(results.arm == arm)].n.iloc[0]
        rows.append({"arm": arm, "state": state if state != "none" else "–", "groups": groups, "n": int(n)})
    best = {
        g: max(r["groups"][g]["mean"] for r in rows if g in r["groups"])
        for g in ("clean", "global", "local")
        if any(g in r["groups"] for r in rows)
    }
    for row in rows:
        for group, entry in row["groups"].items():
            entry["best"] = entry["mean"] >= best[group] - 1e-9
    return rows


def _fit_table(scores: pd.DataFrame) -> dict[str, dict[str, tuple[float, float]]]:
    """By station and set of stimuli: median and least R² over channels."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for (station, name), rows in scores.groupby(["station", "set"], sort=False):
        found.setdefault(str(station), {})[str(name)] = (float(rows.r2.median()), float(rows.r2.min()))
    return found


def accuracy_figure(results: pd.DataFrame) -> Figure:
    """Accuracy against level, a column a light; above the arms that don't adapt and the settled ones, below sudden ones."""
    lights = [name for name in LIGHTS if name in set(results.light)]
    figure, axes = plt.subplots(
        2, len(lights), figsize=(3.2 * len(lights) + 1.5, 6), sharey=True, squeeze=False, layout="constrained"
    )
    for row, state in enumerate(("settled", "sudden")):
        for ax, light in zip(axes[row], lights, strict=True):
            part = results[(results.light == light) & results.adaptation.isin([state, "none"])]
            for arm, values in part.groupby("arm", sort=False):
                by_level = values.assign(level=values.level.astype(float)).groupby("level").accuracy
                mean = 100 * by_level.mean()
                few = arm.startswith("simulated")
                ax.plot(
                    mean.index,
                    mean,
                    "--" if few else "-",
                    marker="s" if few else "o",
                    ms=4,
                    lw=1.6,
                    color=_COLOURS[arm],
                    label=arm,
                    alpha=0.55 if values.adaptation.iloc[0] == "none" else 1,
                )
                ax.fill_between(mean.index, 100 * by_level.min(), 100 * by_level.max(), color=_COLOURS[arm], alpha=0.12)
            ax.set_xscale("log")
            ax.set_xticks(LIGHTS[light].levels, [f"{v:g}" for v in LIGHTS[light].levels], fontsize=8)
            ax.minorticks_off()
            ax.set_ylim(0, 101)
            ax.grid(alpha=0.25)
            ax.set_title(f"{light.replace('_', ' ')}, {state}", fontsize=10)
            ax.set_xlabel(f"{LIGHTS[light].parameter}")
        axes[row][0].set_ylabel("accuracy (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    return figure


def kernels(front_end: FrontEnd, pathway: Pathway, workers: int) -> tuple[Figure, dict[str, float]]:
    """Simulated receptive fields over fitted kernels, and the median correlation of each station's.

    Relay cells are probed about an even field, V1's cells, which square, about noise; those that are silent there are left out.
    """
    seed = noise_to_which_most_answer(
        pathway, front_end.pixels_per_degree, _KERNEL_BACKGROUND, _KERNEL_CONTRAST, _KERNEL_SIZE
    )
    found = [
        compare(pathway, front_end, station, _KERNEL_BACKGROUND, contrast, _KERNEL_SIZE, seed, workers)
        for station, contrast in (("lgn", 0.0), ("v1", _KERNEL_CONTRAST))
    ]
    correlations = {pairs.station: float(np.median(pairs.correlation[pairs.firing])) for pairs in found}
    return kernel_figure.draw(found), correlations


def example_figure(settings: Settings, image: np.ndarray, front_end: FrontEnd, pathway: Pathway) -> Figure:
    """An image (1, H, W) in cd/m² under the reference light and under every chosen one, and what settled stations make of it."""
    rows = [("reference", image[0])]
    rows += [
        (f"{n.replace('_', ' ')} {LIGHTS[n].levels[-1]:g}", illuminate(image, n, LIGHTS[n].levels[-1])[0])
        for n in settings.lights
    ]
    if "exposure" in settings.lights:
        rows.insert(1, ("exposure 0.01", illuminate(image, "exposure", 0.01)[0]))
    light = np.stack([lit for _, lit in rows])
    responses = pathway.simulate(luminance(light, PIXELS_PER_DEGREE))
    with torch.no_grad():
        fitted = front_end.responses(torch.from_numpy(light[:, None]).float())
    columns = [
        ("light", light, "gray", None),
        ("cone (pA)", responses.cone.values, "gray", None),
        ("midget ON, simulated", responses.lgn.values[:, 0], "magma", 60),
        ("midget ON, fitted", fitted["lgn"][:, 0].numpy(), "magma", 60),
        ("midget OFF, simulated", responses.lgn.values[:, 1], "magma", 60),
        ("midget OFF, fitted", fitted["lgn"][:, 1].numpy(), "magma", 60),
        ("V1 strongest, simulated", responses.v1.values.max(axis=1), "magma", 100),
        ("V1 strongest, fitted", fitted["v1"].numpy().max(axis=1), "magma", 100),
    ]
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(13, 1.7 * len(rows)), layout="constrained", squeeze=False
    )
    for place, (title, maps, colours, top) in enumerate(columns):
        for row, (label, _) in enumerate(rows):
            ax = axes[row, place]
            ax.imshow(maps[row], cmap=colours, vmin=None if top is None else 0, vmax=top)
            ax.set_xticks([])
            ax.set_yticks([])
            if row == 0:
                ax.set_title(title, fontsize=9)
            if place == 0:
                ax.set_ylabel(f"{label}\n{maps[row].min():.3g} to {maps[row].max():.3g} cd/m²", fontsize=8)
    return figure


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>precortical: recognition when the light changes</title>
<style>
:root { color-scheme: light; } body { font: 16px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2rem auto;
padding: 0 1rem; color: #222; background: #fff; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; } td:first-child, th:first-child,
td:nth-child(2), th:nth-child(2) { text-align: left; } .best { font-weight: 700; } small { color: #666; }
img { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
</style></head><body>
<h1>Recognition when the light changes</h1>
<p>{{ images }} under a reference light (white at 200 cd/m²) and under other lights. Each arm stands
between the light and the same LeNet, trained on images in the reference light only, {{ settings.repeats }} seeds.
<i>Settled</i>: adapted to the image under wandering gaze. <i>Sudden</i>: adapted to an even grey of 40 cd/m², the new
light arriving with the image.</p>
<h2>Accuracy by group of lights (%)</h2>
<div class="wide"><table><tr><th>arm</th><th>adaptation</th><th>clean</th><th>global</th><th>local</th><th>test images</th></tr>
{% for row in table %}<tr><td>{{ row.arm }}</td><td>{{ row.state }}</td>
{% for group in ("clean", "global", "local") %}<td{% if row.groups[group] and row.groups[group].best %} class="best"{% endif %}>
{% if row.groups[group] %}{{ "%.1f"|format(row.groups[group].mean) }} <small>{{ "%.1f"|format(row.groups[group].low) }}–{{
"%.1f"|format(row.groups[group].high) }}</small>{% else %}–{% endif %}</td>{% endfor %}<td>{{ row.n }}</td></tr>
{% endfor %}</table></div>
<p><small>Mean over lights of the mean over their levels, development levels left out; small: least and largest seed. Best in
bold. Simulated arms read Brian2's responses to every image: {{ settings.simulated_train }} training images and two levels a
light, so their rows compare with the others only roughly.</small></p>
<h2>Accuracy against the level of each light</h2>
<div class="wide"><img alt="Accuracy against level" src="data:image/png;base64,{{ figures.accuracy }}"></div>
<p><small>Exposure multiplies the light, a pedestal adds veiling light in units of white, gradient and hard shadow attenuate it
by up to r. Bands: least to largest seed.</small></p>
<h2>How near the fitted front end comes to the circuit</h2>
<p>V1 has {{ settings.kinds }} kinds of cells here, the first of the preset's, each a simple and a complex one.</p>
<div class="wide"><table><tr><th>station</th><th></th>{% for name in fit.lgn %}<th>{{ name|replace("_", " ") }}</th>{% endfor %}</tr>
{% for station, sets in fit.items() %}<tr><td>{{ station }}</td><td></td>{% for median, least in sets.values() %}
<td>{{ "%.4f"|format(median) }} <small>{{ "%.4f"|format(least) }}</small></td>{% endfor %}</tr>{% endfor %}</table></div>
<p><small>R², median and least over channels, on stimuli that the fit never saw: patches of other photographs at the light it was
fitted in; the same in light and after fields between and beyond; gratings and spots; photographs under gradients and shadows.</small></p>
<h2>Receptive fields: simulated over fitted</h2>
<div class="wide"><img alt="Simulated receptive fields and fitted kernels" src="data:image/png;base64,{{ figures.kernels }}"></div>
<p><small>Equivalent kernels, red for more rate with more light; each pair shares its scale; 29 pixels, 1.8°. Relay cells: about
an even field of 100 cd/m². V1's cells, with their preferred orientations, square what drives them: about noise of that mean, of
contrast .5; cells that are silent before it are left out. Median correlation: {% for s, c in correlations.items() %}{{ s }} {{ "%.4f"|format(c) }} {% endfor %}</small></p>
<h2>One image under every light</h2>
<div class="wide"><img alt="One image under every light, and its responses" src="data:image/png;base64,{{ figures.examples }}"></div>
<p><small>Settled. The light is drawn from its darkest to its lightest, cones likewise; LGN is 0 to 60 Hz, V1 (the most active
cell at each place) 0 to 100 Hz.</small></p>
</body></html>
"""
