"""Front ends that are trained with the classifier behind them: modules of an arm's maps, (n, 1, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bridge import FrontEnd
from studies.luminance.lights import REFERENCE_FIELD

#: By how much logarithms of a front end's parameters are off, where it is trained from scratch.
_SCATTER = 0.5


class Adapted(nn.Module):
    """A front end in an adaptation state of the study.

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
    """The fitted relay, a copy to go on from."""
    copy = front_end.untrained(output="lgn")
    copy.load_state_dict(front_end.truncated("lgn").state_dict())
    return Adapted(copy, state)


def from_scratch(front_end: FrontEnd, state: str) -> Adapted:
    """The same architecture, its parameters what they are before any fit, scattered by chance; global random state is used."""
    fresh = front_end.untrained(output="lgn")
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(_SCATTER * torch.randn_like(parameter))
    return Adapted(fresh, state)
