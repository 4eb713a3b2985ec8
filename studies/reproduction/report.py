"""Report of the reproduction: tables, figures as PNG files, and one HTML page with the figures as SVG."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biomodel.utils.paths import write_text
from studies.common.retilenet import STATIONS
from studies.reporting.html import FIGURES, GREY, INK, render, svg
from studies.reproduction import causes, kernels
from studies.reproduction.arms import ARMS
from studies.reproduction.claims import CLAIMS, judge_claim
from studies.reproduction.published import SIZES
from studies.reproduction.results import CellResult, Results
from studies.reproduction.settings import BUDGETS
from studies.reproduction.sweeps import SWEEPS
from studies.reproduction.verdicts import VERDICTS, Verdict, judge, prediction_interval

#: Labels of data sets.
_LABELS = {"digits": "digits", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "svhn": "SVHN"}

#: Colours of arms; the others are grey.
_COLOURS = {
    "lenet": "#8a6d5b",
    "retilenet": "#e15759",
    "bn_lenet": "#d4a92a",
    "in_lenet": "#b07aa1",
    "standardise": "#59a14f",
    "front_end_lgn": "#4e79a7",
}

#: Colours of budgets, in figures that show several.
_BUDGET_COLOURS = dict(zip(BUDGETS, (GREY, GREY, "#4e79a7", "#59a14f", "#b07aa1", "#e15759"), strict=True))

#: Largest number of seeds whose kernels are drawn.
_MOST_SEEDS = 5


def write(results: Results, out: Path) -> list[Verdict]:
    """Write results.csv, kernels.csv, cells.json, the figures and report.html of all results in a folder to this folder.

    Returns
    -------
    list of Verdict
        The content of cells.json.
    """
    table, measures, verdicts = results.table, kernels.measure(results), judge(results)
    write_text(out / "results.csv", table.to_csv(index=False))
    write_text(out / "kernels.csv", measures.to_csv(index=False, float_format="%.6g"))
    write_text(out / "cells.json", json.dumps([asdict(one) for one in verdicts], indent=2) + "\n")
    statistics, labels = results.statistics, _labels(results)
    datasets = list(dict.fromkeys(table.dataset))
    runs = list(dict.fromkeys(zip(table.dataset, table.budget, strict=True)))
    with plt.rc_context(FIGURES):
        page = render(
            "reproduction.html.j2",
            labels=labels,
            datasets=datasets,
            counts={name: sum(one.verdict == name for one in verdicts) for name in VERDICTS},
            claims=[(claim, {d: judge_claim(claim, d, statistics) for d in datasets}) for claim in CLAIMS],
            verdicts=_verdicts_by_arm(verdicts),
            comparisons=causes.outside_intervals(results, verdicts) + causes.clean_accuracies(results),
            runs=[
                {
                    "dataset": d,
                    "budget": b,
                    "images": _image_counts(results, d, b),
                    "arms": _arm_rows(statistics, d, b),
                    "figure": svg(draw_sweeps(table, d, b), out / f"sweeps_{d}_{b}.png"),
                }
                for d, b in runs
            ],
            colours=_COLOURS,
            contrast={sweep.name: sweep.remaining_contrast for sweep in SWEEPS.values()},
            kernel_figures={
                f"{labels[d]}, {b} budget": svg(draw_kernels(by_arm), out / f"kernels_{d}_{b}.png")
                for d, b in runs
                if (by_arm := _modules(results, d, b))
            },
            layers=_layer_rows(measures),
            measures=kernels.MEASURES,
            robustness_figure=svg(draw_robustness(measures, labels), out / "follows.png")
            if len(kernels.first_layers(measures))
            else "",
            correlations=kernels.correlation_rows(measures),
        )
    write_text(out / "report.html", page)
    return verdicts


def _labels(results: Results) -> dict[str, str]:
    """Labels of data sets; a published one with another size is a subset."""
    parts = {name for name, size in results.sizes.items() if name in SIZES and size != SIZES[name]}
    return {name: f"{label} subset" if name in parts else label for name, label in _LABELS.items()}


def _image_counts(results: Results, dataset: str, budget: str) -> tuple[int, int]:
    """Number of training and test images of a data set at a budget."""
    (train, test), most = results.sizes[dataset], BUDGETS[budget]
    return min(train, most.train or train), min(test, most.test or test)


def _verdicts_by_arm(verdicts: list[Verdict]) -> dict[str, dict[str, list[Verdict]]]:
    """Verdicts by data set and arm, of the data sets that were run."""
    rows: dict[str, dict[str, list[Verdict]]] = {}
    ran = {one.dataset for one in verdicts if one.mean is not None}
    for one in verdicts:
        if one.dataset in ran:
            rows.setdefault(one.dataset, {}).setdefault(one.arm, []).append(one)
    return rows


def _arm_rows(statistics: pd.DataFrame, dataset: str, budget: str) -> list[dict[str, Any]]:
    """Table rows, one per arm: mean over seeds in each sweep, and half-width of the prediction interval, in percent."""
    selected = statistics[(statistics.dataset == dataset) & (statistics.budget == budget)]
    rows: dict[str, dict[str, Any]] = {arm: {"arm": arm, "means": {}} for arm in ARMS if arm in set(selected.arm)}
    for (arm, sweep), values in selected.groupby(["arm", "sweep"])["mean"]:
        low, high = prediction_interval(values.to_numpy())
        half_width = 50 * (high - low) if np.isfinite(low) else None
        rows[arm]["means"][sweep] = {"mean": 100 * values.mean(), "half_width": half_width}
        rows[arm]["seeds"] = selected[selected.arm == arm].seed.nunique()
    return list(rows.values())


def _layer_rows(measures: pd.DataFrame) -> list[dict[str, Any]]:
    """Table rows, one per data set, budget, arm and layer: median, minimum and maximum of each measure over seeds."""
    table = []
    columns = [f"{name}{when}" for name in kernels.MEASURES for when in ("", "_before")]
    for (dataset, budget, arm, layer), rows in measures.groupby(["dataset", "budget", "arm", "layer"], sort=False):
        if layer in STATIONS:
            row = {"dataset": dataset, "budget": budget, "arm": arm, "layer": layer, "seeds": len(rows)}
            table.append(row | {name: tuple(rows[name].quantile([0.5, 0, 1])) for name in columns})
    return table


def _modules(results: Results, dataset: str, budget: str) -> dict[str, dict[int, CellResult]]:
    """Results of the arms with a module in a data set at a budget, by arm and seed."""
    by_arm: dict[str, dict[int, CellResult]] = {}
    for cell, result in results.cells.items():
        if (cell.dataset, cell.budget) == (dataset, budget) and ARMS[cell.arm].has_module:
            by_arm.setdefault(cell.arm, {})[cell.seed] = result
    return by_arm


def draw_sweeps(table: pd.DataFrame, dataset: str, budget: str) -> Figure:
    """Draw accuracy along every sweep, a line per arm; bands from the minimum to the maximum over seeds."""
    part = table[(table.dataset == dataset) & (table.budget == budget)]
    figure, axes = plt.subplots(1, len(SWEEPS), figsize=(12, 2.8), sharey=True, layout="constrained")
    for ax, sweep in zip(axes, SWEEPS.values(), strict=True):
        for arm in sorted(dict.fromkeys(part.arm), key=lambda name: name in _COLOURS):
            rows = part[(part.arm == arm) & (part.sweep == sweep.name)]
            by_level = 100 * rows.groupby("level").accuracy.agg(["mean", "min", "max"])
            if not len(by_level):
                continue
            colour, is_coloured = _COLOURS.get(arm, GREY), arm in _COLOURS
            style = "--" if arm.endswith("_augmented") else "-"
            ax.plot(by_level.index, by_level["mean"], style, color=colour, lw=1.6 if is_coloured else 0.9)
            if is_coloured:
                ax.fill_between(by_level.index, by_level["min"], by_level["max"], color=colour, alpha=0.15, lw=0)
        quantity = "luminosity" if sweep.parameter == "μ" else "contrast"
        ax.set_title(f"{quantity}, {'large' if sweep.name.endswith('large') else 'small'}", fontsize=9)
        ax.set_xlabel(sweep.parameter, fontsize=9)
        ax.set_ylim(0, 100)
        ax.grid(alpha=0.2)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("accuracy, %", fontsize=9)
    return figure


def draw_kernels(by_arm: dict[str, dict[int, CellResult]]) -> Figure:
    """Draw the kernels of modules: a row per arm, a block of columns per layer, a column per seed; each scaled separately."""
    seeds = sorted({seed for by_seed in by_arm.values() for seed in by_seed})[:_MOST_SEEDS]
    figure = plt.figure(figsize=(12, 1.0 * len(by_arm) + 0.6), layout="constrained")
    grid = figure.add_gridspec(1, len(STATIONS))
    for column, layer in enumerate(STATIONS):
        block = figure.add_subfigure(grid[0, column])
        axes = block.subplots(len(by_arm), len(seeds), squeeze=False)
        block.suptitle(layer, fontsize=9)
        for row, (arm, by_seed) in enumerate(by_arm.items()):
            for ax, seed in zip(axes[row], seeds, strict=True):
                ax.set(xticks=[], yticks=[], frame_on=False)
                if row == 0:
                    ax.set_title(f"seed {seed}", fontsize=7)
                if seed not in by_seed or layer not in by_seed[seed].kernels:
                    continue
                # The kernel for grey light, of the first output.
                weights = by_seed[seed].kernels[layer]
                kernel = weights.sum(axis=1)[0]
                limit = np.abs(kernel).max()
                ax.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
                ax.set_xlabel(f"{kernels.balance(weights):.2f}", fontsize=7, labelpad=1)
            if column == 0:
                axes[row, 0].set_ylabel(arm.replace("_", "\n", 1), fontsize=7, rotation=0, ha="right", va="center")
    return figure


def draw_robustness(measures: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Draw accuracy over μ against balance and centre-surround index of the first kernel; a point per network."""
    first = kernels.first_layers(measures)
    markers = dict(zip([name for name, arm in ARMS.items() if arm.has_module], "osD^", strict=True))
    datasets = list(dict.fromkeys(first.dataset))
    figure, axes = plt.subplots(
        2, len(datasets), figsize=(3.6 * len(datasets) + 1.2, 5.6), sharey="col", layout="constrained", squeeze=False
    )
    for column, dataset in enumerate(datasets):
        for ax, measure in zip(axes[:, column], ("balance", "centre_surround"), strict=True):
            for budget, colour in _BUDGET_COLOURS.items():
                for arm, marker in markers.items():
                    mine = first[(first.dataset == dataset) & (first.budget == budget) & (first.arm == arm)]
                    face = "none" if arm.endswith("_augmented") else colour
                    ax.plot(mine[measure], 100 * mine.mu, marker, mec=colour, mfc=face, ms=5)
            ax.set_xlabel("|Σw| / Σ|w|" if measure == "balance" else "centre-surround index", fontsize=8)
            ax.tick_params(labelsize=8)
            ax.grid(alpha=0.2)
        axes[0, column].set_title(labels[dataset], fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy over μ, %", fontsize=8)

    def handle(marker: str, colour: str, face: str, label: str) -> Line2D:
        return Line2D([], [], ls="", marker=marker, color=colour, mfc=face, ms=5, label=label)

    handles = [handle(m, INK, "none" if arm.endswith("_augmented") else INK, arm) for arm, m in markers.items()]
    handles += [handle("o", c, c, budget) for budget, c in _BUDGET_COLOURS.items() if budget in set(first.budget)]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False, labelcolor=INK
    )
    return figure
