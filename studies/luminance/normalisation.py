"""What people do to an image in bad light, one function each: luminance (n, H, W) in cd/m² to maps (n, H, W).

None of them adapts; each looks at one image alone. What is made for pictures sees a camera's sRGB codes (`codes`), as people
give them to it; what follows from light, a mean or a logarithm, sees luminance.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import exposure

from biomodel.stimuli import encode_srgb
from studies.luminance.lights import WHITE

#: Standard deviation of local contrast normalisation's Gaussian window, pixels.
LOCAL_WINDOW = 2.0

#: Luminance that is added before a logarithm is taken, cd/m²: a 200th of the reference white.
DARK = 1.0

#: Deviations of codes below which an image is even.
_EVEN = 1e-12

#: Pixels along a side of CLAHE's tiles: a quarter of an image.
_TILE = 8


def codes(light: np.ndarray) -> np.ndarray:
    """sRGB codes, 1 for the reference white; lighter light has larger codes, for nothing is clipped or rounded."""
    return encode_srgb(light / WHITE)


def standardise(light: np.ndarray) -> np.ndarray:
    """The codes of each image less their mean, over their standard deviation; an even image is zero."""
    coded = codes(light)
    deviation = coded.std(axis=(1, 2), keepdims=True)
    # An even image's codes differ by rounding alone.
    deviation = np.where(deviation > _EVEN, deviation, 1.0)
    return (coded - coded.mean(axis=(1, 2), keepdims=True)) / deviation


def frame_mean(light: np.ndarray) -> np.ndarray:
    """Each image over its mean; a black image is zero."""
    mean = light.mean(axis=(1, 2), keepdims=True)
    return light / np.where(mean > 0, mean, 1.0)


def log_pixels(light: np.ndarray) -> np.ndarray:
    """The logarithm of luminance and `DARK`."""
    return np.log(light + DARK)


def local_contrast_norm(light: np.ndarray) -> np.ndarray:
    """Each code less its local mean, over the local standard deviation or the image's mean one, whichever is larger.

    The window is a Gaussian of SD 2 px; the floor is that of Jarrett et al. 2009 (ICCV, §2.1).
    """

    def blur(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, LOCAL_WINDOW, axes=(1, 2), mode="nearest")

    coded = codes(light)
    centred = coded - blur(coded)
    deviation = np.sqrt(blur(centred**2))
    floor = deviation.mean(axis=(1, 2), keepdims=True)
    return centred / np.where(floor > _EVEN, np.maximum(deviation, floor), 1.0)


def clahe(light: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of sRGB codes, an image's lightest pixel as white.

    Scikit-image's, of tiles of 8 px, its clip limit of .01.
    """
    peak = light.max(axis=(1, 2), keepdims=True)
    coded = encode_srgb(light / np.where(peak > 0, peak, 1.0))
    return np.stack([_equalised(image) for image in coded])


def _equalised(coded: np.ndarray) -> np.ndarray:
    # Scikit-image stretches an image over the whole range first: an even one has none.
    return exposure.equalize_adapthist(coded, kernel_size=_TILE) if np.ptp(coded) > 0 else np.zeros_like(coded)
