"""Real images for the studies, as sRGB codes in [0, 1], split into training and test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skimage.transform
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

#: Names that `load` accepts.
DATASETS = ("digits",)

#: Share of the digits that is kept for the test.
_TEST_SHARE = 0.25


@dataclass(frozen=True)
class Images:
    """A data set: images (n, 32, 32) as sRGB codes in [0, 1], and labels (n,)."""

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.train_labels.max()) + 1

    def first(self, train: int, test: int) -> Images:
        """The first so many training and test images; their order is random."""
        return Images(
            self.name, self.train[:train], self.train_labels[:train], self.test[:test], self.test_labels[:test]
        )


def load(name: str) -> Images:
    """One data set by name.

    Raises
    ------
    ValueError
        For a name that is not in `DATASETS`.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}: accepted are {', '.join(DATASETS)}")
    return _digits()


def _digits() -> Images:
    """Scikit-learn's 1,797 handwritten digits, 8×8 pixels of 17 levels, enlarged to 32×32 by linear interpolation."""
    bunch = load_digits()
    small = bunch.images / 16.0
    images = np.stack([skimage.transform.resize(image, (32, 32), order=1, mode="edge") for image in small])
    train, test, train_labels, test_labels = train_test_split(
        np.clip(images, 0.0, 1.0), bunch.target, test_size=_TEST_SHARE, random_state=0, stratify=bunch.target
    )
    return Images("digits", train, train_labels, test, test_labels)
