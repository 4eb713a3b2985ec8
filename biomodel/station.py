"""What every station of the network offers to the next one, and how it is read out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import BrianObject, NeuronGroup

#: State variables by "group.variable", each (image, …) in SI units.
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Station:
    """A group of cells, and the synapses that belong to it."""

    group: NeuronGroup
    synapses: tuple[BrianObject, ...] = ()


@dataclass(frozen=True)
class Readout:
    """Which variables of a station's group are its responses: `channels` maps a label to a variable, in `unit`.

    Where several labels share one variable, the group's cells are numbered image, channel, row, column.
    """

    unit: str
    channels: dict[str, str]

    @property
    def variables(self) -> list[str]:
        """The variables, each once."""
        return list(dict.fromkeys(self.channels.values()))
