"""Run the identification study: simulate, fit and score every model, and compare kernels.

Everything that is finished is kept in the folder of the run; the same call resumes there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
import xarray as xr

from biomodel.engine.cluster import Workers, check_workers
from biomodel.stimuli import pixels_per_degree
from biomodel.utils.paths import replacing
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import claim
from bridge import FrontEnd
from bridge.evaluate.kernels import KernelPairs, compare_kernels, most_effective_noise
from bridge.evaluate.scores import BATCH, score, score_front_end, tensor
from bridge.fit import stimuli
from bridge.fit.data import validate_data
from bridge.fit.fitting import fit_front_end, one_thread
from bridge.model.ablation import ABLATIONS
from bridge.model.stages import STRIDE
from studies.common import plenoptic_models
from studies.common.files import is_intact
from studies.common.parallel import run_parallel, shared
from studies.identification.baselines import Baseline, fit_baseline, make_baselines
from studies.identification.results import Results
from studies.identification.settings import BACKGROUNDS, COMPARED, CONTRASTS, OTHER_CIRCUITS, Settings

#: Light (image, y, x) in cd/m², and responses to it.
Recording: TypeAlias = tuple[xr.DataArray, xr.Dataset]

#: A call that fits and scores a model.
Score: TypeAlias = Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class Recordings:
    """Recordings that models are fitted to, and tested on, the latter by the name of the set."""

    fitted: Recording
    tests: dict[str, Recording]


def run(settings: Settings, out: Path, workers: Workers = 1) -> Results:
    """Fit and score every model and compare kernels, or what is left of both.

    Parameters
    ----------
    settings : Settings
    out : pathlib.Path
        The folder of the run.
    workers : int or str
        Number of processes, or the address of a dask scheduler.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        For a folder that was made with other settings or by other code, or without plenoptic.
    """
    settings.check()
    workers = check_workers(workers)
    out = shared(out, workers)
    scores = fit_and_score(settings, out, workers)
    return Results(scores, _compare_kernels(settings, out, workers))


def fit_and_score(settings: Settings, out: Path, workers: Workers = 1) -> pd.DataFrame:
    """Fit and score every model that has no scores yet; parameters as for `run`, result as `Results.scores`."""
    plenoptic_models.check_installed()
    out = shared(out, workers)
    claim(out / "config.json", settings.provenance)
    (out / "scores").mkdir(exist_ok=True)
    models = _models(settings, _record(settings, out, workers), _record_other_circuits(settings, out, workers), out)
    paths = {name: out / "scores" / f"{name.replace(' ', '_').replace(',', '')}.csv" for name in models}
    # Baselines of V1 take longest.
    order = sorted(models, key=lambda name: name.endswith(", v1"))
    pending = [(models[name], paths[name]) for name in order if not is_intact(paths[name])]
    run_parallel(_save_scores, pending, workers, "evidence", out)
    return pd.concat([pd.read_csv(path).assign(model=name) for name, path in paths.items()], ignore_index=True)


def _save_scores(compute: Score, path: Path) -> None:
    with replacing(path) as scratch:
        compute().to_csv(scratch, index=False)


def _held_out_sets(seed: int) -> tuple[stimuli.StimulusSet, ...]:
    return stimuli.held_out_sets(stimuli.TEST_IMAGES, stimuli.split_photographs(seed)[1], seed=seed)


def _record(settings: Settings, out: Path, workers: Workers) -> Recordings:
    """Simulate responses to all stimuli; they are kept in the folder."""
    simulation = stimuli.Simulation("v1", workers, store=out / "recordings")
    shown = stimuli.identification_set(settings.images, seed=settings.seed)
    light, responses = validate_data(*shown.simulate(settings.pathway, simulation))
    tests = {one.name: one.simulate(settings.pathway, simulation) for one in _held_out_sets(settings.seed)}
    return Recordings((light, responses), tests)


def _record_other_circuits(settings: Settings, out: Path, workers: Workers) -> dict[str, Recording]:
    """Simulate the responses of the relay of every other circuit to the stimuli for identification."""
    shown, pathway = stimuli.identification_set(settings.images, seed=settings.seed), settings.pathway
    recordings = {}
    for name, (lesions, factors) in OTHER_CIRCUITS.items():
        parameters = {key: factor * pathway.parameters.value(key) for key, factor in factors.items()}
        other = pathway.replace(parameters=parameters, lesions=(*pathway.lesions, *lesions))
        store = out / "recordings" / name.replace(" ", "_")
        recordings[name] = validate_data(*shown.simulate(other, stimuli.Simulation("lgn", workers, store=store)))
    return recordings


def _models(settings: Settings, recordings: Recordings, others: dict[str, Recording], out: Path) -> dict[str, Score]:
    """Calls that fit and score each model, by its name."""
    light, responses = recordings.fitted
    models: dict[str, Score] = {}

    def add(name: str, responses: xr.Dataset, light: xr.DataArray = light, ablations: tuple[str, ...] = ()) -> None:
        path = out / f"{name.replace(' ', '_')}.safetensors"
        fitted = Recordings((light, responses), recordings.tests)
        models[name] = functools.partial(_score_front_end, fitted, settings.seed, ablations, path)

    add("front end", responses)
    for station in COMPARED:
        add(f"from {station} alone", responses[["background", station]])
    # Without a mechanism before V1 the fit ends at the relay: V1 would take hours more.
    relay = responses.drop_vars(["v1_input", "v1"], errors="ignore")
    for mechanism, parameter in ABLATIONS.items():
        recorded = responses if parameter.startswith(("v1_input.", "v1.")) else relay
        add(f"without {mechanism.replace('_', ' ')}", recorded, ablations=(mechanism,))
    for station in COMPARED:
        channels, stride = responses.sizes[f"{station}_channel"], STRIDE if station == "v1" else 1
        size = sum(p.numel() for p in _new_front_end(recordings.fitted, station).parameters())
        for name, baseline in make_baselines(channels, stride, pixels_per_degree(light), size).items():
            models[f"{name}, {station}"] = functools.partial(
                _score_baseline, baseline, station, recordings, settings.seed
            )
    for name, (other_light, other_responses) in others.items():
        add(name, other_responses, other_light)
    models["fitted to a published model"] = functools.partial(_score_on_published_model, recordings, settings.seed, out)
    return models


def _score_front_end(recordings: Recordings, seed: int, ablations: tuple[str, ...], path: Path) -> pd.DataFrame:
    """Fit a front end, save it to `path`, and score it on every set."""
    front_end = fit_front_end(*recordings.fitted, seed, ablations)
    front_end.save(path)
    tables = [score_front_end(front_end, name, *test) for name, test in recordings.tests.items()]
    return pd.concat(tables, ignore_index=True).assign(parameters=sum(p.numel() for p in front_end.parameters()))


def _score_on_published_model(recordings: Recordings, seed: int, out: Path) -> pd.DataFrame:
    """Fit a front end to a published model of the relay, and score it on that model's responses to the held-out sets."""
    gaze = _new_front_end(recordings.fitted, "lgn").background

    def record(shown: stimuli.StimulusSet) -> Recording:
        field = gaze(torch.from_numpy(shown.light.values[:, None]))[:, 0].numpy()
        return plenoptic_models.record_on_off(shown, field)

    images = recordings.fitted[0].sizes["image"]
    fitted = record(stimuli.identification_set(images, seed=seed))
    published = Recordings(fitted, {one.name: record(one) for one in _held_out_sets(seed)})
    return _score_front_end(published, seed, (), out / "fitted_to_a_published_model.safetensors")


def _new_front_end(recording: Recording, station: str) -> FrontEnd:
    """A front end up to a station, not fitted."""
    light, responses = recording
    channels = {name: responses[f"{name}_channel"].values.tolist() for name in COMPARED}
    return FrontEnd(pixels_per_degree(light), channels, station)


def _score_baseline(baseline: Baseline, station: str, recordings: Recordings, seed: int) -> pd.DataFrame:
    """Fit a baseline to a station, and score it on every set."""

    def inputs(light: xr.DataArray, responses: xr.Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        return tensor(light.values)[:, None], tensor(responses.background.values)[:, None]

    light, responses = recordings.fitted
    with one_thread():
        photographs = light.photograph.values.tolist()
        target = tensor(responses[station].values)
        fitted = fit_baseline(baseline, *inputs(light, responses), target, seed, photographs)
    tables = []
    for name, test in recordings.tests.items():
        batches = zip(*(values.split(BATCH) for values in inputs(*test)), strict=True)
        with torch.no_grad():
            prediction = np.concatenate([fitted(*batch).numpy() for batch in batches])
        tables.append(score({station: prediction}, name, test[1]))
    return pd.concat(tables, ignore_index=True).assign(parameters=sum(p.numel() for p in baseline.parameters()))


def _compare_kernels(settings: Settings, out: Path, workers: Workers) -> tuple[KernelPairs, ...]:
    """Kernels of the circuit and of the front end in every state, each kept in a file."""
    front_end = FrontEnd.load(out / "front_end.safetensors")
    folder = out / "kernels"
    folder.mkdir(exist_ok=True)
    states = [(s, b, c) for s in COMPARED for b in BACKGROUNDS for c in CONTRASTS if s == "lgn" or c > 0]
    paths = {(s, b, c): folder / f"{s}_{b:g}_{c:g}.npz" for s, b, c in states}
    pending = [state for state, path in paths.items() if not is_intact(path)]
    if pending:
        seed = most_effective_noise(settings.pathway, front_end.pixels_per_degree)
        for s, b, c in progress(pending, what="kernels"):
            compare_kernels(settings.pathway, front_end, s, b, c, seed=seed, workers=workers).save(paths[s, b, c])
    return tuple(KernelPairs.load(path) for path in paths.values())
