"""The paper's claims, and what it leaves out, as differences between two arms with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from studies.reproduction.cells import BUDGETS
from studies.reproduction.published import CLEAN, PUBLISHED
from studies.reproduction.verdicts import per_seed

#: Share of differences within an interval.
_WITHIN = 0.95

#: What clean images may cost, in shares of them.
_COST = 0.01


@dataclass(frozen=True)
class Claim:
    """That one arm is above another, or at most `cost` below it.

    Attributes
    ----------
    words : str
    one, other : str
        Arms.
    sweeps : tuple of str
        Over which means are taken; ``clean`` is unaltered images.
    cost : float
        In shares of the images.
    """

    words: str
    one: str
    other: str
    sweeps: tuple[str, ...]
    cost: float = 0.0

    def published(self, dataset: str) -> float | None:
        """The difference that was published; None where one of the arms was not."""
        means = [[_published(dataset, arm, sweep) for sweep in self.sweeps] for arm in (self.one, self.other)]
        known = [[value for value in values if value is not None] for values in means]
        if any(len(values) < len(self.sweeps) for values in known):
            return None
        return float(np.mean(known[0]) - np.mean(known[1]))


def _published(dataset: str, arm: str, sweep: str) -> float | None:
    if sweep == "clean":
        return CLEAN.get(dataset, {}).get(arm)
    found = PUBLISHED.get(dataset, {}).get(arm)
    return None if found is None else found[sweep].mean


#: Both small sweeps.
_BOTH = ("mu", "sigma")

#: The ten lines on top of the report.
CLAIMS = (
    Claim("The module protects from luminosity: RetiLeNet is above LeNet", "retilenet", "lenet", ("mu",)),
    Claim("The module protects from contrast: RetiLeNet is above LeNet", "retilenet", "lenet", ("sigma",)),
    Claim("It protects from luminosity more than batch normalisation does", "retilenet", "bn_lenet", ("mu",)),
    Claim("It protects from contrast more than batch normalisation does", "retilenet", "bn_lenet", ("sigma",)),
    Claim("It costs at most a point on unaltered images", "retilenet", "lenet", ("clean",), _COST),
    Claim("With augmentation, too, it is above LeNet", "retilenet_augmented", "lenet_augmented", _BOTH),
    Claim("Instance normalisation, without a parameter, is above the module", "in_lenet", "retilenet", _BOTH),
    Claim("Standardised images are above the module", "standardise", "retilenet", _BOTH),
    Claim("Kernels held to a zero sum are above the module, luminosity", "retilenet_zero_sum", "retilenet", ("mu",)),
    Claim("The relay fitted to a circuit is above the module", "front_end_lgn", "retilenet", _BOTH),
)


@dataclass(frozen=True)
class Judged:
    """A claim in a data set.

    Attributes
    ----------
    budget : str
        Of both arms.
    seeds : tuple of int
        Of each.
    difference, low, high : float
        Of means over seeds, in shares of the images, and Welch's interval of 95 %.
    published : float or None
    holds : bool or None
        None where the interval holds both answers.
    """

    budget: str
    seeds: tuple[int, int]
    difference: float
    low: float
    high: float
    published: float | None
    holds: bool | None


def judged(claim: Claim, dataset: str, by_seed: pd.DataFrame) -> Judged | None:
    """A claim in a data set, at the largest budget that both arms were run at twice or more; None where there is none.

    `by_seed` is what `scores` makes.
    """
    rows = by_seed[(by_seed.dataset == dataset) & by_seed.sweep.isin(claim.sweeps)]
    for budget in reversed(BUDGETS):
        ran = rows[rows.budget == budget]
        one, other = (_means(ran[ran.arm == arm], len(claim.sweeps)) for arm in (claim.one, claim.other))
        if min(len(one), len(other)) > 1:
            low, high = welch(one, other)
            holds = True if low > -claim.cost else False if high < -claim.cost else None
            difference = float(one.mean() - other.mean())
            return Judged(budget, (len(one), len(other)), difference, low, high, claim.published(dataset), holds)
    return None


def _means(rows: pd.DataFrame, sweeps: int) -> np.ndarray:
    """Of each seed that was tested in so many sweeps, the mean over them."""
    by_seed = rows.groupby("seed")["mean"].agg(["mean", "count"])
    return by_seed[by_seed["count"] == sweeps]["mean"].to_numpy()


def welch(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Interval of 95 % of the difference of means of two samples, (n,) and (m,), of unlike spread (Welch 1947)."""
    errors = [values.var(ddof=1) / len(values) for values in (one, other)]
    difference, error = one.mean() - other.mean(), float(np.sqrt(sum(errors)))
    if error == 0:
        return float(difference), float(difference)
    degrees = sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, (one, other), strict=True))
    wide = float(stats.t.ppf((1 + _WITHIN) / 2, degrees)) * error
    return float(difference - wide), float(difference + wide)


def scores(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and minimum over each sweep, and accuracy on unaltered images as the sweep ``clean``, by seed.

    Parameters
    ----------
    results : pandas.DataFrame
        Of results.csv.

    Returns
    -------
    pandas.DataFrame
        As `verdicts.per_seed`.
    """
    clean = results[(results.sweep == "mu") & (results.level == 0)].assign(sweep="clean")
    return per_seed(pd.concat([results, clean]))
