"""Distances of V1's cells to the published histograms over several draws of the cell types' preferences.

Each draw is another circuit. It is compiled and measured with the experiments that have published histograms, and its values
are stored when it is done, so that an interrupted measurement continues with the same call.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import biomodel
from biomodel.engine import cache
from biomodel.engine.cluster import Workers, check_workers
from biomodel.physiology import battery
from biomodel.physiology.distributions import Distance, cell_distances, width_distances
from biomodel.physiology.recording import Subject
from biomodel.physiology.results import CellValues
from biomodel.utils.atomic import atomic_write
from biomodel.utils.checks import whole_number
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path, writing
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import check_same, exclusive

logger = logging.getLogger("precortical")

#: Experiments with published histograms: orientation, frequency and size tuning.
WITH_HISTOGRAMS = (16, 18, 22)

#: The experiment on spatial frequency, to which the widths in cycles of cell types are added.
_FREQUENCY = 18

#: Seeds of the draws, by default.
DRAWS = (0, 1, 2, 3, 4)

#: Modules that determine what is measured of a simulation.
_PROTOCOLS = ("column", "measures", "recording", "screens", "v1")

#: Values by cell of every property, by its name.
_Cells = dict[str, CellValues]


@dataclass(frozen=True)
class DrawDistances:
    """Kolmogorov-Smirnov distances of one property to its published histogram, one for each draw.

    Parameters
    ----------
    name : str
        Of the histogram.
    by_construction : bool
        Whether the circuit's cells are drawn from the histogram.
    source : str
        Publication.
    draws : tuple of int
        Seeds.
    distances : tuple of float
        NaN for a draw without a cell.
    cells : tuple of int
        Numbers of cells.

    Examples
    --------
    >>> from biomodel.physiology import DrawDistances
    >>> found = DrawDistances("surround_diameter", False, "Cavanaugh 2002", (0, 1, 2), (0.3, 0.35, 0.31), (60, 53, 68))
    >>> found.low, found.median, found.high
    (0.3, 0.31, 0.35)
    """

    name: str
    by_construction: bool
    source: str
    draws: tuple[int, ...]
    distances: tuple[float, ...]
    cells: tuple[int, ...]

    @property
    def median(self) -> float:
        """Over the draws with a cell; NaN if there is none."""
        return float(np.median(self._known)) if self._known else float("nan")

    @property
    def low(self) -> float:
        """The smallest distance; NaN if no draw has a cell."""
        return min(self._known, default=float("nan"))

    @property
    def high(self) -> float:
        """The largest distance; NaN if no draw has a cell."""
        return max(self._known, default=float("nan"))

    @property
    def _known(self) -> list[float]:
        return [distance for distance in self.distances if math.isfinite(distance)]

    def __str__(self) -> str:
        fewest, most = min(self.cells), max(self.cells)
        cells = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        origin = "by construction" if self.by_construction else "emergent"
        return f"{self.name:30} {self.median:6.3f} [{self.low:.3f}, {self.high:.3f}] {cells:>11} cells  {origin}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a distance without a cell is None."""
        return {
            "name": self.name,
            "by_construction": self.by_construction,
            "source": self.source,
            **{name: _finite(getattr(self, name)) for name in ("median", "low", "high")},
            "draws": [
                {"draw": draw, "distance": _finite(distance), "cells": cells}
                for draw, distance, cells in zip(self.draws, self.distances, self.cells, strict=True)
            ],
        }


def distances_over_draws(
    subject_of: Callable[[int], Subject],
    draws: Iterable[int] = DRAWS,
    ids: int | Iterable[int] | None = None,
    workers: Workers = 1,
    store: str | Path | None = None,
) -> list[DrawDistances]:
    """Distances to the published histograms for several draws of V1's cell types.

    Parameters
    ----------
    subject_of : callable
        From the seed of a draw to its subject: ``lambda draw: Pathway(parameters={"v1.draw": draw})``.
    draws : iterable of int
        Different seeds, from 0.
    ids : int or iterable of int, optional
        Experiments among `WITH_HISTOGRAMS`; by default all of them.
    workers : int, str or distributed.Client
        Processes to simulate with.
    store : str or pathlib.Path, optional
        Folder that keeps the values of every cell, a file a draw. After an interruption the same call continues;
        experiments that a file does not have are added to it.

    Returns
    -------
    list of DrawDistances
        One for each property, in the order of the experiments; then the widths of cell types.

    Raises
    ------
    InputError
        Before any simulation: for wrong draws or experiments, as `subject_of`, for a store that was made with other
        settings or cannot be written.

    Examples
    --------
    >>> import xarray as xr
    >>> from biomodel import Pathway
    >>> from biomodel.physiology import distances_over_draws
    >>> class WithoutV1:
    ...     def __init__(self, draw):
    ...         self.parameters = Pathway(parameters={"v1.draw": draw}).parameters
    ...     def simulate(self, stimulus, **settings):
    ...         return xr.Dataset({"background": stimulus})
    >>> for one in distances_over_draws(WithoutV1, draws=(0, 1), ids=16):
    ...     print(one.name, one.median, one.cells)
    preferred_orientation nan (0, 0)
    """
    seeds, numbers = _check_draws(draws), battery.check_numbers(ids, WITH_HISTOGRAMS, "experiment over draws")
    workers = check_workers(workers)
    subjects = {seed: subject_of(seed) for seed in seeds}
    with ExitStack() as stack:
        folder = None if store is None else local_path(store, "store").absolute()
        if folder is not None:
            stack.enter_context(exclusive(folder))
        stored = {seed: _read(_file(folder, seed), _settings(subjects[seed])) for seed in seeds}
        for seed in progress(seeds, what="draws", unit="draw"):
            missing = [number for number in numbers if number not in stored[seed]]
            if not missing:
                logger.info("draw %d was measured before", seed)
                continue
            start = time.perf_counter()
            measured = battery.run(subjects[seed], missing, workers).curves
            stored[seed] |= {number: one.cells for number, one in measured.items()}
            _write(_file(folder, seed), _settings(subjects[seed]), stored[seed])
            logger.info("draw %d took %.0f s", seed, time.perf_counter() - start)
    by_draw = []
    for seed, subject in subjects.items():
        cells = {name: values for number in numbers for name, values in stored[seed][number].items()}
        widths = width_distances(subject.parameters) if _FREQUENCY in numbers else []
        by_draw.append(cell_distances(cells, subject.parameters.preset) + widths)
    return [_collect(seeds, by_seed) for by_seed in zip(*by_draw, strict=True)]


def _collect(seeds: list[int], by_seed: tuple[Distance, ...]) -> DrawDistances:
    first = by_seed[0]
    distances, cells = tuple(one.distance for one in by_seed), tuple(one.cells for one in by_seed)
    return DrawDistances(first.name, first.by_construction, first.source, tuple(seeds), distances, cells)


def _check_draws(draws: Iterable[int]) -> list[int]:
    if not isinstance(draws, Iterable) or isinstance(draws, str | bytes):
        raise InputError(f"draws must be whole numbers from 0, got {draws!r}")
    seeds = [whole_number(seed, "a draw", 0) for seed in draws]
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"draws must be one or more different numbers, got {seeds}")
    return seeds


def _settings(subject: Subject) -> dict[str, Any]:
    """All that determines what is measured of a subject, by names that a user knows."""
    own = {name: getattr(subject, name, None) for name in ("fidelity", "lesions", "dt")}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
    code = {"precortical": biomodel.__version__, "simulation": cache.simulation_digest(), "protocols": _protocols()}
    values = {f"parameter {name}": value for name, value in subject.parameters.values_by_name().items()}
    return {"preset": subject.parameters.preset} | code | plain | values


@functools.cache
def _protocols() -> str:
    """Digest of the modules that determine stimuli and measures."""
    folder = Path(__file__).parent
    return code_digest(folder / f"{name}.py" for name in _PROTOCOLS)


def _file(folder: Path | None, seed: int) -> Path | None:
    return None if folder is None else folder / f"draw_{seed}.json"


def _read(path: Path | None, settings: dict[str, Any]) -> dict[int, _Cells]:
    """Values by experiment in a file; nothing if there is no file."""
    if path is None or not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        old = dict(content["settings"])
        stored = {
            int(number): {name: _cell_values(values) for name, values in cells.items()}
            for number, cells in content["experiments"].items()
        }
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be the file of a draw, or store another folder: {error}") from None
    check_same(path, old, settings)
    return stored


def _write(path: Path | None, settings: dict[str, Any], measured: dict[int, _Cells]) -> None:
    if path is None:
        return
    experiments = {
        str(number): {
            name: {"values": [_finite(v) for v in one.values.tolist()], "simple": one.simple.tolist()}
            for name, one in cells.items()
        }
        for number, cells in sorted(measured.items())
    }
    with writing(path, "finished draws are kept, and the same call continues"), atomic_write(path) as scratch:
        scratch.write_text(json.dumps({"settings": settings, "experiments": experiments}) + "\n", encoding="utf-8")


def _cell_values(stored: dict[str, list]) -> CellValues:
    values = np.array([np.nan if value is None else value for value in stored["values"]], dtype=float)
    return CellValues(values, np.array(stored["simple"], dtype=bool))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
