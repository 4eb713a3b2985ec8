"""The report of the reproduction: tables, figures as PNG files, and one HTML page that carries them as SVG."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biomodel.utils.atomic import atomic_write
from studies.common.retilenet import STATIONS
from studies.reporting.html import FIGURES, GREY, INK, rendered, svg
from studies.reproduction import kernels
from studies.reproduction.arms import ARMS
from studies.reproduction.causes import causes, unaltered
from studies.reproduction.cells import BUDGETS
from studies.reproduction.claims import CLAIMS, judged, scores
from studies.reproduction.page import PAGE
from studies.reproduction.published import SIZES
from studies.reproduction.run import Study
from studies.reproduction.sweeps import SWEEPS
from studies.reproduction.verdicts import Verdict, prediction, verdicts

#: How data sets are called.
NAMES = {"digits": "digits", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "svhn": "SVHN"}

#: Arms that have a colour; the others are grey.
COLOURS = {
    "lenet": "#8a6d5b",
    "retilenet": "#e15759",
    "bn_lenet": "#d4a92a",
    "in_lenet": "#b07aa1",
    "standardise": "#59a14f",
    "front_end_lgn": "#4e79a7",
}

#: Budgets where networks of several stand together.
_BUDGET_COLOURS = {
    "smoke": GREY,
    "reduced": GREY,
    "notebook": "#4e79a7",
    "fast": "#59a14f",
    "long": "#b07aa1",
    "full": "#e15759",
}

#: What the table of kernels tells.
MEASURES = ("balance", "centre_surround", "isotropy")

#: Seeds whose kernels are drawn.
_DRAWN = 5


def write(study: Study, out: Path) -> list[Verdict]:
    """Write results.csv, kernels.csv, cells.json, the figures and report.html of all that a folder holds into it.

    Returns
    -------
    list of Verdict
        What cells.json holds.
    """
    results, measured, found = study.results, kernels.measured(study), verdicts(study)
    _write(out / "results.csv", results.to_csv(index=False))
    _write(out / "kernels.csv", measured.to_csv(index=False, float_format="%.6g"))
    _write(out / "cells.json", json.dumps([asdict(one) for one in found], indent=2) + "\n")
    per_seed = scores(results)
    ran = [(d, b) for d, b in dict.fromkeys(zip(results.dataset, results.budget, strict=True))]
    with plt.rc_context(FIGURES):
        text = rendered(
            PAGE,
            names=_called(study),
            ran=[
                {"dataset": d, "budget": b, "images": _met(study, d, b), "arms": _table(per_seed, d, b)} for d, b in ran
            ],
            claims=_claims(per_seed, list(dict.fromkeys(results.dataset))),
            datasets=list(dict.fromkeys(results.dataset)),
            verdicts=_grouped(found),
            causes=causes(study, found),
            unaltered=unaltered(study),
            counted={told: sum(one.verdict == told for one in found) for told in _VERDICTS},
            sweeps={f"{d}-{b}": svg(sweep_figure(results, d, b), out / f"sweeps_{d}_{b}.png") for d, b in ran},
            colours=COLOURS,
            contrast={sweep.name: sweep.contrast_left for sweep in SWEEPS.values()},
            kernels={
                f"{_called(study)[d]}, {b} budget": svg(kernel_figure(study, d, b), out / f"kernels_{d}_{b}.png")
                for d, b in ran
                if kernels.pictured(study, d, b)
            },
            layers=_layers(measured),
            measures=MEASURES,
            follows=svg(follow_figure(measured, _called(study)), out / "follows.png")
            if len(kernels.first_layers(measured))
            else "",
            correlations=_correlated(measured),
        )
    _write(out / "report.html", text)
    return found


#: Every verdict, in the order of the page.
_VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not comparable", "not run")


def _called(study: Study) -> dict[str, str]:
    """What data sets are called: parts of what was published by their size."""
    parts = {name for name, size in study.sizes.items() if name in SIZES and size != SIZES[name]}
    return {name: f"{called} subset" if name in parts else called for name, called in NAMES.items()}


def _met(study: Study, dataset: str, budget: str) -> tuple[int, int]:
    """Training and test images of a data set at a budget."""
    (train, test), most = study.sizes[dataset], BUDGETS[budget]
    return min(train, most.train or train), min(test, most.test or test)


def _claims(per_seed: pd.DataFrame, datasets: list[str]) -> list[dict]:
    """Claims, and how each data set judges them."""
    return [{"words": claim.words, "judged": {d: judged(claim, d, per_seed) for d in datasets}} for claim in CLAIMS]


def _grouped(found: list[Verdict]) -> dict[str, list[dict]]:
    """Verdicts by data set, a row an arm, four to a row."""
    rows: dict[str, dict[str, dict]] = {}
    for one in found:
        row = rows.setdefault(one.dataset, {}).setdefault(one.arm, {"arm": one.arm, "numbers": []})
        row["numbers"].append(one)
    return {
        dataset: list(by_arm.values())
        for dataset, by_arm in rows.items()
        if any(number.mean is not None for row in by_arm.values() for number in row["numbers"])
    }


def _table(per_seed: pd.DataFrame, dataset: str, budget: str) -> list[dict]:
    """A row an arm: mean over seeds in each sweep and on unaltered images, and where one more seed would lie."""
    rows = per_seed[(per_seed.dataset == dataset) & (per_seed.budget == budget)]
    told = []
    for arm in ARMS:
        mine = rows[rows.arm == arm]
        if not len(mine):
            continue
        means = {}
        for sweep in ("clean", *SWEEPS):
            values = mine[mine.sweep == sweep]["mean"].to_numpy()
            if len(values):
                low, high = prediction(values)
                means[sweep] = {"mean": 100 * values.mean(), "half": 50 * (high - low) if np.isfinite(low) else None}
        told.append({"arm": arm, "seeds": mine.seed.nunique(), "means": means})
    return told


def _layers(measured: pd.DataFrame) -> list[dict]:
    """By data set, budget, arm and layer: median, least and most of `MEASURES` over seeds, and of what was before."""
    told = []
    for (dataset, budget, arm, layer), rows in measured.groupby(["dataset", "budget", "arm", "layer"], sort=False):
        if layer in STATIONS:
            row = {"dataset": dataset, "budget": budget, "arm": arm, "layer": layer, "seeds": len(rows)}
            for what in (f"{measure}{when}" for measure in MEASURES for when in ("", "_before")):
                row[what] = tuple(float(rows[what].quantile(q)) for q in (0.5, 0, 1))
            told.append(row)
    return told


def _correlated(measured: pd.DataFrame) -> list[dict]:
    """A row for each data set, budget and what of the kernel: correlations by sweep and networks, where one has an interval."""
    rows: dict[tuple[str, str, str], dict] = {}
    for (dataset, budget, which, what, sweep), one in kernels.correlations(measured):
        row = {"dataset": dataset, "budget": budget, "what": what, "networks": one.networks, "by": {}}
        rows.setdefault((dataset, budget, what), row)["by"][f"{sweep}, {which}"] = one
    return [row for row in rows.values() if any(np.isfinite(one.low) for one in row["by"].values())]


def sweep_figure(results: pd.DataFrame, dataset: str, budget: str) -> Figure:
    """Accuracy along every sweep, a line an arm; bands from the least to the largest seed."""
    part = results[(results.dataset == dataset) & (results.budget == budget)]
    figure, axes = plt.subplots(1, len(SWEEPS), figsize=(12, 2.8), sharey=True, layout="constrained")
    for ax, sweep in zip(axes, SWEEPS.values(), strict=True):
        for arm in sorted(dict.fromkeys(part.arm), key=lambda name: name in COLOURS):
            rows = part[(part.arm == arm) & (part.sweep == sweep.name)]
            by_level = 100 * rows.groupby("level").accuracy.agg(["mean", "min", "max"])
            if not len(by_level):
                continue
            colour, known = COLOURS.get(arm, GREY), arm in COLOURS
            style = "--" if arm.endswith("_augmented") else "-"
            ax.plot(by_level.index, by_level["mean"], style, color=colour, lw=1.6 if known else 0.9)
            if known:
                ax.fill_between(by_level.index, by_level["min"], by_level["max"], color=colour, alpha=0.15, lw=0)
        changed = "luminosity" if sweep.parameter == "μ" else "contrast"
        ax.set_title(f"{changed}, {'large' if sweep.name.endswith('large') else 'small'}", fontsize=9)
        ax.set_xlabel(sweep.parameter, fontsize=9)
        ax.set_ylim(0, 100)
        ax.grid(alpha=0.2)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("percent right", fontsize=9)
    return figure


def kernel_figure(study: Study, dataset: str, budget: str) -> Figure:
    """Kernels of every module, a row an arm, a block of columns a layer, a column a seed; red positive, each scaled alone."""
    by_arm = kernels.pictured(study, dataset, budget)
    seeds = sorted({cell.seed for cells in by_arm.values() for cell, _ in cells})[:_DRAWN]
    figure = plt.figure(figsize=(12, 1.0 * len(by_arm) + 0.6), layout="constrained")
    grid = figure.add_gridspec(1, len(STATIONS))
    for place, layer in enumerate(STATIONS):
        block = figure.add_subfigure(grid[0, place])
        axes = block.subplots(len(by_arm), len(seeds), squeeze=False)
        block.suptitle(layer, fontsize=9)
        for row, arm in enumerate(by_arm):
            by_seed = {cell.seed: learned for cell, learned in by_arm[arm] if layer in learned}
            for ax, seed in zip(axes[row], seeds, strict=True):
                ax.set_xticks([])
                ax.set_yticks([])
                ax.set_frame_on(False)
                if row == 0:
                    ax.set_title(f"seed {seed}", fontsize=7)
                if seed not in by_seed:
                    continue
                # What grey light meets, of the first output.
                kernel = by_seed[seed][layer].sum(axis=1)[0]
                limit = np.abs(kernel).max()
                ax.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
                ax.set_xlabel(f"{kernels.balance(by_seed[seed][layer]):.2f}", fontsize=7, labelpad=1)
            if layer == STATIONS[0]:
                axes[row, 0].set_ylabel(arm.replace("_", "\n", 1), fontsize=7, rotation=0, ha="right", va="center")
    return figure


def follow_figure(measured: pd.DataFrame, names: dict[str, str]) -> Figure:
    """What networks keep over μ, against their first kernel's balance and its centre and surround; a point a network."""
    first = kernels.first_layers(measured)
    markers = dict(zip([name for name, arm in ARMS.items() if arm.has_module], "osD^", strict=True))
    datasets = list(dict.fromkeys(first.dataset))
    figure, axes = plt.subplots(
        2, len(datasets), figsize=(3.6 * len(datasets) + 1.2, 5.6), sharey="col", layout="constrained", squeeze=False
    )
    for column, dataset in enumerate(datasets):
        for ax, what in zip(axes[:, column], ("balance", "centre_surround"), strict=True):
            for budget, colour in _BUDGET_COLOURS.items():
                for arm, marker in markers.items():
                    mine = first[(first.dataset == dataset) & (first.budget == budget) & (first.arm == arm)]
                    face = "none" if arm.endswith("_augmented") else colour
                    ax.plot(mine[what], 100 * mine.mu, marker, mec=colour, mfc=face, ms=5)
            ax.set_xlabel("|Σw| / Σ|w|" if what == "balance" else "centre and surround", fontsize=8)
            ax.tick_params(labelsize=8)
            ax.grid(alpha=0.2)
        axes[0, column].set_title(names[dataset], fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("percent right over μ", fontsize=8)
    keys = [
        Line2D(
            [], [], ls="", marker=marker, color=INK, mfc="none" if arm.endswith("_augmented") else INK, ms=5, label=arm
        )
        for arm, marker in markers.items()
    ]
    ran = [budget for budget in _BUDGET_COLOURS if budget in set(first.budget)]
    keys += [Line2D([], [], ls="", marker="o", color=_BUDGET_COLOURS[budget], ms=5, label=budget) for budget in ran]
    legend = figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)
    return figure


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as scratch:
        scratch.write_text(text)
