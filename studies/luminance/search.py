"""The search that every arm is given: Adam's rate and a scale of its maps, chosen on development data.

Every pair of `RATES` and `SCALES` trains one classifier on some of the training images, for a third of the study's steps; others
of them, under the reference light and at the levels marked for development, say which is kept: the mean of three groups'
accuracies, clean, global and local, each the mean over lights of the mean over levels. The test images are never looked at. Arms
that adapt are searched settled; simulated arms take what was found for the front end fitted to them.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from biomodel.utils.errors import InputError
from studies.common.training import Budget, Choice
from studies.data.datasets import Images
from studies.luminance.cells import Seen, development, examined
from studies.luminance.statistics import by_group

#: What is searched.
RATES, SCALES = (1e-3, 3e-3), (0.5, 1.0, 2.0)

#: Images that are trained on, and those that choose.
TRAIN, CHOOSE = 2_000, 500

#: The part of the study's steps that a classifier is trained for.
PART = 3

#: Training images that a search takes at least.
LEAST = 10


def search(seen: Seen, images: Images, classifier: str, budget: Budget, seed: int) -> Choice:
    """The pair that an arm does best with.

    Raises
    ------
    InputError
        For too few training images to leave some aside.
    """
    some, shorter = part(images), replace(budget, steps=-(-budget.steps // PART))
    tests = development()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        seen = replace(seen, folder=Path(folder))
        for rate, scale in product(RATES, SCALES):
            choice = Choice(rate, scale)
            told = examined(seen, some, classifier, choice, shorter, [seed], tests)
            groups = by_group(told, tests)
            found[choice] = float(np.mean([scores.mean() for scores in groups.values()]))
    return max(found, key=found.__getitem__)


def part(images: Images) -> Images:
    """The training images cut in two: those that a search trains on, and those that choose."""
    if len(images.train) < LEAST:
        raise InputError(f"{len(images.train)} training images are not accepted for a search: give at least {LEAST}")
    choose = min(CHOOSE, len(images.train) // 5)
    train = min(TRAIN, len(images.train) - choose)
    chosen = slice(train, train + choose)
    return Images(
        images.name,
        images.train[:train],
        images.train_labels[:train],
        images.train[chosen],
        images.train_labels[chosen],
    )
