"""Refinement of a whole front end by gradients, once its stations have been fitted one by one.

Adam (Kingma & Ba 2015) on a few images at a time; what is made small is what `least_squares` makes small, the sum over recorded
stations of the mean over channels of the logarithm of the unexplained share of variance; of counted spikes, that of the
unexplained share of deviance. For counts n over trials, a mean n̄ an image, and μ spikes expected, it is

    Σ n̄ ln(n̄/μ) − (n̄ − μ), over the same with the channel's mean in the place of μ,

whose slope is that of the Poisson likelihood of all trials (McCullagh & Nelder 1989, §2.3). Some photographs are left aside, by
the fits before too: they say when to stop, and which state is kept. Weights of V1 that are 0 stay so: their roots have no slope.

`descend` does the same to a part, told how it answers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from biomodel.utils.progress import progress
from bridge.model.front_end import FrontEnd

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
    response, is_aside, seed, steps, rate, counted
        As of `descend`.

    Returns
    -------
    float
        As `descend`; NaN where nothing is left aside.
    """
    if not is_aside.any():
        return math.nan
    return descend(
        front_end,
        lambda images: front_end.responses(light[images], background[images]),
        response,
        is_aside,
        seed,
        steps,
        rate,
        counted,
    )


@torch.enable_grad()
def descend(
    part: nn.Module,
    tell: Callable[[Tensor], Mapping[str, Tensor]],
    response: Mapping[str, Tensor],
    is_aside: np.ndarray,
    seed: int = 0,
    steps: int = 200,
    rate: float = 3e-3,
    counted: Mapping[str, float] | None = None,
) -> float:
    """Bring what a part answers nearer to responses, by changing its parameters in place.

    Parameters
    ----------
    part : torch.nn.Module
    tell : callable
        What it answers now to the images of these numbers, by station.
    response : mapping of str to Tensor, (image, channel, y, x)
        By station; rates in Hz of cells that fire, over trials.
    is_aside : numpy.ndarray of bool, (image,)
        As `stimulus_sets.left_aside` says; where none is, all choose and all are fitted.
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
        `_NEGLIGIBLE` added before and taken off after.
    """
    random = np.random.default_rng([seed, 32])
    fitted = np.flatnonzero(~is_aside)
    aside = torch.from_numpy(np.flatnonzero(is_aside) if is_aside.any() else fitted)

    def on_aside() -> float:
        found = unexplained(tell, response, aside, counted)
        return float(np.mean([float((values + _NEGLIGIBLE).log().mean()) for values in found.values()]))

    groups = [
        {
            "params": [p],
            "lr": rate * (float(p.detach().abs().max()) if name.split(".")[-1].startswith("root_") else 1.0),
        }
        for name, p in part.named_parameters()
        if p.requires_grad
    ]
    optimiser = torch.optim.Adam(groups, betas=_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / _RISE) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    whole = _whole(response, counted)
    least, waited = on_aside(), 0
    before, kept = least, _state(part)
    usual: dict[str, Tensor] = {}
    for step in progress(range(steps), what="refining"):
        some = torch.from_numpy(random.choice(fitted, min(_TOGETHER, len(fitted)), replace=False))
        shares = _shares(tell, response, whole, some, counted)
        for name, values in shares.items():
            now = values.detach()
            usual[name] = _KEPT * usual[name] + (1 - _KEPT) * now if name in usual else now
        # The slope of a logarithm: each channel's share over what it usually is.
        loss = torch.stack([(values / (usual[name] + _NEGLIGIBLE)).mean() for name, values in shares.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % _LOOK == 0 or step + 1 == steps:
            found = on_aside()
            waited += 1
            if found < least:
                least, waited, kept = found, 0, _state(part)
            if waited == _PATIENCE:
                break
    part.zero_grad(set_to_none=True)
    part.load_state_dict(kept)
    told = "refined %s: unexplained variance %.2e, before %.2e, on images left aside"
    logger.info(told, ", ".join(response), _share(least), _share(before))
    return _share(least)


@torch.no_grad()
def unexplained(
    tell: Callable[[Tensor], Mapping[str, Tensor]],
    response: Mapping[str, Tensor],
    images: Tensor,
    counted: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The unexplained share of each channel's variance, or deviance, over the images of these numbers; all as of `descend`."""
    whole = _whole(response, counted)
    total = {name: torch.zeros_like(values) for name, values in whole.items()}
    for some in images.split(_FOLLOWED):
        for name, values in _shares(tell, response, whole, some, counted).items():
            total[name] += values * len(some) / len(images)
    return total


def _shares(
    tell: Callable[[Tensor], Mapping[str, Tensor]],
    response: Mapping[str, Tensor],
    whole: Mapping[str, Tensor],
    images: Tensor,
    counted: Mapping[str, float] | None,
) -> dict[str, Tensor]:
    told = tell(images)
    return {n: _missed(n, told[n], values[images], counted) / whole[n] for n, values in response.items()}


def _whole(response: Mapping[str, Tensor], counted: Mapping[str, float] | None) -> dict[str, Tensor]:
    """What each channel's mean misses of it."""
    return {n: _missed(n, v.mean(dim=(0, 2, 3), keepdim=True), v, counted) for n, v in response.items()}


def _missed(name: str, told: Tensor, values: Tensor, counted: Mapping[str, float] | None) -> Tensor:
    """By channel: what is missed of a station's responses, square or deviance."""
    each = _deviance(told, values, counted[name]) if counted and name in counted else (told - values) ** 2
    return each.mean(dim=(0, 2, 3))


def _deviance(told: Tensor, rate: Tensor, seconds: float) -> Tensor:
    """Deviance of mean counts, given as rates over so many seconds, from those expected, half of it."""
    expected, mean = seconds * (told.clamp_min(0) + _LEAST), seconds * (rate + _LEAST)
    return mean * (mean / expected).log() - (mean - expected)


def _share(loss: float) -> float:
    return math.exp(loss) - _NEGLIGIBLE


def _state(part: nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in part.state_dict().items()}
