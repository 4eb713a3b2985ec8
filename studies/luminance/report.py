"""The report of the luminance study: figures as PNG files, and one HTML page that contains them as SVG.

It reads the study's folder, and computes no responses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from biomodel.utils.paths import write_text
from bridge.evaluate.kernels import KernelPairs
from studies.common.statistics import interval
from studies.luminance import figures, goals
from studies.luminance.agreement import median_r2
from studies.luminance.arms import BOUNDS, is_baseline
from studies.luminance.examples import KERNEL_CONTRASTS, Examples
from studies.luminance.lights import LIGHTS
from studies.luminance.results import Files, Study
from studies.luminance.scores import group_scores
from studies.luminance.settings import Cell, Settings
from studies.reporting import kernel_figure
from studies.reporting.html import FIGURES, render, svg

#: The images of a data set.
_IMAGES = {
    "digits": "Scikit-learn's handwritten digits",
    "mnist": "MNIST's handwritten digits",
    "fashion-mnist": "Fashion-MNIST's articles of clothing",
    "svhn": "House numbers (SVHN, or a part of it)",
}


def write(settings: Settings, study: Study, out: Path) -> None:
    """Draw the figures of a finished study and write report.html, in the study's folder."""
    files = Files(out)
    results, steady = study.results, study.steady()
    findings = goals.check_goals(steady) + goals.check_ordering(study.steady("resnet"), "residual network")
    relay = Cell("lenet", "simulated_lgn", "settled")
    if relay in study.agreements:
        findings += goals.check_agreement(study.agreements[relay])
    stations = KERNEL_CONTRASTS if settings.has_circuit else ()
    kernels = [KernelPairs.load(files.kernels / f"{station}.npz") for station in stations]
    with plt.rc_context(FIGURES):
        text = render(
            "luminance.html.j2",
            settings=settings,
            images=_IMAGES[settings.dataset],
            lead=_lead(study, findings),
            findings=findings,
            contrasts=goals.primary_contrasts(steady),
            groups=list(dict.fromkeys(results.group)),
            tables=_tables(study),
            colours={name: colour for name, colour in figures.COLOURS.items() if name in set(results.arm)},
            agreement=_agreement_rows(study),
            spikes=study.spikes.to_dict("records"),
            lesion_rows=study.lesion_scores.to_dict("records"),
            counts=_counts(study),
            fit=_fit_table(pd.read_csv(files.fit)) if settings.has_circuit else {},
            correlations={one.station: float(np.median(one.correlation[one.firing])) for one in kernels},
            **_figures(study, kernels, files.examples if settings.has_circuit else None, out),
        )
    write_text(out / "report.html", text)


def _figures(study: Study, kernels: list[KernelPairs], examples: Path | None, out: Path) -> dict[str, Any]:
    """Draw all figures, as SVG, and write them as PNG; those without data are empty texts."""
    results, steady = study.results, study.steady()
    has_local = bool(steady) and all("local" in group_scores(cell) for cell in steady.values())
    simulated = dict.fromkeys(cell.arm for cell in study.agreements if cell.classifier == "lenet")
    return {
        "kernels": svg(kernel_figure.draw(kernels), out / "kernels.png") if kernels else "",
        "lights": {
            name: (
                name.replace("_", " "),
                light.caption,
                svg(figures.plot_light(results, name), out / f"light_{name}.png"),
            )
            for name, light in LIGHTS.items()
            if name in set(results.light)
        },
        "lesions": {
            station: svg(figures.plot_lesions(station, found), out / f"lesions_{station}.png")
            for station, found in study.lesions.items()
        },
        "agreement_figures": {
            arm: svg(figures.plot_agreement(study.agreement, arm), out / f"agreement_{arm}.png") for arm in simulated
        },
        "costs": svg(figures.plot_costs(study, "local"), out / "costs.png") if has_local else "",
        "examples": svg(figures.plot_examples(Examples.load(examples)), out / "examples.png") if examples else "",
    }


def _lead(study: Study, findings: list[goals.Finding]) -> str:
    """The main results in one or two sentences."""
    summary = study.summary()[study.dataset]
    groups = {arm: found["lenet"] for arm, found in summary.items() if "lenet" in found}
    local = {arm: entry["local"]["mean"] for arm, entry in groups.items() if "mean" in entry.get("local", {})}
    sentences = []
    if goals.ARM in local and len(local) > 1:
        baselines = [arm for arm in local if is_baseline(arm)]
        best = max(baselines, key=lambda arm: local[arm], default=None)
        beside = "" if best is None else f"; with the best baseline, {best}, {100 * local[best]:.1f} %"
        sentences.append(
            "In local lights the classifier is correct on "
            f"{100 * local[goals.ARM]:.1f} % of images with the front end fitted to the simulated relay{beside}."
        )
    if findings:
        met = sum(one.met for one in findings)
        sentences.append(
            f"Of {len(findings)} goals set beforehand that this run can check, {met} {'is' if met == 1 else 'are'} met."
        )
    return " ".join(sentences) or "Accuracy of every arm in every chosen light."


def _counts(study: Study) -> dict[str, Any]:
    """Numbers of seeds and test images: of arms that get all images, of simulated arms and of lesions."""
    shapes = {cell.arm.startswith("simulated"): found.correct.shape for cell, found in study.cells.items()}
    seeds = sorted({found.correct.shape[1] for found in study.cells.values()})
    lesioned = [found.correct.shape[2] for results in study.lesions.values() for found in results.values()]
    return {
        "seeds": " or ".join(map(str, seeds)),
        "test": shapes[False][2] if False in shapes else None,
        "simulated": shapes[True][2] if True in shapes else None,
        "lesioned": lesioned[0] if lesioned else None,
    }


def _tables(study: Study) -> dict[str, list[dict]]:
    """Rows by classifier, one per cell: each group's mean and interval, in percent; the best that got all images is marked."""
    speeds = study.costs.set_index("arm").images_per_second
    tables: dict[str, list[dict]] = {}
    for cell, found in study.cells.items():
        intervals = {group: interval(scores) for group, scores in group_scores(found).items()}
        tables.setdefault(cell.classifier, []).append(
            {
                "arm": cell.arm,
                "state": "" if cell.state == "none" else cell.state,
                "bound": cell.arm in BOUNDS,
                "own": cell.arm.startswith(("front_end", "simulated")),
                "groups": intervals,
                "best": set(),
                "n": found.correct.shape[2],
                "speed": f"{speeds[cell.arm]:,.0f}",
            }
        )
    for rows in tables.values():
        ranked = [row for row in rows if not row["arm"].startswith("simulated") and row["arm"] not in BOUNDS]
        for group in dict.fromkeys(g for row in ranked for g in row["groups"]):
            best = max(row["groups"][group].mean for row in ranked if group in row["groups"])
            for row in ranked:
                if group in row["groups"] and 100 * row["groups"][group].mean >= 100 * best - 1e-9:
                    row["best"].add(group)
    return tables


def _agreement_rows(study: Study) -> list[dict]:
    """A row per simulated cell and group of lights: accuracies, their difference, and R² of responses."""
    rows = []
    for cell, agreement in study.agreements.items():
        simulated, learned = group_scores(agreement.simulated), group_scores(agreement.learned)
        for one in goals.check_agreement(agreement):
            rows.append(
                {
                    "arm": cell.arm if cell.classifier == "lenet" else f"{cell.arm}, {cell.classifier}",
                    "state": cell.state,
                    "group": one.group,
                    "simulated": simulated[one.group].mean(),
                    "learned": learned[one.group].mean(),
                    "difference": one.difference,
                    "r2": median_r2(agreement.responses, one.group),
                }
            )
    return rows


def _fit_table(scores: pd.DataFrame) -> dict[str, dict[str, tuple[float, float]]]:
    """Median and least R² over channels, by station and set of stimuli."""
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for (station, name), rows in scores.groupby(["station", "set"], sort=False):
        table.setdefault(str(station), {})[str(name)] = (float(rows.r2.median()), float(rows.r2.min()))
    return table
