"""Agreement of the simulated circuit and its learned twin on images in changed light: responses, and what a classifier reads.

One classifier, trained on the circuit's responses, reads the circuit's and the twin's responses to the same test images in the
same light. Responses are compared channel by channel by R², unclipped.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bridge.evaluate.scores import r_squared
from studies.data.datasets import Images
from studies.luminance.evaluation import Correct, FeatureCache, Protocol, train_classifiers

#: Columns of the table of responses.
COLUMNS = ("light", "group", "level", "channel", "r2")


class Agreement(NamedTuple):
    """What the same classifiers read from the circuit's and from the twin's responses, and R² by condition and channel."""

    simulated: Correct
    learned: Correct
    responses: pd.DataFrame


def compare_with_twin(circuit: FeatureCache, twin: FeatureCache, images: Images, protocol: Protocol) -> Agreement:
    """Train classifiers on the circuit's responses, and test them on the circuit's and on the twin's.

    Parameters
    ----------
    circuit, twin : FeatureCache
        Responses of both.
    images : Images
        Training and test images.
    protocol : Protocol
        How the classifiers are trained and tested.
    """
    classifiers = train_classifiers(circuit, images, protocol)
    rows = []
    for condition in protocol.conditions:
        simulated, learned = (features.test_maps(images, condition) for features in (circuit, twin))
        rows += [
            (*condition, channel, r_squared(simulated[:, channel], learned[:, channel]))
            for channel in range(simulated.shape[1])
        ]
    simulated_correct, learned_correct = (classifiers.test(one, images, protocol) for one in (circuit, twin))
    return Agreement(simulated_correct, learned_correct, pd.DataFrame(rows, columns=list(COLUMNS)))


def median_r2(responses: pd.DataFrame, group: str) -> float:
    """R² of responses in a group's lights: the median over channels, the mean over lights of the mean over levels."""
    by_level = responses[responses.group == group].groupby(["light", "level"], dropna=False).r2.median()
    return float(by_level.groupby("light").mean().mean())
