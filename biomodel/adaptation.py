"""The adaptation states a presentation can start from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Standard deviation in degrees of the Gaussian that drifting and jumping gaze leaves of an image.
GAZE_SD = 0.5

#: The blur is cut at this many standard deviations.
TRUNCATION = 4.0


@dataclass(frozen=True)
class GazeAdapted:
    """Settled by gaze that wanders over each image with a standard deviation of `spread` degrees."""

    spread: float
    pixels_per_degree: float

    def __str__(self) -> str:
        return f"gaze of {self.spread:g}°"

    def field(self, light: np.ndarray, chosen: slice) -> np.ndarray:
        """What each cone of the `chosen` images, (image, y, x) in cd/m², is adapted to."""
        return gaze_field(light, self.spread, self.pixels_per_degree)


@dataclass(frozen=True)
class UniformField:
    """Settled at an even field: `levels` in cd/m², one for all images or one for each."""

    levels: tuple[float, ...]

    def __str__(self) -> str:
        if len(self.levels) == 1:
            return f"{self.levels[0]:g} cd/m²"
        digest = hashlib.sha256(np.array(self.levels).tobytes()).hexdigest()[:16]
        return f"{len(self.levels)} levels from {min(self.levels):g} to {max(self.levels):g} cd/m² with digest {digest}"

    def field(self, light: np.ndarray, chosen: slice) -> np.ndarray:
        """What each cone of the `chosen` images, (image, y, x) in cd/m², is adapted to."""
        levels = np.array(self.levels if len(self.levels) == 1 else self.levels[chosen])
        return np.ascontiguousarray(np.broadcast_to(levels[:, None, None], light.shape))


def gaze_field(light: np.ndarray, spread: float, pixels_per_degree: float) -> np.ndarray:
    """The field to which each cone adapts while gaze wanders over an image: the image blurred by a Gaussian.

    Parameters
    ----------
    light : numpy.ndarray, (image, y, x)
        Luminance in cd/m².
    spread : float
        Standard deviation in degrees; 0 leaves the image as it is (a stabilised image), infinity its mean.
    pixels_per_degree : float

    Returns
    -------
    numpy.ndarray, (image, y, x), cd/m²
    """
    if np.isinf(spread):
        return np.broadcast_to(light.mean(axis=(1, 2), keepdims=True), light.shape).copy()
    if spread == 0:
        return light.copy()
    return ndimage.gaussian_filter(light, spread * pixels_per_degree, axes=(1, 2), mode="nearest", truncate=TRUNCATION)
