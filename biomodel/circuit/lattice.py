"""Retinotopic lattices: grids of cells, stencils and links between cells.

Every station has one cell of each type per pixel, V1 one per second pixel. A network holds a batch of images that are not
connected. Its cells are numbered image by image, row by row.
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
        down, right : int
            Offset in cells.
        rows, columns : numpy.ndarray of int, optional
            The cells from which the offset counts; by default all.

        Returns
        -------
        numpy.ndarray of int32, (images · rows · columns,)
        """
        every_row, every_column = np.arange(self.height), np.arange(self.width)
        return self._flat(
            np.clip((every_row if rows is None else rows) + down, 0, self.height - 1),
            np.clip((every_column if columns is None else columns) + right, 0, self.width - 1),
        )

    def coarser(self, stride: int) -> tuple[Grid, np.ndarray, np.ndarray]:
        """A lattice with a cell for each square of `stride` by `stride` cells.

        Returns
        -------
        coarse : Grid
        middles : numpy.ndarray of int, (coarse cell,)
            Flat index of the cell in the middle of each square, or at the edge where a square is cut.
        squares : numpy.ndarray of int, (cell,)
            Flat index of the square that each cell is in.
        """
        sides = (self.height, self.width)
        height, width = (ceil(side / stride) for side in sides)
        coarse = Grid(self.images, height, width, self.pixels_per_degree / stride)
        middles = (
            np.minimum(stride * np.arange(number) + stride // 2, side - 1)
            for number, side in zip((height, width), sides, strict=True)
        )
        squares = coarse._flat(*(np.arange(side) // stride for side in sides))
        # Brian2 takes no other integers as the index of a linked variable.
        return coarse, self._flat(*middles).astype(int), squares.astype(int)

    def mirrored(self, down: int, right: int) -> np.ndarray:
        """As `neighbour`, with the lattice mirrored at its edges, so that no current flows across them."""
        return self._flat(
            mirrored_index(np.arange(self.height) + down, self.height),
            mirrored_index(np.arange(self.width) + right, self.width),
        )

    def _flat(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        cells = rows[:, None] * self.width + columns[None, :]
        firsts = np.arange(self.images) * (self.height * self.width)
        return (firsts[:, None] + cells.ravel()[None, :]).ravel().astype(np.int32)


def near_middle(places: np.ndarray, pixels: int, pixels_per_degree: float, within: float | None) -> np.ndarray:
    """The pixel rows (or columns) no farther than `within` degrees from the middle.

    Parameters
    ----------
    places : numpy.ndarray of int
        Rows (or columns) to choose from.
    pixels : int
        Number of rows (or columns) of the image.
    pixels_per_degree : float
    within : float or None
        None keeps all places.
    """
    return places if within is None else places[np.abs(places - (pixels - 1) / 2) / pixels_per_degree <= within]


def mirrored_index(index: np.ndarray, size: int) -> np.ndarray:
    """Indices reflected at half-sample mirrors: … 1 0 | 0 1 … n-1 | n-1 n-2 …"""
    folded = np.mod(index, 2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def gaussian_weights(sigma: float, mass: float = 0.99) -> np.ndarray:
    """One side of a normalised Gaussian on the lattice: weights at 0, 1, 2, … cells.

    Parameters
    ----------
    sigma : float
        Standard deviation in cells.
    mass : float
        The stencil is cut where it holds this share of the Gaussian.

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
    """Stencil of a Gaussian centre that falls to 1/e at `radius` degrees; one pixel if that is less than half a pixel."""
    cells = radius * pixels_per_degree
    return gaussian_weights(cells / sqrt(2)) if cells >= 0.5 else np.ones(1)


def pool(values: np.ndarray, one_side: np.ndarray, axis: int) -> np.ndarray:
    """Values filtered by a symmetric stencil along one axis, edges replicated.

    Parameters
    ----------
    values : numpy.ndarray
    one_side : numpy.ndarray
        Weights at 0, 1, 2, … cells, as from `gaussian_weights`.
    axis : int
    """
    return ndimage.correlate1d(values, np.concatenate([one_side[:0:-1], one_side]), axis=axis, mode="nearest")


#: Rows down and columns to the right.
Offset: TypeAlias = tuple[int, int]

#: A variable at an offset, with its weight in a sum.
Term: TypeAlias = tuple[float, str, Offset]


class Links:
    """Variables that a group reads from cells at offsets: linked variables in Brian2's equation language.

    All variables at one offset share one index variable: reading a private index for each would take longer than reading them.

    Parameters
    ----------
    unit : str
        Of the variables.
    reads : iterable of (variable, offset)
        Duplicates are ignored.
    index : str
        Prefix of the index variables; a group with two sets of links needs two prefixes.
    """

    def __init__(self, unit: str, reads: Iterable[tuple[str, Offset]], index: str = "index") -> None:
        self._index = index
        self._reads = list(dict.fromkeys(reads))
        self._offsets = list(dict.fromkeys(offset for _, offset in self._reads))
        #: Declarations for the reading group.
        self.equations = "".join(f"{self.name(*read)} : {unit} (linked)\n" for read in self._reads) + "".join(
            f"{index}{_suffix(offset)} : integer (constant)\n" for offset in self._offsets
        )

    @staticmethod
    def name(variable: str, offset: Offset) -> str:
        """Name of a variable at an offset in the reading group."""
        return variable + _suffix(offset)

    def weighted_sum(self, terms: Iterable[Term]) -> str:
        """Expression of the weighted sum of variables at offsets."""
        return " + ".join(f"{weight!r}*{self.name(variable, offset)}" for weight, variable, offset in terms)

    def link(
        self,
        group: NeuronGroup,
        source: NeuronGroup | Mapping[str, NeuronGroup],
        index: Callable[[int, int], np.ndarray],
    ) -> None:
        """Link the declared variables of `group` to their sources.

        Parameters
        ----------
        group : NeuronGroup
            The reading group.
        source : NeuronGroup, or mapping of variable to NeuronGroup
            One source for all variables, or one for each, on equal lattices.
        index : callable
            Returns the source cells at an offset, (down, right).
        """
        for offset in self._offsets:
            setattr(group, f"{self._index}{_suffix(offset)}", index(*offset))
        for variable, offset in self._reads:
            name = f"{self._index}{_suffix(offset)}"
            read = source[variable] if isinstance(source, Mapping) else source
            setattr(group, self.name(variable, offset), linked_var(read, variable, index=name))


def _suffix(offset: Offset) -> str:
    down, right = (f"m{-steps}" if steps < 0 else f"{steps}" for steps in offset)
    return f"_at_{down}_{right}"


def stencil(variable: str, one_side: np.ndarray, along: Literal["row", "column"]) -> list[Term]:
    """Terms of a symmetric weighted sum of a variable along a row or a column.

    Parameters
    ----------
    variable : str
    one_side : numpy.ndarray
        Weights at 0, 1, 2, … cells, as from `gaussian_weights`.
    along : {"row", "column"}
    """
    steps = range(1 - len(one_side), len(one_side))
    return [(float(one_side[abs(k)]), variable, (0, k) if along == "row" else (k, 0)) for k in steps]
