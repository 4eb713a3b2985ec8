r"""Spiking relay cells: conductances opened by retinal spikes, a suppressive field, bursts.

A spike of the one ganglion cell that dominates a relay cell adds :math:`1/\tau_E` to r, which decays with :math:`\tau_E`: r is
that cell's rate in Hz, sharp in time. As at rate fidelity, the suppressive field s divides the departure from the ganglion cell's
maintained rate m, here in the conductance that excites the relay cell (in leaks; w is a conductance in leaks times its time):

.. math::
    \tau_l \dot V = V_{rest} - V + w\, \frac{r + c\, m\, s / s_{half}}{1 + s / s_{half}} (E_E - V)
    + g_T h\, [V > V_h] (E_T - V) + \sigma \sqrt{2 \tau_l}\, \xi ,

with c above 1, because a constant conductance excites less than the same conductance in pulses.

The input n of interneurons is the ganglion cells' spikes filtered as r, with the longer time :math:`\tau_I`. Their
dendrites respond without spikes, so they are the coupled layer of the rate model. They pool
:math:`\sum_{ON, OFF} (n - m)^2` minus its mean for maintained trains, :math:`F m / 2 \tau_I` each, with F the trains'
variance relative to Poisson trains.

Bursts (Smith 2000): h, the part of the T channels that is ready, grows to 1 with :math:`\tau_h^+` below :math:`V_h` and falls
to 0 with :math:`\tau_h^-` above. Without a `lgn.burst_conductance`, as by default, there are none.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Synapses, linked_var

from biomodel.circuit.coupled_layer import Layer, coupled_layer, coupling, stability_limit
from biomodel.circuit.lgn import CLASSES
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import Setting, State, connect_one_to_one

EQUATIONS = """
dV/dt = (rest - V + excitation{burst})/leak_time + noise*sqrt(2/(leak_time*dt))*{white} : volt (unless refractory)
excitation = conductance*(excitatory_reversal - V) : volt
conductance = afferent_strength*(g_exc + tonic_efficacy*{maintained!r}*Hz*{suppression})/(1 + {suppression}) : 1
dg_exc/dt = -g_exc/excitatory_time : Hz
dinterneuron_trace/dt = -interneuron_trace/interneuron_time : Hz
{seed}
"""

BURST_EQUATIONS = """
dready/dt = int(V < burst_threshold)*(1 - ready)/burst_recovery_time - int(V >= burst_threshold)*ready/burst_decay_time : 1
"""

BURST = " + burst_conductance*ready*int(V >= burst_threshold)*(burst_reversal - V)"

CONTRAST_EQUATIONS = """
contrast : Hz**2
on : Hz (linked)
off : Hz (linked)
pooled : Hz**2 (linked)
suppression : 1
"""

CONTRAST = """
contrast = (on - {on!r}*Hz)**2 + (off - {off!r}*Hz)**2 - interneuron_irregularity*{both!r}*Hz/(2*interneuron_time)
suppression = sqrt(pooled*int(pooled > 0*Hz**2))/{half!r}/Hz
"""


def lgn(
    setting: Setting, trials: Trials, ganglia: dict[str, NeuronGroup | Synapses]
) -> dict[str, NeuronGroup | Synapses]:
    """Spiking relay cells, one group per channel, their synapses, and the interneurons of each class.

    `ganglia` has the groups "ganglion_midget_on" and so on.
    """
    parameters, lesions, _, dt = setting
    lesioned = "lgn_suppression" in lesions
    bursting = parameters.value("lgn.burst_conductance") > 0
    namespace = parameters.quantities("lgn") | {"unit_noise": unit_noise}
    groups: dict[str, NeuronGroup | Synapses] = {}
    for channel in GANGLION_CHANNELS:
        equations = EQUATIONS.format(
            burst=BURST if bursting else "",
            white=UNIT_NOISE,
            seed=SEED_EQUATION,
            maintained=parameters.value(f"ganglion.{channel}_maintained"),
            suppression="0" if lesioned else "suppression",
        )
        group = NeuronGroup(
            trials.grid.cells,
            equations + (BURST_EQUATIONS if bursting else "") + "suppression : 1 (linked)\n" + COUNT_EQUATIONS,
            threshold="V >= threshold",
            reset=f"V = reset; {COUNT}",
            refractory=namespace["refractory_time"],
            method="euler",
            dt=dt,
            order=10,
            name=f"lgn_{channel}",
            namespace=namespace,
        )
        synapses = Synapses(
            ganglia[f"ganglion_{channel}"],
            group,
            on_pre="g_exc_post += 1/excitatory_time; interneuron_trace_post += 1/interneuron_time",
            dt=dt,
            name=f"retinogeniculate_{channel}",
            namespace=namespace,
        )
        connect_one_to_one(synapses)
        groups |= {group.name: group, synapses.name: synapses}
    for name in CLASSES:
        groups |= _suppressive_field(setting, name, trials, groups)
    return groups


def _suppressive_field(
    setting: Setting, name: str, trials: Trials, groups: dict[str, NeuronGroup | Synapses]
) -> dict[str, NeuronGroup]:
    """Local contrast in the spikes of a class of ganglion cells, pooled by coupled interneurons."""
    parameters, _, _, dt = setting
    rates = {side: parameters.value(f"ganglion.{name}_{side}_maintained") for side in ("on", "off")}
    half = parameters.value(f"lgn.{name}_suppression_half")
    contrast = NeuronGroup(
        trials.grid.cells,
        CONTRAST_EQUATIONS,
        dt=dt,
        name=f"{name}_contrast",
        namespace=parameters.quantities("lgn"),
    )
    contrast.run_regularly(
        CONTRAST.format(**rates, both=sum(rates.values()), half=half),
        dt=dt,
        when="groups",
        order=8,
        name=f"{name}_contrast_update",
    )
    time = parameters["lgn.suppression_time"].quantity
    space_constant = parameters.value(f"lgn.{name}_suppression_space_constant") * trials.grid.pixels_per_degree
    lattice = coupling(space_constant, stability_limit(time, dt))
    layer = Layer(f"{name}_interneuron", "Hz**2", lattice, time, dt, order=9)
    interneurons = coupled_layer(layer, contrast, "contrast", trials.grid)
    contrast.pooled = linked_var(interneurons, "pooled")
    for side in ("on", "off"):
        relay = groups[f"lgn_{name}_{side}"]
        setattr(contrast, side, linked_var(relay, "interneuron_trace"))
        relay.suppression = linked_var(contrast, "suppression")
    return {contrast.name: contrast, interneurons.name: interneurons}


def initial_state(setting: Setting, trials: Trials, random: np.random.Generator) -> State:
    """An initial state: membranes at random between reset and threshold, traces at their means.

    Arrays are (trial · image, y, x).
    """
    parameters = setting.parameters
    grid = trials.grid
    shape = (grid.images, grid.height, grid.width)
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    state: State = {}
    for channel in GANGLION_CHANNELS:
        mean = np.full(shape, p[f"ganglion.{channel}_maintained"])
        low, high = p["lgn.reset"], p["lgn.threshold"]
        state |= {
            f"lgn_{channel}.V": random.uniform(low, high, shape),
            f"lgn_{channel}.g_exc": mean,
            f"lgn_{channel}.interneuron_trace": mean,
        }
        if p["lgn.burst_conductance"] > 0:
            state[f"lgn_{channel}.ready"] = np.zeros(shape)
    return state | {f"{name}_interneuron.pooled": np.zeros(shape) for name in CLASSES}
