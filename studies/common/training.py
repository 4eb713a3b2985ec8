"""Training of classifiers: the same number of steps for every arm, reproducible from a seed."""

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
    """Steps and batch size of a training with Adam and cross-entropy; independent of the number of images."""

    steps: int = 440
    batch: int = 64


@dataclass(frozen=True)
class Choice:
    """Choices made for each arm on development data: Adam's learning rate, and the standard deviation of scaled maps."""

    learning_rate: float = 2e-3
    input_scale: float = 1.0


@dataclass(frozen=True)
class Scaling:
    """One fixed shift and scale per channel, measured on clean training maps."""

    shift: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(maps: np.ndarray, input_scale: float = 1.0) -> Scaling:
        """Measure the scaling that gives each channel of `maps` (n, C, h, w) mean 0 and standard deviation `input_scale`."""
        deviation = maps.std(axis=(0, 2, 3), dtype=np.float64)
        scale = np.where(deviation > 0, deviation, 1.0) / input_scale
        return Scaling(maps.mean(axis=(0, 2, 3), dtype=np.float64), scale)

    def apply(self, maps: np.ndarray) -> Tensor:
        """Scale maps (n, C, h, w), in single precision."""
        shift, scale = (part.astype(np.float32)[:, None, None] for part in (self.shift, self.scale))
        return torch.from_numpy((maps.astype(np.float32) - shift) / scale)


class Scaled(nn.Module):
    """A scaling as a layer, after a front end that is trained."""

    shift: Tensor
    scale: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        for name, values in (("shift", scaling.shift), ("scale", scaling.scale)):
            self.register_buffer(name, torch.from_numpy(values).float()[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        return (maps - self.shift) / self.scale


def half_cosine(optimiser: Optimizer, steps: int) -> LRScheduler:
    """Decrease the learning rate to zero along half a cosine."""
    return CosineAnnealingLR(optimiser, steps)


def train(
    make_network: Callable[[], Network],
    inputs: Callable[[Tensor], Tensor],
    labels: Tensor,
    seed: int,
    budget: Budget,
    learning_rate: float,
    schedule: Callable[[Optimizer, int], LRScheduler] = half_cosine,
) -> Network:
    """Make a network and train it; the global random state is restored.

    Parameters
    ----------
    make_network : callable
        Makes the network; its random initial weights depend on `seed`.
    inputs : callable
        Maps indices of images to the network's inputs, (n, C, h, w).
    labels : Tensor, (n,)
        Classes of all training images.
    seed : int
        Of the initial weights, of dropout and of the order of images.
    budget : Budget
        Steps and batch size.
    learning_rate : float
        Adam's initial learning rate.
    schedule : callable
        (optimiser, number of steps) to the schedule of the learning rate.

    Returns
    -------
    nn.Module
        The trained network, in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network().train()
        order = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        rate = schedule(optimiser, budget.steps)
        for indices in itertools.islice(_batches(len(labels), budget.batch, order), budget.steps):
            loss = functional.cross_entropy(network(inputs(indices)), labels[indices])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return network.eval()


def _batches(images: int, batch: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of indices, in a new random order each epoch, without end."""
    while True:
        yield from torch.randperm(images, generator=order).split(batch)
