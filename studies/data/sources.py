"""Images to simulate: from a folder, an array file or a data set."""

from __future__ import annotations

import logging
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomodel.stimuli import check_not_one_image
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path
from studies.data import datasets
from studies.data.image_files import read_image

logger = logging.getLogger("precortical")

#: File name extensions of images.
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".jp2")

#: Files that file managers leave in folders, besides hidden ones.
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini", "icon\r")

#: Skipped files that a message names.
_NAMED = 4

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
        A folder: all its images in the order of their names, as sRGB codes, all of one size (`studies.data.image_files`).
        Subfolders and other files are skipped. An .npy file, or an .npz file with one array or one named ``images``. A name in
        `datasets.DATASETS`: training images, then test images; write ``./mnist`` for a folder of that name.
    images : int, optional
        Only the first `images`; all are in memory at once.
    array_only : bool
        Read array files only.

    Raises
    ------
    InputError
        For another source, an image without a defined luminance, a damaged file, and images of different sizes.
    """
    path = local_path(source, "source")
    if path.is_file() and path.suffix.lower() in (".npy", ".npz"):
        array = _array(path)
        check_not_one_image(array.shape, str(path))
        if array.dtype.kind not in "buif" or array.ndim < 2:
            raise InputError(f"{path} must hold an array of numbers, got type {array.dtype} and shape {array.shape}")
        return Source(array[:images], {})
    if array_only:
        raise InputError(f"source must be an .npy or .npz file of luminance in cd/m², got {source!r}")
    if source in datasets.DATASETS:
        if path.is_dir() and _image_files(path):
            raise InputError(
                f"source must be one thing, but {source} is a data set and a folder of images: write ./{source}"
            )
        found = _dataset(source)
        return Source(found.images[:images], {name: values[:images] for name, values in found.coordinates.items()})
    if path.is_dir():
        return _folder(path, images)
    missing = "" if path.exists() else ", which does not exist"
    raise InputError(f"source must be {_SOURCES}, got {source!r}{missing}")


def _dataset(name: str) -> Source:
    data = datasets.load(name)
    part = np.repeat(["train", "test"], [len(data.train), len(data.test)])
    labels = np.concatenate([data.train_labels, data.test_labels])
    return Source(np.concatenate([data.train, data.test]), {"label": labels, "part": part})


def _folder(folder: Path, number: int | None) -> Source:
    files = _image_files(folder)
    others = sorted(path.name for path in set(_entries(folder)) - set(files))
    named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    if not files:
        raise InputError(f"{folder} must have image files ({', '.join(IMAGE_FILES)}), got {named or 'none'}")
    if others:
        logger.warning("%s: skipped what is not an image file: %s", folder, named)
    files = files[:number]
    images = [read_image(path) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            sizes = [f"{shape[0]}×{shape[1]}" for shape in (image.shape, images[0].shape)]
            raise InputError(
                f"images must have one size, got {sizes[0]} pixels in {path} and {sizes[1]} in {files[0].name}"
            )
    if any(image.ndim == 3 for image in images):
        images = [np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image for image in images]
    return Source(np.stack(images), {"file": np.array([path.name for path in files])})


def _image_files(folder: Path) -> list[Path]:
    files = [path for path in _entries(folder) if path.suffix.lower() in IMAGE_FILES and not path.is_dir()]
    for path in files:
        if not path.name.isprintable():
            raise InputError(f"names of image files must be printable text, got {path.name!r} in {folder}")
    return files


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder in the order of their names, without hidden ones and those of file managers."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror or error})") from None
    return [path for path in entries if not path.name.startswith(".") and path.name.lower() not in _LEFT_BY_SYSTEMS]


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
