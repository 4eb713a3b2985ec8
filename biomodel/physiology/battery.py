"""The battery of experiments, and the join of its values with the published bands."""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import numpy as np

from biomodel.engine.cluster import Workers, check_workers
from biomodel.pathway import Pathway
from biomodel.physiology import retina_gain, retina_lgn, v1, v1_gain
from biomodel.physiology.column import Column
from biomodel.physiology.recording import Electrode, Subject, TrialAveraged
from biomodel.physiology.results import Measurement, Result, Results
from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress

logger = logging.getLogger("precortical")

#: The published bands, fixed before the first run.
_BANDS = Path(__file__).with_name("bands.json")

#: Experiments by number, before V1 and in V1; some have a part in each.
_BEFORE_V1 = retina_lgn.EXPERIMENTS | retina_gain.EXPERIMENTS
_IN_V1 = v1.EXPERIMENTS | v1_gain.EXPERIMENTS

#: Numbers of the experiments.
EXPERIMENTS = tuple(sorted({*_BEFORE_V1, *_IN_V1}))

#: Experiments on differences between trials, which rates do not have.
SPIKES_ONLY = (13,)


def bands() -> list[dict[str, Any]]:
    """The rows of ``bands.json``, one per value of an experiment.

    A row has `key`, the name of the value, unique; `id`, the number of the experiment; `name`, `statistic` and `unit`, texts;
    `low` and `high`, the band, or null; `held_out`, whether the row chooses no parameter; `static`, whether flashed
    presentations suffice, so that a front end can be measured too; `needs`, "rate", or "spiking" if only a spiking subject
    has the value; `by_construction`, true if the value is only reported and the band null; `source`, publications; and
    `reason`, for the band. From experiment 26 on it has `tag`: "V" if the claim behind the band was read in the
    publication, "M" if it is from memory.
    """
    return json.loads(_BANDS.read_text(encoding="utf-8"))["rows"]


def run(subject: Subject, ids: int | Iterable[int] | None = None, workers: Workers = 1, seed: int = 0) -> Results:
    """Make experiments on a subject and compare their values with the published bands.

    As in the published experiments, a pathway sees the stimuli through an artificial pupil of `cone.pupil_area`.

    Parameters
    ----------
    subject : Subject
        A `biomodel.Pathway`, or an object with the same `simulate` and `parameters`. A spiking pathway is `TrialAveraged`.
    ids : int or iterable of int, optional
        Numbers of experiments, made in ascending order; by default all, at rate fidelity without `SPIKES_ONLY`.
    workers : int, str or distributed.Client
        Processes to simulate with.
    seed : int
        Seed of the noise of a spiking pathway.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        For an experiment that is unknown or needs spikes, and as `subject.simulate`.

    Examples
    --------
    >>> import biomodel
    >>> results = biomodel.physiology.run(biomodel.Pathway(target="numpy"), ids=3)
    >>> [(row.key, round(row.value), row.unit) for row in results]
    [('cone_half_gain', 17, 'cd/m²')]
    """
    workers, seed = check_workers(workers), whole_number(seed, "seed", 0)
    if isinstance(subject, Pathway) and subject.fidelity == "spiking":
        subject = TrialAveraged(subject, seed=seed)
    spiking = isinstance(subject, TrialAveraged)
    available = [number for number in EXPERIMENTS if spiking or number not in SPIKES_ONLY]
    numbers = check_numbers(ids, available, "experiment" if spiking else "experiment for a subject of rates")
    electrode = Electrode(subject, workers)
    column = Column(electrode)
    measured: dict[int, Measurement] = {}
    seconds: dict[int, float] = {}
    for number in progress(numbers, what="physiology", unit="experiment"):
        start = time.perf_counter()
        measured[number] = _measure(number, electrode, column)
        seconds[number] = time.perf_counter() - start
        values = ", ".join(f"{value:.4g}" for value in measured[number].values.values())
        logger.info("experiment %d took %.1f s: %s", number, seconds[number], values)
    return Results(join_bands(measured, spiking), measured, seconds, column)


def join_bands(measured: Mapping[int, Measurement], spiking: bool = False) -> list[Result]:
    """The values of experiments, by their numbers, beside the published bands, in the order of the bands.

    Parameters
    ----------
    measured : mapping of int to Measurement
    spiking : bool
        Whether the subject has spikes; without them rows that need spikes are left out.

    Returns
    -------
    list of Result

    Raises
    ------
    KeyError
        If a row of these experiments has no value, or a value no row.
    """
    rows = [row for row in bands() if row["id"] in measured and (spiking or row["needs"] == "rate")]
    values = {(number, key): value for number, found in measured.items() for key, value in found.values.items()}
    if unknown := values.keys() - {(row["id"], row["key"]) for row in rows}:
        raise KeyError(f"bands.json has no row for {sorted(unknown)}")
    return [_result(row, float(values[row["id"], row["key"]])) for row in rows]


def _measure(number: int, electrode: Electrode, column: Column) -> Measurement:
    """The parts of an experiment before V1 and in V1."""
    parts = []
    if number in _BEFORE_V1:
        parts.append(_BEFORE_V1[number](electrode))
    if number in _IN_V1:
        parts.append(_IN_V1[number](column))
    return functools.reduce(Measurement.merge, parts)


def check_numbers(ids: int | Iterable[int] | None, available: Sequence[int], what: str) -> list[int]:
    """Numbers of experiments among those available, in ascending order; all by default."""
    names = ", ".join(map(str, available))
    ids = available if ids is None else ids
    is_one = isinstance(ids, str) or not isinstance(ids, Iterable) or (isinstance(ids, np.ndarray) and ids.ndim == 0)
    numbers: list[Any] = [ids] if is_one else list(cast(Iterable[Any], ids))
    for number in numbers:
        if isinstance(number, bool | np.timedelta64) or not isinstance(number, Integral) or number not in available:
            raise InputError(f"an {what} must be one of {names}, got {number!r}")
    if not numbers:
        raise InputError(f"ids must be one or more of {names}, got none")
    return sorted({int(number) for number in numbers})


def _result(row: dict[str, Any], value: float) -> Result:
    passed = None if row["by_construction"] else bool(row["low"] <= value <= row["high"])
    columns = ("key", "id", "name", "statistic", "unit", "low", "high", "held_out", "source")
    return Result(value=value, passed=passed, **{name: row[name] for name in columns})
