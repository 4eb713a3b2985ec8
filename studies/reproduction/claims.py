"""The paper's claims, and claims about the added arms, as differences between two arms with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from studies.reproduction.published import CLEAN, PUBLISHED
from studies.reproduction.settings import BUDGETS
from studies.reproduction.verdicts import CONFIDENCE

#: Largest loss on unaltered images that counts as no cost, as a fraction of the images.
_TOLERATED_COST = 0.01


@dataclass(frozen=True)
class Claim:
    """Claim that the accuracy of one arm is above that of another, or at most `cost` below it.

    Attributes
    ----------
    words : str
    one, other : str
        Arms.
    sweeps : tuple of str
        Accuracy is the mean over these sweeps; ``clean`` stands for unaltered images.
    cost : float
        As a fraction of the images.
    """

    words: str
    one: str
    other: str
    sweeps: tuple[str, ...]
    cost: float = 0.0

    def published(self, dataset: str) -> float | None:
        """The published difference; None if either arm was not published."""
        means = [_published_mean(dataset, arm, sweep) for arm in (self.one, self.other) for sweep in self.sweeps]
        known = [value for value in means if value is not None]
        if len(known) < len(means):
            return None
        one, other = np.reshape(known, (2, -1)).mean(axis=1)
        return float(one - other)


def _published_mean(dataset: str, arm: str, sweep: str) -> float | None:
    if sweep == "clean":
        return CLEAN.get(dataset, {}).get(arm)
    by_sweep = PUBLISHED.get(dataset, {}).get(arm)
    return None if by_sweep is None else by_sweep[sweep].mean


#: Both small sweeps.
_BOTH = ("mu", "sigma")

#: The ten claims at the top of the report.
CLAIMS = (
    Claim("The module protects from luminosity: RetiLeNet is above LeNet", "retilenet", "lenet", ("mu",)),
    Claim("The module protects from contrast: RetiLeNet is above LeNet", "retilenet", "lenet", ("sigma",)),
    Claim("It protects from luminosity more than batch normalisation does", "retilenet", "bn_lenet", ("mu",)),
    Claim("It protects from contrast more than batch normalisation does", "retilenet", "bn_lenet", ("sigma",)),
    Claim("It costs at most a point on unaltered images", "retilenet", "lenet", ("clean",), _TOLERATED_COST),
    Claim("With augmentation, too, it is above LeNet", "retilenet_augmented", "lenet_augmented", _BOTH),
    Claim("Instance normalisation, without a parameter, is above the module", "in_lenet", "retilenet", _BOTH),
    Claim("Standardised images are above the module", "standardise", "retilenet", _BOTH),
    Claim("Kernels held to a zero sum are above the module, luminosity", "retilenet_zero_sum", "retilenet", ("mu",)),
    Claim("The relay fitted to a circuit is above the module", "front_end_lgn", "retilenet", _BOTH),
)


@dataclass(frozen=True)
class ClaimResult:
    """Result of a claim in one data set.

    Attributes
    ----------
    budget : str
        Of both arms.
    seeds : tuple of int
        Number of seeds of each arm.
    difference, low, high : float
        Difference of means over seeds, as a fraction of the images, and Welch's interval of 95 %.
    published : float or None
    holds : bool or None
        None if the interval allows both the claim and its opposite.
    """

    budget: str
    seeds: tuple[int, int]
    difference: float
    low: float
    high: float
    published: float | None
    holds: bool | None


def judge_claim(claim: Claim, dataset: str, statistics: pd.DataFrame) -> ClaimResult | None:
    """Test a claim in a data set, at the largest budget with two or more seeds of both arms; None if there is no such budget.

    `statistics` is the table of `Results.statistics`.
    """
    rows = statistics[(statistics.dataset == dataset) & statistics.sweep.isin(claim.sweeps)]
    for budget in reversed(BUDGETS):
        ran = rows[rows.budget == budget]
        one, other = (_seed_means(ran[ran.arm == arm], claim.sweeps) for arm in (claim.one, claim.other))
        if min(len(one), len(other)) > 1:
            low, high = welch_interval(one, other)
            holds = True if low > -claim.cost else False if high < -claim.cost else None
            difference = float(one.mean() - other.mean())
            return ClaimResult(budget, (len(one), len(other)), difference, low, high, claim.published(dataset), holds)
    return None


def _seed_means(rows: pd.DataFrame, sweeps: tuple[str, ...]) -> np.ndarray:
    """Mean over sweeps of each seed that was tested in all of them."""
    by_seed = rows.pivot(index="seed", columns="sweep", values="mean").reindex(columns=list(sweeps))
    return by_seed.dropna().mean(axis=1).to_numpy()


def welch_interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Confidence interval of 95 % of the difference of means of two samples (n,) and (m,), of unequal variances (Welch 1947)."""
    if not one.var() and not other.var():
        return float(one.mean() - other.mean()), float(one.mean() - other.mean())
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)
