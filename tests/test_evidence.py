import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from biomodel import Pathway
from bridge import FrontEnd
from bridge.evaluate.kernels import KernelPairs
from bridge.fit import stimuli
from bridge.model.ablation import ABLATIONS
from bridge.model.front_end import STATIONS
from studies.common import plenoptic_models
from studies.identification import baselines, report, run
from studies.identification.results import Results
from studies.identification.settings import Settings


def test_finished_models_are_kept_and_the_others_fitted(tmp_path, monkeypatch):
    """Models are fitted in parallel; scores in the folder are kept, and other settings are refused."""

    def models(*_):
        def score(station: str, r2: float) -> functools.partial:
            row = {"station": [station], "set": ["photographs"], "channel": ["a"], "r2": [r2], "feve": [r2]}
            return functools.partial(pd.DataFrame, row | {"correlation": [r2], "parameters": [3]})

        return {"front end": score("lgn", 0.99), "weber, v1": score("v1", -np.inf), "log, lgn": score("lgn", 0.8)}

    monkeypatch.setattr(run, "_models", models)
    monkeypatch.setattr(run, "_record", lambda *_: None)
    monkeypatch.setattr(run, "_record_other_circuits", lambda *_: {})
    settings = Settings(Pathway(parameters={"v1.kinds": 2}), images=26)
    first = run.fit_and_score(settings, tmp_path, workers=2)
    assert first.model.tolist() == ["front end", "weber, v1", "log, lgn"]
    kept = tmp_path / "scores" / "front_end.csv"
    kept.write_text(kept.read_text().replace("0.99", "0.98"))
    (tmp_path / "scores" / "log_lgn.csv").unlink()
    again = run.fit_and_score(settings, tmp_path, workers=2)
    assert again.r2.tolist() == [0.98, -np.inf, 0.8]
    summary = Results(again, ()).summary()
    assert summary["front end"] == {"parameters": 3, "scores": {"lgn": {"photographs": summary_of(0.98)}}}
    assert summary["weber, v1"]["scores"]["v1"]["photographs"]["median_r2"] is None
    with pytest.raises(ValueError, match="images"):
        run.fit_and_score(replace(settings, images=39), tmp_path, workers=2)


def summary_of(value: float) -> dict[str, float | int]:
    return {"median_r2": value, "min_r2": value, "median_correlation": value, "channels": 1}


def test_a_published_model_is_recorded_as_circuits_are():
    shown = stimuli.identification_set(13, seed=1)
    gaze = np.full(shown.light.shape, 7.0)
    light, responses = plenoptic_models.record_on_off(shown, gaze)
    assert responses.lgn.shape == (13, 4, 32, 32) and light is shown.light
    assert float(responses.lgn.std(("image", "y", "x")).min()) > 0
    sudden = ~np.isnan(shown.fields)
    assert (responses.background[~sudden] == 7).all()
    assert np.array_equal(responses.background[sudden][:, 3, 4], shown.fields[sudden])
    midget, parasol = responses.lgn[:, 0], responses.lgn[:, 2]
    assert not np.allclose(midget, parasol)


def test_report_needs_no_simulation(tmp_path):
    """The page of made-up scores and kernels; the best baseline leaves twice as much unexplained as the front end."""
    r2 = {
        "front end": 0.9,
        "from lgn alone": 0.8,
        "from v1 alone": 0.8,
        "log, lgn": 0.6,
        "weber, lgn": 0.5,
        "log, v1": 0.6,
    }
    stations = {"front end": STATIONS, "from lgn alone": STATIONS[:5], "from v1 alone": STATIONS}
    rows = [
        {"model": model, "parameters": 3, "station": station, "set": name, "channel": channel, "r2": value}
        for model, value in r2.items()
        for station in stations.get(model, [model.split(", ")[-1]])
        for name in ("photographs", "luminance", "gratings", "local_light")
        for channel in ("a", "b")
    ]
    scores = pd.DataFrame(rows).assign(correlation=0.9)
    kernel = np.random.default_rng(0).normal(size=(2, 5, 5))
    pairs = [KernelPairs(s, ("a", "b"), 100.0, c, kernel, 2 * kernel) for s, c in (("lgn", 0.0), ("v1", 0.5))]
    content = report.write(Results(scores, tuple(pairs)), tmp_path)
    assert content["kernels"][0]["median_gain"] == pytest.approx(2) and content["kernels"][1]["station"] == "v1"
    page = " ".join((tmp_path / "evidence.html").read_text().split())
    assert "(best baseline: log, lgn, which leaves 2.0 × as much unexplained" in page and "weber, lgn" in page
    assert content == json.loads((tmp_path / "evidence.json").read_text())


def test_every_model_can_be_fitted_and_scored(tmp_path, monkeypatch):
    """Made-up recordings, one epoch for baselines, and front ends that are not fitted."""
    channels = {"lgn": ["midget_on", "midget_off", "parasol_on", "parasol_off"], "v1": ["simple a", "complex a"]}
    random = np.random.default_rng(0)

    def recording(shown: stimuli.StimulusSet) -> run.Recording:
        light = shown.light[:26]
        arrays: dict = {"background": (("image", "y", "x"), np.full(light.shape, 40.0))}
        for station, size in (("lgn", 32), ("v1", 16)):
            shape = (light.sizes["image"], len(channels[station]), size, size)
            places = ("y", "x") if station == "lgn" else ("v1_y", "v1_x")
            arrays[station] = (("image", f"{station}_channel", *places), random.random(shape))
        return light, xr.Dataset(arrays, {f"{name}_channel": labels for name, labels in channels.items()})

    fitted = []

    def fit(light: xr.DataArray, responses: xr.Dataset, seed: int, ablations: tuple) -> FrontEnd:
        fitted.append((sorted(map(str, responses)), ablations))
        station = "v1" if "v1" in responses else "lgn"
        return FrontEnd(16.0, channels, station)

    monkeypatch.setattr(run, "fit_front_end", fit)
    monkeypatch.setattr(baselines, "EPOCHS", 1)
    settings = Settings(Pathway(parameters={"v1.kinds": 2}), images=52)
    tests = {one.name: recording(one) for one in run._held_out_sets(0)[:1]}
    fits = recording(stimuli.identification_set(52))
    models = run._models(settings, run.Recordings(fits, tests), {"of a circuit": fits}, tmp_path)
    assert len(models) == 3 + len(ABLATIONS) + 8 + 11 + 1 + 1
    names = ["front end", "from lgn alone", "without push pull", "without cone adaptation", "of a circuit"]
    for name in (*names, "log, lgn", "weber divisive energy, v1", "fitted to a published model"):
        table = models[name]()
        assert set(table.columns) >= {"station", "set", "channel", "r2", "feve", "correlation", "parameters"}, name
    assert fitted[1][0] == ["background", "lgn"] and "v1" in fitted[2][0] and "v1" not in fitted[3][0]
    assert [ablations for _, ablations in fitted[2:4]] == [("push_pull",), ("cone_adaptation",)]
