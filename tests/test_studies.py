import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bridge.fitting import IMAGES
from studies import arms, cli, luminance
from studies.datasets import load
from studies.illumination import LIGHTS, illuminate, scene

SMALL = ["--images", "26", "--kinds", "2", "--repeats", "1", "--epochs", "1", "--train", "60", "--test", "30"]
SMALL += ["--simulated-train", "20", "--simulated-test", "10", "--lights", "gradient,exposure"]


def precortical(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "studies.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def conditions():
    return st.sampled_from([(light.name, level) for light in LIGHTS.values() for level in light.levels])


@settings(max_examples=40, deadline=None)
@given(condition=conditions(), seed=st.integers(0, 1000))
def test_lights_are_pure_and_never_negative(condition, seed):
    before = np.random.default_rng(seed).uniform(0, 200, (3, 8, 8))
    kept = before.copy()
    first, second = (illuminate(before, *condition) for _ in range(2))
    assert np.array_equal(before, kept)
    assert np.array_equal(first, second)
    assert np.isfinite(first).all() and (first >= 0).all()


def test_lights_meet_their_definitions():
    white = np.full((1, 32, 32), 200.0)
    assert np.allclose(illuminate(white, "exposure", 0.1), 20)
    assert np.allclose(illuminate(white, "pedestal", 3), 800)
    shadow = illuminate(white, "hard_shadow", 30)
    assert set(np.unique(shadow.round(9))) == {round(200 / 30, 9), 200.0}
    gradient = illuminate(np.repeat(white, 20, 0), "gradient", 30)
    assert gradient.max() <= 200 * 30**0.71 and gradient.min() >= 200 / 30**0.71
    assert np.allclose(gradient * gradient[:, ::-1, ::-1], 200**2)


def test_local_lights_meet_their_definitions():
    white = np.full((40, 32, 32), 200.0)
    soft = illuminate(white, "soft_shadow", 30)
    assert soft.max() <= 200 and soft.min() >= 200 / 30
    hard = illuminate(white, "hard_shadow", 30)
    assert np.abs(np.diff(hard, axis=-1)).max() > 100 and np.abs(np.diff(soft, axis=-1)).max() < 60
    spot = illuminate(white, "spot", 10) / 200
    assert spot.min() >= 0.1 and spot.max() <= 1.1
    # The logarithm of a Gaussian bends by one over its variance everywhere; an edge is logistic in its own width.
    bend = np.diff(np.log(np.maximum(spot - 0.1, 1e-12)), 2, axis=-1)[(spot > 0.11)[..., 1:-1]]
    assert np.allclose(bend, -1 / (0.2 * 32) ** 2, rtol=1e-6)
    shadowed = (1 - soft / 200) / (1 - 1 / 30)
    edge = (shadowed > 0.01) & (shadowed < 0.99)
    steepness = np.hypot(*np.gradient(special.logit(np.clip(shadowed, 1e-9, 1 - 1e-9)), axis=(1, 2)))
    assert np.median(steepness[edge]) == pytest.approx(1 / (0.06 * 32), rel=1e-6)
    lamps = illuminate(white, "two_lamps", 30) / 200
    assert np.allclose(lamps.max(axis=(1, 2)), 1)
    dapple = np.log(illuminate(white, "dapple", 10) / 200)
    low, high = np.percentile(dapple, (5, 95), axis=(1, 2))
    assert np.allclose(high - low, np.log(10)) and np.allclose(dapple.mean(axis=(1, 2)), 0)
    power = np.abs(np.fft.fft2(dapple)).mean(axis=0)
    assert power[0, 2] / power[0, 8] == pytest.approx(4, rel=0.4)


def test_sensors_meet_their_definitions():
    scenes = np.linspace(0, 200, 32 * 32).reshape(1, 32, 32)
    clipped = illuminate(scenes, "clipping", 4)
    assert (clipped[scenes > 50] == 200).all() and np.abs(clipped - np.minimum(4 * scenes, 200)).max() < 2
    assert len(np.unique(illuminate(scenes, "low_exposure", 0.01))) < 30
    assert np.abs(illuminate(scenes, "low_exposure", 0.1) - 0.1 * scenes).max() < 0.3
    codes = np.clip(1.055 * (scenes / 200) ** (1 / 2.4) - 0.055, 0, 1)
    lighter = illuminate(scenes, "gamma", 0.4)
    assert lighter[0, 20, 3] == pytest.approx(200 * ((codes[0, 20, 3] ** 0.4 + 0.055) / 1.055) ** 2.4, rel=1e-6)
    faint = illuminate(scenes, "contrast", 0.1)
    assert faint.max() / faint.min() < 1.7 and 6 < len(np.unique(faint)) < 30


def test_photons_are_poisson():
    grey = np.full((200, 32, 32), 100.0)
    for photons in (1, 20):
        noisy = illuminate(grey, "shot_noise", photons)
        assert noisy.mean() == pytest.approx(100, rel=0.01)
        assert noisy.var() == pytest.approx(100 * 200 / photons, rel=0.02)
        assert not np.array_equal(noisy[0], noisy[1])


def test_scene_of_black_and_white():
    assert np.allclose(scene(np.array([[[0.0, 1.0]]])), [200 * 0.03 / 0.9, 200.0])


def test_digits_are_all_there_and_split():
    digits = load("digits")
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.train.shape[1:] == (32, 32)
    assert digits.train.min() >= 0 and digits.train.max() <= 1


def test_baselines_undo_what_they_should():
    light = scene(load("digits").test[:4])
    for undo in (arms.standardise, arms.local_contrast_norm):
        assert np.allclose(undo(light), undo(light * 7 + 100), atol=1e-6)


def test_group_score_leaves_development_out():
    rows = [("gradient", "local", level, accuracy) for level, accuracy in (("3", 0.8), ("10", 0.0), ("30", 0.6))]
    rows += [("hard_shadow", "local", "30", 0.5)]
    table = pd.DataFrame(rows, columns=["light", "group", "level", "accuracy"])
    table = table.assign(dataset="d", arm="a", classifier="lenet", adaptation="none", seed=0, n=1)
    assert luminance.group_scores(table).accuracy.item() == pytest.approx((0.7 + 0.5) / 2)


def test_command_has_the_defaults_of_the_studies():
    assert cli._KINDS == luminance.KINDS == luminance.Settings().kinds
    assert cli._IMAGES == IMAGES == luminance.Settings().images


@pytest.mark.slow
def test_same_seed_same_results_and_a_stopped_study_goes_on(tmp_path):
    for name, chosen in (("a", []), ("b", ["--arms", "pixels,front_end_v1"])):
        told = precortical("study", "luminance", "--out", tmp_path / name, *SMALL, *chosen)
        assert told.returncode == 0, told.stderr
    whole = (tmp_path / "a" / "results.csv").read_bytes()
    few = (tmp_path / "b" / "results.csv").read_text().splitlines()
    assert few == [
        line for line in whole.decode().splitlines() if line.split(",")[1] in ("arm", "pixels", "front_end_v1")
    ]
    table = pd.read_csv(tmp_path / "a" / "results.csv")
    assert list(table.columns) == list(luminance.COLUMNS)
    assert set(table.arm) == set(arms.ARMS)
    report = (tmp_path / "a" / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 3 and "http" not in report
    (tmp_path / "a" / "cells" / "pixels-none.csv").unlink()
    (tmp_path / "a" / "results.csv").unlink()
    assert precortical("study", "luminance", "--out", tmp_path / "a", *SMALL).returncode == 0
    assert (tmp_path / "a" / "results.csv").read_bytes() == whole
    other = precortical("study", "luminance", "--out", tmp_path / "a", "--seed", 1, *SMALL)
    assert other.returncode == 2 and "another seed" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arms", "pixels,eyes"], "unknown arm 'eyes'"),
        (["--lights", "moon"], "unknown light 'moon'"),
        (["--repeats", "0"], "repeats = 0"),
        (["--out", "/dev/null/x"], "cannot be written"),
        (["--depth", "3"], "--depth"),
    ],
)
def test_bad_commands_exit_with_2_and_leave_nothing(tmp_path, arguments, words):
    where = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    told = precortical("study", "luminance", *where, *arguments)
    assert told.returncode == 2
    assert words in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "out").exists()


def test_fit_command_refuses_an_unknown_preset(tmp_path):
    told = precortical("fit", "--preset", "cat", "--out", tmp_path / "out")
    assert told.returncode == 2 and "unknown preset 'cat'" in told.stderr and not (tmp_path / "out").exists()


def test_shadow_option_refuses_a_lesion_at_once_in_one_line(tmp_path):
    told = precortical("physiology", "--shadow", "--lesion", "contrast_gain", "--out", tmp_path / "out")
    assert told.returncode == 2 and "--shadow" in told.stderr and told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--draws", "0"], "--draws 0 is not accepted"),
        (["--draws", "2", "--check", "19"], "experiment 19 is not accepted over draws"),
        (["--draws", "2", "--shadow"], "--shadow is not accepted with --draws"),
        (["--draws", "2", "--parameter", "v1.draw=3"], "v1.draw is not accepted with --draws"),
        (["--draws", "2", "--parameter", "v1.kinds=0"], "v1.kinds = 0"),
    ],
)
def test_draws_option_refuses_bad_input_at_once_in_one_line(tmp_path, arguments, words):
    told = precortical("physiology", *arguments, "--out", tmp_path / "out")
    assert told.returncode == 2 and words in told.stderr and told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
