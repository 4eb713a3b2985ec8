"""The reproduction: which cells a command asks for, what of them is there, and the tables of all that a folder holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import bridge
from biomodel.utils.atomic import atomic_write
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError
from bridge.model import convolution, front_end, stages
from studies.common import classifiers, parallel, retilenet, training
from studies.data import datasets, readers
from studies.reproduction import arms, cells, sweeps
from studies.reproduction.arms import ARMS
from studies.reproduction.cells import BUDGETS, Found
from studies.reproduction.sweeps import MAPS, SWEEPS

#: Columns of results.csv.
COLUMNS = ("dataset", "arm", "sweep", "level", "seed", "accuracy", "n", "budget")

#: Modules that decide what every cell finds, and what those find that take light.
_DECIDING = (arms, cells, retilenet, sweeps, classifiers, training, datasets, readers)
_DECIDING_LIGHT = (front_end, stages, convolution)


class Cell(NamedTuple):
    """One arm trained with one seed, in what it is tested."""

    dataset: str
    budget: str
    arm: str
    seed: int
    sweeps: tuple[str, ...]

    def path(self, out: Path) -> Path:
        """Its file."""
        part = f"-{self.sweeps[0]}" if ARMS[self.arm].takes_light else ""
        return out / "cells" / self.dataset / self.budget / f"{self.arm}{part}-{self.seed}.npz"


def _sweeps(arm: str) -> tuple[tuple[str, ...], ...]:
    """The sweeps of each of an arm's cells: one cell for all of them, or one for each affine map to light."""
    return MAPS if ARMS[arm].takes_light else (tuple(SWEEPS),)


@dataclass(frozen=True)
class Settings:
    """What a command asks for.

    Attributes
    ----------
    datasets, arms : tuple of str
        Of `datasets.DATASETS`, and of `ARMS`.
    budget : str
        Of `cells.BUDGETS`.
    seeds, seed : int
        How many networks an arm, and the first one's seed.
    device : str
        That PyTorch computes on.
    """

    datasets: tuple[str, ...] = ("digits",)
    arms: tuple[str, ...] = tuple(ARMS)
    budget: str = "reduced"
    seeds: int = 5
    seed: int = 0
    device: str = "cpu"

    def check(self) -> None:
        """Refuse unknown names and empty numbers.

        Raises
        ------
        InputError
        """
        for names, accepted, what in (
            (self.datasets, datasets.DATASETS, "dataset"),
            (self.arms, tuple(ARMS), "arm"),
            ((self.budget,), tuple(BUDGETS), "budget"),
        ):
            if not names:
                raise InputError(f"no {what} is chosen: give at least one of {', '.join(accepted)}")
            for name in names:
                if name not in accepted:
                    raise InputError(f"unknown {what} {name!r}: accepted are {', '.join(accepted)}")
        if self.seeds < 1:
            raise InputError(f"seeds = {self.seeds} is not accepted: give a whole number from 1")
        if self.seed < 0:
            raise InputError(f"seed = {self.seed} is not accepted: give a whole number from 0")
        # PyTorch says in any of these ways that a device is unknown, or not there.
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            told = str(error).splitlines()[0]
            raise InputError(f"device = {self.device!r} is not accepted here ({told}): give cpu, or cuda") from None

    def cells(self, dataset: str) -> list[Cell]:
        """Of one data set."""
        return [
            Cell(dataset, self.budget, name, self.seed + k, together)
            for name in self.arms
            for together in _sweeps(name)
            for k in range(self.seeds)
        ]


@dataclass(frozen=True)
class Study:
    """All that a folder holds.

    Attributes
    ----------
    cells : dict of Cell to Found
    sizes : dict of str to tuple of int
        Training and test images that each data set had.
    classes : dict of str to tuple of int
        Test images of each class.
    """

    cells: dict[Cell, Found]
    sizes: dict[str, tuple[int, int]]
    classes: dict[str, tuple[int, ...]]

    def shares(self, dataset: str) -> np.ndarray:
        """Of each class among a data set's test images."""
        counts = np.asarray(self.classes[dataset])
        return counts / counts.sum()

    @property
    def results(self) -> pd.DataFrame:
        """The table of results.csv."""
        rows = [
            (cell.dataset, cell.arm, sweep, level, cell.seed, round(accuracy, 6), found.images, cell.budget)
            for cell, found in self.cells.items()
            for (sweep, level), accuracy in found.accuracy.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def run(settings: Settings, out: Path, workers: int = 2, data: Path | None = None) -> Study:
    """Make the cells that a command asks for, or what is left of them, into a folder, and read all that it holds.

    Parameters
    ----------
    settings : Settings
    out : pathlib.Path
        The folder; `commands.txt` in it lists what was asked for.
    workers : int
        Processes, a network each.
    data : pathlib.Path, optional
        The folder of data sets, as `datasets.load` takes it.

    Raises
    ------
    InputError
        For settings that are not accepted, a folder that cannot be written, or one whose cells another code or other images made.
    """
    settings.check()
    loaded = {name: datasets.load(name, data, colour=True) for name in settings.datasets}
    for name, images in loaded.items():
        _claim(name, images, out, any(ARMS[arm].takes_light for arm in settings.arms))
        _note(settings, out)
        budget = BUDGETS[settings.budget]
        met = images.first(budget.train or len(images.train), budget.test or len(images.test))
        waiting = [cell for cell in settings.cells(name) if not cell.path(out).exists()]
        tasks = [(out, group, met, budget.rates, settings.device) for group in _together(waiting)]
        parallel.run_parallel(_make, tasks, workers, f"{name}, {settings.budget}")
    return read(out)


def _together(waiting: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that are made in one task: those of one affine map, whose costly maps serve all seeds; these first."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in waiting:
        alone = None if ARMS[cell.arm].takes_light else cell.seed
        groups.setdefault((cell.arm, cell.sweeps, alone), []).append(cell)
    return sorted(groups.values(), key=lambda group: not ARMS[group[0].arm].takes_light)


def _make(out: Path, group: Sequence[Cell], images: datasets.Images, rates: cells.Rates, device: str) -> None:
    """Make some cells, in a process of its own."""
    torch.set_num_threads(1)
    arm = ARMS[group[0].arm]
    if arm.takes_light:
        together = [SWEEPS[name] for name in group[0].sweeps]
        found = cells.of_light(arm, images, rates, [cell.seed for cell in group], together, device)
    else:
        found = [cells.of_codes(arm, images, rates, cell.seed, device) for cell in group]
    for cell, one in zip(group, found, strict=True):
        one.save(cell.path(out))


def read(out: Path) -> Study:
    """All that a folder holds, in the order of data sets, budgets, arms, sweeps and seeds.

    Raises
    ------
    InputError
        Where it holds nothing.
    """
    claimed = {name: told for name, told in _claimed(out).items() if name in datasets.DATASETS}
    sizes, classes = ({name: tuple(told[key]) for name, told in claimed.items()} for key in ("images", "classes"))
    everything = [
        cell
        for dataset in datasets.DATASETS
        for budget in BUDGETS
        for name in ARMS
        for together in _sweeps(name)
        for cell in _seeds_of(out, Cell(dataset, budget, name, 0, together))
    ]
    if not everything:
        raise InputError(f"{out} holds no reproduction: run `precortical study reproduction --out {out}`")
    return Study({cell: Found.load(cell.path(out)) for cell in everything}, sizes, classes)


def _seeds_of(out: Path, cell: Cell) -> list[Cell]:
    """The seeds of a cell that are there."""
    path = cell.path(out)
    stem = path.stem.removesuffix("0")
    seeds = [p.stem.removeprefix(stem) for p in path.parent.glob(f"{stem}*.npz")]
    return [cell._replace(seed=seed) for seed in sorted(int(text) for text in seeds if text.isdecimal())]


def _claimed(out: Path) -> dict:
    path = out / "config.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _claim(name: str, images: datasets.Images, out: Path, light: bool) -> None:
    """Make the folder, or find that its cells were made by this code, of these images and, of light, by this front end."""
    content = (images.train, images.train_labels, images.test, images.test_labels)
    told: dict[str, object] = {
        "code": code_digest(_paths(_DECIDING)),
        name: {
            "content": _digest(part.tobytes() for part in content),
            "images": [len(images.train), len(images.test)],
            "classes": np.bincount(images.test_labels).tolist(),
        },
    }
    if light:
        weights = bridge.pretrained("macaque_parafovea", fidelity="rate", output="lgn").state_dict().values()
        told["front end"] = _digest(
            [code_digest(_paths(_DECIDING_LIGHT)).encode(), *(one.numpy().tobytes() for one in weights)]
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        before = _claimed(out)
        differing = [key for key in told if key in before and before[key] != told[key]]
        if differing:
            raise InputError(f"{out} holds cells of another {', '.join(differing)}: choose another folder")
        with atomic_write(out / "config.json") as scratch:
            scratch.write_text(json.dumps(before | told, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): give a writable folder") from None


def _note(settings: Settings, out: Path) -> None:
    """Add the command that asks for this to `commands.txt`, once."""
    words = {
        "dataset": ",".join(settings.datasets),
        "arms": ",".join(settings.arms),
        "budget": settings.budget,
        "seeds": settings.seeds,
        "seed": settings.seed,
        "device": settings.device,
    }
    line = "precortical study reproduction " + " ".join(f"--{name} {value}" for name, value in words.items())
    path = out / "commands.txt"
    before = path.read_text().splitlines() if path.exists() else []
    if line not in before:
        with atomic_write(path) as scratch:
            scratch.write_text("\n".join([*before, line]) + "\n")


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _paths(modules: Iterable[ModuleType]) -> list[Path]:
    return [Path(str(module.__file__)) for module in modules]
