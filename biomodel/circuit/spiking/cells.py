"""What groups of spiking cells share: trials of images, spike counts, and inputs from the retina."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biomodel.circuit.lattice import Grid

#: Declarations in every group whose spikes are counted, between two times that are set before each run.
COUNT_EQUATIONS = "count : 1\ncount_start : second (shared, constant)\ncount_stop : second (shared, constant)\n"

#: Reset statement that counts a spike.
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
        return Grid(self.retina.images * self.trials, len(self.rows), len(self.columns), self.retina.pixels_per_degree)

    @property
    def same_place(self) -> np.ndarray | None:
        """Index of the retina's cell at each cell's place; None where the lattices are equal. All trials share one retina."""
        retina = self.retina
        if self.grid == retina:
            return None
        places = np.arange(retina.cells).reshape(retina.images, retina.height, retina.width)
        return np.tile(
            places[:, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop].ravel(), self.trials
        )
