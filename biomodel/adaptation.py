"""The adaptation states a presentation can start from."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: Standard deviation in degrees of the Gaussian that drifting and jumping gaze leaves of an image.
GAZE_SPREAD = 0.5

#: The blur is cut at this many standard deviations.
TRUNCATION = 4.0


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
