"""Layers of electrically coupled cells, and their steady state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var, ms
from scipy import sparse
from scipy.sparse import linalg

from biomodel.circuit.lattice import Grid, Links
from biomodel.utils.errors import InputError


@dataclass(frozen=True)
class Coupling:
    """Electrical coupling of a layer: the same conductance, relative to the leak, to the four cells at each hop.

    A sheet with space constant λ (in cells) has ``λ² = Σ strength · hop²`` for patterns that are coarse against the longest hop.
    """

    hops: tuple[int, ...]
    strength: float

    @property
    def space_constant(self) -> float:
        """λ in cells."""
        return sqrt(sum(hop**2 for hop in self.hops) * self.strength)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Rows down and columns to the right of each coupled cell."""
        return [(hop * down, hop * right) for hop in self.hops for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]


@dataclass(frozen=True)
class Layer:
    """A layer of coupled cells that pools a signal: ``τ ṗ = drive - p + Σ strength (p_j - p)``.

    Attributes
    ----------
    name : str
        Of its Brian2 group.
    unit : str
        Of the signal.
    coupling : Coupling
    time : brian2.Quantity
        Membrane time constant τ.
    dt : brian2.Quantity
        Integration step.
    order : int
        Its place in a step, as Brian2's `order`.
    """

    name: str
    unit: str
    coupling: Coupling
    time: Quantity
    dt: Quantity
    order: int


#: Couplings are chosen for steps up to this one, so that a shorter step integrates the same lattice.
LATTICE_STEP = 0.5 * ms


def stability_limit(time: Quantity, step: Quantity, every: int = 1) -> float:
    """Largest total coupling for which a forward Euler step is stable, with a margin of a tenth.

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
    """The coupling with the fewest hops (1, 3, 9, …) for which a forward Euler step of the layer is stable.

    Parameters
    ----------
    space_constant : float
        λ in cells.
    stability_limit : float
        Largest admissible ``8 Σ strength``: the fastest mode's decay rate, in units of the leak's.

    Raises
    ------
    InputError
        Where no set of hops is stable: the step is too long.
    """
    hops: tuple[int, ...] = (1,)
    while True:
        found = Coupling(hops, space_constant**2 / sum(hop**2 for hop in hops))
        if 8 * len(hops) * found.strength <= stability_limit:
            return found
        if hops[-1] > space_constant:
            raise InputError(
                f"dt must be shorter for a coupled layer of space constant {space_constant:g} cells: its step is not stable"
            )
        hops = (*hops, 3 * hops[-1])


def coupling_and_clock(space_constant: float, time: Quantity, step: Quantity, every: int) -> tuple[Coupling, Quantity]:
    """A layer's coupling and the longest step at which it is stable: `step`, or half of it, a quarter, …

    On fine lattices a layer may need shorter steps than the cells that it pools.

    Parameters
    ----------
    space_constant : float
        λ in cells.
    time : brian2.Quantity
        The layer's time constant.
    step : brian2.Quantity
        The longest step, `every` steps of the circuit.
    every : int

    Raises
    ------
    InputError
        Where not even the circuit's own step is stable.
    """
    while every > 1:
        try:
            return coupling(space_constant, stability_limit(time, step, every)), step
        except InputError:
            step, every = step / 2, every // 2
    return coupling(space_constant, stability_limit(time, step, every)), step


#: A function that makes a layer from its description, the group and variable that it pools, and its lattice.
MakeLayer: TypeAlias = Callable[[Layer, NeuronGroup, str, Grid], NeuronGroup]


def coupled_layer(
    layer: Layer, source: NeuronGroup, variable: str, grid: Grid, index: np.ndarray | None = None
) -> NeuronGroup:
    """The cells of a coupled layer. No current flows across the edges; the layer's variable is `pooled`.

    Parameters
    ----------
    layer : Layer
        With a coupling for which a forward Euler step is stable, as `coupling` returns it.
    source : NeuronGroup
        Cells that the layer pools.
    variable : str
        The pooled variable of `source`.
    grid : Grid
        The layer's own lattice.
    index : numpy.ndarray of int, (cell,), optional
        The cell of `source` that each of the layer's cells reads; by default there is one for each.
    """
    strength, offsets = layer.coupling.strength, layer.coupling.offsets
    links = Links(layer.unit, [("previous", offset) for offset in offsets])
    inflow = f"{strength!r}*({links.weighted_sum((1.0, 'previous', o) for o in offsets)} - {len(offsets)}*previous)"
    group = NeuronGroup(
        grid.cells,
        f"dpooled/dt = (drive - pooled + {inflow})/time : {layer.unit}\n"
        f"drive : {layer.unit} (linked)\nprevious : {layer.unit}\n" + links.equations,
        method="euler",
        dt=layer.dt,
        order=layer.order,
        name=layer.name,
        namespace={"time": layer.time},
    )
    links.link(group, group, grid.mirrored)
    # A group that reads its own variable would mix old values with new ones.
    group.run_regularly("previous = pooled", dt=layer.dt, when="start", name=f"{layer.name}_copy")
    group.drive = linked_var(source, variable, index=index)
    return group


def solve_coupled_layer(layer: Coupling, leak: float, drive: np.ndarray) -> np.ndarray:
    """The steady state of a coupled layer: ``leak · h - Σ strength (neighbours - 4 h) = drive``.

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
