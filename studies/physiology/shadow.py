"""Responses of ganglion cells to a surface in the light, in a shadow, and near the shadow's edge.

Half of a wide scene lies in a shadow with a sharp edge. A small patch of the surface reflects a fixed share more, or less,
than its surround, so that its contrast is the same everywhere. If the circuit compensated the change of light, the cell in
the middle of the patch would respond alike everywhere.
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
from biomodel.circuit.lesions import lesions_of
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.engine.cluster import Workers, check_workers
from biomodel.pathway import Pathway, check_rates
from biomodel.physiology.plots.style import BAND, CELL_COLOURS, frame, save
from biomodel.physiology.recording import FLASH, WINDOW
from biomodel.physiology.screens import Screen
from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress
from biomodel.utils.units import as_number

#: Label of the circuit without a lesion.
INTACT = "intact"

#: How many times darker the shadow is.
DEPTH = 30.0

#: Luminances of the lit surface in cd/m²; their shadows have 10 and 33.
LIGHTS = (300.0, 1000.0)

#: Reflectance of a patch relative to its surround: higher by this share for ON cells, lower for OFF cells.
CONTRAST = 0.2

#: Degrees from the edge, negative in the light.
DISTANCES = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)

#: Settled: adapted to the half-lit scene under wandering gaze. Sudden: adapted to a uniform field before the shadow.
ADAPTATIONS = ("settled", "sudden")

#: Seconds after onset at which averaging starts (it ends with `WINDOW`): as everywhere, and without the first transient.
STARTS = (WINDOW[0], 0.05)

#: At this distance from the edge and beyond, degrees, a response should change by less than this share.
FAR, TOLERANCE = 1.5, 0.3

#: The radius of a midget's centre in pixels (16 pixels a degree in the parafovea).
_RADIUS = 0.8

#: Rows of the scene, and pixels along a side that holds a patch: odd, so that a cell is in the middle of both.
_ROWS, _PATCH = 25, 7

#: Degrees of the scene beyond the outermost patches; the field is mirrored at its border.
_MARGIN = 1.0

_NAMES = dict(zip(GANGLION_CHANNELS, ("midget ON", "midget OFF", "parasol ON", "parasol OFF"), strict=True))

_CAPTION = "Change of ganglion cells' rates by a patch of the same reflectance contrast, in the light and in a shadow"

#: By the start of averaging.
_LINE_STYLES: dict[float, Literal["-", ":"]] = {STARTS[0]: "-", STARTS[1]: ":"}


@dataclass(frozen=True)
class Scene:
    """A surface with one half in a shadow, and patches on it, one at a time.

    `radius` of the midget's centre at 1/e and `requested` distances from the edge, degrees.
    """

    radius: float
    requested: tuple[float, ...]

    @property
    def pixels_per_degree(self) -> float:
        """Resolution that gives the midget's centre the same size in pixels at every eccentricity."""
        return _RADIUS / self.radius

    @property
    def half(self) -> int:
        """Columns on each side of the edge, which lies between two columns."""
        return math.ceil((max(map(abs, self.requested)) + _MARGIN) * self.pixels_per_degree)

    @cached_property
    def columns(self) -> list[int]:
        """The column of each distance: the first whose middle is at least as far from the edge."""
        steps = [math.ceil(abs(d) * self.pixels_per_degree - 0.5) for d in self.requested]
        return [self.half + n if d > 0 else self.half - 1 - n for n, d in zip(steps, self.requested, strict=True)]

    @property
    def distances(self) -> np.ndarray:
        """Distances of the columns' middles from the edge, degrees."""
        return (np.array(self.columns) - self.half + 0.5) / self.pixels_per_degree

    def illumination(self) -> np.ndarray:
        """Share of the light that falls on each pixel, (y, x)."""
        lit = np.arange(2 * self.half) < self.half
        return np.broadcast_to(np.where(lit, 1.0, 1 / DEPTH), (_ROWS, 2 * self.half))

    def reflectances(self) -> np.ndarray:
        """Reflectance without a patch, with each patch brighter, with each darker: (1 + 2 patches, y, x).

        A patch fills the midget's centre: two radii on either side hold 98 % of a Gaussian.
        """
        patches = np.zeros((len(self.columns), _ROWS, 2 * self.half))
        disc = Screen(_PATCH, self.pixels_per_degree).disc(4 * self.radius)
        top, reach = (_ROWS - _PATCH) // 2, _PATCH // 2
        for patch, column in zip(patches, self.columns, strict=True):
            patch[top : top + _PATCH, column - reach : column + reach + 1] = disc
        return np.concatenate([np.ones((1, *patches.shape[1:])), 1 + CONTRAST * patches, 1 - CONTRAST * patches])


def measure_shadow(
    pathway: Pathway,
    lesions: Iterable[str] | None = None,
    lights: Sequence[float] = LIGHTS,
    distances: Sequence[float] = DISTANCES,
    workers: Workers = 1,
) -> xr.Dataset:
    """Measure responses of ganglion cells to patches of a fixed contrast, in the light and in a shadow 30 times darker.

    A response is the change of the rate of the cell in the middle of the patch, averaged up to 200 ms after onset: for an
    increment of reflectance by 20 % in ON cells, for a decrement in OFF cells.

    Parameters
    ----------
    pathway : Pathway
        Without lesions, of fidelity "rate".
    lesions : iterable of str, optional
        Lesions of the retina, each made alone; by default all of them.
    lights : sequence of float
        Luminances of the lit surface, cd/m².
    distances : sequence of float
        Degrees from the edge, negative in the light; patches lie at the next cell farther from the edge.
    workers : int, str or distributed.Client
        Processes to simulate with.

    Returns
    -------
    xarray.Dataset
        `response` in Hz and `relative`, the response over that of the patch deepest in the light, by `lesion` ("intact"
        first), `light` (with its `shadow`, cd/m²), `adaptation`, `start` (of averaging, seconds after onset), `channel` and
        `distance` (of the patch's middle, degrees).

    Raises
    ------
    InputError
        For a spiking or a lesioned pathway; a lesion that is not the retina's; lights that are not luminances; distances
        that don't reach 1.5° into the light and into the shadow.
    """
    check_rates(pathway, "a shadow")
    workers = check_workers(workers)
    if pathway.lesions:
        raise InputError(f"the pathway of a shadow must be without lesions, got {', '.join(pathway.lesions)}")
    names = [INTACT, *_check_lesions(lesions)]
    levels = np.array([stimuli.positive(level, "light", "cd/m²") for level in lights])
    if not len(levels):
        raise InputError("lights must be one or more luminances in cd/m², got none")
    scene = Scene(pathway.parameters.value("bipolar.midget_centre_radius"), _check_distances(distances))
    measured = [
        _responses(pathway if name == INTACT else pathway.replace(lesions=(name,)), scene, levels, workers)
        for name in progress(names, what="shadow", unit="circuit")
    ]
    response = xr.DataArray(
        np.stack(measured),
        dims=("lesion", "adaptation", "start", "light", "channel", "distance"),
        coords={
            "lesion": names,
            "adaptation": list(ADAPTATIONS),
            "start": list(STARTS),
            "light": levels,
            "shadow": ("light", levels / DEPTH),
            "channel": list(GANGLION_CHANNELS),
            "distance": scene.distances,
        },
        attrs={"units": "Hz"},
    )
    # A cell that is silent even in the light has no relative response.
    reference = response.isel(distance=0, drop=True)
    result = xr.Dataset({"response": response, "relative": response / reference.where(reference != 0)})
    return result.assign_attrs(
        preset=pathway.preset, parameters_digest=pathway.parameters.digest, contrast=CONTRAST, depth=DEPTH
    )


def shadow_ratio(result: xr.Dataset) -> xr.Dataset:
    """Response in the shadow over that in the light, from the result of `measure_shadow`.

    `ratio` at the distance from 1.5° on where it is farthest from 1 (NaN where there is no response in the light), and
    `within`, whether it changes by less than 30 %; by `lesion`, `adaptation`, `start`, `light` and `channel`.
    """
    far = result.relative.sel(distance=result.distance >= FAR)
    worst = abs(far - 1).fillna(np.inf).argmax("distance")
    ratio = far.isel(distance=worst).drop_vars("distance")
    return xr.Dataset({"ratio": ratio, "within": abs(ratio - 1) < TOLERANCE})


def draw_shadow(result: xr.Dataset, path: str | Path) -> None:
    """Draw the result of `measure_shadow` as a PNG: a row for each circuit, a column for each adaptation and light."""
    columns = [(adaptation, light) for adaptation in result.adaptation.values for light in result.light.values]
    lesions = result.lesion.values
    header = 0.75
    height = 2.1 * len(lesions) + 0.5 + header
    figure = Figure(figsize=(max(3.2 * len(columns) + 0.6, 9), height), dpi=110)
    panels = figure.subplots(len(lesions), len(columns), sharex=True, sharey=True, squeeze=False)
    for row, lesion in zip(panels, lesions, strict=True):
        for axes, (adaptation, light) in zip(row, columns, strict=True):
            _draw_panel(axes, result.sel(lesion=lesion, adaptation=adaptation, light=light))
        label = lesion if lesion == INTACT else f"without {lesion}".replace("_", " ")
        row[0].set_ylabel(f"{label}\nresponse, 1 in the light", fontsize=9)
    for axes, (adaptation, light) in zip(panels[0], columns, strict=True):
        axes.set_title(f"{adaptation}: {light:.4g} cd/m², shadow {light / DEPTH:.2g}", fontsize=10)
        for x, side, label in ((0.02, "left", "light"), (0.98, "right", "shadow")):
            axes.text(x, 0.03, label, transform=axes.transAxes, ha=side, va="bottom", fontsize=8, color="grey")
    for axes in panels[-1]:
        axes.set_xlabel("distance from the edge (°)", fontsize=9)
    top = 1 - 0.1 / height
    figure.text(0.01, top, _CAPTION, fontsize=11, va="top")
    figure.legend(
        handles=_legend_handles(),
        loc="upper left",
        bbox_to_anchor=(0.005, top - 0.22 / height),
        ncols=4 if len(columns) < 4 else 7,
        fontsize=9,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - header / height))
    save(figure, path)


def _check_lesions(lesions: Iterable[str] | None) -> list[str]:
    """Names without repeats."""
    retinal = lesions_of("retina")
    names = retinal if lesions is None else (lesions,) if isinstance(lesions, str) else tuple(lesions)
    return list(dict.fromkeys(one_of(name, retinal, "a lesion for a shadow") for name in names))


def _check_distances(distances: Sequence[float]) -> tuple[float, ...]:
    """In ascending order, so that the first one is deepest in the light."""
    values = sorted({as_number(distance, "1", "distance") for distance in distances})
    if not values or values[0] > -FAR or values[-1] < FAR:
        raise InputError(f"distances must reach from -{FAR} to {FAR} degrees at least, got {values}")
    return tuple(values)


def _responses(pathway: Pathway, scene: Scene, lights: np.ndarray, workers: Workers) -> np.ndarray:
    """Changes of ganglion cells' rates by patches, (adaptation, start, light, channel, distance) in Hz."""
    reflectances = scene.reflectances()
    images = lights[:, None, None, None] * scene.illumination() * reflectances
    stimulus = stimuli.luminance(images.reshape(-1, *images.shape[2:]), scene.pixels_per_degree)
    levels = np.repeat(lights, len(reflectances)).tolist()
    adapt_to: dict[str, str | list[float]] = {"settled": "gaze", "sudden": levels}
    responses = []
    for adaptation in ADAPTATIONS:
        for start in STARTS:
            rates = pathway.simulate(
                stimulus,
                adapt_to=adapt_to[adaptation],
                duration=FLASH,
                window=(start, WINDOW[1]),
                output="ganglion",
                workers=workers,
            )
            at_patches = rates.ganglion.values[:, :, _ROWS // 2, scene.columns]
            responses.append(_changes(at_patches.reshape(len(lights), len(reflectances), *at_patches.shape[1:])))
    return np.stack(responses).reshape(len(ADAPTATIONS), len(STARTS), *responses[0].shape)


def _changes(rates: np.ndarray) -> np.ndarray:
    """Change of each channel by the patch at its own position, (light, channel, position).

    `rates` are (light, reflectance, channel, position).
    """
    bare, patched = rates[:, 0], rates[:, 1:]
    positions = rates.shape[-1]
    by_sign = patched.reshape(len(rates), 2, positions, *rates.shape[2:])
    own = np.diagonal(by_sign, axis1=2, axis2=4)
    signs = [int(channel.endswith("_off")) for channel in GANGLION_CHANNELS]
    return own[:, signs, np.arange(len(signs))] - bare


def _draw_panel(axes: Axes, result: xr.Dataset) -> None:
    axes.fill_between([FAR, float(result.distance[-1])], 1 - TOLERANCE, 1 + TOLERANCE, color=BAND, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.4)
    for start, style in _LINE_STYLES.items():
        for channel in GANGLION_CHANNELS:
            values = result.relative.sel(start=start, channel=channel)
            axes.plot(result.distance, values, style, color=CELL_COLOURS[channel], linewidth=1.3)
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    frame(axes, 8)


def _legend_handles() -> list[Artist]:
    """The meaning of colours, line styles and the grey band."""
    channels = [Line2D([], [], color=CELL_COLOURS[name], label=_NAMES[name]) for name in GANGLION_CHANNELS]
    styles = [
        Line2D([], [], color="black", linestyle=style, label=f"mean of {1000 * start:g} to {1000 * WINDOW[1]:g} ms")
        for start, style in _LINE_STYLES.items()
    ]
    band = Patch(color=BAND, label=f"changed by less than {TOLERANCE:.0%}, {FAR:g}° or more from the edge")
    return [*channels, *styles, band]
