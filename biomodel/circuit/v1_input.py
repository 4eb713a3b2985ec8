r"""The input of V1 at rate fidelity: what the axons of relay cells deliver to layer 4, through synapses that depress.

Each axon has synapses at the place of its relay cell, which are depressed by use (Tsodyks & Markram 1997). A spike releases a
share U of their resources x, which opens the current a. With relay rates l,

.. math:: \tau_d \dot d = l - d, \quad \tau_{rec} \dot x = 1 - x - \tau_{rec} U d x, \quad \tau_E \dot a = d x / x_0 - a ,

with d the rate that arrives after conduction, and x₀ the resources that are left at the maintained rate m.

The response is a, in Hz of a synapse at rest: the rate at which spikes would deliver as much through a synapse that has the
resources x₀. In a static field it is m. At a constant rate l it becomes
:math:`l\, (1 + \tau_{rec} U m) / (1 + \tau_{rec} U l)`, which saturates at high rates. Parameters: U `v1.midget_release`,
`v1.parasol_release`; τ_d `v1.conduction_time`; τ_rec `v1.recovery_time`; τ_E `v1.synaptic_time`.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var

from biomodel.circuit import lgn
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.station import Readout, Setting, State
from biomodel.parameters import Parameters

EQUATIONS = """
darrived_{channel}/dt = (relay_{channel} - arrived_{channel})/conduction_time : Hz
dresource_{channel}/dt = (1 - resource_{channel})/recovery_time - {release}*arrived_{channel}*resource_{channel} : 1
dsent_{channel}/dt = ({sending} - sent_{channel})/synaptic_time : Hz
relay_{channel} : Hz (linked)
"""

#: At both fidelities; with spikes each channel is a group of its own.
V1_INPUT_READOUT = Readout("Hz", {channel: f"sent_{channel}" for channel in GANGLION_CHANNELS})


def v1_input(setting: Setting, clock: Quantity, relay: NeuronGroup) -> NeuronGroup:
    """Synapses of the relay in V1, one per relay cell and channel; `sent_…` is what they deliver, in Hz of a synapse at rest."""
    parameters, lesions, grid, _ = setting
    lesioned = "thalamocortical_depression" in lesions
    rested = resting_resources(parameters)
    group = NeuronGroup(
        grid.cells,
        "".join(
            EQUATIONS.format(
                channel=channel,
                release=release(channel),
                sending=f"arrived_{channel}" + ("" if lesioned else f"*resource_{channel}/{rested[channel]!r}"),
            )
            for channel in GANGLION_CHANNELS
        ),
        method="exponential_euler",
        dt=clock,
        order=9,
        name="v1_input",
        namespace=parameters.quantities("v1"),
    )
    for channel in GANGLION_CHANNELS:
        setattr(group, f"relay_{channel}", linked_var(relay, channel))
    return group


def resting_resources(parameters: Parameters) -> dict[str, float]:
    """Resources x₀ of each relay channel's synapses at its maintained rate."""
    time = parameters.value("v1.recovery_time") / 1000
    return {
        channel: 1 / (1 + parameters.value(f"v1.{release(channel)}") * time * rate)
        for channel, rate in lgn.maintained(parameters).items()
    }


def release(channel: str) -> str:
    """Name of the parameter with the share of resources that a relay channel's synapses release."""
    return f"{cell_class(channel)}_release"


def steady_state(parameters: Parameters, background: np.ndarray) -> State:
    """The steady state in a static field, as `biomodel.circuit.retina.steady_state`: synapses deliver the maintained rates."""
    shape = background.shape
    state = {f"v1_input.resource_{c}": np.full(shape, x) for c, x in resting_resources(parameters).items()}
    return state | {
        f"v1_input.{variable}_{channel}": np.full(shape, rate)
        for channel, rate in lgn.maintained(parameters).items()
        for variable in ("arrived", "sent")
    }
