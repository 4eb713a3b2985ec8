"""How much of what the circuit makes of images in changed light its twin keeps: responses, and what a classifier reads.

One classifier, trained on the circuit's responses, reads the circuit's and the twin's to the same test images in the same light.
Responses are compared channel by channel by R², unclipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from bridge.evaluate.scores import r_squared
from studies.common.classifiers import is_correct
from studies.common.training import Budget, Choice
from studies.data.datasets import Images
from studies.luminance.cells import Condition, Right, Seen, given, lit, name, trained

#: Columns of the table of responses.
COLUMNS = ("light", "group", "level", "channel", "r2")


def measured(
    circuit: Seen,
    twin: Seen,
    images: Images,
    classifier: str,
    choice: Choice,
    budget: Budget,
    seeds: Sequence[int],
    tests: Sequence[Condition],
) -> tuple[Right, Right, pd.DataFrame]:
    """What classifiers trained on the circuit's responses make of them and of the twin's; and R² by condition and channel."""
    networks, scaling = trained(circuit, images, classifier, choice, budget, seeds)
    labels = torch.from_numpy(images.test_labels)
    told: tuple[list, list] = ([], [])
    rows = []
    for light, group, level in tests:
        simulated, learned = (
            seen.maps(name(light, level), partial(lit, images.test, light, level)) for seen in (circuit, twin)
        )
        for kept, maps in zip(told, (simulated, learned), strict=True):
            inputs = given(circuit.arm, scaling, maps)
            kept.append([is_correct(network, inputs, labels).numpy() for network in networks])
        rows += [
            (light, group, level, channel, r_squared(simulated[:, channel], learned[:, channel]))
            for channel in range(simulated.shape[1])
        ]
    mine, theirs = (Right(tuple(tests), tuple(seeds), np.array(kept)) for kept in told)
    return mine, theirs, pd.DataFrame(rows, columns=list(COLUMNS))
