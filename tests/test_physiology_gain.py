"""Experiments 26 to 39 on cells whose answers are known in closed form, and their statistics on known courses."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve, lfilter
from scipy.special import erf

from biomodel import GazeAdapted
from biomodel.circuit.specification import EVERYWHERE
from biomodel.parameters import Parameters
from biomodel.physiology import battery, draw_curves, retina_gain, v1_gain
from biomodel.physiology.column import Panel
from biomodel.physiology.recording import CELLS, MEAN, Electrode
from biomodel.physiology.screens import Screen


class KnownCells:
    """Horizontal cells that adapt at once and in place; ganglion cells with known fields, kernels, gains and limits.

    h = log(1 + L / 20 td). Ganglion cells respond to Weber contrast in a Gaussian centre, at 2 ms, through (1 - t/z) exp(-2 t/z),
    which crosses zero at z. Parasol ON cells have 1.2 times the radius and .85 times the z of OFF cells. A contrast above .05
    at more than 1.5° halves the gain of parasol cells; RMS contrast above .1 over the last second leaves them .6 of it,
    and 1.3 times to midget cells. Rates end at 0 and 120 Hz.
    """

    parameters = Parameters("macaque_parafovea")
    half = 20 / parameters.value("cone.pupil_area")
    radius = {"midget_on": 0.05, "midget_off": 0.05, "parasol_on": 0.12, "parasol_off": 0.1}
    zero = {"midget_on": 0.02, "midget_off": 0.02, "parasol_on": 0.017, "parasol_off": 0.02}
    gain = {"midget": 0.4, "parasol": 1.0}
    limit = 120.0

    def simulate(
        self, stimulus, adapt_to, duration, window, output="v1", record="mean", workers=1, region=EVERYWHERE, trials=1
    ):
        movie = stimulus.values if "time" in stimulus.dims else stimulus.values[:, None]
        frame = float(stimulus.time[1] - stimulus.time[0]) if "time" in stimulus.dims else 0.002
        times = 0.002 * np.arange(round(duration / 0.002))
        frames = np.minimum((times / frame + 0.5).astype(int), movie.shape[1] - 1)
        near = slice(None)
        if region.record is not None:
            middle = movie.shape[-1] // 2
            near = slice(middle, middle + 1)
        coordinates = {"time": times, "y": stimulus.y.values[near], "x": stimulus.x.values[near]}
        if output == "horizontal":
            return xr.Dataset(
                {"horizontal": (("image", "time", "y", "x"), np.log1p(movie / self.half)[:, frames][..., near, near])},
                coordinates,
            )
        level = movie[:, :1] if isinstance(adapt_to, GazeAdapted) else np.reshape(adapt_to, (-1, 1, 1, 1))
        contrast = movie / level - 1
        distance = np.hypot(stimulus.y.values[:, None], stimulus.x.values)
        far = np.abs(contrast[..., distance > 1.5]).max(axis=(1, 2)) > 0.05 if (distance > 1.5).any() else False
        rates = []
        for cell, radius in self.radius.items():
            sigma = radius / np.sqrt(2) * float(1 / np.diff(stimulus.x.values).mean())
            pooled = gaussian_filter(contrast, sigma, axes=(2, 3), mode="nearest")[:, frames][..., near, near]
            t = np.arange(0, 0.3, 0.002)
            kernel = (1 - t / self.zero[cell]) * np.exp(-2 * t / self.zero[cell])
            drive = fftconvolve(pooled, kernel[None, :, None, None] / np.abs(kernel).sum(), axes=1)[:, : len(times)]
            name = cell.split("_")[0]
            power = np.cumsum(pooled**2, axis=1)
            recent = np.sqrt(np.maximum(power - np.roll(power, 500, axis=1) * (times >= 1.0)[:, None, None], 0) / 500)
            after = np.where(recent > 0.1, {"midget": 1.3, "parasol": 0.6}[name], 1.0)
            scale = 100 * self.gain[name] * after * (1 - 0.5 * np.reshape(far, (-1, 1, 1, 1)) * (name == "parasol"))
            rates.append(np.clip(30 + (1 if cell.endswith("on") else -1) * scale * drive, 0, self.limit))
        channels = list(self.radius)
        values = np.stack(rates, axis=2)
        if record == "mean":
            shown = (times >= window[0]) & (times < window[1])
            values = values[:, shown].mean(axis=1)
            del coordinates["time"]
        dims = ("image", *(["time"] if record == "trace" else []))
        coordinates |= {"ganglion_channel": channels, "lgn_channel": channels}
        found = {name: ((*dims, f"{name}_channel", "y", "x"), values) for name in ("ganglion", "lgn")}
        return xr.Dataset(found, coordinates)


@pytest.fixture(scope="module")
def results():
    """The experiments on cells of the retina and the relay alone, with short movies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retina_gain, "_ADAPTING", 1.0)
        patch.setattr(retina_gain, "_DELAYS", np.array([0.3, 1.0]))
        for name, short in (("_SEGMENTS", 2), ("_GAZE_SEGMENTS", 2), ("_SEGMENT", 6.0)):
            patch.setattr(retina_gain, name, short)
        return battery.run(KnownCells(), range(26, 40))


def test_horizontal_cells_that_adapt_at_once_and_in_place(results):
    found = results.curves[26].values
    assert found["h1_gain_share_20ms"] == pytest.approx(1, abs=1e-6)
    assert found["h1_half_gain_td"] == pytest.approx(20, rel=0.05)
    # Between the samples before and at the step; the response to a probe is at its peak at once.
    assert -2 <= found["h1_gain_time_to_peak"] <= 2
    assert results.curves[27].values["adaptation_locality"] == pytest.approx(0, abs=1e-9)


def test_gains_that_follow_weber(results):
    found = results.curves[28].values
    assert found["m_gain_dim_over_bright"] == pytest.approx(1)
    assert found["midget_slope_dim"] == pytest.approx(-1) and found["parasol_weber_slope"] == pytest.approx(-1)
    assert 1.5 < found["m_over_p_dim"] < 3


def test_rates_end_at_their_limit(results):
    found = results.curves[32].values
    assert found == {"midget_peak_rate": KnownCells.limit, "parasol_peak_rate": KnownCells.limit}


def test_remote_contrast_halves_parasol_cells_alone(results):
    found = results.curves[33].values
    assert found["m_remote_suppression"] == pytest.approx(0.5, abs=0.02)
    assert found["p_remote_suppression"] == pytest.approx(0, abs=0.02)


def test_on_and_off_parasol_cells_of_known_sizes_and_times(results):
    found = results.curves[34].values
    assert found["parasol_on_off_diameter"] == pytest.approx(1.2, abs=0.04)
    assert found["parasol_on_off_zero_crossing"] == pytest.approx(0.85, abs=0.02)


def test_contrast_of_the_last_second_changes_gains(results):
    found = results.curves[38].values
    assert found["midget_sensitisation"] == pytest.approx(1.3, abs=0.1)
    assert found["parasol_desensitisation"] == pytest.approx(0.6, abs=0.1)


class SlowCells(KnownCells):
    """Linear cells in movies: after the last contrast above .9 parasol cells have .5 of their gain, and recover with 4 s."""

    time = 4.0

    def simulate(self, stimulus, adapt_to, duration, **settings):
        if "time" not in stimulus.dims:
            return super().simulate(stimulus, adapt_to, duration, **settings)
        middle = stimulus.sizes["y"] // 2
        contrast = stimulus.values[:, :, middle, middle] / np.reshape(adapt_to, (-1, 1)) - 1
        times = stimulus.time.values
        adapted = np.where(np.abs(contrast) > 0.9, times, -np.inf).max(axis=1)
        gain = 1 - 0.5 * np.exp(-np.maximum(times - adapted[:, None], 0) / self.time)
        parasol = 200 * gain * contrast
        rates = np.stack([50 * contrast, -50 * contrast, parasol, -parasol], axis=2)
        found = 100 + rates[..., None, None]
        dims = ("image", "time", "lgn_channel", "y", "x")
        return xr.Dataset(
            {"ganglion": (tuple(d.replace("lgn", "ganglion") for d in dims), found), "lgn": (dims, found)},
            {"time": times, "lgn_channel": list(self.radius), "ganglion_channel": list(self.radius)},
        )


def test_slow_adaptation_of_parasol_cells_and_its_recovery(monkeypatch):
    monkeypatch.setattr(retina_gain, "_ADAPTING", 1.0)
    found = retina_gain.EXPERIMENTS[30](Electrode(SlowCells()))
    # Over a test of .5 s the gain is that .25 s after its onset.
    gain = 1 - 0.5 * np.exp(-(retina_gain._DELAYS + 0.25) / SlowCells.time)
    assert found.values["m_adaptation_loss"] == pytest.approx(1 / gain[0], rel=0.02)
    assert found.values["p_adaptation_loss"] == pytest.approx(1, abs=1e-6)
    fine = np.linspace(0.55, 20, 2000)
    log_loss = -np.log(1 - 0.5 * np.exp(-fine / SlowCells.time))
    recovered = fine[log_loss < 0.37 * log_loss[0]][0] - 0.25
    assert found.values["m_adaptation_recovery"] == pytest.approx(recovered, rel=0.15)
    sensitivity = {curve.label: curve.y for curve in found.curves}
    assert np.allclose(sensitivity["parasol after contrast"] / sensitivity["parasol after grey"], gain, rtol=0.02)


class AdaptingColumn:
    """Two cells with a rate of 100 c exp(-a); a follows 2 c, the contrast, with 20 s."""

    time, strength = 20.0, 2.0
    spontaneous_rates = np.zeros(2)
    long = Screen(1, 1.0)

    def panel(self, gratings):
        return Panel(np.zeros(1, int), np.zeros(1, int), np.arange(2), np.zeros(2, int))

    def drifting_grating(self, orientation, frequency, temporal, times, screen):
        return np.ones((len(times), 1, 1))

    def movie_rates(self, movies, neighbours, screen, frame):
        contrast = np.stack(list(movies))[:, :, 0, 0] / MEAN - 1
        decay = np.exp(-frame / self.time)
        state = lfilter([0, (1 - decay) * self.strength], [1, -decay], contrast, axis=1)
        rates = np.repeat(100 * contrast * np.exp(-state), round(frame / 0.0025), axis=1)
        times = 0.0025 * np.arange(rates.shape[1])
        found = np.broadcast_to(rates[:, :, None, None, None], (*rates.shape, 1, 1, 2))
        return xr.Dataset({"v1": (("image", "time", "v1_y", "v1_x", "cell"), found)}, {"time": times})


def test_adaptation_of_v1_cells_with_a_known_course():
    found = v1_gain.EXPERIMENTS[31](AdaptingColumn())
    reached = {seconds: 1 - np.exp(-seconds / AdaptingColumn.time) for seconds in (3, 30)}
    # The adaptors' states at the tests; tests of .3 themselves change them a little.
    assert found.values["v1_adaptation_3s"] == pytest.approx(reached[3] / reached[30], rel=0.1)
    assert found.values["v1_adaptation_recovery_60s"] == pytest.approx(1 - np.exp(-59.7 / 20), abs=0.02)
    # States from 30 to 60 s of an adaptor of .8 are 1.24 to 1.5, of .03 .05.
    assert 1.24 < np.log(found.values["v1_threshold_high"]) < 1.5
    assert np.log(found.values["v1_threshold_3pct"]) == pytest.approx(0.05, abs=0.02)
    assert [curve.label for curve in found.curves] == ["after 0", "after 0.03", "after 0.8"]


def test_every_row_has_a_function_that_returns_its_key(results):
    """`join_bands` raises for a key without a row, and for a row without a value."""
    rows = [row for row in battery.bands() if row["id"] >= 26]
    assert [row.key for row in results] == [row["key"] for row in rows if row["needs"] == "rate"]
    assert set(results.curves) == set(range(26, 40))
    silent = type("Silent", (), {"spiking": True, "panel": lambda self, n: Panel(*4 * [np.zeros(0, int)])})()
    spikes = v1_gain.EXPERIMENTS[39](silent).values.keys() - results.curves[39].values.keys()
    assert spikes == {row["key"] for row in rows if row["needs"] == "spiking"}


def test_rows_without_a_band_are_reported_and_those_of_missing_cells_fail(results):
    assert {row.key for row in results if row.passed is None} == {"h1_gain_time_to_peak", "surround_share_natural"}
    without_v1 = [row for row in results if row.id in v1_gain.EXPERIMENTS]
    assert without_v1 and all(np.isnan(row.value) and row.passed is False for row in without_v1)


def test_cells_without_a_surround_have_no_share_of_it(results):
    assert results["surround_share_natural"].value == pytest.approx(0, abs=0.05)


def test_new_experiments_on_a_page(results, tmp_path):
    draw_curves(results, tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_sensitivity_and_recovery_of_known_courses():
    contrasts = 0.02 * 1.4 ** np.arange(10)
    assert retina_gain._sensitivity(contrasts, 100 * contrasts, 10.0) == pytest.approx(10, rel=0.02)
    assert np.isnan(retina_gain._sensitivity(contrasts, 0 * contrasts, 10.0))
    assert np.isnan(retina_gain._sensitivity(contrasts, 0 * contrasts + 11, 10.0))
    delays = np.linspace(0, 20, 401)
    assert retina_gain._recovery_time(delays, 0.7 * np.exp(-delays / 6)) == pytest.approx(6, rel=0.01)
    assert np.isnan(retina_gain._recovery_time(delays, 0 * delays))


def test_natural_course_has_the_stated_distribution_and_spectrum():
    random = np.random.default_rng(1)
    courses = np.log([retina_gain._natural_course(5000, random) for _ in range(100)])
    assert courses.std(axis=1) == pytest.approx(0.6)
    power = (np.abs(np.fft.rfft(courses - courses.mean(axis=1, keepdims=True))) ** 2).mean(axis=0)
    frequencies = np.fft.rfftfreq(5000, 0.002)
    within = (frequencies >= 0.1) & (frequencies <= 50)
    assert np.polyfit(np.log(frequencies[within]), np.log(power[within]), 1)[0] == pytest.approx(-1, abs=0.1)
    assert power[frequencies > 51].max() < 1e-20 * power.max()


def test_share_of_variance_that_linear_filters_explain():
    random = np.random.default_rng(2)
    light = random.standard_normal((2, 3, 5000))
    smooth = light.reshape(2, 3, 1000, 5).mean(axis=3)
    near, far = (np.stack([np.convolve(one, [0.0, 1.0, 0.5])[:1000] for one in pool]) for pool in smooth)
    rate = np.repeat(near + far, 5, axis=1)[:, 500:]
    # Half of the variance comes from each pool.
    assert retina_gain._cross_validated_r2(light[:1], rate, 500) == pytest.approx(0.5, abs=0.1)
    assert retina_gain._cross_validated_r2(light, rate, 500) == pytest.approx(1, abs=1e-6)


def test_one_course_scaled_and_shifted_explains_all_and_two_do_not():
    bins = np.arange(30.0)
    courses = np.stack(
        [a * np.exp(-(((bins - 10 - s) / 3) ** 2)) for a, s in zip([1, 2, 4, 8], [4, 2, 1, 0], strict=True)]
    )
    assert v1_gain._scaled_and_shifted_share(courses) > 0.99
    other = np.exp(-(((bins - 10) / 3) ** 2)) - np.exp(-(((bins - 22) / 3) ** 2))
    assert v1_gain._scaled_and_shifted_share(np.concatenate([courses[-1:], 8 * other[None]])) < 0.9


def test_excitatory_extent_of_a_difference_of_integrals_is_recovered():
    diameter = np.geomspace(0.1, 7, 12)
    response = 3 * erf(diameter / 0.8) - 1.2 * erf(diameter / 3.0)
    assert v1_gain._excitatory_extent(diameter, response) == pytest.approx(0.8, rel=0.02)
    assert v1_gain._excitatory_extent(diameter, 5 * erf(diameter / 1.6)) == pytest.approx(1.6, rel=0.05)


def test_decay_time_is_recovered_where_the_level_is_low():
    times = np.arange(0, 1000, 2.0)
    rise = np.minimum(times / 40, 1)
    for level, expected in ((0.3, 60.0), (0.8, np.nan)):
        trace = 20 * rise * (level + (1 - level) * np.exp(-np.maximum(times - 40, 0) / 60))
        assert v1_gain._decay_time(times, trace) == pytest.approx(expected, rel=0.01, nan_ok=True)


def test_interval_of_the_highest_detectability_follows_the_response():
    random = np.random.default_rng(3)
    rate = np.where((np.arange(30) >= 5) & (np.arange(30) < 10), 2.0, 0.2)
    counts, blank = random.poisson(rate, (400, 30)), random.poisson(0.2, (400, 30))
    assert v1_gain._best_interval(counts, blank) == pytest.approx(20, abs=10)


def test_thresholds_over_log_contrast():
    top = np.array([10.0, 0.0])
    evoked = np.stack([10 * v1_gain._TESTS, 0 * v1_gain._TESTS], axis=1)
    found = v1_gain._thresholds(evoked, top)
    assert found[0] == pytest.approx(0.1, rel=0.05) and np.isnan(found[1])


def test_classes_are_those_of_the_bands():
    assert set(CELLS) == {"midget", "parasol"}
