"""The light study: recognition behind each arm when the light changes.

Protocol. V1 has the first 16 of the preset's kinds of cells (`KINDS`). A front end is fitted to the pathway's responses to
photographs and noise (`bridge.stimulus_sets`). Each arm's LeNet is trained on clean training images, once a seed; it is then
tested on the test images under the reference light and every light and level. Arms that adapt do all of it in each adaptation
state. Simulated arms meet the first 600 training and 200 test images and two levels of each light. Each finished arm is written
at once, and a study that was stopped goes on from there.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from scipy import stats

import biomodel
from biomodel import Pathway
from biomodel.photographs import PHOTOGRAPHS
from biomodel.progress import progress
from bridge import FrontEnd, fit
from bridge.fitting import IMAGES
from studies import arms, datasets
from studies.classifiers import accuracy
from studies.illumination import DEFAULT, FEW_LEVELS, LIGHTS, illuminate, scene
from studies.training import Budget, Scaling, train

logger = logging.getLogger("precortical")

#: Columns of results.csv.
COLUMNS = ("dataset", "arm", "classifier", "light", "group", "level", "adaptation", "seed", "accuracy", "n")

#: Kinds of V1 cells in the studies, the first of those drawn: they compile and fit in a few minutes.
KINDS = 16


@dataclass(frozen=True)
class Settings:
    """All that determines a study's numbers, but the code: written to config.json."""

    dataset: str = "digits"
    arms: tuple[str, ...] = arms.ARMS
    lights: tuple[str, ...] = DEFAULT
    seed: int = 0
    repeats: int = 3
    train: int = 1347
    test: int = 450
    simulated_train: int = 600
    simulated_test: int = 200
    images: int = IMAGES
    preset: str = "macaque_parafovea"
    kinds: int = KINDS
    budget: Budget = Budget()

    @property
    def pathway(self) -> Pathway:
        """What is simulated, and what the front end is fitted to."""
        return Pathway(self.preset, parameters={"v1.kinds": self.kinds})

    def check(self) -> None:
        """Refuse unknown names and empty numbers.

        Raises
        ------
        ValueError
        """
        for names, accepted, what in (
            ((self.dataset,), datasets.DATASETS, "dataset"),
            (self.arms, arms.ARMS, "arm"),
            (self.lights, tuple(LIGHTS), "light"),
        ):
            if not names:
                raise ValueError(f"no {what} is chosen: give at least one of {', '.join(accepted)}")
            for name in names:
                if name not in accepted:
                    raise ValueError(f"unknown {what} {name!r}: accepted are {', '.join(accepted)}")
        for name in ("repeats", "train", "test", "simulated_train", "simulated_test", "images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not accepted: give a whole number from 1")
        if self.images < len(PHOTOGRAPHS):
            raise ValueError(f"images = {self.images} is not accepted: give at least {len(PHOTOGRAPHS)}")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed} is not accepted: give a whole number from 0")


def run(settings: Settings, out: Path, workers: int = 2, data: Path | None = None) -> pd.DataFrame:
    """Run a study, or what is left of it, into a folder; returns the table of results.csv.

    `data` is the folder of data sets, as `datasets.load` takes it.

    Raises
    ------
    ValueError
        For settings that are not accepted, a folder that cannot be written or that holds another study.
    """
    settings.check()
    pathway = settings.pathway
    images = datasets.load(settings.dataset, data).first(settings.train, settings.test)
    _claim(settings, pathway, out)
    front_end = fitted_front_end(settings, pathway, out, workers)
    cells = out / "cells"
    cells.mkdir(exist_ok=True)
    waiting = []
    for name in settings.arms:
        arm = arms.make(name, front_end, pathway, workers)
        for state in arm.adaptations:
            path = cells / f"{name}-{state}.csv"
            if path.exists():
                continue
            if arm.simulated:
                # The simulation spreads over processes itself.
                _write(
                    path, _cell(settings, arm, state, images.first(settings.simulated_train, settings.simulated_test))
                )
            else:
                waiting.append((path, name, state))
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        tasks = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
            joblib.delayed(_learned_cell)(settings, path, name, state, images) for path, name, state in waiting
        )
        for _ in progress(tasks, total=len(waiting), what="training", unit="arm"):
            pass
    order = [(name, state) for name in settings.arms for state in (*arms.ADAPTING, "none")]
    texts = [(cells / f"{n}-{s}.csv").read_text() for n, s in order if (cells / f"{n}-{s}.csv").exists()]
    table = ",".join(COLUMNS) + "\n" + "".join(texts)
    _write(out / "results.csv", table)
    results = pd.read_csv(io.StringIO(table), dtype={"level": str}, keep_default_na=False)
    _write(out / "summary.json", json.dumps(summarise(results), indent=2) + "\n")
    return results


def _claim(settings: Settings, pathway: Pathway, out: Path) -> None:
    """Make the folder, or find it holding this very study."""
    config = {
        **asdict(settings),
        "levels": {name: LIGHTS[name].levels for name in settings.lights},
        "parameters": pathway.parameters.digest,
        "precortical": biomodel.__version__,
    }
    text = json.dumps(config, indent=2) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path = out / "config.json"
        if path.exists():
            old, new = json.loads(path.read_text()), json.loads(text)
            differing = [key for key in new if old.get(key) != new[key]]
            if differing:
                raise ValueError(f"{out} holds a study with another {', '.join(differing)}: choose another folder")
        _write(path, text)
    except OSError as error:
        raise ValueError(f"{out} cannot be written ({error.strerror}): give a writable folder") from None


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text)
    os.replace(scratch, path)


def fitted_front_end(settings: Settings, pathway: Pathway, out: Path, workers: int) -> FrontEnd:
    """The study's front end: read from its folder, or fitted and written there with its report."""
    path = out / "front_end.safetensors"
    if not (path.exists() and (out / "fit.csv").exists()):
        front_end, report = fit(pathway, images=settings.images, seed=settings.seed, workers=workers)
        _write(out / "fit.json", json.dumps(report.to_json(), indent=2) + "\n")
        _write(out / "fit.csv", report.scores.to_csv(index=False))
        front_end.save(path)
    return FrontEnd.load(path)


def _learned_cell(settings: Settings, path: Path, name: str, state: str, images: datasets.Images) -> None:
    """One arm in one state, in a process of its own."""
    torch.set_num_threads(1)
    front_end = FrontEnd.load(path.parent.parent / "front_end.safetensors")
    _write(path, _cell(settings, arms.make(name, front_end, settings.pathway), state, images))


def _cell(settings: Settings, arm: arms.Arm, state: str, images: datasets.Images) -> str:
    """The rows of one arm in one state, as CSV."""
    clean = scene(images.test)
    maps = arm.maps(scene(images.train), state)
    scaling = Scaling.of(maps)
    labels, test_labels = torch.from_numpy(images.train_labels), torch.from_numpy(images.test_labels)
    seeds = [settings.seed + k for k in range(settings.repeats)]
    classifiers = [
        train(scaling.apply(maps), labels, images.classes, arm.instance_norm, seed, settings.budget) for seed in seeds
    ]
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for light, group, level in conditions(settings.lights, arm.simulated):
        lit = clean if level is None else illuminate(clean, light, level)
        seen = scaling.apply(arm.maps(lit, state))
        for seed, classifier in zip(seeds, classifiers, strict=True):
            told = accuracy(classifier, seen, test_labels)
            writer.writerow(
                [images.name, arm.name, "lenet", light, group, "" if level is None else f"{level:g}", state, seed]
                + [f"{told:.6f}", len(test_labels)]
            )
    return rows.getvalue()


def conditions(lights: Sequence[str], few_levels: bool) -> list[tuple[str, str, float | None]]:
    """(light, group, level) of every test, the reference light first."""
    listed: list[tuple[str, str, float | None]] = [("reference", "clean", None)]
    for name in lights:
        levels = FEW_LEVELS[name] if few_levels else LIGHTS[name].levels
        listed += [(name, LIGHTS[name].group, level) for level in levels]
    return listed


def group_scores(results: pd.DataFrame) -> pd.DataFrame:
    """A group's score by arm, state and seed: mean over lights of the mean over levels, development's left out."""
    development = {(n, f"{v:g}") for n, light in LIGHTS.items() for v in light.development}
    kept = results[[pair not in development for pair in zip(results.light, results.level, strict=True)]]
    keys = ["dataset", "arm", "classifier", "adaptation", "group", "seed"]
    by_light = kept.groupby([*keys, "light"], sort=False).accuracy.mean()
    return by_light.groupby(keys, sort=False).mean().reset_index()


def summarise(results: pd.DataFrame) -> dict:
    """By dataset, arm, classifier and group: mean and 95 % t interval over seeds.

    Arms that adapt have their settled state there, and the same for their sudden state under "sudden".
    """
    out: dict = {}
    keys = ["dataset", "arm", "classifier", "adaptation", "group"]
    for (dataset, arm, classifier, adaptation, group), rows in group_scores(results).groupby(keys, sort=False):
        values = rows.accuracy.to_numpy()
        half = 0.0
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        mean = float(values.mean())
        entry = {"mean": mean, "low": mean - half, "high": mean + half}
        place = out.setdefault(dataset, {}).setdefault(arm, {}).setdefault(classifier, {}).setdefault(group, {})
        if adaptation == "sudden":
            place["sudden"] = entry
        else:
            place.update(entry)
    return out
