"""Evidence: how near a front end comes to its circuit, beside what is simpler, and beside circuits that it doesn't match.

Every model is shown the same images, given the field adapted to, and scored on the same held-out sets (`stimulus_sets`):

- ``front end``: fitted to every station's responses; ``from lgn alone``, ``from v1 alone``: to nothing else. What these say of
  stations that they never saw is scored too.
- ``without …``: the front end fitted again without one of its `mechanisms`: without one of V1's as far as V1, without an
  earlier one as far as the relay.
- `rivals`, fitted to the relay's, or to V1's responses alone.
- ``of …``: a front end fitted to another circuit's relay, scored on this one's responses.
- ``fitted to a published model``: a front end fitted to the responses of `plenoptic_models`, scored on that model's own.

What is finished is kept in a folder, and the same call goes on from there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
import xarray as xr

import bridge
from biomodel import Pathway
from biomodel.engine import cache
from biomodel.stimuli import pixels_per_degree
from biomodel.utils.atomic import atomic_write
from biomodel.utils.code import code_digest
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import check_same
from bridge.evaluate.scores import BATCH, finite, score, score_front_end, tensor
from bridge.fit import stimuli
from bridge.fit.data import check_responses
from bridge.fit.fitting import fit_front_end, one_thread
from bridge.fit.stimuli import IMAGES, TEST_IMAGES, Simulation
from bridge.model.ablation import ABLATIONS
from bridge.model.front_end import OUTPUTS, FrontEnd
from bridge.model.stages import STRIDE
from studies.common import plenoptic_models
from studies.identification.baselines import Rival, fit_rival, rivals

#: Circuits that differ from the one that is predicted: what is lesioned, and factors on parameters.
OTHERS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "of a circuit without horizontal feedback": (("horizontal_feedback",), {}),
    "of a circuit without contrast gain": (("contrast_gain",), {}),
    "of a circuit with half of the horizontal feedback": ((), {"horizontal.feedback": 0.5}),
}


@dataclass(frozen=True)
class Recordings:
    """What models are fitted to and tested on: light (image, y, x) and responses, of tests by the name of the set."""

    fitted: tuple[xr.DataArray, xr.Dataset]
    tests: dict[str, tuple[xr.DataArray, xr.Dataset]]


def gather(pathway: Pathway, out: Path, images: int = IMAGES, seed: int = 0, workers: int = 1) -> pd.DataFrame:
    """Fit and score every model, or what is left of them.

    Parameters
    ----------
    pathway : biomodel.Pathway
        That is to be predicted.
    out : pathlib.Path
        A folder.
    images, seed : int
        As in `bridge.fit.stimuli.identification_set`.
    workers : int
        Processes that simulate, and that fit a model each.

    Returns
    -------
    pandas.DataFrame
        Columns model, parameters, station, set, channel, r2, feve, correlation.

    Raises
    ------
    ValueError
        For a folder that was made with other settings, or by other code; they are named.
    """
    plenoptic_models.check_installed()
    (out / "scores").mkdir(parents=True, exist_ok=True)
    _claim(out / "config.json", pathway, images, seed)
    recordings = record(pathway, out / "recordings", images, seed, workers)
    models = _models(recordings, _recorded_from_others(pathway, out, images, seed, workers), out, seed)
    paths = {name: out / "scores" / f"{name.replace(' ', '_').replace(',', '')}.csv" for name in models}
    # V1's rivals take longest, and tell least when they are all that there is.
    order = sorted(models, key=lambda name: name.endswith(", v1"))
    waiting = [(models[name], paths[name]) for name in order if not paths[name].exists()]
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        tasks = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
            joblib.delayed(_write_scores)(score, path) for score, path in waiting
        )
        for _ in progress(tasks, total=len(waiting), what="evidence", unit="model"):
            pass
    return pd.concat([pd.read_csv(path).assign(model=name) for name, path in paths.items()], ignore_index=True)


def _write_scores(score: Callable[[], pd.DataFrame], path: Path) -> None:
    """Fit and score a model; its table appears whole or not at all."""
    with atomic_write(path) as scratch:
        score().to_csv(scratch, index=False)


def _claim(path: Path, pathway: Pathway, images: int, seed: int) -> None:
    """Note what decides the numbers, or see that a folder was made with the same."""
    settings: dict[str, Any] = {
        "parameters": pathway.parameters.digest,
        "lesions": list(pathway.lesions),
        "dt": pathway.dt,
        "images": images,
        "seed": seed,
        "simulation": cache.source_digest(),
        "bridge": code_digest([Path(bridge.__file__).parent, Path(__file__).parent]),
    }
    if path.exists():
        check_same(path, json.loads(path.read_text()), settings)
    else:
        path.write_text(json.dumps(settings, indent=2) + "\n")


def record(pathway: Pathway, folder: Path, images: int, seed: int, workers: int) -> Recordings:
    """Simulate all that models are fitted to and tested on, kept in a folder."""
    simulation = Simulation(workers=workers, store=folder)
    fitted = stimuli.identification_set(images, seed=seed).simulate(pathway, simulation)
    check_responses(fitted[1], fitted[0])
    held = stimuli.split_photographs(seed)[1]
    tests = stimuli.held_out_sets(TEST_IMAGES, held, seed=seed)
    return Recordings(fitted, {one.name: one.simulate(pathway, simulation) for one in tests})


def _recorded_from_others(
    pathway: Pathway, out: Path, images: int, seed: int, workers: int
) -> dict[str, tuple[xr.DataArray, xr.Dataset]]:
    """What the relay of every other circuit answers to the stimuli for identification."""
    shown, found = stimuli.identification_set(images, seed=seed), {}
    for name, (lesions, factors) in OTHERS.items():
        values = pathway.parameters.values_by_name()
        other = Pathway(
            pathway.preset,
            parameters=values | {key: factor * values[key] for key, factor in factors.items()},
            lesions=(*pathway.lesions, *lesions),
            fidelity=pathway.fidelity,
            dt=pathway.dt,
            target=pathway.target,
        )
        light, answers = shown.simulate(
            other, Simulation("lgn", workers, store=out / "recordings" / name.replace(" ", "_"))
        )
        check_responses(answers, light)
        found[name] = light, answers
    return found


def _models(
    recordings: Recordings, others: dict[str, tuple[xr.DataArray, xr.Dataset]], out: Path, seed: int
) -> dict[str, Callable[[], pd.DataFrame]]:
    """Every model's name, and how it is fitted and scored."""
    light, responses = recordings.fitted
    found: dict[str, Callable[[], pd.DataFrame]] = {}

    def fit(name: str, seen: xr.Dataset, shown: xr.DataArray = light, without: tuple[str, ...] = ()) -> None:
        path = out / f"{name.replace(' ', '_')}.safetensors"
        found[name] = functools.partial(_twin, shown, seen, seed, without, recordings, path)

    fit("front end", responses)
    for station in OUTPUTS:
        fit(f"from {station} alone", responses[["background", station]])
    # What lies before V1 is left out where the relay hears it: V1 behind it would be fitted for hours more.
    relay = responses.drop_vars("v1")
    for mechanism, path in ABLATIONS.items():
        seen = responses if path.startswith("v1.") else relay
        fit(f"without {mechanism.replace('_', ' ')}", seen, without=(mechanism,))
    for station in OUTPUTS:
        channels, stride = responses.sizes[f"{station}_channel"], STRIDE if station == "v1" else 1
        ppd = pixels_per_degree(light)
        size = sum(p.numel() for p in _empty(responses, station, ppd).parameters())
        for name, rival in rivals(channels, stride, ppd, size).items():
            found[f"{name}, {station}"] = functools.partial(_rival, rival, station, recordings, seed)
    for name, (shown, answers) in others.items():
        fit(name, answers, shown)
    found["fitted to a published model"] = functools.partial(_of_published, recordings, seed, out)
    return found


def _twin(
    light: xr.DataArray,
    responses: xr.Dataset,
    seed: int,
    without: tuple[str, ...],
    recordings: Recordings,
    path: Path,
) -> pd.DataFrame:
    """Fit a front end, save it, and score it on every set."""
    return _scored(fit_front_end(light, responses, seed, without), recordings, path)


def _of_published(recordings: Recordings, seed: int, out: Path) -> pd.DataFrame:
    """A front end fitted to a published model's relay, and scored on what that says of the held-out sets."""
    light, responses = recordings.fitted
    images = light.sizes["image"]
    held = stimuli.held_out_sets(TEST_IMAGES, stimuli.split_photographs(seed)[1], seed=seed)
    every = [stimuli.identification_set(images, seed=seed), *held]
    gaze = _empty(responses, "lgn", pixels_per_degree(light)).background
    fields = [gaze(torch.from_numpy(one.light.values[:, None]))[:, 0].numpy() for one in every]
    fitted, *tests = (plenoptic_models.record_on_off(*pair) for pair in zip(every, fields, strict=True))
    named = {one.name: test for one, test in zip(held, tests, strict=True)}
    return _twin(*fitted, seed, (), Recordings(fitted, named), out / "fitted_to_a_published_model.safetensors")


def _empty(responses: xr.Dataset, station: str, pixels_per_degree: float) -> FrontEnd:
    channels = {name: responses[f"{name}_channel"].values.tolist() for name in OUTPUTS}
    return FrontEnd(pixels_per_degree, channels, station)


def _scored(front_end: FrontEnd, recordings: Recordings, path: Path) -> pd.DataFrame:
    """Save a front end, and score it on every set."""
    front_end.save(path)
    table = pd.concat(
        [score_front_end(front_end, name, *test) for name, test in recordings.tests.items()], ignore_index=True
    )
    return table.assign(parameters=sum(p.numel() for p in front_end.parameters()))


def _rival(rival: Rival, station: str, recordings: Recordings, seed: int) -> pd.DataFrame:
    """Fit a rival to a station, and score it on every set."""
    light, responses = recordings.fitted
    with one_thread():
        trained = fit_rival(
            rival,
            tensor(light.values)[:, None],
            tensor(responses.background.values)[:, None],
            tensor(responses[station].values),
            seed,
            light.photograph.values.tolist(),
        )
    tables = []
    for name, (shown, answers) in recordings.tests.items():
        pairs = zip(
            tensor(shown.values)[:, None].split(BATCH),
            tensor(answers.background.values)[:, None].split(BATCH),
            strict=True,
        )
        with torch.no_grad():
            told = np.concatenate([trained(*pair).numpy() for pair in pairs])
        tables.append(score({station: told}, name, answers))
    return pd.concat(tables, ignore_index=True).assign(parameters=sum(p.numel() for p in rival.parameters()))


def summary(scores: pd.DataFrame) -> dict[str, dict]:
    """By model, station and set: median and least R², median correlation over channels; and the number of parameters."""
    found: dict[str, dict] = {}
    for (model, station, name), rows in scores.groupby(["model", "station", "set"], sort=False):
        entry = found.setdefault(str(model), {"parameters": int(rows.parameters.iloc[0]), "scores": {}})
        entry["scores"].setdefault(str(station), {})[str(name)] = {
            "median_r2": finite(rows.r2.median()),
            "min_r2": finite(rows.r2.min()),
            "median_correlation": finite(rows.correlation.median()),
            "channels": len(rows),
        }
    return found
