r"""The relay of the lateral geniculate nucleus at rate fidelity.

A relay cell follows the rate g of the one ganglion cell that dominates it. Its suppressive field s divides the departure of g
from its maintained rate m. Departures are transferred better than the maintained rate, because retinal spikes that follow
one another closely add up (Usrey, Reppas & Reid 1998): with the transfer ratios t and t_e,

.. math:: \tau_l \dot l = [t\, m + t_e\, (g - m) / (1 + s / s_{half})]_+ - l .

The suppressive field of a midget or parasol relay cell is the local RMS contrast of its class's ganglion cells (Bonin 2005):
coupled interneurons pool the squared departures of ON and OFF rates from their maintained rates, and s is the root of the pool.
In a static field s is 0, and a relay cell's rate is a fixed share of its afferent's rate.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, linked_var

from biomodel.circuit.coupled_layer import Layer, MakeLayer, coupled_layer, coupling, stability_limit
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.station import Readout, Setting, State
from biomodel.parameters import Parameters

#: Classes of relay cells.
CLASSES = ("midget", "parasol")

RELAY_EQUATIONS = """
departure_{channel} = (ganglion_{channel} - {maintained!r}*Hz)/(1 + {suppression}) : Hz
target_{channel} = transfer*{maintained!r}*Hz + evoked_transfer*departure_{channel} : Hz
d{channel}/dt = (target_{channel}*int(target_{channel} > 0*Hz) - {channel})/membrane_time : Hz
ganglion_{channel} : Hz (linked)
"""

CONTRAST_EQUATIONS = """
{name}_contrast : Hz**2
{name}_pooled : Hz**2 (linked)
{name}_suppression : Hz
"""

CONTRAST = """
{name}_contrast = (ganglion_{name}_on - {on!r}*Hz)**2 + (ganglion_{name}_off - {off!r}*Hz)**2
{name}_suppression = sqrt({name}_pooled*int({name}_pooled > 0*Hz**2))
"""

LGN_READOUT = Readout("Hz", {channel: channel for channel in GANGLION_CHANNELS})


def lgn(setting: Setting, ganglia: NeuronGroup, make_layer: MakeLayer = coupled_layer) -> dict[str, NeuronGroup]:
    """Relay cells of midget and parasol ganglion cells, one of each per pixel (rate in Hz), and their interneurons."""
    parameters, lesions, grid, dt = setting
    lesioned = "lgn_suppression" in lesions
    relays = "".join(
        RELAY_EQUATIONS.format(
            channel=channel,
            maintained=parameters.value(f"ganglion.{channel}_maintained"),
            suppression="0" if lesioned else _suppression(channel),
        )
        for channel in GANGLION_CHANNELS
    )
    group = NeuronGroup(
        grid.cells,
        relays + "".join(CONTRAST_EQUATIONS.format(name=name) for name in CLASSES),
        method="exponential_euler",
        dt=dt,
        order=8,
        name="lgn",
        namespace=parameters.quantities("lgn"),
    )
    for channel in GANGLION_CHANNELS:
        setattr(group, f"ganglion_{channel}", linked_var(ganglia, channel))
    return {"lgn": group} | pool_contrast(setting, group, make_layer)


def pool_contrast(
    setting: Setting, group: NeuronGroup, make_layer: MakeLayer = coupled_layer
) -> dict[str, NeuronGroup]:
    """Interneurons of each class, which pool the local contrast of ganglion cells, and `{class}_suppression` from the pool.

    Parameters
    ----------
    setting : Setting
    group : NeuronGroup
        With the variables of `CONTRAST_EQUATIONS` for each class, and `ganglion_{channel}`, the rates of ganglion cells.
    make_layer : MakeLayer
        Makes each layer of interneurons.

    Returns
    -------
    dict of str to NeuronGroup
        "midget_interneuron" and "parasol_interneuron".
    """
    parameters, _, grid, dt = setting
    groups = {}
    statements = []
    for name in CLASSES:
        rates = {side: parameters.value(f"ganglion.{name}_{side}_maintained") for side in ("on", "off")}
        statements.append(CONTRAST.format(name=name, **rates))
        time = parameters["lgn.suppression_time"].quantity
        space_constant = parameters.value(f"lgn.{name}_suppression_space_constant") * grid.pixels_per_degree
        lattice = coupling(space_constant, stability_limit(time, dt))
        layer = Layer(f"{name}_interneuron", "Hz**2", lattice, time, dt, order=7)
        interneurons = make_layer(layer, group, f"{name}_contrast", grid)
        setattr(group, f"{name}_pooled", linked_var(interneurons, "pooled"))
        groups[f"{name}_interneuron"] = interneurons
    group.run_regularly("\n".join(statements), dt=dt, when="groups", order=6, name="lgn_contrast")
    return groups


def _suppression(channel: str) -> str:
    name = cell_class(channel)
    return f"{name}_suppression/{name}_suppression_half"


def maintained(parameters: Parameters) -> dict[str, float]:
    """Rate in Hz of each relay channel in a static field."""
    transfer = parameters.value("lgn.transfer")
    return {channel: transfer * parameters.value(f"ganglion.{channel}_maintained") for channel in GANGLION_CHANNELS}


def steady_state(parameters: Parameters, background: np.ndarray) -> State:
    """The relay's steady state, as `biomodel.circuit.retina.steady_state`."""
    state = {f"lgn.{channel}": np.full_like(background, rate) for channel, rate in maintained(parameters).items()}
    return state | {f"{name}_interneuron.pooled": np.zeros_like(background) for name in CLASSES}
