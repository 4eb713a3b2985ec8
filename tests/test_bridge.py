import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import bridge
from biomodel import STATIONS, Display, Pathway
from biomodel.adaptation import gaze_field
from biomodel.photographs import photographs
from bridge.metrics import correlation, r_squared


@pytest.fixture(scope="module")
def fitted(patches, responses):
    return bridge.fit(responses=responses, stimulus=patches, seed=0)


@pytest.mark.slow
def test_fit_predicts_photographs_that_it_never_saw():
    stimulus = photographs(130, seed=11)
    _, report = bridge.fit(Pathway(), stimulus, seed=0, workers=2)
    scores = report.summary()
    assert scores["lgn"]["photographs"]["median_r2"] >= 0.97
    assert scores["v1"]["photographs"]["median_r2"] >= 0.95


def test_held_out_photographs_are_whole(fitted):
    front_end, report = fitted
    assert len(report.held_out) == 3
    assert front_end.metadata["held_out"] == list(report.held_out)


def test_shapes_and_order_are_the_stations(fitted, patches, responses):
    front_end, _ = fitted
    light = torch.from_numpy(patches.values[:2, None]).float()
    out = front_end.responses(light)
    for station in STATIONS:
        seen = responses[station][:2]
        assert (
            tuple(out[station].squeeze(1).shape if station in ("cone", "horizontal") else out[station].shape)
            == seen.shape
        )
    assert front_end.channels == responses.v1_channel.values.tolist()
    assert torch.allclose(front_end(light), out["v1"], atol=1e-3)


def test_default_background_is_the_gaze_field(fitted, patches):
    front_end, _ = fitted
    light = torch.from_numpy(patches.values[:3, None])
    expected = gaze_field(patches.values[:3], 0.5, 16.0)
    assert np.allclose(front_end.background(light)[:, 0], expected, rtol=1e-6)


def test_saved_and_loaded_gives_the_same_numbers(fitted, patches, tmp_path):
    front_end, _ = fitted
    light = torch.from_numpy(patches.values[:2, None]).float()
    front_end.save(tmp_path / "x.safetensors")
    loaded = bridge.FrontEnd.load(tmp_path / "x.safetensors")
    assert torch.equal(front_end(light), loaded(light))
    assert loaded.channels == front_end.channels
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_stations_that_were_not_recorded_are_fitted_through(patches, responses):
    front_end, report = bridge.fit(responses=responses[["background", "lgn"]], stimulus=patches)
    assert front_end.output == "lgn"
    assert report.summary()["lgn"]["photographs"]["median_r2"] > 0.9


def test_kernel_is_the_jacobian(fitted):
    front_end, _ = fitted
    kernel = front_end.kernel(background=100.0, size=21)
    light = torch.full((1, 1, 21, 21), 100.0)
    brighter = light.clone()
    brighter[0, 0, 10, 12] += 0.5
    change = (front_end(brighter, 100.0) - front_end(light, 100.0))[0, :, 5, 5] / 0.5
    assert torch.allclose(kernel[:, 10, 12], change, rtol=0.05, atol=1e-3)


def test_display_layer_is_the_display():
    display = Display(peak=150, black=2, pixels_per_degree=16)
    images = np.random.default_rng(0).random((2, 8, 8, 3))
    expected = display.show(images).values
    layer = bridge.DisplayLayer(display)(torch.from_numpy(np.moveaxis(images, -1, 1)))
    assert np.allclose(layer, expected)


def test_metrics_against_hand_counted_values():
    response = np.array([0.0, 1.0, 2.0, 3.0])
    assert r_squared(response, response + 1) == pytest.approx(1 - 4 / 5)
    assert correlation(response, 5 - 2 * response) == pytest.approx(-1)
    assert r_squared(response, -10 * response) < -100


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not a readable"):
        bridge.FrontEnd.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="not a readable"):
        bridge.FrontEnd.load(tmp_path / "text.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="accepted is 'precortical.FrontEnd'"):
        bridge.FrontEnd.load(tmp_path / "foreign.safetensors")


def test_bad_responses_are_refused(patches, responses):
    with pytest.raises(ValueError, match="25 responses to 26 images"):
        bridge.fit(responses=responses.isel(image=slice(25)), stimulus=patches)
    flat = responses.copy(deep=True)
    flat.lgn[:, 1] = 3.0
    with pytest.raises(ValueError, match="midget_off"):
        bridge.fit(responses=flat, stimulus=patches)
    flat.lgn[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        bridge.fit(responses=flat, stimulus=patches)


def test_bad_light_is_refused(fitted):
    front_end, _ = fitted
    for wrong in (
        torch.ones(1, 2, 32, 32),
        torch.ones(32, 32),
        -torch.ones(1, 1, 32, 32),
        torch.full((1, 1, 32, 32), torch.nan),
    ):
        with pytest.raises(ValueError, match="luminance"):
            front_end(wrong)
