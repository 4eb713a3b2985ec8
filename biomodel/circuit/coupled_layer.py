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
                f"dt is too long for a coupled layer of space constant {space_constant:g} cells: choose a shorter dt"
            )
        hops = (*hops, 3 * hops[-1])


def coupling_and_clock(space_constant: float, time: Quantity, step: Quantity, every: int) -> tuple[Coupling, Quantity]:
    """A layer's coupling, and its clock: `step`, every `every` steps of the circuit, or half of it as often as has to be.

    On fine lattices a layer whose cells are slow to tick cannot be stable: it then ticks more often than they do.

    Raises
    ------
    InputError
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
