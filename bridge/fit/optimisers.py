"""Optimisers: Levenberg-Marquardt for a few dozen parameters, and Adam for all; both for channels of very different variance."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from biomodel.utils.progress import progress

logger = logging.getLogger("precortical")

#: Predicts responses by station to the images of some indices.
Predict = Callable[[Tensor], Mapping[str, Tensor]]

#: Levenberg-Marquardt: shares of unexplained variance well below this one are not reduced further.
SMALL_SHARE = 1e-5
#: Cost of a parameter's squared distance from its initial value, relative to the logarithm of an unexplained share.
_TIE = 2e-3
#: Step of forward differences; parameters are logarithms or of the order of 1.
_DIFFERENCE = 4e-3
#: The fit ends when all steps on the same derivatives have gained less.
_GAIN = 0.04
#: Steps with updated derivatives before they are computed again.
_REUSE = 5
#: Adam: images per step, and per batch without derivatives.
_BATCH, _LARGE_BATCH = 8, 32
#: Steps between two evaluations on the validation set, and evaluations without a gain before the end.
_EVERY, _PATIENCE = 25, 20
#: Adam's decay rates, and the steps over which its learning rate rises.
_BETAS, _RISE = (0.9, 0.99), 20
#: Unexplained share below which a further decrease counts little: stations before the last reach 1e-5.
_NEGLIGIBLE = 1e-3
#: Hz added to rates and predictions, so that no count has probability 0.
_LEAST_RATE = 0.05
#: Decay of the running mean of the unexplained shares, per step.
_DECAY = 0.95


@dataclass(frozen=True)
class Targets:
    """Responses to fit, the images that validate a fit, and the misfit of predictions.

    The misfit of a station is the mean squared error or, for counts of spikes, the deviance: for the mean n̄ over trials of an
    image and μ expected spikes, Σ n̄ ln(n̄/μ) − (n̄ − μ), whose slope is that of the Poisson likelihood of all trials (McCullagh &
    Nelder 1989, §2.3). The unexplained share is the misfit over that of the channel's mean.

    Attributes
    ----------
    responses : mapping of str to Tensor, (image, channel, y, x)
        By station; Hz for spiking cells, means over trials.
    is_validation : numpy.ndarray of bool, (image,)
        Images of the validation set, which is never fitted. It selects the best state and ends the fit; where it is empty, all
        images do both.
    counting_s : mapping of str to float
        Seconds over which spikes were counted, of the stations whose responses are counts.
    weights : mapping of str to Tensor, (image,)
        Number of repeats of each image, relative to their mean, of the stations where it differs; images count in proportion.
    """

    responses: Mapping[str, Tensor]
    is_validation: np.ndarray
    counting_s: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, station: str) -> Targets:
        """The targets of one station."""
        seconds = {name: value for name, value in self.counting_s.items() if name == station}
        weights = {name: value for name, value in self.weights.items() if name == station}
        return Targets({station: self.responses[station]}, self.is_validation, seconds, weights)

    @cached_property
    def fitted(self) -> np.ndarray:
        """Indices of the images that are fitted."""
        return np.flatnonzero(~self.is_validation)

    @cached_property
    def validation(self) -> Tensor:
        """Indices of the images that validate."""
        return torch.from_numpy(np.flatnonzero(self.is_validation) if self.is_validation.any() else self.fitted)

    @cached_property
    def _of_mean(self) -> dict[str, Tensor]:
        every = torch.arange(len(self.is_validation))
        return {n: self._misfit(n, v.mean(dim=(0, 2, 3), keepdim=True), every) for n, v in self.responses.items()}

    def _misfit(self, station: str, prediction: Tensor, images: Tensor) -> Tensor:
        seconds, values = self.counting_s.get(station), self.responses[station][images]
        each = (prediction - values) ** 2 if seconds is None else deviance(prediction, values, seconds)
        if station in self.weights:
            each = each * self.weights[station][images].view(-1, 1, 1, 1)
        return each.mean(dim=(0, 2, 3))

    def unexplained(self, predict: Predict, images: Tensor) -> dict[str, Tensor]:
        """Unexplained share of each channel, (channel,) by station, with its gradient."""
        predictions = predict(images)
        return {n: self._misfit(n, predictions[n], images) / self._of_mean[n] for n in self.responses}

    @torch.no_grad()
    def unexplained_on_validation(self, predict: Predict) -> dict[str, Tensor]:
        """The same on the validation set."""
        total = {name: torch.zeros_like(values) for name, values in self._of_mean.items()}
        for some in self.validation.split(_LARGE_BATCH):
            for name, values in self.unexplained(predict, some).items():
                total[name] += values * len(some) / len(self.validation)
        return total


def deviance(prediction: Tensor, rate: Tensor, seconds: float) -> Tensor:
    """Half the Poisson deviance of mean counts from expected ones, both given as rates (Hz)."""
    expected, mean = seconds * (prediction.clamp_min(0) + _LEAST_RATE), seconds * (rate + _LEAST_RATE)
    return mean * (mean / expected).log() - (mean - expected)


@dataclass(frozen=True)
class AdamSettings:
    """Settings of `fit_adam`.

    Attributes
    ----------
    steps : int
        Largest number of steps.
    rate : float
        Learning rate of parameters that are logarithms; for roots of weights, relative to the largest root.
    seed : int
        Seed of the choice of images.
    """

    steps: int = 200
    rate: float = 3e-3
    seed: int = 0


@torch.enable_grad()
def fit_adam(module: nn.Module, predict: Predict, targets: Targets, settings: AdamSettings) -> float:
    """Fit all parameters of a module by Adam (Kingma & Ba 2015) on a few images at a time, in place.

    The loss is the sum over stations of the mean over channels of the logarithm of the unexplained share. The state with the
    lowest loss on the validation set is kept. Weights of V1 that are 0 stay 0, because their roots have no slope.

    Parameters
    ----------
    module : torch.nn.Module
    predict : callable
        Predicts, with the present parameters, the responses by station to the images of some indices.
    targets : Targets
    settings : AdamSettings

    Returns
    -------
    float
        Geometric mean over stations and channels of the unexplained shares on the validation set, where `_NEGLIGIBLE` is
        added to each share and subtracted from the mean.
    """
    steps, random = settings.steps, np.random.default_rng([settings.seed, 32])

    def validation_loss() -> float:
        shares = targets.unexplained_on_validation(predict).values()
        return float(np.mean([float((values + _NEGLIGIBLE).log().mean()) for values in shares]))

    optimiser = torch.optim.Adam(_groups(module, settings.rate), betas=_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / _RISE) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    least, waited = validation_loss(), 0
    initial, best = least, _copy_state(module)
    usual: dict[str, Tensor] = {}
    for step in progress(range(steps), what="refining"):
        images = torch.from_numpy(random.choice(targets.fitted, min(_BATCH, len(targets.fitted)), replace=False))
        shares = targets.unexplained(predict, images)
        for name, values in shares.items():
            now = values.detach()
            usual[name] = _DECAY * usual[name] + (1 - _DECAY) * now if name in usual else now
        # The slope of a logarithm: each channel's share over its running mean.
        loss = torch.stack([(values / (usual[name] + _NEGLIGIBLE)).mean() for name, values in shares.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % _EVERY == 0 or step + 1 == steps:
            found = validation_loss()
            waited += 1
            if found < least:
                least, waited, best = found, 0, _copy_state(module)
            if waited == _PATIENCE:
                break
    module.zero_grad(set_to_none=True)
    module.load_state_dict(best)
    before, after = (math.exp(value) - _NEGLIGIBLE for value in (initial, least))
    message = "refined %s: unexplained share on the validation set %.2e, before %.2e"
    logger.info(message, ", ".join(targets.responses), after, before)
    return after


def _groups(module: nn.Module, rate: float) -> list[dict]:
    """Parameter groups of a module, each with its learning rate."""
    return [
        {
            "params": [p],
            "lr": rate * (float(p.detach().abs().max()) if name.split(".")[-1].startswith("root_") else 1.0),
        }
        for name, p in module.named_parameters()
        if p.requires_grad
    ]


def _copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in module.state_dict().items()}


def levenberg_marquardt(
    parameters: Sequence[tuple[str, Tensor]],
    origin: Sequence[Tensor],
    predict: Callable[[str, bool], list[Tensor]],
    responses: Sequence[Tensor],
    iterations: int = 60,
) -> float:
    """Fit parameters to the mean over channels of the logarithm of the unexplained share of variance, in place.

    Derivatives are forward differences, followed by a few steps with Broyden's updates. Parameters that the responses do
    not determine stay near their initial values.

    Parameters
    ----------
    parameters : sequence of (str, Tensor)
        Each with the name of the first step of the prediction that depends on it, in the order of the steps.
    origin : sequence of Tensor
        Initial value of each of `parameters`.
    predict : callable
        Prediction for each of `responses`, computed from the step of that name on; the second argument says whether
        later calls start from its intermediate results.
    responses : sequence of Tensor, (image, channel, y, x)
    iterations : int
        Largest number of steps.

    Returns
    -------
    float
        Geometric mean of the unexplained shares, over responses.
    """
    start = torch.cat(list(origin))
    deviation = [r.std(dim=(0, 2, 3), keepdim=True) for r in responses]
    first = parameters[0][0]

    def residuals(step: str, keep: bool) -> list[Tensor]:
        """Residuals in standard deviations."""
        return [(p - r) / d for p, r, d in zip(predict(step, keep), responses, deviation, strict=True)]

    def loss(residual: list[Tensor]) -> float:
        distance = torch.cat([values for _, values in parameters]) - start
        return sum(float((_shares(r) + SMALL_SHARE).log().mean()) for r in residual) + _TIE * float(distance @ distance)

    def differences(residual: list[Tensor]) -> Tensor:
        """Derivatives of the residuals, (parameter, ...), by forward differences."""
        now, slopes = _flat(residual), []
        for step, values in parameters:
            for k in range(len(values)):
                kept = values[k].clone()
                values[k] += _DIFFERENCE
                slopes.append((_flat(residuals(step, False)) - now) / _DIFFERENCE)
                values[k] = kept
        return torch.stack(slopes)

    residual = residuals(first, True)
    least, damping = loss(residual), 1e-2
    jacobian, age, before_these = differences(residual), 0, least
    for _ in range(iterations):
        # Near the present state the logarithm of a share is a square with one over the share as its weight.
        weights = _flat([_weight(r).expand_as(r) for r in residual])
        weighted = jacobian * weights
        distance = torch.cat([values for _, values in parameters]) - start
        curvature = (weighted @ weighted.T).double() + _TIE * torch.eye(len(start), dtype=torch.double)
        gradient = (weighted @ (_flat(residual) * weights) + _TIE * distance).double()
        scale = curvature.diagonal() + 1e-6 * curvature.diagonal().max()
        old, old_residual = [values.clone() for _, values in parameters], residual
        gained, step = 0.0, torch.zeros_like(start)
        for _ in range(6 if age == 0 else 2):
            # Steps longer than a factor e leave the range of the linearisation.
            step = torch.linalg.solve(curvature + torch.diag(damping * scale), -gradient).clamp(-1, 1).to(start.dtype)
            for (_, values), was, part in zip(parameters, old, step.split([len(v) for v in old]), strict=True):
                values.copy_(was + part)
            residual = residuals(first, True)
            gained = least - loss(residual)
            if gained > 0:
                break
            damping *= 5
        if gained > 0:
            least, damping = least - gained, max(damping / 5, 1e-7)
            logger.debug("loss %.4f, damping %.1e", least, damping)
        else:
            for (_, values), was in zip(parameters, old, strict=True):
                values.copy_(was)
            residual = residuals(first, True)
        if gained < _GAIN / 10 or age == _REUSE:
            if before_these - least < _GAIN:
                break
            jacobian, age, before_these = differences(residual), 0, least
        else:
            # Broyden's update: the difference between the actual and the expected effect of the step.
            surprise = _flat(residual) - _flat(old_residual) - step @ jacobian
            jacobian += torch.outer(step / (step @ step), surprise)
            age += 1
    return float(np.exp(least / len(responses)))


def _shares(residual: Tensor) -> Tensor:
    """Unexplained share of each channel's variance, of residuals in standard deviations."""
    return (residual**2).mean(dim=(0, 2, 3))


def _flat(residual: list[Tensor]) -> Tensor:
    return torch.cat([r.flatten() for r in residual])


def _weight(residual: Tensor) -> Tensor:
    """Weights of channels with which the sum of squared residuals changes as the mean logarithm of the shares does."""
    _, channels, height, width = residual.shape
    places = len(residual) * height * width
    return ((_shares(residual) + SMALL_SHARE) * channels * places).rsqrt()[:, None, None]
