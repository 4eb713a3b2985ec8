"""What groups of spiking cells have in common: trials of images, counts of spikes, and who is whose input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biomodel.circuit.lattice import Grid

#: Declared by every group whose spikes are counted.
COUNT_EQUATION = "count : 1\n"


@dataclass(frozen=True)
class Trials:
    """Cells of `trials` repeats of the images of a grid, repeat after repeat; spikes count from `start` to `stop` ms.

    They stand on `rows` and `columns` of the retina's pixels.
    """

    retina: Grid
    trials: int
    start: float
    stop: float
    rows: range
    columns: range

    @property
    def grid(self) -> Grid:
        """The lattices of all trials."""
        one = self.retina
        return Grid(one.images * self.trials, len(self.rows), len(self.columns), one.pixels_per_degree)

    @property
    def same_place(self) -> np.ndarray | None:
        """Of each cell, the cell of the retina, which all trials share, at the same place; None where each has its own."""
        one = self.retina
        if self.grid == one:
            return None
        places = np.arange(one.cells).reshape(one.images, one.height, one.width)
        return np.tile(
            places[:, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop].ravel(), self.trials
        )

    @property
    def count(self) -> str:
        """The statement that counts a spike."""
        return f"count += int(t > {self.start!r}*ms)*int(t < {self.stop!r}*ms)"
