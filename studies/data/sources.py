"""Images to simulate: from a folder, an array file or a data set."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.io
import skimage.util

from biomodel.utils.errors import InputError
from studies.data import datasets

#: File name extensions of images.
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

_SOURCES = f"a folder of images, an .npy or .npz file, or a data set ({', '.join(datasets.DATASETS)})"


@dataclass(frozen=True)
class Source:
    """Images (n, H, W) or (n, H, W, 3), and coordinates by name, with n values each."""

    images: np.ndarray
    coordinates: dict[str, np.ndarray]


def read(source: str, images: int | None = None, array_only: bool = False) -> Source:
    """Read images from a folder, an .npy or .npz file, or a data set.

    Parameters
    ----------
    source : str
        A folder: all its images in the order of their names, as sRGB codes, all of one size. An .npy file, or an .npz file with
        one array or one named ``images``. A name in `datasets.DATASETS`: training images, then test images.
    images : int, optional
        Only the first `images`; all are in memory at once.
    array_only : bool
        Read array files only.

    Raises
    ------
    InputError
        For another source, a file that is not an image, images of different sizes, and transparent images.
    """
    path = Path(source)
    if path.is_file() and path.suffix in (".npy", ".npz"):
        array = _array(path)
        if array.dtype.kind not in "buif" or array.ndim < 2:
            raise InputError(f"{path} must hold an array of numbers, got type {array.dtype} and shape {array.shape}")
        return Source(array[:images], {})
    if array_only:
        raise InputError(f"source must be an .npy or .npz file of luminance in cd/m², got {source!r}")
    if source in datasets.DATASETS:
        found = _dataset(source)
        return Source(found.images[:images], {name: values[:images] for name, values in found.coordinates.items()})
    if path.is_dir():
        return _folder(path, images)
    raise InputError(f"source must be {_SOURCES}, got {source!r}")


def _dataset(name: str) -> Source:
    data = datasets.load(name)
    part = np.repeat(["train", "test"], [len(data.train), len(data.test)])
    labels = np.concatenate([data.train_labels, data.test_labels])
    return Source(np.concatenate([data.train, data.test]), {"label": labels, "part": part})


def _folder(folder: Path, number: int | None) -> Source:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_FILES)[:number]
    if not files:
        raise InputError(f"{folder} must have image files ({', '.join(IMAGE_FILES)}), got none")
    images = [_image(path) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            sizes = [f"{shape[0]}×{shape[1]}" for shape in (image.shape, images[0].shape)]
            raise InputError(
                f"images must have one size, got {sizes[0]} pixels in {path} and {sizes[1]} in {files[0].name}"
            )
    if any(image.ndim == 3 for image in images):
        images = [np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image for image in images]
    return Source(np.stack(images), {"file": np.array([path.name for path in files])})


def _image(path: Path) -> np.ndarray:
    """SRGB codes in [0, 1], (H, W) or (H, W, 3)."""
    try:
        codes = skimage.util.img_as_float(skimage.io.imread(path))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as an image ({str(error).splitlines()[0]})") from None
    if codes.ndim == 3 and codes.shape[-1] in (2, 4):
        if (codes[..., -1] < 1).any():
            raise InputError(f"images must not be transparent, got {path}")
        codes = codes[..., 0] if codes.shape[-1] == 2 else codes[..., :3]
    if codes.ndim not in (2, 3) or (codes.ndim == 3 and codes.shape[-1] != 3):
        raise InputError(f"images must be grey or RGB, one per file, got shape {codes.shape} in {path}")
    return codes


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded)
            if len(names) != 1 and "images" not in names:
                raise InputError(f"it must have one array, or one named images, got {', '.join(names) or 'none'}")
            found = loaded["images" if "images" in names else names[0]]
        if not isinstance(found, np.ndarray):
            raise InputError("it must have an array")
        return found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
