"""Training a classifier on an arm's maps: the same budget for every arm, the same numbers from the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from studies.classifiers import LeNet, to_size


@dataclass(frozen=True)
class Budget:
    """How long and how every classifier is trained (Adam, cross-entropy)."""

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class Scaling:
    """One fixed shift and scale a channel, from clean training maps."""

    shift: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(maps: np.ndarray) -> Scaling:
        """The scaling that gives each channel of `maps`, (n, C, h, w), mean 0 and standard deviation 1."""
        deviation = maps.std(axis=(0, 2, 3))
        return Scaling(maps.mean(axis=(0, 2, 3)), np.where(deviation > 0, deviation, 1.0))

    def apply(self, maps: np.ndarray) -> Tensor:
        """Scaled maps, single precision."""
        return torch.from_numpy(((maps - self.shift[:, None, None]) / self.scale[:, None, None]).astype(np.float32))


def train(maps: Tensor, labels: Tensor, classes: int, instance_norm: bool, seed: int, budget: Budget) -> LeNet:
    """A LeNet trained on scaled maps, (n, C, h, w); global random state is left alone."""
    order = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = LeNet(maps.shape[1], classes, instance_norm)
    optimiser = torch.optim.Adam(classifier.parameters(), lr=budget.learning_rate)
    steps = budget.epochs * -(-len(maps) // budget.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    maps = to_size(maps)
    classifier.train()
    for _ in range(budget.epochs):
        for chosen in torch.randperm(len(maps), generator=order).split(budget.batch):
            loss = functional.cross_entropy(classifier(maps[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return classifier.eval()
