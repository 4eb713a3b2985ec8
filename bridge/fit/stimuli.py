"""Stimuli for the fit of a front end, and the four held-out sets on which it is scored.

Lengths are degrees, light is in cd/m². A presentation is an image and an adaptation state: *settled*, adapted to the image
blurred by gaze, or *sudden*, adapted to a uniform field.

**Identification**: patches of ten photographs and noise made of squares, at contrasts from full down to a tenth, so that small
responses are fitted too; each at one of the `EXPOSURES`; a good half of them settled, the others after one of the uniform
fields `FIELDS`, or after a field of their own mean.

**Held out.** ``photographs``: patches of three other photographs, at the exposures and fields of the fit.
``luminance``: the same photographs at exposures and after fields halfway between (`BETWEEN`) and half a log unit beyond
(`BEYOND`). ``gratings``: gratings that fill the image or a disc, and spots lighter or darker than the field, at any
contrast, each adapted to its own field. ``local_light``: the held-out photographs under gradients across the image or behind the
edge of a shadow, which dim by 3, 10 or 30 in random directions and at random places.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from biomodel import Display, Pathway
from biomodel.analysis.alignment import canonical_light
from biomodel.engine.cluster import Workers
from biomodel.engine.responses import in_rates
from biomodel.images import PHOTOGRAPHS, photographs
from biomodel.pathway import AdaptTo
from biomodel.stimuli import luminance, positive
from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError

#: Presentations for identification, and in each held-out set.
IMAGES, TEST_IMAGES = 416, 64
#: Default pixels per degree, and degrees along a side.
PIXELS_PER_DEGREE, WIDTH = 16.0, 2.0
#: Exposures of the fit, log10 of the light on a display with a white of 200 cd/m²: means of photographs from 2 to 600 cd/m².
EXPOSURES = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0)
#: Uniform fields of the fit before sudden images, cd/m².
FIELDS = (10.0, 40.0, 160.0)
#: Exposures and fields that are never fitted: between those of the fit, and half a log unit beyond.
BETWEEN, BEYOND = (-1.25, -0.75, -0.25, 0.25, 0.75), (-2.0, 1.5)
FIELDS_BETWEEN, FIELDS_BEYOND = (20.0, 80.0), (1.0, 1600.0)
#: Number of photographs that are never fitted.
HELD_OUT_PHOTOGRAPHS = 3
#: Label of noise in place of a photograph's name.
NOISE = "noise"
#: Share of the images for identification in the validation set, and the least number of photographs for such a set.
_VALIDATION, _ENOUGH = 0.15, 4
#: Contrasts of photographs for identification.
_CONTRASTS = (1.0, 1.0, 0.3, 0.1)
#: Share of noise, and share of sudden presentations, for identification.
_NOISE, _SUDDEN = 0.2, 0.45
#: Share of sudden presentations after a uniform field of their own mean, which covers small contrasts too; the range of these
#: fields, cd/m², and their least distance, log10, from the fields that are held out.
_OWN, _OWN_FIELDS, _APART = 0.4, (3.2, 500.0), 0.05
#: Sides of the squares of noise, degrees, and its contrasts.
_SQUARES, _NOISE_CONTRASTS = (0.0625, 0.125, 0.25), (0.1, 0.3, 1.0)
#: Ranges of the spatial frequency of gratings, c/deg, and of the diameter of discs and spots, degrees; uniform in the logarithm.
_FREQUENCIES, _DIAMETERS = (0.5, 4.0), (0.25, 1.5)
#: Range of the contrast of gratings and spots, uniform in the logarithm.
_GRATING_CONTRASTS = (0.05, 0.98)
#: Factors by which gradients and shadows dim.
_DIMMED = (3.0, 10.0, 30.0)
#: Luminance of middle grey, .18, on a display whose white (.9) is 200 cd/m².
_GREY = 40.0


@dataclass(frozen=True)
class Simulation:
    """Settings with which stimuli are simulated.

    Attributes
    ----------
    output : str
        The last station.
    workers : int, str or distributed.Client
        Processes.
    trials : int
        Repeats of every image, for spiking cells.
    seed : int
        Seed of their noise.
    store : pathlib.Path, optional
        Folder that keeps the responses as they come; an interrupted simulation continues from there.
    """

    output: str = "v1"
    workers: Workers = 1
    trials: int = 1
    seed: int = 0
    store: Path | None = None

    def run(self, pathway: Pathway, light: xr.DataArray, adapt_to: AdaptTo, seed: int, name: str) -> xr.Dataset:
        """Simulate a stimulus in one adaptation state.

        Parameters
        ----------
        pathway : biomodel.Pathway
        light, adapt_to, seed
            As in `biomodel.Pathway.simulate`.
        name : str
            Name of the folder in the store.
        """
        return pathway.simulate(
            light,
            adapt_to=adapt_to,
            output=self.output,
            workers=self.workers,
            trials=self.trials,
            seed=seed,
            store=None if self.store is None else self.store / name,
        )


@dataclass(frozen=True)
class StimulusSet:
    """Images, each with its adaptation state.

    Attributes
    ----------
    name : str
    light : xarray.DataArray, (image, y, x)
        cd/m²; put in this order.
    fields : numpy.ndarray, (image,)
        The uniform field adapted to, cd/m²; NaN where the image is settled.

    Raises
    ------
    InputError
        For light of other dimensions, and for another number of fields.
    """

    name: str
    light: xr.DataArray
    fields: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "light", canonical_light(self.light))
        if np.shape(self.fields) != (self.light.sizes["image"],):
            raise InputError(
                f"fields must have a value per image, {self.light.sizes['image']}, got {np.shape(self.fields)}"
            )

    def simulate(self, pathway: Pathway, simulation: Simulation) -> tuple[xr.DataArray, xr.Dataset]:
        """Light and responses, settled images first; responses of spiking cells are rates of each trial."""
        settled = np.isnan(self.fields)
        lights, responses = [], []
        for chosen, state in ((settled, "settled"), (~settled, "sudden")):
            if chosen.any():
                adapt_to: AdaptTo = "gaze" if state == "settled" else self.fields[chosen].tolist()
                lights.append(self.light[chosen])
                seed = zlib.crc32(f"{self.name} {state}".encode(), simulation.seed)
                found = simulation.run(pathway, lights[-1], adapt_to, seed, f"{self.name}-{state}")
                responses.append(in_rates(found.load()))
        return xr.concat(lights, "image"), concat(responses)


def concat(responses: Sequence[xr.Dataset]) -> xr.Dataset:
    """Concatenate responses in several adaptation states; their attribute ``adapt_to`` lists all states."""
    joined = xr.concat(responses, "image", combine_attrs="override")
    states = [str(part.attrs["adapt_to"]) for part in responses if "adapt_to" in part.attrs]
    return joined.assign_attrs(adapt_to=", ".join(dict.fromkeys(states))) if states else joined


def split_photographs(seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the photographs that are fitted, and of those that are held out."""
    order = np.random.default_rng([seed, 11]).permutation(PHOTOGRAPHS).tolist()
    return tuple(order[HELD_OUT_PHOTOGRAPHS:]), tuple(order[:HELD_OUT_PHOTOGRAPHS])


def choose_validation(photographs: Sequence[object], seed: int) -> np.ndarray:
    """Choose the validation set, (image,) of bool, from the label of each image's photograph.

    It has a share of the photographs, each with all of its patches, and the same share of the noise. With too few photographs
    it is empty.
    """
    labels = np.array([str(one) for one in photographs])
    random = np.random.default_rng([seed, 31])
    groups, noise = np.unique(labels[labels != NOISE]), np.flatnonzero(labels == NOISE)
    chosen = np.zeros(len(labels), dtype=bool)
    if len(groups) >= _ENOUGH:
        chosen = np.isin(labels, random.permutation(groups)[: max(1, round(_VALIDATION * len(groups)))])
        chosen[random.permutation(noise)[: round(_VALIDATION * len(noise))]] = True
    return chosen


def identification_set(
    images: int = IMAGES, pixels: int | None = None, pixels_per_degree: float = PIXELS_PER_DEGREE, seed: int = 0
) -> StimulusSet:
    """The presentations that a front end is fitted to.

    Parameters
    ----------
    images : int
        Number of presentations.
    pixels : int, optional
        Pixels along a side; by default those of 2°.
    pixels_per_degree : float
    seed : int
        Seed of all random choices, those of held-out photographs included.

    Raises
    ------
    InputError
        For fewer images than there are photographs.
    """
    images, seed = whole_number(images, "images", len(PHOTOGRAPHS)), whole_number(seed, "seed", 0)
    pixels_per_degree = positive(pixels_per_degree, "pixels_per_degree", "px/deg")
    pixels = round(WIDTH * pixels_per_degree) if pixels is None else whole_number(pixels, "pixels", 1)
    random = np.random.default_rng([seed, 12])
    noisy = round(_NOISE * images)
    patches = _patches(images - noisy, pixels, pixels_per_degree, split_photographs(seed)[0], random)
    mean = patches.mean(("y", "x"))
    patches = mean + _balanced(random, _CONTRASTS, patches) * (patches - mean)
    noise = np.stack([_noise(pixels, pixels_per_degree, random) for _ in range(noisy)])
    light = xr.concat(
        [patches, luminance(_GREY * noise, pixels_per_degree).assign_coords(photograph=("image", [NOISE] * noisy))],
        "image",
    )
    light = light * 10 ** _balanced(random, EXPOSURES, light)
    fields = _fields(images, FIELDS, random)
    means = light.values.mean(axis=(1, 2))
    # Fields that are held out, between and beyond those of the fit, must not occur.
    apart = np.abs(np.log10(means[:, None] / FIELDS_BETWEEN)).min(axis=1) > _APART
    able = apart & (_OWN_FIELDS[0] <= means) & (means <= _OWN_FIELDS[1]) & np.isfinite(fields)
    own = random.permutation(np.flatnonzero(able))[: round(_OWN * np.isfinite(fields).sum())]
    fields[own] = means[own]
    return StimulusSet("identification", light, fields)


def held_out_sets(
    images: int, names: Sequence[str], pixels: int = 32, pixels_per_degree: float = PIXELS_PER_DEGREE, seed: int = 0
) -> tuple[StimulusSet, ...]:
    """The four held-out sets.

    Parameters
    ----------
    images : int
        Number of presentations in each.
    names : sequence of str
        Photographs to take patches of.
    pixels, pixels_per_degree, seed
        As in `identification_set`.
    """

    def patches(name: str, random: np.random.Generator) -> StimulusSet:
        return _present(name, _patches(images, pixels, pixels_per_degree, names, random), EXPOSURES, FIELDS, random)

    makers: dict[str, Callable[[str, np.random.Generator], StimulusSet]] = {
        "photographs": patches,
        "luminance": lambda name, random: _present(
            name,
            _patches(images, pixels, pixels_per_degree, names, random),
            BETWEEN + BEYOND,
            FIELDS_BETWEEN + FIELDS_BEYOND,
            random,
        ),
        "gratings": lambda name, random: _gratings_and_spots(name, images, pixels, pixels_per_degree, random),
        "local_light": lambda name, random: _dim_unevenly(patches(name, random), random),
    }
    return tuple(make(name, np.random.default_rng([seed, 13, k])) for k, (name, make) in enumerate(makers.items()))


def _patches(
    images: int, pixels: int, pixels_per_degree: float, names: Sequence[str], random: np.random.Generator
) -> xr.DataArray:
    display = Display(pixels_per_degree=pixels_per_degree)
    return photographs(images, pixels, display, int(random.integers(2**31)), names)


def _balanced(random: np.random.Generator, levels: tuple[float, ...], light: xr.DataArray) -> xr.DataArray:
    """One of the levels for each image, in random order, each about equally often."""
    return xr.DataArray(random.permutation(np.resize(levels, light.sizes["image"])), dims="image")


def _fields(images: int, levels: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    """The uniform field before each image, NaN for settled images."""
    fields = np.full(images, np.nan)
    sudden = round(_SUDDEN * images)
    fields[random.permutation(images)[:sudden]] = np.resize(levels, sudden)
    return fields


def _present(
    name: str,
    patches: xr.DataArray,
    exposures: tuple[float, ...],
    levels: tuple[float, ...],
    random: np.random.Generator,
) -> StimulusSet:
    """Patches at random exposures and in random adaptation states."""
    light = patches * 10 ** _balanced(random, exposures, patches)
    return StimulusSet(name, light, _fields(patches.sizes["image"], levels, random))


def _noise(pixels: int, pixels_per_degree: float, random: np.random.Generator) -> np.ndarray:
    """Squares, lighter or darker than a mean of 1 by one contrast, randomly shifted."""
    side = max(1, round(float(random.choice(_SQUARES)) * pixels_per_degree))
    count = -(-pixels // side) + 1
    signs = random.choice((-1.0, 1.0), size=(count, count)).repeat(side, 0).repeat(side, 1)
    down, right = random.integers(0, side, 2)
    return 1 + random.choice(_NOISE_CONTRASTS) * signs[down : down + pixels, right : right + pixels]


def _gratings_and_spots(
    name: str, images: int, pixels: int, pixels_per_degree: float, random: np.random.Generator
) -> StimulusSet:
    """Gratings that fill the image, gratings in a disc, and spots, a third each."""
    y, x = np.meshgrid(*[(np.arange(pixels) - (pixels - 1) / 2) / pixels_per_degree] * 2, indexing="ij")
    patterns = []
    for k in range(images):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        frequency, diameter, contrast = (
            np.exp(random.uniform(*np.log(limits))) for limits in (_FREQUENCIES, _DIAMETERS, _GRATING_CONTRASTS)
        )
        down, right = random.uniform(-0.25, 0.25, 2) * pixels / pixels_per_degree
        # The edge is one pixel wide.
        disc = np.clip((diameter / 2 - np.hypot(y - down, x - right)) * pixels_per_degree + 0.5, 0, 1)
        grating = np.cos(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) - phase)
        pattern = (grating, grating * disc, disc * random.choice((-1.0, 1.0)))[k % 3]
        patterns.append(1 + contrast * pattern)
    light = luminance(_GREY * np.stack(patterns), pixels_per_degree)
    exposure = _balanced(random, EXPOSURES, light)
    return StimulusSet(name, light * 10**exposure, _GREY * 10**exposure.values)


def _dim_unevenly(patches: StimulusSet, random: np.random.Generator) -> StimulusSet:
    """Dim half of the images by a gradient, and a part of each other image by a shadow."""
    light = patches.light.copy()
    dimmed = _balanced(random, _DIMMED, light).values
    position = np.stack(np.meshgrid(light.y, light.x, indexing="ij"))
    width = float(light.x[-1] - light.x[0])
    for k, by in enumerate(dimmed):
        angle = random.uniform(0, 2 * np.pi)
        along = position[1] * np.cos(angle) + position[0] * np.sin(angle)
        if k % 2:
            light[k] /= by ** ((along - along.min()) / (along.max() - along.min()))
        else:
            light[k] /= np.where(along > random.uniform(-0.25, 0.25) * width, by, 1.0)
    return StimulusSet(patches.name, light, patches.fields)
