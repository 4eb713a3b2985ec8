"""Images to simulate, from wherever a user has them: a folder, an array file, a data set by name."""

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

#: Endings that are taken for images in a folder.
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

_ACCEPTED = f"give a folder of images, an .npy or .npz file, or a data set ({', '.join(datasets.DATASETS)})"


@dataclass(frozen=True)
class Source:
    """Images (n, H, W) or (n, H, W, 3), and what is known of each: names of coordinates with n values."""

    images: np.ndarray
    known: dict[str, np.ndarray]


def read(source: str, images: int | None = None, array_only: bool = False) -> Source:
    """The images of a folder, of an .npy or .npz file, or of a data set.

    Parameters
    ----------
    source : str
        A folder: all its images in the order of their names, as sRGB codes, all of one size. An .npy file, or an .npz file with
        one array or one called ``images``. A name that `studies.data.datasets.load` knows: training images, then test images.
    images : int, optional
        Only the first so many; all of them are in memory together.
    array_only : bool
        Refuse all but array files.

    Raises
    ------
    InputError
        For a source that is none of these, a file that is no image, images of different sizes, see-through images.
    """
    path = Path(source)
    if path.is_file() and path.suffix in (".npy", ".npz"):
        array = _array(path)
        if array.dtype.kind not in "buif" or array.ndim < 2:
            raise InputError(f"{path} must hold an array of numbers, got type {array.dtype} and shape {array.shape}")
        return Source(array[:images], {})
    if array_only:
        raise InputError(f"{source!r} is not accepted as luminance: give an .npy or .npz file of cd/m²")
    if source in datasets.DATASETS:
        found = _dataset(source)
        return Source(found.images[:images], {name: values[:images] for name, values in found.known.items()})
    if path.is_dir():
        return _folder(path, images)
    raise InputError(f"{source!r} is not accepted: {_ACCEPTED}")


def _dataset(name: str) -> Source:
    data = datasets.load(name)
    part = np.repeat(["train", "test"], [len(data.train), len(data.test)])
    labels = np.concatenate([data.train_labels, data.test_labels])
    return Source(np.concatenate([data.train, data.test]), {"label": labels, "part": part})


def _folder(folder: Path, number: int | None) -> Source:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_FILES)[:number]
    if not files:
        raise InputError(f"{folder} holds no images: accepted are files ending in {', '.join(IMAGE_FILES)}")
    images = [_image(path) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            sizes = [f"{shape[0]}×{shape[1]}" for shape in (image.shape, images[0].shape)]
            raise InputError(f"{path} has {sizes[0]} pixels, {files[0].name} {sizes[1]}: give images of one size")
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
            raise InputError(f"{path} is see-through in places: give images without transparency")
        codes = codes[..., 0] if codes.shape[-1] == 2 else codes[..., :3]
    if codes.ndim not in (2, 3) or (codes.ndim == 3 and codes.shape[-1] != 3):
        raise InputError(f"{path} has the shape {codes.shape}: give grey or RGB images, one a file")
    return codes


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = list(loaded)
            if len(names) != 1 and "images" not in names:
                raise InputError(f"it holds {', '.join(names) or 'nothing'}: give one array, or one called images")
            found = loaded["images" if "images" in names else names[0]]
        if not isinstance(found, np.ndarray):
            raise InputError("it holds no array")
        return found
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
