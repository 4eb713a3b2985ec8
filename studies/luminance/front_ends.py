"""Variants of the fitted front end: shuffled, with another gaze, and modules that are trained with the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bridge.model.front_end import FrontEnd
from bridge.model.stages import Bipolar, Pools
from studies.luminance.lights import REFERENCE_FIELD

#: Standard deviation of the noise that is added to the logarithms of parameters before training from scratch.
_SCATTER = 0.5


def shuffle_kernels(front_end: FrontEnd, seed: int) -> FrontEnd:
    """Return a copy without receptive fields: the same weights, gains and kinetics, the taps in a random order.

    The order of every pool's and of the bipolar cells' taps is the same along both axes. What is left of a comparison with it
    does not depend on where the circuit's weights are.
    """
    copy = front_end.replace()
    generator = torch.Generator().manual_seed(seed)
    for module in copy.modules():
        if isinstance(module, Pools | Bipolar):
            module.order = torch.randperm(2 * module.reach + 1, generator=generator)
    return copy


class Adapted(nn.Module):
    """A front end in an adaptation state of the study: a module of luminance (n, 1, H, W).

    Parameters
    ----------
    front_end : FrontEnd
    state : str
        ``settled`` or ``sudden``.
    """

    def __init__(self, front_end: FrontEnd, state: str) -> None:
        super().__init__()
        self.front_end = front_end
        self.field = None if state == "settled" else REFERENCE_FIELD

    def forward(self, light: Tensor) -> Tensor:
        return self.front_end(light, self.field)


def tuned(front_end: FrontEnd, state: str) -> Adapted:
    """Return a copy of the fitted relay, to be trained further."""
    return Adapted(front_end.truncated("lgn").replace().requires_grad_(), state)


def from_scratch(front_end: FrontEnd, state: str) -> Adapted:
    """Return the relay's architecture with its initial parameters plus random noise; uses the global random state."""
    fresh = front_end.untrained(output="lgn")
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(_SCATTER * torch.randn_like(parameter))
    return Adapted(fresh, state)
