"""Patches of the photographs in scikit-image and scikit-learn, as luminance."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import skimage.data
import skimage.transform
import xarray as xr
from sklearn.datasets import load_sample_image

from biomodel.stimuli import Display
from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError

#: Photographs in the wheels of scikit-image and of scikit-learn (the last two).
PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "moon",
    "motorcycle",
    "rocket",
    "china",
    "flower",
)

#: The most that a patch of a photograph is reduced, along a side.
LARGEST_SCALE = 5.0


@functools.cache
def photograph(name: str) -> np.ndarray:
    """Read the sRGB codes of one photograph: (H, W) or (H, W, 3), uint8."""
    if name in ("china", "flower"):
        return load_sample_image(f"{name}.jpg")
    if name == "motorcycle":
        return skimage.data.stereo_motorcycle()[0]
    return getattr(skimage.data, name)()


def photographs(
    count: int,
    size: int = 32,
    display: Display | None = None,
    seed: int = 0,
    names: Sequence[str] = PHOTOGRAPHS,
) -> xr.DataArray:
    """Draw random square patches at random places and scales, from one photograph after the other.

    Parameters
    ----------
    count : int
        Number of patches.
    size : int
        Pixels along a side.
    display : Display, optional
        Converts codes to luminance.
    seed : int
    names : sequence of str
        Photographs, from `PHOTOGRAPHS`.

    Returns
    -------
    xarray.DataArray, (image, y, x)
        cd/m², with a coordinate `photograph`.

    Raises
    ------
    InputError
        If `count` or `size` is not a positive integer, or `names` is empty or has an unknown name.
    """
    count, size, seed = whole_number(count, "count", 1), whole_number(size, "size", 1), whole_number(seed, "seed", 0)
    names = [one_of(name, PHOTOGRAPHS, "names") for name in names]
    if not names:
        raise InputError(f"names must be photographs of {', '.join(PHOTOGRAPHS)}, got none")
    random = np.random.default_rng(seed)
    chosen = [names[k % len(names)] for k in range(count)]
    patches = []
    for name in chosen:
        codes = photograph(name)
        largest = min(min(codes.shape[:2]) / size, LARGEST_SCALE)
        side = int(size * largest ** random.uniform())
        top, left = (random.integers(0, length - side + 1) for length in codes.shape[:2])
        crop = codes[top : top + side, left : left + side] / 255.0
        if crop.ndim == 2:
            crop = np.repeat(crop[..., None], 3, axis=-1)
        patch = skimage.transform.resize(crop, (size, size, 3), order=1, anti_aliasing=True)
        patches.append(np.clip(patch, 0.0, 1.0))
    stimulus = (display or Display()).show(np.stack(patches)).sum("colour", keep_attrs=True)
    return stimulus.assign_coords(photograph=("image", chosen))
