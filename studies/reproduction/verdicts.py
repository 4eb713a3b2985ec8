r"""Published numbers beside ours: whether one more run of ours could have been the published one.

Of n seeds with mean x̄ and standard deviation s, one more lies with 95 % within x̄ ± t₀.₉₇₅,ₙ₋₁ s √(1 + 1/n) (prediction interval
of a normal variable: Hahn & Meeker 1991, §4.8). A published number is *reproduced* where that interval holds it and is at
most 5 points wide to either side (published numbers are rounded to three places: it may miss by half of the last);
*inconclusive* where it is wider; *not reproduced* where it doesn't hold it; *not comparable* where the budget is not the
published one or the images are fewer than were published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from studies.reproduction.cells import BUDGETS
from studies.reproduction.published import PUBLISHED, ROUNDING, SIZES
from studies.reproduction.run import Study

#: Share of runs within an interval, and how wide one may be to either side, in shares of the images.
WITHIN, WIDEST = 0.95, 0.05


@dataclass(frozen=True)
class Verdict:
    """One published number.

    Attributes
    ----------
    dataset, arm, sweep : str
    statistic : {"mean", "min"}
        Over the sweep's levels.
    published : float
    mean, low, high : float or None
        Of our seeds: their mean, and where one more would lie; None where there is no run, or one alone.
    budget : str or None
        That was run.
    verdict : str
    """

    dataset: str
    arm: str
    sweep: str
    statistic: str
    published: float
    mean: float | None
    low: float | None
    high: float | None
    budget: str | None
    verdict: str


def prediction(values: np.ndarray) -> tuple[float, float]:
    """Between what one more of these values, (n,), would lie with 95 %; infinitely far for a single one."""
    n = len(values)
    if n < 2:
        return -np.inf, np.inf
    wide = stats.t.ppf((1 + WITHIN) / 2, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(values.mean() - wide), float(values.mean() + wide)


def within(published: float, low: float, high: float) -> bool:
    """Whether a published number, which is rounded, lies between two accuracies."""
    return low - ROUNDING <= published <= high + ROUNDING


def per_seed(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and minimum over each sweep's levels: columns dataset, budget, arm, sweep, seed, mean, min."""
    grouped = results.groupby(["dataset", "budget", "arm", "sweep", "seed"], sort=False).accuracy
    return grouped.agg(["mean", "min"]).reset_index()


def verdicts(study: Study) -> list[Verdict]:
    """One for each published number of every data set: of the published budget where it was run, else of the largest one."""
    table = per_seed(study.results)
    found = []
    for dataset, by_arm in PUBLISHED.items():
        for arm, by_sweep in by_arm.items():
            for sweep, published in by_sweep.items():
                rows = table[(table.dataset == dataset) & (table.arm == arm) & (table.sweep == sweep)]
                budget = _budget(rows)
                mine = rows[rows.budget == budget]
                comparable = budget == "full" and study.sizes[dataset] == SIZES[dataset]
                for statistic, value in (("mean", published.mean), ("min", published.minimum)):
                    told = (dataset, arm, sweep, statistic, value)
                    found.append(Verdict(*told, *_judged(value, mine[statistic].to_numpy(), budget, comparable)))
    return found


def _budget(rows: pd.DataFrame) -> str | None:
    """The largest budget that was run."""
    ran = set(rows.budget)
    return next((name for name in reversed(BUDGETS) if name in ran), None)


def _judged(
    published: float, values: np.ndarray, budget: str | None, comparable: bool
) -> tuple[float | None, float | None, float | None, str | None, str]:
    """Mean, low, high, budget and verdict."""
    if not len(values):
        return None, None, None, None, "not run"
    low, high = prediction(values)
    mean = float(values.mean())
    shown = (None, None) if np.isinf(low) else (low, high)
    if not comparable:
        told = "not comparable"
    elif (high - low) / 2 > WIDEST:
        told = "inconclusive"
    else:
        told = "reproduced" if within(published, low, high) else "not reproduced"
    return mean, *shown, budget, told
