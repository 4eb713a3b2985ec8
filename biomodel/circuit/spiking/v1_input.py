r"""The input of V1 with spikes: terminals of the relay cells' axons, with synapses that depress.

A spike of a relay cell arrives after the conduction time. Its synapses release a share U of their resources x, and s, their
rate of transmission, grows by :math:`x / f x_0 \tau_s` and decays with :math:`\tau_s`; meanwhile x recovers with
:math:`\tau_{rec}`. U, x₀, the contrast adaptation f and the times are those of the rate model
(`biomodel.circuit.v1_input`). As there, f has no effect on the maintained rate: s decays to :math:`m (1 - 1 / f)`, because the
inhibition that balances maintained transmission weakens with it.

The response is s of each trial, in Hz of a synapse at rest, as at rate fidelity: a graded rate, not a count. Its mean over
trials is comparable with the rate model's, and at maintained rates it is about the maintained rate.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Synapses, linked_var

from biomodel.adaptation import Fields
from biomodel.circuit import lgn
from biomodel.circuit import v1_input as rate_form
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.spiking.cells import Trials
from biomodel.circuit.station import Setting, State, connect_one_to_one

EQUATIONS = """
dresource/dt = (1 - resource)/recovery_time : 1
dsent_{channel}/dt = ({rest} - sent_{channel})/synaptic_time : Hz
"""

#: Effect of a spike at a terminal, with and without depression.
RELEASE = """
sent_{channel}_post += resource_post/({rested!r}*synaptic_time{loss})
resource_post = resource_post*(1 - {release})
"""
UNDEPRESSED = "sent_{channel}_post += 1/(synaptic_time{loss})"


def v1_input(
    setting: Setting, trials: Trials, relays: dict[str, NeuronGroup | Synapses]
) -> dict[str, NeuronGroup | Synapses]:
    """Terminals of the relay cells' axons: one group per channel, and the synapses that bring its spikes.

    `relays` has the groups "lgn_midget_on" and so on, and the interneurons of each class.
    """
    parameters, lesions, _, dt = setting
    namespace = parameters.quantities("v1")
    rested, maintained = rate_form.resting_resources(parameters), lgn.maintained(parameters)
    unadapted = rate_form.ADAPTATION_LESION in lesions
    groups: dict[str, NeuronGroup | Synapses] = {}
    for channel in GANGLION_CHANNELS:
        name = cell_class(channel)
        rest = "0*Hz" if unadapted else f"{maintained[channel]!r}*Hz*(1 - 1/{name}_loss)"
        group = NeuronGroup(
            trials.grid.cells,
            EQUATIONS.format(channel=channel, rest=rest)
            + ("" if unadapted else rate_form.ADAPTATION_EQUATIONS.format(name=name)),
            method="euler",
            dt=dt,
            # V1 reads what the last step's spikes have left, before it decays: the mean of that does not depend on the step.
            order=15,
            name=f"v1_input_{channel}",
            namespace=namespace,
        )
        released = (UNDEPRESSED if "thalamocortical_depression" in lesions else RELEASE).format(
            channel=channel,
            rested=rested[channel],
            release=rate_form.release(channel),
            loss="" if unadapted else f"*{name}_loss_post",
        )
        if not unadapted:
            setattr(
                group, f"{name}_pooled", linked_var(relays[f"{name}_interneuron"], "pooled", index=trials.same_place)
            )
            rate_form.adapt(group, parameters, (name,), dt)
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


def initial_state(setting: Setting, trials: Trials, fields: Fields) -> State:
    """An initial state: transmission at its mean, resources at rest, settled adaptation. Arrays are (trial · image, y, x)."""
    parameters, grid = setting.parameters, trials.grid
    full = np.ones((grid.images, grid.height, grid.width))
    rested = rate_form.resting_resources(parameters)
    adapted = rate_form.adapted(setting, fields)
    state: State = {}
    for channel, rate in lgn.maintained(parameters).items():
        state[f"v1_input_{channel}.sent_{channel}"] = full * rate
        state[f"v1_input_{channel}.resource"] = full * rested[channel]
        for name, values in adapted.items():
            if name.startswith(cell_class(channel)):
                # Saccades carry all cells over the same scene.
                state[f"v1_input_{channel}.{name}"] = full * np.tile(values[:, :1, :1], (trials.trials, 1, 1))
    return state
