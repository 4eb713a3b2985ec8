"""System identification: from responses to known stimuli to a `FrontEnd` and a `FitReport`.

The fit reads luminance, the field adapted to, and responses; never a parameter of the simulation, but whether its pupil follows
the light. Recorded stations are fitted
one after the other, each behind the fitted stations before it; a station that was not recorded is fitted through the next
recorded one. Then all stations before V1 are fitted together to all their responses, because only later stations
show the time course of earlier ones (`early_stages`). V1 has thousands of weights and is fitted behind them (`v1_rates`, for
spiking cells `v1_counts`); the synapses of its input are fitted with it where their output was not recorded. Finally Adam
refines all parameters together (`optimisers`): to the responses of rate cells, and to the likelihood of the counts of spiking
cells.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from threadpoolctl import threadpool_limits
from torch import nn

import biomodel
from biomodel import Display, Pathway
from biomodel.adaptation import GazeAdapted
from biomodel.analysis.alignment import canonical, canonical_light
from biomodel.engine.cluster import Workers, check_workers
from biomodel.engine.responses import SINGLE, in_rates
from biomodel.images import PHOTOGRAPHS
from biomodel.pathway import AdaptTo
from biomodel.stimuli import check_luminance, pixels_per_degree
from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path
from biomodel.utils.progress import progress
from bridge.evaluate.scores import FitReport, score_front_end
from bridge.fit.data import Cortex, Recording, Relay, check_variation, choose_held_out, validate_data
from bridge.fit.early_stages import EarlyStages
from bridge.fit.optimisers import AdamSettings, fit_adam
from bridge.fit.stimuli import (
    PIXELS_PER_DEGREE,
    TEST_IMAGES,
    Simulation,
    StimulusSet,
    concat,
    held_out_sets,
    identification_set,
)
from bridge.fit.v1_counts import fit_v1_to_counts
from bridge.fit.v1_rates import TURNS, fit_v1
from bridge.model.ablation import check_ablations
from bridge.model.front_end import GAZE_SD, OUTPUTS, STATIONS, FrontEnd

logger = logging.getLogger("precortical")

#: Approximate number of places, of random images, in the fits of the stations up to the relay, and of V1. A finer lattice
#: shows no more per degree: the number of images stays the same.
_EARLY_PLACES, _V1_PLACES = 24_576, 40_960
#: Where only V1 was recorded, fits of the earlier stations through V1: their number, and the places and steps of each.
_ROUNDS, _THROUGH_PLACES, _THROUGH_ITERATIONS = 4, 6_144, 20
#: Steps and learning rate of the refinement, where the stations before V1 were recorded, and where they were not.
_NEAR, _FAR = (200, 3e-3), (2_500, 1e-2)
#: Default adaptation states for a user's stimulus: settled, and sudden after 40 cd/m².
ADAPTATION_STATES: tuple[AdaptTo, ...] = ("gaze", 40.0)
#: Default number of repeats of every image, for spiking cells.
TRIALS = 20
#: Light and responses.
_Pair = tuple[xr.DataArray, xr.Dataset]


def fit_pathway(
    pathway: Pathway,
    stimulus: xr.DataArray | StimulusSet | None = None,
    *,
    adapt_to: Sequence[AdaptTo] = ADAPTATION_STATES,
    held_out: float = 0.25,
    output: str = "v1",
    ablations: Sequence[str] = (),
    trials: int | None = None,
    seed: int = 0,
    workers: Workers = 1,
    store: str | Path | None = None,
) -> tuple[FrontEnd, FitReport]:
    """Simulate a pathway, and fit a front end to its responses.

    Parameters
    ----------
    pathway : biomodel.Pathway
        Of either fidelity.
    stimulus : StimulusSet or xarray.DataArray (image, y, x), optional
        By default `bridge.fit.stimuli.identification_set`: photographs and noise in several adaptation states. An array holds
        luminance in cd/m². Its coordinate `photograph` says which images belong together: patches of one photograph are all
        fitted or all held out; names of `biomodel.images` keep these photographs out of the other held-out sets.
    adapt_to : sequence
        States in which an array is presented, as in `Pathway.simulate`, except "previous".
    held_out : float
        Share of an array's photographs (or images) that are scored and never fitted, above 0 and below 1.
    output : {"lgn", "v1_input", "v1"}
        The last station that is simulated and fitted.
    ablations : sequence of str
        Mechanisms of `bridge.model.ablation.ABLATIONS` that the front end is fitted without.
    trials : int, optional
        Repeats of every image for a spiking pathway; 20 by default.
    seed : int
        Seed of the stimuli, of held-out images, of the pathway's noise, and of random choices in the fit.
    workers : int, str or distributed.Client
        Processes for the simulation.
    store : str or pathlib.Path, optional
        Folder that keeps the responses as they come; the same call continues from there after an interruption.

    Returns
    -------
    front_end : FrontEnd
    report : FitReport
        Scores on the sets of `bridge.fit.stimuli.held_out_sets`; for an array, on its held-out photographs in place of
        "photographs".

    Raises
    ------
    InputError
        For arguments that the pathway or the fit cannot use.

    Examples
    --------
    A fit of the relay to a few small images:

    >>> import biomodel, bridge
    >>> from bridge.fit.stimuli import identification_set
    >>> pathway = biomodel.Pathway("macaque_parafovea", target="numpy")
    >>> few = identification_set(images=13, pixels=16)
    >>> front_end, report = bridge.fit_pathway(pathway, few, output="lgn")
    >>> list(report.summary()["lgn"])
    ['photographs', 'luminance', 'gratings', 'local_light']
    """
    started = time.monotonic()
    if not callable(getattr(pathway, "simulate", None)):
        raise InputError(f"pathway must be a biomodel.Pathway, got {type(pathway).__name__}")
    seed, workers = whole_number(seed, "seed", 0), check_workers(workers)
    one_of(output, OUTPUTS, "output")
    check_ablations(ablations, STATIONS)
    if trials is None:
        trials = TRIALS if pathway.fidelity == "spiking" else 1
    simulation = Simulation(output, workers, trials, seed, None if store is None else local_path(store, "store"))
    tests: dict[str, _Pair] = {}
    if stimulus is None:
        stimulus = identification_set(seed=seed)
    if not isinstance(stimulus, StimulusSet):
        # Before a simulation that takes hours.
        choose_held_out(_luminance(stimulus), held_out, seed)
    if isinstance(stimulus, StimulusSet):
        light, responses = validate_data(*stimulus.simulate(pathway, simulation))
    else:
        light, responses = validate_data(*_simulate_states(pathway, _luminance(stimulus), adapt_to, simulation))
        (light, responses), tests["photographs"] = _split(light, responses, held_out, seed)
    front_end = fit_front_end(light, responses, seed, ablations)
    fitted = set(light.photograph.values.tolist()) if "photograph" in light.coords else set()
    unseen = [name for name in PHOTOGRAPHS if name not in fitted]
    side, ppd = min(light.sizes["y"], light.sizes["x"]), pixels_per_degree(light)
    n_test = min(TEST_IMAGES, light.sizes["image"]) if isinstance(stimulus, StimulusSet) else TEST_IMAGES
    for test in held_out_sets(n_test, unseen or PHOTOGRAPHS, side, ppd, seed):
        # Where every photograph was fitted, only gratings and spots can be scored.
        if test.name not in tests and (unseen or test.name == "gratings"):
            tests[test.name] = test.simulate(pathway, simulation)
    report = _report(front_end, light, responses, tests, started)
    if isinstance(stimulus, StimulusSet):
        front_end.metadata["display"] = asdict(Display(pixels_per_degree=front_end.pixels_per_degree))
    return front_end, report


def fit_responses(
    responses: xr.Dataset,
    stimulus: xr.DataArray,
    *,
    held_out: float = 0.25,
    ablations: Sequence[str] = (),
    seed: int = 0,
) -> tuple[FrontEnd, FitReport]:
    """Fit a front end to recorded responses, from a simulation or an experiment.

    Parameters
    ----------
    responses : xarray.Dataset
        With the names that `Pathway.simulate` gives, in any order, `background` (cd/m²) and at least one of `lgn`,
        `v1_input` and `v1`. Channels are known by name; images and places by their coordinates where stimulus and responses
        both have them, otherwise by position. A dimension `trial` holds repeats, NaN where an image has fewer than others:
        the fit uses their mean. Counts have the unit ``spikes``, and the attribute ``window_s`` with the seconds between
        which they were counted; for spiking V1 cells, give counts. Simulated responses say by their attribute
        ``parameters`` whether the pupil followed the field adapted to (`FrontEnd`'s `pupil`); without it the pupil is taken to
        be fixed, as behind an artificial pupil.
    stimulus : xarray.DataArray, (image, y, x) in any order
        Luminance in cd/m², one image per response; `photograph` as in `fit_pathway`.
    held_out : float
        Share of the photographs (or images) that are scored and never fitted, above 0 and below 1.
    ablations : sequence of str
        Mechanisms of `bridge.model.ablation.ABLATIONS` that the front end is fitted without.
    seed : int
        Seed of held-out images and of random choices in the fit.

    Returns
    -------
    front_end : FrontEnd
        Ends at the last station that was recorded.
    report : FitReport
        Scores on the held-out photographs.

    Raises
    ------
    InputError
        For a stimulus and responses that do not belong together, or cannot be fitted.

    Examples
    --------
    >>> import biomodel, bridge
    >>> from biomodel.images import photographs
    >>> stimulus = photographs(8, 16, seed=1)
    >>> responses = biomodel.Pathway("macaque_parafovea", target="numpy").simulate(stimulus, output="lgn")
    >>> front_end, report = bridge.fit_responses(responses, stimulus)
    >>> list(report.summary())
    ['cone', 'horizontal', 'bipolar', 'ganglion', 'lgn']
    """
    started = time.monotonic()
    seed = whole_number(seed, "seed", 0)
    check_ablations(ablations, STATIONS)
    light, responses = validate_data(stimulus, responses)
    (light, responses), test = _split(light, responses, held_out, seed)
    front_end = fit_front_end(light, responses, seed, ablations)
    return front_end, _report(front_end, light, responses, {"photographs": test}, started)


def _luminance(stimulus: xr.DataArray) -> xr.DataArray:
    """A user's stimulus as luminance (image, y, x), checked."""
    light = canonical_light(stimulus)
    check_luminance(light)
    return light


def _simulate_states(pathway: Pathway, light: xr.DataArray, states: Sequence[AdaptTo], simulation: Simulation) -> _Pair:
    """Light and responses in each of the adaptation states, one after the other."""
    parts = [simulation.run(pathway, light, state, simulation.seed + k, f"state-{k}") for k, state in enumerate(states)]
    return xr.concat([light] * len(parts), "image"), in_rates(concat(parts))


def _split(light: xr.DataArray, responses: xr.Dataset, held_out: float, seed: int) -> tuple[_Pair, _Pair]:
    """Split images and responses into fitted and held-out ones."""
    held = choose_held_out(light, held_out, seed)
    return (light[~held], responses.isel(image=~held)), (light[held], responses.isel(image=held))


def _report(
    front_end: FrontEnd, light: xr.DataArray, responses: xr.Dataset, tests: dict[str, _Pair], started: float
) -> FitReport:
    """Score a front end on `tests`, and write data and scores of the fit to its metadata."""
    scores = pd.concat([score_front_end(front_end, name, *test) for name, test in tests.items()], ignore_index=True)
    names: list[str] = []
    if "photograph" in tests["photographs"][0].coords:
        names = list(dict.fromkeys(tests["photographs"][0].photograph.values.tolist()))
    fidelity = str(responses.attrs.get("fidelity", "unknown"))
    report = FitReport(fidelity, scores, tuple(names), time.monotonic() - started)
    sizes = {"images": light.sizes["image"]}
    if "trial" in responses.dims:
        sizes["trials"] = responses.sizes["trial"]
    front_end.metadata = {
        "fitted_on": {k: v for k, v in responses.attrs.items() if k != "parameters"} | sizes,
        "scores": report.summary(),
        "held_out": names,
        "precortical": biomodel.__version__,
    }
    return report


def fit_front_end(light: xr.DataArray, responses: xr.Dataset, seed: int = 0, ablations: Sequence[str] = ()) -> FrontEnd:
    """Fit a front end to all responses.

    Parameters
    ----------
    light : xarray.DataArray, (image, y, x)
        cd/m².
    responses : xarray.Dataset
        As in `fit_responses`, in rates, and checked by `bridge.fit.data.check_responses`.
    seed : int
    ablations : sequence of str

    Raises
    ------
    InputError
        For responses in another order that has no labels, and for channels that do not vary.
    """
    light = canonical_light(light)
    responses = canonical(responses, light)
    check_variation(responses)
    recording = Recording.from_xarray(light, responses, seed)
    recorded = list(recording.targets.responses)
    # Synapses whose output was not recorded are fitted with V1.
    early = [name for name in STATIONS[: STATIONS.index("v1")] if name != "v1_input" or name in recorded]
    front_end = _initial_front_end(light, responses, ablations)
    later = [name for name in front_end.stations if name not in early]
    finer = max(1.0, front_end.pixels_per_degree / PIXELS_PER_DEGREE) ** 2
    order = np.random.default_rng([seed, 1]).permutation(recording.targets.fitted)

    def some(places: int, per_image: int) -> Recording:
        return recording.subset(order[: max(1, int(places * finer / per_image))])

    stages = EarlyStages(front_end)
    few = some(_EARLY_PLACES, light.sizes["y"] * light.sizes["x"])
    pending: list[str] = []
    # Matrices are small: several threads would mostly wait for one another.
    with one_thread():
        for station in progress([*early, "all", "v1"], what="fitting"):
            if station == "all":
                stages.fit(early, [name for name in recorded if name in early], few)
            elif station == "v1":
                if "v1" in recorded:
                    per_image = responses.sizes["v1_y"] * responses.sizes["v1_x"]
                    fit = _v1_fit(front_end, recording, some(_V1_PLACES, per_image), seed)
                    fit(TURNS, True)
                    through = some(_THROUGH_PLACES, per_image)
                    for _ in range(_ROUNDS if pending else 0):
                        stages.fit(early, recorded, through, later, _THROUGH_ITERATIONS)
                        fit(2, False)
            else:
                pending.append(station)
                if station in recorded:
                    stages.fit(pending, [station], few)
                    pending = []
        refine(front_end, recording, AdamSettings(*(_FAR if pending else _NEAR), seed))
    return front_end


def _initial_front_end(light: xr.DataArray, responses: xr.Dataset, ablations: Sequence[str]) -> FrontEnd:
    """A front end with initial weights, up to the last recorded station."""
    recorded = [name for name in STATIONS if name in responses]
    return FrontEnd(
        pixels_per_degree(light),
        {n: [n] if n in SINGLE else responses[f"{n}_channel"].values.tolist() for n in recorded},
        recorded[-1],
        _gaze_sd(responses),
        orientations=np.split(responses.v1_orientation.values, 2)[0].tolist() if "v1" in recorded else None,
        ablations=ablations,
        spiking="v1" in recorded and "counted_s" in responses.v1.attrs,
        pupil=_follows_light(responses),
    )


def _gaze_sd(responses: xr.Dataset) -> float:
    """Standard deviation in degrees of the field adapted to, an attribute of responses."""
    spread = responses.attrs.get("gaze_spread_deg", GAZE_SD)
    try:
        return GazeAdapted(float(spread)).sd
    except (TypeError, ValueError):
        raise InputError(
            f"attribute gaze_spread_deg must be a number of degrees of 0 or more, got {spread!r}"
        ) from None


def _follows_light(responses: xr.Dataset) -> bool:
    """Whether the pupil followed the field adapted to: the parameter `cone.pupil_reflex` of simulated responses.

    Recordings, which have no attribute `parameters`, are taken to be made through an artificial pupil.
    """
    given = responses.attrs.get("parameters", "{}")
    try:
        return bool(json.loads(given).get("cone.pupil_reflex", 0))
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"attribute parameters must be values by name as a JSON text, as Pathway.simulate writes it, got {given!r:.60}"
        ) from None


def _v1_fit(front_end: FrontEnd, recording: Recording, some: Recording, seed: int) -> Callable[[int, bool], None]:
    """A function that fits V1 behind the present relay: to counts of all images, or to rates of `some`."""
    cortex, random = Cortex(front_end.v1_input, front_end.v1), np.random.default_rng([seed, 2])
    targets = recording.targets.of("v1")
    fixed = [cortex.v1_input] if "v1_input" in recording.targets.responses else []

    def fit(turns: int, initialise: bool) -> None:
        with fixed_parameters(fixed):
            if targets.counting_s:
                fit_v1_to_counts(cortex, Relay.of(front_end, recording), targets, seed, initialise)
            else:
                relay = Relay.of(front_end, some)
                fit_v1(cortex, relay, some.targets.responses["v1"], random, turns, initialise)

    return fit


@contextmanager
def fixed_parameters(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Exclude the parameters of modules from fits inside the block: ``requires_grad`` is False."""
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def refine(front_end: FrontEnd, recording: Recording, settings: AdamSettings) -> float:
    """Refine all parameters of a front end by `fit_adam`, in place.

    Returns
    -------
    float
        As `fit_adam`; NaN where there is no validation set, and nothing changes.
    """
    if not recording.targets.is_validation.any():
        return math.nan
    light, background = recording.light, recording.background
    return fit_adam(
        front_end, lambda images: front_end.responses(light[images], background[images]), recording.targets, settings
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch and linear algebra in one thread, and restore the number of threads afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
