"""Whether the seed paper's networks of several seeds are trained faster stacked in one pass than in turn, on one thread."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from benchmarks.rows import CORES, Bench, Row, ratios, rounds
from studies.reproduction.arms import ARMS
from studies.reproduction.settings import BATCH

#: Networks that are stacked, steps that are timed at once, and rounds.
SEEDS, STEPS, ROUNDS = 4, 5, 5


def run(bench: Bench) -> None:
    """A row an arm: gradients of a batch, of so many seeds."""
    torch.set_num_threads(1)
    codes = torch.rand(BATCH, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(BATCH) % 10
    for arm in ("lenet", "retilenet"):
        networks = [ARMS[arm].network(1, 10).train() for _ in range(SEEDS)]
        against = "one after the other"
        sides = {
            against: functools.partial(_seconds, functools.partial(_one_by_one, networks, codes, labels)),
            "stacked": functools.partial(_seconds, functools.partial(_stacked(networks), codes, labels)),
        }
        found = rounds(ROUNDS, sides)
        ratio, low, high = ratios(found["stacked"], found[against])
        value = 1000 * statistics.median(found["stacked"])
        bench.add(Row(f"seeds/{arm}/stacked", value, "ms", against, ratio, None, low, high))
    torch.set_num_threads(CORES)


def _one_by_one(networks: list[nn.Sequential], codes: Tensor, labels: Tensor) -> None:
    for network in networks:
        network.zero_grad()
        functional.cross_entropy(network(codes), labels).backward()


def _stacked(networks: list[nn.Sequential]) -> Callable[[Tensor, Tensor], object]:
    """Gradients of all networks at once, each with dropout of its own."""
    parameters, buffers = stack_module_state(networks)

    def loss(one: dict[str, Tensor], codes: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(networks[0], (one, {}), (codes,)), labels)

    if buffers:
        raise ValueError("networks with buffers are not stacked here")
    whole = vmap(grad(loss), in_dims=(0, None, None), randomness="different")
    return lambda codes, labels: whole(parameters, codes, labels)


def _seconds(step: Callable[[], object]) -> float:
    """Of one step, the mean over `STEPS`, after one that isn't timed."""
    step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS
