"""Figures of the luminance study's report."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.common.statistics import interval
from studies.luminance.arms import BOUNDS
from studies.luminance.examples import Examples
from studies.luminance.lesions import Results
from studies.luminance.lights import LIGHTS, Condition
from studies.luminance.results import Study
from studies.luminance.scores import group_scores
from studies.reporting.html import GREY, INK

#: Arms that have a colour; the others are grey.
COLOURS = {
    "pixels": "#8a6d5b",
    "instance_norm": "#b07aa1",
    "local_contrast_norm": "#f28e2b",
    "hand_set": "#d4a92a",
    "front_end_lgn": "#4e79a7",
    "front_end_midget": "#76b7b2",
    "front_end_v1": "#59a14f",
    "simulated_lgn": "#e15759",
}

#: Columns of the examples: title, name of the maps, colours and upper limit.
_EXAMPLE_COLUMNS = (
    ("light", "light", "gray", None),
    ("cone (pA)", "cone", "gray", None),
    ("midget ON, simulated", "midget_on", "magma", 60),
    ("midget ON, fitted", "fitted_midget_on", "magma", 60),
    ("midget OFF, simulated", "midget_off", "magma", 60),
    ("midget OFF, fitted", "fitted_midget_off", "magma", 60),
    ("V1 strongest, simulated", "v1", "magma", 100),
    ("V1 strongest, fitted", "fitted_v1", "magma", 100),
)


def plot_light(results: pd.DataFrame, light: str) -> Figure:
    """Plot LeNet's accuracy against a light's level, one line per arm and state."""
    figure, ax = plt.subplots(figsize=(3.1, 2.3), layout="constrained")
    part = results[(results.light == light) & (results.classifier == "lenet")]
    order = sorted(part.groupby(["arm", "adaptation"], sort=False), key=lambda pair: pair[0][0] in COLOURS)
    for (arm, state), values in order:
        _plot_arm(ax, str(arm), str(state), values.assign(level=values.level.astype(float)))
    known = LIGHTS[light]
    ax.set_xscale("log")
    ax.set_xticks(known.levels, [f"{v:g}" for v in known.levels], fontsize=7)
    ax.minorticks_off()
    ax.tick_params(labelsize=7)
    ax.set_ylim(0, 100)
    ax.grid(alpha=0.2)
    ax.set_xlabel(known.parameter, fontsize=8)
    return figure


def _plot_arm(ax: Axes, arm: str, state: str, values: pd.DataFrame) -> None:
    by_level = values.groupby("level").accuracy
    mean, coloured = 100 * by_level.mean(), arm in COLOURS
    colour = COLOURS.get(arm, GREY)
    if coloured or state != "sudden":
        ax.plot(
            mean.index,
            mean,
            "--" if state == "sudden" else "-",
            marker="s" if arm.startswith("simulated") else "o",
            ms=3 if coloured else 1.5,
            lw=1.5 if coloured else 0.8,
            color=colour,
            alpha=1 if coloured else 0.5,
        )
    if coloured:
        ax.fill_between(mean.index, 100 * by_level.min(), 100 * by_level.max(), color=colour, alpha=0.12, lw=0)


def plot_agreement(table: pd.DataFrame, arm: str) -> Figure:
    """Plot, by condition, LeNet's accuracy on a simulated station's responses and on its twin's, and R² of responses."""
    rows = table[(table.arm == arm) & (table.classifier == "lenet")].copy()
    rows["condition"] = [
        Condition(light, group, None if pd.isna(level) else level).title
        for light, group, level in zip(rows.light, rows.group, rows.level, strict=True)
    ]
    states, names = list(dict.fromkeys(rows.adaptation)), list(dict.fromkeys(rows.condition))
    figure, axes = plt.subplots(
        1, 2 * len(states), figsize=(4.6 * len(states) + 1.5, 0.22 * len(names) + 1), sharey=True, layout="constrained"
    )
    for k, state in enumerate(states):
        part = rows[rows.adaptation == state]
        places = [names.index(condition) for condition in part.condition]
        accuracy, responses = axes[2 * k], axes[2 * k + 1]
        accuracy.hlines(places, 100 * part.simulated, 100 * part.learned, color=GREY, lw=1)
        accuracy.plot(100 * part.simulated, places, "s", ms=5, color=COLOURS["simulated_lgn"])
        accuracy.plot(100 * part.learned, places, "o", ms=4, color=COLOURS["front_end_lgn"])
        accuracy.set_title(f"accuracy (%), {state}", fontsize=9)
        responses.plot(part.r2, places, "o", ms=4, color=INK)
        responses.axvline(0.95, color=GREY, lw=1, ls=":")
        responses.set_xlim(min(0.9, float(part.r2.min()) - 0.01), 1.005)
        responses.set_title(f"R² of responses, {state}", fontsize=9)
    for ax in axes:
        _label_rows(ax, names)
    axes[0].invert_yaxis()
    return figure


def plot_costs(study: Study, group: str) -> Figure:
    """Plot clean accuracy, accuracy in a group's lights and images per second: LeNet, settled, the best arm on top."""
    speeds = study.costs.set_index("arm").images_per_second
    scores = {name: group_scores(cell) for name, cell in study.steady().items()}
    order = sorted(scores, key=lambda name: scores[name][group].mean(), reverse=True)
    figure, axes = plt.subplots(1, 3, figsize=(10, 0.22 * len(order) + 1), sharey=True, layout="constrained")
    for place, name in enumerate(order):
        colour = COLOURS.get(name, GREY)
        for ax, which in zip(axes, ("clean", group), strict=False):
            one = interval(scores[name][which])
            ax.plot([100 * one.low, 100 * one.high], [place, place], color=colour, lw=1.5)
            ax.plot(100 * one.mean, place, "o", ms=5, color=colour)
        axes[2].plot(float(speeds[name]), place, "o", ms=5, color=colour)
    axes[2].set_xscale("log")
    for ax, title in zip(axes, ("clean (%)", f"{group} (%)", "images/s, one thread"), strict=True):
        ax.set_title(title, fontsize=9)
        _label_rows(ax, [name + (" †" if name in BOUNDS else "") for name in order])
    axes[0].invert_yaxis()
    return figure


def plot_lesions(station: str, results: Results) -> Figure:
    """Plot accuracy by group of lights without each mechanism, and with each alone."""
    variants = list(dict.fromkeys(variant for variant, _ in results))
    groups = [g for g in dict.fromkeys(one.group for one in next(iter(results.values())).conditions) if g != "clean"]
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(2.5 * len(groups) + 1.5, 0.3 * len(variants) + 1.1),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    colour = COLOURS["simulated_lgn"]
    for ax, group in zip(axes[0], groups, strict=True):
        for place, variant in enumerate(variants):
            for how, face, by in (("retrained", colour, -0.13), ("kept", "none", 0.13)):
                one = interval(group_scores(results[variant, how])[group])
                ax.plot([100 * one.low, 100 * one.high], [place + by] * 2, color=colour, lw=1)
                ax.plot(100 * one.mean, place + by, "o", ms=5, mec=colour, mfc=face)
        ax.set_title(group, fontsize=9)
        _label_rows(ax, [variant.replace("_", " ") for variant in variants])
    axes[0][0].invert_yaxis()
    figure.suptitle(f"before {'the relay' if station == 'lgn' else 'V1'}", fontsize=9)
    return figure


def plot_examples(examples: Examples) -> Figure:
    """Plot one image under every light, and the responses of circuit and twin."""
    labels, maps = examples.labels, examples.maps
    figure, axes = plt.subplots(
        len(labels), len(_EXAMPLE_COLUMNS), figsize=(13, 1.7 * len(labels)), layout="constrained", squeeze=False
    )
    for place, (title, name, colours, top) in enumerate(_EXAMPLE_COLUMNS):
        for row, label in enumerate(labels):
            ax, image = axes[row, place], maps[name][row]
            ax.imshow(image, cmap=colours, vmin=None if top is None else 0, vmax=top)
            ax.set_xticks([])
            ax.set_yticks([])
            if row == 0:
                ax.set_title(title, fontsize=9)
            if place == 0:
                ax.set_ylabel(f"{label}\n{image.min():.3g} to {image.max():.3g} cd/m²", fontsize=8)
    return figure


def _label_rows(ax: Axes, labels: list[str]) -> None:
    ax.set_yticks(np.arange(len(labels)), labels, fontsize=8)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.2)
