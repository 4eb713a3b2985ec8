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
from brian2 import NeuronGroup, Quantity, Synapses

from biomodel import lgn
from biomodel.parameters import Parameters
from biomodel.station import Readout, State, Station
from biomodel.wiring import Afferents, Grid, rows_of_relay_cells

ORIENTATIONS = tuple(22.5 * k for k in range(8))
PHASES = (0.0, 90.0)

#: V1 stands on every second column and row of the lattice.
STRIDE = 2

SIMPLE_EQUATIONS = """
excited = spontaneous + gain*(drive_on + drive_off - resting_drive) : Hz
dsimple/dt = (excited*int(excited > 0*Hz) - simple)/membrane_time : Hz
drive_on : Hz
drive_off : Hz
resting_drive : Hz (constant)
"""


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


def v1(parameters: Parameters, grid: Grid, dt: Quantity, relay: Station) -> Station:
    """Simple cells of every kind at every second pixel; cells are numbered image, kind, row, column; rate in Hz."""
    cells = population(parameters, grid.pixels_per_degree)
    rows, columns = lattice(grid.height), lattice(grid.width)
    kinds, places = len(cells), len(rows) * len(columns)
    group = NeuronGroup(
        grid.images * kinds * places,
        SIMPLE_EQUATIONS,
        method="exponential_euler",
        dt=dt,
        order=7,
        name="v1",
        namespace=parameters.quantities("v1"),
    )
    synapses = []
    for channel, on in _CHANNELS:
        pre, post, weight = [], [], []
        for kind, cell in enumerate(cells):
            a = cell.afferents
            chosen = a.on == on
            down = np.clip(rows[:, None, None] + a.down[chosen], 0, grid.height - 1)
            right = np.clip(columns[None, :, None] + a.right[chosen], 0, grid.width - 1)
            source = (down * grid.width + right).reshape(places, -1)
            target = np.broadcast_to(kind * places + np.arange(places)[:, None], source.shape)
            pre.append(source.ravel())
            post.append(target.ravel())
            weight.append(np.broadcast_to(a.weight[chosen], source.shape).ravel())
        one_pre, one_post, one_weight = (np.concatenate(x) for x in (pre, post, weight))
        order = np.argsort(one_post, kind="stable")
        image = np.arange(grid.images)[:, None]
        drive = f"drive_{channel.removeprefix('midget_')}"
        synapse = Synapses(
            relay.group,
            group,
            f"weight : 1 (constant)\n{drive}_post = weight*{channel}_pre : Hz (summed)",
            dt=dt,
            order=6,
            name=f"{channel}_to_v1",
        )
        synapse.connect(
            i=(one_pre[order] + image * grid.height * grid.width).ravel(),
            j=(one_post[order] + image * kinds * places).ravel(),
        )
        synapse.weight = np.tile(one_weight[order], grid.images)
        synapses.append(synapse)
    return Station(group, tuple(synapses))


def readout(parameters: Parameters, pixels_per_degree: float) -> Readout:
    """Every kind of simple cell is a channel."""
    return Readout("Hz", {cell.label: "simple" for cell in population(parameters, pixels_per_degree)})


def lattice(pixels: int) -> np.ndarray:
    """The pixel rows (or columns) on which V1 stands."""
    return np.arange(0, pixels, STRIDE)


def settled(parameters: Parameters, grid: Grid, images: int) -> State:
    """The state in which V1 rests; arrays are (image, kind, row, column)."""
    rates = lgn.maintained(parameters)
    resting = [
        sum(float(c.afferents.weight[c.afferents.on == on].sum()) * rates[name] for name, on in _CHANNELS)
        for c in population(parameters, grid.pixels_per_degree)
    ]
    shape = (images, len(resting), len(lattice(grid.height)), len(lattice(grid.width)))
    resting_drive = np.broadcast_to(np.array(resting)[None, :, None, None], shape)
    return {
        "v1.simple": np.full(shape, parameters.value("v1.spontaneous")),
        "v1.resting_drive": np.ascontiguousarray(resting_drive),
    }


_CHANNELS = (("midget_on", True), ("midget_off", False))
