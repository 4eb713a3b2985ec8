"""A shadow is a local change of light: what ganglion cells tell of a surface in the light, in a shadow, and beside its edge.

Half of a wide scene lies in a shadow whose edge is sharp. A small patch of the surface reflects a fixed share more, or less,
than what is around it, so that its contrast is the same wherever it lies. Were the change of light undone, the cell in the
patch's middle would answer alike everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from biomodel import stimuli
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.pathway import Pathway, check_rates
from biomodel.physiology.plots.curves import BAND, CELL_INK
from biomodel.physiology.recording import FLASH, WINDOW
from biomodel.physiology.screens import Screen
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress
from biomodel.utils.units import as_number

#: Mechanisms of the retina that can be taken out; those of the relay and of V1 don't reach back to ganglion cells.
RETINAL_LESIONS = ("cone_adaptation", "horizontal_feedback", "luminance_gain", "contrast_gain")

#: The row of a circuit from which nothing is taken.
INTACT = "intact"

#: How many times less light there is in the shadow.
DEPTH = 30.0

#: Luminances of the lit surface in cd/m², whose shadows are at 10 and 33.
LIGHTS = (300.0, 1000.0)

#: Reflectance of a patch beside that of the surface around it: ON cells are shown more of it, OFF cells less.
CONTRAST = 0.2

#: Degrees from the edge, negative in the light.
DISTANCES = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)

#: Settled: gaze has wandered over the half-lit scene. Sudden: the shadow falls on an even field as the patch appears.
ADAPTATIONS = ("settled", "sudden")

#: Seconds after onset from which responses are averaged, until `WINDOW` ends: as everywhere, and with the first transient.
STARTS = (WINDOW[0], 0.0)

#: From so many degrees off the edge on, a response is to change by less than this share.
FAR, TOLERANCE = 1.5, 0.3

#: The radius of a midget's centre in pixels (16 pixels a degree in the parafovea).
_RADIUS = 0.8

#: Rows of the scene, and pixels along a side that hold a patch: odd, so that a cell is in the middle of either.
_ROWS, _PATCH = 25, 7

#: Degrees of the scene beyond the outermost patches: its border mirrors what is before it.
_MARGIN = 1.0

_NAMES = dict(zip(GANGLION_CHANNELS, ("midget ON", "midget OFF", "parasol ON", "parasol OFF"), strict=True))

_CAPTION = "What a patch of the same reflectance contrast adds to ganglion cells' rates, in the light and in a shadow"

#: Of the curves, by where the averaging starts.
_STROKES: dict[float, Literal["-", ":"]] = {STARTS[0]: "-", STARTS[1]: ":"}


@dataclass(frozen=True)
class Scene:
    """A surface half of which lies in a shadow, and patches on it, one at a time.

    Parameters
    ----------
    radius : float
        Of the midget's centre at 1/e, degrees.
    wanted : tuple of float
        Distances from the edge, degrees.
    """

    radius: float
    wanted: tuple[float, ...]

    @property
    def pixels_per_degree(self) -> float:
        """The same pixels for every eccentricity, as far as the midget's centre goes."""
        return _RADIUS / self.radius

    @property
    def half(self) -> int:
        """Columns on either side of the edge, which lies between two of them."""
        return math.ceil((max(map(abs, self.wanted)) + _MARGIN) * self.pixels_per_degree)

    @cached_property
    def columns(self) -> list[int]:
        """The column of each distance: the first whose middle is at least so far from the edge."""
        steps = [math.ceil(abs(d) * self.pixels_per_degree - 0.5) for d in self.wanted]
        return [self.half + n if d > 0 else self.half - 1 - n for n, d in zip(steps, self.wanted, strict=True)]

    @property
    def distances(self) -> np.ndarray:
        """Of the columns' middles from the edge, degrees."""
        return (np.array(self.columns) - self.half + 0.5) / self.pixels_per_degree

    def illumination(self) -> np.ndarray:
        """Share of the light that falls on each pixel, (y, x)."""
        lit = np.arange(2 * self.half) < self.half
        return np.broadcast_to(np.where(lit, 1.0, 1 / DEPTH), (_ROWS, 2 * self.half))

    def reflectances(self) -> np.ndarray:
        """Of the bare surface, with each patch reflecting more, and with each reflecting less: (1 + 2 patches, y, x).

        A patch fills the midget's centre: two radii on either side hold 98 % of a Gaussian.
        """
        patches = np.zeros((len(self.columns), _ROWS, 2 * self.half))
        disc = Screen(_PATCH, self.pixels_per_degree).disc(4 * self.radius)
        top, reach = (_ROWS - _PATCH) // 2, _PATCH // 2
        for patch, column in zip(patches, self.columns, strict=True):
            patch[top : top + _PATCH, column - reach : column + reach + 1] = disc
        return np.concatenate([np.ones((1, *patches.shape[1:])), 1 + CONTRAST * patches, 1 - CONTRAST * patches])


def measure(
    pathway: Pathway,
    lesions: Iterable[str] = RETINAL_LESIONS,
    lights: Sequence[float] = LIGHTS,
    distances: Sequence[float] = DISTANCES,
    workers: int = 1,
) -> xr.Dataset:
    """Responses of ganglion cells to patches of a fixed contrast, in the light and in a shadow 30 times as dark.

    A response is what the patch adds to the rate of the cell in its middle, averaged up to 200 ms after onset: an increment
    of reflectance by 20 % for ON cells, a decrement for OFF cells.

    Parameters
    ----------
    pathway : Pathway
        Intact; the lesioned ones have its settings.
    lesions : iterable of str
        Of `RETINAL_LESIONS`, each taken out by itself.
    lights : sequence of float
        Luminances of the lit surface, cd/m².
    distances : sequence of float
        Degrees from the edge, negative in the light; patches lie at the next cell farther from the edge.
    workers : int
        Processes to simulate with.

    Returns
    -------
    xarray.Dataset
        `response` in Hz and `relative`, the response over the one that is deepest in the light, by `lesion` ("intact"
        first), `light` (its `shadow` beside it, cd/m²), `adaptation`, `start` (of the averaging, seconds after onset),
        `channel` and `distance` (of the patch's middle, degrees).

    Raises
    ------
    InputError
        For a spiking or a lesioned pathway; a lesion that is unknown or not the retina's; lights that are no luminances;
        distances that don't reach 1.5° into the light and into the shadow.
    """
    check_rates(pathway, "a shadow")
    names = _accepted_lesions(pathway, lesions)
    levels = np.array([stimuli.positive(level, "light", "cd/m²") for level in lights])
    if not len(levels):
        raise InputError("an empty list of lights is not accepted: give luminances in cd/m²")
    scene = Scene(pathway.parameters.value("bipolar.midget_centre_radius"), _accepted_distances(distances))
    measured = [
        _responses(pathway if name == INTACT else _without(pathway, name), scene, levels, workers)
        for name in progress([INTACT, *names], what="shadow", unit="circuit")
    ]
    response = xr.DataArray(
        np.stack(measured),
        dims=("lesion", "adaptation", "start", "light", "channel", "distance"),
        coords={
            "lesion": [INTACT, *names],
            "adaptation": list(ADAPTATIONS),
            "start": list(STARTS),
            "light": levels,
            "shadow": ("light", levels / DEPTH),
            "channel": list(GANGLION_CHANNELS),
            "distance": scene.distances,
        },
        attrs={"units": "Hz"},
    )
    # Where a cell is silent even in the light, there is nothing to compare with.
    reference = response.isel(distance=0, drop=True)
    found = xr.Dataset({"response": response, "relative": response / reference.where(reference != 0)})
    return found.assign_attrs(
        preset=pathway.preset, parameters_digest=pathway.parameters.digest, contrast=CONTRAST, depth=DEPTH
    )


def ratio(result: xr.Dataset) -> xr.Dataset:
    """The response in the shadow over that in the light: of the distances from 1.5° on, where it is farthest from 1.

    Parameters
    ----------
    result : xarray.Dataset
        Of `measure`.

    Returns
    -------
    xarray.Dataset
        `ratio` (NaN where there is no response in the light) and `within`, whether it changes by less than 30 %; by
        `lesion`, `adaptation`, `start`, `light` and `channel`.
    """
    far = result.relative.sel(distance=result.distance >= FAR)
    worst = abs(far - 1).fillna(np.inf).argmax("distance")
    found = far.isel(distance=worst).drop_vars("distance")
    return xr.Dataset({"ratio": found, "within": abs(found - 1) < TOLERANCE})


def draw(result: xr.Dataset, path: str | Path) -> None:
    """Draw one PNG: a row for the intact circuit and each lesion, a column for each adaptation and light.

    Parameters
    ----------
    result : xarray.Dataset
        Of `measure`.
    path : str or pathlib.Path
    """
    columns = [(adaptation, light) for adaptation in result.adaptation.values for light in result.light.values]
    lesions = result.lesion.values
    header = 0.75
    height = 2.1 * len(lesions) + 0.5 + header
    figure = Figure(figsize=(max(3.2 * len(columns) + 0.6, 9), height), dpi=110)
    panels = figure.subplots(len(lesions), len(columns), sharex=True, sharey=True, squeeze=False)
    for row, lesion in zip(panels, lesions, strict=True):
        for axes, (adaptation, light) in zip(row, columns, strict=True):
            _draw_panel(axes, result.sel(lesion=lesion, adaptation=adaptation, light=light))
        named = lesion if lesion == INTACT else f"without {lesion}".replace("_", " ")
        row[0].set_ylabel(f"{named}\nresponse, 1 in the light", fontsize=9)
    for axes, (adaptation, light) in zip(panels[0], columns, strict=True):
        axes.set_title(f"{adaptation}: {light:.4g} cd/m², shadow {light / DEPTH:.2g}", fontsize=10)
        for place, side, name in ((0.02, "left", "light"), (0.98, "right", "shadow")):
            axes.text(place, 0.03, name, transform=axes.transAxes, ha=side, va="bottom", fontsize=8, color="grey")
    for axes in panels[-1]:
        axes.set_xlabel("distance from the edge (°)", fontsize=9)
    top = 1 - 0.1 / height
    figure.text(0.01, top, _CAPTION, fontsize=11, va="top")
    figure.legend(
        handles=_keys(),
        loc="upper left",
        bbox_to_anchor=(0.005, top - 0.22 / height),
        ncols=4 if len(columns) < 4 else 7,
        fontsize=9,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - header / height))
    figure.savefig(path, metadata={"Software": None})


def _accepted_lesions(pathway: Pathway, lesions: Iterable[str]) -> list[str]:
    if pathway.lesions:
        raise InputError(
            f"a pathway without {', '.join(pathway.lesions)} is not accepted: the shadow is measured on an intact one, "
            "and without each mechanism in turn"
        )
    names = [lesions] if isinstance(lesions, str) else list(lesions)
    for name in names:
        if name not in RETINAL_LESIONS:
            raise InputError(
                f"lesion {name!r} is not accepted before ganglion cells: give {', '.join(RETINAL_LESIONS)}"
            )
    return list(dict.fromkeys(names))


def _accepted_distances(distances: Sequence[float]) -> tuple[float, ...]:
    """In ascending order, so that the first one is deepest in the light."""
    given = sorted({as_number(distance, "1", "distance") for distance in distances})
    if not given or given[0] > -FAR or given[-1] < FAR:
        raise InputError(f"distances {given} are not accepted: give degrees that reach from -{FAR} to {FAR} at least")
    return tuple(given)


def _without(pathway: Pathway, lesion: str) -> Pathway:
    """The same pathway with one mechanism taken out."""
    return Pathway(
        pathway.preset,
        pathway.fidelity,
        pathway.parameters.values_by_name(),
        (lesion,),
        pathway.dt,
        pathway.target,
    )


def _responses(pathway: Pathway, scene: Scene, lights: np.ndarray, workers: int) -> np.ndarray:
    """What patches add to ganglion cells' rates, (adaptation, start, light, channel, distance) in Hz."""
    reflectances = scene.reflectances()
    images = lights[:, None, None, None] * scene.illumination() * reflectances
    stimulus = stimuli.luminance(images.reshape(-1, *images.shape[2:]), scene.pixels_per_degree)
    before: dict[str, str | list[float]] = {
        "settled": "gaze",
        "sudden": np.repeat(lights, len(reflectances)).tolist(),
    }
    found = []
    for adaptation in ADAPTATIONS:
        for start in STARTS:
            rates = pathway.simulate(
                stimulus,
                adapt_to=before[adaptation],
                duration=FLASH,
                window=(start, WINDOW[1]),
                output="ganglion",
                workers=workers,
            )
            at_patches = rates.ganglion.values[:, :, _ROWS // 2, scene.columns]
            found.append(_added(at_patches.reshape(len(lights), len(reflectances), *at_patches.shape[1:])))
    return np.stack(found).reshape(len(ADAPTATIONS), len(STARTS), *found[0].shape)


def _added(rates: np.ndarray) -> np.ndarray:
    """Of rates (light, reflectance, channel, place): what its own patch adds to each channel, (light, channel, place)."""
    bare, patched = rates[:, 0], rates[:, 1:]
    places = rates.shape[-1]
    by_sign = patched.reshape(len(rates), 2, places, *rates.shape[2:])
    # Of every image only the place of its patch is of interest.
    own = np.diagonal(by_sign, axis1=2, axis2=4)
    signs = [int(channel.endswith("_off")) for channel in GANGLION_CHANNELS]
    return own[:, signs, np.arange(len(signs))] - bare


def _draw_panel(axes: Axes, result: xr.Dataset) -> None:
    axes.fill_between([FAR, float(result.distance[-1])], 1 - TOLERANCE, 1 + TOLERANCE, color=BAND, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.4)
    for start, style in _STROKES.items():
        for channel in GANGLION_CHANNELS:
            values = result.relative.sel(start=start, channel=channel)
            axes.plot(result.distance, values, style, color=CELL_INK[channel], linewidth=1.3)
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _keys() -> list[Artist]:
    """What colours, strokes and the grey band mean."""
    channels = [Line2D([], [], color=CELL_INK[name], label=_NAMES[name]) for name in GANGLION_CHANNELS]
    strokes = [
        Line2D([], [], color="black", linestyle=style, label=f"mean of {1000 * start:g} to {1000 * WINDOW[1]:g} ms")
        for start, style in _STROKES.items()
    ]
    band = Patch(color=BAND, label=f"changed by less than {TOLERANCE:.0%}, {FAR:g}° or more from the edge")
    return [*channels, *strokes, band]
