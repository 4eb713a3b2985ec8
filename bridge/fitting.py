"""System identification: responses to known stimuli in, a `FrontEnd` and a `FitReport` out.

The fit sees luminance, the field adapted to, and responses; never a parameter of the simulation. Stations that were
recorded are fitted one after the other, each behind the twins already fitted; a twin whose own station was not recorded
is fitted through the next one that was. Each fit minimises the mean over channels of squared error over variance, with
L-BFGS. V1, where the relay's twin stands, starts from the non-negative regression of its rates on the relay's over the
places where the cells are active: above threshold a cell is linear in its afferents.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy import linalg, optimize
from torch import Tensor
from torch.nn import functional

import biomodel
from biomodel import Pathway
from biomodel.pathway import AdaptTo
from biomodel.progress import progress
from biomodel.responses import SINGLE
from biomodel.stimuli import check_luminance, pixels_per_degree
from bridge.front_end import OUTPUTS, STATIONS, FrontEnd
from bridge.metrics import score
from bridge.padding import pad
from bridge.stages import STRIDE, V1

logger = logging.getLogger("precortical")

#: The regression that V1 starts from takes about so many places, evenly spread over the images.
_REGRESSION_PLACES = 20_000

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
    recorded = [name for name in STATIONS if name in responses]
    output = recorded[-1]
    held = _held_out(light, held_out, np.random.default_rng(seed))
    channels = {n: [n] if n in SINGLE else responses[f"{n}_channel"].values.tolist() for n in recorded}
    ppd = pixels_per_degree(light)
    # Twins are fitted in double precision, which L-BFGS needs near the minimum.
    front_end = FrontEnd(ppd, channels, output, float(responses.attrs.get("gaze_spread_deg", 0.5))).double()
    data = _Data(light, responses, ~held)
    waiting: list[str] = []
    for station in progress([n for n in STATIONS if STATIONS.index(n) <= STATIONS.index(output)], what="fitting"):
        waiting.append(station)
        if station not in recorded:
            continue
        if station == "v1":
            _regress_v1(front_end, data)
            # Thousands of weights on many places: single precision is what two cores can afford.
            front_end, data = front_end.float(), data.float()
        _descend(front_end, waiting, station, data)
        waiting = []
    test = _Data(light, responses, held)
    predicted = _predict(front_end.double(), test)
    scores = pd.concat(
        [score(test.response[n].numpy(), predicted[n], channels[n], n, "photographs") for n in recorded],
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
    return front_end.float(), report


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

    def float(self) -> _Data:
        """The same in single precision."""
        single = copy.copy(self)
        single.light, single.background = self.light.float(), self.background.float()
        single.response = {name: values.float() for name, values in self.response.items()}
        return single


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


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


def _advance(front_end: FrontEnd, station: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with one more station's response; what reaches the bipolar cells is change from the adapted state."""
    if station == "cone":
        cone = front_end.cone(state["light"], state["background"])
        return state | {"cone": cone, "cone_change": cone - front_end.cone(state["background"], state["background"])}
    if station == "horizontal":
        return state | {station: front_end.horizontal(state["cone"])}
    if station == "bipolar":
        potential = (
            state["horizontal_change"] if "horizontal_change" in state else front_end.horizontal(state["cone_change"])
        )
        return state | {station: front_end.bipolar(state["cone_change"], potential)}
    before = STATIONS[STATIONS.index(station) - 1]
    return state | {station: getattr(front_end, station)(state[before])}


def _descend(front_end: FrontEnd, stations: list[str], target: str, data: _Data, iterations: int = 60) -> None:
    """Fit the twins of `stations` so that the last one, `target`, meets its recording."""
    parameters = [p for name in stations for p in getattr(front_end, name).parameters()]
    response = data.response[target]
    variance = response.var(dim=(0, 2, 3), keepdim=True)
    fixed = {"light": data.light, "background": data.background}
    with torch.no_grad():
        for name in STATIONS[: STATIONS.index(stations[0])]:
            fixed = _advance(front_end, name, fixed)
            if name == "horizontal":
                fixed["horizontal_change"] = front_end.horizontal(fixed["cone_change"])

    def loss() -> Tensor:
        state = fixed
        for name in stations:
            state = _advance(front_end, name, state)
        return ((state[target] - response) ** 2 / variance).mean()

    optimiser = torch.optim.LBFGS(
        parameters, max_iter=iterations, history_size=20, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    logger.info("fitted %s: unexplained variance %.2e", target, float(loss().detach()))


def _regress_v1(front_end: FrontEnd, data: _Data, active: float = 0.05) -> None:
    """Start V1 from its regression on the relay: one non-negative least squares a channel, over active places.

    Parameters
    ----------
    active : float
        Share of a channel's largest rate above which a place counts as active.
    """
    v1 = cast(V1, front_end.v1)
    rates = _predict(front_end, data, until="lgn")["lgn"]
    reach = v1.reach
    taps = 2 * reach + 1
    features = 2 * taps * taps
    channels = data.response["v1"].shape[1]
    gram = np.zeros((channels, features + 1, features + 1))
    moment = np.zeros((channels, features + 1))
    threshold = active * data.response["v1"].amax(dim=(0, 2, 3)).numpy()
    # An odd step does not fall on the same columns again.
    thinning = (data.response["v1"][:, 0].numel() // _REGRESSION_PLACES) | 1
    for first in range(0, len(rates), 32):
        around = pad(torch.from_numpy(rates[first : first + 32]), reach, "replicate")
        rows = functional.unfold(around, taps, stride=STRIDE).transpose(1, 2).reshape(-1, features)[::thinning].numpy()
        rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        seen = data.response["v1"][first : first + 32].permute(0, 2, 3, 1).reshape(-1, channels)[::thinning].numpy()
        for k in range(channels):
            chosen = seen[:, k] > threshold[k]
            gram[k] += rows[chosen].T @ rows[chosen]
            moment[k] += rows[chosen].T @ seen[chosen, k]
    with torch.no_grad():
        for k in range(channels):
            # The bias is free: its column enters with both signs.
            ridge = 1e-6 * np.trace(gram[k]) / features
            signed = np.block([[gram[k], -gram[k][:, -1:]], [-gram[k][-1:], gram[k][-1:, -1:]]])
            signed = signed + ridge * np.eye(features + 2)
            half = linalg.cholesky(signed, lower=False)
            target = linalg.solve_triangular(half, np.append(moment[k], -moment[k][-1]), trans="T")
            weights, _ = optimize.nnls(half, target, maxiter=10 * features)
            v1.root_weight[k] = torch.from_numpy(np.sqrt(weights[:features]).reshape(2, taps, taps)) + 1e-3
            v1.bias[k] = float(weights[-2] - weights[-1])


@torch.no_grad()
def _predict(front_end: FrontEnd, data: _Data, until: str | None = None) -> dict[str, np.ndarray]:
    """The twins' responses, in parts that fit memory."""
    parts = []
    for first in range(0, len(data.light), 64):
        chosen = slice(first, first + 64)
        state = {"light": data.light[chosen], "background": data.background[chosen]}
        for name in STATIONS[: STATIONS.index(until or front_end.output) + 1]:
            state = _advance(front_end, name, state)
        parts.append(state)
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
