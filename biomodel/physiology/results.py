"""Results of experiments: values by key, the curves behind them, values by cell, and the rows with published bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

if TYPE_CHECKING:
    from biomodel.physiology.column import Column


@dataclass(frozen=True)
class Curve:
    """Measurements y by x under one condition; or a `reference` to compare with, such as a fit."""

    label: str
    x: np.ndarray
    y: np.ndarray
    reference: bool = False


@dataclass(frozen=True)
class CellValues:
    """A property of V1 cells: `values` by cell, and whether each cell is `simple`."""

    values: np.ndarray
    simple: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """The values of an experiment, by the key of their row in ``bands.json``, and the curves that they come from.

    `logarithmic` names the logarithmic axes: "", "x", "y" or "xy". `cells` holds values by cell, under the names of the
    published histograms in ``v1_distributions.json``.
    """

    values: dict[str, float]
    curves: tuple[Curve, ...]
    x_label: str
    y_label: str
    logarithmic: str = ""
    cells: dict[str, CellValues] = field(default_factory=dict)

    def merge(self, other: Measurement) -> Measurement:
        """This one and another part of the same experiment, on the same axes."""
        values, curves, cells = self.values | other.values, self.curves + other.curves, self.cells | other.cells
        return replace(self, values=values, curves=curves, cells=cells)


#: `Electrode` or `Column`.
Setup = TypeVar("Setup")


class Experiments(dict[int, Callable[[Setup], Measurement]], Generic[Setup]):
    """Functions that make an experiment, by the numbers of the published bands."""

    def add(self, number: int) -> Callable[[Callable[[Setup], Measurement]], Callable[[Setup], Measurement]]:
        """A decorator that adds an experiment under its number."""

        def register(function: Callable[[Setup], Measurement]) -> Callable[[Setup], Measurement]:
            self[number] = function
            return function

        return register


@dataclass(frozen=True)
class Result:
    """One statistic beside its published band.

    Parameters
    ----------
    key : str
        Name of the row, unique in ``bands.json``.
    id : int
        Number of the experiment.
    name, statistic, unit : str
        Of the experiment; of the value.
    value : float
        NaN if it could not be measured.
    low, high : float or None
        The published band.
    passed : bool or None
        Whether the value is in the band; None if there is none (the value is true by construction).
    held_out : bool
        Whether no parameter was chosen on this row.
    source : str
        Publications.

    Examples
    --------
    >>> from biomodel.physiology import Result
    >>> row = Result("midget_peak_tf", 8, "temporal tuning", "peak", "Hz", 7.97, 7, 16, True, False, "Derrington 1984")
    >>> row.to_dict()["value"], row.passed
    (7.97, True)
    """

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
    """The rows of a battery in the order of the bands, with the measured curves and the time of each experiment.

    Parameters
    ----------
    rows : sequence of Result
    curves : dict of int to Measurement
        By experiment.
    seconds : dict of int to float
        By experiment. Measurements that several experiments share, such as the best gratings, count for the first of them.
    column : Column, optional
        The V1 column that was recorded, with the properties of its cells.

    Examples
    --------
    >>> from biomodel.physiology import Result, Results
    >>> row = Result("midget_peak_tf", 8, "temporal tuning", "peak", "Hz", 7.97, 7, 16, True, False, "Derrington 1984")
    >>> results = Results([row], curves={}, seconds={8: 12.0})
    >>> results["midget_peak_tf"].value, len(results)
    (7.97, 1)
    >>> results
      8 passed          7.97 Hz     [7, 16] peak
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
    def __getitem__(self, index: int | str) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Result]: ...

    def __getitem__(self, index: int | str | slice) -> Result | Sequence[Result]:
        """A row by its index or its key, or several."""
        if isinstance(index, str):
            return {row.key: row for row in self._rows}[index]
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._rows)

    def __repr__(self) -> str:
        verdicts = {True: "passed", False: "missed", None: "reported"}
        bands = {r.key: "" if r.low is None else f"[{r.low}, {r.high}] " for r in self}
        return "\n".join(
            f"{r.id:3} {verdicts[r.passed]:9} {r.value:10.4g} {r.unit:6} {bands[r.key]}{r.statistic}" for r in self
        )

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries."""
        return [row.to_dict() for row in self]
