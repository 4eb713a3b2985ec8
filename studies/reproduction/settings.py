"""Settings of the reproduction: training budgets, the cells of a run, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch

from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError
from studies.data import datasets
from studies.reproduction.arms import ARMS
from studies.reproduction.sweeps import LIGHT_GROUPS, SWEEPS

#: Images per batch (arXiv 2202.07432).
BATCH = 128

#: Consecutive phases of training: number of epochs, and Adam's learning rate.
Rates: TypeAlias = tuple[tuple[int, float], ...]


class Budget(NamedTuple):
    """Learning rates of a training, and the largest numbers of training and test images; None for all images."""

    rates: Rates
    train: int | None = None
    test: int | None = None


#: Budgets by name, from the smallest to the published one. *Notebook* is the schedule of a notebook of 2021 in the authors'
#: repository; *fast* and *long* show the effect of a higher rate (one that the notebook lists) and of more epochs.
BUDGETS = {
    "smoke": Budget(((1, 1e-3),), 256, 50),
    "reduced": Budget(((4, 1e-3), (1, 1e-5)), 20_000),
    "notebook": Budget(((15, 1e-3), (5, 1e-4), (3, 1e-5))),
    "fast": Budget(((20, 3e-3), (5, 1e-5))),
    "long": Budget(((60, 1e-3), (5, 1e-5))),
    "full": Budget(((20, 1e-3), (5, 1e-5))),
}


class Cell(NamedTuple):
    """One arm trained with one seed, and the sweeps that it is tested in."""

    dataset: str
    budget: str
    arm: str
    seed: int
    sweeps: tuple[str, ...]

    def path(self, out: Path) -> Path:
        """File of the cell's result in the folder of a run."""
        group = f"-{self.sweeps[0]}" if ARMS[self.arm].takes_light else ""
        return out / "cells" / self.dataset / self.budget / f"{self.arm}{group}-{self.seed}.npz"


def sweep_groups(arm: str) -> tuple[tuple[str, ...], ...]:
    """Group the sweeps by the network that is tested in them: one for all, or one per affine map to light."""
    return LIGHT_GROUPS if ARMS[arm].takes_light else (tuple(SWEEPS),)


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes
    ----------
    datasets, arms : tuple of str
        Names from `datasets.DATASETS` and `ARMS`.
    budget : str
        A key of `BUDGETS`.
    seeds, seed : int
        Number of networks per arm, and the first one's seed.
    device : str
        PyTorch device.
    """

    datasets: tuple[str, ...] = ("digits",)
    arms: tuple[str, ...] = tuple(ARMS)
    budget: str = "reduced"
    seeds: int = 5
    seed: int = 0
    device: str = "cpu"

    def check(self) -> None:
        """Raise InputError for an unknown name or device, an empty list, or a number out of range."""
        for option, names, accepted in (
            ("datasets", self.datasets, datasets.DATASETS),
            ("arms", self.arms, ARMS),
            ("budget", (self.budget,), BUDGETS),
        ):
            if not names:
                raise InputError(f"{option} must be among {', '.join(accepted)}, got none")
            for name in names:
                one_of(name, accepted, option)
        whole_number(self.seeds, "seeds", 1)
        whole_number(self.seed, "seed", 0)
        if not isinstance(self.device, str):
            raise InputError(f"device must be an available device, cpu or cuda, got {self.device!r}")
        # PyTorch raises any of these for a device that is unknown or missing.
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"device must be an available device, cpu or cuda, got {self.device!r}: {reason}"
            ) from None

    def cells(self, dataset: str) -> list[Cell]:
        """Cells of one data set."""
        return [
            Cell(dataset, self.budget, arm, self.seed + k, group)
            for arm in self.arms
            for group in sweep_groups(arm)
            for k in range(self.seeds)
        ]
