"""System identification: responses to known stimuli in, a `FrontEnd` and a `FitReport` out.

The fit sees luminance, the field adapted to, and responses; never a parameter of the simulation. Stations that were
recorded are fitted one after the other, each behind the twins already fitted; a twin whose own station was not recorded
is fitted through the next one that was. Then all up to the relay are fitted together to all their recordings, for when a
response comes and goes shows only in what later stations make of it. These stations have a few dozen parameters, which
some images determine (`least_squares`). V1 stands behind the fitted relay and has thousands of weights (`cortical_fitting`, of
cells that spike `cortical_counts`). In the end all parameters are refined together, by gradients (`refinement`).

Cells that fire are fitted to their rates over trials, and refined to the likelihood of their counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
import xarray as xr
from threadpoolctl import threadpool_limits
from torch import Tensor

import biomodel
from biomodel import Display, Pathway, stimuli
from biomodel.adaptation import GAZE_SD
from biomodel.engine.responses import SINGLE, in_rates
from biomodel.images import PHOTOGRAPHS
from biomodel.pathway import AdaptTo
from biomodel.stimuli import check_luminance
from biomodel.utils.errors import InputError
from biomodel.utils.progress import progress
from bridge.evaluate.scores import BATCH, FitReport, scored, tensor
from bridge.fit import stimuli as stimulus_sets
from bridge.fit.optimisers import minimise
from bridge.fit.refinement import refine
from bridge.fit.v1_counts import fit_v1_to_counts
from bridge.fit.v1_rates import TURNS, fit_v1
from bridge.model.ablation import MECHANISMS
from bridge.model.front_end import OUTPUTS, STATIONS, FrontEnd, State
from bridge.model.stages import V1

logger = logging.getLogger("precortical")

#: The fits of the stations up to the relay, and of V1, take about so many places, of images chosen by chance; on lattices finer
#: than that of the studies as many images.
_EARLY_PLACES, _V1_PLACES = 24_576, 40_960

#: Where only V1 was recorded, the stations before it are fitted through it so many times, to about so many places, in so many
#: steps.
_ROUNDS, _THROUGH_PLACES, _THROUGH_ITERATIONS = 4, 6_144, 20

#: Steps and rate of the refinement, after fits to every station, and where the stations before V1 were not recorded.
_NEAR, _FAR = (200, 3e-3), (2_500, 1e-2)

#: Adaptation states a pathway is presented in when `fit` does the simulating: settled, and sudden from 40 cd/m².
ADAPTATION_STATES: tuple[AdaptTo, ...] = ("gaze", 40.0)

#: Repeats of every image where cells fire.
TRIALS = 20

#: Presentations for identification, and in each held-out set, when `fit` chooses them.
IMAGES, TEST_IMAGES = 416, 64


def fit(
    pathway: Pathway | None = None,
    stimulus: xr.DataArray | None = None,
    responses: xr.Dataset | None = None,
    *,
    adapt_to: Sequence[AdaptTo] = ADAPTATION_STATES,
    held_out: float = 0.25,
    seed: int = 0,
    workers: int = 1,
    images: int = IMAGES,
    pixels_per_degree: float | None = None,
    output: str = "v1",
    without: Sequence[str] = (),
    trials: int | None = None,
    store: str | Path | None = None,
) -> tuple[FrontEnd, FitReport]:
    """Fit a front end to a pathway, or to responses that were recorded before.

    Parameters
    ----------
    pathway : biomodel.Pathway, optional
        Of either fidelity. Simulated with `stimulus` in each of the states `adapt_to`, or, without one, with
        `stimulus_sets.identification`. Give this or `responses`.
    stimulus : xarray.DataArray, (image, y, x), optional
        Luminance in cd/m². A coordinate `photograph` says which images belong together: none of a photograph's patches
        is fitted when others of it are held out; names of `biomodel.images` keep those out of the other sets.
    responses : xarray.Dataset, optional
        As `Pathway.simulate` returns it, to `stimulus`, with `background` (cd/m²) and `lgn` or `v1` in it at least. A
        dimension `trial` holds noisy repeats: the fit sees their mean. Of counts, in the unit ``spikes``, the attribute
        ``window_s`` says between which seconds they were counted; of V1 cells that spike, give counts.
    adapt_to : sequence
        States as `Pathway.simulate` takes them, but "previous".
    held_out : float
        Share of the stimulus's photographs (or images) that are scored and never fitted, between 0 and 1.
    seed : int
        Of the choice of what is held out, and of what the fit chooses by chance.
    workers : int
        Processes for the simulation.
    images : int
        Presentations for identification where no stimulus is given; at most so many are in each held-out set.
    pixels_per_degree : float, optional
        Of these, which are 2° wide; by default 16.
    output : {"lgn", "v1"}
        The last station that is simulated and fitted.
    without : sequence of str
        Mechanisms of `bridge.model.ablation` that the front end is fitted without.
    trials : int, optional
        Repeats of every image, of a pathway that fires; by default 20. Their noise is of `seed`.
    store : str or pathlib.Path, optional
        A folder in which what is simulated is kept as it comes, so that the same call goes on after a stop.

    Returns
    -------
    front_end : FrontEnd
        Ends at V1 where V1 was recorded, else at the LGN.
    report : FitReport
        Scores on photographs that were held out, and, where there is a pathway, on the other sets of
        `stimulus_sets.held_out`.

    Raises
    ------
    InputError
        For a stimulus and responses that don't belong together, or cannot be fitted.
    """
    began = time.monotonic()
    if (pathway is None) == (responses is None):
        raise InputError("fit takes a pathway, or a stimulus and responses to it")
    if output not in OUTPUTS:
        raise InputError(f"output = {output!r} is not accepted: accepted are {', '.join(OUTPUTS)}")
    for name in without:
        if name not in MECHANISMS:
            raise InputError(f"mechanism {name!r} is not accepted: give some of {', '.join(MECHANISMS)}")
    if stimulus is not None and pixels_per_degree is not None:
        raise InputError(
            f"pixels_per_degree = {pixels_per_degree} is not accepted beside a stimulus, which has its own"
        )
    if trials is not None and pathway is None:
        raise InputError(f"trials = {trials} is not accepted beside responses, which have their own")
    if store is not None and pathway is None:
        raise InputError(f"store = {str(store)!r} is not accepted beside responses: nothing is simulated")
    if trials is None:
        trials = TRIALS if pathway is not None and pathway.fidelity == "spiking" else 1
    kept = None if store is None else Path(store)
    if not 0 < held_out < 1:
        raise InputError(f"held_out = {held_out} is not accepted: give a share between 0 and 1")
    if pathway is not None and stimulus is None:
        ppd = pixels_per_degree or stimulus_sets.PIXELS_PER_DEGREE
        shown = stimulus_sets.identification(images, round(stimulus_sets.WIDTH * ppd), ppd, seed)
        light, recorded = shown.simulate(pathway, output, workers, kept, trials, seed)
        check_responses(recorded, light)
        tests: dict[str, tuple[xr.DataArray, xr.Dataset]] = {}
    else:
        light, recorded = _given(pathway, stimulus, responses, adapt_to, output, workers, trials, seed, kept)
        held = _held_out(light, held_out, np.random.default_rng(seed))
        tests = {"photographs": (light[held], recorded.isel(image=held))}
        light, recorded = light[~held], recorded.isel(image=~held)
    front_end = identify(light, recorded, seed, without)
    if pathway is not None:
        fitted = set(light.photograph.values.tolist()) if "photograph" in light.coords else set()
        unseen = [name for name in PHOTOGRAPHS if name not in fitted]
        side, ppd = min(light.sizes["y"], light.sizes["x"]), stimuli.pixels_per_degree(light)
        for test in stimulus_sets.held_out(min(TEST_IMAGES, images), unseen or PHOTOGRAPHS, side, ppd, seed):
            # Where every photograph was fitted, only gratings and spots are left to score on.
            if test.name not in tests and (unseen or test.name == "gratings"):
                tests[test.name] = test.simulate(pathway, output, workers, kept, trials, seed)
    scores = pd.concat([scored(front_end, name, *test) for name, test in tests.items()], ignore_index=True)
    names: list[str] = []
    if "photograph" in tests["photographs"][0].coords:
        names = list(dict.fromkeys(tests["photographs"][0].photograph.values.tolist()))
    seconds = time.monotonic() - began
    report = FitReport(str(recorded.attrs.get("fidelity", "unknown")), scores, tuple(names), seconds)
    sizes = {"images": light.sizes["image"]} | ({"trials": recorded.sizes["trial"]} if "trial" in recorded.dims else {})
    front_end.metadata = {
        "fitted_on": {k: v for k, v in recorded.attrs.items() if k != "parameters"} | sizes,
        "scores": report.summary(),
        "held_out": names,
        "precortical": biomodel.__version__,
    }
    if pathway is not None and stimulus is None:
        front_end.metadata["display"] = asdict(Display(pixels_per_degree=front_end.pixels_per_degree))
    return front_end, report


def identify(light: xr.DataArray, responses: xr.Dataset, seed: int = 0, without: Sequence[str] = ()) -> FrontEnd:
    """A front end fitted to all of the responses; all as `fit` accepts it, and checked."""
    if "trial" in responses.dims:
        responses = responses.mean("trial", keep_attrs=True)
    counted = {str(n): float(v.attrs["counted_s"]) for n, v in responses.items() if "counted_s" in v.attrs}
    seen = [name for name in STATIONS if name in responses]
    channels = {n: [n] if n in SINGLE else responses[f"{n}_channel"].values.tolist() for n in seen}
    gaze_sd = float(responses.attrs.get("gaze_spread_deg", GAZE_SD))
    orientations = np.split(responses.v1_orientation.values, 2)[0].tolist() if "v1" in seen else None
    ppd = stimuli.pixels_per_degree(light)
    front_end = FrontEnd(
        ppd, channels, seen[-1], gaze_sd, orientations=orientations, without=without, spiking="v1" in counted
    )
    early = [name for name in STATIONS if name != "v1"]
    photographs = light.photograph.values if "photograph" in light.coords else np.arange(light.sizes["image"])
    is_aside = stimulus_sets.left_aside(photographs.tolist(), seed)
    shown = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(~is_aside))
    # A finer lattice shows no more in a degree: so many images it takes all the same.
    finer = max(1.0, ppd / stimulus_sets.PIXELS_PER_DEGREE) ** 2
    pixels = light.sizes["y"] * light.sizes["x"] / finer
    data = _Data(light, responses, shown[: max(1, int(_EARLY_PLACES / pixels))])
    guesses = {name: values.clone() for name, values in front_end.state_dict().items()}
    every = _Data(light, responses, np.arange(light.sizes["image"]))
    waiting: list[str] = []
    # Matrices are small: threads would wait for one another longer than they work.
    with one_thread():
        for station in progress([*early, "all", *STATIONS[len(early) :]], what="fitting"):
            if station == "all":
                _adjust(front_end, guesses, early, [name for name in seen if name in early], data)
            elif station == "v1":
                if "v1" in seen:
                    chosen = shown[: max(1, int(_V1_PLACES * finer / responses.v1[0, 0].size))]
                    whole, random = _Data(light, responses, chosen), np.random.default_rng([seed, 2])

                    def fit_cortex(
                        turns: int, afresh: bool, whole: _Data = whole, random: np.random.Generator = random
                    ) -> None:
                        if "v1" in counted:
                            _fit_v1_to_counts(front_end, every, counted["v1"], is_aside, seed, afresh)
                        else:
                            _fit_v1(front_end, whole, random, turns, afresh)

                    fit_cortex(TURNS, afresh=True)
                    for _ in range(_ROUNDS if waiting else 0):
                        places = int(_THROUGH_PLACES * finer / responses.v1[0, 0].size)
                        few = _Data(light, responses, chosen[: max(1, places)])
                        _adjust(front_end, guesses, early, seen, few, through=["v1"], iterations=_THROUGH_ITERATIONS)
                        fit_cortex(2, afresh=False)
            else:
                waiting.append(station)
                if station in seen:
                    _adjust(front_end, guesses, waiting, [station], data)
                    waiting = []
        steps, rate = _FAR if waiting else _NEAR
        refine(front_end, every.light, every.background, every.response, is_aside, seed, steps, rate, counted)
    return front_end


def _given(
    pathway: Pathway | None,
    stimulus: xr.DataArray | None,
    responses: xr.Dataset | None,
    adapt_to: Sequence[AdaptTo],
    output: str,
    workers: int,
    trials: int,
    seed: int,
    store: Path | None,
) -> tuple[xr.DataArray, xr.Dataset]:
    """A user's stimulus as luminance, and responses to it, given or simulated, checked."""
    if stimulus is None:
        raise InputError("responses alone are not accepted: give the stimulus that they answer")
    check_luminance(stimulus)
    light = stimulus.sum("colour") if "colour" in stimulus.dims else stimulus
    if light.dims != ("image", "y", "x"):
        raise InputError(f"stimulus dimensions {stimulus.dims} are not accepted: give (image, y, x)")
    if responses is None:
        simulate = cast(Pathway, pathway).simulate
        settings = {"output": output, "workers": workers, "trials": trials}
        kept = [None if store is None else store / f"state-{k}" for k in range(len(adapt_to))]
        parts = [
            simulate(light, adapt_to=state, seed=seed + k, store=kept[k], **settings)
            for k, state in enumerate(adapt_to)
        ]
        light = xr.concat([light] * len(parts), "image")
        responses = stimulus_sets.together(parts)
    responses = in_rates(responses)
    check_responses(responses, light)
    return light, responses


@contextmanager
def one_thread() -> Iterator[None]:
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
        self.light = tensor(light.values[chosen][:, None])
        self.background = tensor(responses.background.values[chosen][:, None])
        self.response = {}
        for name in STATIONS:
            if name in responses:
                values = responses[name].values[chosen]
                self.response[name] = tensor(values[:, None] if name in SINGLE else values)


def check_responses(responses: xr.Dataset, light: xr.DataArray) -> None:
    """Refuse responses that don't belong to a stimulus or can't be fitted, naming what is wrong."""
    if "background" not in responses:
        raise InputError(
            "the responses have no variable 'background': give the field adapted to, (image, y, x) in cd/m²"
        )
    if not any(name in responses for name in OUTPUTS):
        raise InputError(f"the responses hold {list(responses)}: accepted are those with one of {', '.join(OUTPUTS)}")
    if responses.sizes["image"] != light.sizes["image"]:
        raise InputError(
            f"{responses.sizes['image']} responses to {light.sizes['image']} images are not accepted: one each"
        )
    if "v1" in responses:
        _check_kinds(responses)
    for name in STATIONS:
        if name not in responses:
            continue
        values = responses[name]
        if not np.isfinite(values.values).all():
            raise InputError(f"the responses of {name} hold NaN or infinity: give finite rates")
        label = f"{name}_channel"
        spread = values.std([d for d in values.dims if d != label])
        flat = np.atleast_1d(spread.values == 0)
        if flat.any():
            at = [name] if name in SINGLE else responses[label].values[flat].tolist()
            raise InputError(f"channels without variance cannot be fitted: {name} {', '.join(map(str, at))}")


def _check_kinds(responses: xr.Dataset) -> None:
    """Refuse V1 channels other than simple cells of some kinds, and complex cells of the same ones."""
    if not {"v1_kind", "v1_orientation"} <= set(responses.coords):
        raise InputError("the channels of v1 have no v1_kind or no v1_orientation: give both, as coordinates")
    cells, half = responses.v1_kind.values.tolist(), responses.sizes["v1_channel"] // 2
    first, second = np.split(responses.v1_orientation.values, [half])
    if cells != ["simple"] * half + ["complex"] * half or not np.array_equal(first, second):
        raise InputError("v1 channels are accepted as simple cells of every kind, and complex cells of the same kinds")


def _held_out(light: xr.DataArray, share: float, random: np.random.Generator) -> np.ndarray:
    """Which images are held out: whole photographs where they are known."""
    labels = light.photograph.values if "photograph" in light.coords else np.arange(light.sizes["image"])
    groups = np.unique(labels)
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    if count < 1:
        raise InputError("one photograph alone is not accepted: give two, to fit and to hold out")
    return np.isin(labels, random.choice(groups, count, replace=False))


@torch.no_grad()
def _adjust(
    front_end: FrontEnd,
    guesses: State,
    stations: list[str],
    targets: list[str],
    data: _Data,
    through: Sequence[str] = (),
    iterations: int = 60,
) -> None:
    """Fit the twins of `stations`, one behind the other, so that the `targets` meet their recordings.

    Targets are among the stations, and among those that they are seen `through`, which stay as they are.
    """
    if not targets:
        return
    fitted = [
        (station, name, parameter)
        for station in stations
        for name, parameter in getattr(front_end, station).named_parameters()
        if parameter.requires_grad
    ]
    parameters = [(station, parameter.view(-1)) for station, _, parameter in fitted]
    origin = [guesses[f"{station}.{name}"].flatten() for station, name, _ in fitted]
    state = front_end.presented(data.light, data.background)
    for name in STATIONS[: STATIONS.index(stations[0])]:
        state = front_end.advance(name, state)
    before = {stations[0]: state}

    def predict(first: str, keep: bool) -> list[Tensor]:
        """What the targets say when the twins from `first` on tell anew."""
        kept = before if keep else dict(before)
        state = kept[first]
        followed = [*stations, *through]
        for name in followed[followed.index(first) :]:
            kept[name] = state
            state = front_end.advance(name, state)
        return [front_end.response(n, state) for n in targets]

    unexplained = minimise(parameters, origin, predict, [data.response[name] for name in targets], iterations)
    logger.info("fitted %s: unexplained variance %.2e", ", ".join(targets), unexplained)


@torch.no_grad()
def _fit_v1(front_end: FrontEnd, data: _Data, random: np.random.Generator, turns: int, afresh: bool) -> None:
    """Fit V1 behind the relay's twin."""
    relay, maintained = _relayed(front_end, data)
    fit_v1(cast(V1, front_end.v1), relay, maintained, data.response["v1"], random, turns, afresh)


def _fit_v1_to_counts(
    front_end: FrontEnd, data: _Data, seconds: float, is_aside: np.ndarray, seed: int, afresh: bool
) -> None:
    """Fit V1 that spikes behind the relay's twin."""
    relay, maintained = _relayed(front_end, data)
    fit_v1_to_counts(cast(V1, front_end.v1), relay, maintained, data.response["v1"], seconds, is_aside, seed, afresh)


@torch.no_grad()
def _relayed(front_end: FrontEnd, data: _Data) -> tuple[Tensor, Tensor]:
    """Rates of the relay's twin, part by part, (PARTS, image, 4, y, x), and before a field that stands still."""
    relay = []
    for first in range(0, len(data.light), BATCH):
        chosen = slice(first, first + BATCH)
        state = front_end.presented(data.light[chosen], data.background[chosen])
        for name in STATIONS[: STATIONS.index("v1")]:
            state = front_end.advance(name, state)
        relay.append(front_end.relay(state))
    return torch.cat(relay, dim=1), front_end.lgn.settled(front_end.ganglion.maintained)
