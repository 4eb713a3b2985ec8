"""The paper's claims, and what it leaves out, as differences between two arms with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from studies.reproduction.study import BUDGETS

#: Share of differences within an interval.
_WITHIN = 0.95

#: What clean images may cost, in shares of them.
_COST = 0.01


@dataclass(frozen=True)
class Claim:
    """That one arm is above another, or at most `cost` below it: in the mean over a sweep, or on unaltered images (`clean`)."""

    words: str
    one: str
    other: str
    sweep: str
    cost: float = 0.0


#: The ten lines on top of the report.
CLAIMS = (
    Claim("The module protects from luminosity: RetiLeNet is above LeNet", "retilenet", "lenet", "mu"),
    Claim("The module protects from contrast: RetiLeNet is above LeNet", "retilenet", "lenet", "sigma"),
    Claim("It protects from luminosity more than batch normalisation does", "retilenet", "bn_lenet", "mu"),
    Claim("It protects from contrast more than batch normalisation does", "retilenet", "bn_lenet", "sigma"),
    Claim("It costs at most a point on unaltered images", "retilenet", "lenet", "clean", _COST),
    Claim("With augmentation it is still above LeNet, luminosity", "retilenet_augmented", "lenet_augmented", "mu"),
    Claim("Instance normalisation, without a parameter, is above it, luminosity", "in_lenet", "retilenet", "mu"),
    Claim("Standardised images are above it, luminosity", "standardise", "retilenet", "mu"),
    Claim("Kernels held to a zero sum are above it, luminosity", "retilenet_zero_sum", "retilenet", "mu"),
    Claim("The relay fitted to a circuit is above it, luminosity", "front_end_lgn", "retilenet", "mu"),
)


@dataclass(frozen=True)
class Judged:
    """A claim in a data set: difference of means over seeds, Welch's interval, and whether it holds; None where it is open."""

    budget: str
    seeds: tuple[int, int]
    difference: float
    low: float
    high: float
    holds: bool | None


def judged(claim: Claim, dataset: str, per_seed: pd.DataFrame) -> Judged | None:
    """A claim in a data set, at the largest budget that both arms were run at twice or more; None where there is none.

    `per_seed` has columns dataset, budget, arm, sweep, seed and mean, as `scores` makes it.
    """
    rows = per_seed[(per_seed.dataset == dataset) & (per_seed.sweep == claim.sweep)]
    for budget in reversed(BUDGETS):
        ran = rows[rows.budget == budget]
        one, other = (ran[ran.arm == arm]["mean"].to_numpy() for arm in (claim.one, claim.other))
        if min(len(one), len(other)) > 1:
            low, high = welch(one, other)
            holds = True if low > -claim.cost else False if high < -claim.cost else None
            return Judged(budget, (len(one), len(other)), float(one.mean() - other.mean()), low, high, holds)
    return None


def welch(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Interval of the difference of means of two samples of unlike spread (Welch 1947)."""
    errors = [values.var(ddof=1) / len(values) for values in (one, other)]
    difference, error = one.mean() - other.mean(), float(np.sqrt(sum(errors)))
    if error == 0:
        return float(difference), float(difference)
    degrees = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (one, other), strict=True))
    wide = float(stats.t.ppf((1 + _WITHIN) / 2, degrees)) * error
    return float(difference - wide), float(difference + wide)


def scores(results: pd.DataFrame) -> pd.DataFrame:
    """Means over each sweep, and accuracy on unaltered images as the sweep ``clean``, by seed."""
    keys = ["dataset", "budget", "arm", "sweep", "seed"]
    clean = results[(results.sweep == "mu") & (results.level == 0)].assign(sweep="clean")
    both = pd.concat([results, clean])
    return both.groupby(keys, sort=False).accuracy.mean().rename("mean").reset_index()
