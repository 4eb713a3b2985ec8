"""Levenberg's and Marquardt's method over a few dozen parameters, for recordings of which some vary much and some little."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger("precortical")

#: Unexplained shares of variance well below this one are no longer worked on.
SMALL_SHARE = 1e-5

#: Cost of a parameter's square departure from its guess, beside the logarithms of unexplained shares.
_TIE = 2e-3

#: Step of forward differences; parameters are logarithms or of the order of 1.
_DIFFERENCE = 4e-3

#: The fit ends when all the steps on the same derivatives have gained less.
_GAIN = 0.04

#: Steps that are taken on the same derivatives, updated, before they are measured anew.
_REUSE = 5


def minimise(
    parameters: Sequence[tuple[str, Tensor]],
    origin: Sequence[Tensor],
    predict: Callable[[str, bool], list[Tensor]],
    recorded: Sequence[Tensor],
    iterations: int = 60,
) -> float:
    """Bring predictions to recordings: the mean over channels of the logarithm of the unexplained share of variance.

    Derivatives are forward differences, and Broyden's updates for a few steps after. What the recordings do not tell stays
    near the guesses.

    Parameters
    ----------
    parameters : sequence of (str, Tensor)
        Changed in place; each with the name of the first step of the prediction that it matters to, in their order.
    origin : sequence of Tensor
        Guesses, one for each of `parameters`.
    predict : callable
        Predictions, one for each of `recorded`, computed anew from a step on; told whether later calls start from its
        intermediate results.
    recorded : sequence of Tensor, (image, channel, y, x)

    Returns
    -------
    float
        The geometric mean of the unexplained shares, over recordings.
    """
    guess = torch.cat(list(origin))
    deviation = [r.std(dim=(0, 2, 3), keepdim=True) for r in recorded]
    first = parameters[0][0]

    def misses(step: str, keep: bool) -> list[Tensor]:
        """What is missed, in standard deviations."""
        return [(p - r) / d for p, r, d in zip(predict(step, keep), recorded, deviation, strict=True)]

    def loss(missed: list[Tensor]) -> float:
        away = torch.cat([values for _, values in parameters]) - guess
        return sum(float((_shares(m) + SMALL_SHARE).log().mean()) for m in missed) + _TIE * float(away @ away)

    def differences(missed: list[Tensor]) -> Tensor:
        """How what is missed changes with each parameter, (parameter, …), by forward differences."""
        now, slopes = _flat(missed), []
        for step, values in parameters:
            for k in range(len(values)):
                kept = values[k].clone()
                values[k] += _DIFFERENCE
                slopes.append((_flat(misses(step, False)) - now) / _DIFFERENCE)
                values[k] = kept
        return torch.stack(slopes)

    missed = misses(first, True)
    least, damping = loss(missed), 1e-2
    jacobian, age, before_these = differences(missed), 0, least
    for _ in range(iterations):
        # About here the logarithm of a share is a square whose weight is one over the share.
        weights = _flat([_weight(m).expand_as(m) for m in missed])
        weighted = jacobian * weights
        away = torch.cat([values for _, values in parameters]) - guess
        curvature = (weighted @ weighted.T).double() + _TIE * torch.eye(len(guess), dtype=torch.double)
        gradient = (weighted @ (_flat(missed) * weights) + _TIE * away).double()
        scale = curvature.diagonal() + 1e-6 * curvature.diagonal().max()
        old, was_missed = [values.clone() for _, values in parameters], missed
        gained, step = 0.0, torch.zeros_like(guess)
        for _ in range(6 if age == 0 else 2):
            # Steps longer than a factor e leave the range of the linearisation.
            step = torch.linalg.solve(curvature + torch.diag(damping * scale), -gradient).clamp(-1, 1).to(guess.dtype)
            for (_, values), was, part in zip(parameters, old, step.split([len(v) for v in old]), strict=True):
                values.copy_(was + part)
            missed = misses(first, True)
            gained = least - loss(missed)
            if gained > 0:
                break
            damping *= 5
        if gained > 0:
            least, damping = least - gained, max(damping / 5, 1e-7)
            logger.debug("loss %.4f, damping %.1e", least, damping)
        else:
            for (_, values), was in zip(parameters, old, strict=True):
                values.copy_(was)
            missed = misses(first, True)
        if gained < _GAIN / 10 or age == _REUSE:
            if before_these - least < _GAIN:
                break
            jacobian, age, before_these = differences(missed), 0, least
        else:
            # Broyden's update: what the step has changed beyond what was expected of it.
            surprise = _flat(missed) - _flat(was_missed) - step @ jacobian
            jacobian += torch.outer(step / (step @ step), surprise)
            age += 1
    return float(np.exp(least / len(recorded)))


def _shares(missed: Tensor) -> Tensor:
    """The unexplained share of each channel's variance, of what was missed in standard deviations."""
    return (missed**2).mean(dim=(0, 2, 3))


def _flat(missed: list[Tensor]) -> Tensor:
    return torch.cat([m.flatten() for m in missed])


def _weight(missed: Tensor) -> Tensor:
    """Of a target's channels, such that the square sum of what they miss changes as the mean logarithm of the shares does."""
    _, channels, height, width = missed.shape
    places = len(missed) * height * width
    return ((_shares(missed) + SMALL_SHARE) * channels * places).rsqrt()[:, None, None]
