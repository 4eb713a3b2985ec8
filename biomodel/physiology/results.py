"""What an experiment is and what it finds: values by statistic, the curves behind them, values by cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np


@dataclass(frozen=True)
class Curve:
    """What was measured under one condition: y by x; or a `reference` beside it, as a fit is."""

    label: str
    x: np.ndarray
    y: np.ndarray
    reference: bool = False


@dataclass(frozen=True)
class CellValues:
    """A property of V1 cells: `values` by cell, and whether each responds as a `simple` cell."""

    values: np.ndarray
    simple: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """The values of an experiment, by the key of their row in ``bands.json``, and the curves that they come from.

    `logarithmic` names the axes that are: "", "x", "y" or "xy". `cells` holds values by cell, under the names of the
    published histograms in ``v1_distributions.json``.
    """

    values: dict[str, float]
    curves: tuple[Curve, ...]
    x_label: str
    y_label: str
    logarithmic: str = ""
    cells: dict[str, CellValues] = field(default_factory=dict)

    def beside(self, other: Measurement) -> Measurement:
        """This one and another part of the same experiment, on the same axes."""
        return Measurement(
            self.values | other.values,
            self.curves + other.curves,
            self.x_label,
            self.y_label,
            self.logarithmic,
            self.cells | other.cells,
        )


#: What experiments are made on.
Bench = TypeVar("Bench")


class Experiments(dict[int, Callable[[Bench], Measurement]], Generic[Bench]):
    """Experiments by the numbers of the published bands."""

    def numbered(self, number: int) -> Callable[[Callable[[Bench], Measurement]], Callable[[Bench], Measurement]]:
        """A decorator that adds an experiment under its number."""

        def register(function: Callable[[Bench], Measurement]) -> Callable[[Bench], Measurement]:
            self[number] = function
            return function

        return register
