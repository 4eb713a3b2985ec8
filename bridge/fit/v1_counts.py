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

from bridge.evaluate.reverse_correlation import moments
from bridge.fit.refinement import descend, unexplained
from bridge.fit.v1_rates import non_negative, pool
from bridge.model.stages import STRIDE, V1, recorded

#: Steps of the refinement that tells a kind's class, or follows earlier stations, and of the one of all; Adam's rate.
_FEW_STEPS, _STEPS, _RATE = 150, 1_500, 1e-2

#: Root of the least weight that is begun with, over the kind's largest; of which the least is this much of all kinds' largest.
_LEAST_ROOT, _LEAST_LARGEST = 0.03, 0.1

#: Ridge of the regressions, over the mean variance of what arrives.
_RIDGE = 1e-4

#: Images on which strengths are matched and complex cells' weights begun, turns of matching, and by how much one changes at most.
_SOME, _TURNS, _AT_MOST = 96, 12, 10.0

#: Share of the places, where least is to be expected, at which cells are taken to rest; the least rate, Hz, of a channel.
_AT_REST, _LEAST_RATE = 0.1, 0.05


def fit_v1_to_counts(
    v1: V1,
    relay: Tensor,
    maintained: Tensor,
    response: Tensor,
    seconds: float,
    is_aside: np.ndarray,
    seed: int,
    afresh: bool = True,
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
        Which images only choose, as `descend` takes them.
    seed : int
    afresh : bool
        Whether to begin with guesses rather than with what V1 has.
    """
    if afresh:
        begin(v1, relay, maintained, response.chunk(2, dim=1)[0], seconds, is_aside, seed)
        some = _evenly(torch.from_numpy(np.flatnonzero(~is_aside)))
        begin_complex(v1, relay[:, some], maintained, response.chunk(2, dim=1)[1][some], seed)

    def tell(images: Tensor) -> dict[str, Tensor]:
        return {"v1": v1(relay[:, images], maintained)}

    steps = _STEPS if afresh else _FEW_STEPS
    descend(v1, tell, {"v1": response}, is_aside, seed, steps, _RATE, {"v1": seconds})


def begin(
    v1: V1, relay: Tensor, maintained: Tensor, simple: Tensor, seconds: float, is_aside: np.ndarray, seed: int
) -> None:
    """Guess each kind's class of relay cells and its weights; other parameters as of `fit_v1_to_counts`."""
    kinds = simple.shape[1]
    fitted = torch.from_numpy(np.flatnonzero(~is_aside))
    aside = torch.from_numpy(np.flatnonzero(is_aside)) if is_aside.any() else fitted
    counted, response = {"v1": seconds}, {"v1": simple}
    tried, missed = [], []
    for parasol in (False, True):
        one = copy.deepcopy(v1)
        one.hear([parasol] * kinds)
        regress(one, relay[:, fitted], maintained, simple[fitted])

        def tell(images: Tensor, one: V1 = one) -> dict[str, Tensor]:
            return {"v1": one(relay[:, images], maintained)[:, :kinds]}

        descend(one, tell, response, is_aside, seed, _FEW_STEPS, _RATE, counted)
        tried.append(one)
        missed.append(unexplained(tell, response, aside, counted)["v1"])
    is_parasol = missed[1] < missed[0]
    # What all kinds share comes from the class that most of them hear.
    most = bool(is_parasol.float().mean() > 0.5)
    usual, other, odd = tried[most], tried[not most], is_parasol != most
    v1.load_state_dict(usual.state_dict())
    with torch.no_grad():
        v1.root_weight[odd] = other.root_weight[odd]
        v1.log_spontaneous[:kinds][odd] = other.log_spontaneous[:kinds][odd]
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
    some = _evenly(torch.arange(simple.shape[0]))
    drives = v1.drives(arriving[:, some])
    rest = _resting(recorded(drives[0]), simple[some])
    v1.log_spontaneous[: len(rest)] = rest.log()
    wanted = (simple[some].mean(dim=(0, 2, 3)) - rest).clamp_min(_LEAST_RATE)
    strength = torch.ones_like(wanted)
    for _ in range(_TURNS):
        told = recorded(v1.fired(v1.powers(drives * strength[:, None, None]))[0]).mean(dim=(0, 2, 3))
        factor = (wanted / told.clamp_min(_LEAST_RATE / _AT_MOST)).clamp(1 / _AT_MOST, _AT_MOST)
        strength *= factor ** (1 / v1.log_exponent.exp())
    v1.root_weight.mul_(strength[:, None, None, None].sqrt())


@torch.no_grad()
def begin_complex(v1: V1, relay: Tensor, maintained: Tensor, complex_: Tensor, seed: int) -> None:
    """Guess where complex cells rest, and their weights on the simple cells of their kind."""
    arriving = v1.arriving(relay, maintained)
    fired = v1.fired(v1.powers(v1.drives(arriving)))
    rest = _resting(recorded(fired.sum(dim=0)), complex_)
    v1.log_spontaneous[-len(rest) :] = rest.log()
    pool(v1, arriving, complex_ - rest[:, None, None], np.random.default_rng([seed, 33]), anywhere)
    _raise_least(v1.root_complex_weight)


def _resting(expected: Tensor, rates: Tensor) -> Tensor:
    """The mean rate of each channel where least is to be expected; both (image, K, y, x)."""
    expected, rates = (each.transpose(0, 1).flatten(1) for each in (expected, rates))
    least = expected.argsort(dim=1)[:, : max(1, round(_AT_REST * expected.shape[1]))]
    return rates.gather(1, least).mean(dim=1).clamp_min(_LEAST_RATE)


def _evenly(images: Tensor) -> Tensor:
    """Some of the images, from first to last."""
    return images[torch.linspace(0, len(images) - 1, min(len(images), _SOME)).long()]


def anywhere(rates: Tensor, random: np.random.Generator, places: int = 6_000) -> Tensor:
    """Places by chance, whatever was fired there."""
    return torch.from_numpy(random.permutation(len(rates))[:places])


def _raise_least(roots: Tensor) -> None:
    """Let no root be less than `_LEAST_ROOT` of its kind's largest."""
    largest = roots.amax(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST_LARGEST * float(roots.max()))
    roots.copy_(torch.maximum(roots, _LEAST_ROOT * largest))
