r"""The relay of the lateral geniculate nucleus at rate fidelity.

A relay cell follows the one ganglion cell that dominates it, τ_l l̇ = transfer · g - l, so that it fires at a fixed share
of its afferent's rate.
"""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var

from biomodel.parameters import Parameters
from biomodel.station import Readout, State
from biomodel.wiring import Grid

LGN_EQUATIONS = """
dmidget_on/dt = (transfer*ganglion_on - midget_on)/membrane_time : Hz
dmidget_off/dt = (transfer*ganglion_off - midget_off)/membrane_time : Hz
ganglion_on : Hz (linked)
ganglion_off : Hz (linked)
"""

LGN_READOUT = Readout("Hz", {"midget_on": "midget_on", "midget_off": "midget_off"})


def lgn(parameters: Parameters, grid: Grid, dt: Quantity, ganglia: NeuronGroup) -> NeuronGroup:
    """Relay cells behind midget ON and OFF ganglion cells, one of each a pixel; response: rate in Hz."""
    group = NeuronGroup(
        grid.cells,
        LGN_EQUATIONS,
        method="exponential_euler",
        dt=dt,
        order=5,
        name="lgn",
        namespace=parameters.quantities("lgn"),
    )
    group.ganglion_on = linked_var(ganglia, "midget_on")
    group.ganglion_off = linked_var(ganglia, "midget_off")
    return group


def maintained(parameters: Parameters) -> dict[str, float]:
    """Rate in Hz of each relay channel while an even field stands still."""
    transfer = parameters.value("lgn.transfer")
    return {
        channel: transfer * parameters.value(f"ganglion.{channel}_maintained")
        for channel in ("midget_on", "midget_off")
    }


def settled(parameters: Parameters, background: np.ndarray) -> State:
    """The state in which the relay rests, as `biomodel.retina.settled`."""
    return {f"lgn.{channel}": np.full_like(background, rate) for channel, rate in maintained(parameters).items()}
