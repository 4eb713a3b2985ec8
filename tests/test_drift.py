"""Adaptation while the eye drifts: each state that adapts has a field of its own."""

import math

import numpy as np
import pytest
import torch
from brian2 import ms

from biomodel import DriftAdapted, GazeAdapted, InputError, Pathway, luminance
from biomodel.adaptation import FIXATION, Fields, UniformField, gaze_field
from biomodel.circuit import retina
from biomodel.circuit.coupled_layer import solve_coupled_layer
from biomodel.circuit.lattice import Grid
from biomodel.circuit.station import Setting
from biomodel.parameters import PRESETS, Parameters
from bridge.fit.fitting import fit_front_end

SIZE, PIXELS_PER_DEGREE = 16, 16.0
IMAGES = np.random.default_rng(0).uniform(20, 300, (2, SIZE, SIZE))
SETTING = Setting(
    Parameters(PRESETS[0], {"cone.pupil_reflex": 0}), (), Grid(2, SIZE, SIZE, PIXELS_PER_DEGREE), 0.5 * ms
)
MEMORIES = retina.memories(SETTING.parameters)


def same(found, expected):
    """In SI units, where numbers are small."""
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_fields_spread_with_the_square_root_of_memory():
    """Brownian motion: a variance of 2 D t on each axis."""
    drift = DriftAdapted(30)
    assert drift.sd(1.5) == pytest.approx(math.sqrt(90) / 60)
    assert drift.sd(0.4) == pytest.approx(2 * drift.sd(0.1))
    fields = drift.fields(IMAGES, PIXELS_PER_DEGREE, slice(None), MEMORIES)
    assert set(fields.states) == set(MEMORIES)
    for name, memory in MEMORIES.items():
        assert np.array_equal(fields.of(name), gaze_field(IMAGES, drift.sd(memory), PIXELS_PER_DEGREE)), name
    assert MEMORIES["cone.z1"] < MEMORIES["cone.z2"] < MEMORIES["cone.z_slow"]
    assert np.array_equal(fields.start, fields.of("bipolar.adaptation"))
    second = fields[1:]
    assert len(second) == 1 and np.array_equal(second.of("cone.z2"), fields.of("cone.z2")[1:])


def test_with_saccades_memories_longer_than_a_fixation_are_of_the_whole_image():
    drift = DriftAdapted(30, saccades=True)
    fields = drift.fields(IMAGES, PIXELS_PER_DEGREE, slice(None), MEMORIES)
    longer = {name for name, memory in MEMORIES.items() if memory > FIXATION}
    assert {"cone.z_slow", "bipolar.adaptation"} <= longer and "cone.z1" not in longer
    mean = np.broadcast_to(IMAGES.mean(axis=(1, 2), keepdims=True), IMAGES.shape)
    for name, memory in MEMORIES.items():
        near = gaze_field(IMAGES, DriftAdapted(30).sd(memory), PIXELS_PER_DEGREE)
        same(fields.of(name), mean if name in longer else near)
    same(fields.start, mean)
    assert np.array_equal(fields.scene, IMAGES)
    assert drift.sd(FIXATION) == DriftAdapted(30).sd(FIXATION) and drift.sd(1.001 * FIXATION) == math.inf
    assert str(drift) == "drift of 30 arcmin²/s and saccades" != str(DriftAdapted(30))


@pytest.mark.parametrize("wrong", [None, 1, 0.0, "yes"])
def test_bad_saccades_are_refused(wrong):
    with pytest.raises(InputError, match="saccades must be True or False, got"):
        DriftAdapted(30, wrong)


@pytest.mark.parametrize("lesions", [(), ("cone_adaptation",), ("luminance_gain",)])
def test_one_field_for_all_states_is_the_steady_state(lesions):
    setting = SETTING._replace(lesions=lesions)
    expected = retina.steady_state(setting, Fields(IMAGES))
    found = retina.steady_state(setting, Fields(IMAGES, {name: IMAGES.copy() for name in MEMORIES}))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_everything_rests_while_the_states_that_adapt_are_held():
    """The equations of cone, horizontal and bipolar cells, with z and q of their own fields."""
    p = {name: float(parameter.quantity) for name, parameter in SETTING.parameters.items()}
    fields = DriftAdapted(30).fields(IMAGES, PIXELS_PER_DEGREE, slice(None), MEMORIES)
    state = retina.steady_state(SETTING, fields)
    per_luminance = p["cone.isomerisation_rate"] * p["cone.pupil_area"]
    same(state["cascade.y5"], per_luminance * fields.start)
    for name in ("cone.z1", "cone.z2", "cone.z_slow"):
        same(state[name], per_luminance * fields.of(name))
    fast, slow = p["cone.fast_adaptation_share"], p["cone.slow_adaptation_share"]
    z = fast * state["cascade.y5"] + (1 - fast - slow) * state["cone.z2"] + slow * state["cone.z_slow"]
    current = p["cone.gain"] * state["cascade.y5"]
    same((1 + p["cone.desensitisation"] * z) * state["cone.photocurrent"], current)
    layer = retina.horizontal_coupling(SETTING.parameters, PIXELS_PER_DEGREE, SETTING.dt)
    loop = 1 + retina.loop_gain(SETTING.parameters)
    potential = solve_coupled_layer(layer, loop, p["horizontal.gain"] * state["cone.photocurrent"])
    same(state["horizontal.potential"], potential)
    remembered = state["bipolar.luminance_level"] * p["horizontal.gain"] / potential
    assert 0.01 < abs(remembered - 1).max() < 0.5
    signal = state["cone.photocurrent"] - p["horizontal.feedback"] * potential
    same(state["cone.signal"], signal)
    wide = p["amacrine.surround_weight"] * state["wide_amacrine.pooled"]
    adapted = (state["bipolar.diffuse_on_adaptation"] + state["bipolar.diffuse_off_adaptation"]) / 2
    same(adapted, state["bipolar.diffuse_centre"] - wide)
    assert all(not state[f"bipolar.{channel}"].any() for channel in retina.BIPOLAR_CHANNELS)


def test_without_drift_the_image_is_stabilised():
    pathway, shown = Pathway(target="numpy"), luminance(IMAGES, PIXELS_PER_DEGREE)
    still = pathway.simulate(shown, DriftAdapted(0), 0.05, output="ganglion")
    gaze = pathway.simulate(shown, GazeAdapted(0), 0.05, output="ganglion")
    for station in ("cone", "horizontal", "bipolar", "ganglion"):
        assert np.allclose(still[station], gaze[station], rtol=1e-9, atol=1e-9), station


def test_responses_of_a_drifting_eye(tmp_path):
    """They differ from those with one field for all states; without the relay's suppression, which divides differences."""
    pathway = Pathway(target="numpy", lesions=["lgn_suppression"])
    shown = luminance(IMAGES, PIXELS_PER_DEGREE)
    found = pathway.simulate(shown, DriftAdapted(30), 0.05, output="lgn", store=tmp_path)
    slowest = DriftAdapted(30).sd(max(MEMORIES.values()))
    assert np.allclose(found.background, gaze_field(IMAGES, slowest, PIXELS_PER_DEGREE))
    assert found.attrs["adapt_to"] == "gaze" and found.attrs["drift_arcmin2_per_s"] == 30
    assert found.attrs["gaze_spread_deg"] == slowest
    one_field = pathway.simulate(shown, GazeAdapted(slowest), 0.05, output="lgn")
    assert np.allclose(one_field.background, found.background)
    assert one_field.attrs["gaze_spread_deg"] == slowest and "drift_arcmin2_per_s" not in one_field.attrs
    assert float(abs(one_field.lgn - found.lgn).max()) > 1
    with pytest.raises(InputError, match="adapt_to = drift of 30 arcmin²/s, now drift of 20 arcmin²/s"):
        pathway.simulate(shown, DriftAdapted(20), 0.05, output="lgn", store=tmp_path)


@pytest.mark.parametrize("adapt_to", ["gaze", DriftAdapted(20), DriftAdapted(20, saccades=True), GazeAdapted(0.1)])
def test_a_fit_has_the_field_of_the_longest_memory(adapt_to, monkeypatch):
    """As its default background; `gaze` is the default drift."""
    monkeypatch.setattr("bridge.fit.fitting.EarlyStages.fit", lambda *_: None)
    monkeypatch.setattr("bridge.fit.fitting.refine", lambda *_: None)
    shown = luminance(IMAGES, PIXELS_PER_DEGREE)
    responses = Pathway(target="numpy").simulate(shown, adapt_to, 0.02, output="lgn")
    drift = DriftAdapted() if adapt_to == "gaze" else adapt_to
    expected = drift.sd if isinstance(drift, GazeAdapted) else drift.sd(max(MEMORIES.values()))
    front_end = fit_front_end(shown, responses)
    assert front_end.gaze_sd == responses.attrs["gaze_spread_deg"] == expected
    background = front_end.background(torch.from_numpy(IMAGES[:, None]))[:, 0]
    np.testing.assert_allclose(background, responses.background, rtol=1e-6)


def test_gaze_is_the_default_drift():
    pathway, shown = Pathway(target="numpy"), luminance(IMAGES, PIXELS_PER_DEGREE)
    found, expected = (pathway.simulate(shown, state, 0.02, output="cone") for state in ("gaze", DriftAdapted()))
    assert found.identical(expected)


def test_a_uniform_field_does_not_depend_on_drift():
    even = np.full((1, 8, 8), 100.0)
    drifting = DriftAdapted().fields(even, PIXELS_PER_DEGREE, slice(None), MEMORIES)
    uniform = UniformField((100.0,)).fields(even, PIXELS_PER_DEGREE, slice(None), MEMORIES)
    for name in MEMORIES:
        assert np.allclose(drifting.of(name), uniform.of(name))


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, 1e7, "30", None, True])
def test_bad_diffusion_is_refused(wrong):
    with pytest.raises(InputError, match="diffusion must be a number from 0 to 1e.06 arcmin²/s, got"):
        DriftAdapted(wrong)
