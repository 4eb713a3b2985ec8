"""The goals that were set for the study: each with its number, its interval and whether it is met.

All goals are about LeNet behind ``front_end_lgn``, settled, on the test images; differences are paired by seed and image
(`common.statistics`). Margins of points lost or gained are compared with the mean; "above" is met where the whole interval is
above 0, "level" and "no worse" where none of it is below minus the margin; learned and simulated agree where all of it is within
the margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from studies.common.statistics import Contrast, Interval, contrast, holm
from studies.luminance.agreement import Agreement, median_r2
from studies.luminance.arms import is_baseline
from studies.luminance.evaluation import Correct
from studies.luminance.lights import LIGHTS, WHITE
from studies.luminance.scores import group_scores

#: The arm of the goals, and the arms of the primary contrasts on local lights, which are corrected together.
ARM = "front_end_lgn"
PRIMARY = ("local_contrast_norm", "hand_set", "instance_norm", "frame_mean")

#: Luminance of white, cd/m², within which global lights should cost nothing.
RANGE = (30.0, 3000.0)

#: Margins above arms on local lights, in shares of the images; 0 for a whole interval above 0.
_ABOVE = {"instance_norm": 0.15, "standardise": 0.15, "local_contrast_norm": 0.05, "hand_set": 0.0}

#: Other margins, in shares of the images, and the least R² of responses.
_LEVEL, _CLEAN, _AGREEMENT, _RESPONSES = 0.01, 0.015, 0.02, 0.95


@dataclass(frozen=True)
class Finding:
    """A goal for a group of lights, the difference in shares of the images that it is about, and whether it is met."""

    group: str
    goal: str
    difference: Interval
    met: bool


def primary_contrasts(cells: Mapping[str, Correct]) -> dict[str, Contrast]:
    """The primary contrasts on local lights, by the other arm's name; `cells` are LeNet's, settled, by arm."""
    if ARM not in cells:
        return {}
    own = group_scores(cells[ARM]).get("local")
    others = {name: group_scores(cells[name]).get("local") for name in PRIMARY if name in cells}
    if own is None:
        return {}
    return holm({name: contrast(own, scores) for name, scores in others.items() if scores is not None})


def check_goals(cells: Mapping[str, Correct]) -> list[Finding]:
    """Check all goals that concern the given cells: LeNet's, settled, by arm, all of the same seeds and images."""
    if ARM not in cells:
        return []
    scores = {name: group_scores(cell) for name, cell in cells.items()}
    return [*_local(scores), *_beside_the_best(scores), *_within_range(cells[ARM]), *_clean(scores)]


Scores = dict[str, dict[str, np.ndarray]]


def _difference(scores: Scores, group: str, other: str) -> Contrast:
    return contrast(scores[ARM][group], scores[other][group])


def _best(scores: Scores, group: str, names: Iterable[str]) -> str:
    return max(names, key=lambda name: scores[name][group].mean())


def _local(scores: Scores) -> list[Finding]:
    found = []
    for other, least in _ABOVE.items():
        if other in scores and "local" in scores[ARM]:
            d = _difference(scores, "local", other)
            words = f"at least {100 * least:g} points above {other}" if least else f"above {other}"
            found.append(Finding("local", words, d, d.mean >= least if least else d.low > 0))
    return found


def _beside_the_best(scores: Scores) -> list[Finding]:
    found = []
    baselines = [name for name in scores if is_baseline(name)]
    for group, words in (("photon", "level with or above"), ("sensor", "no worse than")):
        if group in scores[ARM] and baselines:
            best = _best(scores, group, baselines)
            d = _difference(scores, group, best)
            goal = f"{words} the best baseline, {best} (margin 1 point)"
            found.append(Finding(group, goal, d, d.low >= -_LEVEL))
    return found


def _within_range(cell: Correct) -> list[Finding]:
    """Accuracy in global lights that leave white within `RANGE`, less clean accuracy: mean over lights of that over levels."""
    clean = [k for k, one in enumerate(cell.conditions) if one.group == "clean"]
    by_light: dict[str, list[np.ndarray]] = {}
    for (light, group, level), correct in zip(cell.conditions, cell.correct, strict=True):
        if group == "global" and level is not None and RANGE[0] <= _white(light, level) <= RANGE[1]:
            by_light.setdefault(light, []).append(correct)
    if not by_light:
        return []
    kept = np.mean([np.mean(levels, axis=0) for levels in by_light.values()], axis=0)
    lost = contrast(kept, cell.correct[clean].mean(axis=0))
    span = f"{RANGE[0]:g} to {RANGE[1]:,g} cd/m²"
    goal = f"at most 1 point lost while white is {span} (levels of development included)"
    return [Finding("global", goal, lost, lost.mean >= -_LEVEL)]


def _clean(scores: Scores) -> list[Finding]:
    plain = [name for name in ("pixels", "instance_norm") if name in scores]
    if not plain:
        return []
    best = _best(scores, "clean", plain)
    d = _difference(scores, "clean", best)
    return [Finding("clean", f"within 1.5 points of {best}", d, d.mean >= -_CLEAN)]


def _white(light: str, level: float) -> float:
    """Luminance of white in a global light."""
    white = np.full((2, 2), WHITE)
    return float(LIGHTS[light].apply(white, level, np.random.default_rng(0)).max())


def check_ordering(cells: Mapping[str, Correct], classifier: str) -> list[Finding]:
    """Check, behind another classifier, that the arm is above those of the primary contrasts on local lights."""
    return [
        Finding("local", f"above {name} behind the {classifier} too", one, one.low > 0)
        for name, one in primary_contrasts(cells).items()
    ]


def check_agreement(agreement: Agreement) -> list[Finding]:
    """Check by group that the learned pathway keeps the simulated one's accuracy and responses (median R² over channels)."""
    found = []
    simulated, learned = group_scores(agreement.simulated), group_scores(agreement.learned)
    for group in learned:
        d = contrast(learned[group], simulated[group])
        r2 = median_r2(agreement.responses, group)
        words = f"within ± 2 points of the circuit that it was fitted to, R² of responses at least .95 (here {r2:.3f})"
        found.append(Finding(group, words, d, d.within(_AGREEMENT) and r2 >= _RESPONSES))
    return found
