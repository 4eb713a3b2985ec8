"""Bootstrap intervals over seeds and images, contrasts, and Holm's correction.

Intervals are of a bootstrap over both: `RESAMPLES` times seeds and images are drawn with replacement, each as many as there are,
two arms with the same seeds and the same images (Efron & Tibshirani 1993, percentile intervals of 95 %). A contrast's p is twice
the share of resamples on the other side of 0, one more resample than found counted; several contrasts are corrected together
(Holm 1979).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from biomodel.utils.errors import InputError

#: Resamples of a bootstrap, and the coverage of its intervals.
RESAMPLES, COVERAGE = 4_000, 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float

    def within(self, margin: float) -> bool:
        """Whether the whole interval is within ± `margin`."""
        return -margin <= self.low and self.high <= margin


@dataclass(frozen=True)
class Contrast(Interval):
    """The difference of two arms, its p-value, and the p-value corrected for several contrasts."""

    p: float
    corrected: float = np.nan


def interval(scores: np.ndarray, seed: int = 0) -> Interval:
    """Mean of scores (seed, image) and its interval."""
    return _interval(scores, resampled_means(scores, seed))


def contrast(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Contrast:
    """Paired difference of two arms' scores (seed, image).

    Raises
    ------
    InputError
        For scores of different shapes.
    """
    if one.shape != other.shape:
        raise InputError(f"scores must have the same seeds and images, got shapes {one.shape} and {other.shape}")
    means = resampled_means(one - other, seed)
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (len(means) + 1))
    found = _interval(one - other, means)
    return Contrast(found.mean, found.low, found.high, float(p))


def resampled_means(scores: np.ndarray, seed: int) -> np.ndarray:
    """Means of scores (seed, image) over seeds and images drawn with replacement, (`RESAMPLES`,)."""
    seeds, images = _weights(*scores.shape, seed)
    return np.einsum("rs,si,ri->r", seeds, scores, images, optimize=True)


def holm(contrasts: dict[str, Contrast]) -> dict[str, Contrast]:
    """Correct the p-values of contrasts by Holm's step-down procedure."""
    order = sorted(contrasts, key=lambda name: contrasts[name].p)
    least, corrected = 0.0, {}
    for rank, name in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * contrasts[name].p))
        corrected[name] = least
    return {name: replace(one, corrected=corrected[name]) for name, one in contrasts.items()}


def _interval(scores: np.ndarray, means: np.ndarray) -> Interval:
    low, high = np.quantile(means, ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    return Interval(float(scores.mean()), float(low), float(high))


@functools.lru_cache(maxsize=8)
def _weights(seeds: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of each seed and of each image in each resample; cached, as a report has thousands of few shapes."""
    random = np.random.default_rng([seed, 51])
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    of_images = random.multinomial(images, np.full(images, 1 / images), RESAMPLES) / images
    return of_seeds, of_images
