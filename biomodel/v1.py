r"""Simple cells of V1 at rate fidelity, built from rows of ON and OFF relay cells (Hubel & Wiesel 1962).

Sixteen kinds, 8 preferred orientations × 2 phases, stand on every second pixel column and row. A cell of kind k sums
its relay cells with the positive weights of `biomodel.wiring.rows_of_relay_cells`,

.. math:: \tau \dot s = [s_0 + G (\sum_j w_j l_j - \sum_j w_j \bar l_j)]_+ - s ,

where l̄ are the maintained rates: tonic inhibition balances what the relay cells send at rest, and the cell is left with
its spontaneous rate s₀.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import NeuronGroup, Quantity

from biomodel import lgn
from biomodel.parameters import Parameters
from biomodel.station import Readout, State
from biomodel.wiring import Afferents, Grid, Links, Offset, rows_of_relay_cells

ORIENTATIONS = tuple(22.5 * k for k in range(8))
PHASES = (0.0, 90.0)

#: V1 stands on every second column and row of the lattice.
STRIDE = 2

#: One kind of simple cell, of all V1 cell columns.
SIMPLE_EQUATIONS = """
d{simple}/dt = ({excited}*int({excited} > 0*Hz) - {simple})/membrane_time : Hz
{excited} : Hz
"""

SIMPLE_DRIVE = "{excited} = spontaneous + gain*({drive} - {resting_drive!r}*Hz)"


@dataclass(frozen=True)
class SimpleCell:
    """One kind of simple cell: its label, its preference in degrees, its afferents."""

    label: str
    orientation: float
    phase: float
    afferents: Afferents


def population(parameters: Parameters, pixels_per_degree: float) -> list[SimpleCell]:
    """The kinds of simple cells, in the order of the response's channels."""
    frequency = parameters.value("v1.spatial_frequency")
    return [
        SimpleCell(
            f"simple_{orientation:g}_{phase:g}",
            orientation,
            phase,
            rows_of_relay_cells(
                orientation,
                phase,
                frequency,
                parameters.value("v1.cycles_across") / frequency,
                parameters.value("v1.cycles_along") / frequency,
                parameters.value("v1.afferent_spacing"),
                pixels_per_degree,
            ),
        )
        for orientation in ORIENTATIONS
        for phase in PHASES
    ]


def v1(parameters: Parameters, grid: Grid, dt: Quantity, relay: NeuronGroup) -> NeuronGroup:
    """A cell column at every second pixel, with one simple cell of every kind: variables simple_0, simple_1, …, in Hz."""
    cells = population(parameters, grid.pixels_per_degree)
    links = Links("Hz", [(variable, offset) for cell in cells for _, variable, offset in _terms(cell)])
    names = [{"simple": variable(kind), "excited": f"excited_{kind}"} for kind in range(len(cells))]
    group = NeuronGroup(
        len(grid.neighbour(0, 0, STRIDE)),
        "".join(SIMPLE_EQUATIONS.format(**name) for name in names) + links.equations,
        method="exponential_euler",
        dt=dt,
        order=10,
        name="v1",
        namespace=parameters.quantities("v1"),
    )
    links.link(group, relay, lambda down, right: grid.neighbour(down, right, STRIDE))
    drives = [
        SIMPLE_DRIVE.format(
            **name, drive=links.weighted_sum(_terms(cell)), resting_drive=resting_drive(cell, parameters)
        )
        for name, cell in zip(names, cells, strict=True)
    ]
    group.run_regularly("\n".join(drives), dt=dt, when="groups", order=9, name="v1_drive")
    return group


def variable(kind: int) -> str:
    """What the network calls the response of a kind of simple cell."""
    return f"simple_{kind}"


def _terms(cell: SimpleCell) -> list[tuple[float, str, Offset]]:
    """Weight, relay channel and offset of every afferent."""
    a = cell.afferents
    return [
        (weight, "midget_on" if on else "midget_off", (down, right))
        for weight, on, down, right in zip(
            a.weight.tolist(), a.on.tolist(), a.down.tolist(), a.right.tolist(), strict=True
        )
    ]


def resting_drive(cell: SimpleCell, parameters: Parameters) -> float:
    """What the relay cells send at rest, Hz."""
    rates = lgn.maintained(parameters)
    return sum(weight * rates[channel] for weight, channel, _ in _terms(cell))


def readout(parameters: Parameters, pixels_per_degree: float) -> Readout:
    """Every kind of simple cell is a channel."""
    cells = population(parameters, pixels_per_degree)
    return Readout("Hz", {cell.label: variable(kind) for kind, cell in enumerate(cells)})


def lattice(pixels: int) -> np.ndarray:
    """The pixel rows (or columns) on which V1 stands."""
    return np.arange(0, pixels, STRIDE)


def settled(parameters: Parameters, grid: Grid, images: int) -> State:
    """The state in which V1 rests; arrays are (image, row, column)."""
    shape = (images, len(lattice(grid.height)), len(lattice(grid.width)))
    rest = np.full(shape, parameters.value("v1.spontaneous"))
    return {f"v1.{variable(kind)}": rest for kind in range(len(population(parameters, grid.pixels_per_degree)))}
