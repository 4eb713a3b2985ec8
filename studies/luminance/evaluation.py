"""Training and testing of a classifier behind an arm: its seeds are trained, then tested in every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from biomodel.utils.paths import replacing
from studies.common.classifiers import CLASSIFIERS, is_correct
from studies.common.files import is_intact
from studies.common.training import Budget, Choice, Scaled, Scaling, train
from studies.data.datasets import Images
from studies.luminance.arms import Arm
from studies.luminance.augmentation import illuminate_randomly
from studies.luminance.lights import Condition, scene

#: Training images from which the scaling behind a trained front end is measured.
_SCALING_IMAGES = 512


@dataclass(frozen=True)
class Protocol:
    """How a classifier is trained and tested.

    Attributes
    ----------
    classifier : str
        A name in `classifiers.CLASSIFIERS`.
    choice : Choice
        Learning rate and scale of maps.
    budget : Budget
        Steps and batch size.
    seeds : tuple of int
        One training each.
    conditions : tuple of Condition
        Of the test.
    """

    classifier: str
    choice: Choice
    budget: Budget
    seeds: tuple[int, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Correct:
    """Which test images were classified correctly: `correct`, boolean, (condition, seed, image)."""

    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    correct: np.ndarray

    def save(self, path: Path) -> None:
        """Write it to an npz file, atomically."""
        with replacing(path) as scratch:
            np.savez_compressed(
                scratch,
                light=[one.light for one in self.conditions],
                group=[one.group for one in self.conditions],
                level=[np.nan if one.level is None else one.level for one in self.conditions],
                seed=self.seeds,
                right=self.correct,
            )

    @staticmethod
    def load(path: Path) -> Correct:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            levels = [None if np.isnan(level) else float(level) for level in file["level"]]
            conditions = zip(file["light"].tolist(), file["group"].tolist(), levels, strict=True)
            return Correct(tuple(Condition(*one) for one in conditions), tuple(file["seed"].tolist()), file["right"])


@dataclass(frozen=True)
class FeatureCache:
    """An arm's maps of images in an adaptation state; costly ones are kept in a folder."""

    arm: Arm
    state: str
    folder: Path | None = None

    def maps(self, name: str, light: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the maps (n, C, h, w) of luminance.

        Parameters
        ----------
        name : str
            Of the images and their light: the name of the file.
        light : callable
            Returns the luminance (n, H, W) in cd/m²; called only for maps that are not in the folder.
        """
        if self.folder is None or not self.arm.costly:
            return self.arm.pooled(self.arm.maps(light(), self.state))
        path = self.folder / f"{self.arm.kept_as or self.arm.name}-{self.state}" / f"{name}.npz"
        if not is_intact(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two classifiers behind one arm may write it at the same time.
            with replacing(path) as scratch:
                # Half precision keeps a rate to a thousandth, finer than any classifier resolves.
                np.savez(scratch, maps=self.arm.maps(light(), self.state).astype(np.float16))
        with np.load(path) as file:
            return self.arm.pooled(file["maps"].astype(np.float32))

    def train_maps(self, images: Images) -> np.ndarray:
        """Return the maps of the training images in the reference light."""
        return self.maps("train", lambda: scene(images.train))

    def test_maps(self, images: Images, condition: Condition) -> np.ndarray:
        """Return the maps of the test images in a condition."""
        return self.maps(condition.name, lambda: condition.illuminate(images.test))

    def fill(self, images: Images, conditions: Iterable[Condition]) -> None:
        """Compute all maps that an evaluation reads."""
        self.train_maps(images)
        for condition in conditions:
            self.test_maps(images, condition)


@dataclass(frozen=True)
class TrainedClassifiers:
    """Networks, one per seed, and the scaling of their inputs; without scaling they take luminance."""

    networks: list[nn.Module]
    scaling: Scaling | None

    def test(self, features: FeatureCache, images: Images, protocol: Protocol) -> Correct:
        """Classify the test images in every condition."""
        labels = torch.from_numpy(images.test_labels)
        correct = []
        for condition in protocol.conditions:
            inputs = _scaled(self.scaling, features.test_maps(images, condition))
            correct.append([is_correct(network, inputs, labels).numpy() for network in self.networks])
        return Correct(protocol.conditions, protocol.seeds, np.array(correct))


def evaluate(features: FeatureCache, images: Images, protocol: Protocol) -> Correct:
    """Train a classifier with every seed and test it in every condition."""
    return train_classifiers(features, images, protocol).test(features, images, protocol)


def train_classifiers(features: FeatureCache, images: Images, protocol: Protocol) -> TrainedClassifiers:
    """Train a classifier behind an arm with every seed, and with it the arm's front end where it has one to train."""
    arm, choice, labels = features.arm, protocol.choice, torch.from_numpy(images.train_labels)
    maps = features.train_maps(images)
    scaling = None if arm.front else Scaling.of(maps, choice.input_scale)
    inputs = _scaled(scaling, maps)
    classifier = CLASSIFIERS[protocol.classifier]

    def make_network() -> nn.Module:
        if arm.front is None:
            return classifier(inputs.shape[1], images.classes, arm.norm)
        front = arm.front(features.state)
        with torch.no_grad():
            outputs = front.eval()(inputs[:_SCALING_IMAGES]).numpy()
        scaled = Scaled(Scaling.of(outputs, choice.input_scale))
        return nn.Sequential(front, scaled, classifier(outputs.shape[1], images.classes, arm.norm))

    networks = []
    for seed in protocol.seeds:
        batch: Callable[[Tensor], Tensor] = inputs.__getitem__
        if arm.lights:
            random = np.random.default_rng([seed, 41])
            batch = partial(_augmented, arm, features.state, scene(images.train), cast(Scaling, scaling), random)
        networks.append(train(make_network, batch, labels, seed, protocol.budget, choice.learning_rate))
    return TrainedClassifiers(networks, scaling)


def _augmented(
    arm: Arm, state: str, light: np.ndarray, scaling: Scaling, random: np.random.Generator, indices: Tensor
) -> Tensor:
    """Inputs of some training images, each in a random light."""
    return scaling.apply(arm.maps(illuminate_randomly(light[indices.numpy()], arm.lights, random), state))


def _scaled(scaling: Scaling | None, maps: np.ndarray) -> Tensor:
    """Inputs of a network: scaled maps, or luminance where a front end is trained with it."""
    return torch.from_numpy(maps.astype(np.float32)) if scaling is None else scaling.apply(maps)
