r"""What a study's numbers say: scores of groups of lights, intervals, and contrasts between arms.

A group's score is the mean over its lights of the mean over their levels, the levels that development looked at left out. Of one
seed and one test image it is a number between 0 and 1, and everything here is a mean over both. Intervals are of a bootstrap over
both: `RESAMPLES` times seeds and images are drawn with replacement, each as many as there are, two arms with the same seeds and
the same images (Efron & Tibshirani 1993, percentile intervals of 95 %). A contrast's p is twice the share of resamples on the
other side of 0, one more resample than found counted; several contrasts are corrected together (Holm 1979).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from biomodel.utils.errors import InputError
from studies.luminance.cells import Condition, Right
from studies.luminance.lights import LIGHTS

#: Resamples of a bootstrap, and the share of them within an interval.
RESAMPLES, WITHIN = 4_000, 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its interval."""

    mean: float
    low: float
    high: float

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies within ± `margin`."""
        return -margin <= self.low and self.high <= margin


@dataclass(frozen=True)
class Contrast(Interval):
    """The difference of two arms, and how often it would be so far from 0 by chance, corrected or not."""

    p: float
    corrected: float = np.nan


def scored(cell: Right) -> dict[str, np.ndarray]:
    """Scores by group, each (seed, image), without the levels of development."""
    return by_group(cell, tested(cell))


def tested(cell: Right) -> list[Condition]:
    """The conditions of a cell without the levels of development."""
    return [one for one in cell.conditions if not _development(one)]


def by_group(cell: Right, conditions: Iterable[Condition]) -> dict[str, np.ndarray]:
    """Of some of the conditions, the score (seed, image) by group."""
    groups: dict[str, list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(condition[1], []).append(condition)
    return {group: score(cell, members) for group, members in groups.items()}


def score(cell: Right, conditions: Iterable[Condition]) -> np.ndarray:
    """Of some of the conditions, the mean over lights of the mean over levels: (seed, image)."""
    by_light: dict[str, list[int]] = {}
    for condition in conditions:
        by_light.setdefault(condition[0], []).append(cell.conditions.index(condition))
    return np.mean([cell.right[rows].mean(axis=0) for rows in by_light.values()], axis=0)


def _development(condition: Condition) -> bool:
    light, _, level = condition
    return level is not None and level in LIGHTS[light].development


def interval(scores: np.ndarray, seed: int = 0) -> Interval:
    """The mean of scores (seed, image), and its interval."""
    means = resampled(scores, seed)
    low, high = np.quantile(means, ((1 - WITHIN) / 2, (1 + WITHIN) / 2))
    return Interval(float(scores.mean()), float(low), float(high))


def contrast(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Contrast:
    """How much better one arm's scores (seed, image) are than another's of the same seeds and images.

    Raises
    ------
    InputError
        For scores of other numbers of seeds or images.
    """
    if one.shape != other.shape:
        raise InputError(
            f"scores of shapes {one.shape} and {other.shape} are not accepted: give the same seeds and images"
        )
    difference = one - other
    means = resampled(difference, seed)
    low, high = np.quantile(means, ((1 - WITHIN) / 2, (1 + WITHIN) / 2))
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (len(means) + 1))
    return Contrast(float(difference.mean()), float(low), float(high), float(p))


def resampled(scores: np.ndarray, seed: int) -> np.ndarray:
    """Means over seeds and images drawn with replacement, (`RESAMPLES`,)."""
    of_seeds, of_images = _shares(*scores.shape, seed)
    return np.einsum("rs,si,ri->r", of_seeds, scores, of_images, optimize=True)


@functools.lru_cache(maxsize=8)
def _shares(seeds: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each seed, and each image, counts in each resample; a report asks for few shapes some thousand times."""
    random = np.random.default_rng([seed, 51])
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    of_images = random.multinomial(images, np.full(images, 1 / images), RESAMPLES) / images
    return of_seeds, of_images


def holm(found: dict[str, Contrast]) -> dict[str, Contrast]:
    """Contrasts with their p corrected for how many they are, by Holm's step-down procedure."""
    order = sorted(found, key=lambda name: found[name].p)
    least, corrected = 0.0, {}
    for rank, name in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * found[name].p))
        corrected[name] = least
    return {name: Contrast(one.mean, one.low, one.high, one.p, corrected[name]) for name, one in found.items()}
