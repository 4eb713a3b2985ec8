r"""The light on a scene: pure functions from luminance to luminance, fixed before any run.

An image's codes are sRGB-decoded to x; its reflectance is ρ = .03 + .87 x, black 3 % and white 90 %. Under the reference
light, even over the image, white has L_w = 200 cd/m² and the scene L = L_w ρ / .9. A light takes L to another luminance; its
geometry is random, seeded by the light and the image's index, so that every arm meets the same scenes.

In a light's formulas w is the image's width in pixels and u a pixel's coordinate along a direction θ uniform in [0, 2π),
measured from the middle of the image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from biomodel.stimuli import decode_srgb

#: Luminance of white under the reference light, cd/m².
WHITE = 200.0

#: Pixels in a degree of visual angle in every study: images of 32 pixels are 2° wide.
PIXELS_PER_DEGREE = 16.0

#: Luminance of a middle grey (reflectance .18) under the reference light: the field that "sudden" arms are adapted to.
REFERENCE_FIELD = WHITE * 0.18 / 0.9


def scene(codes: np.ndarray) -> np.ndarray:
    """Luminance of images under the reference light.

    Parameters
    ----------
    codes : numpy.ndarray, (n, H, W)
        sRGB codes in [0, 1].

    Returns
    -------
    numpy.ndarray, (n, H, W), cd/m²
    """
    return WHITE * (0.03 + 0.87 * decode_srgb(codes)) / 0.9


@dataclass(frozen=True)
class Light:
    """One way in which the light changes.

    Attributes
    ----------
    name, group : str
    levels : tuple of float
        Of the parameter named in `parameter`, in order.
    development : tuple of float
        The levels that development may look at; scores leave them out.
    shine : callable
        (luminance (H, W), level, generator) to luminance (H, W).
    """

    name: str
    group: str
    parameter: str
    levels: tuple[float, ...]
    development: tuple[float, ...]
    shine: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _exposure(luminance: np.ndarray, k: float, random: np.random.Generator) -> np.ndarray:
    return luminance * k


def _pedestal(luminance: np.ndarray, p: float, random: np.random.Generator) -> np.ndarray:
    return luminance + p * WHITE


def _gradient(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    return luminance * r ** (u / luminance.shape[1])


def _hard_shadow(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    width = luminance.shape[1]
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    offset = random.uniform(-0.25 * width, 0.25 * width)
    return np.where(u > offset, luminance / r, luminance)


def _along(shape: tuple[int, ...], angle: float) -> np.ndarray:
    y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
    return x[None, :] * np.cos(angle) + y[:, None] * np.sin(angle)


#: Every light by name.
LIGHTS = {
    light.name: light
    for light in (
        Light("exposure", "global", "k", (0.003, 0.01, 0.03, 0.1, 0.3, 3, 10, 30), (0.1, 0.3, 3, 10), _exposure),
        Light("pedestal", "global", "p", (0.1, 0.3, 1, 3), (0.3,), _pedestal),
        Light("gradient", "local", "r", (3, 10, 30), (10,), _gradient),
        Light("hard_shadow", "local", "r", (3, 10, 30), (10,), _hard_shadow),
    )
}

#: Two levels of each light, none of development, for arms whose every image is simulated.
TWO_LEVELS = {"exposure": (0.01, 30.0), "pedestal": (0.1, 1.0), "gradient": (3.0, 30.0), "hard_shadow": (3.0, 30.0)}


def illuminate(luminance: np.ndarray, light: str, level: float) -> np.ndarray:
    """Scenes under one light; the scene itself is left alone.

    Parameters
    ----------
    luminance : numpy.ndarray, (n, H, W)
        Under the reference light, cd/m²; an image's place is its index.
    light : str
        A name in `LIGHTS`.
    level : float
        One of the light's levels.

    Returns
    -------
    numpy.ndarray, (n, H, W), cd/m²

    Raises
    ------
    ValueError
        For an unknown light or level.
    """
    if light not in LIGHTS:
        raise ValueError(f"unknown light {light!r}: accepted are {', '.join(LIGHTS)}")
    known = LIGHTS[light]
    if level not in known.levels:
        raise ValueError(f"{light} has no level {level}: accepted are {', '.join(f'{v:g}' for v in known.levels)}")
    seed = zlib.crc32(light.encode())
    return np.stack(
        [known.shine(image, level, np.random.default_rng([seed, index])) for index, image in enumerate(luminance)]
    )
