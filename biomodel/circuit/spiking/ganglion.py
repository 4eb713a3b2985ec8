r"""Ganglion cells that fire: noisy leaky integrators behind the rate form's excitation.

With e the excitation in Hz of `biomodel.circuit.retina`, in units of the threshold (Wohrer & Kornprobst 2009),

.. math::
    \tau \dot v = I(e) - v + \sigma \sqrt{2 \tau}\, \xi, \quad
    I(e) = \mathrm{bias} + \frac{e \tau}{1 - e\, t_{ref}} .

At v = 1 a cell fires, falls to 0 and is refractory for :math:`t_{ref}`. Far above threshold a leaky integrator without noise
fires at :math:`1 / (t_{ref} + \tau / (I - 1/2))`, so that with a bias of one half I is the current at which it fires e times a
second; noise carries that on to rates below 10 Hz. What the rate form rectifies, the threshold does here.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var

from biomodel.circuit import retina
from biomodel.circuit.lattice import Grid
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import State
from biomodel.parameters import Parameters

#: In the group of what excites ganglion cells, beside each channel's excitation.
CURRENT_EQUATIONS = """
{channel}_current : 1
"""

#: Where the current for a rate would grow without bounds it is held: at so many refractory times a second.
_HIGHEST = 0.8

CURRENT = """
{channel}_reached = clip({channel}_excited, -{highest!r}/refractory_time, {highest!r}/refractory_time)
{channel}_current = bias + {channel}_reached*leak_time/(1 - {channel}_reached*refractory_time*int({channel}_reached > 0*Hz))
"""

EQUATIONS = f"""
dv/dt = (current - v)/leak_time + noise*sqrt(2/(leak_time*dt))*{UNIT_NOISE} : 1 (unless refractory)
current : 1 (linked)
{SEED_EQUATION}
"""


def inputs(
    parameters: Parameters,
    lesions: Collection[str],
    grid: Grid,
    dt: Quantity,
    bipolars: NeuronGroup,
    contrast: NeuronGroup,
) -> NeuronGroup:
    """What excites ganglion cells and the currents that it drives, the same in every trial of an image."""
    group = retina.ganglion(parameters, lesions, grid, dt, bipolars, contrast, CURRENT_EQUATIONS, "ganglion_input")
    statements = "".join(CURRENT.format(channel=channel, highest=_HIGHEST) for channel in GANGLION_CHANNELS)
    group.run_regularly(statements, dt=dt, when="groups", order=6, name="ganglion_currents")
    return group


def ganglion(parameters: Parameters, trials: Trials, dt: Quantity, inputs: NeuronGroup) -> dict[str, NeuronGroup]:
    """Spiking ganglion cells, a group a channel."""
    namespace = parameters.quantities("ganglion") | {"unit_noise": unit_noise}
    groups = {}
    for channel in GANGLION_CHANNELS:
        group = NeuronGroup(
            trials.grid.cells,
            EQUATIONS + COUNT_EQUATIONS,
            threshold="v >= 1",
            reset=f"v = 0; {COUNT}",
            refractory=namespace["refractory_time"],
            method="euler",
            dt=dt,
            order=7,
            name=f"ganglion_{channel}",
            namespace=namespace,
        )
        group.current = linked_var(inputs, f"{channel}_current", index=trials.same_place)
        groups[group.name] = group
    return groups


def initial_state(settled: State, trials: Trials, random: np.random.Generator) -> State:
    """A state to begin in: what excites the cells, `settled`, and their membranes anywhere below threshold.

    Arrays of what fires are (trial · image, y, x).
    """
    grid = trials.grid
    shape = (grid.images, grid.height, grid.width)
    lasting = {
        name.replace("ganglion.", "ganglion_input."): values
        for name, values in settled.items()
        if name.startswith("ganglion.") and name.endswith(("_lasting", "_input"))
    }
    return lasting | {f"ganglion_{channel}.v": random.uniform(0, 1, shape) for channel in GANGLION_CHANNELS}
