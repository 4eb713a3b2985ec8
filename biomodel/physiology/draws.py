"""How far V1's cells lie from every published histogram, over several draws of what its kinds prefer.

Each draw is another circuit: it is compiled and measured anew, by the experiments that published histograms exist for
alone, and kept as it comes, so that a stopped measurement goes on with the same call.
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
from biomodel.physiology import battery, distributions
from biomodel.physiology.recording import Subject
from biomodel.physiology.results import CellValues
from biomodel.utils.atomic import atomic_write
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import check_same, exclusive

logger = logging.getLogger("precortical")

#: Experiments that measure what a histogram was published of: orientation, frequency and size tuning.
PUBLISHED = (16, 18, 22)

#: The experiment on spatial frequency, with which the widths in cycles go that kinds were drawn with.
_FREQUENCY = 18

#: Seeds of the draws, where none are given.
DRAWS = (0, 1, 2, 3, 4)

#: Modules that decide what is measured of a simulation.
_PROTOCOLS = ("column", "measures", "recording", "repeated", "screens", "tuning", "v1")

#: Values by cell of every property, by its name.
_Cells = dict[str, CellValues]


@dataclass(frozen=True)
class DrawnDistances:
    """Kolmogorov-Smirnov distances of one property to its published histogram, one a draw.

    `cells` are the numbers of cells counted. `by_construction` marks what a circuit's cells are drawn from.
    """

    name: str
    by_construction: bool
    source: str
    draws: tuple[int, ...]
    distances: tuple[float, ...]
    cells: tuple[int, ...]

    @property
    def median(self) -> float:
        """Over the draws in which a cell was counted; NaN where there is none."""
        known = self._known
        return float(np.median(known)) if known else float("nan")

    @property
    def low(self) -> float:
        """The smallest distance; NaN where no cell was counted."""
        return min(self._known, default=float("nan"))

    @property
    def high(self) -> float:
        """The largest distance; NaN where no cell was counted."""
        return max(self._known, default=float("nan"))

    @property
    def _known(self) -> list[float]:
        return [distance for distance in self.distances if math.isfinite(distance)]

    def __str__(self) -> str:
        fewest, most = min(self.cells), max(self.cells)
        cells = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        mark = "by construction" if self.by_construction else "emergent"
        return f"{self.name:30} {self.median:6.3f} [{self.low:.3f}, {self.high:.3f}] {cells:>11} cells  {mark}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a distance of no cell is None."""
        return {
            "name": self.name,
            "by_construction": self.by_construction,
            "source": self.source,
            "median": _plain(self.median),
            "low": _plain(self.low),
            "high": _plain(self.high),
            "draws": [
                {"draw": draw, "distance": _plain(distance), "cells": cells}
                for draw, distance, cells in zip(self.draws, self.distances, self.cells, strict=True)
            ],
        }


def over_draws(
    subject_of: Callable[[int], Subject],
    draws: Iterable[int] = DRAWS,
    ids: int | Iterable[int] | None = None,
    workers: int = 1,
    store: str | Path | None = None,
) -> list[DrawnDistances]:
    """Distances to every published histogram, for each of several draws of V1's kinds.

    Parameters
    ----------
    subject_of : callable
        From a draw's seed to the subject with it: ``lambda draw: Pathway(parameters={"v1.draw": draw})``.
    draws : iterable of int
        Seeds, from 0, each once.
    ids : int or iterable of int, optional
        Experiments, of `PUBLISHED`; by default all of them.
    workers : int
        Processes to simulate with.
    store : str or pathlib.Path, optional
        A folder in which what was measured of every cell is kept, a file a draw. A measurement that was stopped goes on
        with the same call; what is asked for beyond what a file has is added to it.

    Returns
    -------
    list of DrawnDistances
        A property each, in the order of the experiments; then the widths that kinds were drawn with.

    Raises
    ------
    InputError
        For a draw or an experiment that is not accepted, for what `subject_of` refuses, for a store that was made with
        other settings (which are named) or cannot be written. Nothing has been simulated then.
    """
    seeds, chosen = _accepted_draws(draws), _accepted_experiments(ids)
    subjects = {seed: subject_of(seed) for seed in seeds}
    with ExitStack() as stack:
        folder = None if store is None else Path(store).absolute()
        if folder is not None:
            stack.enter_context(exclusive(folder))
        kept = {seed: _kept(_file(folder, seed), _settings(subjects[seed])) for seed in seeds}
        for seed in progress(seeds, what="draws", unit="draw"):
            missing = [number for number in chosen if number not in kept[seed]]
            if not missing:
                logger.info("draw %d was measured before", seed)
                continue
            start = time.perf_counter()
            measured = battery.run(subjects[seed], missing, workers).curves
            kept[seed] |= {number: one.cells for number, one in measured.items()}
            _keep(_file(folder, seed), _settings(subjects[seed]), kept[seed])
            logger.info("draw %d took %.0f s", seed, time.perf_counter() - start)
    by_draw = [
        distributions.distances_of(
            {name: values for number in chosen for name, values in kept[seed][number].items()},
            subjects[seed].parameters.preset,
        )
        + (distributions.drawn_widths(subjects[seed].parameters) if _FREQUENCY in chosen else [])
        for seed in seeds
    ]
    return [
        DrawnDistances(
            one[0].name,
            one[0].by_construction,
            one[0].source,
            tuple(seeds),
            tuple(found.distance for found in one),
            tuple(found.cells for found in one),
        )
        for one in zip(*by_draw, strict=True)
    ]


def _accepted_draws(draws: Iterable[int]) -> list[int]:
    seeds = list(draws)
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"draw {seed!r} is not accepted: give whole numbers from 0")
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"draws = {seeds} is not accepted: give at least one, each once")
    return seeds


def _accepted_experiments(ids: int | Iterable[int] | None) -> list[int]:
    chosen = list(PUBLISHED) if ids is None else [ids] if isinstance(ids, int) else list(ids)
    accepted = ", ".join(map(str, PUBLISHED))
    for number in chosen:
        if isinstance(number, bool) or number not in PUBLISHED:
            raise InputError(
                f"experiment {number!r} is not accepted over draws: published histograms are of {accepted}"
            )
    if not chosen:
        raise InputError(f"an empty list of experiments is not accepted: give some of {accepted}")
    return sorted(set(chosen))


def _settings(subject: Subject) -> dict[str, Any]:
    """All that decides what is measured of a subject, by names that a user knows."""
    told = {name: getattr(subject, name, None) for name in ("fidelity", "lesions", "dt")}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
    code = {"precortical": biomodel.__version__, "simulation": cache.source_digest(), "protocols": _protocols()}
    values = {f"parameter {name}": value for name, value in subject.parameters.values_by_name().items()}
    return {"preset": subject.parameters.preset} | code | plain | values


@functools.cache
def _protocols() -> str:
    """Digest of the modules that decide what is shown and what is read off the responses."""
    folder = Path(__file__).parent
    return code_digest(folder / f"{name}.py" for name in _PROTOCOLS)


def _file(folder: Path | None, seed: int) -> Path | None:
    return None if folder is None else folder / f"draw_{seed}.json"


def _kept(path: Path | None, settings: dict[str, Any]) -> dict[int, _Cells]:
    """What a file holds, by experiment; nothing where there is no file."""
    if path is None or not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        made_with = dict(told["settings"])
        found = {
            int(number): {name: _cell_values(values) for name, values in cells.items()}
            for number, cells in told["experiments"].items()
        }
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not hold a draw that was measured ({error}): give another folder") from None
    check_same(path, made_with, settings)
    return found


def _keep(path: Path | None, settings: dict[str, Any], measured: dict[int, _Cells]) -> None:
    """Write a draw's file, which is there whole or not at all."""
    if path is None:
        return
    told = {
        "settings": settings,
        "experiments": {
            str(number): {
                name: {"values": [_plain(v) for v in one.values.tolist()], "simple": one.simple.tolist()}
                for name, one in cells.items()
            }
            for number, cells in sorted(measured.items())
        },
    }
    try:
        with atomic_write(path) as scratch:
            scratch.write_text(json.dumps(told) + "\n", encoding="utf-8")
    except OSError as error:
        raise RuntimeError(
            f"{path} cannot be written ({error.strerror or error}); the draws before are kept, and the same call goes on"
        ) from error


def _cell_values(told: dict[str, list]) -> CellValues:
    values = np.array([np.nan if value is None else value for value in told["values"]], dtype=float)
    return CellValues(values, np.array(told["simple"], dtype=bool))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
