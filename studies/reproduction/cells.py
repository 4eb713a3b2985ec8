"""Train the networks of a cell and test them at every level of its sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

import bridge
from studies.common import training
from studies.common.classifiers import is_correct
from studies.common.retilenet import learned_kernels
from studies.data.datasets import Images
from studies.reproduction.arms import Arm
from studies.reproduction.results import CellResult
from studies.reproduction.settings import BATCH, Rates
from studies.reproduction.sweeps import SWEEPS, Sweep, augment

#: Random stream of the augmentation; the initial weights of the same seed have another.
_AUGMENTATION_STREAM = 1

#: Images per batch of the front end.
_FRONT_END_BATCH = 64


def n_steps(n_images: int, epochs: int) -> int:
    """Number of training steps in some epochs."""
    return epochs * -(-n_images // BATCH)


def rate_schedule(rates: Rates, n_images: int) -> Callable[[Optimizer, int], LRScheduler]:
    """Make the schedule of the learning rates `rates`, for a number of training images."""
    ends = np.cumsum([n_steps(n_images, epochs) for epochs, _ in rates[:-1]])

    def factor(step: int) -> float:
        return rates[np.searchsorted(ends, step, side="right")][1] / rates[0][1]

    return lambda optimiser, _: LambdaLR(optimiser, factor)


def evaluate_on_codes(arm: Arm, images: Images, rates: Rates, seed: int, device: str = "cpu") -> CellResult:
    """Train an arm that takes codes with one seed, and test it in all sweeps.

    Parameters
    ----------
    arm : Arm
    images : Images
        In colour, if the data set has colours.
    rates : tuple of (int, float)
        Numbers of epochs and Adam's learning rates of consecutive phases.
    seed : int
        Of initial weights, of the order of images, of dropout and of the augmentation.
    device : str
        PyTorch device.

    Returns
    -------
    CellResult
    """
    codes, tests = _codes(images.train).to(device), _codes(images.test).to(device)
    network, initial = _train(arm, codes, images, rates, seed)
    accuracy: dict[tuple[str, float], float] = {}
    for sweep in SWEEPS.values():
        accuracy |= _accuracies([network], images, sweep, lambda codes, sweep: codes, tests)[0]
    return CellResult(accuracy, len(tests), learned_kernels(network), initial)


def evaluate_on_light(
    arm: Arm, images: Images, rates: Rates, seeds: Sequence[int], sweeps: Sequence[Sweep], device: str = "cpu"
) -> list[CellResult]:
    """Train an arm that takes luminance with several seeds under the affine map that some sweeps share; test it in these.

    LeNet's inputs are the maps of the relay, with one fixed shift and scale per map from training images.

    Parameters
    ----------
    arm, images, rates, device
        As for `evaluate_on_codes`.
    seeds : sequence of int
        One network is trained per seed.
    sweeps : sequence of Sweep
        Sweeps of the same span.

    Returns
    -------
    list of CellResult
        One per seed.
    """
    front_end = bridge.pretrained("macaque_parafovea", fidelity="rate", output="lgn").to(device)

    def maps(codes: Tensor, sweep: Sweep) -> np.ndarray:
        with torch.no_grad():
            batches = [front_end(batch).cpu() for batch in sweep.luminance(codes).split(_FRONT_END_BATCH)]
            return torch.cat(batches).numpy()

    clean = maps(_codes(images.train).to(device), sweeps[0])
    scaling = training.Scaling.of(clean)
    inputs = scaling.apply(clean).to(device)
    networks = [_train(arm, inputs, images, rates, seed)[0] for seed in seeds]
    tests = _codes(images.test).to(device)
    accuracy: list[dict[tuple[str, float], float]] = [{} for _ in seeds]
    for sweep in sweeps:
        by_network = _accuracies(
            networks, images, sweep, lambda codes, sweep: scaling.apply(maps(codes, sweep)).to(device), tests
        )
        accuracy = [{**old, **new} for old, new in zip(accuracy, by_network, strict=True)]
    return [CellResult(one, len(tests)) for one in accuracy]


def _codes(images: np.ndarray) -> Tensor:
    """Images (n, H, W) or (n, H, W, 3) as codes (n, C, H, W)."""
    codes = torch.tensor(images, dtype=torch.float32)
    return codes[:, None] if codes.ndim == 3 else codes.movedim(3, 1)


def _train(
    arm: Arm, inputs: Tensor, images: Images, rates: Rates, seed: int
) -> tuple[nn.Sequential, dict[str, np.ndarray]]:
    """Train a network; returns it and its initial kernels."""
    stream = np.random.SeedSequence([seed, _AUGMENTATION_STREAM])
    generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
    initial: dict[str, np.ndarray] = {}

    def make_network() -> nn.Sequential:
        network = arm.network(inputs.shape[1], images.classes)
        initial.update(learned_kernels(network))
        return network.to(inputs.device)

    def batch(indices: Tensor) -> Tensor:
        return augment(inputs[indices], generator, images.margin) if arm.augmented else inputs[indices]

    labels = torch.tensor(images.train_labels, device=inputs.device)
    budget = training.Budget(sum(n_steps(len(inputs), epochs) for epochs, _ in rates), BATCH)
    schedule = rate_schedule(rates, len(inputs))
    return training.train(make_network, batch, labels, seed, budget, rates[0][1], schedule), initial


def _accuracies(
    networks: Sequence[nn.Module],
    images: Images,
    sweep: Sweep,
    inputs: Callable[[Tensor, Sweep], Tensor],
    tests: Tensor,
) -> list[dict[tuple[str, float], float]]:
    """Accuracy of each network at every level of a sweep; `inputs` maps changed codes to the networks' inputs."""
    accuracy: list[dict[tuple[str, float], float]] = [{} for _ in networks]
    labels = torch.tensor(images.test_labels, device=tests.device)
    for level in sweep.levels:
        shown = inputs(sweep.apply(tests, level), sweep)
        for network, by_level in zip(networks, accuracy, strict=True):
            by_level[sweep.name, level] = float(is_correct(network, shown, labels).float().mean())
    return accuracy
