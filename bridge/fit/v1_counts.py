"""Fit of V1 to counts of spikes, behind the fitted relay.

Counts over a few trials are noisy. Their root, from which `v1_rates` starts, is mostly noise at low rates, and the places where
a cell fired are partly a choice of its noise. Here all places are used, and rates enter linearly.

Simple cells' weights start from the non-negative least squares of their rates on the synaptic input, which for cells that raise a
weighted sum to a power are about proportional to the weights (Chichilnisky 2001, eq. 4); none starts at 0, where its root has
no slope. Regressions on midget and on parasol cells explain similar shares, because both classes see the same image. V1 is
therefore fitted by Adam to the likelihood of simple cells' counts once with midget afferents for all cell types and once with
parasol afferents, and each type gets the class that predicts the validation set better. Complex cells' weights start from
the non-negative least squares of their rates on those of the simple cells of their type. Finally Adam fits all of V1.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from bridge.evaluate.reverse_correlation import moments
from bridge.fit.data import Cortex, Relay
from bridge.fit.optimisers import AdamSettings, Targets, fit_adam
from bridge.fit.v1_rates import fit_complex_weights, non_negative
from bridge.model.stages import STRIDE
from bridge.model.time import window_mean

#: Adam's steps for the choice of classes and after a change of earlier stations, and for all of V1; its learning rate.
_FEW_STEPS, _STEPS, _RATE = 150, 1_500, 1e-2
#: Least initial root relative to the largest of the cell type, which is at least this share of the largest of all types.
_LEAST_ROOT, _LEAST_LARGEST = 0.03, 0.1
#: Ridge of the regressions, relative to the mean variance of the synaptic input.
_RIDGE = 1e-4
#: Images for the strengths and for complex cells' initial weights, iterations of the strengths, and the largest factor of one.
_SOME, _TURNS, _AT_MOST = 96, 12, 10.0
#: Share of the places with the lowest expected rates at which cells are taken to rest; the least rate, Hz, of a channel.
_AT_REST, _LEAST_RATE = 0.1, 0.05


def fit_v1_to_counts(cortex: Cortex, relay: Relay, targets: Targets, seed: int, initialise: bool = True) -> None:
    """Fit V1 of spiking cells to counts, in place, and the synapses before it unless their parameters are fixed.

    Parameters
    ----------
    cortex : Cortex
        With the orientations of V1's cell types.
    relay : Relay
    targets : Targets
        The responses "v1": rates (Hz) over trials of simple cells of every type, then of complex cells.
    seed : int
    initialise : bool
        Whether to start from guesses, rather than from the present weights.
    """
    if initialise:
        simple, complex_ = targets.responses["v1"].chunk(2, dim=1)
        _initialise_simple(cortex, relay, replace(targets, responses={"v1": simple}), seed)
        some = _spread_out(torch.from_numpy(targets.fitted))
        initialise_complex(cortex, relay.subset(some), complex_[some], seed)

    def predict(images: Tensor) -> dict[str, Tensor]:
        return {"v1": cortex(relay.subset(images))}

    fit_adam(cortex, predict, targets, AdamSettings(_STEPS if initialise else _FEW_STEPS, _RATE, seed))


def _initialise_simple(cortex: Cortex, relay: Relay, targets: Targets, seed: int) -> None:
    """Initialise each cell type's relay class and weights; the responses "v1" of `targets` are those of simple cells."""
    simple = targets.responses["v1"]
    n_types = simple.shape[1]
    fitted = torch.from_numpy(targets.fitted)
    candidates, unexplained = [], []
    for parasol in (False, True):
        candidate = copy.deepcopy(cortex)
        candidate.v1.set_relay_classes([parasol] * n_types)
        regress(candidate, relay.subset(fitted), simple[fitted])

        def predict(images: Tensor, candidate: Cortex = candidate) -> dict[str, Tensor]:
            return {"v1": candidate(relay.subset(images))[:, :n_types]}

        fit_adam(candidate, predict, targets, AdamSettings(_FEW_STEPS, _RATE, seed))
        candidates.append(candidate)
        unexplained.append(targets.unexplained_on_validation(predict)["v1"])
    is_parasol = unexplained[1] < unexplained[0]
    # The shared parameters come from the class of most types.
    most = bool(is_parasol.float().mean() > 0.5)
    usual, other, odd = candidates[most], candidates[not most], is_parasol != most
    cortex.load_state_dict(usual.state_dict())
    with torch.no_grad():
        cortex.v1.root_weight[odd] = other.v1.root_weight[odd]
        cortex.v1.log_spontaneous[:n_types][odd] = other.v1.log_spontaneous[:n_types][odd]
    cortex.v1.set_relay_classes(is_parasol.tolist())


@torch.no_grad()
def regress(cortex: Cortex, relay: Relay, simple: Tensor) -> None:
    """Set the weights of cell types with one relay class to the regression of rates, scaled to predict the mean rates."""
    v1 = cortex.v1
    first = 2 * int(v1.parasol[0])
    synaptic = cortex.synaptic_input(relay)
    found = moments(window_mean(synaptic)[:, first : first + 2], simple, v1.reach, STRIDE)
    ridge = _RIDGE * float(found.gram.diagonal().mean())
    half = linalg.cholesky(found.gram.numpy() + ridge * np.eye(len(found.gram)), lower=False)
    # As many rows as weights, with the normal equations of all places.
    rows = torch.from_numpy(half).float()
    targets = linalg.solve_triangular(half, found.moment.numpy(), trans="T")
    for k in range(simple.shape[1]):
        weight = non_negative(rows, torch.from_numpy(targets[:, k]).float())
        v1.root_weight[k] = weight.sqrt().view_as(v1.root_weight[k])
    _raise_least(v1.root_weight)
    some = _spread_out(torch.arange(simple.shape[0]))
    drives = v1.drives(synaptic[:, some])
    rest = _resting_rates(window_mean(drives[0]), simple[some])
    v1.log_spontaneous[: len(rest)] = rest.log()
    wanted = (simple[some].mean(dim=(0, 2, 3)) - rest).clamp_min(_LEAST_RATE)
    strength = torch.ones_like(wanted)
    for _ in range(_TURNS):
        mean = window_mean(v1.simple_rates(v1.excitation(drives * strength[:, None, None]))[0]).mean(dim=(0, 2, 3))
        factor = (wanted / mean.clamp_min(_LEAST_RATE / _AT_MOST)).clamp(1 / _AT_MOST, _AT_MOST)
        strength *= factor ** (1 / v1.log_exponent.exp())
    v1.root_weight.mul_(strength[:, None, None, None].sqrt())


@torch.no_grad()
def initialise_complex(cortex: Cortex, relay: Relay, complex_: Tensor, seed: int) -> None:
    """Initialise the resting rates of complex cells and their weights on simple cells, in place.

    Parameters
    ----------
    cortex : Cortex
        With fitted simple cells.
    relay : Relay
    complex_ : Tensor, (image, K, h, w)
        Rates (Hz) over trials.
    seed : int
    """
    v1, synaptic = cortex.v1, cortex.synaptic_input(relay)
    simple = v1.simple_rates(v1.excitation(v1.drives(synaptic)))
    rest = _resting_rates(window_mean(simple.sum(dim=0)), complex_)
    v1.log_spontaneous[-len(rest) :] = rest.log()
    random = np.random.default_rng([seed, 33])
    fit_complex_weights(v1, synaptic, complex_ - rest[:, None, None], random, _random_places)
    _raise_least(v1.root_complex_weight)


def _resting_rates(expected: Tensor, rates: Tensor) -> Tensor:
    """Mean rate of each channel where the lowest rates are expected; both (image, K, y, x)."""
    expected, rates = (each.transpose(0, 1).flatten(1) for each in (expected, rates))
    least = expected.argsort(dim=1)[:, : max(1, round(_AT_REST * expected.shape[1]))]
    return rates.gather(1, least).mean(dim=1).clamp_min(_LEAST_RATE)


def _spread_out(images: Tensor) -> Tensor:
    """At most `_SOME` of the images, evenly from first to last."""
    return images[torch.linspace(0, len(images) - 1, min(len(images), _SOME)).long()]


def _random_places(rates: Tensor, random: np.random.Generator) -> Tensor:
    return torch.from_numpy(random.permutation(len(rates))[:6_000])


def _raise_least(roots: Tensor) -> None:
    """Raise all roots to at least `_LEAST_ROOT` of their cell type's largest."""
    largest = roots.amax(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST_LARGEST * float(roots.max()))
    roots.copy_(torch.maximum(roots, _LEAST_ROOT * largest))
