"""The adaptation states a presentation can start from.

A state is what was seen before onset, so it never depends on later frames of a movie: gaze is adapted to the first frame.
"""

from __future__ import annotations

import hashlib
import numbers
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from biomodel.utils.errors import InputError
from biomodel.utils.units import as_array

#: Standard deviation in degrees of the gaze's position during fixation, drift and saccades taken together.
GAZE_SD = 0.5

#: The blur is cut at this many standard deviations.
TRUNCATION = 4.0

#: Largest finite standard deviation in degrees; infinity is the mean of the image.
LARGEST_SD = 180.0


@dataclass(frozen=True)
class GazeAdapted:
    """Adapted to the image while gaze wanders: each cone to the image blurred by the distribution of gaze positions.

    Of a movie, the first frame is the image: as if it had been on the screen before.

    Parameters
    ----------
    sd : float
        Standard deviation of the gaze's position in degrees, a plain number; 0 is a stabilised image, infinity the mean of
        the image.

    Raises
    ------
    InputError
        For a standard deviation that is not a number from 0 to 180, or infinity.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.GazeAdapted(sd=0.1)
    GazeAdapted(sd=0.1)
    """

    sd: float = GAZE_SD

    def __post_init__(self) -> None:
        if isinstance(self.sd, bool | np.timedelta64) or not isinstance(self.sd, numbers.Real) or not self.sd >= 0:
            raise InputError(f"sd of gaze must be a number of degrees of 0 or more, got {self.sd!r}")
        if LARGEST_SD < self.sd < inf:
            raise InputError(f"sd of gaze must be at most {LARGEST_SD:g} degrees, or infinity, got {self.sd!r}")

    def __str__(self) -> str:
        return f"gaze of {_exact(float(self.sd))}°"

    def field(self, light: np.ndarray, pixels_per_degree: float, chosen: slice) -> np.ndarray:
        """The field, (image, y, x) in cd/m², that each cone of the `chosen` images is adapted to."""
        return gaze_field(light, float(self.sd), pixels_per_degree)


def _exact(value: float) -> str:
    """A number with all of its digits: stores with different settings differ in their text."""
    return repr(value).removesuffix(".0")


@dataclass(frozen=True)
class UniformField:
    """Adapted to a uniform field: `levels` in cd/m², one for all images or one for each."""

    levels: tuple[float, ...]

    def __str__(self) -> str:
        if len(self.levels) == 1:
            return f"{_exact(self.levels[0])} cd/m²"
        digest = hashlib.sha256(np.array(self.levels).tobytes()).hexdigest()[:16]
        return f"{len(self.levels)} levels from {min(self.levels):g} to {max(self.levels):g} cd/m² with digest {digest}"

    def field(self, light: np.ndarray, pixels_per_degree: float, chosen: slice) -> np.ndarray:
        """The field, (image, y, x) in cd/m², that each cone of the `chosen` images is adapted to."""
        levels = np.array(self.levels if len(self.levels) == 1 else self.levels[chosen])
        return np.ascontiguousarray(np.broadcast_to(levels[:, None, None], light.shape))


def uniform_levels(
    adapt_to: ArrayLike, n_images: int, accepted: str = "a luminance of 0 cd/m² or more, or one for each image"
) -> tuple[float, ...]:
    """Luminances to adapt to, one for all images or one for each.

    Parameters
    ----------
    adapt_to : array_like or brian2.Quantity
        cd/m².
    n_images : int
    accepted : str
        What `adapt_to` may be, for the message.

    Returns
    -------
    tuple of float
        One value, or `n_images` values.

    Raises
    ------
    InputError
        For another unit, number of values or of dimensions, and for values that are infinite, NaN or below 0.
    """
    levels = as_array(adapt_to, "cd/m²", "adapt_to").astype(float)
    if levels.ndim > 1:
        raise InputError(f"adapt_to must be {accepted}, got {levels.ndim} dimensions")
    if levels.size not in (1, n_images):
        raise InputError(f"adapt_to must be {accepted}, got {levels.size} luminances for {n_images} images")
    wrong = ~(np.isfinite(levels) & (levels >= 0))
    if wrong.any():
        raise InputError(f"adapt_to must be {accepted}, got {levels[wrong].flat[0]:g} cd/m²")
    return tuple(levels.ravel().tolist())


def gaze_field(light: np.ndarray, sd: float, pixels_per_degree: float) -> np.ndarray:
    """The image blurred by a Gaussian distribution of gaze positions; borders are replicated.

    Parameters
    ----------
    light : numpy.ndarray, (image, y, x)
        Luminance in cd/m².
    sd : float
        Standard deviation in degrees; 0 leaves the image as it is, infinity gives its mean.
    pixels_per_degree : float

    Returns
    -------
    numpy.ndarray, (image, y, x), cd/m²
    """
    if np.isinf(sd):
        return np.broadcast_to(light.mean(axis=(1, 2), keepdims=True), light.shape).copy()
    if sd == 0:
        return light.copy()
    return ndimage.gaussian_filter(light, sd * pixels_per_degree, axes=(1, 2), mode="nearest", truncate=TRUNCATION)
