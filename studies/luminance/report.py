"""The report of the light study: figures as PNG files, and one HTML page that carries them as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biomodel import Pathway, luminance
from bridge import FrontEnd
from bridge.evaluate.kernels import KernelPairs, compare_kernels, most_effective_noise
from studies.data import datasets
from studies.luminance import verdict
from studies.luminance.arms import BOUNDS, is_rival
from studies.luminance.cells import Right
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE, illuminate, scene
from studies.luminance.run import Settings, Study
from studies.luminance.statistics import interval, scored
from studies.reporting import kernel_figure
from studies.reporting.html import FIGURES, GREY, INK, render, svg

#: State about which kernels are compared: background, cd/m², contrast of the noise before V1, and pixels along a side.
_KERNEL_BACKGROUND, _KERNEL_CONTRAST, _KERNEL_SIZE = 100.0, 0.5, 29

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

#: What the images of a data set are.
_IMAGES = {
    "digits": "Scikit-learn's handwritten digits",
    "mnist": "MNIST's handwritten digits",
    "fashion-mnist": "Fashion-MNIST's articles of clothing",
    "svhn": "House numbers (SVHN, or a part of it)",
}

#: What each light does, its level under the name that it has in `illumination`.
_DOES = {
    "exposure": "all light times k",
    "pedestal": "p times white added everywhere",
    "gradient": "r-fold from one side to the other",
    "hard_shadow": "one side r times darker",
    "soft_shadow": "one side r times darker, the edge soft",
    "spot": "a spot of light, the rest r times darker",
    "two_lamps": "two lamps, the rest r times darker",
    "dapple": "1/f dapples over an r-fold range",
    "low_exposure": "k times the light, then 8 bits",
    "clipping": "k times the light, cut at white, 8 bits",
    "gamma": "a sensor's codes to the power γ",
    "contrast": "a sensor's codes about their mean, times c",
    "shot_noise": "N photons a pixel at white",
}


def write(settings: Settings, study: Study, out: Path, workers: int, data: Path | None = None) -> None:
    """Draw the figures of a study and write its report into the study's folder."""
    front_end = FrontEnd.load(out / "front_end.safetensors")
    pathway = settings.pathway
    image = datasets.load(settings.dataset, data).test[:1]
    results, steady = study.results, study.steady()
    findings = verdict.findings(steady) + verdict.ordering(study.steady("resnet"), "residual network")
    for cell, found in study.compared.items():
        if (cell.classifier, cell.arm, cell.state) == ("lenet", "simulated_lgn", "settled"):
            findings += verdict.kept_by_the_twin(*found)
    with plt.rc_context(FIGURES):
        kernel_pairs, correlations = kernels(front_end, pathway, out / "kernels", workers)
        lights = {
            name: (_title(name), _DOES[name], svg(light_figure(results, name), out / f"light_{name}.png"))
            for name in LIGHTS
            if name in set(results.light)
        }
        text = render(
            "luminance.html.j2",
            settings=settings,
            images=_IMAGES[settings.dataset],
            verdict=_in_words(study, findings),
            findings=verdict.told(findings),
            contrasts=verdict.contrasts(steady),
            groups=list(dict.fromkeys(results.group)),
            tables=_tables(study),
            colours={name: colour for name, colour in COLOURS.items() if name in set(results.arm)},
            lights=lights,
            lesions={s: svg(lesion_figure(s, f), out / f"lesions_{s}.png") for s, f in study.lesions.items()},
            agreement=_agreements(study),
            agreement_figures={
                arm: svg(agreement_figure(study.agreement, arm), out / f"agreement_{arm}.png")
                for arm in dict.fromkeys(cell.arm for cell in study.compared if cell.classifier == "lenet")
            },
            spikes=study.spikes.to_dict("records"),
            costs=svg(cost_figure(study, "local"), out / "costs.png") if _has_local(steady) else "",
            lesion_rows=study.lesion_scores.to_dict("records"),
            met=_met(study),
            fit=_fit_table(pd.read_csv(out / "fit.csv")),
            correlations=correlations,
            kernels=svg(kernel_pairs, out / "kernels.png"),
            examples=svg(example_figure(settings, scene(image), front_end, pathway), out / "examples.png"),
        )
    (out / "report.html").write_text(text)


def _has_local(cells: dict[str, Right]) -> bool:
    return bool(cells) and all("local" in scored(cell) for cell in cells.values())


def _title(light: str) -> str:
    return light.replace("_", " ")


def _in_words(study: Study, findings: list[verdict.Finding]) -> str:
    """What a reader should know first."""
    summary = study.summary()[study.dataset]
    told = {arm: found["lenet"] for arm, found in summary.items() if "lenet" in found}
    local = {arm: entry["local"]["mean"] for arm, entry in told.items() if "mean" in entry.get("local", {})}
    words = []
    if "front_end_lgn" in local and len(local) > 1:
        mine = local["front_end_lgn"]
        rivals = [arm for arm in local if is_rival(arm)]
        rival = max(rivals, key=lambda arm: local[arm], default=None)
        words.append(
            f"Where the light is uneven, the front end fitted to the simulated relay keeps {100 * mine:.1f} % right"
        )
        if rival is not None:
            words[-1] += f"; the best of its rivals, {rival}, {100 * local[rival]:.1f} %"
        words[-1] += "."
    if findings:
        held = sum(one.met for one in findings)
        holds = "holds" if held == 1 else "hold"
        words.append(f"Of {len(findings)} goals set beforehand that this run can judge, {held} {holds}.")
    return " ".join(words) or "Accuracy of every arm in every light that was asked for."


def _met(study: Study) -> dict[str, Any]:
    """How many seeds and test images cells met: of arms that met all images, and of simulated ones."""
    shapes = {cell.arm.startswith("simulated"): right.right.shape for cell, right in study.cells.items()}
    seeds = sorted({right.right.shape[1] for right in study.cells.values()})
    lesioned = [right.right.shape[2] for found in study.lesions.values() for right in found.values()]
    return {
        "seeds": " or ".join(map(str, seeds)),
        "test": shapes[False][2] if False in shapes else None,
        "simulated": shapes[True][2] if True in shapes else None,
        "lesioned": lesioned[0] if lesioned else None,
    }


def _tables(study: Study) -> dict[str, list[dict]]:
    """By classifier, a row a cell: mean and interval of each group, in percent; the best that met all images is marked."""
    speeds = study.costs.set_index("arm").images_per_second
    tables: dict[str, list[dict]] = {}
    for cell, right in study.cells.items():
        groups = {
            group: {"mean": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high}
            for group, found in ((group, interval(scores)) for group, scores in scored(right).items())
        }
        tables.setdefault(cell.classifier, []).append(
            {
                "arm": cell.arm,
                "state": "" if cell.state == "none" else cell.state,
                "bound": cell.arm in BOUNDS,
                "own": cell.arm.startswith(("front_end", "simulated")),
                "groups": groups,
                "n": right.right.shape[2],
                "speed": f"{speeds[cell.arm]:,.0f}",
            }
        )
    for rows in tables.values():
        whole = [row for row in rows if not row["arm"].startswith("simulated") and row["arm"] not in BOUNDS]
        for group in dict.fromkeys(g for row in whole for g in row["groups"]):
            best = max(row["groups"][group]["mean"] for row in whole if group in row["groups"])
            for row in whole:
                if group in row["groups"]:
                    row["groups"][group]["best"] = row["groups"][group]["mean"] >= best - 1e-9
    return tables


def _agreements(study: Study) -> list[dict]:
    rows = []
    for cell, (simulated, learned, responses) in study.compared.items():
        mine, theirs = scored(learned), scored(simulated)
        for one in verdict.kept_by_the_twin(simulated, learned, responses):
            rows.append(
                {
                    "arm": cell.arm if cell.classifier == "lenet" else f"{cell.arm}, {cell.classifier}",
                    "state": cell.state,
                    "group": one.group,
                    "simulated": 100 * theirs[one.group].mean(),
                    "learned": 100 * mine[one.group].mean(),
                    "difference": 100 * one.difference.mean,
                    "low": 100 * one.difference.low,
                    "high": 100 * one.difference.high,
                    "r2": verdict.agreement_of_responses(responses, one.group),
                }
            )
    return rows


def _fit_table(scores: pd.DataFrame) -> dict[str, dict[str, tuple[float, float]]]:
    """By station and set of stimuli: median and least R² over channels."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for (station, name), rows in scores.groupby(["station", "set"], sort=False):
        found.setdefault(str(station), {})[str(name)] = (float(rows.r2.median()), float(rows.r2.min()))
    return found


def light_figure(results: pd.DataFrame, light: str) -> Figure:
    """LeNet's accuracy against a light's level, a line an arm and state."""
    figure, ax = plt.subplots(figsize=(3.1, 2.3), layout="constrained")
    part = results[(results.light == light) & (results.classifier == "lenet")]
    order = sorted(part.groupby(["arm", "adaptation"], sort=False), key=lambda pair: pair[0][0] in COLOURS)
    for (arm, state), values in order:
        _draw_line(ax, str(arm), str(state), values.assign(level=values.level.astype(float)))
    known = LIGHTS[light]
    ax.set_xscale("log")
    ax.set_xticks(known.levels, [f"{v:g}" for v in known.levels], fontsize=7)
    ax.minorticks_off()
    ax.tick_params(labelsize=7)
    ax.set_ylim(0, 100)
    ax.grid(alpha=0.2)
    ax.set_xlabel(known.parameter, fontsize=8)
    return figure


def _draw_line(ax: Axes, arm: str, state: str, values: pd.DataFrame) -> None:
    by_level = values.groupby("level").accuracy
    mean, known = 100 * by_level.mean(), arm in COLOURS
    colour = COLOURS.get(arm, GREY)
    marker = "s" if arm.startswith("simulated") else "o"
    line = "--" if state == "sudden" else "-"
    if known or state != "sudden":
        ax.plot(
            mean.index,
            mean,
            line,
            marker=marker,
            ms=3 if known else 1.5,
            lw=1.5 if known else 0.8,
            color=colour,
            alpha=1 if known else 0.5,
        )
    if known:
        ax.fill_between(mean.index, 100 * by_level.min(), 100 * by_level.max(), color=colour, alpha=0.12, lw=0)


def agreement_figure(table: pd.DataFrame, arm: str) -> Figure:
    """Light by light, what LeNet trained on a simulated station tells right of its responses and of its twin's; and R²."""
    rows = table[(table.arm == arm) & (table.classifier == "lenet")].copy()
    states = list(dict.fromkeys(rows.adaptation))
    names = list(dict.fromkeys(_condition(light, level) for light, level in zip(rows.light, rows.level, strict=True)))
    figure, axes = plt.subplots(
        1, 2 * len(states), figsize=(4.6 * len(states) + 1.5, 0.22 * len(names) + 1), sharey=True, layout="constrained"
    )
    for k, state in enumerate(states):
        part = rows[rows.adaptation == state]
        places = [names.index(_condition(light, level)) for light, level in zip(part.light, part.level, strict=True)]
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
        ax.set_yticks(range(len(names)), names, fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.2)
    axes[0].invert_yaxis()
    return figure


def _condition(light: str, level: float | None) -> str:
    return _title(light) if level is None or np.isnan(level) else f"{_title(light)} {level:g}"


def cost_figure(study: Study, group: str) -> Figure:
    """What arms keep clean and in a group's lights, beside images a second; settled, behind LeNet, the best on top."""
    speeds = study.costs.set_index("arm").images_per_second
    scores = {name: scored(cell) for name, cell in study.steady().items()}
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
        ax.set_yticks(range(len(order)), [name + (" †" if name in BOUNDS else "") for name in order], fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.2)
    axes[0].invert_yaxis()
    return figure


def lesion_figure(station: str, found: dict[tuple[str, str], Right]) -> Figure:
    """What is left of recognition in changed light without each mechanism, and with each alone."""
    variants = list(dict.fromkeys(variant for variant, _ in found))
    groups = [g for g in dict.fromkeys(g for _, g, _ in next(iter(found.values())).conditions) if g != "clean"]
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(2.5 * len(groups) + 1.5, 0.3 * len(variants) + 1.1),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, group in zip(axes[0], groups, strict=True):
        for place, variant in enumerate(variants):
            for how, filled, by in (("retrained", True, -0.13), ("kept", False, 0.13)):
                scores = scored(found[variant, how])[group]
                one = interval(scores)
                ax.plot([100 * one.low, 100 * one.high], [place + by] * 2, color=COLOURS["simulated_lgn"], lw=1)
                ax.plot(
                    100 * one.mean,
                    place + by,
                    "o",
                    ms=5,
                    mec=COLOURS["simulated_lgn"],
                    mfc=COLOURS["simulated_lgn"] if filled else "none",
                )
        ax.set_title(group, fontsize=9)
        ax.set_yticks(range(len(variants)), [v.replace("_", " ") for v in variants], fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.2)
    axes[0][0].invert_yaxis()
    figure.suptitle(f"before {'the relay' if station == 'lgn' else 'V1'}", fontsize=9)
    return figure


def kernels(front_end: FrontEnd, pathway: Pathway, out: Path, workers: int) -> tuple[Figure, dict[str, float]]:
    """Simulated receptive fields over fitted kernels, and the median correlation of each station's; kept in a folder.

    Relay cells are probed about an even field, V1's cells, which square, about noise; those that are silent there are left out.
    """
    out.mkdir(exist_ok=True)
    found = []
    for station, contrast in (("lgn", 0.0), ("v1", _KERNEL_CONTRAST)):
        path = out / f"{station}.npz"
        if not path.exists():
            seed = most_effective_noise(
                pathway, front_end.pixels_per_degree, _KERNEL_BACKGROUND, _KERNEL_CONTRAST, _KERNEL_SIZE
            )
            state = (station, _KERNEL_BACKGROUND, contrast, _KERNEL_SIZE, seed)
            compare_kernels(pathway, front_end, *state, workers).save(path)
        found.append(KernelPairs.load(path))
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
