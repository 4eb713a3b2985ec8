"""Numbers that are not reproduced, looked into: the same statistic of every seed, at every budget and schedule that was run.

A number that grows or falls with the budget beyond what was published tells of training; one that another schedule's interval
holds, of the schedule; one that lies among single seeds, of their spread. Where a network names one class whatever it is shown,
its accuracy is that class's share of the test images: such seeds are counted, for they have no spread that an interval could
tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studies.reproduction.cells import BUDGETS
from studies.reproduction.published import ROUNDING
from studies.reproduction.study import Study
from studies.reproduction.verdicts import Verdict, per_seed, prediction


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
        How many networks have, at their worst level, the accuracy of naming one class alone.
    """

    seeds: tuple[float, ...]
    low: float | None
    high: float | None
    holds: bool
    one_class: int


@dataclass(frozen=True)
class Cause:
    """A published number that is not reproduced, beside what each budget that was run gives."""

    verdict: Verdict
    beside: dict[str, Beside]


def causes(study: Study, verdicts: Sequence[Verdict]) -> list[Cause]:
    """One for each of these verdicts that is *not reproduced*."""
    table = per_seed(study.results)
    found = []
    for one in verdicts:
        if one.verdict != "not reproduced":
            continue
        rows = table[(table.dataset == one.dataset) & (table.arm == one.arm) & (table.sweep == one.sweep)]
        by_budget = {budget: rows[rows.budget == budget][one.statistic].to_numpy() for budget in BUDGETS}
        shares = study.shares(one.dataset)
        beside = {b: _beside(one, values, shares) for b, values in by_budget.items() if len(values)}
        found.append(Cause(one, beside))
    return found


def _beside(verdict: Verdict, values: np.ndarray, shares: np.ndarray) -> Beside:
    low, high = prediction(values)
    named = (
        np.isclose(values[:, None], shares, atol=1e-6, rtol=0).any(axis=1) if verdict.statistic == "min" else values < 0
    )
    if not np.isfinite(low):
        return Beside(tuple(values.tolist()), None, None, False, int(named.sum()))
    holds = low - ROUNDING <= verdict.published <= high + ROUNDING
    return Beside(tuple(values.tolist()), low, high, bool(holds), int(named.sum()))
