"""Distributions of measured properties of V1 cells compared with the published histograms in ``v1_distributions.json``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from biomodel.circuit.cell_types import cell_types
from biomodel.parameters import Parameters
from biomodel.physiology.results import CellValues, Results
from biomodel.utils.errors import InputError

_HISTOGRAMS = Path(__file__).parent.parent / "circuit" / "v1_distributions.json"

#: Properties that a circuit's cells are drawn from: their distances hold by construction.
BY_CONSTRUCTION = ("preferred_orientation", "peak_spatial_frequency")

#: The eccentricity of a preset, in the names of the published counts.
_ECCENTRICITY = {"macaque_parafovea": "parafoveal", "macaque_fovea": "foveal"}

#: Resolution at which cell types are drawn; their widths don't depend on it.
_PIXELS_PER_DEGREE = 16.0


@dataclass(frozen=True)
class Distance:
    """Kolmogorov-Smirnov distance of cells' values to one published histogram.

    Parameters
    ----------
    name : str
        Of the histogram.
    distance : float
        0 to 1; NaN without a cell.
    cells : int
        Number of cells.
    by_construction : bool
        Whether the circuit's cells are drawn from the histogram.
    source : str
        Publication.

    Examples
    --------
    >>> from biomodel.physiology import Distance
    >>> str(Distance("surround_diameter", 0.328, 60, False, "Cavanaugh 2002"))
    'surround_diameter: Kolmogorov-Smirnov distance 0.328, 60 cells (emergent)'
    """

    name: str
    distance: float
    cells: int
    by_construction: bool
    source: str

    def __str__(self) -> str:
        origin = "by construction" if self.by_construction else "emergent"
        return f"{self.name}: Kolmogorov-Smirnov distance {self.distance:.3g}, {self.cells} cells ({origin})"


def distances(results: Results, preset: str) -> list[Distance]:
    """Distances of the properties that a battery measured by cell to the published histograms.

    Parameters
    ----------
    results : Results
        Of experiments 16 (orientation), 18 (frequency) and 22 (suppression, summation field, surround).
    preset : str
        Selects the parafoveal or the foveal histogram of peak frequencies.

    Returns
    -------
    list of Distance
        In the order of the experiments.

    Raises
    ------
    InputError
        For a preset of unknown eccentricity.

    Examples
    --------
    >>> import numpy as np
    >>> from biomodel.physiology import Results, distances
    >>> from biomodel.physiology.results import CellValues, Measurement
    >>> cells = CellValues(np.array([0.0, 45.0, 90.0, 135.0]), simple=np.array([True, True, False, False]))
    >>> measured = Measurement({}, (), "", "", cells={"preferred_orientation": cells})
    >>> [round(one.distance, 3) for one in distances(Results([], {16: measured}, {}), "macaque_parafovea")]
    [0.036]
    """
    cells = {name: values for measured in results.curves.values() for name, values in measured.cells.items()}
    return cell_distances(cells, preset)


def cell_distances(cells: Mapping[str, CellValues], preset: str) -> list[Distance]:
    """Distances of values by cell, under the names of published histograms, to each of these, in the mapping's order."""
    return [
        Distance(
            name,
            histogram_distance(name, values, preset),
            int(np.isfinite(values.values).sum()),
            name in BY_CONSTRUCTION,
            _histograms()[name]["source"],
        )
        for name, values in cells.items()
    ]


def width_distances(parameters: Parameters) -> list[Distance]:
    """Distances of the widths in cycles, across and along, of the drawn cell types to the margins of their histogram.

    They hold by construction, except for cell types that were drawn again because their fields were too large.
    """
    histogram = _histograms()["gabor_nx_ny"]
    edges, counts = 10 ** np.asarray(histogram["bins_log10"], dtype=float), np.asarray(histogram["counts"])
    drawn = cell_types(parameters, _PIXELS_PER_DEGREE)
    margins = {
        "gabor_n_x": ([k.across * k.frequency for k in drawn], counts.sum(axis=1)),
        "gabor_n_y": ([k.along * k.frequency for k in drawn], counts.sum(axis=0)),
    }
    return [
        Distance(name, kolmogorov_smirnov(widths, edges, _cumulate(margin)), len(drawn), True, histogram["source"])
        for name, (widths, margin) in margins.items()
    ]


def histogram_distance(name: str, values: CellValues, preset: str) -> float:
    """Kolmogorov-Smirnov distance of the finite values to the histogram `name`, as in `cumulative_histogram`."""
    edges, published = cumulative_histogram(name, values, preset)
    return kolmogorov_smirnov(values.values[np.isfinite(values.values)], edges, published)


def cumulative_histogram(name: str, values: CellValues, preset: str) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins of a published histogram, and the share of published cells below each.

    Where simple and complex cells were published separately, the histograms are mixed in the proportion of the measured
    cells. A property that cells have or don't have has the values 1 and 0, at which the bins begin.

    Raises
    ------
    InputError
        For a preset of unknown eccentricity.
    """
    histogram = _histograms()[name]
    counts = histogram["counts"]
    edges = np.asarray(histogram.get("bins", range(len(counts) + 1)), dtype=float)
    if not isinstance(counts, dict):
        return edges, _cumulate(counts)
    if preset not in _ECCENTRICITY:
        raise InputError(f"preset must be one of {', '.join(_ECCENTRICITY)}, got {preset!r}")
    simple = values.simple[np.isfinite(values.values)]
    weight = float(simple.mean()) if simple.size else 0.5
    mixed = np.zeros(len(edges))
    for cell_class, share in (("simple", weight), ("complex", 1 - weight)):
        published = cell_class if cell_class in counts else f"{cell_class}_{_ECCENTRICITY[preset]}"
        mixed += share * _cumulate(counts[published])
    return edges, mixed


def kolmogorov_smirnov(values: ArrayLike, edges: ArrayLike, cumulative: ArrayLike) -> float:
    """Largest difference between the shares of values and of published cells below each edge; NaN without a value.

    Within a bin the distribution of the published cells is unknown, so only edges are compared.
    """
    sample = np.sort(np.asarray(values, dtype=float))
    if sample.size == 0:
        return float("nan")
    below = np.searchsorted(sample, np.asarray(edges, dtype=float), side="left") / sample.size
    return float(np.abs(below - np.asarray(cumulative, dtype=float)).max())


def _cumulate(counts: ArrayLike) -> np.ndarray:
    """Shares of counts below each edge."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(counts, dtype=float))])
    return total / total[-1]


@functools.cache
def _histograms() -> dict:
    return json.loads(_HISTOGRAMS.read_text(encoding="utf-8"))
