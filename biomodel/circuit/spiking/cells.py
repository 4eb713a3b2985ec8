"""What groups of spiking cells have in common: trials of images, counts of spikes, and who is whose input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biomodel.circuit.lattice import Grid

#: Declared by every group whose spikes are counted: a spike counts between two times that are set before each run.
COUNT_EQUATIONS = "count : 1\ncount_start : second (shared, constant)\ncount_stop : second (shared, constant)\n"

#: The statement that counts a spike.
COUNT = "count += int(t > count_start)*int(t < count_stop)"


@dataclass(frozen=True)
class Trials:
    """Spiking cells in `trials` trials of the images of a grid, trial after trial, on `rows` and `columns` of its pixels."""

    retina: Grid
    trials: int
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
