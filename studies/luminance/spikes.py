"""What it costs that cells fire, and whether pooling neighbours pays it back: the relay's simulated arms, two by two."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from studies.luminance.cells import Right
from studies.luminance.statistics import contrast, score, scored, tested

#: What is asked, and the arm whose answers less another's answer it.
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


def answered(cells: Mapping[tuple[str, str, str], Right]) -> pd.DataFrame:
    """By question, classifier, adaptation and group of lights, those that are dark apart too: difference and interval.

    Parameters
    ----------
    cells : mapping of (classifier, arm, adaptation) to Right
        Questions about arms that are not there are left out.

    Returns
    -------
    pandas.DataFrame
        Of `COLUMNS`; differences are shares of images told right.
    """
    states = dict.fromkeys((classifier, state) for classifier, _, state in cells)
    rows = []
    for question, arms in QUESTIONS.items():
        for classifier, state in states:
            both = [cells.get((classifier, arm, state)) for arm in arms]
            if None in both:
                continue
            mine, other = (_scores(one) for one in both if one is not None)
            for lights, scores in mine.items():
                d = contrast(scores, other[lights])
                rows.append((question, classifier, state, lights, d.mean, d.low, d.high, d.p))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(cell: Right) -> dict[str, np.ndarray]:
    """Scores by group, and under "dark" of where less light comes than under the reference light: (seed, image)."""
    dark = [one for one in tested(cell) if one[0] in _DIM and one[2] is not None and one[2] < 1]
    return scored(cell) | ({"dark": score(cell, dark)} if dark else {})
