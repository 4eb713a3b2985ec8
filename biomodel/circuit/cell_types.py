r"""V1's cell types: their preferences, drawn once from published distributions, and their afferent relay cells.

A draw takes spatial frequency (De Valois, Albrecht & Thorell 1982, simple cells of the preset's eccentricity), the
Gabor's widths in cycles, n_x across and n_y along, jointly (Ringach 2002), and preferred orientation (De Valois, Yund &
Hepler 1982) from the histograms in ``circuit/v1_distributions.json``. Within a bin, frequency and widths are uniform in
their logarithm and orientation is uniform. Phase is uniform. A cell type whose field extends farther than
``v1.widest_field`` from its middle, or that prefers a frequency above ``v1.highest_frequency``, is drawn again. A
pathway of n cell types has the first n of the same seed.

The diameter of a cell type's suppressive surround is drawn from its published histogram (Cavanaugh, Bair & Movshon 2002), again
until it is larger than the field, as it is by definition there: it includes the field. The nearest of three diameters on a
logarithmic scale replaces it: near, middle or far.

A cell type has midget or parasol afferents, as cells of layers 4Cβ and 4Cα do (Hubel & Wiesel 1972; Chatterjee &
Callaway 2003). Of those that prefer frequencies which parasol centres pass, up to ``v1.parasol_highest_frequency``, the
share ``v1.parasol_kinds`` has parasol afferents.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from math import ceil
from typing import NamedTuple

import numpy as np

from biomodel.circuit.lattice import centre_weights
from biomodel.parameters import Parameters

#: Standard deviations out to which a field extends.
REACH = 2.0

#: Relay cells along a row per standard deviation, at most; a parasol's wide centre smooths over the gaps.
_ALONG = {"midget": 2.0, "parasol": 1.0}

#: Sizes of surrounds.
SIZES = ("near", "middle", "far")

#: Diameter of a surround in space constants of the layer that pools it.
_SPACE_CONSTANTS = 4.0


class Preferences(NamedTuple):
    """Drawn properties of one cell type."""

    orientation: float  # deg, anticlockwise from horizontal on the screen: the direction of the rows of relay cells
    phase: float  # deg; 0 is an ON row through the middle, 90 an ON row beside an OFF row
    frequency: float  # c/deg
    across: float  # standard deviation of the Gabor across the rows, deg
    along: float  # standard deviation along the rows, deg
    stream: float  # 0 to 1, decides between midget and parasol afferents


@dataclass(frozen=True)
class Afferents:
    """The relay cells that converge on the simple cell of one cell type.

    Attributes
    ----------
    down, right : numpy.ndarray of int
        Offsets in pixels from the cell's own position.
    on : numpy.ndarray of bool
        ON relay cells; the others are OFF.
    weight : numpy.ndarray
        Positive, with sum 1.
    """

    down: np.ndarray
    right: np.ndarray
    on: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class CellType:
    """One type of cortical cell: its preferences, in the units of `Preferences`, and its afferents.

    `relay` is the class of its afferents, midget or parasol; `surround` is the size of its surround, one of `SIZES`.
    """

    orientation: float
    phase: float
    frequency: float
    across: float
    along: float
    relay: str
    afferents: Afferents
    surround: str


def cell_types(parameters: Parameters, pixels_per_degree: float) -> list[CellType]:
    """The cell types of a pathway, in the order of the draw, on a lattice of relay cells."""
    drawn = preferences(
        round(parameters.value("v1.kinds")),
        round(parameters.value("v1.draw")),
        parameters.value("v1.widest_field"),
        parameters.value("v1.highest_frequency"),
        parameters.eccentricity,
    )
    return _connected(
        tuple(drawn),
        round(parameters.value("v1.draw")),
        parameters.value("v1.afferents_per_cycle"),
        parameters.value("v1.parasol_kinds"),
        parameters.value("v1.parasol_highest_frequency"),
        tuple(_SPACE_CONSTANTS * parameters.value(f"v1.{size}_surround_space_constant") for size in SIZES),
        pixels_per_degree,
    )


@functools.cache
def _connected(
    drawn: tuple[Preferences, ...],
    seed: int,
    per_cycle: float,
    parasol_share: float,
    parasol_highest: float,
    diameters: tuple[float, ...],
    pixels_per_degree: float,
) -> list[CellType]:
    """Cell types with their afferents; `diameters` of surrounds, degrees, are in the order of `SIZES`."""
    random = np.random.default_rng([seed, 1])
    surrounds = np.random.default_rng([seed, 2])
    types = []
    for cell in drawn:
        orientation, phase, frequency, across, along, stream = cell
        relay = "parasol" if stream < parasol_share and frequency <= parasol_highest else "midget"
        spacing = 1 / (per_cycle * frequency)
        afferents = rows_of_relay_cells(cell, (spacing, max(spacing, along / _ALONG[relay])), pixels_per_degree, random)
        distance = np.abs(np.log(np.array(diameters) / surround_diameter(cell, surrounds)))
        surround = SIZES[int(distance.argmin())]
        types.append(CellType(orientation, phase, frequency, across, along, relay, afferents, surround))
    return types


def surround_diameter(cell: Preferences, random: np.random.Generator) -> float:
    """Diameter of a cell type's surround in degrees, drawn until it is larger than the field."""
    histogram = published()["surround_diameter"]
    field, diameter = 2 * REACH * max(cell.across, cell.along), 0.0
    while diameter <= field:
        diameter = float(2 ** _sample(random, np.log2(histogram["bins"]), histogram["counts"]))
    return diameter


@functools.cache
def preferences(count: int, seed: int, widest: float, highest: float, eccentricity: str) -> list[Preferences]:
    """Draw the preferences of cell types.

    Parameters
    ----------
    count : int
        Number of cell types.
    seed : int
    widest : float
        Largest distance of a field's edge from its middle, degrees.
    highest : float
        Highest preferred spatial frequency, c/deg.
    eccentricity : {"foveal", "parafoveal"}
    """
    tables = published()
    joint = tables["gabor_nx_ny"]
    edges = np.array(joint["bins_log10"])
    random = np.random.default_rng(seed)
    accepted: list[Preferences] = []
    while len(accepted) < count:
        bins = tables["preferred_orientation"]["bins"]
        orientation = _sample(random, bins, tables["preferred_orientation"]["counts"]) % 180
        histogram = tables["peak_spatial_frequency"]
        frequency = 10 ** _sample(random, np.log10(histogram["bins"]), histogram["counts"][f"simple_{eccentricity}"])
        cell = int(random.choice(np.size(joint["counts"]), p=np.ravel(joint["counts"]) / np.sum(joint["counts"])))
        row, column = divmod(cell, len(edges) - 1)
        across, along = (10 ** random.uniform(edges[k], edges[k + 1]) / frequency for k in (row, column))
        phase, stream = random.uniform(0, 360), random.uniform()
        if REACH * max(across, along) <= widest and frequency <= highest:
            accepted.append(Preferences(orientation, phase, frequency, across, along, stream))
    return accepted


def published() -> dict:
    """The published histograms, by property."""
    return json.loads((resources.files("biomodel") / "circuit" / "v1_distributions.json").read_text("utf-8"))


def _sample(random: np.random.Generator, edges: np.ndarray, counts: list[int]) -> float:
    """A value drawn from a histogram, uniform within a bin."""
    k = int(random.choice(len(counts), p=np.array(counts) / np.sum(counts)))
    return float(random.uniform(edges[k], edges[k + 1]))


def classical_centre(parameters: Parameters, output: str, pixels_per_degree: float) -> int:
    """Width in pixels of the largest classical centre among the stations up to `output`."""
    reach = len(centre_weights(parameters.value("bipolar.midget_centre_radius"), pixels_per_degree)) - 1
    if output == "v1":
        reach = field_radius([cell.afferents for cell in cell_types(parameters, pixels_per_degree)])
    return 2 * reach + 1


def rows_of_relay_cells(
    cell: Preferences, spacing: tuple[float, float], pixels_per_degree: float, random: np.random.Generator
) -> Afferents:
    """Rows of ON and OFF relay cells along the preferred orientation, weighted as a Gabor function.

    The rows cover two standard deviations in both directions. Each relay cell is placed at random within half a spacing
    of its regular place (a regular grid would respond to aliases of fine gratings), on the nearest pixel. With u across
    the rows and v along them, at the pixel, ``w = exp(-u²/2σ_u² - v²/2σ_v²) cos(2π f u + phase)``. The relay cell is ON
    where w > 0 and OFF where w < 0. Those with less than 5 % of the largest weight are left out (Hubel & Wiesel 1962;
    Jones & Palmer 1987).

    Parameters
    ----------
    cell : Preferences
    spacing : (float, float)
        Degrees between rows, and between relay cells along a row.
    pixels_per_degree : float
    random : numpy.random.Generator
    """
    steps_across, steps_along = (
        np.arange(-ceil(2 * sigma / step), ceil(2 * sigma / step) + 1) * step
        for sigma, step in zip((cell.across, cell.along), spacing, strict=True)
    )
    u, v = (a.ravel() for a in np.meshgrid(steps_across, steps_along, indexing="ij"))
    # One more is exactly in the middle.
    u = np.append(u + spacing[0] * random.uniform(-0.5, 0.5, u.shape), 0)
    v = np.append(v + spacing[1] * random.uniform(-0.5, 0.5, v.shape), 0)
    angle = np.deg2rad(cell.orientation)
    # y grows downwards, so a row along `orientation` runs (cos, -sin) and u points to its right-hand side.
    right = np.rint((v * np.cos(angle) + u * np.sin(angle)) * pixels_per_degree).astype(int)
    down = np.rint((-v * np.sin(angle) + u * np.cos(angle)) * pixels_per_degree).astype(int)
    down, right = np.unique(np.stack([down, right]), axis=1)
    u = (right * np.sin(angle) + down * np.cos(angle)) / pixels_per_degree
    v = (right * np.cos(angle) - down * np.sin(angle)) / pixels_per_degree
    weight = np.exp(-(u**2) / (2 * cell.across**2) - v**2 / (2 * cell.along**2))
    weight = weight * np.cos(2 * np.pi * cell.frequency * u + np.deg2rad(cell.phase))
    inside = (u / cell.across) ** 2 + (v / cell.along) ** 2 <= 4.0
    kept = inside & (np.abs(weight) >= 0.05 * np.abs(weight).max())
    down, right, weight = down[kept], right[kept], weight[kept]
    return Afferents(down, right, weight > 0, np.abs(weight) / np.abs(weight).sum())


def field_radius(afferents: list[Afferents]) -> int:
    """Largest offset of any afferent in pixels."""
    return int(max(max(np.abs(a.down).max(), np.abs(a.right).max()) for a in afferents))
