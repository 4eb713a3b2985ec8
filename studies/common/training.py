"""Training a classifier behind an arm: the same budget for every arm, the same numbers from the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Budget:
    """How long every classifier is trained, however many images it is given (Adam, cross-entropy)."""

    steps: int = 440
    batch: int = 64


@dataclass(frozen=True)
class Choice:
    """What is chosen for each arm on development data: Adam's rate, and what scaled maps are multiplied by."""

    learning_rate: float = 2e-3
    input_scale: float = 1.0


@dataclass(frozen=True)
class Scaling:
    """One fixed shift and scale a channel, from clean training maps."""

    shift: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(maps: np.ndarray, input_scale: float = 1.0) -> Scaling:
        """The scaling that gives each channel of `maps`, (n, C, h, w), mean 0 and standard deviation `input_scale`."""
        deviation = maps.std(axis=(0, 2, 3), dtype=np.float64)
        scale = np.where(deviation > 0, deviation, 1.0) / input_scale
        return Scaling(maps.mean(axis=(0, 2, 3), dtype=np.float64), scale)

    def apply(self, maps: np.ndarray) -> Tensor:
        """Scaled maps, single precision."""
        shift, scale = (part.astype(np.float32)[:, None, None] for part in (self.shift, self.scale))
        return torch.from_numpy((maps.astype(np.float32) - shift) / scale)


class Scaled(nn.Module):
    """A scaling as a layer, behind a front end that is trained."""

    shift: Tensor
    scale: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        for name, values in (("shift", scaling.shift), ("scale", scaling.scale)):
            self.register_buffer(name, torch.from_numpy(values).float()[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        return (maps - self.shift) / self.scale


def half_cosine(optimiser: Optimizer, steps: int) -> LRScheduler:
    """A rate that falls to zero along half a cosine."""
    return CosineAnnealingLR(optimiser, steps)


def train(
    network: Callable[[], Network],
    seen: Callable[[Tensor], Tensor],
    labels: Tensor,
    seed: int,
    budget: Budget,
    learning_rate: float,
    schedule: Callable[[Optimizer, int], LRScheduler] = half_cosine,
) -> Network:
    """Make a network, and train it; global random state is left alone.

    Parameters
    ----------
    network : callable
        Makes it, by chance.
    seen : callable
        What it sees, (n, C, h, w), of the images of these indices.
    labels : Tensor, (n,)
    seed : int
    budget : Budget
    learning_rate : float
    schedule : callable
        Of the rate, over so many steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trained = network().train()
        order = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.Adam(trained.parameters(), lr=learning_rate)
        rate = schedule(optimiser, budget.steps)
        for chosen in itertools.islice(_batches(len(labels), budget.batch, order), budget.steps):
            loss = functional.cross_entropy(trained(seen(chosen)), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return trained.eval()


def _batches(images: int, batch: int, order: torch.Generator) -> Iterator[Tensor]:
    """All images in an order by chance, again and again."""
    while True:
        yield from torch.randperm(images, generator=order).split(batch)
