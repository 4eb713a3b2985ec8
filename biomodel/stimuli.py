"""Stimuli as luminance in cd/m²: images on a display, even fields, photographs that ship with dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from brian2 import Quantity
from numpy.typing import ArrayLike

from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: Share of the luminance of white that each linear sRGB primary carries (IEC 61966-2-1).
SRGB_LUMINANCE = (0.2126, 0.7152, 0.0722)


def decode_srgb(codes: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] from sRGB codes in [0, 1] (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """SRGB codes in [0, 1] from linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def luminance(values: ArrayLike, pixels_per_degree: float, frame_duration: float | None = None) -> xr.DataArray:
    """A stimulus from luminances.

    Parameters
    ----------
    values : array_like, (image, y, x) or (image, time, y, x) with `frame_duration`
        Luminance in cd/m².
    pixels_per_degree : float
    frame_duration : float, optional
        Seconds each frame of a movie stands.

    Returns
    -------
    xarray.DataArray
        With x and y in degrees from the middle of the image, y downwards, and time in seconds.

    Raises
    ------
    InputError
        For a wrong number of dimensions, an empty set, negative, infinite or NaN luminance.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise InputError(f"luminance must be an array of real numbers, got {array.dtype}")
    array = np.asarray(array, dtype=float)
    dims = ("image", "y", "x") if frame_duration is None else ("image", "time", "y", "x")
    if array.ndim != len(dims):
        raise InputError(f"luminance has {array.ndim} dimensions: accepted are {len(dims)}, {dims}")
    ppd = positive(pixels_per_degree, "pixels_per_degree", "1")
    coordinates = {
        "y": _centred(array.shape[-2], ppd),
        "x": _centred(array.shape[-1], ppd),
    }
    if frame_duration is not None:
        coordinates["time"] = np.arange(array.shape[1]) * positive(frame_duration, "frame_duration", "ms") / 1.0
    stimulus = xr.DataArray(array, dims=dims, coords=coordinates, name="luminance", attrs={"units": "cd/m²"})
    check_luminance(stimulus)
    return stimulus


def _centred(size: int, pixels_per_degree: float) -> np.ndarray:
    return (np.arange(size) - (size - 1) / 2) / pixels_per_degree


def positive(value: object, name: str, unit: str) -> float:
    """A finite number above zero in `unit`, or a ValueError that names it."""
    number = as_number(value, unit, name)
    if number <= 0:
        raise InputError(f"{name} = {number:g} is not accepted: give a number above 0, in {unit}")
    return number


def check_luminance(stimulus: xr.DataArray) -> None:
    """Refuse an empty stimulus and light that cannot be: NaN, infinite, negative.

    Raises
    ------
    InputError
        Naming the first such value and its place.
    """
    if stimulus.size == 0:
        raise InputError(f"the stimulus is empty (shape {stimulus.shape}): give at least one image")
    if not np.issubdtype(stimulus.dtype, np.number):
        raise InputError(f"luminance of type {stimulus.dtype} is not accepted: give numbers in cd/m²")
    seen = 0
    for block in blocks(stimulus):
        values = block.values
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = dict(zip(stimulus.dims, at, strict=True))
            place["image"] += seen
            raise InputError(
                f"luminance {values[at]} cd/m² at {place} is not accepted: luminance is finite and not negative"
            )
        seen += block.sizes["image"]


def pixels_per_degree(stimulus: xr.DataArray) -> float:
    """Resolution of a stimulus, from the spacing of its coordinates in degrees.

    Raises
    ------
    InputError
        Where x and y are missing, uneven or of different spacing.
    """
    spacings = []
    for axis in ("y", "x"):
        if axis not in stimulus.coords or stimulus.sizes[axis] < 2:
            raise InputError(
                f"the stimulus has no coordinate {axis} in degrees: make it with Display.show or luminance"
            )
        steps = np.diff(stimulus[axis].values)
        if not np.allclose(steps, steps[0], rtol=1e-6) or steps[0] <= 0:
            raise InputError(
                f"the stimulus's coordinate {axis} is uneven: accepted is one spacing, growing, in degrees"
            )
        spacings.append(steps.mean())
    if not np.isclose(spacings[0], spacings[1], rtol=1e-6):
        raise InputError(f"pixels of {spacings[0]:g}° by {spacings[1]:g}° are not accepted: pixels are square")
    return float(1 / spacings[0])


@dataclass(frozen=True)
class Display:
    """A display that turns image codes into light.

    Parameters
    ----------
    peak : float or brian2.Quantity
        Luminance of white, cd/m².
    black : float or brian2.Quantity
        Luminance of black, cd/m².
    pixels_per_degree : float
        Pixels in a degree of visual angle.

    Raises
    ------
    InputError
        Unless 0 <= black < peak and pixels_per_degree > 0, all finite.
    """

    peak: float | Quantity = 200.0
    black: float | Quantity = 6.0
    pixels_per_degree: float = 16.0

    def __post_init__(self) -> None:
        peak = positive(self.peak, "peak", "cd/m²")
        black = as_number(self.black, "cd/m²", "black")
        if not 0 <= black < peak:
            raise InputError(f"black = {black:g} cd/m² is not accepted: give 0 or more and less than peak = {peak:g}")
        object.__setattr__(self, "peak", peak)
        object.__setattr__(self, "black", black)
        object.__setattr__(self, "pixels_per_degree", positive(self.pixels_per_degree, "pixels_per_degree", "1"))

    def show(self, images: ArrayLike) -> xr.DataArray:
        """Luminance of images: sRGB-decoded, then ``black + (peak - black) · linear``.

        Parameters
        ----------
        images : array_like, (n, H, W) or (n, H, W, 3)
            uint8 codes, or floats in [0, 1].

        Returns
        -------
        xarray.DataArray, (image, y, x) or (image, colour, y, x)
            cd/m²; the three colours are light that sums to luminance.

        Raises
        ------
        InputError
            For another number of dimensions or type, floats outside [0, 1] or NaN, an empty set.
        """
        codes = np.asarray(images)
        if codes.ndim not in (3, 4) or (codes.ndim == 4 and codes.shape[-1] != 3):
            raise InputError(f"images of shape {codes.shape} are not accepted: give (n, H, W) or (n, H, W, 3)")
        if codes.size == 0:
            raise InputError(f"images of shape {codes.shape} are an empty set: give at least one image")
        if codes.dtype == np.uint8:
            codes = codes / 255.0
        elif not np.issubdtype(codes.dtype, np.floating):
            raise InputError(f"images of type {codes.dtype} are not accepted: give uint8 codes or floats in [0, 1]")
        outside = ~((codes >= 0) & (codes <= 1))
        if outside.any():
            raise InputError(f"image value {codes[outside].flat[0]} is not accepted: floats lie in [0, 1]")
        linear = decode_srgb(codes.astype(float))
        span = float(self.peak) - float(self.black)
        if linear.ndim == 3:
            return luminance(float(self.black) + span * linear, self.pixels_per_degree)
        light = (float(self.black) + span * np.moveaxis(linear, -1, 1)) * np.array(SRGB_LUMINANCE)[:, None, None]
        grey = luminance(light.sum(axis=1), self.pixels_per_degree)
        return xr.DataArray(
            light,
            dims=("image", "colour", "y", "x"),
            coords={"colour": ["red", "green", "blue"], "y": grey.y, "x": grey.x},
            name="luminance",
            attrs=grey.attrs,
        )


#: Luminances looked at together, so that a stimulus that lies on disk never has to fit into memory.
_BLOCK = 4_194_304


def movie(stimulus: xr.DataArray) -> np.ndarray:
    """A stimulus as (image, frame, y, x) in cd/m²; a still image has one frame."""
    light = stimulus.sum("colour") if "colour" in stimulus.dims else stimulus
    if "time" in light.dims:
        return light.transpose("image", "time", "y", "x").values.astype(float, copy=False)
    return light.transpose("image", "y", "x").values.astype(float, copy=False)[:, None]


def blocks(stimulus: xr.DataArray) -> Iterator[xr.DataArray]:
    """A stimulus in pieces of a bounded size, some images each."""
    images = max(1, _BLOCK * stimulus.sizes["image"] // stimulus.size)
    for first in range(0, stimulus.sizes["image"], images):
        yield stimulus.isel(image=slice(first, first + images))


def luminance_range(stimulus: xr.DataArray) -> tuple[float, float]:
    """The lowest and the highest luminance of a stimulus in cd/m²."""
    edges = [(light.min(), light.max()) for light in map(movie, blocks(stimulus))]
    return float(min(low for low, _ in edges)), float(max(high for _, high in edges))
