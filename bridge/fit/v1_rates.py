"""System identification of V1 behind the fitted relay.

A simple cell's rate beyond rest is a power of its drive over what normalisation and surround divide by. Both pools can be
told from the responses themselves before anything else is known, but for their strengths, which are guessed; a root of what
is left is linear in what arrives from relay cells, and weights are its non-negative least squares. Then, in turns: the few
parameters that all kinds share, by Levenberg's and Marquardt's method, and each kind's weights, by Gauss's and Newton's with
non-negative least squares, divisors being what the twin says. A complex cell's weights are the non-negative least squares of
its rates over those of its kind's simple cells, of both phases, as the twin has them. All this is of rates without noise;
`cortical_counts` fits cells that spike.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from scipy import linalg, optimize
from torch import Tensor
from torch.nn import functional

from bridge.fit.optimisers import minimise
from bridge.model.convolution import pad
from bridge.model.stages import STRIDE, V1, recorded

logger = logging.getLogger("precortical")

#: What all kinds share is fitted to whole images of about so many places.
_SHARED_PLACES = 8_192

#: Turns of weights and of what all kinds share.
TURNS = 4

#: Steps in which what all kinds share is fitted at a time.
_ITERATIONS = 12

#: Rates below this one, Hz, count as none.
_LEAST_RATE = 1e-3

#: Places at which a kind's cells are met when its afferents are fitted.
_PLACES = 3_000

#: Share of a channel's largest rate beyond rest above which a cell surely fires.
_FIRING = 0.02

#: Of what normalisation divides by where most fires, the guessed share that the pool makes.
_NORMALISED = 0.7

#: Shares of the way to new weights that are tried.
_STEPS = (1.0, 0.5, 0.2, 0.05)

#: The fit of a kind's weights ends when a step gains less of what is unexplained.
_GAIN = 0.03

#: Kinds of which more variance than this is unexplained are guessed anew.
_POOR = 0.1

#: Relay cells that weigh more than this share of a kind's heaviest, and their neighbours, are weighed again.
_COUNTING = 0.03

#: Simple cells that weigh less than this share of the heaviest are taken from a complex cell.
_FEW = 0.1

#: Afferents that are added at a time.
_ADDED = 30

#: Cost of square weights, relative to the afferents' mean square.
_RIDGE = 1e-4


class Afferents:
    """What arrives around each V1 cell."""

    def __init__(self, v1: V1, arriving: Tensor) -> None:
        taps = 2 * v1.reach + 1
        parts, images = arriving.shape[:2]
        around = pad(arriving.flatten(0, 1), v1.reach, "replicate").unflatten(0, (parts, images))
        around = around.transpose(0, 1).unflatten(2, (2, 2))
        # (image, part, class, sign, row, column, tap, tap)
        self._view = around.unfold(4, taps, STRIDE).unfold(5, taps, STRIDE)

    def at(self, places: Tensor, parasol: int, reach: int) -> Tensor:
        """(place, part, afferent) out to `reach` pixels, ON cells first; `places` are numbered image by image, row by row."""
        height, width = self._view.shape[4:6]
        image, row, column = places // (height * width), places // width % height, places % width
        return _central(self._view, reach)[image, :, parasol, :, row, column].flatten(2)


def _central(kernel: Tensor, reach: int) -> Tensor:
    """What of (..., tap, tap) is within `reach` of the middle, as a view."""
    middle = kernel.shape[-1] // 2
    inside = slice(middle - reach, middle + reach + 1)
    return kernel[..., inside, inside]


def non_negative(rows: Tensor, target: Tensor, start: Tensor | None = None, rounds: int = 12) -> Tensor:
    """Non-negative least squares; of many afferents, those that promise most are added in turn."""
    ridge = _RIDGE * float((rows**2).sum()) / rows.shape[1]
    active = torch.zeros(rows.shape[1], dtype=torch.bool) if start is None else start > 0
    weight = rows.new_zeros(rows.shape[1])
    for turn in range(rounds):
        slope = rows.T @ (target - rows @ weight) - ridge * weight
        if turn > 0 or not active.any():
            slope[active] = 0
            best = slope.topk(min(_ADDED, len(slope)))
            added = best.indices[best.values > 1e-3 * float((rows.T @ target).abs().max())]
            if not len(added):
                break
            active[added] = True
        chosen = torch.nonzero(active)[:, 0]
        few = rows[:, chosen]
        gram, moment = (few.T @ few).double().numpy(), (few.T @ target).double().numpy()
        half = linalg.cholesky(gram + ridge * np.eye(len(gram)), lower=False)
        found, _ = optimize.nnls(half, linalg.solve_triangular(half, moment, trans="T"), maxiter=10 * len(gram))
        weight.zero_()
        weight[chosen] = torch.from_numpy(found).to(weight)
        active = weight > 0
    return weight


@torch.no_grad()
def fit_v1(
    v1: V1,
    relay: Tensor,
    maintained: Tensor,
    response: Tensor,
    random: np.random.Generator,
    turns: int = TURNS,
    afresh: bool = True,
) -> None:
    """Fit V1 to responses.

    Parameters
    ----------
    v1 : V1
        Which knows its kinds' orientations.
    relay : Tensor, (PARTS, image, 4, y, x)
        Rates of the relay's twin.
    maintained : Tensor, (4, 1, 1)
        Its rates before a field that stands still.
    response : Tensor, (image, channel, v1_y, v1_x)
        Of simple cells of every kind, and then of complex cells.
    random : numpy.random.Generator
    turns : int
        Of weights and of what all kinds share.
    afresh : bool
        Whether to begin with guesses rather than with what V1 has.
    """
    simple, complex_ = response.chunk(2, dim=1)
    few = max(1, _SHARED_PLACES // simple[0, 0].numel())
    if afresh:
        v1.log_spontaneous.fill_(float(simple.min().clamp_min(_LEAST_RATE).log()))
        begin(v1, v1.arriving(relay, maintained), simple - v1.spontaneous, complex_ - v1.spontaneous, random)
    for turn in range(turns):
        if turn > 0 or not afresh:
            reweigh(v1, v1.arriving(relay, maintained), simple - v1.spontaneous, random)
        pool(v1, v1.arriving(relay, maintained), complex_ - v1.spontaneous, random)
        missed = adjust(v1, relay[:, :few], maintained, response[:few])
    logger.info("fitted v1: unexplained variance %.2e", missed)


@torch.no_grad()
def begin(v1: V1, arriving: Tensor, simple: Tensor, complex_: Tensor, random: np.random.Generator) -> None:
    """Guess each kind's class of relay cells, its weights, and the strength of normalisation; rates are beyond rest.

    Complex cells tell what all simple cells of a place fire. While no class is known, one pool normalises all; then each its own.
    """
    suppressed = 1 + v1.surround.settled(complex_.mean(dim=1, keepdim=True))
    told = complex_ * suppressed / v1.log_maximum_rate.exp()
    if v1.normalisation.log_weight.requires_grad:
        mean = v1.normalisation.settled(told.mean(dim=1))
        v1.normalisation.log_weight.add_((_NORMALISED / mean.max()).log())
    afferents = Afferents(v1, recorded(arriving)[None])
    v1.hear([False] * len(v1.parasol))
    for classes in ((0, 1), ()):
        powers = simple / v1.log_maximum_rate.exp() * suppressed * _normalised(v1, told)
        _weigh(v1, afferents, powers ** (1 / v1.log_exponent.exp()), simple, classes, random)


def _normalised(v1: V1, told: Tensor) -> Tensor:
    """What normalisation divides by, (image, K, h, w), where `told` is what is left of powers after it."""
    each = torch.einsum("nk,bkyx->bnyx", v1.relays, told)
    pooled = torch.zeros_like(each)
    for _ in range(50):
        pooled = v1.normalisation.settled(each * (1 + pooled))
    return 1 + pooled[:, [int(one) for one in v1.parasol]]


def _weigh(
    v1: V1,
    afferents: Afferents,
    roots: Tensor,
    simple: Tensor,
    classes: tuple[int, ...],
    random: np.random.Generator,
) -> None:
    """Guess weights from roots of powers; of several classes of relay cells, each kind is given the one that says more."""
    parasol_kinds = list(v1.parasol)
    for kind, root in enumerate(roots.transpose(0, 1).flatten(1)):
        places = _firing(simple[:, kind].flatten(), random)
        found = []
        for parasol in classes or (int(v1.parasol[kind]),):
            rows = afferents.at(places, parasol, v1.reach)[:, 0]
            weight = non_negative(rows, root[places])
            found.append((float(((rows @ weight - root[places]) ** 2).mean()), parasol, weight))
        _, parasol, weight = min(found, key=lambda one: one[0])
        parasol_kinds[kind] = bool(parasol)
        v1.root_weight[kind] = weight.sqrt().view_as(v1.root_weight[kind])
    v1.hear(parasol_kinds)


def _firing(rates: Tensor, random: np.random.Generator) -> Tensor:
    """Places where a kind fires, chosen by chance."""
    firing = torch.nonzero(rates > _FIRING * rates.max())[:, 0]
    return firing[torch.from_numpy(random.permutation(len(firing))[:_PLACES])]


def _some_places(rates: Tensor, random: np.random.Generator) -> Tensor:
    """Places where a kind fires, and half as many of all."""
    return torch.cat([_firing(rates, random), torch.from_numpy(random.permutation(len(rates))[: _PLACES // 2])])


@torch.no_grad()
def adjust(v1: V1, relay: Tensor, maintained: Tensor, response: Tensor) -> float:
    """Fit what all kinds share, and how strongly each is driven, to rates; returns the unexplained share of variance."""
    synapses = [v1.recovery.log_time, v1.log_release, v1.midget_synapse.log_time, v1.parasol_synapse.log_time]
    cells = [v1.log_inhibition, v1.inhibitory.log_time, v1.log_maximum_rate, v1.log_exponent]
    cells += [v1.membrane.log_time, v1.complex_membrane.log_time]
    cells += [*v1.normalisation.parameters(), *v1.surround.parameters(), v1.surround_tuning]
    log_strength = torch.zeros(len(v1.root_weight))
    named = [("synapses", p) for p in synapses] + [("cells", p) for p in cells]
    parameters = [(step, p.data.view(-1)) for step, p in named if p.requires_grad]
    parameters.append(("cells", log_strength))
    drives = v1.drives(v1.arriving(relay, maintained))

    def predict(step: str, keep: bool) -> list[Tensor]:
        nonlocal drives
        heard = v1.drives(v1.arriving(relay, maintained)) if step == "synapses" else drives
        if keep:
            drives = heard
        return [v1.respond(heard * log_strength.exp()[:, None, None])]

    missed = minimise(parameters, [p.clone() for _, p in parameters], predict, [response], _ITERATIONS)
    v1.root_weight.mul_((log_strength / 2).exp()[:, None, None, None])
    return missed


class _Cells:
    """Simple cells of one kind at some places: what arrives around them, what divides them, and what they fire.

    Parameters
    ----------
    v1 : V1
        Whose inhibition and times hold.
    seen : Tensor, (place, part, afferent)
        ON cells first.
    divisors : Tensor, (place, part)
    rates : Tensor, (place,)
        Beyond rest.
    """

    def __init__(self, v1: V1, seen: Tensor, divisors: Tensor, rates: Tensor) -> None:
        self._seen, self._rates = seen, rates
        self._window = recorded(v1.membrane.matrix())
        self._share = v1.log_maximum_rate.exp() * self._window / divisors
        self._pull = v1.inhibitory.matrix().T
        self._inhibition, self._exponent = v1.log_inhibition.exp(), v1.log_exponent.exp()

    def guess(self) -> Tensor:
        """Weights with which what arrives over the window meets the roots."""
        firing = self._rates > 0
        rows = torch.einsum("p,npf->nf", self._window, self._seen[firing]) / self._window.sum()
        return non_negative(rows, (self._rates[firing] / self._share[firing].sum(dim=1)) ** (1 / self._exponent))

    def improve(self, weight: Tensor, candidates: Tensor, turns: int) -> tuple[Tensor, float]:
        """Better weights of some afferents, those of the others being 0, and the unexplained share of variance."""
        opposite = (candidates + len(weight) // 2) % len(weight)
        heard = self._seen[:, :, candidates], self._seen[:, :, opposite]
        few = weight[candidates]
        now, slopes = self._told(few, *heard)
        least = float(((now - self._rates) ** 2).mean())
        for _ in range(turns):
            rows = torch.einsum("np,npf->nf", slopes[0], heard[0])
            rows -= torch.einsum("np,npf->nf", slopes[1], heard[1])
            change = non_negative(rows, self._rates - now + rows @ few, few) - few
            for step in _STEPS:
                tried, new_slopes = self._told(few + step * change, *heard)
                error = float(((tried - self._rates) ** 2).mean())
                if error < least:
                    break
            else:
                break
            few, now, slopes = few + step * change, tried, new_slopes
            gained, least = least - error, error
            if gained < _GAIN * least:
                break
        whole = torch.zeros_like(weight)
        whole[candidates] = few
        return whole, least / float(self._rates.var())

    def _told(self, weight: Tensor, push: Tensor, pull: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Rates beyond rest, and how they change with what pushes and what pulls."""
        opposed = pull @ weight
        excited = torch.relu(push @ weight - self._inhibition * torch.relu(opposed) @ self._pull)
        slope = self._exponent * self._share * excited ** (self._exponent - 1)
        pulled = self._inhibition * (slope @ self._pull.T) * (opposed > 0)
        return (self._share * excited**self._exponent).sum(dim=1), (slope, pulled)


@torch.no_grad()
def reweigh(v1: V1, arriving: Tensor, beyond: Tensor, random: np.random.Generator, turns: int = 3) -> None:
    """Fit each kind's weights to what its simple cells fire beyond rest, all else being as the twin has it."""
    divisors = v1.divisors(v1.powers(v1.drives(arriving)))
    afferents, parasol_kinds = Afferents(v1, arriving), list(v1.parasol)
    for kind in range(len(v1.root_weight)):
        rates = beyond[:, kind].flatten()
        places = _some_places(rates, random)
        there = divisors[:, :, kind].flatten(1).T[places]
        near = _near(v1.root_weight[kind])
        reach = _reach(near)
        cells = _Cells(v1, afferents.at(places, int(v1.parasol[kind]), reach), there, rates[places])
        kernel = _central(v1.root_weight[kind], reach)
        candidates = torch.nonzero(_central(near, reach).flatten())[:, 0]
        weight, missed = cells.improve((kernel**2).flatten(), candidates, turns)
        v1.root_weight[kind].zero_()
        kernel.copy_(weight.sqrt().view_as(kernel))
        for parasol in (0, 1) if missed > _POOR else ():
            cells = _Cells(v1, afferents.at(places, parasol, v1.reach), there, rates[places])
            guess = cells.guess()
            weight, missed_now = cells.improve(guess, torch.arange(len(guess)), 2 * turns)
            if missed_now < missed:
                missed, parasol_kinds[kind] = missed_now, bool(parasol)
                v1.root_weight[kind] = weight.sqrt().view_as(v1.root_weight[kind])
        logger.debug("kind %d: unexplained variance %.4f", kind, missed)
    v1.hear(parasol_kinds)


def _near(weight: Tensor) -> Tensor:
    """The afferents at or beside those that count in a kernel of roots, (2, tap, tap)."""
    largest = weight.amax(dim=0)
    counting = (largest > _COUNTING**0.5 * largest.max()).to(weight)
    return (functional.max_pool2d(counting[None, None], 3, 1, 1)[0, 0] > 0).expand_as(weight)


def _reach(chosen: Tensor) -> int:
    """How far from the middle the farthest of the chosen taps stands, of (2, tap, tap)."""
    return int((torch.nonzero(chosen)[:, 1:] - chosen.shape[-1] // 2).abs().max())


@torch.no_grad()
def pool(
    v1: V1,
    arriving: Tensor,
    beyond: Tensor,
    random: np.random.Generator,
    choose: Callable[[Tensor, np.random.Generator], Tensor] = _some_places,
) -> None:
    """Fit complex cells' weights on the simple cells of their kind to what they fire beyond rest, at places that are chosen."""
    reach = v1.complex_reach
    fired = v1.fired(v1.powers(v1.drives(arriving)))
    told = pad(v1.reaching_complex(fired), reach, "replicate")
    around = told.unfold(2, 2 * reach + 1, 1).unfold(3, 2 * reach + 1, 1).unflatten(1, (-1, 2))
    height, width = around.shape[3:5]
    for kind, rates in enumerate(beyond.transpose(0, 1).flatten(1)):
        places = choose(rates, random)
        rows = around[places // (height * width), kind, :, places // width % height, places % width].flatten(1)
        weight = non_negative(rows, rates[places])
        weight = non_negative(rows, rates[places], torch.where(weight > _FEW * weight.max(), weight, 0.0), rounds=1)
        error = float(((rows @ weight - rates[places]) ** 2).mean() / rates[places].var())
        logger.debug("complex kind %d: unexplained variance %.4f of %d cells", kind, error, (weight > 0).sum())
        v1.root_complex_weight[kind] = weight.sqrt().view_as(v1.root_complex_weight[kind])
