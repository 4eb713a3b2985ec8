r"""Compare published numbers with ours: could one more run of ours have given the published number?

For n seeds with mean x̄ and standard deviation s, one more lies with 95 % in x̄ ± t₀.₉₇₅,ₙ₋₁ s √(1 + 1/n) (prediction interval of a
normal variable: Hahn & Meeker 1991, §4.8). A published number is *reproduced* if that interval contains it and extends at most 5
points to either side (published numbers are rounded to three places: half of the last place is tolerated); *inconclusive* if the
interval is wider; *not reproduced* if it does not contain the number; *not comparable* if the budget is not the published one or
there are fewer images than published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from studies.reproduction.published import PUBLISHED, ROUNDING, SIZES
from studies.reproduction.results import Results
from studies.reproduction.settings import BUDGETS

#: Probability of all intervals, and largest half-width of one that decides, as a fraction of the images.
CONFIDENCE, LARGEST_HALF_WIDTH = 0.95, 0.05

#: Every verdict, in the order of the page.
VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not comparable", "not run")


@dataclass(frozen=True)
class Verdict:
    """Verdict on one published number.

    Attributes
    ----------
    dataset, arm, sweep : str
    statistic : {"mean", "min"}
        Over the sweep's levels.
    published : float
    mean, low, high : float or None
        Mean over our seeds, and prediction interval; None without a run, or with only one seed.
    budget : str or None
        Budget of our runs.
    verdict : str
        One of `VERDICTS`.
    """

    dataset: str
    arm: str
    sweep: str
    statistic: str
    published: float
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    budget: str | None = None
    verdict: str = "not run"


def prediction_interval(values: np.ndarray) -> tuple[float, float]:
    """Interval that contains one more of these values (n,) with 95 %; infinite for a single value."""
    n = len(values)
    if n < 2:
        return -np.inf, np.inf
    half_width = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(values.mean() - half_width), float(values.mean() + half_width)


def contains(low: float, high: float, published: float) -> bool:
    """Whether an interval of accuracies contains a published number, within its rounding."""
    return low - ROUNDING <= published <= high + ROUNDING


def judge(results: Results) -> list[Verdict]:
    """Judge every published number, at the published budget where it was run, else at the largest one."""
    verdicts = []
    for dataset, by_arm in PUBLISHED.items():
        for arm, by_sweep in by_arm.items():
            for sweep, published in by_sweep.items():
                rows = results.select(dataset, arm, sweep)
                budget = next((name for name in reversed(BUDGETS) if name in set(rows.budget)), None)
                comparable = budget == "full" and results.sizes[dataset] == SIZES[dataset]
                for statistic, value in (("mean", published.mean), ("min", published.minimum)):
                    ours = rows[rows.budget == budget][statistic].to_numpy()
                    verdicts.append(_verdict((dataset, arm, sweep, statistic, value), ours, budget, comparable))
    return verdicts


def _verdict(
    number: tuple[str, str, str, str, float], ours: np.ndarray, budget: str | None, comparable: bool
) -> Verdict:
    """Judge one number (data set, arm, sweep, statistic and published value) by ours (seed,)."""
    if not len(ours):
        return Verdict(*number)
    low, high = prediction_interval(ours)
    if not comparable:
        verdict = "not comparable"
    elif (high - low) / 2 > LARGEST_HALF_WIDTH:
        verdict = "inconclusive"
    else:
        verdict = "reproduced" if contains(low, high, number[-1]) else "not reproduced"
    shown = (low, high) if len(ours) > 1 else (None, None)
    return Verdict(*number, float(ours.mean()), shown[0], shown[1], budget, verdict)
