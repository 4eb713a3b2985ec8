"""Retinotopic lattices: grids of cells, stencils and links between cells.

Every station has one cell column a pixel. A network holds a batch of images that are not connected; its cells are
numbered image by image, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal, TypeAlias

import numpy as np
from brian2 import NeuronGroup, linked_var
from scipy import ndimage


@dataclass(frozen=True)
class Grid:
    """A batch of `images` lattices, `height` × `width` cells each, at `pixels_per_degree` cells a degree."""

    images: int
    height: int
    width: int
    pixels_per_degree: float

    @property
    def cells(self) -> int:
        """Number of cells in the batch."""
        return self.images * self.height * self.width

    def neighbour(
        self, down: int, right: int, rows: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Flat index of the cell `down` rows below and `right` columns to the right; edges replicate.

        Parameters
        ----------
        rows, columns : numpy.ndarray of int, optional
            As seen from these; by default from all.

        Returns
        -------
        numpy.ndarray of int32, (images · rows · columns,)
        """
        every_row, every_column = np.arange(self.height), np.arange(self.width)
        return self._flat(
            np.clip((every_row if rows is None else rows) + down, 0, self.height - 1),
            np.clip((every_column if columns is None else columns) + right, 0, self.width - 1),
        )

    def mirrored(self, down: int, right: int) -> np.ndarray:
        """As `neighbour`, but the lattice is mirrored at its edges: no current flows across them."""
        return self._flat(
            mirrored_index(np.arange(self.height) + down, self.height),
            mirrored_index(np.arange(self.width) + right, self.width),
        )

    def _flat(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        one = rows[:, None] * self.width + columns[None, :]
        firsts = np.arange(self.images) * (self.height * self.width)
        return (firsts[:, None] + one.ravel()[None, :]).ravel().astype(np.int32)


def near_middle(places: np.ndarray, pixels: int, pixels_per_degree: float, within: float | None) -> np.ndarray:
    """Those of some pixel rows (or columns) that are no farther than `within` degrees from the middle of so many; or all."""
    return places if within is None else places[np.abs(places - (pixels - 1) / 2) / pixels_per_degree <= within]


def mirrored_index(index: np.ndarray, size: int) -> np.ndarray:
    """Indices folded back at half-sample mirrors: … 1 0 | 0 1 … n-1 | n-1 n-2 …"""
    folded = np.mod(index, 2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def gaussian_weights(sigma: float, mass: float = 0.99) -> np.ndarray:
    """One side of a normalised Gaussian on the lattice: weights at 0, 1, 2, … cells.

    Parameters
    ----------
    sigma : float
        Standard deviation in cells.
    mass : float
        The stencil is cut where it holds this share of the whole.

    Returns
    -------
    numpy.ndarray
        `w` with ``w[0] + 2 * w[1:].sum() == 1``.
    """
    if sigma == 0:
        return np.ones(1)
    distances = np.arange(ceil(6 * sigma) + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    held = (2 * np.cumsum(weights) - weights[0]) / (2 * weights.sum() - weights[0])
    weights = weights[: int(np.argmax(held >= mass)) + 1]
    return weights / (2 * weights.sum() - weights[0])


def centre_weights(radius: float, pixels_per_degree: float) -> np.ndarray:
    """Stencil of a Gaussian centre whose profile falls to 1/e at `radius` degrees; under half a pixel it is one pixel."""
    cells = radius * pixels_per_degree
    return gaussian_weights(cells / sqrt(2)) if cells >= 0.5 else np.ones(1)


def pool(values: np.ndarray, one_side: np.ndarray, axis: int) -> np.ndarray:
    """A symmetric stencil along one axis, edges replicated; `one_side` as from `gaussian_weights`."""
    return ndimage.correlate1d(values, np.concatenate([one_side[:0:-1], one_side]), axis=axis, mode="nearest")


#: Rows down and columns to the right.
Offset: TypeAlias = tuple[int, int]

#: A variable at an offset, with its weight in a sum.
Term: TypeAlias = tuple[float, str, Offset]


class Links:
    """What a group reads from cells some way off: linked variables in Brian2's equation language.

    All variables at one offset share one index variable: a private index for each would cost more to read than they do.

    Parameters
    ----------
    unit : str
        Of the variables.
    reads : iterable of (variable, offset)
        Each once or more often.
    index : str
        What index variables are called, before their offset; a group with two sets of links needs two names.
    """

    def __init__(self, unit: str, reads: Iterable[tuple[str, Offset]], index: str = "index") -> None:
        self._index = index
        self._reads = list(dict.fromkeys(reads))
        self._offsets = list(dict.fromkeys(offset for _, offset in self._reads))
        #: What the reading group has to declare.
        self.equations = "".join(f"{self.name(*read)} : {unit} (linked)\n" for read in self._reads) + "".join(
            f"{index}{_where(offset)} : integer (constant)\n" for offset in self._offsets
        )

    @staticmethod
    def name(variable: str, offset: Offset) -> str:
        """What the reading group calls a variable at an offset."""
        return variable + _where(offset)

    def weighted_sum(self, terms: Iterable[Term]) -> str:
        """An expression that sums variables at offsets, each with its weight."""
        return " + ".join(f"{weight!r}*{self.name(variable, offset)}" for weight, variable, offset in terms)

    def link(
        self,
        group: NeuronGroup,
        source: NeuronGroup | Mapping[str, NeuronGroup],
        index: Callable[[int, int], np.ndarray],
    ) -> None:
        """Link the declared variables of `group` to `source`, or to each one's own of several lattices that are alike.

        `index` gives the source cells of an offset.
        """
        for offset in self._offsets:
            setattr(group, f"{self._index}{_where(offset)}", index(*offset))
        for variable, offset in self._reads:
            name = f"{self._index}{_where(offset)}"
            one = source[variable] if isinstance(source, Mapping) else source
            setattr(group, self.name(variable, offset), linked_var(one, variable, index=name))


def _where(offset: Offset) -> str:
    down, right = (f"m{-steps}" if steps < 0 else f"{steps}" for steps in offset)
    return f"_at_{down}_{right}"


def stencil(variable: str, one_side: np.ndarray, along: Literal["row", "column"]) -> list[Term]:
    """A symmetric weighted sum of a variable over the cells before and after, in one direction, as terms of `Links`.

    Parameters
    ----------
    one_side : numpy.ndarray
        Weights at 0, 1, 2, … cells, as from `gaussian_weights`.
    """
    steps = range(1 - len(one_side), len(one_side))
    return [(float(one_side[abs(k)]), variable, (0, k) if along == "row" else (k, 0)) for k in steps]
