"""Common normalisations of images in bad light: functions of luminance (n, H, W) in cd/m² to maps (n, H, W).

None of them adapts; each processes one image alone. Methods for pictures take a camera's sRGB codes (`codes`), their usual
input; methods that follow from light, a mean or a logarithm, take luminance.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import exposure

from biomodel.stimuli import encode_srgb
from studies.luminance.lights import WHITE

#: Standard deviation of local contrast normalisation's Gaussian window, pixels.
LOCAL_WINDOW = 2.0

#: Luminance added before the logarithm, cd/m²: 1/200 of the reference white.
DARK = 1.0

#: Standard deviation of codes below which an image is uniform.
_UNIFORM = 1e-12

#: Pixels along a side of CLAHE's tiles: a quarter of an image.
_TILE = 8


def codes(light: np.ndarray) -> np.ndarray:
    """sRGB codes, 1 for the reference white, larger above it; neither clipped nor rounded."""
    return encode_srgb(light / WHITE)


def standardise(light: np.ndarray) -> np.ndarray:
    """Subtract the mean of each image's codes and divide by their standard deviation; uniform images become zero."""
    coded = codes(light)
    deviation = coded.std(axis=(1, 2), keepdims=True)
    # A uniform image's codes differ by rounding alone.
    deviation = np.where(deviation > _UNIFORM, deviation, 1.0)
    return (coded - coded.mean(axis=(1, 2), keepdims=True)) / deviation


def frame_mean(light: np.ndarray) -> np.ndarray:
    """Divide each image's luminance by its mean; black images stay zero."""
    mean = light.mean(axis=(1, 2), keepdims=True)
    return light / np.where(mean > 0, mean, 1.0)


def log_pixels(light: np.ndarray) -> np.ndarray:
    """Logarithm of luminance plus `DARK`."""
    return np.log(light + DARK)


def local_contrast_norm(light: np.ndarray) -> np.ndarray:
    """Subtract the local mean of codes and divide by the local standard deviation, or by its mean over the image if larger.

    The window is a Gaussian of SD 2 px; the floor is that of Jarrett et al. 2009 (ICCV, §2.1).
    """

    def blur(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, LOCAL_WINDOW, axes=(1, 2), mode="nearest")

    coded = codes(light)
    centred = coded - blur(coded)
    deviation = np.sqrt(blur(centred**2))
    floor = deviation.mean(axis=(1, 2), keepdims=True)
    return centred / np.where(floor > _UNIFORM, np.maximum(deviation, floor), 1.0)


def clahe(light: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of sRGB codes, the lightest pixel as white.

    Scikit-image's implementation, tiles of 8 px, clip limit .01.
    """
    peak = light.max(axis=(1, 2), keepdims=True)
    coded = encode_srgb(light / np.where(peak > 0, peak, 1.0))
    return np.stack([_equalise(image) for image in coded])


def _equalise(coded: np.ndarray) -> np.ndarray:
    # Scikit-image first stretches an image over the whole range: a uniform one has no range.
    return exposure.equalize_adapthist(coded, kernel_size=_TILE) if np.ptp(coded) > 0 else np.zeros_like(coded)
