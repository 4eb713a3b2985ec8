r"""The kinds of cortical cells: what each prefers, drawn once from published spreads, and the relay cells it listens to.

A draw takes spatial frequency (De Valois, Albrecht & Thorell 1982, simple cells of the preset's eccentricity), the Gabor's
widths in cycles, n_x across and n_y along, jointly (Ringach 2002), and preferred orientation (De Valois, Yund & Hepler 1982)
from the histograms in ``circuit/v1_distributions.json``; within a bin, frequency and widths are even over their
logarithm, orientation is even. Phase is even over the circle. A kind whose field reaches farther than
``v1.widest_field``, or that prefers more than ``v1.highest_frequency``, is drawn again. A pathway of n kinds has the first n
of the same seed's.

A kind listens to midget or to parasol relay cells, as cells of layers 4Cβ and 4Cα do (Hubel & Wiesel 1972; Chatterjee &
Callaway 2003). Of those that prefer frequencies which parasol centres pass, up to ``v1.parasol_highest_frequency``, the
share ``v1.parasol_kinds`` listens to parasol cells.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from math import ceil

import numpy as np

from biomodel.circuit.lattice import centre_weights
from biomodel.parameters import Parameters

#: Standard deviations out to which a field reaches.
REACH = 2.0

#: Relay cells along a row are no closer than so many a standard deviation; a parasol's wide centre smooths what is between.
_ALONG = {"midget": 2.0, "parasol": 1.0}


@dataclass(frozen=True)
class Kind:
    """One kind of cortical cell.

    `orientation` and `phase` are in degrees, `frequency` in c/deg, `across` and `along`, the standard deviations of its
    Gabor, in degrees. `afferents` are the relay cells, of class `relay` (midget or parasol), that converge on its
    simple cell.
    """

    orientation: float
    phase: float
    frequency: float
    across: float
    along: float
    relay: str
    afferents: Afferents


def kinds(parameters: Parameters, pixels_per_degree: float) -> list[Kind]:
    """The kinds of a preset, in the order of the draw.

    Parameters
    ----------
    pixels_per_degree : float
        On which the relay cells stand.
    """
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
        pixels_per_degree,
    )


@functools.cache
def _connected(
    drawn: tuple[tuple[float, ...], ...],
    seed: int,
    per_cycle: float,
    parasol_kinds: float,
    parasol_highest: float,
    pixels_per_degree: float,
) -> list[Kind]:
    """Kinds with the relay cells that they listen to."""
    random = np.random.default_rng([seed, 1])
    found = []
    for orientation, phase, frequency, across, along, stream in drawn:
        spacing = 1 / (per_cycle * frequency)
        relay = "parasol" if stream < parasol_kinds and frequency <= parasol_highest else "midget"
        spacing_along = max(spacing, along / _ALONG[relay])
        afferents = rows_of_relay_cells(
            orientation, phase, frequency, across, along, spacing, spacing_along, pixels_per_degree, random
        )
        found.append(Kind(orientation, phase, frequency, across, along, relay, afferents))
    return found


@functools.cache
def preferences(count: int, seed: int, widest: float, highest: float, eccentricity: str) -> list[tuple[float, ...]]:
    """What each kind prefers, and where it stands between the streams.

    Orientation, phase (deg), frequency (c/deg), the Gabor's standard deviations across and along (deg), and a number from 0
    to 1 that decides which relay cells it listens to.

    Parameters
    ----------
    count, seed : int
    widest : float
        Degrees from its middle that a field may reach.
    highest : float
        Spatial frequency, c/deg.
    eccentricity : {"foveal", "parafoveal"}
    """
    tables = published()
    joint = tables["gabor_nx_ny"]
    edges = np.array(joint["bins_log10"])
    random = np.random.default_rng(seed)
    found: list[tuple[float, ...]] = []
    while len(found) < count:
        bins = tables["preferred_orientation"]["bins"]
        orientation = _even(random, bins, tables["preferred_orientation"]["counts"]) % 180
        histogram = tables["peak_spatial_frequency"]
        frequency = 10 ** _even(random, np.log10(histogram["bins"]), histogram["counts"][f"simple_{eccentricity}"])
        cell = int(random.choice(np.size(joint["counts"]), p=np.ravel(joint["counts"]) / np.sum(joint["counts"])))
        row, column = divmod(cell, len(edges) - 1)
        across, along = (10 ** random.uniform(edges[k], edges[k + 1]) / frequency for k in (row, column))
        phase, stream = random.uniform(0, 360), random.uniform()
        if REACH * max(across, along) <= widest and frequency <= highest:
            found.append((orientation, phase, frequency, across, along, stream))
    return found


def published() -> dict:
    """The published histograms, by property."""
    return json.loads((resources.files("biomodel") / "circuit" / "v1_distributions.json").read_text("utf-8"))


def _even(random: np.random.Generator, edges: np.ndarray, counts: list[int]) -> float:
    """A value drawn from a histogram, even within a bin."""
    k = int(random.choice(len(counts), p=np.array(counts) / np.sum(counts)))
    return float(random.uniform(edges[k], edges[k + 1]))


def classical_centre(parameters: Parameters, output: str, pixels_per_degree: float) -> int:
    """Width in pixels of the largest classical centre among the stations up to `output`."""
    reach = len(centre_weights(parameters.value("bipolar.midget_centre_radius"), pixels_per_degree)) - 1
    if output == "v1":
        reach = field_radius([cell.afferents for cell in kinds(parameters, pixels_per_degree)])
    return 2 * reach + 1


@dataclass(frozen=True)
class Afferents:
    """The relay cells that converge on one kind of cortical cell.

    `down` and `right` are offsets in pixels from the cell's own position, `on` tells ON from OFF relay cells, `weight`
    is positive and sums to 1.
    """

    down: np.ndarray
    right: np.ndarray
    on: np.ndarray
    weight: np.ndarray


def rows_of_relay_cells(
    orientation: float,
    phase: float,
    frequency: float,
    sigma_across: float,
    sigma_along: float,
    spacing_across: float,
    spacing_along: float,
    pixels_per_degree: float,
    random: np.random.Generator,
) -> Afferents:
    """Rows of ON and OFF relay cells along the preferred orientation, weighted as a Gabor function.

    Rows stand every `spacing_across` degrees and relay cells every `spacing_along` degrees along them, out to two standard
    deviations, each anywhere within half a spacing of its place (evenly spaced ones would answer aliases of fine
    gratings), on the nearest pixel. With u across the rows and v along them, where the pixel is,
    ``w = exp(-u²/2σ_u² - v²/2σ_v²) cos(2π f u + phase)``; where w > 0 the relay cell is ON, where w < 0 OFF, and
    those with less than 5 % of the largest weight are left out (Hubel & Wiesel 1962; Jones & Palmer 1987).

    Parameters
    ----------
    orientation : float
        Degrees anticlockwise from horizontal, as seen on a screen: the direction of the rows.
    phase : float
        Degrees; 0 is an ON row through the middle, 90 an ON row beside an OFF row.
    frequency, sigma_across, sigma_along, spacing_across, spacing_along : float
        c/deg, else deg.
    pixels_per_degree : float
    random : numpy.random.Generator
    """
    steps_across, steps_along = (
        np.arange(-ceil(2 * sigma / spacing), ceil(2 * sigma / spacing) + 1) * spacing
        for sigma, spacing in ((sigma_across, spacing_across), (sigma_along, spacing_along))
    )
    u, v = (a.ravel() for a in np.meshgrid(steps_across, steps_along, indexing="ij"))
    # One stands in the middle.
    u = np.append(u + spacing_across * random.uniform(-0.5, 0.5, u.shape), 0)
    v = np.append(v + spacing_along * random.uniform(-0.5, 0.5, v.shape), 0)
    angle = np.deg2rad(orientation)
    # y grows downwards, so a row along `orientation` runs (cos, -sin) and u points to its right-hand side.
    right = np.rint((v * np.cos(angle) + u * np.sin(angle)) * pixels_per_degree).astype(int)
    down = np.rint((-v * np.sin(angle) + u * np.cos(angle)) * pixels_per_degree).astype(int)
    down, right = np.unique(np.stack([down, right]), axis=1)
    u = (right * np.sin(angle) + down * np.cos(angle)) / pixels_per_degree
    v = (right * np.cos(angle) - down * np.sin(angle)) / pixels_per_degree
    weight = np.exp(-(u**2) / (2 * sigma_across**2) - v**2 / (2 * sigma_along**2))
    weight = weight * np.cos(2 * np.pi * frequency * u + np.deg2rad(phase))
    inside = (u / sigma_across) ** 2 + (v / sigma_along) ** 2 <= 4.0
    kept = inside & (np.abs(weight) >= 0.05 * np.abs(weight).max())
    down, right, weight = down[kept], right[kept], weight[kept]
    return Afferents(down, right, weight > 0, np.abs(weight) / np.abs(weight).sum())


def field_radius(afferents: list[Afferents]) -> int:
    """Largest offset, in pixels, at which any of the afferents stands."""
    return int(max(max(np.abs(a.down).max(), np.abs(a.right).max()) for a in afferents))
