"""The cost of spiking cells, and the gain from pooling neighbours: pairwise contrasts of the simulated relay's arms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from studies.common.statistics import contrast
from studies.luminance.evaluation import Correct
from studies.luminance.scores import group_scores, score, scored_conditions
from studies.luminance.settings import Cell

#: Questions: an arm, and the arm whose scores are subtracted.
QUESTIONS = {
    "spikes less rates": ("simulated_lgn_spiking", "simulated_lgn"),
    "pooled less single spikes": ("simulated_lgn_spiking_pooled", "simulated_lgn_spiking"),
    "pooled less single rates": ("simulated_lgn_pooled", "simulated_lgn"),
    "pooled spikes less single rates": ("simulated_lgn_spiking_pooled", "simulated_lgn"),
    "pooled spikes less pooled rates": ("simulated_lgn_spiking_pooled", "simulated_lgn_pooled"),
}

#: Lights whose level is a share of the reference light.
_DIM = ("exposure", "low_exposure")

#: Columns of the table.
COLUMNS = ("question", "classifier", "adaptation", "lights", "difference", "low", "high", "p")


def contrast_table(cells: Mapping[Cell, Correct]) -> pd.DataFrame:
    """Differences and their intervals by question, classifier, adaptation and group of lights, and for dark conditions.

    The table has `COLUMNS`; differences are shares of correctly classified images. Questions about missing arms are omitted.
    """
    states = dict.fromkeys((cell.classifier, cell.state) for cell in cells)
    rows = []
    for question, (arm, other) in QUESTIONS.items():
        for classifier, state in states:
            pair = Cell(classifier, arm, state), Cell(classifier, other, state)
            if not all(cell in cells for cell in pair):
                continue
            minuend, subtrahend = (_scores(cells[cell]) for cell in pair)
            for lights, scores in minuend.items():
                d = contrast(scores, subtrahend[lights])
                rows.append((question, classifier, state, lights, d.mean, d.low, d.high, d.p))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(cell: Correct) -> dict[str, np.ndarray]:
    """Scores (seed, image) by group, and as "dark" of conditions with less light than the reference light."""
    dark = [one for one in scored_conditions(cell) if one.light in _DIM and one.level is not None and one.level < 1]
    return group_scores(cell) | ({"dark": score(cell, dark)} if dark else {})
