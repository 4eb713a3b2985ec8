r"""Front ends with parameters set by hand: filters of luminance (n, H, W) in cd/m².

**Retina by hand** (`hand_set`): x is the logarithm of luminance,

.. math:: d = G_{.6} * x - G_{2.5} * x, \qquad r = \left[\pm d / \sqrt{s^2 + G_4 * d^2}\right]_+,

Gaussians with standard deviations in pixels, an ON and an OFF map. With `global_weber` x is Weber's contrast about the image's
mean instead of the logarithm, the light adaptation of EVNet's subcortical block (arXiv 2506.03089).

**Gabor filters** (`gabor_block`), of sRGB codes: simple cells of two frequencies, eight orientations and four phases, rectified,
and complex cells, root of the sum of squares of two phases; on every second pixel, after VOneNet's first block (Dapello et al.
2020, NeurIPS 33), without its noise.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal
from skimage.filters import gabor_kernel

from studies.luminance.normalisation import codes, frame_mean, log_pixels

#: Standard deviations of centre, surround and divisive pool, pixels.
CENTRE, SURROUND, POOL = 0.6, 2.5, 4.0

#: Added to the pooled contrast, so that noise in the dark is not amplified to the level of contours.
FLOOR = 0.1

#: Frequencies of the Gabor filters, cycles a pixel (2 and 4 c/deg at 16 px/deg), and orientations.
FREQUENCIES, ORIENTATIONS = (0.125, 0.25), 8

#: Pixels between cells, and images per batch.
_STRIDE, _BATCH = 2, 256


def hand_set(light: np.ndarray) -> np.ndarray:
    """ON and OFF maps of log luminance, (n, 2, H, W)."""
    return _retina(log_pixels(light))


def global_weber(light: np.ndarray) -> np.ndarray:
    """ON and OFF maps of Weber's contrast about the image's mean, (n, 2, H, W)."""
    return _retina(frame_mean(light) - 1)


def _retina(x: np.ndarray) -> np.ndarray:
    def blur(maps: np.ndarray, deviation: float) -> np.ndarray:
        return ndimage.gaussian_filter(maps, deviation, axes=(1, 2), mode="nearest")

    difference = blur(x, CENTRE) - blur(x, SURROUND)
    normalised = difference / np.sqrt(FLOOR**2 + blur(difference**2, POOL))
    return np.maximum(np.stack([normalised, -normalised], axis=1), 0)


def gabor_block(light: np.ndarray) -> np.ndarray:
    """Simple cells of four phases, and complex cells, of every frequency and orientation: (n, 80, ceil(H/2), ceil(W/2))."""
    return np.concatenate([_gabor_block(light[k : k + _BATCH]) for k in range(0, len(light), _BATCH)])


def _gabor_block(light: np.ndarray) -> np.ndarray:
    x = codes(light)
    maps = []
    for frequency in FREQUENCIES:
        for k in range(ORIENTATIONS):
            kernel = gabor_kernel(frequency, theta=np.pi * k / ORIENTATIONS)
            reach = [size // 2 for size in kernel.shape]
            around = np.pad(x, ((0, 0), (reach[0], reach[0]), (reach[1], reach[1])), mode="edge")
            # Even filters minus their mean respond to contours, not to uniform light.
            even, odd = (
                signal.fftconvolve(around, part[None, ::-1, ::-1], mode="valid", axes=(1, 2))[:, ::_STRIDE, ::_STRIDE]
                for part in (kernel.real - np.abs(kernel) * kernel.real.sum() / np.abs(kernel).sum(), kernel.imag)
            )
            maps += [np.maximum(part, 0) for part in (even, -even, odd, -odd)]
            maps.append(np.hypot(even, odd))
    return np.stack(maps, axis=1).astype(np.float32)
