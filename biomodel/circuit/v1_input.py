r"""The input of V1 at rate fidelity: what the axons of relay cells deliver to layer 4, through synapses that depress and adapt.

Each axon has synapses at the place of its relay cell, which are depressed by use (Tsodyks & Markram 1997). A spike releases a
share U of their resources x, which opens the current a. With relay rates l,

.. math:: \tau_d \dot d = l - d, \quad \tau_{rec} \dot x = 1 - x - \tau_{rec} U d x, \quad
    \tau_E \dot a = m + (d x / x_0 - m) / f - a ,

with d the rate that arrives after conduction, x₀ the resources that are left at the maintained rate m, and f the contrast
adaptation below.

The response is a, in Hz of a synapse at rest: the rate at which spikes would deliver as much through a synapse that has the
resources x₀. In a static field it is m. At a constant rate l it becomes, with f = 1,
:math:`l\, (1 + \tau_{rec} U m) / (1 + \tau_{rec} U l)`, which saturates at high rates. Parameters: U `v1.midget_release`,
`v1.parasol_release`; τ_d `v1.conduction_time`; τ_rec `v1.recovery_time`; τ_E `v1.synaptic_time`.

**Contrast adaptation** of V1: the contrast of the last seconds divides departures from the maintained rate by the factor f. It
is driven by a population and not by the cell's own response (Bonds 1991): by s, the local RMS contrast of the class's afferents,
whose square the relay's interneurons pool (`biomodel.circuit.lgn`),

.. math:: \tau_s \dot K = s^2 - K, \quad \tau_k \dot k = \sqrt{K} - k, \quad f = (1 + k / k_0)^p .

A power law of the contrast that begins at k₀, some 3 % (Ohzawa, Sclar & Freeman 1985; Sclar, Lennie & DePriest 1989). Since the
drives of V1's cells are sums of departures, f multiplies their semisaturation. **Settled state**: saccades carry a
cell over the whole scene, so that K is the mean of s² over the scene (`biomodel.circuit.retina.settled_variance`), and k its
root. In an even field they are 0. Parameters: τ_s `v1.contrast_time`; τ_k `v1.contrast_adaptation_time`; k₀
`v1.midget_contrast_half`, `v1.parasol_contrast_half`; p `v1.contrast_adaptation_exponent`.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var

from biomodel.adaptation import Fields
from biomodel.circuit import lgn, retina
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.station import Readout, Setting, State
from biomodel.parameters import Parameters

EQUATIONS = """
darrived_{channel}/dt = (relay_{channel} - arrived_{channel})/conduction_time : Hz
dresource_{channel}/dt = (1 - resource_{channel})/recovery_time - {release}*arrived_{channel}*resource_{channel} : 1
dsent_{channel}/dt = ({sending} - sent_{channel})/synaptic_time : Hz
relay_{channel} : Hz (linked)
"""

#: Contrast adaptation of the synapses of one class; `{name}_loss` is f.
ADAPTATION_EQUATIONS = """
{name}_variance : Hz**2
{name}_contrast : Hz
{name}_loss : 1
{name}_pooled : Hz**2 (linked)
"""

ADAPTATION = """
{name}_variance += {fast!r}*({name}_pooled - {name}_variance)
{name}_contrast += {slow!r}*(sqrt({name}_variance*int({name}_variance > 0*Hz**2)) - {name}_contrast)
{name}_loss = (1 + {name}_contrast/{name}_contrast_half)**contrast_adaptation_exponent
"""

#: Steps of the station per step of its contrast adaptation, which takes seconds.
ADAPTATION_CLOCK = 10

#: At both fidelities; with spikes each channel is a group of its own.
V1_INPUT_READOUT = Readout("Hz", {channel: f"sent_{channel}" for channel in GANGLION_CHANNELS})

#: The lesion of contrast adaptation.
ADAPTATION_LESION = "thalamocortical_adaptation"


def v1_input(setting: Setting, clock: Quantity, relays: dict[str, NeuronGroup]) -> NeuronGroup:
    """Synapses of the relay in V1, one per relay cell and channel; `sent_…` is what they deliver, in Hz of a synapse at rest.

    `relays` are the groups of `biomodel.circuit.lgn.lgn`.
    """
    parameters, lesions, grid, _ = setting
    undepressed, unadapted = "thalamocortical_depression" in lesions, ADAPTATION_LESION in lesions
    rested, maintained = resting_resources(parameters), lgn.maintained(parameters)
    equations = []
    for channel in GANGLION_CHANNELS:
        sending = f"arrived_{channel}" + ("" if undepressed else f"*resource_{channel}/{rested[channel]!r}")
        if not unadapted:
            rest = f"{maintained[channel]!r}*Hz"
            sending = f"{rest} + ({sending} - {rest})/{cell_class(channel)}_loss"
        equations.append(EQUATIONS.format(channel=channel, release=release(channel), sending=sending))
    group = NeuronGroup(
        grid.cells,
        "".join(equations)
        + ("" if unadapted else "".join(ADAPTATION_EQUATIONS.format(name=name) for name in lgn.CLASSES)),
        method="exponential_euler",
        dt=clock,
        order=9,
        name="v1_input",
        namespace=parameters.quantities("v1"),
    )
    for channel in GANGLION_CHANNELS:
        setattr(group, f"relay_{channel}", linked_var(relays["lgn"], channel))
    if not unadapted:
        for name in lgn.CLASSES:
            setattr(group, f"{name}_pooled", linked_var(relays[f"{name}_interneuron"], "pooled"))
        adapt(group, parameters, lgn.CLASSES, clock)
    return group


def adapt(group: NeuronGroup, parameters: Parameters, names: tuple[str, ...], clock: Quantity) -> None:
    """Let the synapses of a group adapt to contrast.

    Parameters
    ----------
    group : NeuronGroup
        With the variables of `ADAPTATION_EQUATIONS`.
    parameters : Parameters
    names : tuple of str
        Classes of its relay cells, of `biomodel.circuit.lgn.CLASSES`.
    clock : brian2.Quantity
        Step of the station.
    """
    step = ADAPTATION_CLOCK * clock
    fast, slow = (
        float(-np.expm1(-step / parameters[f"v1.{name}_time"].quantity)) for name in ("contrast", "contrast_adaptation")
    )
    statements = "".join(ADAPTATION.format(name=name, fast=fast, slow=slow) for name in names)
    group.run_regularly(statements, dt=step, when="groups", order=8, name=f"{group.name}_adaptation")


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


def steady_state(setting: Setting, fields: Fields) -> State:
    """The steady state, as `biomodel.circuit.retina.steady_state`: synapses deliver the maintained rates."""
    parameters, shape = setting.parameters, fields.start.shape
    state = {f"v1_input.resource_{c}": np.full(shape, x) for c, x in resting_resources(parameters).items()}
    state |= {
        f"v1_input.{variable}_{channel}": np.full(shape, rate)
        for channel, rate in lgn.maintained(parameters).items()
        for variable in ("arrived", "sent")
    }
    return state | {f"v1_input.{name}": values for name, values in adapted(setting, fields).items()}


def adapted(setting: Setting, fields: Fields) -> State:
    """Variables of contrast adaptation in the settled state, by name, (image, y, x), SI units; none with its lesion."""
    if ADAPTATION_LESION in setting.lesions:
        return {}
    zero = np.zeros_like(fields.start)
    variances = retina.settled_variance(setting, fields.scene)
    state = {f"{name}_variance": zero + variance for name, variance in variances.items()}
    return state | {f"{name}_contrast": zero + np.sqrt(variance) for name, variance in variances.items()}
