"""A front end whose kernels are shuffled: the same weights, gains and kinetics, and no receptive fields.

What is left of a comparison with it is not owed to where the circuit's weights stand.
"""

from __future__ import annotations

import torch

from bridge.model.front_end import FrontEnd
from bridge.model.stages import Bipolar, Pool


def shuffled(front_end: FrontEnd, seed: int) -> FrontEnd:
    """A copy, the taps of every pool and of the bipolar cells' centres in an order by chance, the same along both axes."""
    other = front_end.untrained()
    other.load_state_dict(front_end.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for module in other.modules():
        if isinstance(module, Pool | Bipolar):
            module.order = torch.randperm(2 * module.reach + 1, generator=generator)
    return other
