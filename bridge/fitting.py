"""System identification: responses to known stimuli in, a `FrontEnd` and a `FitReport` out.

The fit sees luminance, the field adapted to, and responses; never a parameter of the simulation. Stations that were
recorded are fitted one after the other, each behind the twins already fitted; a twin whose own station was not recorded
is fitted through the next one that was. Then all up to the relay are fitted together to all their recordings, for when a
response comes and goes shows only in what later stations make of it. These stations have a few dozen parameters, which
some images determine: each fit minimises the mean over channels of the logarithm of the unexplained share of variance,
with Levenberg's and Marquardt's method; derivatives are forward differences, and Broyden's updates for a few steps after.

V1 stands behind the fitted relay and has thousands of weights. Where a cell is active it is linear in its afferents, so
its weights are the non-negative least squares of its rates over what the relay did in the parts of the window in which the
cell was active; those parts follow from the weights, and so the two are found in turn.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy import linalg, optimize
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

import biomodel
from biomodel import Pathway
from biomodel.pathway import AdaptTo
from biomodel.progress import progress
from biomodel.responses import SINGLE
from biomodel.stimuli import check_luminance, pixels_per_degree
from bridge.front_end import OUTPUTS, STATIONS, FrontEnd, State
from bridge.metrics import score
from bridge.padding import pad
from bridge.stages import BEFORE, PARTS, STRIDE, V1

logger = logging.getLogger("precortical")

#: The fits of the stations up to the relay, and of V1, take about so many places, of images chosen by chance.
_EARLY_PLACES, _V1_PLACES = 24_576, 5_000

#: Unexplained shares of variance well below this one are no longer worked on.
_SMALL_SHARE = 1e-5

#: Cost of a parameter's square departure from its guess, beside the logarithms of unexplained shares.
_TIE = 2e-3

#: Step of forward differences; parameters are logarithms or of the order of 1.
_DIFFERENCE = 4e-3

#: The fit ends when all the steps on the same derivatives have gained less.
_GAIN = 0.04

#: Steps that are taken on the same derivatives, updated, before they are measured anew.
_REUSE = 5

#: Share of a V1 channel's largest rate above which a cell surely fires.
_FIRING = 0.05

#: Shares of the way to new weights of V1 that are tried.
_STEPS = (0.0, 0.1, 0.3, 1.0)

#: Images that are followed at a time where the fit needs no derivatives.
_BATCH = 64

#: Adaptation states a pathway is presented in when `fit` does the simulating: settled, and sudden from 40 cd/m².
ADAPTATION_STATES: tuple[AdaptTo, ...] = ("gaze", 40.0)


@dataclass(frozen=True)
class FitReport:
    """How well a front end predicts responses that it was not fitted on.

    Attributes
    ----------
    fidelity : str
        Of the responses.
    scores : pandas.DataFrame
        Columns station, set, channel, r2 (unclipped) and correlation.
    held_out : tuple of str
        What the scores were measured on.
    seconds : float
        Time the fit took.
    """

    fidelity: str
    scores: pd.DataFrame
    held_out: tuple[str, ...]
    seconds: float

    def summary(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """By station and set: median and least R² over channels, median FEVe (R², as nothing is noisy), channels."""
        out: dict[str, dict[str, dict[str, float | int]]] = {}
        for (station, name), rows in self.scores.groupby(["station", "set"], sort=False):
            out.setdefault(str(station), {})[str(name)] = {
                "median_r2": float(rows.r2.median()),
                "min_r2": float(rows.r2.min()),
                "median_feve": float(rows.r2.median()),
                "median_correlation": float(rows.correlation.median()),
                "channels": len(rows),
            }
        return out

    def to_json(self) -> dict[str, object]:
        """The form that `precortical fit --json` writes."""
        return {
            "fidelity": self.fidelity,
            "scores": self.summary(),
            "seconds": round(self.seconds, 1),
            "held_out": list(self.held_out),
        }

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")


def fit(
    pathway: Pathway | None = None,
    stimulus: xr.DataArray | None = None,
    responses: xr.Dataset | None = None,
    *,
    adapt_to: Sequence[AdaptTo] = ADAPTATION_STATES,
    held_out: float = 0.25,
    seed: int = 0,
    workers: int = 1,
) -> tuple[FrontEnd, FitReport]:
    """Fit a front end to a pathway, or to responses that were recorded before.

    Parameters
    ----------
    pathway : biomodel.Pathway, optional
        Simulated with `stimulus` in each of the states `adapt_to`. Give this or `responses`.
    stimulus : xarray.DataArray, (image, y, x)
        Luminance in cd/m². A coordinate `photograph` says which images belong together: none of a photograph's patches
        is fitted when others of it are held out.
    responses : xarray.Dataset, optional
        As `Pathway.simulate` returns it, to `stimulus`, with `background` (cd/m²) and `lgn` or `v1` in it at least.
    adapt_to : sequence
        States as `Pathway.simulate` takes them, but "previous".
    held_out : float
        Share of the photographs (or of the images) that are scored and never fitted, between 0 and 1.
    seed : int
        Of the choice of what is held out.
    workers : int
        Processes for the simulation.

    Returns
    -------
    front_end : FrontEnd
        Ends at V1 where V1 was recorded, else at the LGN.
    report : FitReport

    Raises
    ------
    ValueError
        For a stimulus and responses that don't belong together, or cannot be fitted.
    """
    began = time.monotonic()
    if stimulus is None or (pathway is None) == (responses is None):
        raise ValueError("fit takes a stimulus, and either a pathway or responses to it")
    check_luminance(stimulus)
    if not 0 < held_out < 1:
        raise ValueError(f"held_out = {held_out} is not accepted: give a share between 0 and 1")
    light = stimulus.sum("colour") if "colour" in stimulus.dims else stimulus
    if light.dims != ("image", "y", "x"):
        raise ValueError(f"stimulus dimensions {stimulus.dims} are not accepted: give (image, y, x)")
    if pathway is not None:
        parts = [pathway.simulate(light, adapt_to=state, workers=workers) for state in adapt_to]
        light = xr.concat([light] * len(parts), "image")
        responses = xr.concat(parts, "image", combine_attrs="override")
    if responses is None:
        raise ValueError("fit takes a stimulus, and either a pathway or responses to it")
    _check_responses(responses, light)
    seen = [name for name in STATIONS if name in responses]
    output = seen[-1]
    held = _held_out(light, held_out, np.random.default_rng(seed))
    channels = {n: [n] if n in SINGLE else responses[f"{n}_channel"].values.tolist() for n in seen}
    ppd = pixels_per_degree(light)
    front_end = FrontEnd(ppd, channels, output, float(responses.attrs.get("gaze_spread_deg", 0.5)))
    early = [name for name in STATIONS if name != "v1"]
    shown = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(~held))
    pixels = light.sizes["y"] * light.sizes["x"]
    data = _Data(light, responses, shown[: max(1, _EARLY_PLACES // pixels)])
    guesses = {name: values.clone() for name, values in front_end.state_dict().items()}
    waiting: list[str] = []
    # Matrices are small: threads would wait for one another longer than they work.
    with _one_thread():
        for station in progress([*early, "all", *STATIONS[len(early) :]], what="fitting"):
            if station == "all":
                _adjust(front_end, guesses, early, [name for name in seen if name in early], data)
            elif station == "v1":
                if "v1" in seen:
                    _regress_v1(front_end, _Data(light, responses, shown), np.random.default_rng([seed, 2]))
            else:
                waiting.append(station)
                if station in seen:
                    _adjust(front_end, guesses, waiting, [station], data)
                    waiting = []
    test = _Data(light, responses, np.flatnonzero(held))
    predicted = _predict(front_end, test)
    scores = pd.concat(
        [score(test.response[n].numpy(), predicted[n].numpy(), channels[n], n, "photographs") for n in seen],
        ignore_index=True,
    )
    names = tuple(dict.fromkeys(light.photograph.values[held].tolist())) if "photograph" in light.coords else ()
    report = FitReport(str(responses.attrs.get("fidelity", "unknown")), scores, names, time.monotonic() - began)
    front_end.metadata = {
        "fitted_on": {k: v for k, v in responses.attrs.items() if k != "parameters"} | {"images": int((~held).sum())},
        "scores": report.summary(),
        "held_out": list(names),
        "precortical": biomodel.__version__,
    }
    return front_end, report


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch and linear algebra in one thread each, in as many as before again afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


class _Data:
    """The chosen images as tensors: light, background, response by station, all (image, channel, y, x)."""

    def __init__(self, light: xr.DataArray, responses: xr.Dataset, chosen: np.ndarray) -> None:
        self.light = _tensor(light.values[chosen][:, None])
        self.background = _tensor(responses.background.values[chosen][:, None])
        self.response = {}
        for name in STATIONS:
            if name in responses:
                values = responses[name].values[chosen]
                self.response[name] = _tensor(values[:, None] if name in SINGLE else values)


def _tensor(values: np.ndarray) -> Tensor:
    # Single precision is what two cores can afford.
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _check_responses(responses: xr.Dataset, light: xr.DataArray) -> None:
    if "background" not in responses:
        raise ValueError(
            "the responses have no variable 'background': give the field adapted to, (image, y, x) in cd/m²"
        )
    if not any(name in responses for name in OUTPUTS):
        raise ValueError(f"the responses hold {list(responses)}: accepted are those with one of {', '.join(OUTPUTS)}")
    if responses.sizes["image"] != light.sizes["image"]:
        raise ValueError(
            f"{responses.sizes['image']} responses to {light.sizes['image']} images are not accepted: one each"
        )
    for name in STATIONS:
        if name not in responses:
            continue
        values = responses[name]
        if not np.isfinite(values.values).all():
            raise ValueError(f"the responses of {name} hold NaN or infinity: give finite rates")
        label = f"{name}_channel"
        spread = values.std([d for d in values.dims if d != label])
        flat = np.atleast_1d(spread.values == 0)
        if flat.any():
            at = [name] if name in SINGLE else responses[label].values[flat].tolist()
            raise ValueError(f"channels without variance cannot be fitted: {name} {', '.join(map(str, at))}")


def _held_out(light: xr.DataArray, share: float, random: np.random.Generator) -> np.ndarray:
    """Which images are held out: whole photographs where they are known."""
    labels = light.photograph.values if "photograph" in light.coords else np.arange(light.sizes["image"])
    groups = np.unique(labels)
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    if count < 1:
        raise ValueError("one photograph alone is not accepted: give two, to fit and to hold out")
    return np.isin(labels, random.choice(groups, count, replace=False))


@torch.no_grad()
def _adjust(
    front_end: FrontEnd, guesses: State, stations: list[str], targets: list[str], data: _Data, iterations: int = 60
) -> None:
    """Fit the twins of `stations`, one behind the other, so that the `targets` among them meet their recordings.

    What the recordings do not tell stays near the guesses.
    """
    if not targets:
        return
    origin = torch.cat(
        [guesses[f"{n}.{k}"].flatten() for n in stations for k, _ in getattr(front_end, n).named_parameters()]
    )
    deviation = {name: data.response[name].std(dim=(0, 2, 3), keepdim=True) for name in targets}
    parameters = [(name, p.view(-1)) for name in stations for p in getattr(front_end, name).parameters()]
    state = front_end.presented(data.light, data.background)
    for name in STATIONS[: STATIONS.index(stations[0])]:
        state = front_end.advance(name, state)
    before = {stations[0]: state}

    def misses(first: str, before: dict[str, State]) -> list[Tensor]:
        """What the targets miss, in standard deviations, when the twins from `first` on tell anew; notes states."""
        state = before[first]
        for name in stations[stations.index(first) :]:
            before[name] = state
            state = front_end.advance(name, state)
        return [(front_end.response(n, state) - data.response[n]) / deviation[n] for n in targets]

    def loss(missed: list[Tensor]) -> float:
        away = torch.cat([values for _, values in parameters]) - origin
        return sum(float((_shares(m) + _SMALL_SHARE).log().mean()) for m in missed) + _TIE * float(away @ away)

    def differences(missed: list[Tensor]) -> Tensor:
        """How what is missed changes with each parameter, (parameter, …), by forward differences."""
        now, slopes = _flat(missed), []
        for name, values in parameters:
            for k in range(len(values)):
                kept = values[k].clone()
                values[k] += _DIFFERENCE
                slopes.append((_flat(misses(name, dict(before))) - now) / _DIFFERENCE)
                values[k] = kept
        return torch.stack(slopes)

    missed = misses(stations[0], before)
    least, damping = loss(missed), 1e-2
    jacobian, age, before_these = differences(missed), 0, least
    for _ in range(iterations):
        # About here the logarithm of a share is a square whose weight is one over the share.
        weights = _flat([_weight(m).expand_as(m) for m in missed])
        weighted = jacobian * weights
        away = torch.cat([values for _, values in parameters]) - origin
        curvature = (weighted @ weighted.T).double() + _TIE * torch.eye(len(origin), dtype=torch.double)
        gradient = (weighted @ (_flat(missed) * weights) + _TIE * away).double()
        scale = curvature.diagonal() + 1e-6 * curvature.diagonal().max()
        old, was_missed = [values.clone() for _, values in parameters], missed
        gained, step = 0.0, torch.zeros_like(origin)
        for _ in range(6 if age == 0 else 2):
            # Steps longer than a factor e leave the range of the linearisation.
            step = torch.linalg.solve(curvature + torch.diag(damping * scale), -gradient).clamp(-1, 1).to(origin.dtype)
            for (_, values), was, part in zip(parameters, old, step.split([len(v) for v in old]), strict=True):
                values.copy_(was + part)
            missed = misses(stations[0], before)
            gained = least - loss(missed)
            if gained > 0:
                break
            damping *= 5
        if gained > 0:
            least, damping = least - gained, max(damping / 5, 1e-7)
            logger.debug("%s: loss %.4f, damping %.1e", targets[-1], least, damping)
        else:
            for (_, values), was in zip(parameters, old, strict=True):
                values.copy_(was)
            missed = misses(stations[0], before)
        if gained < _GAIN / 10 or age == _REUSE:
            if before_these - least < _GAIN:
                break
            jacobian, age, before_these = differences(missed), 0, least
        else:
            # Broyden's update: what the step has changed beyond what was expected of it.
            surprise = _flat(missed) - _flat(was_missed) - step @ jacobian
            jacobian += torch.outer(step / (step @ step), surprise)
            age += 1
    logger.info("fitted %s: unexplained variance %.2e", ", ".join(targets), np.exp(least / len(targets)))


def _shares(missed: Tensor) -> Tensor:
    """The unexplained share of each channel's variance, of what was missed in standard deviations."""
    return (missed**2).mean(dim=(0, 2, 3))


def _flat(missed: list[Tensor]) -> Tensor:
    return torch.cat([m.flatten() for m in missed])


def _weight(missed: Tensor) -> Tensor:
    """Of a target's channels, such that the square sum of what they miss changes as the mean logarithm of the shares does."""
    _, channels, height, width = missed.shape
    places = len(missed) * height * width
    return ((_shares(missed) + _SMALL_SHARE) * channels * places).rsqrt()[:, None, None]


@torch.no_grad()
def _regress_v1(front_end: FrontEnd, data: _Data, random: np.random.Generator, rounds: int = 6) -> None:
    """Fit V1 behind the relay's twin: least squares, and the parts in which cells are active, in turn."""
    v1 = cast(V1, front_end.v1)
    response = data.response["v1"].permute(0, 2, 3, 1).flatten(0, 2)
    chosen = np.sort(random.permutation(len(response))[:_V1_PLACES])
    seen = _afferents(front_end, data, torch.from_numpy(chosen))
    response = response[chosen]
    # Before anything is known, the cells that fire most do so throughout the window.
    firing = response > _FIRING * response.amax(dim=0)
    active = firing[:, None] & (torch.arange(PARTS) >= BEFORE)[:, None]
    weights, drives = [], []
    for k in range(response.shape[1]):
        shares = v1.shares()
        weight = _non_negative(seen, active[:, :, k] * shares, torch.where(firing[:, k], response[:, k], 0))
        weights.append(weight)
        drives.append(seen @ weight)
    going = set(range(len(weights)))
    for turn in range(rounds):
        shares = v1.shares()
        for k in sorted(going):
            target = response[:, k]
            now = drives[k] > 0
            # A cell that fires, but should not by its weights so far, is taken to when it comes nearest to firing.
            silent = (target > _FIRING * target.amax()) & ~now.any(dim=1)
            now[silent, drives[k][silent].argmax(dim=1)] = True
            weight = _non_negative(seen, now * shares, target)
            change, drive_change = weight - weights[k], seen @ weight - drives[k]
            errors = [
                float(((functional.relu(drives[k] + step * drive_change) @ shares - target) ** 2).mean())
                for step in _STEPS
            ]
            step = _STEPS[int(np.argmin(errors))]
            if turn > 0 and min(errors) > 0.98 * errors[0]:
                going.remove(k)
            weights[k] = weights[k] + step * change
            drives[k] = drives[k] + step * drive_change
        if turn > 0:
            _time_v1(v1, torch.stack(drives, dim=2), response)
    stacked = torch.stack(weights)
    v1.root_weight.copy_(stacked[:, :-1].clamp_min(0).sqrt().view_as(v1.root_weight))
    v1.bias.copy_(stacked[:, -1])
    error = (torch.einsum("p,npk->nk", v1.shares(), functional.relu(torch.stack(drives, dim=2))) - response) ** 2
    logger.info("fitted v1: unexplained variance %.2e", float((error.mean(dim=0) / response.var(dim=0)).mean()))


def _time_v1(v1: V1, drive: Tensor, response: Tensor) -> None:
    """Fit the time constant of V1 to the drives, (place, part, channel)."""
    rates = functional.relu(drive)

    def error(log_time: float) -> float:
        v1.membrane.log_time.fill_(log_time)
        missed = torch.einsum("p,npk->nk", v1.shares(), rates) - response
        return float(((missed**2).mean(dim=0) / response.var(dim=0)).mean())

    error(optimize.minimize_scalar(error, bounds=(-5.0, 0.0), method="bounded").x)


def _afferents(front_end: FrontEnd, data: _Data, places: Tensor) -> Tensor:
    """What V1 cells at the chosen places may hear, and a one for their bias: (place, part, afferent + 1)."""
    v1 = cast(V1, front_end.v1)
    cells = data.response["v1"][0, 0].numel()
    heard = []
    for first in range(0, len(data.light), _BATCH):
        chosen = slice(first, first + _BATCH)
        state = front_end.presented(data.light[chosen], data.background[chosen])
        for name in STATIONS[: STATIONS.index("lgn") + 1]:
            state = front_end.advance(name, state)
        images = len(state["luminance"])
        here = places[(places >= first * cells) & (places < (first + images) * cells)] - first * cells
        parts = []
        for part in state["relay_change"]:
            around = functional.unfold(pad(part, v1.reach, "replicate"), 2 * v1.reach + 1, stride=STRIDE)
            parts.append(around.transpose(1, 2).flatten(0, 1)[here])
        heard.append(torch.stack(parts, dim=1))
    return functional.pad(torch.cat(heard), (0, 1), value=1.0)


def _non_negative(seen: Tensor, shares: Tensor, target: Tensor) -> Tensor:
    """Non-negative least squares of the target over `seen`, its parts summed with each place's shares; the bias is free."""
    heard = shares.any(dim=1)
    rows = torch.einsum("np,npf->nf", shares[heard], seen[heard])
    gram, moment = (rows.T @ rows).double().numpy(), (rows.T @ target[heard]).double().numpy()
    features = len(gram) - 1
    # The bias enters with both signs.
    signed = np.block([[gram, -gram[:, -1:]], [-gram[-1:], gram[-1:, -1:]]])
    signed += 1e-6 * np.trace(gram) / features * np.eye(features + 2)
    half = linalg.cholesky(signed, lower=False)
    told = linalg.solve_triangular(half, np.append(moment, -moment[-1]), trans="T")
    found, _ = optimize.nnls(half, told, maxiter=10 * features)
    return torch.from_numpy(np.append(found[:features], found[-2] - found[-1])).to(seen.dtype)


@torch.no_grad()
def _predict(front_end: FrontEnd, data: _Data) -> dict[str, Tensor]:
    """The twins' responses, in batches that fit memory."""
    batches = []
    for first in range(0, len(data.light), _BATCH):
        chosen = slice(first, first + _BATCH)
        state = front_end.presented(data.light[chosen], data.background[chosen])
        for name in front_end.stations:
            state = front_end.advance(name, state)
        batches.append({name: front_end.response(name, state) for name in front_end.stations})
    return {name: torch.cat([batch[name] for batch in batches]) for name in front_end.stations}
