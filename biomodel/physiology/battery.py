"""The battery: experiments are made, and what they found is put beside the published bands."""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from biomodel.pathway import Pathway
from biomodel.physiology import retina_lgn, v1
from biomodel.physiology.column import Column
from biomodel.physiology.recording import Preparation, Subject
from biomodel.physiology.repeated import Repeated
from biomodel.physiology.results import Measurement
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress

logger = logging.getLogger("precortical")

#: The published bands, fixed before the first run.
_BANDS = Path(__file__).with_name("bands.json")

#: Numbers of the experiments that are implemented, before V1 and in it; some have a part in both.
EXPERIMENTS = tuple(sorted({*retina_lgn.EXPERIMENTS, *v1.EXPERIMENTS}))

#: Those about what differs between trials, which rates do not have.
SPIKES_ONLY = (13,)


@dataclass(frozen=True)
class Result:
    """One statistic beside its published band; `passed` is None where there is none (true by construction)."""

    key: str
    id: int
    name: str
    statistic: str
    unit: str
    value: float
    low: float | None
    high: float | None
    passed: bool | None
    held_out: bool
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a value that could not be measured is None."""
        return {**vars(self), "value": self.value if math.isfinite(self.value) else None}


class Results(Sequence[Result]):
    """The rows of a battery in the order of the bands, with what was measured and how long it took.

    Parameters
    ----------
    rows : sequence of Result
    curves : dict of int to Measurement
        By experiment: the curves that its values were read off.
    seconds : dict of int to float
        By experiment; what several share, as the best gratings, is paid for by the first of them.
    column : Column, optional
        The V1 column that was recorded from, with what experiments found of its cells.
    """

    def __init__(
        self,
        rows: Sequence[Result],
        curves: dict[int, Measurement],
        seconds: dict[int, float],
        column: Column | None = None,
    ) -> None:
        self._rows = tuple(rows)
        self.curves = curves
        self.seconds = seconds
        self.column = column

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Result]: ...

    def __getitem__(self, index: int | slice) -> Result | Sequence[Result]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._rows)

    def __repr__(self) -> str:
        verdicts = {True: "passed", False: "missed", None: "reported"}
        return "\n".join(
            f"{r.id:3} {verdicts[r.passed]:9} {r.value:10.4g} {r.unit:6} [{r.low}, {r.high}] {r.statistic}"
            for r in self
        )

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries."""
        return [row.to_dict() for row in self]


def bands() -> list[dict[str, Any]]:
    """The rows of ``bands.json``, those of experiments that are not implemented among them."""
    return json.loads(_BANDS.read_text(encoding="utf-8"))["rows"]


def run(subject: Subject, ids: int | Iterable[int] | None = None, workers: int = 1, seed: int = 0) -> Results:
    """Make the experiments of the battery on a subject.

    Parameters
    ----------
    subject : Subject
        A `biomodel.Pathway`, or what answers like one. A spiking one is `Repeated`.
    ids : int or iterable of int, optional
        Numbers of experiments; by default all that are implemented, at rate fidelity without `SPIKES_ONLY`. They are made in
        ascending order.
    workers : int
        Processes to simulate with.
    seed : int
        Of the noise of a spiking pathway.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        For an experiment that is unknown or not implemented, or needs spikes; for what `subject.simulate` refuses.
    """
    if isinstance(subject, Pathway) and subject.fidelity == "spiking":
        subject = Repeated(subject, seed=seed)
    chosen = _accepted(ids, isinstance(subject, Repeated))
    preparation = Preparation(subject, workers)
    column = Column(preparation)
    measured: dict[int, Measurement] = {}
    seconds: dict[int, float] = {}
    for number in progress(chosen, what="physiology", unit="experiment"):
        start = time.perf_counter()
        measured[number] = _measured(number, preparation, column)
        seconds[number] = time.perf_counter() - start
        told = ", ".join(f"{value:.4g}" for value in measured[number].values.values())
        logger.info("experiment %d took %.1f s: %s", number, seconds[number], told)
    return Results(join_bands(measured), measured, seconds, column)


def join_bands(measured: Mapping[int, Measurement]) -> list[Result]:
    """The values of experiments beside the published bands, in the order of the bands.

    Parameters
    ----------
    measured : mapping of int to Measurement
        By number of the experiment.

    Returns
    -------
    list of Result

    Raises
    ------
    KeyError
        If a row of these experiments has no value, or a value no row.
    """
    rows = [row for row in bands() if row["id"] in measured]
    values = {(number, key): value for number, found in measured.items() for key, value in found.values.items()}
    if unknown := values.keys() - {(row["id"], row["key"]) for row in rows}:
        raise KeyError(f"bands.json has no row for {sorted(unknown)}")
    return [_result(row, float(values[row["id"], row["key"]])) for row in rows]


def _measured(number: int, preparation: Preparation, column: Column) -> Measurement:
    """What an experiment found before V1, in V1, or in both."""
    parts = []
    if number in retina_lgn.EXPERIMENTS:
        parts.append(retina_lgn.EXPERIMENTS[number](preparation))
    if number in v1.EXPERIMENTS:
        parts.append(v1.EXPERIMENTS[number](column))
    return functools.reduce(Measurement.beside, parts)


def _accepted(ids: int | Iterable[int] | None, fires: bool) -> list[int]:
    every = [number for number in EXPERIMENTS if fires or number not in SPIKES_ONLY]
    if ids is None:
        return every
    chosen = [ids] if isinstance(ids, (int, str)) else list(ids)
    accepted = ", ".join(map(str, every))
    for number in chosen:
        if isinstance(number, bool) or number not in every:
            problem = "needs spikes" if number in SPIKES_ONLY and not isinstance(number, bool) else "is unknown"
            raise InputError(f"experiment {number!r} {problem}: accepted are {accepted}")
    if not chosen:
        raise InputError(f"an empty list of experiments is not accepted: give some of {accepted}")
    return sorted(set(chosen))


def _result(row: dict[str, Any], value: float) -> Result:
    passed = None if row["by_construction"] else bool(row["low"] <= value <= row["high"])
    return Result(
        key=row["key"],
        id=row["id"],
        name=row["name"],
        statistic=row["statistic"],
        unit=row["unit"],
        value=value,
        low=row["low"],
        high=row["high"],
        passed=passed,
        held_out=row["held_out"],
        source=row["source"],
    )
