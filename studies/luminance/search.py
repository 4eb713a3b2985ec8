"""Search of every arm's learning rate and scale of maps on development data.

Every pair of `RATES` and `SCALES` trains one classifier on some of the training images, for a third of the study's steps. The
others of them, under the reference light and at the levels for development, decide which pair is kept: the one with the largest
mean of three groups' accuracies, clean, global and local, each the mean over lights of the mean over levels. The test images are
never used. Arms that adapt are searched settled; simulated arms take over the choice of the front end fitted to them.
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
from studies.luminance.evaluation import FeatureCache, Protocol, evaluate
from studies.luminance.lights import development_conditions
from studies.luminance.scores import scores_by_group

#: Values that are searched.
RATES, SCALES = (1e-3, 3e-3), (0.5, 1.0, 2.0)

#: Images for training, and for the choice.
TRAIN, CHOOSE = 2_000, 500

#: Divisor of the study's steps.
PART = 3

#: Least number of training images.
LEAST = 10


def search(features: FeatureCache, images: Images, classifier: str, budget: Budget, seed: int) -> Choice:
    """Return the pair with which an arm does best.

    Parameters
    ----------
    features : FeatureCache
        Of the arm; its folder is not used.
    images : Images
        Of the study; only training images are read.
    classifier : str
        A name in `classifiers.CLASSIFIERS`.
    budget : Budget
        Of the study.
    seed : int
        Of each training.

    Raises
    ------
    InputError
        For fewer than `LEAST` training images.
    """
    parts, shorter = split(images), replace(budget, steps=-(-budget.steps // PART))
    conditions = development_conditions()
    accuracy = {}
    with tempfile.TemporaryDirectory() as folder:
        features = replace(features, folder=Path(folder))
        for rate, scale in product(RATES, SCALES):
            choice = Choice(rate, scale)
            correct = evaluate(features, parts, Protocol(classifier, choice, shorter, (seed,), conditions))
            groups = scores_by_group(correct, conditions)
            accuracy[choice] = float(np.mean([scores.mean() for scores in groups.values()]))
    return max(accuracy, key=accuracy.__getitem__)


def split(images: Images) -> Images:
    """Split the training images into those that train and those that choose (as test images)."""
    if len(images.train) < LEAST:
        raise InputError(f"train must be at least {LEAST} for a search, got {len(images.train)}")
    choose = min(CHOOSE, len(images.train) // 5)
    train = min(TRAIN, len(images.train) - choose)
    first, second = slice(train), slice(train, train + choose)
    labels = images.train_labels
    return Images(images.name, images.train[first], labels[first], images.train[second], labels[second])
