r"""The light on a scene: pure functions from luminance to luminance, fixed before any run.

An image's codes are sRGB-decoded to x; its reflectance is ρ = .03 + .87 x, black 3 % and white 90 %. Under the reference
light, even over the image, white has L_w = 200 cd/m² and the scene L = L_w ρ / .9. A light takes L to another luminance; its
geometry is random, seeded by the light and the image's index, so that every arm meets the same scenes.

In a light's formulas w is the image's width in pixels and u a pixel's coordinate along a direction θ uniform in [0, 2π),
measured from the middle of the image. A sensor's codes are sRGB's of L / L_w: white is its largest.

| group | light | luminance |
|---|---|---|
| global | exposure, pedestal | L k, L + p L_w |
| local | gradient | L r^(u/w) |
| local | hard shadow, soft shadow | L / r beyond an offset uniform in ±w/4; through a logistic edge of width .06 w |
| local | spot | L (1/r + G), a Gaussian of SD .2 w and height 1 at a uniform place |
| local | two lamps | L times 1/30 and two Gaussians of SD .35 w, the sum scaled to a maximum of 1 |
| local | dapple | L times the exponential of 1/f noise, of mean 0, its 5th and 95th percentiles log r apart |
| sensor | low exposure, clipping | L k in 8 bits |
| sensor | gamma, contrast | code^γ; codes about the image's mean times c, in 8 bits |
| photon | shot noise | Poisson counts of mean N L / L_w, times L_w / N |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from biomodel.stimuli import decode_srgb, encode_srgb
from biomodel.utils.errors import InputError

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


def _soft_shadow(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    width = luminance.shape[1]
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    offset = random.uniform(-0.25 * width, 0.25 * width)
    return luminance * (1 - (1 - 1 / r) * special.expit((u - offset) / (0.06 * width)))


def _spot(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    return luminance * (1 / r + _gaussian(luminance.shape, 0.2, random))


def _two_lamps(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    light = 1 / r + _gaussian(luminance.shape, 0.35, random) + _gaussian(luminance.shape, 0.35, random)
    return luminance * light / light.max()


def _dapple(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in luminance.shape), indexing="ij"))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=luminance.shape)) / frequency).real
    low, high = np.percentile(noise, (5, 95))
    return luminance * np.exp((noise - noise.mean()) * np.log(r) / (high - low))


def _eight_bits(luminance: np.ndarray, k: float, random: np.random.Generator) -> np.ndarray:
    return _shown(_quantised(_codes(luminance * k)))


def _gamma(luminance: np.ndarray, gamma: float, random: np.random.Generator) -> np.ndarray:
    return _shown(_codes(luminance) ** gamma)


def _contrast(luminance: np.ndarray, c: float, random: np.random.Generator) -> np.ndarray:
    codes = _codes(luminance)
    return _shown(_quantised(codes.mean() + c * (codes - codes.mean())))


def _shot_noise(luminance: np.ndarray, n: float, random: np.random.Generator) -> np.ndarray:
    return random.poisson(n * luminance / WHITE) * WHITE / n


def _codes(luminance: np.ndarray) -> np.ndarray:
    """A sensor's codes in [0, 1]; what is lighter than white is clipped."""
    return encode_srgb(np.clip(luminance / WHITE, 0, 1))


def _quantised(codes: np.ndarray) -> np.ndarray:
    return np.round(255 * codes) / 255


def _shown(codes: np.ndarray) -> np.ndarray:
    """The luminance that codes stand for."""
    return WHITE * decode_srgb(codes)


def _gaussian(shape: tuple[int, ...], deviation: float, random: np.random.Generator) -> np.ndarray:
    """Of height 1, at a uniform place, of a deviation in widths of the image."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    down, right = (random.uniform(0, size - 1) for size in shape)
    return np.exp(-((y - down) ** 2 + (x - right) ** 2) / (2 * (deviation * shape[1]) ** 2))


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
        Light("soft_shadow", "local", "r", (10, 30), (), _soft_shadow),
        Light("spot", "local", "r", (10, 30), (), _spot),
        Light("two_lamps", "local", "r", (30,), (), _two_lamps),
        Light("dapple", "local", "r", (10, 30), (), _dapple),
        Light("low_exposure", "sensor", "k", (0.1, 0.03, 0.01), (), _eight_bits),
        Light("clipping", "sensor", "k", (2, 4, 8), (), _eight_bits),
        Light("gamma", "sensor", "γ", (0.4, 0.6, 1.7, 2.5), (), _gamma),
        Light("contrast", "sensor", "c", (0.5, 0.25, 0.1), (), _contrast),
        Light("shot_noise", "photon", "N", (100, 20, 5, 2, 1), (), _shot_noise),
    )
}

#: The lights of the default study, which is to be short.
DEFAULT = ("exposure", "pedestal", "gradient", "hard_shadow")

#: One or two levels of each light, none of development, for arms whose every image is simulated.
FEW_LEVELS: dict[str, tuple[float, ...]] = {
    "exposure": (0.01, 30.0),
    "pedestal": (0.1, 1.0),
    "gradient": (3.0, 30.0),
    "hard_shadow": (3.0, 30.0),
    "soft_shadow": (30.0,),
    "spot": (30.0,),
    "two_lamps": (30.0,),
    "dapple": (30.0,),
    "low_exposure": (0.03,),
    "clipping": (4.0,),
    "gamma": (2.5,),
    "contrast": (0.25,),
    "shot_noise": (5.0,),
}


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
    InputError
        For an unknown light or level.
    """
    if light not in LIGHTS:
        raise InputError(f"unknown light {light!r}: accepted are {', '.join(LIGHTS)}")
    known = LIGHTS[light]
    if level not in known.levels:
        raise InputError(f"{light} has no level {level}: accepted are {', '.join(f'{v:g}' for v in known.levels)}")
    seed = zlib.crc32(light.encode())
    return np.stack(
        [known.shine(image, level, np.random.default_rng([seed, index])) for index, image in enumerate(luminance)]
    )
