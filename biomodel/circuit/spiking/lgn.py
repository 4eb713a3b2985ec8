r"""Spiking relay cells: conductances opened by retinal spikes, a suppressive field, bursts.

A spike of the one ganglion cell that dominates a relay cell adds :math:`1/\tau_E` to r, which decays with :math:`\tau_E`: r is
that cell's rate in Hz, sharp in time. As at rate fidelity, the suppressive field s divides the departure from the ganglion cell's
maintained rate m, here in the conductance that excites the relay cell (in leaks; w is a conductance in leaks times its time):

.. math::
    \tau_l \dot V = V_{rest} - V + w\, [m + a\, (r - m)]\, (E_E - V)
    + g_T h\, [V > V_h] (E_T - V) + \sqrt{2 \tau_l\, [\sigma^2 + \sigma_s^2\, (1 - a^2)]}\, \xi , \quad
    a = \frac{1}{1 + s / s_{half}} .

Suppression weakens the fluctuations of the excitation too, by which the cell fires. Inhibitory synapses add as much noise,
:math:`\sigma_s`, so that the maintained rate hardly depends on suppression (at s = s_half it is within 12 %).

The suppressive field is that of the rate form, without noise and the same in every trial: s pools the departures of the rates
that the retina's graded potentials would give (`biomodel.circuit.lgn.pool_contrast`). In macaques the suppressive field of relay
cells is largely that of their ganglion cells (Solomon, Lee & Sun 2006; Alitto & Usrey 2008). Amacrine cells pool signals in the
retina, and many amacrine cells have no spikes. Contrast computed from the spikes of single cells is dominated by their
irregularity: filtered with 4 ms, the maintained trains of an ON and an OFF cell have a contrast of 84 Hz, where a weak grating
adds some 15 Hz.

Bursts (Smith 2000): h, the part of the T channels that is ready, grows to 1 with :math:`\tau_h^+` below :math:`V_h` and falls
to 0 with :math:`\tau_h^-` above. Without a `lgn.burst_conductance`, as by default, there are none.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Synapses, linked_var

from biomodel.circuit.lgn import CLASSES, CONTRAST_EQUATIONS, pool_contrast
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import Setting, State, connect_one_to_one
from biomodel.parameters import Parameters

EQUATIONS = """
dV/dt = (rest - V + excitation{burst})/leak_time + sqrt(variance*2/(leak_time*dt))*{white} : volt (unless refractory)
excitation = conductance*(excitatory_reversal - V) : volt
conductance = afferent_strength*({maintained!r}*Hz + (g_exc - {maintained!r}*Hz)*gain) : 1
variance = noise**2 + suppression_noise**2*(1 - gain**2) : volt**2
gain = 1/(1 + {suppression}) : 1
dg_exc/dt = -g_exc/excitatory_time : Hz
{seed}
"""

BURST_EQUATIONS = """
dready/dt = int(V < burst_threshold)*(1 - ready)/burst_recovery_time - int(V >= burst_threshold)*ready/burst_decay_time : 1
"""

BURST = " + burst_conductance*ready*int(V >= burst_threshold)*(burst_reversal - V)"


def lgn(
    setting: Setting, trials: Trials, ganglia: dict[str, NeuronGroup | Synapses]
) -> dict[str, NeuronGroup | Synapses]:
    """Spiking relay cells, one group per channel, their synapses, and the interneurons of each class.

    `ganglia` has the groups "ganglion_midget_on" and so on, and "ganglion_input".
    """
    parameters, lesions, _, dt = setting
    lesioned = "lgn_suppression" in lesions
    bursting = parameters.value("lgn.burst_conductance") > 0
    namespace = parameters.quantities("lgn") | {"unit_noise": unit_noise}
    fields = _suppressive_fields(setting, ganglia["ganglion_input"])
    groups: dict[str, NeuronGroup | Synapses] = {**fields}
    for channel in GANGLION_CHANNELS:
        equations = EQUATIONS.format(
            burst=BURST if bursting else "",
            white=UNIT_NOISE,
            seed=SEED_EQUATION,
            maintained=parameters.value(f"ganglion.{channel}_maintained"),
            suppression="0" if lesioned else f"suppression/{cell_class(channel)}_suppression_half",
        )
        group = NeuronGroup(
            trials.grid.cells,
            equations + (BURST_EQUATIONS if bursting else "") + "suppression : Hz (linked)\n" + COUNT_EQUATIONS,
            threshold="V >= threshold",
            reset=f"V = reset; {COUNT}",
            refractory=namespace["refractory_time"],
            method="euler",
            dt=dt,
            order=10,
            name=f"lgn_{channel}",
            namespace=namespace,
        )
        group.suppression = linked_var(
            fields["suppressive_field"], f"{cell_class(channel)}_suppression", index=trials.same_place
        )
        synapses = Synapses(
            ganglia[f"ganglion_{channel}"],
            group,
            on_pre="g_exc_post += 1/excitatory_time",
            dt=dt,
            name=f"retinogeniculate_{channel}",
            namespace=namespace,
        )
        connect_one_to_one(synapses)
        groups |= {group.name: group, synapses.name: synapses}
    return groups


def _suppressive_fields(setting: Setting, inputs: NeuronGroup) -> dict[str, NeuronGroup]:
    """Local contrast of the excitation of ganglion cells, one for each place and class, and the interneurons that pool it."""
    group = NeuronGroup(
        setting.grid.cells,
        "".join(CONTRAST_EQUATIONS.format(name=name) for name in CLASSES)
        + "".join(f"ganglion_{channel} : Hz (linked)\n" for channel in GANGLION_CHANNELS),
        dt=setting.dt,
        name="suppressive_field",
    )
    for channel in GANGLION_CHANNELS:
        setattr(group, f"ganglion_{channel}", linked_var(inputs, channel))
    return {group.name: group} | pool_contrast(setting, group)


def initial_state(parameters: Parameters, trials: Trials, random: np.random.Generator) -> State:
    """An initial state: membranes at random between reset and threshold, traces at their means.

    Arrays are (trial · image, y, x).
    """
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
        }
        if p["lgn.burst_conductance"] > 0:
            state[f"lgn_{channel}.ready"] = np.zeros(shape)
    return state
