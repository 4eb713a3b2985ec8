"""One cell of the study: a classifier behind an arm in an adaptation state, its seeds trained, then tested in every light.

A cell is kept in one file, which image was told right in which light by which seed, and appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from biomodel.utils.atomic import atomic_write
from studies.common.classifiers import CLASSIFIERS, is_correct
from studies.common.training import Budget, Choice, Scaled, Scaling, train
from studies.data.datasets import Images
from studies.luminance.arms import Arm
from studies.luminance.augmentation import relit
from studies.luminance.lights import FEW_LEVELS, LIGHTS, illuminate, scene

#: Training images that the scale of what a trained front end says is measured on.
_MEASURED = 512

#: (light, group, level) of a test; the reference light has no level.
Condition = tuple[str, str, float | None]


@dataclass(frozen=True)
class Right:
    """What a cell found: `right` (condition, seed, image), whether an image was told right."""

    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    right: np.ndarray

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        with atomic_write(path) as scratch:
            np.savez_compressed(
                scratch,
                light=[light for light, _, _ in self.conditions],
                group=[group for _, group, _ in self.conditions],
                level=[np.nan if level is None else level for _, _, level in self.conditions],
                seed=self.seeds,
                right=self.right,
            )

    @staticmethod
    def load(path: Path) -> Right:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            levels = [None if np.isnan(level) else float(level) for level in kept["level"]]
            conditions = tuple(zip(kept["light"].tolist(), kept["group"].tolist(), levels, strict=True))
            return Right(conditions, tuple(kept["seed"].tolist()), kept["right"])


@dataclass(frozen=True)
class Seen:
    """What a classifier is given of images in a light: an arm's maps, kept in a folder where they are costly."""

    arm: Arm
    state: str
    folder: Path | None = None

    def maps(self, called: str, light: Callable[[], np.ndarray]) -> np.ndarray:
        """Maps of luminance, which is only asked for where they are not kept yet; `called` says which images and light."""
        if self.folder is None or not self.arm.costly:
            return self.arm.pooled(self.arm.maps(light(), self.state))
        path = self.folder / f"{self.arm.kept_as or self.arm.name}-{self.state}" / f"{called}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two classifiers behind one arm may be at it side by side.
            with atomic_write(path) as scratch:
                # A thousandth of a rate is less than any classifier sees.
                np.save(scratch, self.arm.maps(light(), self.state).astype(np.float16))
        return self.arm.pooled(np.load(path).astype(np.float32))


def conditions(lights: Sequence[str], few_levels: bool) -> tuple[Condition, ...]:
    """Every test, the reference light first."""
    listed: list[Condition] = [("reference", "clean", None)]
    for name in lights:
        levels = FEW_LEVELS[name] if few_levels else LIGHTS[name].levels
        listed += [(name, LIGHTS[name].group, level) for level in levels]
    return tuple(listed)


def development() -> tuple[Condition, ...]:
    """The reference light, and the levels that development may look at."""
    listed: list[Condition] = [("reference", "clean", None)]
    return (*listed, *((name, one.group, level) for name, one in LIGHTS.items() for level in one.development))


def examined(
    seen: Seen,
    images: Images,
    classifier: str,
    choice: Choice,
    budget: Budget,
    seeds: Sequence[int],
    tests: Iterable[Condition],
) -> Right:
    """Train the classifier with every seed, and test it."""
    networks, scaling = trained(seen, images, classifier, choice, budget, seeds)
    labels = torch.from_numpy(images.test_labels)
    tests = tuple(tests)
    told = []
    for light, _, level in tests:
        maps = seen.maps(name(light, level), partial(lit, images.test, light, level))
        inputs = given(seen.arm, scaling, maps)
        told.append([is_correct(network, inputs, labels).numpy() for network in networks])
    return Right(tests, tuple(seeds), np.array(told))


def prepare(seen: Seen, images: Images, tests: Iterable[Condition]) -> None:
    """Make the maps that `examined` will ask for, where they are kept."""
    seen.maps("train", lambda: scene(images.train))
    for light, _, level in tests:
        seen.maps(name(light, level), partial(lit, images.test, light, level))


def trained(
    seen: Seen, images: Images, classifier: str, choice: Choice, budget: Budget, seeds: Sequence[int]
) -> tuple[list[nn.Module], Scaling | None]:
    """The classifier trained with every seed, and the scaling of what it is given; a trained front end has its own."""
    arm, labels = seen.arm, torch.from_numpy(images.train_labels)
    light = scene(images.train)
    maps = seen.maps("train", lambda: light)
    scaling = None if arm.front else Scaling.of(maps, choice.input_scale)
    inputs = given(arm, scaling, maps)

    def network() -> nn.Module:
        if arm.front is None:
            return CLASSIFIERS[classifier](inputs.shape[1], images.classes, arm.norm)
        front = arm.front(seen.state)
        with torch.no_grad():
            said = front.eval()(inputs[:_MEASURED]).numpy()
        scaled = Scaled(Scaling.of(said, choice.input_scale))
        return nn.Sequential(front, scaled, CLASSIFIERS[classifier](said.shape[1], images.classes, arm.norm))

    networks = []
    for seed in seeds:
        relit_maps = partial(
            _relit_maps, arm, seen.state, light, cast(Scaling, scaling), np.random.default_rng([seed, 41])
        )
        fed: Callable[[Tensor], Tensor] = relit_maps if arm.lights else inputs.__getitem__
        networks.append(train(network, fed, labels, seed, budget, choice.learning_rate))
    return networks, scaling


def _relit_maps(
    arm: Arm, state: str, light: np.ndarray, scaling: Scaling, random: np.random.Generator, chosen: Tensor
) -> Tensor:
    """What an arm that is trained in many lights is given of some images."""
    return given(arm, scaling, arm.maps(relit(light[chosen.numpy()], arm.lights, random), state))


def given(arm: Arm, scaling: Scaling | None, maps: np.ndarray) -> Tensor:
    """What a network is given: scaled maps, or luminance where a front end is trained with it."""
    return torch.from_numpy(maps.astype(np.float32)) if scaling is None else scaling.apply(maps)


def lit(codes: np.ndarray, light: str, level: float | None) -> np.ndarray:
    """Scenes of sRGB codes in a light; without a level, the reference light."""
    return scene(codes) if level is None else illuminate(scene(codes), light, level)


def name(light: str, level: float | None) -> str:
    """What the maps of a test are kept as."""
    return light if level is None else f"{light}-{level:g}"
