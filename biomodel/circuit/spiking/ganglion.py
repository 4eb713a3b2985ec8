r"""Spiking ganglion cells: noisy leaky integrators, driven by the excitation of the rate model.

With f the rate without refractoriness and ρ the recovery time of `biomodel.circuit.retina`, in units of the threshold (Wohrer &
Kornprobst 2009),

.. math:: \tau \dot v = \mathrm{bias} + f \tau - v + \sigma \sqrt{2 \tau}\, \xi .

At v = 1 a cell fires, is reset to 0 and is refractory for ρ. Far above threshold, a leaky integrator of current I without noise
fires at :math:`1 / (\rho + \tau / (I - 1/2))`. With a bias of one half it therefore fires at f / (1 + ρ f), as at rate
fidelity; noise extends this to rates below 10 Hz. The threshold replaces the rectification of the rate model.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, linked_var

from biomodel.circuit import retina
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import Setting, State

#: Added to each channel's excitation in the input group.
CURRENT_EQUATIONS = """
{channel}_current : 1
"""

CURRENT = """
{channel}_current = bias + clip({channel}_free, -1/{recovery}, 100/{recovery})*leak_time
"""

EQUATIONS = f"""
dv/dt = (current - v)/leak_time + noise*sqrt(2/(leak_time*dt))*{UNIT_NOISE} : 1 (unless refractory)
current : 1 (linked)
{SEED_EQUATION}
"""


def inputs(setting: Setting, bipolars: NeuronGroup, contrast: NeuronGroup, remote: NeuronGroup) -> NeuronGroup:
    """Excitation of ganglion cells, the currents that it drives and rates without noise: the same in every trial of an image.

    Parameters
    ----------
    setting : Setting
    bipolars, contrast, remote : NeuronGroup
        As in `biomodel.circuit.retina.ganglion`.
    """
    group = retina.ganglion(
        setting, bipolars, contrast, remote, retina.RATE_EQUATIONS + CURRENT_EQUATIONS, "ganglion_input"
    )
    statements = "".join(
        CURRENT.format(channel=channel, recovery=f"{cell_class(channel)}_recovery_time")
        for channel in GANGLION_CHANNELS
    )
    group.run_regularly(statements, dt=setting.dt, when="groups", order=6, name="ganglion_currents")
    return group


def ganglion(setting: Setting, trials: Trials, inputs: NeuronGroup) -> dict[str, NeuronGroup]:
    """Spiking ganglion cells, one group per channel."""
    parameters, _, _, dt = setting
    namespace = parameters.quantities("ganglion") | {"unit_noise": unit_noise}
    groups = {}
    for channel in GANGLION_CHANNELS:
        group = NeuronGroup(
            trials.grid.cells,
            EQUATIONS + COUNT_EQUATIONS,
            threshold="v >= 1",
            reset=f"v = 0; {COUNT}",
            refractory=namespace[f"{cell_class(channel)}_recovery_time"],
            method="euler",
            dt=dt,
            order=7,
            name=f"ganglion_{channel}",
            namespace=namespace,
        )
        group.current = linked_var(inputs, f"{channel}_current", index=trials.same_place)
        groups[group.name] = group
    return groups


def initial_state(steady: State, trials: Trials, random: np.random.Generator) -> State:
    """An initial state: the input group in the `steady` state of the rate model, membranes at random below threshold.

    Arrays of spiking cells are (trial · image, y, x).
    """
    grid = trials.grid
    shape = (grid.images, grid.height, grid.width)
    inputs = {
        name.replace("ganglion.", "ganglion_input."): values
        for name, values in steady.items()
        if name.startswith("ganglion.")
    }
    return inputs | {f"ganglion_{channel}.v": random.uniform(0, 1, shape) for channel in GANGLION_CHANNELS}
