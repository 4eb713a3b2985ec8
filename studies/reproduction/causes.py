"""Published numbers outside our intervals, compared with the same statistic of every seed at every budget that was run.

They show possible causes. A number that changes beyond the published one as the budget grows points to the training; one inside
the interval of another schedule, to the schedule; one among the values of single seeds, to their spread. A network that gives
all images the same class has that class's fraction of the test images as its accuracy; such seeds are counted, because their
spread is zero and no interval describes it. The accuracy on unaltered images, which hardly varies between seeds, shows whether
our training is the published one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies.reproduction.published import CLEAN, SIZES
from studies.reproduction.results import Results
from studies.reproduction.settings import BUDGETS
from studies.reproduction.sweeps import SWEEPS
from studies.reproduction.verdicts import Verdict, contains, prediction_interval


@dataclass(frozen=True)
class BudgetStatistic:
    """A statistic at one budget.

    Attributes
    ----------
    seeds : tuple of float
        Value of each network.
    low, high : float or None
        Prediction interval; None for a single network.
    contains_published : bool
        Whether the interval contains the published number; False for a single network.
    n_one_class : int
        Networks whose minimum is the accuracy of giving all images the same class; 0 for other statistics.
    """

    seeds: tuple[float, ...]
    low: float | None
    high: float | None
    contains_published: bool
    n_one_class: int


@dataclass(frozen=True)
class Comparison:
    """A published number compared with our results at each budget.

    Attributes
    ----------
    dataset, arm : str
    quantity : str
        Sweep and statistic, or ``unaltered images``.
    published : float
    budgets : dict of str to BudgetStatistic
    """

    dataset: str
    arm: str
    quantity: str
    published: float
    budgets: dict[str, BudgetStatistic]


def outside_intervals(results: Results, verdicts: Sequence[Verdict]) -> list[Comparison]:
    """Compare each comparable published number that lies outside our prediction interval, also where that is wide."""
    comparisons = []
    for one in verdicts:
        if one.verdict not in ("not reproduced", "inconclusive") or one.low is None or one.high is None:
            continue
        if contains(one.low, one.high, one.published):
            continue
        rows = results.select(one.dataset, one.arm, one.sweep)
        counts = np.asarray(results.class_counts[one.dataset] if one.statistic == "min" else ())
        budgets = _by_budget(rows, one.statistic, one.published, counts / counts.sum())
        quantity = f"{SWEEPS[one.sweep].parameter}, {'mean' if one.statistic == 'mean' else 'minimum'}"
        comparisons.append(Comparison(one.dataset, one.arm, quantity, one.published, budgets))
    return comparisons


def clean_accuracies(results: Results) -> list[Comparison]:
    """Compare the published accuracies on unaltered images, for complete data sets and arms that were run on them."""
    comparisons = []
    for dataset, by_arm in CLEAN.items():
        for arm, published in by_arm.items():
            rows = results.select(dataset, arm, "clean")
            if len(rows) and results.sizes[dataset] == SIZES[dataset]:
                budgets = _by_budget(rows, "mean", published, np.array([]))
                comparisons.append(Comparison(dataset, arm, "unaltered images", published, budgets))
    return comparisons


def _by_budget(
    rows: pd.DataFrame, statistic: str, published: float, class_fractions: np.ndarray
) -> dict[str, BudgetStatistic]:
    """Statistic at every budget that was run; `class_fractions` are the accuracies of giving all images one class."""
    by_budget = {}
    for budget in BUDGETS:
        values = rows[rows.budget == budget][statistic].to_numpy()
        if len(values):
            low, high = prediction_interval(values)
            n_one_class = int(np.isclose(values[:, None], class_fractions, atol=1e-6, rtol=0).any(axis=1).sum())
            shown, inside = ((low, high), contains(low, high, published)) if len(values) > 1 else ((None, None), False)
            by_budget[budget] = BudgetStatistic(tuple(values.tolist()), shown[0], shown[1], inside, n_one_class)
    return by_budget
