"""Distributions of measured properties of V1 cells beside the published histograms in ``v1_distributions.json``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from biomodel.circuit.cell_types import kinds
from biomodel.parameters import Parameters
from biomodel.physiology.results import CellValues
from biomodel.utils.errors import InputError

if TYPE_CHECKING:
    from biomodel.physiology.battery import Results

_HISTOGRAMS = Path(__file__).parent.parent / "circuit" / "v1_distributions.json"

#: What a circuit's cells are drawn from: these distances hold by construction.
BY_CONSTRUCTION = ("preferred_orientation", "peak_spatial_frequency")

#: Where the eye looks, by preset, in the names of the published counts.
_ECCENTRICITY = {"macaque_parafovea": "parafoveal", "macaque_fovea": "foveal"}


#: On which kinds' relay cells stand; it doesn't matter to their widths.
_PIXELS_PER_DEGREE = 16.0


@dataclass(frozen=True)
class Distance:
    """How far the values of `cells` cells lie from one published histogram: a Kolmogorov-Smirnov distance, 0 to 1."""

    name: str
    distance: float
    cells: int
    by_construction: bool
    source: str


def distances(results: Results, preset: str) -> list[Distance]:
    """Distances of what a battery measured by cell to every published histogram of the same property.

    Parameters
    ----------
    results : Results
        Of experiments 16 (orientation), 18 (frequency) and 22 (suppression, summation field, surround).
    preset : str
        Decides between the parafoveal and the foveal histogram of peak frequencies.

    Returns
    -------
    list of Distance
        In the order of the experiments; the distance of no cell at all is NaN.
    """
    cells = {name: values for measured in results.curves.values() for name, values in measured.cells.items()}
    return distances_of(cells, preset)


def distances_of(cells: Mapping[str, CellValues], preset: str) -> list[Distance]:
    """Distances of values by cell, under the names of published histograms, to each of these.

    Parameters
    ----------
    cells : mapping of str to CellValues
    preset : str

    Returns
    -------
    list of Distance
        In the mapping's order; the distance of no cell at all is NaN.
    """
    return [
        Distance(
            name,
            distance(name, values, preset),
            int(np.isfinite(values.values).sum()),
            name in BY_CONSTRUCTION,
            _histograms()[name]["source"],
        )
        for name, values in cells.items()
    ]


def drawn_widths(parameters: Parameters) -> list[Distance]:
    """Distances of the widths in cycles that kinds were drawn with to the two margins of their published joint histogram.

    They hold by construction, but for kinds that were drawn again because their fields reached too far.

    Parameters
    ----------
    parameters : Parameters

    Returns
    -------
    list of Distance
        Across (n_x), and along (n_y); of kinds, not of cells.
    """
    histogram = _histograms()["gabor_nx_ny"]
    edges, counts = 10 ** np.asarray(histogram["bins_log10"], dtype=float), np.asarray(histogram["counts"])
    drawn = kinds(parameters, _PIXELS_PER_DEGREE)
    widths = {"gabor_n_x": [k.across * k.frequency for k in drawn], "gabor_n_y": [k.along * k.frequency for k in drawn]}
    return [
        Distance(
            name,
            kolmogorov_smirnov(widths[name], edges, _shares(counts.sum(axis=axis))),
            len(drawn),
            True,
            histogram["source"],
        )
        for name, axis in (("gabor_n_x", 1), ("gabor_n_y", 0))
    ]


def distance(name: str, values: CellValues, preset: str) -> float:
    """Kolmogorov-Smirnov distance of cells' values to a published histogram.

    Where simple and complex cells were published apart, the histograms are mixed as the measured cells are.

    Parameters
    ----------
    name : str
        Of a histogram.
    values : CellValues
        NaN where a cell has no value: it isn't counted.
    preset : str

    Returns
    -------
    float
        NaN for no cell.
    """
    edges, published = cumulative(name, values, preset)
    known = values.values[np.isfinite(values.values)]
    return kolmogorov_smirnov(known, edges, published)


def cumulative(name: str, values: CellValues, preset: str) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a published histogram's bins, and the share of cells below each, mixed as the measured cells are.

    Of a property that cells have or don't have, the values are 1 and 0, and the bins begin there.

    Raises
    ------
    InputError
        For a preset whose eccentricity isn't known.
    """
    histogram = _histograms()[name]
    counts = histogram["counts"]
    edges = np.asarray(histogram.get("bins", range(len(counts) + 1)), dtype=float)
    if not isinstance(counts, dict):
        return edges, _shares(counts)
    if preset not in _ECCENTRICITY:
        raise InputError(f"preset {preset!r} is not accepted: accepted are {', '.join(_ECCENTRICITY)}")
    simple = values.simple[np.isfinite(values.values)]
    weight = float(simple.mean()) if simple.size else 0.5
    mixed = np.zeros(len(edges))
    for kind, share in (("simple", weight), ("complex", 1 - weight)):
        published = kind if kind in counts else f"{kind}_{_ECCENTRICITY[preset]}"
        mixed += share * _shares(counts[published])
    return edges, mixed


def kolmogorov_smirnov(values: ArrayLike, edges: ArrayLike, cumulative: ArrayLike) -> float:
    """Largest difference between the shares of values and of published cells below each edge of the bins.

    Within a bin nothing is known of the published cells, so that nothing is compared there.

    Parameters
    ----------
    values : array_like
    edges, cumulative : array_like, (edge,)

    Returns
    -------
    float
        NaN for no value.
    """
    sample = np.sort(np.asarray(values, dtype=float))
    if sample.size == 0:
        return float("nan")
    below = np.searchsorted(sample, np.asarray(edges, dtype=float), side="left") / sample.size
    return float(np.abs(below - np.asarray(cumulative, dtype=float)).max())


def _shares(counts: ArrayLike) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(np.asarray(counts, dtype=float))])
    return total / total[-1]


@functools.cache
def _histograms() -> dict:
    return json.loads(_HISTOGRAMS.read_text(encoding="utf-8"))
