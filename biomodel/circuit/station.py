"""Types that all stations share: their setting, their state and their readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from brian2 import Quantity, Synapses, get_device
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.devices import RuntimeDevice

from biomodel.circuit.lattice import Grid
from biomodel.parameters import Parameters

#: State variables by "group.variable", each (image, …) in SI units.
State = dict[str, np.ndarray]


class Setting(NamedTuple):
    """Arguments of every function that builds a station."""

    parameters: Parameters
    lesions: tuple[str, ...]
    grid: Grid  # lattice of the retina
    dt: Quantity  # step of the circuit


@dataclass(frozen=True)
class Readout:
    """The variables of a station's group that are its responses: `channels` maps a label to a variable, in `unit`."""

    unit: str
    channels: dict[str, str]

    @property
    def variables(self) -> list[str]:
        """The variables, in the order of the channels."""
        return list(self.channels.values())


def connect_one_to_one(synapses: Synapses) -> None:
    """Connect each cell with the one of the same index; nothing is compiled, also where Brian2's preferences say so."""
    if isinstance(get_device(), RuntimeDevice):
        synapses.codeobj_class = NumpyCodeObject
    synapses.connect(j="i")
    synapses.codeobj_class = None
