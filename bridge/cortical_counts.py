"""System identification of V1 cells that spike, behind the fitted relay.

Over some trials counts stay noisy. A root of them, with which `cortical_fitting` begins, is mostly noise where few spikes are
fired, and places where a cell fired are in part those where it happened to. Here all places count, and rates enter as they are.

Simple cells' weights begin as the non-negative least squares of their rates over what arrives, which for cells that raise a
weighted sum to a power are about in proportion to the weights (Chichilnisky 2001, eq. 4); none begins at 0, where its root has no
slope. Regressions on midget and on parasol cells say about as much, for both classes see the same image: V1 is refined once with
kinds that all hear midget cells and once with kinds that all hear parasol cells, to the likelihood of simple cells' counts
(`refinement`), and each kind is given the class that tells images left aside better. Complex cells' weights begin as the
non-negative least squares of their rates over those of their kind's simple cells. In the end all of V1 is refined.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from bridge.cortical_fitting import non_negative, pool
from bridge.refinement import descend, unexplained
from bridge.reverse_correlation import moments
from bridge.stages import STRIDE, V1, recorded

#: Steps of the refinement that tells a kind's class, and of the last one; Adam's rate.
_CLASS_STEPS, _STEPS, _RATE = 150, 1_500, 1e-2

#: Root of the least weight that is begun with, over the largest.
_LEAST_ROOT = 0.03

#: Ridge of the regressions, over the mean variance of what arrives.
_RIDGE = 1e-4

#: Images on which strengths are matched, turns of it, and by how much one changes at most.
_MATCHED, _TURNS, _AT_MOST = 96, 12, 10.0

#: Rates beyond rest, Hz, below which a channel's mean is taken for this.
_LEAST_RATE = 0.05

#: Share of the images that only choose, where photographs are too few to spare one.
_ASIDE = 0.15


def fit_v1_to_counts(
    v1: V1,
    relay: Tensor,
    maintained: Tensor,
    response: Tensor,
    seconds: float,
    is_aside: np.ndarray,
    seed: int,
) -> None:
    """Fit V1 that spikes to counts.

    Parameters
    ----------
    v1 : V1
        Which knows its kinds' orientations.
    relay : Tensor, (PARTS, image, 4, y, x)
        Rates of the relay's twin.
    maintained : Tensor, (4, 1, 1)
        Its rates before a field that stands still.
    response : Tensor, (image, channel, v1_y, v1_x)
        Rates over trials, of simple cells of every kind, and then of complex cells.
    seconds : float
        Over which spikes were counted.
    is_aside : numpy.ndarray of bool, (image,)
        Which images only choose; where there are none, some are chosen by chance.
    seed : int
    """
    if not is_aside.any():
        count = len(is_aside)
        is_aside = np.isin(np.arange(count), _random(seed).permutation(count)[: max(1, round(_ASIDE * count))])
    fitted = torch.from_numpy(np.flatnonzero(~is_aside))
    simple, complex_ = response.chunk(2, dim=1)
    begin(v1, relay, maintained, simple, seconds, is_aside, seed)
    with torch.no_grad():
        arriving = v1.arriving(relay[:, fitted], maintained)
        pool(v1, arriving, complex_[fitted] - v1.resting[1], _random(seed), anywhere)
        _raise_least(v1.root_complex_weight)

    def tell(images: Tensor) -> dict[str, Tensor]:
        return {"v1": v1(relay[:, images], maintained)}

    descend(v1, tell, {"v1": response}, is_aside, seed, _STEPS, _RATE, {"v1": seconds})


def begin(
    v1: V1, relay: Tensor, maintained: Tensor, simple: Tensor, seconds: float, is_aside: np.ndarray, seed: int
) -> None:
    """Guess each kind's class of relay cells and its weights; other parameters as of `fit_v1_to_counts`."""
    kinds = simple.shape[1]
    aside, fitted = (torch.from_numpy(np.flatnonzero(which)) for which in (is_aside, ~is_aside))
    counted, response = {"v1": seconds}, {"v1": simple}
    tried, missed = [], []
    for parasol in (False, True):
        one = copy.deepcopy(v1)
        one.hear([parasol] * kinds)
        regress(one, relay[:, fitted], maintained, simple[fitted])

        def tell(images: Tensor, one: V1 = one) -> dict[str, Tensor]:
            return {"v1": one(relay[:, images], maintained)[:, :kinds]}

        descend(one, tell, response, is_aside, seed, _CLASS_STEPS, _RATE, counted)
        tried.append(one)
        missed.append(unexplained(tell, response, aside, counted)["v1"])
    is_parasol = missed[1] < missed[0]
    midget, parasols = tried
    v1.load_state_dict(midget.state_dict())
    with torch.no_grad():
        v1.root_weight[is_parasol] = parasols.root_weight[is_parasol]
    v1.hear(is_parasol.tolist())


@torch.no_grad()
def regress(v1: V1, relay: Tensor, maintained: Tensor, simple: Tensor) -> None:
    """Give kinds, which all hear one class, the weights with which what arrives tells rates, as strong as mean rates ask."""
    first = 2 * int(v1.parasol[0])
    arriving = v1.arriving(relay, maintained)
    found = moments(recorded(arriving)[:, first : first + 2], simple, v1.reach, STRIDE)
    ridge = _RIDGE * float(found.gram.diagonal().mean())
    half = linalg.cholesky(found.gram.numpy() + ridge * np.eye(len(found.gram)), lower=False)
    # As many rows as weights, with the same normal equations as all places.
    rows, targets = (
        torch.from_numpy(half).float(),
        linalg.solve_triangular(half, found.moment.numpy(), trans="T"),
    )
    for kind in range(simple.shape[1]):
        weight = non_negative(rows, torch.from_numpy(targets[:, kind]).float())
        v1.root_weight[kind] = weight.sqrt().view_as(v1.root_weight[kind])
    _raise_least(v1.root_weight)
    some = arriving[:, :_MATCHED]
    beyond = simple[:_MATCHED] - v1.resting[0]
    wanted = beyond.mean(dim=(0, 2, 3)).clamp_min(_LEAST_RATE)
    for _ in range(_TURNS):
        told = recorded(v1.fired(v1.powers(v1.drives(some)))[0]).mean(dim=(0, 2, 3))
        factor = (wanted / told.clamp_min(_LEAST_RATE / _AT_MOST)).clamp(1 / _AT_MOST, _AT_MOST)
        v1.root_weight.mul_(factor[:, None, None, None] ** (0.5 / v1.log_exponent.exp()))


def anywhere(rates: Tensor, random: np.random.Generator, places: int = 6_000) -> Tensor:
    """Places by chance, whatever was fired there."""
    return torch.from_numpy(random.permutation(len(rates))[:places])


def _raise_least(roots: Tensor) -> None:
    """Let no root be less than `_LEAST_ROOT` of its kind's largest."""
    roots.copy_(torch.maximum(roots, _LEAST_ROOT * roots.amax(dim=(1, 2, 3), keepdim=True)))


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 33])
