"""Retinotopic grids, stencils and index lists: who is connected to whom.

Every station stands on a lattice of one cell column a pixel. A network holds a batch of images that never touch; its
cells are numbered image by image, row by row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal, TypeAlias

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var, ms
from scipy import ndimage, sparse
from scipy.sparse import linalg


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


@dataclass(frozen=True)
class Coupling:
    """Electrical coupling of a layer: the same conductance, relative to the leak, to the four cells at each hop.

    A sheet with space constant λ (in cells) has ``λ² = Σ strength · hop²`` for patterns long against the longest hop.
    """

    hops: tuple[int, ...]
    strength: float

    @property
    def space_constant(self) -> float:
        """λ in cells."""
        return sqrt(sum(hop**2 for hop in self.hops) * self.strength)


#: Lattices are laid for steps up to this one: a shorter step integrates the same lattice.
LATTICE_STEP = 0.5 * ms


def stability_limit(time: Quantity, step: Quantity, every: int = 1) -> float:
    """How much coupling a forward Euler step stands: below 2 it is stable, and a tenth is kept in hand.

    Parameters
    ----------
    time : brian2.Quantity
        The layer's time constant.
    step : brian2.Quantity
        Its step, `every` steps of the circuit.
    every : int
    """
    return 1.8 * float(time / max(step, every * LATTICE_STEP)) - 1


def coupling(space_constant: float, stability_limit: float) -> Coupling:
    """The fewest hops (1, 3, 9, …) with which a forward Euler step of the layer is stable.

    Parameters
    ----------
    space_constant : float
        λ in cells.
    stability_limit : float
        Largest admissible ``8 Σ strength``: the fastest mode's decay rate, in units of the leak's.

    Raises
    ------
    ValueError
        Where no set of hops is stable: the step is too long.
    """
    hops: tuple[int, ...] = (1,)
    while True:
        found = Coupling(hops, space_constant**2 / sum(hop**2 for hop in hops))
        if 8 * len(hops) * found.strength <= stability_limit:
            return found
        if hops[-1] > space_constant:
            raise ValueError(
                f"dt is too long for a coupled layer of space constant {space_constant:g} cells: choose a shorter dt"
            )
        hops = (*hops, 3 * hops[-1])


def coupling_and_clock(space_constant: float, time: Quantity, step: Quantity, every: int) -> tuple[Coupling, Quantity]:
    """A layer's coupling, and its clock: `step`, every `every` steps of the circuit, or half of it as often as has to be.

    On fine lattices a layer whose cells are slow to tick cannot be stable: it then ticks more often than they do.

    Raises
    ------
    ValueError
        Where not even the circuit's own step is stable.
    """
    while every > 1:
        try:
            return coupling(space_constant, stability_limit(time, step, every)), step
        except ValueError:
            step, every = step / 2, every // 2
    return coupling(space_constant, stability_limit(time, step, every)), step


#: Makes a layer that pools, as `coupled_layer` does.
MakeLayer: TypeAlias = Callable[[str, str, Coupling, Quantity, NeuronGroup, str, Grid, Quantity, int], NeuronGroup]


def coupled_layer(
    name: str,
    unit: str,
    layer: Coupling,
    time: Quantity,
    source: NeuronGroup,
    variable: str,
    grid: Grid,
    dt: Quantity,
    order: int,
) -> NeuronGroup:
    """A layer of coupled cells that pools a variable of the cells above it: ``τ ṗ = drive - p + Σ strength (p_j - p)``.

    No current flows across the edges. Its variable is called `pooled`.

    Parameters
    ----------
    name, unit : str
        Of the layer, and of what it pools.
    layer : Coupling
        Of which a forward Euler step must be stable; as `coupling` gives it.
    time : brian2.Quantity
        Membrane time constant.
    source, variable
        What it pools.
    """
    offsets = [(hop * d, hop * r) for hop in layer.hops for d, r in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    links = Links(unit, [("previous", offset) for offset in offsets])
    inflow = (
        f"{layer.strength!r}*({links.weighted_sum((1.0, 'previous', o) for o in offsets)} - {len(offsets)}*previous)"
    )
    group = NeuronGroup(
        grid.cells,
        f"dpooled/dt = (drive - pooled + {inflow})/time : {unit}\ndrive : {unit} (linked)\nprevious : {unit}\n"
        + links.equations,
        method="euler",
        dt=dt,
        order=order,
        name=name,
        namespace={"time": time},
    )
    links.link(group, group, grid.mirrored)
    # A group that reads its own variable would meet cells that have already moved on.
    group.run_regularly("previous = pooled", dt=dt, when="start", name=f"{name}_copy")
    group.drive = linked_var(source, variable)
    return group


def solve_coupled_layer(layer: Coupling, leak: float, drive: np.ndarray) -> np.ndarray:
    """The state at which a coupled layer rests: ``leak · h - Σ strength (neighbours - 4 h) = drive``.

    Parameters
    ----------
    layer : Coupling
    leak : float
        Restoring strength of each cell relative to the leak (1, plus any feedback loop gain).
    drive : numpy.ndarray, (image, y, x)

    Returns
    -------
    numpy.ndarray, (image, y, x)
    """
    solved = _factorised(layer, leak, drive.shape[1], drive.shape[2]).solve(drive.reshape(len(drive), -1).T)
    return np.ascontiguousarray(solved.T).reshape(drive.shape)


@functools.lru_cache(maxsize=8)
def _factorised(layer: Coupling, leak: float, height: int, width: int) -> linalg.SuperLU:
    grid = Grid(1, height, width, 1.0)
    here = np.arange(grid.cells)
    matrix = sparse.eye_array(grid.cells, format="csc") * leak
    for hop in layer.hops:
        for step in ((hop, 0), (-hop, 0), (0, hop), (0, -hop)):
            link = sparse.coo_array((np.ones(grid.cells), (here, grid.mirrored(*step))), shape=matrix.shape)
            matrix = matrix + layer.strength * (sparse.eye_array(grid.cells) - link).tocsc()
    return linalg.splu(sparse.csc_matrix(matrix))


@dataclass(frozen=True)
class Afferents:
    """The relay cells that converge on one kind of cortical cell.

    `down` and `right` are offsets in pixels from the cell's own position, `on` tells ON from OFF relay cells, `weight`
    is positive and sums to 1.
    """

    down: np.ndarray
    right: np.ndarray
    on: np.ndarray
    weight: np.ndarray


def rows_of_relay_cells(
    orientation: float,
    phase: float,
    frequency: float,
    sigma_across: float,
    sigma_along: float,
    spacing_across: float,
    spacing_along: float,
    pixels_per_degree: float,
    random: np.random.Generator,
) -> Afferents:
    """Rows of ON and OFF relay cells along the preferred orientation, weighted as a Gabor function.

    Rows stand every `spacing_across` degrees and relay cells every `spacing_along` degrees along them, out to two standard
    deviations, each anywhere within half a spacing of its place (evenly spaced ones would answer aliases of fine
    gratings), on the nearest pixel. With u across the rows and v along them, where the pixel is,
    ``w = exp(-u²/2σ_u² - v²/2σ_v²) cos(2π f u + phase)``; where w > 0 the relay cell is ON, where w < 0 OFF, and
    those with less than 5 % of the largest weight are left out (Hubel & Wiesel 1962; Jones & Palmer 1987).

    Parameters
    ----------
    orientation : float
        Degrees anticlockwise from horizontal, as seen on a screen: the direction of the rows.
    phase : float
        Degrees; 0 is an ON row through the middle, 90 an ON row beside an OFF row.
    frequency, sigma_across, sigma_along, spacing_across, spacing_along : float
        c/deg, else deg.
    pixels_per_degree : float
    random : numpy.random.Generator
    """
    steps_across, steps_along = (
        np.arange(-ceil(2 * sigma / spacing), ceil(2 * sigma / spacing) + 1) * spacing
        for sigma, spacing in ((sigma_across, spacing_across), (sigma_along, spacing_along))
    )
    u, v = (a.ravel() for a in np.meshgrid(steps_across, steps_along, indexing="ij"))
    # One stands in the middle.
    u = np.append(u + spacing_across * random.uniform(-0.5, 0.5, u.shape), 0)
    v = np.append(v + spacing_along * random.uniform(-0.5, 0.5, v.shape), 0)
    angle = np.deg2rad(orientation)
    # y grows downwards, so a row along `orientation` runs (cos, -sin) and u points to its right-hand side.
    right = np.rint((v * np.cos(angle) + u * np.sin(angle)) * pixels_per_degree).astype(int)
    down = np.rint((-v * np.sin(angle) + u * np.cos(angle)) * pixels_per_degree).astype(int)
    down, right = np.unique(np.stack([down, right]), axis=1)
    u = (right * np.sin(angle) + down * np.cos(angle)) / pixels_per_degree
    v = (right * np.cos(angle) - down * np.sin(angle)) / pixels_per_degree
    weight = np.exp(-(u**2) / (2 * sigma_across**2) - v**2 / (2 * sigma_along**2))
    weight = weight * np.cos(2 * np.pi * frequency * u + np.deg2rad(phase))
    inside = (u / sigma_across) ** 2 + (v / sigma_along) ** 2 <= 4.0
    kept = inside & (np.abs(weight) >= 0.05 * np.abs(weight).max())
    down, right, weight = down[kept], right[kept], weight[kept]
    return Afferents(down, right, weight > 0, np.abs(weight) / np.abs(weight).sum())


def field_radius(afferents: list[Afferents]) -> int:
    """Largest offset, in pixels, at which any of the afferents stands."""
    return int(max(max(np.abs(a.down).max(), np.abs(a.right).max()) for a in afferents))
