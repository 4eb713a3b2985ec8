r"""The light on a scene: pure functions from luminance to luminance, fixed before any run.

An image's codes are sRGB-decoded to x; its reflectance is ρ = .03 + .87 x, black 3 % and white 90 %. Under the reference
light, uniform over the image, white has L_w = 200 cd/m² and the scene L = L_w ρ / .9. A light takes L to another luminance; its
geometry is random, seeded by the light and the image's index, so that every arm gets the same scenes.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from biomodel.stimuli import decode_srgb, encode_srgb
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: Luminance of white under the reference light, cd/m².
WHITE = 200.0

#: Pixels in a degree of visual angle in every study: images of 32 pixels are 2° wide.
PIXELS_PER_DEGREE = 16.0

#: Luminance of a middle grey (reflectance .18) under the reference light: the field that "sudden" arms are adapted to.
REFERENCE_FIELD = WHITE * 0.18 / 0.9

#: (luminance (H, W) in cd/m², level, generator) to luminance (H, W) in cd/m².
Transform = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Light:
    """One change of light.

    Attributes
    ----------
    name, group : str
        The group is one of global, local, sensor and photon.
    parameter : str
        Symbol of the level.
    levels : tuple of float
        In increasing strength, or in order of the parameter.
    few_levels : tuple of float
        One or two of the levels, none of development, for arms that simulate every image.
    development : tuple of float
        The levels that development may use; scores leave them out.
    caption : str
        For the report.
    apply : callable
        Changes the luminance of one image.
    """

    name: str
    group: str
    parameter: str
    levels: tuple[float, ...]
    few_levels: tuple[float, ...]
    development: tuple[float, ...]
    caption: str
    apply: Transform


#: Every light by name, in the order of the tables. To add a light, write a function of (luminance, level, generator) below and
#: decorate it with `_light`, whose arguments are the attributes of `Light`. The command line, the study, the tables and the
#: report find it here.
LIGHTS: dict[str, Light] = {}


def _light(
    name: str,
    group: str,
    parameter: str,
    levels: tuple[float, ...],
    few_levels: tuple[float, ...],
    caption: str,
    development: tuple[float, ...] = (),
) -> Callable[[Transform], Transform]:
    """Add a light to `LIGHTS`; the arguments are the attributes of `Light`."""

    def add(transform: Transform) -> Transform:
        LIGHTS[name] = Light(name, group, parameter, levels, few_levels, development, caption, transform)
        return transform

    return add


@_light(
    "exposure",
    "global",
    "k",
    (0.003, 0.01, 0.03, 0.1, 0.3, 3, 10, 30),
    (0.01, 30.0),
    "all light times k",
    development=(0.1, 0.3, 3, 10),
)
def _exposure(luminance: np.ndarray, k: float, random: np.random.Generator) -> np.ndarray:
    return luminance * k


@_light("pedestal", "global", "p", (0.1, 0.3, 1, 3), (0.1, 1.0), "p times white added everywhere", development=(0.3,))
def _pedestal(luminance: np.ndarray, p: float, random: np.random.Generator) -> np.ndarray:
    return luminance + p * WHITE


@_light("gradient", "local", "r", (3, 10, 30), (3.0, 30.0), "r-fold from one side to the other", development=(10,))
def _gradient(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    return luminance * r ** (u / luminance.shape[1])


@_light("hard_shadow", "local", "r", (3, 10, 30), (3.0, 30.0), "one side r times darker", development=(10,))
def _hard_shadow(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    width = luminance.shape[1]
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    offset = random.uniform(-0.25 * width, 0.25 * width)
    return np.where(u > offset, luminance / r, luminance)


@_light("soft_shadow", "local", "r", (10, 30), (30.0,), "one side r times darker, with a soft edge")
def _soft_shadow(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    width = luminance.shape[1]
    u = _along(luminance.shape, random.uniform(0, 2 * np.pi))
    offset = random.uniform(-0.25 * width, 0.25 * width)
    return luminance * (1 - (1 - 1 / r) * special.expit((u - offset) / (0.06 * width)))


@_light("spot", "local", "r", (10, 30), (30.0,), "a spot of light, the rest r times darker")
def _spot(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    return luminance * (1 / r + _gaussian(luminance.shape, 0.2, random))


@_light("two_lamps", "local", "r", (30,), (30.0,), "two lamps, the rest r times darker")
def _two_lamps(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    light = 1 / r + _gaussian(luminance.shape, 0.35, random) + _gaussian(luminance.shape, 0.35, random)
    return luminance * light / light.max()


@_light("dapple", "local", "r", (10, 30), (30.0,), "1/f dapples over an r-fold range")
def _dapple(luminance: np.ndarray, r: float, random: np.random.Generator) -> np.ndarray:
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in luminance.shape), indexing="ij"))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=luminance.shape)) / frequency).real
    low, high = np.percentile(noise, (5, 95))
    return luminance * np.exp((noise - noise.mean()) * np.log(r) / (high - low))


@_light("clipping", "sensor", "k", (2, 4, 8), (4.0,), "k times the light, clipped at white, 8 bits")
@_light("low_exposure", "sensor", "k", (0.1, 0.03, 0.01), (0.03,), "k times the light, then 8 bits")  # registered first
def _eight_bits(luminance: np.ndarray, k: float, random: np.random.Generator) -> np.ndarray:
    return _decode(_quantise(_encode(luminance * k)))


@_light("gamma", "sensor", "γ", (0.4, 0.6, 1.7, 2.5), (2.5,), "a sensor's codes to the power γ")
def _gamma(luminance: np.ndarray, gamma: float, random: np.random.Generator) -> np.ndarray:
    return _decode(_encode(luminance) ** gamma)


@_light("contrast", "sensor", "c", (0.5, 0.25, 0.1), (0.25,), "a sensor's codes about their mean, times c")
def _contrast(luminance: np.ndarray, c: float, random: np.random.Generator) -> np.ndarray:
    codes = _encode(luminance)
    return _decode(_quantise(codes.mean() + c * (codes - codes.mean())))


@_light("shot_noise", "photon", "N", (100, 20, 5, 2, 1), (5.0,), "N photons per pixel at white")
def _shot_noise(luminance: np.ndarray, n: float, random: np.random.Generator) -> np.ndarray:
    return random.poisson(n * luminance / WHITE) * WHITE / n


def _encode(luminance: np.ndarray) -> np.ndarray:
    """A sensor's codes in [0, 1]; luminance above white is clipped."""
    return encode_srgb(np.clip(luminance / WHITE, 0, 1))


def _quantise(codes: np.ndarray) -> np.ndarray:
    return np.round(255 * codes) / 255


def _decode(codes: np.ndarray) -> np.ndarray:
    """Luminance of a sensor's codes."""
    return WHITE * decode_srgb(codes)


def _gaussian(shape: tuple[int, ...], deviation: float, random: np.random.Generator) -> np.ndarray:
    """A Gaussian of height 1 at a uniform random place; its deviation is in image widths."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    down, right = (random.uniform(0, size - 1) for size in shape)
    return np.exp(-((y - down) ** 2 + (x - right) ** 2) / (2 * (deviation * shape[1]) ** 2))


def _along(shape: tuple[int, ...], angle: float) -> np.ndarray:
    """Coordinate of each pixel along a direction, from the middle of the image, in pixels."""
    y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
    return x[None, :] * np.cos(angle) + y[:, None] * np.sin(angle)


#: The lights of the default study, which is short.
DEFAULT = ("exposure", "pedestal", "gradient", "hard_shadow")


class Condition(NamedTuple):
    """A light at a level, in which images are tested; the reference light has no level."""

    light: str
    group: str
    level: float | None

    @property
    def name(self) -> str:
        """Name of its files."""
        return self.light if self.level is None else f"{self.light}-{self.level:g}"

    @property
    def title(self) -> str:
        """Its name in figures."""
        return self.name.replace("_", " ").replace("-", " ")

    @property
    def of_development(self) -> bool:
        """Whether development may use it."""
        return self.level is not None and self.level in LIGHTS[self.light].development

    def illuminate(self, codes: np.ndarray) -> np.ndarray:
        """Luminance (n, H, W) in cd/m² of sRGB codes (n, H, W) in this light."""
        return scene(codes) if self.level is None else illuminate(scene(codes), self.light, self.level)


#: The reference light.
REFERENCE = Condition("reference", "clean", None)


def conditions_of(lights: Sequence[str], few_levels: bool = False) -> tuple[Condition, ...]:
    """List every condition of a test, the reference light first."""
    known = [LIGHTS[name] for name in lights]
    return REFERENCE, *(
        Condition(one.name, one.group, level)
        for one in known
        for level in (one.few_levels if few_levels else one.levels)
    )


def development_conditions() -> tuple[Condition, ...]:
    """List the reference light and the levels that development may use."""
    return tuple(one for one in conditions_of(tuple(LIGHTS)) if one == REFERENCE or one.of_development)


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


def illuminate(luminance: np.ndarray, light: str, level: float) -> np.ndarray:
    """Return scenes under another light.

    Parameters
    ----------
    luminance : numpy.ndarray, (n, H, W)
        Under the reference light, cd/m²; an image's index seeds the light's geometry. It is not changed.
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
    known = LIGHTS[one_of(light, LIGHTS, "light")]
    if as_number(level, "1", "level") not in known.levels:
        raise InputError(f"level of {light} must be one of {', '.join(f'{v:g}' for v in known.levels)}, got {level}")
    seed = zlib.crc32(light.encode())
    return np.stack(
        [known.apply(image, level, np.random.default_rng([seed, index])) for index, image in enumerate(luminance)]
    )
