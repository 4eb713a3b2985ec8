"""Scores of groups of lights.

A group's score is the mean over its lights of the mean over their levels, without the levels that development used. For one
seed and one test image it is a number between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from studies.luminance.evaluation import Correct
from studies.luminance.lights import Condition


def group_scores(cell: Correct) -> dict[str, np.ndarray]:
    """Scores (seed, image) by group, without the levels of development."""
    return scores_by_group(cell, scored_conditions(cell))


def scored_conditions(cell: Correct) -> list[Condition]:
    """The conditions of a cell without the levels of development."""
    return [one for one in cell.conditions if not one.of_development]


def scores_by_group(cell: Correct, conditions: Iterable[Condition]) -> dict[str, np.ndarray]:
    """Scores (seed, image) by group, over some of the conditions."""
    groups: dict[str, list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(condition.group, []).append(condition)
    return {group: score(cell, members) for group, members in groups.items()}


def score(cell: Correct, conditions: Iterable[Condition]) -> np.ndarray:
    """Score (seed, image) over some of the conditions: the mean over lights of the mean over levels."""
    by_light: dict[str, list[int]] = {}
    for condition in conditions:
        by_light.setdefault(condition.light, []).append(cell.conditions.index(condition))
    return np.mean([cell.correct[rows].mean(axis=0) for rows in by_light.values()], axis=0)
