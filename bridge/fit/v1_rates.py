"""Fit of V1 to rates without noise, behind the fitted relay; `v1_counts` fits V1 to counts of spikes.

A simple cell's rate above rest is a power of its drive, divided by normalisation and surround. The shape of both pools is
estimated from the responses alone, and their strength is guessed; a root of the rest is then linear in the synaptic input, and
the weights are its non-negative least squares. Three steps alternate from then on: Levenberg-Marquardt for the few parameters
that all cell types share, Gauss-Newton for each type's weights of the surround's pools, and Gauss-Newton with non-negative least
squares for each type's afferents, with the divisors of the present model. A complex cell's weights are the non-negative least
squares of its rates on those of its type's modelled simple cells, of both phases.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import linalg, optimize
from torch import Tensor
from torch.nn import functional

from bridge.fit.data import Cortex, Relay
from bridge.fit.optimisers import SMALL_SHARE, levenberg_marquardt
from bridge.model.convolution import pad
from bridge.model.stages import STRIDE, V1
from bridge.model.time import window_mean

logger = logging.getLogger("precortical")

#: Approximate number of places, in whole images, to which the shared parameters are fitted.
_SHARED_PLACES = 8_192
#: Alternations between weights and shared parameters.
TURNS = 4
#: Steps per fit of the shared parameters.
_ITERATIONS = 12
#: Steps per fit of the surrounds, their forward difference and least weight, per Hz.
_SURROUND_STEPS, _DIFFERENCE, _LEAST_SURROUND = 3, 1e-3, 1e-8
#: Costs, relative to the mean curvature, of squared changes of the weights and of their sum.
_DAMPING, _SAME_SUM = 1e-3, 1e3
#: Least spontaneous rate, Hz.
_LEAST_RATE = 1e-3
#: Places at which a cell type's afferents are fitted.
_PLACES = 3_000
#: Share of a channel's largest rate above rest, above which a cell counts as active.
_FIRING = 0.02
#: Guess of the pool's share in the largest divisor of normalisation.
_NORMALISED = 0.7
#: Shares of a step towards new weights that are tried.
_STEPS = (1.0, 0.5, 0.2, 0.05)
#: The fit of a type's weights ends when a step reduces the error by less than this share.
_GAIN = 0.03
#: Cell types with a larger unexplained share of variance start again from a guess.
_POOR = 0.1
#: Relay cells above this share of a type's largest weight, and their neighbours, are fitted again.
_COUNTING = 0.03
#: Simple cells below this share of the largest weight are removed from a complex cell.
_FEW = 0.1
#: Afferents that are added at a time.
_ADDED = 30
#: Cost of squared weights, relative to the afferents' mean square.
_RIDGE = 1e-4


class Afferents:
    """Synaptic input around each V1 cell."""

    def __init__(self, v1: V1, synaptic: Tensor) -> None:
        taps = 2 * v1.reach + 1
        intervals, images = synaptic.shape[:2]
        around = pad(synaptic.flatten(0, 1), v1.reach, "replicate").unflatten(0, (intervals, images))
        around = around.transpose(0, 1).unflatten(2, (2, 2))
        # (image, interval, class, sign, row, column, tap, tap)
        self._view = around.unfold(4, taps, STRIDE).unfold(5, taps, STRIDE)

    def at(self, places: Tensor, parasol: int, reach: int) -> Tensor:
        """Input (place, interval, afferent) within `reach` pixels, ON cells first.

        `places` are numbered image by image, row by row.
        """
        height, width = self._view.shape[4:6]
        image, row, column = places // (height * width), places // width % height, places % width
        return _central(self._view, reach)[image, :, parasol, :, row, column].flatten(2)


def _central(kernel: Tensor, reach: int) -> Tensor:
    """View of (..., tap, tap) within `reach` of the middle."""
    middle = kernel.shape[-1] // 2
    inside = slice(middle - reach, middle + reach + 1)
    return kernel[..., inside, inside]


def non_negative(rows: Tensor, target: Tensor, start: Tensor | None = None, rounds: int = 12) -> Tensor:
    """Non-negative least squares, (n,), that adds the most promising of many afferents in turn.

    Parameters
    ----------
    rows : Tensor, (place, n)
    target : Tensor, (place,)
    start : Tensor, (n,), optional
        Weights whose positive entries are fitted first.
    rounds : int
        Times that afferents are added, at most.
    """
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
    cortex: Cortex,
    relay: Relay,
    response: Tensor,
    random: np.random.Generator,
    turns: int = TURNS,
    initialise: bool = True,
) -> None:
    """Fit V1 to rates, in place, and the synapses before it unless their parameters are fixed (``requires_grad`` is False).

    Parameters
    ----------
    cortex : Cortex
        With the orientations of V1's cell types.
    relay : Relay
    response : Tensor, (image, channel, v1_y, v1_x)
        Rates (Hz) of simple cells of every type, then of complex cells.
    random : numpy.random.Generator
    turns : int
        Alternations between weights and shared parameters.
    initialise : bool
        Whether to start from guesses, rather than from the present weights.
    """
    v1, (simple, complex_) = cortex.v1, response.chunk(2, dim=1)
    few = slice(max(1, _SHARED_PLACES // simple[0, 0].numel()))
    if initialise:
        v1.log_spontaneous.fill_(float(simple.min().clamp_min(_LEAST_RATE).log()))
        _guess(v1, cortex.synaptic_input(relay), simple - v1.spontaneous, complex_ - v1.spontaneous, random)
    least, best, classes = math.inf, cortex.state_dict(), v1.parasol
    for turn in range(turns):
        if turn > 0 or not initialise:
            _fit_simple_weights(v1, cortex.synaptic_input(relay), simple - v1.spontaneous, random)
        fit_complex_weights(v1, cortex.synaptic_input(relay), complex_ - v1.spontaneous, random)
        _fit_shared(cortex, relay.subset(few), response[few])
        # A guess of the afferents does not determine surrounds.
        steps = 0 if initialise and turn == 0 else _SURROUND_STEPS
        unexplained = _fit_surrounds(cortex, relay.subset(few), response[few], steps)
        logger.info("fitted v1, turn %d of %d: unexplained variance %.2e", turn + 1, turns, unexplained)
        # New afferents change the divisors that they were fitted with, so a turn may increase the error.
        if unexplained < least:
            least, best, classes = unexplained, copy.deepcopy(cortex.state_dict()), v1.parasol
    cortex.load_state_dict(best)
    v1.set_relay_classes(classes)


@torch.no_grad()
def _guess(v1: V1, synaptic: Tensor, simple: Tensor, complex_: Tensor, random: np.random.Generator) -> None:
    """Guess each cell type's relay class and weights, and the strength of normalisation, from rates above rest.

    Complex cells give the total rate of the simple cells at a place. While no class is known, one pool normalises all types; then
    each class its own.
    """
    weights = v1.log_surround_weight.exp().mean(dim=0)
    spread = v1.surround.spread(complex_.mean(dim=1, keepdim=True))
    suppressed = 1 + torch.stack([weight * pooled for weight, pooled in zip(weights, spread, strict=True)]).sum(dim=0)
    normalised = complex_ * suppressed / v1.log_maximum_rate.exp()
    afferents = Afferents(v1, window_mean(synaptic)[None])
    v1.set_relay_classes([False] * len(v1.parasol))
    for classes in ((0, 1), ()):
        if v1.normalisation.log_weight.requires_grad:
            # No more than the largest divisor allows, for each class: a few types may have far higher rates than the mean of all.
            each = torch.einsum("nk,bkyx->bnyx", v1.class_shares, normalised)
            v1.normalisation.log_weight.add_((_NORMALISED / v1.normalisation.steady_state(each).max()).log())
        excitation = simple / v1.log_maximum_rate.exp() * suppressed * _normalisation(v1, normalised)
        _guess_weights(v1, afferents, excitation ** (1 / v1.log_exponent.exp()), simple, classes, random)


def _normalisation(v1: V1, normalised: Tensor) -> Tensor:
    """Divisor of normalisation, (image, K, h, w), of excitation that is already divided by it."""
    each = torch.einsum("nk,bkyx->bnyx", v1.class_shares, normalised)
    pooled = torch.zeros_like(each)
    for _ in range(50):
        pooled = v1.normalisation.steady_state(each * (1 + pooled))
    return 1 + pooled[:, [int(one) for one in v1.parasol]]


def _guess_weights(
    v1: V1,
    afferents: Afferents,
    roots: Tensor,
    simple: Tensor,
    classes: tuple[int, ...],
    random: np.random.Generator,
) -> None:
    """Guess weights from roots of the excitation; of several relay classes, each cell type gets the best one."""
    parasol_types = list(v1.parasol)
    for k, root in enumerate(roots.transpose(0, 1).flatten(1)):
        places = _firing_places(simple[:, k].flatten(), random)
        found = []
        for parasol in classes or (int(v1.parasol[k]),):
            rows = afferents.at(places, parasol, v1.reach)[:, 0]
            weight = non_negative(rows, root[places])
            found.append((float(((rows @ weight - root[places]) ** 2).mean()), parasol, weight))
        _, parasol, weight = min(found, key=lambda one: one[0])
        parasol_types[k] = bool(parasol)
        v1.root_weight[k] = weight.sqrt().view_as(v1.root_weight[k])
    v1.set_relay_classes(parasol_types)


def _firing_places(rates: Tensor, random: np.random.Generator) -> Tensor:
    """Random places where a cell type is active."""
    firing = torch.nonzero(rates > _FIRING * rates.max())[:, 0]
    return firing[torch.from_numpy(random.permutation(len(firing))[:_PLACES])]


def _firing_and_random_places(rates: Tensor, random: np.random.Generator) -> Tensor:
    """Random places where a cell type is active, and half as many anywhere."""
    firing = _firing_places(rates, random)
    return torch.cat([firing, torch.from_numpy(random.permutation(len(rates))[: _PLACES // 2])])


@torch.no_grad()
def _fit_shared(cortex: Cortex, relay: Relay, response: Tensor) -> None:
    """Fit the parameters that all cell types share, and each type's strength."""
    v1, before = cortex.v1, cortex.v1_input
    synapses = [before.recovery.log_time, before.log_release]
    synapses += [before.midget_synapse.log_time, before.parasol_synapse.log_time]
    synapses += [before.log_contrast_adaptation, before.log_adaptation_exponent]
    cells = [v1.log_inhibition, v1.inhibitory.log_time, v1.log_maximum_rate, v1.log_exponent]
    cells += [v1.membrane.log_time, v1.complex_membrane.log_time]
    cells += [*v1.normalisation.parameters(), *v1.surround.parameters(), v1.surround_tuning]
    log_strength = torch.zeros(len(v1.root_weight))
    log_surround, surround_weight = torch.zeros(1), v1.log_surround_weight.clone()
    steps = [("synapses", p) for p in synapses] + [("cells", p) for p in cells]
    parameters = [(step, p.data.view(-1)) for step, p in steps if p.requires_grad]
    parameters.append(("cells", log_strength))
    if v1.log_surround_weight.requires_grad:
        parameters.append(("cells", log_surround))
    drives = v1.drives(cortex.synaptic_input(relay))

    def predict(step: str, keep: bool) -> list[Tensor]:
        nonlocal drives
        now = v1.drives(cortex.synaptic_input(relay)) if step == "synapses" else drives
        if keep:
            drives = now
        if v1.log_surround_weight.requires_grad:
            v1.log_surround_weight.copy_(surround_weight + log_surround)
        return [v1.respond(now * log_strength.exp()[:, None, None])]

    origin = [p.clone() for _, p in parameters]
    levenberg_marquardt(parameters, origin, predict, [response], _ITERATIONS)
    v1.root_weight.mul_((log_strength / 2).exp()[:, None, None, None])


@torch.no_grad()
def _fit_surrounds(cortex: Cortex, relay: Relay, response: Tensor, steps: int = _SURROUND_STEPS) -> float:
    """Fit each cell type's weights of the surround's pools; returns the geometric mean of the unexplained shares of variance.

    Gauss-Newton with non-negative least squares. A type's weights act on its own cells; their effect on other types, through the
    pools, is left out of the derivatives, but not of the errors that decide on a step. All types share the sum of their weights
    (`_fit_shared`): from its responses, a strong cell with a strong surround is hardly different from a weak one without.
    """
    v1 = cortex.v1
    drives = v1.drives(cortex.synaptic_input(relay))
    deviation = response.std(dim=(0, 2, 3), keepdim=True)

    def residuals(weight: Tensor) -> Tensor:
        """In standard deviations, (K, place) with the places of simple and of complex cells."""
        if fitted:
            v1.log_surround_weight.copy_(weight.clamp_min(_LEAST_SURROUND).log())
        each = (v1.respond(drives) - response) / deviation
        return each.unflatten(1, (2, -1)).transpose(0, 2).flatten(1)

    fitted, weight = v1.log_surround_weight.requires_grad, v1.log_surround_weight.exp()
    residual = residuals(weight)
    for _ in range(steps if fitted else 0):
        slopes = []
        for size in range(weight.shape[1]):
            more = weight.clone()
            more[:, size] += _DIFFERENCE
            slopes.append((residuals(more) - residual) / _DIFFERENCE)
        change = _non_negative_step(weight, torch.stack(slopes, dim=2), residual) - weight
        improved = torch.zeros(len(weight), dtype=torch.bool)
        for share in _STEPS:
            tried = torch.where(improved[:, None], weight, weight + share * change)
            better = ~improved & ((residuals(tried) ** 2).mean(dim=1) < (residual**2).mean(dim=1))
            weight, improved = torch.where(better[:, None], tried, weight), improved | better
        residual = residuals(weight)
        if not improved.any():
            break
    shares = (residual**2).unflatten(1, (2, -1)).mean(dim=2)
    return float(shares.clamp_min(SMALL_SHARE).log().mean().exp())


def _non_negative_step(weight: Tensor, rows: Tensor, residual: Tensor) -> Tensor:
    """Non-negative least squares, (K, n), of the same sum, of residuals (K, place) with derivatives (K, place, n) at (K, n)."""
    found = torch.empty_like(weight)
    for k, (now, one, error) in enumerate(zip(weight.double(), rows.double(), residual.double(), strict=True)):
        gram = one.T @ one
        scale = gram.diagonal().mean()
        ridge = scale * (_DAMPING * torch.eye(len(now), dtype=torch.double) + _SAME_SUM)
        half = linalg.cholesky((gram + ridge).numpy(), lower=False)
        moment = (gram + ridge) @ now - one.T @ error
        found[k] = torch.from_numpy(optimize.nnls(half, linalg.solve_triangular(half, moment.numpy(), trans="T"))[0])
    return found


class _SimpleCells:
    """Simple cells of one type at some places, for the fit of their weights.

    Parameters
    ----------
    v1 : V1
        Its inhibition and time constants are used.
    inputs : Tensor, (place, interval, afferent)
        ON cells first.
    divisors : Tensor, (place, interval)
    rates : Tensor, (place,)
        Above rest.
    """

    def __init__(self, v1: V1, inputs: Tensor, divisors: Tensor, rates: Tensor) -> None:
        self._inputs, self._rates = inputs, rates
        self._window = window_mean(v1.membrane.matrix())
        self._share = v1.log_maximum_rate.exp() * self._window / divisors
        self._pull = v1.inhibitory.matrix().T
        self._inhibition, self._exponent = v1.log_inhibition.exp(), v1.log_exponent.exp()

    def guess(self) -> Tensor:
        """Weights with which the mean input over the window fits the roots of the rates."""
        firing = self._rates > 0
        rows = torch.einsum("p,npf->nf", self._window, self._inputs[firing]) / self._window.sum()
        return non_negative(rows, (self._rates[firing] / self._share[firing].sum(dim=1)) ** (1 / self._exponent))

    def improve(self, weight: Tensor, candidates: Tensor, turns: int) -> tuple[Tensor, float]:
        """Improve the weights of some afferents, with 0 for the others; also returns the unexplained share of variance."""
        opposite = (candidates + len(weight) // 2) % len(weight)
        inputs = self._inputs[:, :, candidates], self._inputs[:, :, opposite]
        few = weight[candidates]
        now, slopes = self._predict(few, *inputs)
        least = float(((now - self._rates) ** 2).mean())
        for _ in range(turns):
            rows = torch.einsum("np,npf->nf", slopes[0], inputs[0])
            rows -= torch.einsum("np,npf->nf", slopes[1], inputs[1])
            change = non_negative(rows, self._rates - now + rows @ few, few) - few
            for step in _STEPS:
                tried, new_slopes = self._predict(few + step * change, *inputs)
                error = float(((tried - self._rates) ** 2).mean())
                if error < least:
                    break
            else:
                break
            few, now, slopes = few + step * change, tried, new_slopes
            gained, least = least - error, error
            if gained < _GAIN * least:
                break
        improved = torch.zeros_like(weight)
        improved[candidates] = few
        return improved, least / float(self._rates.var())

    def _predict(self, weight: Tensor, push: Tensor, pull: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Rates above rest, and their derivatives with respect to the drives of push and pull."""
        opposed = pull @ weight
        excited = torch.relu(push @ weight - self._inhibition * torch.relu(opposed) @ self._pull)
        slope = self._exponent * self._share * excited ** (self._exponent - 1)
        pulled = self._inhibition * (slope @ self._pull.T) * (opposed > 0)
        return (self._share * excited**self._exponent).sum(dim=1), (slope, pulled)


@torch.no_grad()
def _fit_simple_weights(v1: V1, synaptic: Tensor, simple: Tensor, random: np.random.Generator, turns: int = 3) -> None:
    """Fit each cell type's weights to its simple cells' rates above rest, all other parameters fixed."""
    divisors = v1.divisors(v1.excitation(v1.drives(synaptic)))
    afferents, parasol_types = Afferents(v1, synaptic), list(v1.parasol)
    for k in range(len(v1.root_weight)):
        rates = simple[:, k].flatten()
        places = _firing_and_random_places(rates, random)
        divisor = divisors[:, :, k].flatten(1).T[places]
        near = _near(v1.root_weight[k])
        reach = int((torch.nonzero(near)[:, 1:] - near.shape[-1] // 2).abs().max())
        cells = _SimpleCells(v1, afferents.at(places, int(v1.parasol[k]), reach), divisor, rates[places])
        kernel = _central(v1.root_weight[k], reach)
        candidates = torch.nonzero(_central(near, reach).flatten())[:, 0]
        weight, unexplained = cells.improve((kernel**2).flatten(), candidates, turns)
        v1.root_weight[k].zero_()
        kernel.copy_(weight.sqrt().view_as(kernel))
        for parasol in (0, 1) if unexplained > _POOR else ():
            cells = _SimpleCells(v1, afferents.at(places, parasol, v1.reach), divisor, rates[places])
            guess = cells.guess()
            weight, unexplained_now = cells.improve(guess, torch.arange(len(guess)), 2 * turns)
            if unexplained_now < unexplained:
                unexplained, parasol_types[k] = unexplained_now, bool(parasol)
                v1.root_weight[k] = weight.sqrt().view_as(v1.root_weight[k])
        logger.debug("cell type %d: unexplained variance %.4f", k, unexplained)
    v1.set_relay_classes(parasol_types)


def _near(weight: Tensor) -> Tensor:
    """Mask of the afferents at or next to the large ones of a kernel of roots, (2, tap, tap)."""
    largest = weight.amax(dim=0)
    counting = (largest > _COUNTING**0.5 * largest.max()).to(weight)
    return (functional.max_pool2d(counting[None, None], 3, 1, 1)[0, 0] > 0).expand_as(weight)


@torch.no_grad()
def fit_complex_weights(
    v1: V1,
    synaptic: Tensor,
    complex_: Tensor,
    random: np.random.Generator,
    choose: Callable[[Tensor, np.random.Generator], Tensor] = _firing_and_random_places,
) -> None:
    """Fit complex cells' weights, in place.

    Parameters
    ----------
    v1 : V1
    synaptic : Tensor
        What the synapses before it deliver, as `Cortex.synaptic_input`.
    complex_ : Tensor, (image, K, h, w)
        Rates (Hz) above rest.
    random : numpy.random.Generator
    choose : callable
        Chooses places at which a cell type is fitted, given its rates there.
    """
    reach = v1.complex_reach
    simple = v1.simple_rates(v1.excitation(v1.drives(synaptic)))
    inputs = pad(v1.complex_input(simple), reach, "replicate")
    around = inputs.unfold(2, 2 * reach + 1, 1).unfold(3, 2 * reach + 1, 1).unflatten(1, (-1, 2))
    height, width = around.shape[3:5]
    for k, rates in enumerate(complex_.transpose(0, 1).flatten(1)):
        places = choose(rates, random)
        rows = around[places // (height * width), k, :, places // width % height, places % width].flatten(1)
        weight = non_negative(rows, rates[places])
        weight = non_negative(rows, rates[places], torch.where(weight > _FEW * weight.max(), weight, 0.0), rounds=1)
        error = float(((rows @ weight - rates[places]) ** 2).mean() / rates[places].var())
        logger.debug("complex type %d: unexplained variance %.4f of %d cells", k, error, (weight > 0).sum())
        v1.root_complex_weight[k] = weight.sqrt().view_as(v1.root_complex_weight[k])
