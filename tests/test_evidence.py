import functools

import numpy as np
import pandas as pd
import pytest

from biomodel import Pathway
from bridge.fit import stimuli
from studies.common import plenoptic_models
from studies.identification import run


def test_finished_models_are_kept_and_the_others_fitted(tmp_path, monkeypatch):
    """Models side by side in processes of their own; what one folder holds is not made again, nor by other settings."""

    def models(*_):
        def score(station: str, r2: float) -> functools.partial:
            row = {"station": [station], "set": ["photographs"], "channel": ["a"], "r2": [r2], "feve": [r2]}
            return functools.partial(pd.DataFrame, row | {"correlation": [r2], "parameters": [3]})

        return {"front end": score("lgn", 0.99), "weber, v1": score("v1", -np.inf), "log, lgn": score("lgn", 0.8)}

    monkeypatch.setattr(run, "_models", models)
    monkeypatch.setattr(run, "record", lambda *_: None)
    monkeypatch.setattr(run, "_recorded_from_others", lambda *_: {})
    pathway = Pathway(parameters={"v1.kinds": 2})
    first = run.gather(pathway, tmp_path, images=26, workers=2)
    assert first.model.tolist() == ["front end", "weber, v1", "log, lgn"]
    kept = tmp_path / "scores" / "front_end.csv"
    kept.write_text(kept.read_text().replace("0.99", "0.98"))
    (tmp_path / "scores" / "log_lgn.csv").unlink()
    again = run.gather(pathway, tmp_path, images=26, workers=2)
    assert again.r2.tolist() == [0.98, -np.inf, 0.8]
    told = run.summary(again)
    assert told["front end"] == {"parameters": 3, "scores": {"lgn": {"photographs": told_score(0.98)}}}
    assert told["weber, v1"]["scores"]["v1"]["photographs"]["median_r2"] is None
    with pytest.raises(ValueError, match="images"):
        run.gather(pathway, tmp_path, images=39, workers=2)


def told_score(value: float) -> dict[str, float | int]:
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
