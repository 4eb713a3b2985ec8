"""Types that all stations share: their state and their readout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: State variables by "group.variable", each (image, …) in SI units.
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Readout:
    """The variables of a station's group that are its responses: `channels` maps a label to a variable, in `unit`."""

    unit: str
    channels: dict[str, str]

    @property
    def variables(self) -> list[str]:
        """The variables, in the order of the channels."""
        return list(self.channels.values())
