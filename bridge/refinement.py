"""Refinement of a whole front end by gradients, once its stations have been fitted one by one.

Adam (Kingma & Ba 2015) on a few images at a time; what is made small is what `least_squares` makes small, the sum over recorded
stations of the mean over channels of the logarithm of the unexplained share of variance; of counted spikes, that of the
unexplained share of deviance. For counts n over trials, a mean n̄ an image, and μ spikes expected, it is

    Σ n̄ ln(n̄/μ) − (n̄ − μ), over the same with the channel's mean in the place of μ,

whose slope is that of the Poisson likelihood of all trials (McCullagh & Nelder 1989, §2.3). Some photographs are left aside, by
the fits before too: they say when to stop, and which state is kept. Weights of V1 that are 0 stay so: their roots have no slope.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from biomodel.progress import progress
from bridge.front_end import FrontEnd

logger = logging.getLogger("precortical")

#: Images at a time, where derivatives are taken and where not.
_TOGETHER, _FOLLOWED = 8, 32

#: Steps between two looks at the images left aside, and looks without a gain before the end.
_LOOK, _PATIENCE = 25, 20

#: Adam's forgetting, and the steps over which its rate rises.
_BETAS, _RISE = (0.9, 0.99), 20

#: Unexplained share of variance below which less of it counts for little: stations before the last come to 1e-5.
_NEGLIGIBLE = 1e-3

#: Hz that are added to rates and to what is told of them: none is impossible.
_LEAST = 0.05

#: How much of the shares of the last steps is kept from one to the next.
_KEPT = 0.95


@torch.enable_grad()
def refine(
    front_end: FrontEnd,
    light: Tensor,
    background: Tensor,
    response: Mapping[str, Tensor],
    is_aside: np.ndarray,
    seed: int = 0,
    steps: int = 200,
    rate: float = 3e-3,
    counted: Mapping[str, float] | None = None,
) -> float:
    """Refine a front end in place; where nothing is left aside, leave it as it is.

    Parameters
    ----------
    front_end : FrontEnd
    light, background : Tensor, (image, 1, H, W)
        cd/m².
    response : mapping of str to Tensor, (image, channel, y, x)
        By station; rates in Hz of cells that fire, over trials.
    is_aside : numpy.ndarray of bool, (image,)
        As `stimulus_sets.left_aside` says.
    seed : int
    steps : int
        At most; from 1.
    rate : float
        Adam's, of parameters that are logarithms; of weights' roots, over the largest.
    counted : mapping of str to float, optional
        Seconds over which spikes were counted, of the stations whose responses are counts.

    Returns
    -------
    float
        The geometric mean of the unexplained shares, over stations and channels, of the images left aside, each with what is
        `_NEGLIGIBLE` added before and taken off after; NaN without any.
    """
    if not is_aside.any():
        return math.nan
    random = np.random.default_rng([seed, 32])
    aside, fitted = np.flatnonzero(is_aside), np.flatnonzero(~is_aside)
    seconds = counted or {}

    def missed(name: str, told: Tensor, values: Tensor) -> Tensor:
        """By channel: what is missed of a station's responses, square or deviance."""
        each = _deviance(told, values, seconds[name]) if name in seconds else (told - values) ** 2
        return each.mean(dim=(0, 2, 3))

    whole = {name: missed(name, values.mean(dim=(0, 2, 3), keepdim=True), values) for name, values in response.items()}

    def shares(images: np.ndarray) -> dict[str, Tensor]:
        """The unexplained share of each channel's variance, or deviance."""
        at = torch.from_numpy(images)
        told = front_end.responses(light[at], background[at])
        return {name: missed(name, told[name], values[at]) / whole[name] for name, values in response.items()}

    @torch.no_grad()
    def on_aside() -> float:
        total = {name: torch.zeros_like(values) for name, values in whole.items()}
        for first in range(0, len(aside), _FOLLOWED):
            some = aside[first : first + _FOLLOWED]
            for name, values in shares(some).items():
                total[name] += values * len(some) / len(aside)
        return float(np.mean([float((values + _NEGLIGIBLE).log().mean()) for values in total.values()]))

    parameters = [(name, p) for name, p in front_end.named_parameters() if p.requires_grad]
    scales = [float(p.detach().abs().max()) if ".root_" in name else 1.0 for name, p in parameters]
    optimiser = torch.optim.Adam(
        [{"params": [p], "lr": rate * scale} for (_, p), scale in zip(parameters, scales, strict=True)], betas=_BETAS
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / _RISE) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    least, waited = on_aside(), 0
    before, kept = least, _state(front_end)
    usual: dict[str, Tensor] = {}
    for step in progress(range(steps), what="refining"):
        unexplained = shares(random.choice(fitted, min(_TOGETHER, len(fitted)), replace=False))
        for name, values in unexplained.items():
            now = values.detach()
            usual[name] = _KEPT * usual[name] + (1 - _KEPT) * now if name in usual else now
        # The slope of a logarithm: each channel's share over what it usually is.
        loss = torch.stack(
            [(values / (usual[name] + _NEGLIGIBLE)).mean() for name, values in unexplained.items()]
        ).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % _LOOK == 0 or step + 1 == steps:
            found = on_aside()
            waited += 1
            if found < least:
                least, waited, kept = found, 0, _state(front_end)
            if waited == _PATIENCE:
                break
    front_end.zero_grad(set_to_none=True)
    front_end.load_state_dict(kept)
    logger.info("refined: unexplained variance %.2e, before %.2e, on images left aside", _share(least), _share(before))
    return _share(least)


def _deviance(told: Tensor, rate: Tensor, seconds: float) -> Tensor:
    """Deviance of mean counts, given as rates over so many seconds, from those expected, half of it."""
    expected, mean = seconds * (told.clamp_min(0) + _LEAST), seconds * (rate + _LEAST)
    return mean * (mean / expected).log() - (mean - expected)


def _share(loss: float) -> float:
    return math.exp(loss) - _NEGLIGIBLE


def _state(front_end: FrontEnd) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in front_end.state_dict().items()}
