"""Real images for the studies, as sRGB codes in [0, 1], split into training and test images.

Digits ship with scikit-learn. MNIST, Fashion-MNIST and SVHN are read from a folder: `DATA` names it, and holds one for each data
set; or from the cache that ``precortical download`` fills. What is read is checked: its form, its labels, and, of MNIST and
Fashion-MNIST, that it is what was published. SVHN may be a part of it; its colours become grey, by luminance, unless they are
asked for.
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
from biomodel.utils.errors import InputError
from studies.data.download import cache
from studies.data.readers import content, read_idx, read_matlab

#: Names that `load` accepts.
DATASETS = ("digits", "mnist", "fashion-mnist", "svhn")

#: The environment variable that names the folder of data sets.
DATA = "PRECORTICAL_DATA"

#: Pixels along a side.
SIDE = 32

#: Share of the digits that is kept for the test.
_TEST_SHARE = 0.25

#: Pixels along a side of MNIST's and Fashion-MNIST's images.
_PUBLISHED_SIDE = 28

#: MD5 of what the files hold, unpacked.
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
        """Black pixels that each side of an image was padded with."""
        return (SIDE - _PUBLISHED_SIDE) // 2 if self.name in _CONTENTS else 0

    def first(self, train: int, test: int) -> Images:
        """The first so many training and test images; their order is random."""
        return Images(
            self.name, self.train[:train], self.train_labels[:train], self.test[:test], self.test_labels[:test]
        )


def load(name: str, data: Path | None = None, colour: bool = False) -> Images:
    """One data set by name.

    Parameters
    ----------
    name : str
        One of `DATASETS`.
    data : pathlib.Path, optional
        The folder of data sets, each in a folder of its name; by default what the environment variable `DATA` says, else the
        cache.
    colour : bool
        Whether images that have colours keep them.

    Raises
    ------
    InputError
        For an unknown name, and for files that are missing, damaged, or other ones than the name says.
    """
    if name not in DATASETS:
        raise InputError(f"unknown dataset {name!r}: accepted are {', '.join(DATASETS)}")
    if name == "digits":
        return _digits()
    folder = _folder(name, data)
    return _svhn(folder, colour) if name == "svhn" else _idx(name, folder)


def _folder(name: str, data: Path | None) -> Path:
    """Where a data set lies."""
    told = data if data is not None else os.environ.get(DATA)
    folder = cache(name) if not told else Path(told) / name
    if not folder.is_dir():
        raise InputError(
            f"{folder} holds no {name}: run `precortical download {name}`, or give --data DIR or {DATA}, a folder that holds it"
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
        pixels, told = read_idx(images, 3), read_idx(labels, 1)
        if len(pixels) != len(told):
            raise InputError(f"{images} has {len(pixels)} images, {labels.name} {len(told)} labels: give one each")
        if pixels.shape[1:] != (_PUBLISHED_SIDE, _PUBLISHED_SIDE):
            raise InputError(f"{images} has images of {pixels.shape[1]}×{pixels.shape[2]} pixels: accepted is 28×28")
        _check_labels(told, labels)
        for path in (images, labels):
            if content(path) != _CONTENTS[name][path.name.removesuffix(".gz")]:
                others = [n for n, files in _CONTENTS.items() if content(path) in files.values()]
                whose = f": it is {others[0]}'s" if others else ""
                raise InputError(f"{path} is not {name}'s {path.name.removesuffix('.gz')}{whose}")
        margin = (SIDE - _PUBLISHED_SIDE) // 2
        padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)))
        parts += [padded.astype(np.float32) / 255, told.astype(np.int64)]
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
        if labels.min() < 1 or labels.max() > 10:
            raise InputError(f"{path} has labels from {labels.min()} to {labels.max()}: accepted are 1 to 10")
        codes = images / 255.0
        if not colour:
            codes = encode_srgb(decode_srgb(codes) @ np.asarray(SRGB_LUMINANCE))
        parts += [codes.astype(np.float32), labels.astype(np.int64) % 10]
    return _shuffled("svhn", *parts)


def _check_labels(labels: np.ndarray, path: Path) -> None:
    if labels.max(initial=0) > 9:
        raise InputError(f"{path} has a label {labels.max()}: accepted are 0 to 9")


def _shuffled(
    name: str, train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> Images:
    """In an order that is the same every time, and that of no file."""
    order = np.random.default_rng(0).permutation(len(train))
    test_order = np.random.default_rng(1).permutation(len(test))
    return Images(name, train[order], train_labels[order], test[test_order], test_labels[test_order])
