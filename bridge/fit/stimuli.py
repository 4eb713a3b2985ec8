"""What a circuit is shown so that a front end can be fitted to its responses, and the four sets on which it is tested.

All lengths are degrees, all light is in cd/m². A presentation is an image and a state: settled, before the field that wandering
gaze leaves of it, or sudden, after an even field.

**Identification**: patches of ten photographs and noise of squares, at full contrast and down to a tenth of it, so that small
responses are told too; each at one of the fitted `EXPOSURES`; a good half of them settled, the others after one of the fitted
even fields, `FIELDS`, or one of their own mean.

**Held out.** ``photographs``: patches of three other photographs, at exposures and after fields that were fitted.
``luminance``: the same photographs at exposures and after fields halfway between (`BETWEEN`) and half a log unit beyond the
fitted ones (`BEYOND`). ``gratings``: gratings that fill the image or a disc, and spots lighter or darker than the field, at any
contrast, each adapted to its own field. ``local_light``: the held-out photographs under gradients across the image or behind the
edge of a shadow, which dim by 3, 10 or 30 in directions and at places chosen by chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from biomodel import Display, Pathway
from biomodel.engine.responses import in_rates
from biomodel.images import PHOTOGRAPHS, photographs
from biomodel.pathway import AdaptTo
from biomodel.stimuli import luminance
from biomodel.utils.errors import InputError

#: Pixels in a degree, and degrees across, of what is shown where nothing else is asked for.
PIXELS_PER_DEGREE, WIDTH = 16.0, 2.0

#: Fitted exposures, log10 of the light on a display whose white is 200 cd/m²; photographs' means are then some 2 to 600 cd/m².
EXPOSURES = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0)

#: Fitted even fields before sudden images, cd/m².
FIELDS = (10.0, 40.0, 160.0)

#: Exposures and fields that are never fitted: between those that are, and half a log unit beyond.
BETWEEN, BEYOND = (-1.25, -0.75, -0.25, 0.25, 0.75), (-2.0, 1.5)
FIELDS_BETWEEN, FIELDS_BEYOND = (20.0, 80.0), (1.0, 1600.0)

#: Photographs that are never fitted.
HELD_OUT_PHOTOGRAPHS = 3

#: What noise has in place of a photograph's name.
NOISE = "noise"

#: Share of the images for identification that only choose, and how many photographs there have to be at least to spare one.
_ASIDE, _ENOUGH = 0.15, 4

#: Contrasts at which photographs are shown for identification.
_CONTRASTS = (1.0, 1.0, 0.3, 0.1)

#: Of the presentations for identification, the share that is noise, and the share that is sudden.
_NOISE, _SUDDEN = 0.2, 0.45

#: Of the sudden ones, the share that comes after an even field of its own mean: so small contrasts are met, too. These fields lie
#: within so many cd/m², and so far, log10, from those held out.
_OWN, _OWN_FIELDS, _APART = 0.4, (3.2, 500.0), 0.05

#: Sides of noise's squares, degrees, and its contrasts.
_SQUARES, _NOISE_CONTRASTS = (0.0625, 0.125, 0.25), (0.1, 0.3, 1.0)

#: Spatial frequencies of gratings, c/deg, and diameters of discs and spots, degrees; evenly over their logarithm.
_FREQUENCIES, _DIAMETERS = (0.5, 4.0), (0.25, 1.5)

#: Contrasts of gratings and spots, evenly over their logarithm.
_GRATING_CONTRASTS = (0.05, 0.98)

#: By how much gradients and shadows dim.
_DIMMED = (3.0, 10.0, 30.0)

#: Luminance of middle grey, .18, on a display whose white (.9) is 200 cd/m².
_GREY = 40.0


@dataclass(frozen=True)
class StimulusSet:
    """Images, each with the state in which it is presented.

    Attributes
    ----------
    name : str
    light : xarray.DataArray, (image, y, x)
        cd/m².
    fields : numpy.ndarray, (image,)
        The even field adapted to, cd/m²; NaN where the image is settled.
    """

    name: str
    light: xr.DataArray
    fields: np.ndarray

    def simulate(
        self,
        pathway: Pathway,
        output: str = "v1",
        workers: int = 1,
        store: Path | None = None,
        trials: int = 1,
        seed: int = 0,
    ) -> tuple[xr.DataArray, xr.Dataset]:
        """Light and responses, image by image, settled ones first; kept in a folder, where one is given.

        Where cells fire, each image is repeated `trials` times, and responses are rates of each; the noise is of `seed`, of the
        set and of the state.
        """
        settled = np.isnan(self.fields)
        lights, responses = [], []
        for chosen, state in ((settled, "settled"), (~settled, "sudden")):
            if chosen.any():
                adapt_to: AdaptTo = "gaze" if state == "settled" else self.fields[chosen].tolist()
                lights.append(self.light[chosen])
                kept = None if store is None else store / f"{self.name}-{state}"
                found = pathway.simulate(
                    lights[-1],
                    adapt_to=adapt_to,
                    output=output,
                    workers=workers,
                    store=kept,
                    trials=trials,
                    seed=zlib.crc32(f"{self.name} {state}".encode(), seed),
                )
                responses.append(in_rates(found.load()))
        return xr.concat(lights, "image"), together(responses)


def together(responses: Sequence[xr.Dataset]) -> xr.Dataset:
    """Responses in several states, one after the other; where their attributes differ, all are told."""
    whole = xr.concat(responses, "image", combine_attrs="override")
    told = [str(part.attrs["adapt_to"]) for part in responses if "adapt_to" in part.attrs]
    return whole.assign_attrs(adapt_to=", ".join(dict.fromkeys(told))) if told else whole


def split(seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the photographs that are fitted, and of those held out."""
    order = np.random.default_rng([seed, 11]).permutation(PHOTOGRAPHS).tolist()
    return tuple(order[HELD_OUT_PHOTOGRAPHS:]), tuple(order[:HELD_OUT_PHOTOGRAPHS])


def left_aside(photographs: Sequence[object], seed: int) -> np.ndarray:
    """Which images, (image,), choose between fits and are never fitted, given which photograph each is of.

    A share of the photographs, each with all of its patches, and of the noise as many images; none where there are too few
    photographs to spare one.
    """
    labels = np.array([str(one) for one in photographs])
    random = np.random.default_rng([seed, 31])
    groups, noise = np.unique(labels[labels != NOISE]), np.flatnonzero(labels == NOISE)
    chosen = np.zeros(len(labels), dtype=bool)
    if len(groups) >= _ENOUGH:
        chosen = np.isin(labels, random.permutation(groups)[: max(1, round(_ASIDE * len(groups)))])
        chosen[random.permutation(noise)[: round(_ASIDE * len(noise))]] = True
    return chosen


def identification(images: int, pixels: int = 32, pixels_per_degree: float = 16.0, seed: int = 0) -> StimulusSet:
    """The presentations that a front end is fitted to.

    Parameters
    ----------
    images : int
    pixels : int
        Along a side.
    pixels_per_degree : float
    seed : int
        Of what is chosen by chance, and of which photographs are held out.

    Raises
    ------
    InputError
        For fewer images than there are photographs.
    """
    if images < len(PHOTOGRAPHS):
        raise InputError(f"images = {images} is not accepted: give at least {len(PHOTOGRAPHS)}")
    random = np.random.default_rng([seed, 12])
    noisy = round(_NOISE * images)
    patches = _patches(images - noisy, pixels, pixels_per_degree, split(seed)[0], random)
    mean = patches.mean(("y", "x"))
    patches = mean + _drawn(random, _CONTRASTS, patches) * (patches - mean)
    noise = np.stack([_noise(pixels, pixels_per_degree, random) for _ in range(noisy)])
    light = xr.concat(
        [patches, luminance(_GREY * noise, pixels_per_degree).assign_coords(photograph=("image", [NOISE] * noisy))],
        "image",
    )
    light = light * 10 ** _drawn(random, EXPOSURES, light)
    fields = _fields(images, FIELDS, random)
    means = light.values.mean(axis=(1, 2))
    # What is held out, fields between and beyond, stays so.
    apart = np.abs(np.log10(means[:, None] / FIELDS_BETWEEN)).min(axis=1) > _APART
    able = apart & (_OWN_FIELDS[0] <= means) & (means <= _OWN_FIELDS[1]) & np.isfinite(fields)
    own = random.permutation(np.flatnonzero(able))[: round(_OWN * np.isfinite(fields).sum())]
    fields[own] = means[own]
    return StimulusSet("identification", light, fields)


def held_out(
    images: int, names: Sequence[str], pixels: int = 32, pixels_per_degree: float = 16.0, seed: int = 0
) -> tuple[StimulusSet, ...]:
    """The four sets of so many images each, of the photographs `names`; other parameters as of `identification`."""

    def patches(name: str, random: np.random.Generator) -> StimulusSet:
        return _lit(name, _patches(images, pixels, pixels_per_degree, names, random), EXPOSURES, FIELDS, random)

    makers: dict[str, Callable[[str, np.random.Generator], StimulusSet]] = {
        "photographs": patches,
        "luminance": lambda name, random: _lit(
            name,
            _patches(images, pixels, pixels_per_degree, names, random),
            BETWEEN + BEYOND,
            FIELDS_BETWEEN + FIELDS_BEYOND,
            random,
        ),
        "gratings": lambda name, random: _gratings_and_spots(name, images, pixels, pixels_per_degree, random),
        "local_light": lambda name, random: _unevenly_lit(patches(name, random), random),
    }
    return tuple(make(name, np.random.default_rng([seed, 13, k])) for k, (name, make) in enumerate(makers.items()))


def _patches(
    images: int, pixels: int, pixels_per_degree: float, names: Sequence[str], random: np.random.Generator
) -> xr.DataArray:
    display = Display(pixels_per_degree=pixels_per_degree)
    return photographs(images, pixels, display, int(random.integers(2**31)), names)


def _drawn(random: np.random.Generator, levels: tuple[float, ...], light: xr.DataArray) -> xr.DataArray:
    """One of the levels for each image, each about as often."""
    often = np.resize(levels, light.sizes["image"])
    return xr.DataArray(random.permutation(often), dims="image")


def _fields(images: int, levels: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    """The even field before each image, NaN before those that are settled."""
    fields = np.full(images, np.nan)
    sudden = round(_SUDDEN * images)
    fields[random.permutation(images)[:sudden]] = np.resize(levels, sudden)
    return fields


def _lit(
    name: str,
    patches: xr.DataArray,
    exposures: tuple[float, ...],
    levels: tuple[float, ...],
    random: np.random.Generator,
) -> StimulusSet:
    light = patches * 10 ** _drawn(random, exposures, patches)
    return StimulusSet(name, light, _fields(patches.sizes["image"], levels, random))


def _noise(pixels: int, pixels_per_degree: float, random: np.random.Generator) -> np.ndarray:
    """Squares, lighter or darker than a mean of 1 by one contrast, shifted by chance."""
    side = max(1, round(float(random.choice(_SQUARES)) * pixels_per_degree))
    count = -(-pixels // side) + 1
    signs = random.choice((-1.0, 1.0), size=(count, count)).repeat(side, 0).repeat(side, 1)
    down, right = random.integers(0, side, 2)
    return 1 + random.choice(_NOISE_CONTRASTS) * signs[down : down + pixels, right : right + pixels]


def _gratings_and_spots(
    name: str, images: int, pixels: int, pixels_per_degree: float, random: np.random.Generator
) -> StimulusSet:
    """A third gratings that fill the image, a third in a disc, a third spots."""
    y, x = np.meshgrid(*[(np.arange(pixels) - (pixels - 1) / 2) / pixels_per_degree] * 2, indexing="ij")
    patterns = []
    for k in range(images):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        frequency, diameter, contrast = (
            np.exp(random.uniform(*np.log(limits))) for limits in (_FREQUENCIES, _DIAMETERS, _GRATING_CONTRASTS)
        )
        down, right = random.uniform(-0.25, 0.25, 2) * pixels / pixels_per_degree
        # A pixel's width of soft edge.
        disc = np.clip((diameter / 2 - np.hypot(y - down, x - right)) * pixels_per_degree + 0.5, 0, 1)
        grating = np.cos(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) - phase)
        pattern = (grating, grating * disc, disc * random.choice((-1.0, 1.0)))[k % 3]
        patterns.append(1 + contrast * pattern)
    light = luminance(_GREY * np.stack(patterns), pixels_per_degree)
    exposure = _drawn(random, EXPOSURES, light)
    return StimulusSet(name, light * 10**exposure, _GREY * 10**exposure.values)


def _unevenly_lit(patches: StimulusSet, random: np.random.Generator) -> StimulusSet:
    """Half of the images under a gradient, half of each partly in shadow."""
    light = patches.light.copy()
    dimmed = _drawn(random, _DIMMED, light).values
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
