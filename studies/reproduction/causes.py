"""Published numbers that ours do not come to, looked into: the same statistic of every seed, at every budget that was run.

A number that grows or falls with the budget beyond what was published tells of training; one that another schedule's interval
holds, of the schedule; one that lies among single seeds, of their spread. Where a network names one class whatever it is shown,
its accuracy is that class's share of the test images: such seeds are counted, for they have no spread that an interval could
tell. How many unaltered images are told right, which seeds hardly differ in, tells whether training was the published one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies.reproduction.cells import BUDGETS
from studies.reproduction.claims import scores
from studies.reproduction.published import CLEAN, SIZES
from studies.reproduction.run import Study
from studies.reproduction.sweeps import SWEEPS
from studies.reproduction.verdicts import Verdict, per_seed, prediction, within


@dataclass(frozen=True)
class Beside:
    """A statistic at one budget.

    Attributes
    ----------
    seeds : tuple of float
        Of each network.
    low, high : float or None
        Where one more would lie; None for a single one.
    holds : bool
        Whether the published number lies there; False for a single one.
    one_class : int
        How many networks have, at their worst level, the accuracy of naming one class alone; 0 for what is no minimum.
    """

    seeds: tuple[float, ...]
    low: float | None
    high: float | None
    holds: bool
    one_class: int


@dataclass(frozen=True)
class Cause:
    """A published number beside what each budget that was run gives.

    Attributes
    ----------
    dataset, arm : str
    what : str
        Of a verdict, sweep and statistic; ``unaltered images`` where it is none.
    published : float
    beside : dict of str to Beside
        By budget.
    """

    dataset: str
    arm: str
    what: str
    published: float
    beside: dict[str, Beside]


def causes(study: Study, verdicts: Sequence[Verdict]) -> list[Cause]:
    """One for each published number that could be compared and lies outside our interval, however wide that is."""
    table = per_seed(study.results)
    found = []
    for one in verdicts:
        if one.verdict not in ("not reproduced", "inconclusive") or one.low is None or one.high is None:
            continue
        if within(one.published, one.low, one.high):
            continue
        rows = table[(table.dataset == one.dataset) & (table.arm == one.arm) & (table.sweep == one.sweep)]
        shares = study.shares(one.dataset) if one.statistic == "min" else np.array([])
        what = f"{SWEEPS[one.sweep].parameter}, {'mean' if one.statistic == 'mean' else 'minimum'}"
        found.append(
            Cause(one.dataset, one.arm, what, one.published, _budgets(rows, one.statistic, one.published, shares))
        )
    return found


def unaltered(study: Study) -> list[Cause]:
    """What was published of unaltered images, of data sets that are whole and arms that were run on them."""
    table = scores(study.results)
    found = []
    for dataset, by_arm in CLEAN.items():
        for arm, published in by_arm.items():
            rows = table[(table.dataset == dataset) & (table.arm == arm) & (table.sweep == "clean")]
            if len(rows) and study.sizes[dataset] == SIZES[dataset]:
                beside = _budgets(rows, "mean", published, np.array([]))
                found.append(Cause(dataset, arm, "unaltered images", published, beside))
    return found


def _budgets(rows: pd.DataFrame, statistic: str, published: float, shares: np.ndarray) -> dict[str, Beside]:
    by_budget = {budget: rows[rows.budget == budget][statistic].to_numpy() for budget in BUDGETS}
    return {budget: _beside(published, values, shares) for budget, values in by_budget.items() if len(values)}


def _beside(published: float, values: np.ndarray, shares: np.ndarray) -> Beside:
    low, high = prediction(values)
    named = int(np.isclose(values[:, None], shares, atol=1e-6, rtol=0).any(axis=1).sum())
    if not np.isfinite(low):
        return Beside(tuple(values.tolist()), None, None, False, named)
    return Beside(tuple(values.tolist()), low, high, within(published, low, high), named)
