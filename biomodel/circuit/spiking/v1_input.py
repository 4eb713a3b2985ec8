r"""The input of V1 with spikes: terminals of the relay cells' axons, with synapses that depress.

A spike of a relay cell arrives after the conduction time. Its synapses release a share U of their resources x, and s, their
rate of transmission, grows by :math:`x / x_0 \tau_s` and decays with :math:`\tau_s`; meanwhile x recovers with
:math:`\tau_{rec}`. U, x₀ and the times are those of the rate model (`biomodel.circuit.v1_input`).

The response is s of each trial, in Hz of a synapse at rest, as at rate fidelity: a graded rate, not a count. Its mean over
trials is comparable with the rate model's, and at maintained rates it is about the maintained rate.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Synapses

from biomodel.circuit import lgn
from biomodel.circuit import v1_input as rate_form
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking.cells import Trials
from biomodel.circuit.station import Setting, State, connect_one_to_one

EQUATIONS = """
dresource/dt = (1 - resource)/recovery_time : 1
dsent_{channel}/dt = -sent_{channel}/synaptic_time : Hz
"""

#: Effect of a spike at a terminal, with and without depression.
RELEASE = """
sent_{channel}_post += resource_post/({rested!r}*synaptic_time)
resource_post = resource_post*(1 - {release})
"""
UNDEPRESSED = "sent_{channel}_post += 1/synaptic_time"


def v1_input(
    setting: Setting, trials: Trials, relays: dict[str, NeuronGroup | Synapses]
) -> dict[str, NeuronGroup | Synapses]:
    """Terminals of the relay cells' axons: one group per channel, and the synapses that bring its spikes.

    `relays` has the groups "lgn_midget_on" and so on.
    """
    parameters, lesions, _, dt = setting
    namespace = parameters.quantities("v1")
    rested = rate_form.resting_resources(parameters)
    groups: dict[str, NeuronGroup | Synapses] = {}
    for channel in GANGLION_CHANNELS:
        group = NeuronGroup(
            trials.grid.cells,
            EQUATIONS.format(channel=channel),
            method="euler",
            dt=dt,
            order=10,
            name=f"v1_input_{channel}",
            namespace=namespace,
        )
        released = (UNDEPRESSED if "thalamocortical_depression" in lesions else RELEASE).format(
            channel=channel, rested=rested[channel], release=rate_form.release(channel)
        )
        synapses = Synapses(
            relays[f"lgn_{channel}"],
            group,
            on_pre=released,
            delay=namespace["conduction_time"],
            dt=dt,
            name=f"axons_{channel}",
            namespace=namespace,
        )
        connect_one_to_one(synapses)
        groups |= {group.name: group, synapses.name: synapses}
    return groups


def initial_state(setting: Setting, trials: Trials) -> State:
    """An initial state: transmission at its mean and resources at rest. Arrays are (trial · image, y, x)."""
    parameters, grid = setting.parameters, trials.grid
    full = np.ones((grid.images, grid.height, grid.width))
    rested = rate_form.resting_resources(parameters)
    state: State = {}
    for channel, rate in lgn.maintained(parameters).items():
        state[f"v1_input_{channel}.sent_{channel}"] = full * rate
        state[f"v1_input_{channel}.resource"] = full * rested[channel]
    return state
