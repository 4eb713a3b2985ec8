"""Stimuli as luminance in cd/m²: images on a display, or arrays of luminance; their checks, and reading them in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from brian2 import Quantity
from numpy.typing import ArrayLike

from biomodel.utils.errors import InputError
from biomodel.utils.units import as_array, as_number, check_units_attribute

#: Share of the luminance of white that each linear sRGB primary carries (IEC 61966-2-1).
SRGB_LUMINANCE = (0.2126, 0.7152, 0.0722)

#: How far a code may lie outside [0, 1] and count as a rounding error: half an 8-bit code.
CODE_TOLERANCE = 0.5 / 255

#: Names of the primaries, in this order.
COLOURS = ("red", "green", "blue")


def decode_srgb(codes: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] from sRGB codes in [0, 1] (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """SRGB codes in [0, 1] from linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def luminance(
    values: ArrayLike, pixels_per_degree: float, frame_duration: float | Quantity | None = None
) -> xr.DataArray:
    """Make a stimulus from luminances.

    Parameters
    ----------
    values : array_like or brian2.Quantity, (image, y, x) or (image, time, y, x) with `frame_duration`
        Luminance in cd/m².
    pixels_per_degree : float
    frame_duration : float or brian2.Quantity, optional
        Duration of each frame of a movie, seconds; a movie has two frames or more.

    Returns
    -------
    xarray.DataArray
        With x and y in degrees from the middle of the image, y downwards, and time in seconds.

    Raises
    ------
    InputError
        For a wrong number of dimensions, an empty set, a movie of one frame, another unit, negative, infinite or NaN
        luminance; without named dimensions, for a last axis of 3 or 4 behind two over 4, which are colours.

    Examples
    --------
    >>> import numpy as np
    >>> import biomodel
    >>> spot = np.full((1, 33, 33), 100.0)  # cd/m²
    >>> spot[:, 16, 16] = 150
    >>> biomodel.luminance(spot, pixels_per_degree=16).sel(x=0, y=0).values
    array([150.])
    """
    dims = ("image", "y", "x") if frame_duration is None else ("image", "time", "y", "x")
    array = as_array(by_name(values, dims, "luminance"), "cd/m²", "luminance", "buif")
    array = np.asarray(array, dtype=float)
    if array.ndim != len(dims):
        raise InputError(f"luminance must have the dimensions {dims}, got {array.ndim} dimensions")
    if _ends_in_colours(array.shape) and not isinstance(values, xr.DataArray):
        raise InputError(
            f"luminance must have the dimensions {dims}, got the shape {array.shape}, whose last axis is colours: show colours "
            "with Display.show, or name the dimensions of narrow images in an xarray.DataArray"
        )
    ppd = positive(pixels_per_degree, "pixels_per_degree", "px/deg")
    coordinates = {
        "y": _centred(array.shape[-2], ppd),
        "x": _centred(array.shape[-1], ppd),
    }
    if frame_duration is not None:
        if array.shape[1] == 1:
            raise InputError("a movie must have two frames or more, got 1: give an image without frame_duration")
        coordinates["time"] = np.arange(array.shape[1]) * positive(frame_duration, "frame_duration", "s")
    stimulus = xr.DataArray(array, dims=dims, coords=coordinates, name="luminance", attrs={"units": "cd/m²"})
    check_luminance(stimulus)
    return stimulus


def by_name(values: ArrayLike, dims: tuple[str, ...], name: str) -> ArrayLike:
    """An array as it is or, with named dimensions, in the order `dims`.

    Raises
    ------
    InputError
        For an xarray.DataArray of other dimensions, or whose y, x or time do not grow.
    """
    if not isinstance(values, xr.DataArray):
        return values
    if set(values.dims) != set(dims):
        raise InputError(f"{name} with named dimensions must have the dimensions {dims}, got {values.dims}")
    for axis in ("time", "y", "x"):
        if axis in values.indexes and not values.indexes[axis].is_monotonic_increasing:
            raise InputError(f"coordinate {axis} of {name} must grow, got {values[axis].values[:2].tolist()}, …")
    if "colour" in values.indexes:
        names = values.colour.values.tolist()
        if sorted(map(str, names)) != sorted(COLOURS):
            raise InputError(f"coordinate colour of {name} must be {', '.join(COLOURS)}, got {names}")
        values = values.sel(colour=list(COLOURS))
    return values.transpose(*dims)


def _centred(size: int, pixels_per_degree: float) -> np.ndarray:
    return (np.arange(size) - (size - 1) / 2) / pixels_per_degree


def positive(value: object, name: str, unit: str) -> float:
    """A finite number above zero in `unit`, or an InputError that names it."""
    number = as_number(value, unit, name)
    if number <= 0:
        raise InputError(f"{name} must be above 0 (in {unit}), got {number:g}")
    return number


def check_luminance(stimulus: xr.DataArray) -> tuple[float, float]:
    """Check that a stimulus is not empty and holds finite luminances of 0 or more; returns the lowest and the highest.

    Raises
    ------
    InputError
        With the first wrong value and its place.
    """
    if stimulus.size == 0:
        raise InputError(f"the stimulus must have at least one image, got shape {stimulus.shape}")
    if stimulus.dtype.kind not in "uif":
        raise InputError(f"luminance must be numbers in cd/m², got type {stimulus.dtype}")
    check_units_attribute(stimulus, "cd/m²", "luminance")
    lows, highs, n_checked = [], [], 0
    for block in blocks(stimulus):
        values = as_array(block.data, "cd/m²", "luminance")
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = dict(zip(stimulus.dims, at, strict=True))
            place["image"] += n_checked
            raise InputError(f"luminance must be finite and not negative, got {values[at]} cd/m² at {place}")
        n_checked += block.sizes["image"]
        light = movie(block)
        lows.append(float(light.min()))
        highs.append(float(light.max()))
    return min(lows), max(highs)


def check_stimulus(stimulus: object) -> tuple[float, float, float]:
    """Check that a stimulus can be shown; returns pixels per degree, the lowest and the highest luminance.

    Raises
    ------
    InputError
        For another type or other dimensions, wrong luminances, or coordinates that are missing or uneven.
    """
    if not isinstance(stimulus, xr.DataArray):
        raise InputError(f"stimulus must be an xarray.DataArray from Display.show, got {type(stimulus).__name__}")
    if not {"image", "y", "x"} <= set(stimulus.dims) <= {"image", "colour", "time", "y", "x"}:
        raise InputError(f"stimulus dimensions must be (image, y, x), with colour or time, got {stimulus.dims}")
    low, high = check_luminance(stimulus)
    return pixels_per_degree(stimulus), low, high


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
                f"the stimulus must have a coordinate {axis} in degrees: make it with Display.show or luminance"
            )
        spacing = even_step(places(stimulus, axis))
        if spacing is None:
            raise InputError(f"the stimulus's coordinate {axis} must grow in even steps, in degrees")
        spacings.append(spacing)
    if abs(spacings[1] / spacings[0] - 1) * max(stimulus.sizes["y"], stimulus.sizes["x"]) > UNEVENNESS:
        raise InputError(f"pixels must be square, got {spacings[0]:g}° by {spacings[1]:g}°")
    return _rounded(1 / spacings[0], stimulus.y.dtype)


#: Distance of a position from an even lattice that is accepted, in pixels or frames. Single precision needs some of it.
UNEVENNESS = 0.01


def places(stimulus: xr.DataArray, axis: str) -> np.ndarray:
    """A coordinate of a stimulus as plain numbers: x and y in degrees, time in seconds.

    Raises
    ------
    InputError
        For another unit in the attribute ``units``, and for dates, texts and other objects.
    """
    coordinate, unit = stimulus[axis], "s" if axis == "time" else "deg"
    check_units_attribute(coordinate, unit, f"the stimulus's coordinate {axis}")
    if unit == "s" and coordinate.dtype.kind == "m":
        return coordinate.values / np.timedelta64(1, "s")
    if coordinate.dtype.kind not in "uif":
        raise InputError(f"the stimulus's coordinate {axis} must be numbers in {unit}, got type {coordinate.dtype}")
    return coordinate.values.astype(float)


def even_step(values: np.ndarray) -> float | None:
    """Spacing of growing positions on a straight line, or None where they are not on one."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    step = float(np.diff(values).mean())
    away = values - step * np.arange(len(values))
    return step if step > 0 and np.ptp(away) <= 2 * UNEVENNESS * step else None


def frames(stimulus: xr.DataArray) -> tuple[int, float] | None:
    """Number of frames of a movie and the duration of each in seconds; None for still images.

    Only intervals count: the first frame is shown at onset.

    Raises
    ------
    InputError
        For a single frame, and for times that are missing, uneven or do not grow.
    """
    if "time" not in stimulus.dims:
        return None
    times = places(stimulus, "time") if "time" in stimulus.coords else np.array([])
    step = even_step(times)
    if step is None:
        got = _few(times) if times.size else "none"
        raise InputError(f"a movie's coordinate time must have two or more values in even steps, in seconds, got {got}")
    return len(times), _rounded(step, stimulus.time.dtype)


def _rounded(value: float, dtype: np.dtype) -> float:
    """A number to the digits that a type holds; in double precision as it is."""
    digits = np.finfo(dtype).precision if dtype.kind == "f" else np.finfo(float).precision
    return value if digits >= np.finfo(float).precision else float(f"{value:.{digits}g}")


def _few(values: np.ndarray) -> str:
    """The first values of an array as text."""
    shown = ", ".join(f"{value:g}" for value in values[:_SHOWN])
    return f"[{shown}{', …' if len(values) > _SHOWN else ''}]"


#: Values of an array that a message shows.
_SHOWN = 8


@dataclass(frozen=True)
class Display:
    """A display: converts image codes to luminance.

    Parameters
    ----------
    peak : float or brian2.Quantity
        Luminance of white, cd/m².
    black : float or brian2.Quantity
        Luminance of black, cd/m².
    pixels_per_degree : float
        Pixels per degree of visual angle.

    Raises
    ------
    InputError
        Unless 0 <= black < peak and pixels_per_degree > 0, all finite.

    Examples
    --------
    >>> import numpy as np
    >>> import biomodel
    >>> codes = np.zeros((1, 24, 24), np.uint8)
    >>> codes[:, :, 12:] = 255
    >>> stimulus = biomodel.Display(peak=200, black=6).show(codes)
    >>> stimulus.dims, float(stimulus.min()), float(stimulus.max())
    (('image', 'y', 'x'), 6.0, 200.0)
    """

    peak: float | Quantity = 200.0
    black: float | Quantity = 6.0
    pixels_per_degree: float = 16.0

    def __post_init__(self) -> None:
        peak = positive(self.peak, "peak", "cd/m²")
        black = as_number(self.black, "cd/m²", "black")
        if not 0 <= black < peak:
            raise InputError(f"black must be 0 or more and less than peak = {peak:g} cd/m², got {black:g}")
        object.__setattr__(self, "peak", peak)
        object.__setattr__(self, "black", black)
        object.__setattr__(self, "pixels_per_degree", positive(self.pixels_per_degree, "pixels_per_degree", "px/deg"))

    def show(self, images: ArrayLike) -> xr.DataArray:
        """Luminance of images: sRGB-decoded, then ``black + (peak - black) · linear``.

        Parameters
        ----------
        images : array_like, (n, H, W) or (n, H, W, 3)
            uint8 codes, or floats in [0, 1]. Floats outside by less than half an 8-bit code count as rounding errors of 0 or 1.

        Returns
        -------
        xarray.DataArray, (image, y, x) or (image, colour, y, x)
            cd/m²; the three colours are light that sums to luminance.

        Raises
        ------
        InputError
            For another number of dimensions or type, floats outside [0, 1] or NaN, an empty set, and for (n, H, 3) and (n, H, 4)
            with n and H over 4 and no named dimensions, which is one image in colour, (H, W, 3), without its first axis.
        """
        named = ("image", "y", "x", "colour") if "colour" in getattr(images, "dims", ()) else ("image", "y", "x")
        codes = as_array(by_name(images, named, "images"), "1", "images")
        if codes.ndim not in (3, 4) or (codes.ndim == 4 and codes.shape[-1] != 3):
            raise InputError(f"images must have the shape (n, H, W) or (n, H, W, 3), got {codes.shape}")
        if not isinstance(images, xr.DataArray):
            check_not_one_image(codes.shape, "images")
        if codes.size == 0:
            raise InputError(f"images must hold at least one image, got shape {codes.shape}")
        if codes.dtype == np.uint8:
            codes = codes / 255.0
        elif not np.issubdtype(codes.dtype, np.floating):
            raise InputError(f"images must be uint8 codes or floats in [0, 1], got type {codes.dtype}")
        outside = ~((codes >= -CODE_TOLERANCE) & (codes <= 1 + CODE_TOLERANCE))
        if outside.any():
            raise InputError(f"image values must be in [0, 1], got {codes[outside].flat[0]}")
        linear = decode_srgb(codes.astype(float).clip(0, 1))
        span = float(self.peak) - float(self.black)
        if linear.ndim == 3:
            return self._grey(float(self.black) + span * linear)
        light = (float(self.black) + span * np.moveaxis(linear, -1, 1)) * np.array(SRGB_LUMINANCE)[:, None, None]
        grey = self._grey(light.sum(axis=1))
        return xr.DataArray(
            light,
            dims=("image", "colour", "y", "x"),
            coords={"colour": list(COLOURS), "y": grey.y, "x": grey.x},
            name="luminance",
            attrs=grey.attrs,
        )

    def _grey(self, light: np.ndarray) -> xr.DataArray:
        """The stimulus of luminances (image, y, x), which may be narrow."""
        return luminance(xr.DataArray(light, dims=("image", "y", "x")), self.pixels_per_degree)


def _ends_in_colours(shape: tuple[int, ...]) -> bool:
    """Whether the last axis of an array of three or more is more likely colours than a row of pixels."""
    return shape[-1] in (3, 4) and min(shape[-3:-1]) > 4


def check_not_one_image(shape: tuple[int, ...], name: str) -> None:
    """Check that an array of this shape is not one colour image, whose rows would become images.

    Raises
    ------
    InputError
    """
    if len(shape) == 3 and _ends_in_colours(shape):
        raise InputError(
            f"{name} must have the shape (n, H, W) or (n, H, W, 3), got {shape}, which is one colour image: "
            "give images[None], without alpha"
        )


#: Luminances read together, so that a stimulus on disk never has to fit into memory.
_BLOCK = 4_194_304


def movie(stimulus: xr.DataArray) -> np.ndarray:
    """A stimulus as (image, frame, y, x) in cd/m²; a still image has one frame."""
    light = stimulus.sum("colour") if "colour" in stimulus.dims else stimulus
    if "time" in light.dims:
        return np.ascontiguousarray(light.transpose("image", "time", "y", "x").values, dtype=float)
    return np.ascontiguousarray(light.transpose("image", "y", "x").values, dtype=float)[:, None]


def blocks(stimulus: xr.DataArray) -> Iterator[xr.DataArray]:
    """A stimulus in pieces of a bounded size, some images each."""
    images = max(1, _BLOCK * stimulus.sizes["image"] // stimulus.size)
    for first in range(0, stimulus.sizes["image"], images):
        yield stimulus.isel(image=slice(first, first + images))
