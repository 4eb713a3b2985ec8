"""Image data sets of the studies, as sRGB codes in [0, 1], split into training and test images.

Digits come with scikit-learn. MNIST, Fashion-MNIST and SVHN are read from a folder with one subfolder per data set (the
environment variable `DATA`), or from the cache that ``precortical download`` fills. Shapes and labels are checked, and for MNIST
and Fashion-MNIST the published digests. SVHN may be a part of it; its colours become grey, by luminance, unless `colour` is
true.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.transform
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from biomodel.stimuli import SRGB_LUMINANCE, decode_srgb, encode_srgb
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path
from studies.data.download import cache
from studies.data.readers import content_digest, read_idx, read_matlab

#: Names of data sets. To add one, add its name here, a reader in `load`, and its files to `download.PUBLISHED`.
DATASETS = ("digits", "mnist", "fashion-mnist", "svhn")

#: The environment variable that names the folder of data sets.
DATA = "PRECORTICAL_DATA"

#: Pixels along a side.
SIDE = 32

#: Share of the digits for the test.
_TEST_SHARE = 0.25

#: Pixels along a side of MNIST's and Fashion-MNIST's images.
_PUBLISHED_SIDE = 28

#: MD5 of the uncompressed contents of the files.
_CONTENTS = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


@dataclass(frozen=True)
class Images:
    """A data set: images (n, 32, 32), or in colour (n, 32, 32, 3), as sRGB codes in [0, 1], and labels (n,)."""

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.train_labels.max()) + 1

    @property
    def margin(self) -> int:
        """Black pixels added on each side of an image."""
        return (SIDE - _PUBLISHED_SIDE) // 2 if self.name in _CONTENTS else 0

    def first(self, train: int, test: int) -> Images:
        """The first `train` training images and the first `test` test images; their order is random."""
        return Images(
            self.name, self.train[:train], self.train_labels[:train], self.test[:test], self.test_labels[:test]
        )


def load(name: str, data: Path | None = None, colour: bool = False) -> Images:
    """Load a data set.

    Parameters
    ----------
    name : str
        One of `DATASETS`.
    data : pathlib.Path, optional
        Folder with one subfolder per data set; by default the value of the environment variable `DATA`, or the cache.
    colour : bool
        Whether coloured images keep their colours.

    Returns
    -------
    Images

    Raises
    ------
    InputError
        For an unknown name, and for files that are missing, damaged or of another data set.
    """
    one_of(name, DATASETS, "dataset")
    if name == "digits":
        return _digits()
    folder = _folder(name, data)
    return _svhn(folder, colour) if name == "svhn" else _idx(name, folder)


def check_present(name: str, data: Path | None = None) -> None:
    """Check that a data set's folder exists, without reading it; parameters and errors as for `load`."""
    if one_of(name, DATASETS, "dataset") != "digits":
        _folder(name, data)


def _folder(name: str, data: Path | None) -> Path:
    """The folder of a data set."""
    root = data if data is not None else os.environ.get(DATA)
    folder = local_path(root, "--data" if data is not None else DATA) / name if root else cache(name)
    if not folder.is_dir():
        raise InputError(
            f"{folder} must be a folder with {name}: run `precortical download {name}`, or set --data or {DATA} to its parent"
        )
    return folder


def _digits() -> Images:
    """Scikit-learn's 1,797 handwritten digits, 8×8 pixels of 17 levels, enlarged to 32×32 by linear interpolation."""
    bunch = load_digits()
    small = bunch.images / 16.0
    images = np.stack([skimage.transform.resize(image, (SIDE, SIDE), order=1, mode="edge") for image in small])
    train, test, train_labels, test_labels = train_test_split(
        np.clip(images, 0.0, 1.0), bunch.target, test_size=_TEST_SHARE, random_state=0, stratify=bunch.target
    )
    return Images("digits", train, train_labels, test, test_labels)


def _idx(name: str, folder: Path) -> Images:
    """MNIST or Fashion-MNIST, 28×28 pixels padded with black."""
    parts: list[np.ndarray] = []
    paths = {stem: _published(name, folder, stem) for stem in _CONTENTS[name]}
    for part in ("train", "t10k"):
        images, labels = (paths[f"{part}-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1"))
        pixels, classes = read_idx(images, 3), read_idx(labels, 1)
        if len(pixels) != len(classes):
            raise InputError(f"{images} has {len(pixels)} images, but {labels.name} has {len(classes)} labels")
        if pixels.shape[1:] != (_PUBLISHED_SIDE, _PUBLISHED_SIDE):
            raise InputError(f"images in {images} must have 28×28 pixels, got {pixels.shape[1]}×{pixels.shape[2]}")
        _check_labels(classes, labels, 0, 9)
        for path in (images, labels):
            if content_digest(path) != _CONTENTS[name][path.name.removesuffix(".gz")]:
                others = [n for n, files in _CONTENTS.items() if content_digest(path) in files.values()]
                whose = f": it is {others[0]}'s" if others else ""
                raise InputError(f"{path} is not {name}'s {path.name.removesuffix('.gz')}{whose}")
        margin = (SIDE - _PUBLISHED_SIDE) // 2
        padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)))
        parts += [padded.astype(np.float32) / 255, classes.astype(np.int64)]
    return _shuffled(name, *parts)


def _published(name: str, folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    raise InputError(f"{folder / stem}.gz is missing: {name} has four files, {', '.join(_CONTENTS[name])}")


def _svhn(folder: Path, colour: bool) -> Images:
    """Cropped house numbers, or a part of them, in colour or grey; the digit 0 is labelled 10 in the files."""
    parts: list[np.ndarray] = []
    for part in ("train", "test"):
        path = folder / f"{part}_{SIDE}x{SIDE}.mat"
        images, labels = read_matlab(path, SIDE)
        _check_labels(labels, path, 1, 10)
        codes = images / 255.0
        if not colour:
            codes = encode_srgb(decode_srgb(codes) @ np.asarray(SRGB_LUMINANCE))
        parts += [codes.astype(np.float32), labels.astype(np.int64) % 10]
    return _shuffled("svhn", *parts)


def _check_labels(labels: np.ndarray, path: Path, least: int, largest: int) -> None:
    wrong = labels[(labels < least) | (labels > largest)]
    if len(wrong):
        raise InputError(f"labels in {path} must be from {least} to {largest}, got {wrong[0]}")


def _shuffled(
    name: str, train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> Images:
    """A data set in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(train))
    test_order = np.random.default_rng(1).permutation(len(test))
    return Images(name, train[order], train_labels[order], test[test_order], test_labels[test_order])
