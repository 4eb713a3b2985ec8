"""Results of the reproduction: one file per cell, and the tables of all cells in a folder."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from biomodel.utils.errors import InputError
from biomodel.utils.paths import replacing
from studies.data import datasets
from studies.reproduction.arms import ARMS
from studies.reproduction.settings import BUDGETS, Cell, sweep_groups

#: Columns of results.csv.
COLUMNS = ("dataset", "arm", "sweep", "level", "seed", "accuracy", "n", "budget")


@dataclass(frozen=True)
class CellResult:
    """Result of one cell.

    Attributes
    ----------
    accuracy : dict of (str, float) to float
        By sweep and level.
    n_images : int
        Test images.
    kernels, initial_kernels : dict of str to numpy.ndarray, (out, in, h, w)
        After and before training, by layer.
    """

    accuracy: dict[tuple[str, float], float]
    n_images: int
    kernels: dict[str, np.ndarray] = field(default_factory=dict)
    initial_kernels: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the result to a file, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            "sweep": np.array([sweep for sweep, _ in self.accuracy]),
            "level": np.array([level for _, level in self.accuracy]),
            "accuracy": np.array(list(self.accuracy.values())),
            "images": np.array(self.n_images),
        }
        for when, kernels in (("after", self.kernels), ("before", self.initial_kernels)):
            arrays |= {f"{when} {name}": kernel for name, kernel in kernels.items()}
        with replacing(path) as scratch:
            np.savez_compressed(scratch, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> CellResult:
        """Read a result that `save` wrote.

        Raises
        ------
        InputError
            For a damaged file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                keys = zip(file["sweep"].tolist(), file["level"].tolist(), strict=True)
                accuracy = dict(zip(keys, file["accuracy"].tolist(), strict=True))
                kernels, initial = (
                    {name.removeprefix(when): file[name] for name in file.files if name.startswith(when)}
                    for when in ("after ", "before ")
                )
                return CellResult(accuracy, int(file["images"]), kernels, initial)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path} is damaged ({error}): remove it") from None


@dataclass(frozen=True)
class Results:
    """All results in a folder.

    Attributes
    ----------
    cells : dict of Cell to CellResult
    sizes : dict of str to tuple of int
        Numbers of training and test images of each data set.
    class_counts : dict of str to tuple of int
        Test images of each class, by data set.
    """

    cells: dict[Cell, CellResult]
    sizes: dict[str, tuple[int, int]]
    class_counts: dict[str, tuple[int, ...]]

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of results.csv, with columns `COLUMNS`."""
        rows = [
            (cell.dataset, cell.arm, sweep, level, cell.seed, round(accuracy, 6), result.n_images, cell.budget)
            for cell, result in self.cells.items()
            for (sweep, level), accuracy in result.accuracy.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """Mean and minimum accuracy of each network over each sweep's levels; unaltered images are the sweep ``clean``.

        Columns dataset, budget, arm, sweep, seed, mean, min.
        """
        clean = self.table[(self.table.sweep == "mu") & (self.table.level == 0)].assign(sweep="clean")
        groups = pd.concat([self.table, clean]).groupby(["dataset", "budget", "arm", "sweep", "seed"], sort=False)
        return groups.accuracy.agg(["mean", "min"]).reset_index()

    def select(self, dataset: str, arm: str, sweep: str) -> pd.DataFrame:
        """Rows of `statistics` of one arm in one sweep."""
        table = self.statistics
        return table[(table.dataset == dataset) & (table.arm == arm) & (table.sweep == sweep)]


def read(out: Path) -> Results:
    """Read all results in a folder, ordered by data set, budget, arm, sweep and seed.

    Raises
    ------
    InputError
        For a folder without results.
    """
    config = json.loads((out / "config.json").read_text()) if (out / "config.json").exists() else {}
    sizes, counts = (
        {name: tuple(config[name][key]) for name in datasets.DATASETS if name in config}
        for key in ("images", "classes")
    )
    cells = [
        cell
        for dataset in datasets.DATASETS
        for budget in BUDGETS
        for arm in ARMS
        for group in sweep_groups(arm)
        for cell in _saved_seeds(out, Cell(dataset, budget, arm, 0, group))
    ]
    if not cells:
        raise InputError(f"{out} holds no reproduction: run `precortical study reproduction --out {out}`")
    return Results({cell: CellResult.load(cell.path(out)) for cell in cells}, sizes, counts)


def _saved_seeds(out: Path, cell: Cell) -> list[Cell]:
    """Cells like this one, of all seeds whose files exist."""
    path = cell.path(out)
    stem = path.stem.removesuffix("0")
    seeds = [file.stem.removeprefix(stem) for file in path.parent.glob(f"{stem}*.npz")]
    return [cell._replace(seed=seed) for seed in sorted(int(text) for text in seeds if text.isdecimal())]
