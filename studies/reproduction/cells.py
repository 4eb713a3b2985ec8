"""Cells of the reproduction: one arm trained with one seed, then tested at every level of its sweeps; each kept in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

import bridge
from biomodel.utils.atomic import atomic_write
from studies.common import retilenet
from studies.common.classifiers import is_correct
from studies.common.training import Budget as Steps
from studies.common.training import Scaling, train
from studies.data.datasets import Images
from studies.reproduction import sweeps
from studies.reproduction.arms import Arm
from studies.reproduction.sweeps import Sweep

#: Images in a step (arXiv 2202.07432).
BATCH = 128

#: So many epochs at one of Adam's rates, then so many at the next.
Rates: TypeAlias = tuple[tuple[int, float], ...]

#: What the augmentation's chance is drawn from, beside a seed: another stream than the first weights'.
_AUGMENTING = 1

#: Images that the front end answers at a time.
_TOGETHER = 64


@dataclass(frozen=True)
class Found:
    """What a cell found.

    Attributes
    ----------
    accuracy : dict of (str, float) to float
        By sweep and level.
    images : int
        That it was tested on.
    kernels, began_with : dict of str to numpy.ndarray
        That were learned, and that were there before, (out, in, h, w), by layer.
    """

    accuracy: dict[tuple[str, float], float]
    images: int
    kernels: dict[str, np.ndarray] = field(default_factory=dict)
    began_with: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as scratch:
            kept = {
                "sweep": np.array([sweep for sweep, _ in self.accuracy]),
                "level": np.array([level for _, level in self.accuracy]),
                "accuracy": np.array(list(self.accuracy.values())),
                "images": np.array(self.images),
            }
            for when, kernels in (("after", self.kernels), ("before", self.began_with)):
                kept |= {f"{when} {name}": kernel for name, kernel in kernels.items()}
            np.savez_compressed(scratch, **kept)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> Found:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            places = zip(kept["sweep"].tolist(), kept["level"].tolist(), strict=True)
            accuracy = dict(zip(places, kept["accuracy"].tolist(), strict=True))
            kernels, before = (
                {name.removeprefix(when): kept[name] for name in kept.files if name.startswith(when)}
                for when in ("after ", "before ")
            )
            return Found(accuracy, int(kept["images"]), kernels, before)


class Budget(NamedTuple):
    """How networks are trained, and on how many training and test images at most; None for all."""

    rates: Rates
    train: int | None = None
    test: int | None = None


#: Budgets by name, the published one last. *Notebook* is how a notebook of 2021 in the authors' repository trains the module;
#: *fast* and *long* tell what a higher rate (of those that the notebook meant to try) and more epochs would change.
BUDGETS = {
    "smoke": Budget(((1, 1e-3),), 256, 50),
    "reduced": Budget(((4, 1e-3), (1, 1e-5)), 20_000),
    "notebook": Budget(((15, 1e-3), (5, 1e-4), (3, 1e-5))),
    "fast": Budget(((20, 3e-3), (5, 1e-5))),
    "long": Budget(((60, 1e-3), (5, 1e-5))),
    "full": Budget(((20, 1e-3), (5, 1e-5))),
}


def steps(images: int, epochs: int) -> int:
    """Of so many epochs."""
    return epochs * -(-images // BATCH)


def staged(rates: Rates, images: int) -> Callable[[Optimizer, int], LRScheduler]:
    """The schedule that has these rates, of so many images."""
    ends = np.cumsum([steps(images, epochs) for epochs, _ in rates[:-1]])

    def share(step: int) -> float:
        return rates[np.searchsorted(ends, step, side="right")][1] / rates[0][1]

    return lambda optimiser, _: LambdaLR(optimiser, share)


def of_codes(arm: Arm, images: Images, rates: Rates, seed: int, device: str = "cpu") -> Found:
    """An arm that takes codes, trained with one seed and tested in all sweeps.

    Parameters
    ----------
    arm : Arm
    images : Images
        In colour, where they have colours.
    rates : tuple of (int, float)
        Epochs and Adam's rate, one after the other.
    seed : int
        Of first weights, of the order of images, of dropout and of the augmentation.
    device : str
        That PyTorch computes on.
    """
    codes, tests = _codes(images.train).to(device), _codes(images.test).to(device)
    network, began_with = _trained(arm, codes, images, rates, seed)
    told: dict[tuple[str, float], float] = {}
    for sweep in sweeps.SWEEPS.values():
        told |= _tested([network], images, sweep, partial(_changed, tests))[0]
    return Found(told, len(tests), retilenet.learned_kernels(network), began_with)


def of_light(
    arm: Arm, images: Images, rates: Rates, seeds: Sequence[int], together: Sequence[Sweep], device: str = "cpu"
) -> list[Found]:
    """An arm that takes luminance, trained with every seed under the affine map that some sweeps share, and tested in them.

    What LeNet is given has one fixed shift and scale a map of the relay, from training images. Parameters as of `of_codes`;
    `together` are sweeps of one span.
    """
    front_end = bridge.pretrained("macaque_parafovea", fidelity="rate", output="lgn").to(device)

    def maps(codes: Tensor, sweep: Sweep) -> np.ndarray:
        with torch.no_grad():
            parts = [front_end(part).cpu() for part in sweep.luminance(codes).split(_TOGETHER)]
            return torch.cat(parts).numpy()

    met = maps(_codes(images.train).to(device), together[0])
    scaling = Scaling.of(met)
    given = scaling.apply(met).to(device)
    trained = [_trained(arm, given, images, rates, seed)[0] for seed in seeds]
    told: list[dict[tuple[str, float], float]] = [{} for _ in seeds]
    tests = _codes(images.test).to(device)
    for sweep in together:

        def seen(sweep: Sweep, level: float) -> Tensor:
            return scaling.apply(maps(_changed(tests, sweep, level), sweep)).to(device)

        for mine, more in zip(told, _tested(trained, images, sweep, seen), strict=True):
            mine |= more
    return [Found(one, len(tests)) for one in told]


def _codes(images: np.ndarray) -> Tensor:
    """Images (n, H, W) or (n, H, W, 3) as codes (n, C, H, W)."""
    whole = torch.tensor(images, dtype=torch.float32)
    return whole[:, None] if whole.ndim == 3 else whole.movedim(3, 1)


def _changed(codes: Tensor, sweep: Sweep, level: float) -> Tensor:
    return sweep.change(codes, level)


def _trained(
    arm: Arm, inputs: Tensor, images: Images, rates: Rates, seed: int
) -> tuple[nn.Sequential, dict[str, np.ndarray]]:
    """The network, and the kernels that it began with."""
    chance = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, _AUGMENTING]).generate_state(1)[0]))
    began_with: dict[str, np.ndarray] = {}

    def network() -> nn.Sequential:
        made = arm.network(inputs.shape[1], images.classes)
        began_with.update(retilenet.learned_kernels(made))
        return made.to(inputs.device)

    def seen(chosen: Tensor) -> Tensor:
        return sweeps.augmented(inputs[chosen], chance, images.margin) if arm.augmented else inputs[chosen]

    labels = torch.tensor(images.train_labels, device=inputs.device)
    budget = Steps(sum(steps(len(inputs), epochs) for epochs, _ in rates), BATCH)
    return train(network, seen, labels, seed, budget, rates[0][1], staged(rates, len(inputs))), began_with


def _tested(
    trained: Iterable[nn.Module], images: Images, sweep: Sweep, seen: Callable[[Sweep, float], Tensor]
) -> list[dict[tuple[str, float], float]]:
    """Accuracy of each network at every level of a sweep."""
    trained = list(trained)
    told: list[dict[tuple[str, float], float]] = [{} for _ in trained]
    for level in sweep.levels:
        given = seen(sweep, level)
        labels = torch.tensor(images.test_labels, device=given.device)
        for mine, network in zip(told, trained, strict=True):
            mine[sweep.name, level] = float(is_correct(network, given, labels).float().mean())
    return told
