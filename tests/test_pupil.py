"""The pupil: published areas, the circuit's steady state and responses behind it, and the front end's pupil."""

import json

import numpy as np
import pytest
import torch
from brian2 import ms

import bridge
from biomodel import DriftAdapted, GazeAdapted, InputError, LuminanceRangeWarning, Pathway, luminance
from biomodel.adaptation import Fields
from biomodel.circuit import retina
from biomodel.circuit.lattice import Grid
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters
from biomodel.physiology import TrialAveraged
from biomodel.physiology.recording import Electrode
from biomodel.pupil import pupil_area
from bridge.evaluate.as_subject import FrontEndSubject
from bridge.fit.fitting import fit_front_end
from bridge.model.front_end import PUPIL_AREA

#: Areas in mm² of the publication's formula for both eyes and 40° × 40°, by luminance in cd/m².
PUBLISHED = {0.1: 34.1, 1: 23.6, 10: 13.6, 100: 7.5, 1000: 4.8, 2000: 4.4}

#: Images of different means.
IMAGES = np.random.default_rng(0).uniform(0.2, 1.8, (3, 12, 12)) * np.array([5.0, 60.0, 800.0])[:, None, None]

FIXED = {"cone.pupil_reflex": 0}
AREA = Parameters("macaque_parafovea").value("cone.pupil_area")
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn")


def shown(images):
    return luminance(images, 16)


def simulate(images, adapt_to, parameters=None, lesions=(), **settings):
    pathway = Pathway(target="numpy", parameters=parameters, lesions=lesions, **settings)
    return pathway.simulate(shown(images), adapt_to, 0.03, output="lgn")


def setting(parameters=None, lesions=()):
    return Setting(Parameters("macaque_parafovea", parameters), lesions, Grid(3, 12, 12, 16.0), 0.5 * ms)


def settled(images):
    """Fields of the default state."""
    return DriftAdapted().fields(images, 16, slice(None), retina.memories(Parameters("macaque_parafovea")))


def test_areas_are_the_published_ones():
    assert np.round(pupil_area(list(PUBLISHED)), 1).tolist() == list(PUBLISHED.values())
    assert pupil_area(0.0) == pytest.approx(np.pi / 4 * 7.75**2)
    assert pupil_area(np.full((2, 1, 3), 10.0)).shape == (2, 1, 3)
    falling = pupil_area(np.geomspace(1e-4, 1e5, 50))
    assert (np.diff(falling) < 0).all() and falling[-1] > np.pi / 4 * 2**2


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, [1.0, -2.0], "bright", 3 * ms])
def test_bad_luminance_is_refused(wrong):
    with pytest.raises(InputError, match="luminance must be"):
        pupil_area(wrong)


@pytest.mark.parametrize(("value", "words"), [(2, "0 to 1, got 2"), (-1, "0 to 1"), (0.5, "a whole number")])
def test_a_bad_reflex_is_refused(value, words):
    with pytest.raises(InputError, match=f"cone.pupil_reflex must be .*{words}"):
        Pathway(parameters={"cone.pupil_reflex": value})


def test_the_state_has_the_area_for_the_mean_of_each_field():
    state = retina.steady_state(setting(), Fields(IMAGES))
    expected = 1e-6 * pupil_area(IMAGES.mean(axis=(1, 2)))
    np.testing.assert_allclose(state["cascade.pupil_area"], np.broadcast_to(expected[:, None, None], IMAGES.shape))
    rate = float(Parameters("macaque_parafovea")["cone.isomerisation_rate"].quantity)
    np.testing.assert_allclose(state["cascade.y5"], rate * expected[:, None, None] * IMAGES)
    fixed = retina.steady_state(setting(FIXED), Fields(IMAGES))
    np.testing.assert_allclose(fixed["cascade.pupil_area"], 1e-6 * AREA)


@pytest.mark.parametrize("lesions", [(), ("cone_adaptation",), ("luminance_gain",)])
def test_the_steady_state_is_a_fixed_point(lesions):
    """A static scene that the eye is adapted to leaves cone to bipolar cells where they are."""
    pathway = Pathway(target="numpy", lesions=lesions)
    adapted = GazeAdapted(0)
    first, last = (
        pathway.simulate(shown(IMAGES), adapted, 0.2, window, output="bipolar") for window in ((0, 0.01), (0.19, 0.2))
    )
    for station in STATIONS[:2]:
        np.testing.assert_allclose(last[station], first[station], rtol=1e-6, err_msg=station)
    assert abs(last.bipolar).max() < 1e-6


@pytest.mark.parametrize("lesions", [(), ("cone_adaptation",), ("luminance_gain",)])
def test_a_natural_pupil_scales_luminance(lesions):
    """At luminance L it is as a fixed pupil at L A / 9.3, also where a lesion holds a mechanism at the fixed pupil."""
    levels = IMAGES.mean(axis=(1, 2)).round()
    scale = pupil_area(levels) / AREA
    natural = simulate(IMAGES, levels.tolist(), lesions=lesions)
    fixed = simulate(IMAGES * scale[:, None, None], (levels * scale).tolist(), FIXED, lesions)
    for station in STATIONS:
        np.testing.assert_allclose(natural[station], fixed[station], rtol=1e-6, atol=1e-6, err_msg=station)
    other = simulate(IMAGES, levels.tolist(), FIXED, lesions)
    assert not np.allclose(natural.cone, other.cone, rtol=0.01)


def test_a_settled_pupil_scales_luminance():
    """The area for the scene's mean under gaze, also in the contrast that saccades evoke."""
    scale = pupil_area(settled(IMAGES).start.mean(axis=(1, 2))) / AREA
    natural, fixed = simulate(IMAGES, "gaze"), simulate(IMAGES * scale[:, None, None], "gaze", FIXED)
    for station in STATIONS:
        np.testing.assert_allclose(natural[station], fixed[station], rtol=1e-6, atol=1e-6, err_msg=station)


def test_a_sequence_keeps_the_area_of_the_state_carried_over():
    """Both images through the pupil for the first one."""
    scale = float(pupil_area(settled(IMAGES[:1]).start.mean())) / AREA
    natural, fixed = simulate(IMAGES[:2], "previous"), simulate(IMAGES[:2] * scale, "previous", FIXED)
    np.testing.assert_allclose(natural.cone, fixed.cone, rtol=1e-6)


def test_spiking_cells_see_background_and_image_through_the_same_pupil():
    scale = float(pupil_area(60.0)) / AREA
    natural = simulate(IMAGES[1:2], 60.0, fidelity="spiking")
    fixed = simulate(IMAGES[1:2] * scale, 60.0 * scale, FIXED, fidelity="spiking")
    np.testing.assert_allclose(natural.bipolar, fixed.bipolar, rtol=1e-6, atol=1e-6)


def test_the_battery_has_an_artificial_pupil():
    natural = Pathway(target="numpy", lesions=["push_pull"])
    subject = Electrode(natural).subject
    assert subject.parameters.value("cone.pupil_reflex") == 0 and subject.lesions == natural.lesions
    assert Electrode(subject).subject is subject
    averaged = Electrode(TrialAveraged(Pathway(fidelity="spiking"), 2, 3, seed=4)).subject
    assert averaged.pathway.parameters.value("cone.pupil_reflex") == averaged.parameters.value("cone.pupil_reflex") == 0
    assert (averaged.v1_trials, averaged.relay_trials, averaged.seed) == (2, 3, 4)


@pytest.fixture
def front_end():
    return bridge.FrontEnd(16.0, {}, "lgn").double()


def test_the_front_end_has_the_pupil_of_the_circuit(front_end):
    light = torch.from_numpy(IMAGES[:, None])
    background = front_end.background(light)
    areas = 1e-6 * front_end.pupil_area(background)
    expected = retina.pupil_areas(Parameters("macaque_parafovea"), background[:, 0].numpy())
    np.testing.assert_allclose(areas[:, 0], expected, rtol=1e-12)
    assert PUPIL_AREA == AREA
    scale = 1e6 * areas / PUPIL_AREA
    fixed = front_end.replace(pupil=False)
    for found, same in (
        (front_end(light), fixed(light * scale)),
        (front_end(light, 40.0), fixed(*scaled(light, 40.0))),
    ):
        torch.testing.assert_close(found, same, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(front_end(light), fixed(light))


def scaled(light, level):
    """Light and a level as through the fixed pupil."""
    scale = float(pupil_area(level)) / PUPIL_AREA
    return light * scale, level * scale


def test_kernels_include_the_pupil(front_end):
    scale = float(pupil_area(40.0)) / PUPIL_AREA
    fixed = front_end.replace(pupil=False)
    torch.testing.assert_close(front_end.kernel(40.0, 0.3, 9), scale * fixed.kernel(40.0 * scale, 0.3, 9))


def test_darkness_has_a_pupil_and_finite_slopes(front_end):
    light = torch.zeros(1, 1, 8, 8, dtype=torch.double, requires_grad=True)
    with pytest.warns(LuminanceRangeWarning):
        out = front_end(light)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(light.grad).all()
    largest = front_end.pupil_area(torch.zeros(1, 1, 4, 4))
    assert float(largest) == pytest.approx(float(pupil_area(0.0)), rel=4e-3)
    assert front_end.to(torch.bfloat16)(torch.full((1, 1, 8, 8), 50.0)).dtype == torch.bfloat16


def test_slopes_pass_through_the_pupil(front_end):
    light = torch.from_numpy(IMAGES[:1, None, :6, :6]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: front_end.pupil_area(front_end.background(x)), light)


def test_the_pupil_is_kept_with_the_weights(front_end, tmp_path):
    fixed = front_end.replace(pupil=False)
    assert front_end.config()["pupil"] is True and fixed.config()["pupil"] is False
    fixed.save(tmp_path / "fixed.safetensors")
    assert bridge.FrontEnd.load(tmp_path / "fixed.safetensors").pupil is False
    assert fixed.untrained().pupil is False
    assert FrontEndSubject(front_end).front_end.pupil is False and FrontEndSubject(fixed).front_end is fixed


@pytest.mark.parametrize(
    ("parameters", "follows"),
    [({}, False), ({"parameters": json.dumps({"cone.pupil_reflex": 1.0})}, True), ({"parameters": "{}"}, False)],
)
def test_a_fit_takes_the_pupil_from_the_responses(parameters, follows, monkeypatch):
    monkeypatch.setattr("bridge.fit.fitting.EarlyStages.fit", lambda *_: None)
    monkeypatch.setattr("bridge.fit.fitting.refine", lambda *_: None)
    responses = simulate(IMAGES, 40.0)
    assert json.loads(responses.attrs["parameters"])["cone.pupil_reflex"] == 1
    del responses.attrs["parameters"]
    assert fit_front_end(shown(IMAGES), responses.assign_attrs(parameters)).pupil is follows


def test_a_fit_refuses_parameters_that_are_no_values_by_name():
    with pytest.raises(InputError, match="attribute parameters must be values by name as a JSON text"):
        fit_front_end(shown(IMAGES), simulate(IMAGES, 40.0).assign_attrs(parameters="[1]"))
