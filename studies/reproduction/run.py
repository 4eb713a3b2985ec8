"""Run the reproduction: compute the missing cells of a folder, and read all results in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

import bridge
from biomodel.engine.cluster import Workers, check_workers
from biomodel.utils.code import code_digest
from biomodel.utils.paths import write_text
from biomodel.utils.run_folder import array_digest, claim
from bridge.model import convolution, front_end, stages, time
from studies.common import classifiers, retilenet, training
from studies.common.files import is_intact
from studies.common.parallel import run_parallel, shared
from studies.data import datasets, readers
from studies.reproduction import arms, cells, settings, sweeps
from studies.reproduction.arms import ARMS
from studies.reproduction.results import Results, read
from studies.reproduction.settings import BUDGETS, Cell, Rates, Settings
from studies.reproduction.sweeps import SWEEPS

#: Modules that determine the results of every cell, and those that determine the maps of arms that take light.
_CODE = (arms, cells, settings, retilenet, sweeps, classifiers, training, datasets, readers)
_FRONT_END_CODE = (front_end, stages, time, convolution)


def run(settings: Settings, out: Path, workers: Workers = 2, data: Path | None = None) -> Results:
    """Compute the cells of a run that a folder does not hold yet, and read all results in the folder.

    Parameters
    ----------
    settings : Settings
    out : pathlib.Path
        The folder; its ``commands.txt`` lists the commands that were run.
    workers : int or str
        Number of processes, or the address of a dask scheduler; each trains one network at a time.
    data : pathlib.Path, optional
        Folder of data sets, as for `datasets.load`.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        For invalid settings, a folder that cannot be written, or one with cells of other code or other images.
    """
    settings.check()
    workers = check_workers(workers)
    out = shared(out, workers)
    takes_light = any(ARMS[arm].takes_light for arm in settings.arms)
    loaded = {name: datasets.load(name, data, colour=True) for name in settings.datasets}
    for name, images in loaded.items():
        claim(out / "config.json", _provenance(name, images, takes_light), extend=True)
        _note_command(settings, out)
        budget = BUDGETS[settings.budget]
        used = images.first(budget.train or len(images.train), budget.test or len(images.test))
        pending = [cell for cell in settings.cells(name) if not is_intact(cell.path(out))]
        tasks = [(out, group, used, budget.rates, settings.device) for group in _tasks(pending)]
        run_parallel(_compute, tasks, workers, f"{name}, {settings.budget}", out)
    return read(out)


def _tasks(pending: Sequence[Cell]) -> list[list[Cell]]:
    """Group cells into tasks: all seeds of one affine map, whose maps are costly and shared, come first."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in pending:
        seed = None if ARMS[cell.arm].takes_light else cell.seed
        groups.setdefault((cell.arm, cell.sweeps, seed), []).append(cell)
    return sorted(groups.values(), key=lambda group: not ARMS[group[0].arm].takes_light)


def _compute(out: Path, group: Sequence[Cell], images: datasets.Images, rates: Rates, device: str) -> None:
    """Compute and save the cells of one task."""
    torch.set_num_threads(1)
    arm, seeds = ARMS[group[0].arm], [cell.seed for cell in group]
    if arm.takes_light:
        shared = [SWEEPS[name] for name in group[0].sweeps]
        results = cells.evaluate_on_light(arm, images, rates, seeds, shared, device)
    else:
        results = [cells.evaluate_on_codes(arm, images, rates, seed, device) for seed in seeds]
    for cell, result in zip(group, results, strict=True):
        result.save(cell.path(out))


def _provenance(name: str, images: datasets.Images, takes_light: bool) -> dict[str, object]:
    """What determines the cells of a data set: code, images and, for arms that take light, the front end."""
    provenance: dict[str, object] = {
        "code": _digest(_CODE),
        name: {
            "content": array_digest((images.train, images.train_labels, images.test, images.test_labels)),
            "images": [len(images.train), len(images.test)],
            "classes": np.bincount(images.test_labels).tolist(),
        },
    }
    if takes_light:
        weights = bridge.pretrained("macaque_parafovea", fidelity="rate", output="lgn").state_dict().values()
        provenance["front end"] = {
            "code": _digest(_FRONT_END_CODE),
            "weights": array_digest(values.numpy() for values in weights),
        }
    return provenance


def _note_command(settings: Settings, out: Path) -> None:
    """Append the command of this run to ``commands.txt``, once."""
    line = (
        f"precortical study reproduction --dataset {','.join(settings.datasets)} --arms {','.join(settings.arms)} "
        f"--budget {settings.budget} --seeds {settings.seeds} --seed {settings.seed} --device {settings.device}"
    )
    path = out / "commands.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    if line not in lines:
        write_text(path, "\n".join([*lines, line]) + "\n")


def _digest(modules: Iterable[ModuleType]) -> str:
    return code_digest(Path(str(module.__file__)) for module in modules)
