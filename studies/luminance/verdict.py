"""What the study was to show, and whether it does: every goal with its number, its interval and its verdict.

All of it is about LeNet behind ``front_end_lgn``, settled, on the test images; differences are paired by seed and image
(`statistics`). What is asked of points lost or won is asked of the mean; "above" holds where the whole interval is above 0,
"level" and "no worse" where none of it is below minus the margin; learned and simulated agree where all of it lies within it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies.luminance.arms import is_rival
from studies.luminance.cells import Right
from studies.luminance.lights import LIGHTS, WHITE
from studies.luminance.statistics import Contrast, Interval, contrast, holm, scored

#: The arm that goals are about, and those that it is tested against on local lights, corrected for how many they are.
ARM = "front_end_lgn"
PRIMARY = ("local_contrast_norm", "hand_set", "instance_norm", "frame_mean")

#: Luminance of white, cd/m², within which global lights should cost nothing.
RANGE = (30.0, 3000.0)

#: Margins, in shares of the images.
_LEVEL, _CLEAN, _AGREEMENT, _RESPONSES = 0.01, 0.015, 0.02, 0.95


@dataclass(frozen=True)
class Finding:
    """One goal.

    Attributes
    ----------
    group : str
        Of lights.
    goal : str
        In words.
    difference : Interval
        In shares of the images.
    met : bool
    """

    group: str
    goal: str
    difference: Interval
    met: bool


def contrasts(cells: Mapping[str, Right]) -> dict[str, Contrast]:
    """The primary contrasts on local lights, by the other arm's name; `cells` are LeNet's, settled, by arm."""
    if ARM not in cells:
        return {}
    mine = scored(cells[ARM]).get("local")
    others = {name: scored(cells[name]).get("local") for name in PRIMARY if name in cells}
    if mine is None:
        return {}
    return holm({name: contrast(mine, scores) for name, scores in others.items() if scores is not None})


def findings(cells: Mapping[str, Right]) -> list[Finding]:
    """Goals that can be judged from the cells at hand: LeNet's, settled, by arm, all of the same seeds and images."""
    if ARM not in cells:
        return []
    scores = {name: scored(cell) for name, cell in cells.items()}
    mine, found = scores[ARM], []

    def against(group: str, other: str) -> Contrast:
        return contrast(mine[group], scores[other][group])

    for other, least in (
        ("instance_norm", 0.15),
        ("standardise", 0.15),
        ("local_contrast_norm", 0.05),
        ("hand_set", 0.0),
    ):
        if other in scores and "local" in mine:
            d = against("local", other)
            words = f"at least {100 * least:g} points above {other}" if least else f"above {other}"
            found.append(Finding("local", words, d, d.mean >= least if least else d.low > 0))
    rivals = [name for name in scores if is_rival(name)]
    for group, words in (("photon", "level with or above the best rival"), ("sensor", "no worse than the best rival")):
        if group in mine and rivals:
            best = max(rivals, key=lambda name: scores[name][group].mean())
            d = against(group, best)
            text = f"{words}, {best} (margin 1 point)"
            found.append(Finding(group, text, d, d.low >= -_LEVEL))
    lost = _lost_within_range(cells[ARM])
    if lost is not None:
        found.append(
            Finding(
                "global",
                f"at most 1 point lost while white is {RANGE[0]:g} to {RANGE[1]:,g} cd/m² (levels of development included)",
                lost,
                lost.mean >= -_LEVEL,
            )
        )
    plain = [name for name in ("pixels", "instance_norm") if name in scores]
    if plain:
        best = max(plain, key=lambda name: scores[name]["clean"].mean())
        d = against("clean", best)
        found.append(Finding("clean", f"within 1.5 points of {best}", d, d.mean >= -_CLEAN))
    return found


def _lost_within_range(cell: Right) -> Contrast | None:
    """Accuracy in global lights that leave white within `RANGE`, less clean accuracy: mean over lights of that over levels."""
    clean = [k for k, (_, group, _) in enumerate(cell.conditions) if group == "clean"]
    by_light: dict[str, list[np.ndarray]] = {}
    for (light, group, level), told in zip(cell.conditions, cell.right, strict=True):
        if group == "global" and level is not None and RANGE[0] <= _white(light, level) <= RANGE[1]:
            by_light.setdefault(light, []).append(told)
    if not by_light:
        return None
    lit = np.mean([np.mean(levels, axis=0) for levels in by_light.values()], axis=0)
    return contrast(lit, cell.right[clean].mean(axis=0))


def _white(light: str, level: float) -> float:
    """Luminance of white in a global light."""
    white = np.full((2, 2), WHITE)
    return float(LIGHTS[light].shine(white, level, np.random.default_rng(0)).max())


def ordering(cells: Mapping[str, Right], classifier: str) -> list[Finding]:
    """Behind another classifier: whether the arm is above those of the primary contrasts on local lights, as it should be."""
    return [
        Finding("local", f"above {name} behind the {classifier} too", one, one.low > 0)
        for name, one in contrasts(cells).items()
    ]


def kept_by_the_twin(simulated: Right, learned: Right, responses: pd.DataFrame) -> list[Finding]:
    """By group: the learned less the simulated pathway, read by one classifier; and R² of responses, medians over channels."""
    found = []
    theirs, mine = scored(simulated), scored(learned)
    for group in mine:
        d = contrast(mine[group], theirs[group])
        r2 = agreement_of_responses(responses, group)
        words = f"within ± 2 points of the circuit that it was fitted to, R² of responses at least .95 (here {r2:.3f})"
        found.append(Finding(group, words, d, d.within(_AGREEMENT) and r2 >= _RESPONSES))
    return found


def agreement_of_responses(responses: pd.DataFrame, group: str) -> float:
    """R² between circuit and twin in a group's lights: the median over channels, the mean over lights of the mean over levels."""
    by_level = responses[responses.group == group].groupby(["light", "level"], dropna=False).r2.median()
    return float(by_level.groupby("light").mean().mean())


def told(findings: Iterable[Finding]) -> list[dict]:
    """Findings as a table of plain numbers, in points."""
    return [
        {
            "group": one.group,
            "goal": one.goal,
            "difference": 100 * one.difference.mean,
            "low": 100 * one.difference.low,
            "high": 100 * one.difference.high,
            "met": bool(one.met),
        }
        for one in findings
    ]
