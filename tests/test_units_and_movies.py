"""Values at the edge: quantities with units, movies, coordinates, and labels of images."""

import subprocess
import sys

import brian2
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from brian2 import Quantity, metre, ms, mV, nS, second, volt
from brian2.units.allunits import candle, mcandle
from hypothesis import given, settings
from hypothesis import strategies as st

from biomodel import STATIONS, Display, GazeAdapted, InputError, Pathway, Region, Store, luminance, orientation_field
from biomodel.analysis.equivalent_kernels import equivalent_kernels, probe
from biomodel.analysis.orientation import derivative_field
from biomodel.circuit.recording import plan_recordings
from biomodel.engine.plan import RESULT_NAMES, Network, Request, make_plan
from biomodel.engine.responses import station_dims
from biomodel.images import photographs
from biomodel.parameters import Parameters
from biomodel.physiology import TrialAveraged, distances_over_draws, run
from biomodel.stimuli import UNEVENNESS, check_luminance, pixels_per_degree
from biomodel.utils import excepthook
from biomodel.utils.units import cd_per_m2
from bridge import FrontEnd, fit_responses
from bridge.evaluate.as_subject import FrontEndSubject
from bridge.evaluate.reverse_correlation import linear_kernels
from bridge.fit.data import choose_held_out
from bridge.fit.stimuli import identification_set

#: An image of 8×8 pixels, cd/m².
IMAGE = np.random.default_rng(5).uniform(20, 200, (1, 8, 8))
PATHWAY = Pathway(target="numpy")
SHORT = {"output": "cone", "duration": 0.02, "window": (0, 0.02)}
CODES = np.full((1, 8, 8), 0.5)
MOVIE = np.ones((1, 2, 8, 8))


def stimulus(pixels_per_degree=16):
    return luminance(IMAGE, pixels_per_degree)


def movie(*levels, frame_duration=0.01):
    """A movie whose frames are multiples of the image."""
    return luminance(np.stack([level * IMAGE[0] for level in levels])[None], 16, frame_duration)


def plan(shown, target="numpy", **request):
    """The plan of a simulation up to the cones."""
    network = Network(Parameters("macaque_parafovea"), (), 0.5, target)
    return make_plan(network, shown, Request(**{"output": "cone"} | request))


def relay():
    return FrontEnd(16.0, {"lgn": ["midget_on", "midget_off", "parasol_on", "parasol_off"]}, output="lgn")


@pytest.mark.parametrize(
    "given_values",
    [
        IMAGE * cd_per_m2,
        1000 * IMAGE * mcandle / metre**2,
        IMAGE / 1e4 * candle / (0.01 * metre) ** 2,
        [[list(row * cd_per_m2) for row in IMAGE[0]]],
        [IMAGE[0] * cd_per_m2],
        IMAGE.tolist(),
        xr.DataArray(IMAGE, dims=("image", "y", "x"), attrs={"units": "cd/m2"}),
        xr.DataArray(IMAGE * cd_per_m2, dims=("image", "y", "x"), attrs={"units": cd_per_m2}),
        np.ma.masked_invalid(IMAGE),
        pd.DataFrame(IMAGE[0]).to_numpy()[None],
        torch.from_numpy(IMAGE),
    ],
)
def test_luminances_are_numbers_or_quantities(given_values):
    assert np.allclose(luminance(given_values, 16), IMAGE, rtol=1e-12)


@pytest.mark.parametrize("light", [stimulus(), stimulus().assign_attrs(units="cd m-2"), stimulus() * cd_per_m2 / 1])
def test_a_stimulus_in_the_right_unit_is_shown(light):
    assert check_luminance(light) == (IMAGE.min(), IMAGE.max())
    assert np.array_equal(plan(light).presentations.read(slice(None))[0][:, 0], IMAGE)


def test_times_and_fields_are_numbers_or_quantities():
    """Milliseconds are not seconds, and each form of a field is the same field."""
    for duration in (0.02, 20 * ms, 0.02 * second, Quantity(0.02, dim=second.dim), np.float64(0.02)):
        for window in ((0.01, 0.02), (10 * ms, 20 * ms), [10, 20] * ms, np.array([0.01, 0.02]), (0.01, 20 * ms)):
            found = plan(stimulus(), duration=duration, window=window).settings
            assert found.duration == pytest.approx(20) and found.window == pytest.approx((10, 20))
    pair = xr.concat([stimulus()] * 2, "image")
    one, each = (50.0,), (50.0, 60.0)
    for adapt_to, levels in (
        (50, one),
        (50 * cd_per_m2, one),
        (np.array(50.0), one),
        (xr.DataArray(50.0, attrs={"units": "cd/m²"}), one),
        ([50], one),
        ([50.0, 60 * cd_per_m2], each),
        ((50, 60), each),
        (np.array(each) * cd_per_m2, each),
        (pd.Series(each), each),
        (xr.DataArray(list(each), dims="image"), each),
    ):
        assert plan(pair, adapt_to=adapt_to).presentations.adaptation.levels == levels
    assert Display(peak=200 * cd_per_m2, black=6000 * mcandle / metre**2) == Display(200.0, 6.0)
    assert Pathway(dt=500 * brian2.us).dt == 0.5
    assert Pathway(parameters={"horizontal.coupling": 3000 * brian2.psiemens}).parameters.value(
        "horizontal.coupling"
    ) == pytest.approx(3)
    assert np.array_equal(probe(50 * cd_per_m2, 0.5, 5, 0), probe(50.0, 0.5, 5, 0))
    light = torch.full((1, 1, 8, 8), 50.0)
    front_end = relay()
    assert torch.equal(front_end(light, 40 * cd_per_m2), front_end(light, 40.0))
    subject = FrontEndSubject(front_end)
    quantities = {"adapt_to": 40 * cd_per_m2, "duration": 200 * ms, "window": (0 * ms, 0.2), "output": "lgn"}
    plain = subject.simulate(stimulus(), 40.0, output="lgn")
    assert subject.simulate(stimulus(), **quantities).identical(plain)


class Counts:
    """A spiking pathway with two spikes of every cell."""

    preset, parameters, classical_centre = PATHWAY.preset, PATHWAY.parameters, PATHWAY.classical_centre
    fidelity, lesions, dt = "spiking", (), 0.5

    def simulate(self, stimulus, adapt_to, **settings):
        assert adapt_to == [40.0] and settings["window"] == (0.0, pytest.approx(0.02))
        return xr.Dataset({"ganglion": (("image", "trial"), np.full((1, 3), 2.0))})


def test_rates_of_trials_do_not_depend_on_the_form_of_times():
    for adapt_to, duration, window in ((40.0, 0.02, (0.0, 0.02)), (40 * cd_per_m2, 20 * ms, (0 * ms, 20 * ms))):
        rates = TrialAveraged(Counts()).simulate(stimulus(), adapt_to, duration, window, "ganglion")
        assert rates.ganglion.values == pytest.approx(100) and rates.ganglion.units == "Hz"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: luminance(IMAGE * volt, 16), "luminance must be a quantity in cd/m², got an array in V"),
        (lambda: luminance([IMAGE[0] * volt], 16), "luminance must be a quantity in cd/m², got an array in V"),
        (lambda: luminance([[[1 * volt, 2 * volt]]], 16), "luminance must be a quantity in cd/m², got 1. V"),
        (lambda: luminance([[[1.0, 2 * mV]]], 16), "luminance must be a quantity in cd/m², got 2. mV"),
        (lambda: luminance(stimulus().assign_attrs(units="mV"), 16), "got the attribute units = 'mV'"),
        (lambda: luminance(stimulus() * volt, 16), "luminance must be a quantity in cd/m²"),
        (lambda: luminance(IMAGE * candle, 16), "luminance must be a quantity in cd/m²"),
        (lambda: luminance(Quantity(IMAGE), 16), "luminance must be a quantity in cd/m²"),
        (lambda: luminance(IMAGE, 16 * volt), "pixels_per_degree must be a plain number in px/deg"),
        (lambda: luminance(IMAGE, Quantity(16)), "pixels_per_degree must be a plain number in px/deg"),
        (lambda: luminance(IMAGE, np.array([16, 16])), "pixels_per_degree must be one finite number"),
        (lambda: luminance(MOVIE, 16, 20 * mV), "frame_duration must be a quantity in s, got 20. mV"),
        (lambda: luminance(MOVIE, 16, "20 ms"), "frame_duration must be one finite number or quantity in s"),
        (lambda: luminance(MOVIE, 16, np.timedelta64(20, "ms")), "frame_duration must be one finite number"),
        (lambda: Display(peak=200 * volt), "peak must be a quantity in cd/m², got 200. V"),
        (lambda: Display(black=6 * volt), "black must be a quantity in cd/m², got 6. V"),
        (lambda: Display(pixels_per_degree=16 * metre), "pixels_per_degree must be a plain number in px/deg"),
        (lambda: Display().show(CODES * volt), "images must be a quantity in 1, got an array in V"),
        (lambda: Display().show(CODES * cd_per_m2), "images must be a quantity in 1, got an array in"),
        (lambda: Display().show(stimulus()), "images must be in 1, got the attribute units = 'cd/m²'"),
        (lambda: GazeAdapted(sd=0.5 * metre), "sd of gaze must be a number of degrees of 0 or more"),
        (lambda: GazeAdapted(sd=Quantity(0.5)), "sd of gaze must be a number of degrees of 0 or more"),
        (lambda: plan(stimulus(), region=Region(record=0.3 * metre)), "region.record must be a plain number in deg"),
        (lambda: plan(stimulus(), region=Region(v1=Quantity(0.3))), "region.v1 must be a plain number in deg"),
        (lambda: plan(stimulus(), duration=0.2 * volt), "duration must be a quantity in s, got 200. mV"),
        (lambda: plan(stimulus(), duration=[0.2] * second), "duration must be one finite number"),
        (lambda: plan(stimulus(), duration=10**400), "duration must be one finite number"),
        (lambda: plan(stimulus(), window=(0 * mV, 0.2)), "window must be a quantity in s, got 0. V"),
        (lambda: plan(stimulus(), window=0.2 * second), "window must be a start and an end in seconds"),
        (lambda: plan(stimulus(), window=np.array(0.2)), "window must be a start and an end in seconds"),
        (lambda: plan(stimulus(), window="ab"), "window must be a start and an end in seconds, got 'ab'"),
        (lambda: plan(stimulus(), adapt_to=50 * volt), "adapt_to must be a quantity in cd/m², got 50. V"),
        (lambda: plan(stimulus(), adapt_to=[50] * volt), "adapt_to must be a quantity in cd/m², got an array in V"),
        (lambda: plan(stimulus(), adapt_to=[50 * volt]), "adapt_to must be a quantity in cd/m², got 50. V"),
        (lambda: plan(stimulus(), adapt_to=stimulus().mean(("y", "x")) * volt), "adapt_to must be a quantity in cd/m²"),
        (lambda: plan(stimulus(), adapt_to=xr.DataArray(50, attrs={"units": "lx"})), "attribute units = 'lx'"),
        (lambda: plan(stimulus(), adapt_to=[50, np.nan]), "adapt_to must be .*, got 2 luminances for 1 images"),
        (lambda: plan(stimulus(), adapt_to=[np.nan]), "adapt_to must be .*, got nan cd/m²"),
        (lambda: plan(stimulus(), adapt_to=[-1]), "adapt_to must be .*, got -1 cd/m²"),
        (lambda: plan(stimulus(), adapt_to=True), "adapt_to must be an array of real numbers, got bool"),
        (lambda: plan(stimulus(), adapt_to=None), "adapt_to must be an array of real numbers, got object"),
        (lambda: plan(stimulus(), seed=1 * second), "seed must be an integer of 0 or more, got 1. . second"),
        (lambda: plan(stimulus(), seed=np.timedelta64(1, "s")), "seed must be an integer of 0 or more"),
        (lambda: plan(stimulus(), seed=Quantity(1)), "seed must be an integer of 0 or more"),
        (lambda: plan(stimulus(), trials=2 * second), "trials must be a positive integer"),
        (lambda: PATHWAY.simulate(stimulus(), workers=2 * second), "workers must be a positive integer"),
        (lambda: plan(stimulus(), output=1 * volt), "output must be one of cone"),
        (lambda: plan(stimulus(), output=np.array(["cone", "lgn"])), "output must be one of cone"),
        (lambda: plan(stimulus(), record=["mean"]), "record must be one of mean"),
        (lambda: Store("a", chunk=2 * second), "chunk must be a positive integer"),
        (lambda: Pathway(dt=0.5 * volt), "dt must be a quantity in ms, got 0.5 V"),
        (lambda: Pathway(parameters={"horizontal.coupling": 3 * mV}), "horizontal.coupling must be a quantity in nS"),
        (lambda: Pathway(parameters={"bipolar.midget_centre_radius": 0.05 * metre}), "must be a plain number in deg"),
        (lambda: Pathway(parameters={"v1.kinds": 4 * nS}), "v1.kinds must be a quantity in 1"),
        (lambda: PATHWAY.classical_centre(16 * metre), "pixels_per_degree must be a plain number in px/deg"),
        (lambda: PATHWAY.classical_centre(0), "pixels_per_degree must be above 0"),
        (lambda: plan(stimulus() * volt), "luminance must be a quantity in cd/m², got an array in V"),
        (
            lambda: plan(stimulus().assign_attrs(units="mV")),
            "luminance must be in cd/m², got the attribute units = 'mV'",
        ),
        (lambda: plan(stimulus().assign_attrs(units=mV)), "luminance must be in cd/m², got the attribute units"),
        (lambda: plan(cd_per_m2 * stimulus()), "stimulus must be an xarray.DataArray from Display.show, got Quantity"),
        (lambda: equivalent_kernels(PATHWAY, 100 * volt), "background must be a quantity in cd/m², got 100. V"),
        (lambda: equivalent_kernels(PATHWAY, size=2 * volt), "size must be an integer of 5 or more"),
        (lambda: equivalent_kernels(PATHWAY, contrast=-0.5), "contrast must be from 0 to 1, got -0.5"),
        (lambda: equivalent_kernels(PATHWAY, contrast=0.5 * volt), "contrast must be a quantity in 1, got 0.5 V"),
        (lambda: equivalent_kernels(PATHWAY, pixels_per_degree=16 * volt), "pixels_per_degree must be a plain number"),
        (lambda: equivalent_kernels(PATHWAY, output=3), "output must be one of cone"),
        (lambda: derivative_field(stimulus(), 0.1 * metre), "scale must be a plain number in deg"),
        (lambda: orientation_field(xr.Dataset()), "responses must be those of Pathway.simulate with v1, got none"),
        (lambda: photographs(2 * volt), "count must be a positive integer"),
        (lambda: photographs(2, size=8.5), "size must be a positive integer, got 8.5"),
        (lambda: photographs(2, seed=-1), "seed must be an integer of 0 or more, got -1"),
        (lambda: TrialAveraged(PATHWAY, v1_trials=2 * second), "v1_trials must be a positive integer"),
        (lambda: TrialAveraged(PATHWAY, seed=-1), "seed must be an integer of 0 or more, got -1"),
        (
            lambda: TrialAveraged(Counts()).simulate(stimulus(), "gaze", 0.02, (0, 0.02), "ganglion"),
            "adapt_to must be an array of real numbers",
        ),
        (lambda: run(PATHWAY, 3 * volt), "an experiment for a subject of rates must be one of"),
        (lambda: run(PATHWAY, 3.0), "an experiment for a subject of rates must be one of .*, got 3.0"),
        (lambda: run(PATHWAY, 3, workers=2 * second), "workers must be a positive integer"),
        (lambda: distances_over_draws(Pathway, 5), "draws must be whole numbers from 0, got 5"),
        (lambda: distances_over_draws(Pathway, [1 * second]), "a draw must be an integer of 0 or more"),
        (lambda: FrontEnd(16 * volt, {}, "lgn"), "pixels_per_degree must be a plain number in px/deg"),
        (lambda: FrontEnd(16.0, {}, "lgn", gaze_sd=0.5 * metre), "sd of gaze must be a number of degrees"),
        (lambda: FrontEnd(16.0, {}, "lgn", gaze_sd=-1), "sd of gaze must be a number of degrees of 0 or more, got -1"),
        (lambda: relay()(torch.full((1, 1, 8, 8), 50.0), 5 * volt), "background must be a quantity in cd/m², got 5. V"),
        (lambda: relay().kernel(5 * volt), "background must be a quantity in cd/m², got 5. V"),
        (lambda: fit_responses(xr.Dataset(), stimulus() * volt), "luminance must be a quantity in cd/m²"),
        (lambda: choose_held_out(stimulus(), 0.2 * volt, 0), "held_out must be a quantity in 1, got 200. mV"),
        (lambda: choose_held_out(stimulus(), "some", 0), "held_out must be one finite number"),
        (lambda: identification_set(20 * volt), "images must be an integer of 13 or more"),
        (lambda: identification_set(20, pixels=0), "pixels must be a positive integer, got 0"),
        (lambda: identification_set(20, pixels_per_degree=16 * volt), "pixels_per_degree must be a plain number"),
        (
            lambda: linear_kernels(stimulus(), xr.DataArray(IMAGE[:, None], dims=("image", "c", "y", "x")), 1 * volt),
            "reach must be a plain number in deg",
        ),
        (
            lambda: FrontEndSubject(relay()).simulate(stimulus(), 40 * volt, output="lgn"),
            "adapt_to must be a quantity in cd/m², got 40. V",
        ),
        (
            lambda: FrontEndSubject(relay()).simulate(stimulus(), duration=200 * second, output="lgn"),
            "duration must be 0.2 s for a front end",
        ),
        # Lists of different lengths, texts, other objects.
        (lambda: luminance([[[1, 2], [3]]], 16), "luminance must be an array of real numbers, got list"),
        (lambda: luminance("a.png", 16), "luminance must be an array of real numbers, got <U5"),
        (lambda: luminance([[["a"]]], 16), "luminance must be an array of real numbers, got <U1"),
        (lambda: luminance([[[None]]], 16), "luminance must be an array of real numbers, got object"),
        (lambda: luminance({"a": 1}, 16), "luminance must be an array of real numbers, got object"),
        (lambda: luminance(IMAGE * 1j, 16), "luminance must be an array of real numbers, got complex128"),
        (
            lambda: luminance(np.ma.masked_greater(IMAGE, 100), 16),
            "luminance must be numbers in cd/m², got masked values",
        ),
        (lambda: luminance([np.ma.masked_greater(IMAGE[0], 100)], 16), "got masked values"),
        (lambda: luminance(torch.ones(1, 8, 8, requires_grad=True), 16), "luminance must be an array of real numbers"),
        (lambda: luminance(xr.Dataset({"a": stimulus()}), 16), "luminance must be an array of real numbers"),
        (lambda: Display().show([[[1, 2], [3]]]), "images must be an array of real numbers, got list"),
        (lambda: Display().show(["a.png"]), "images must be an array of real numbers, got <U5"),
        (lambda: plan(stimulus(), adapt_to=[[1, 2], [3]]), "adapt_to must be an array of real numbers, got list"),
        (lambda: plan(stimulus(), adapt_to=["gaze"]), "adapt_to must be an array of real numbers, got <U4"),
        (lambda: plan(stimulus(), adapt_to=[[1.0]]), "adapt_to must be .*, got 2 dimensions"),
    ],
)
def test_other_units_and_types_are_refused_in_one_line(call, words):
    with pytest.raises(InputError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_movies_are_shown_whole_by_default():
    shown = plan(movie(*range(1, 31))).settings
    assert (shown.duration, shown.window) == (300, (0, 300))
    still = plan(stimulus()).settings
    assert (still.duration, still.window) == (200, (0, 200))
    assert plan(stimulus(), duration=1.0).settings.window == (0, 200)
    assert plan(stimulus(), duration=0.1).settings.window == (0, 100)
    assert plan(movie(1, 2)).settings.window == (0, 20)
    assert plan(movie(*range(1, 31)), duration=0.1).settings.window == (0, 100)
    assert plan(movie(1, 2, frame_duration=1 / 60), window=(0, 0.03)).settings.duration == pytest.approx(100 / 3)
    # Network has no window, and shows movies that are too short for one of V1.
    network = PATHWAY.network(movie(1, 2, frame_duration=0.001), output="cone")
    assert network["cone"].N == 64


def test_a_movie_does_not_change_the_state_before_it():
    """Two movies that differ after 20 ms only: the fields adapted to, and responses up to then, are the same."""
    shown = xr.concat([movie(1, 1, 3, 0.5), movie(1, 1, 0.2, 2)], "image")
    trace = PATHWAY.simulate(shown, output="cone", record="trace")
    assert trace.attrs["duration_s"] == pytest.approx(0.04)
    assert np.array_equal(trace.background[0], trace.background[1])
    still = plan(stimulus()).presentations.read(slice(None))[1]
    assert np.array_equal(trace.background[0], still.start[0])
    one, other = trace.cone.transpose("image", "time", "y", "x").values
    before = trace.time.values <= 0.02
    assert np.array_equal(one[before], other[before]) and not np.allclose(one[~before], other[~before])
    # A movie that is cut is what its frames are, and what lasts beyond it is its last frame.
    cut = PATHWAY.simulate(shown, output="cone", record="trace", duration=0.02)
    assert np.array_equal(cut.cone, trace.cone.isel(time=slice(10)))
    longer = PATHWAY.simulate(shown, output="cone", record="trace", duration=0.06)
    repeated = xr.concat([movie(1, 1, 3, 0.5, 0.5, 0.5), movie(1, 1, 0.2, 2, 2, 2)], "image")
    assert np.allclose(longer.cone, PATHWAY.simulate(repeated, output="cone", record="trace").cone, rtol=1e-9)


def test_sequences_continue_from_the_last_frame_that_was_shown():
    pathway, shown = Pathway(target="numpy"), xr.concat([movie(1, 1, 3, 0.5), movie(1, 1, 0.2, 2)], "image")
    first = pathway.simulate(shown, "previous", output="cone")
    assert np.array_equal(first.background[1], 0.5 * IMAGE[0])
    again = pathway.simulate(shown, "previous", 0.03, output="cone")
    assert np.array_equal(again.background, np.stack([2 * IMAGE[0], 3 * IMAGE[0]]))
    assert plan(shown, duration=0.0301).last_frame == 3 and plan(stimulus(), duration=3.0).last_frame == 0


def test_frames_may_last_any_time_from_a_step_on():
    """Each step shows the frame of its start: frames of 6.25 ms are steps of .5 ms with these frames."""
    frames = np.array([1.0, 2.0, 0.5, 3.0])
    steps = frames[np.floor(np.arange(50) * 0.5 / 6.25).astype(int)]
    shown, by_step = movie(*frames, frame_duration=0.00625), movie(*steps, frame_duration=0.0005)
    found, expected = (PATHWAY.simulate(m, 50.0, output="cone", record="trace").cone for m in (shown, by_step))
    assert np.allclose(found, expected, rtol=1e-9) and np.ptp(found.values[0, :, 0, 0]) > 1
    with pytest.raises(InputError, match="a movie's frames must last 0.5 ms, the step dt, or longer, got 0.4 ms"):
        plan(movie(1, 2, frame_duration=0.0004))


@pytest.mark.parametrize(
    "times",
    [
        np.arange(4) * 0.01,
        np.arange(4) * 0.01 + 7.5,
        (np.arange(4) * 0.01 - 7.5).astype(np.float32),
        np.array([0, 10, 20, 30], "timedelta64[ms]"),
        pd.to_timedelta([0, 10, 20, 30], unit="ms"),
        np.array([5_000_000, 15_000_000, 25_000_000, 35_000_000], "timedelta64[ns]"),
        ("time", np.arange(4) * 0.01, {"units": "s"}),
        ("time", np.array([0, 0.01, 0.02003, 0.03]), {"units": "seconds"}),
    ],
)
def test_times_of_frames(times):
    found = plan(movie(1, 2, 3, 4).assign_coords(time=times))
    assert found.specification.frame_duration == pytest.approx(10, rel=1e-4)
    assert found.presentations.digest() != plan(movie(1, 2, 3, 5)).presentations.digest()


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.array([0, 0.01, 0.03, 0.04]), r"two or more values in even steps, in seconds, got \[0, 0.01, 0.03, 0.04\]"),
        (np.array([0.03, 0.02, 0.01, 0]), "even steps"),
        (np.zeros(4), "even steps"),
        (np.array([0, np.nan, 0.02, 0.03]), "even steps"),
        (np.array([0, 0.01, 0.0203, 0.03]), "even steps"),
        (("time", np.arange(4) * 10.0, {"units": "ms"}), "time must be in s, got the attribute units = 'ms'"),
        (np.array([0, 10, 20, 30], "datetime64[ms]"), "coordinate time must be numbers in s, got type datetime64"),
        (list("abcd"), "coordinate time must be numbers in s, got type <U1"),
    ],
)
def test_other_times_of_frames_are_refused(times, words):
    with pytest.raises(InputError, match=words):
        plan(movie(1, 2, 3, 4).assign_coords(time=times))


def test_a_movie_of_one_frame_is_refused():
    with pytest.raises(InputError, match="a movie must have two frames or more, got 1: give an image without frame"):
        movie(1)
    with pytest.raises(InputError, match=r"two or more values in even steps, in seconds, got \[0\]"):
        plan(movie(1, 2).isel(time=[0]))
    with pytest.raises(InputError, match="two or more values in even steps, in seconds, got none"):
        plan(movie(1, 2).drop_vars("time"))
    assert plan(movie(1, 2).isel(time=0)).settings.duration == 200


def shifted(light, axis, at, by):
    values = light[axis].values.copy()
    values[at] += by / 25
    return light.assign_coords({axis: values})


@settings(max_examples=30)
@given(pixels=st.integers(24, 1500), ppd=st.sampled_from([16.0, 25.0, 30.0, 60.0, 27.5]), single=st.booleans())
def test_coordinates_in_single_precision_are_those_in_double(pixels, ppd, single):
    light = luminance(np.ones((1, 2, pixels)), ppd)
    light = light.assign_coords(x=light.x.astype(np.float32), y=light.y.astype(np.float32 if single else float))
    assert pixels_per_degree(light) == pytest.approx(ppd, rel=1e-15)


def test_pixels_are_on_an_even_lattice_within_a_hundredth():
    light = luminance(np.ones((1, 40, 64)), 25)
    for axis, at in (("x", 0), ("x", 30), ("y", 39)):
        assert pixels_per_degree(shifted(light, axis, at, UNEVENNESS / 2)) == pytest.approx(25, rel=1e-3)
        with pytest.raises(InputError, match=f"coordinate {axis} must grow in even steps, in degrees"):
            pixels_per_degree(shifted(light, axis, at, 3 * UNEVENNESS))
    for changed, words in (
        (light.assign_coords(x=1.0005 * light.x), "pixels must be square, got 0.04° by 0.04002°"),
        (light.isel(y=slice(None, None, -1)), "coordinate y must grow in even steps"),
        (light.assign_coords(x=list(map(str, range(64)))), "coordinate x must be numbers in deg, got type <U2"),
        (light.assign_coords(x=light.x.assign_attrs(units="mm")), "x must be in deg, got the attribute units = 'mm'"),
        (light.drop_vars("y"), "the stimulus must have a coordinate y in degrees"),
    ):
        with pytest.raises(InputError, match=words):
            plan(changed)
    assert pixels_per_degree(light.assign_coords(x=light.x.assign_attrs(units="degrees"))) == pytest.approx(25)


def test_names_of_results_are_reserved():
    """All of those that a simulation up to V1 has."""
    planned = make_plan(Network(PATHWAY.parameters, (), 0.5, "numpy"), luminance(np.ones((1, 32, 32)), 16), Request())
    names = {"background", *STATIONS, *planned.recordings["v1"].coordinates, "v1_channel"}
    for station in plan_recordings(planned.specification):
        names |= set(station_dims(station, trace=True, trials=True)) - {"image"}
    assert names == RESULT_NAMES - {"cone_channel", "horizontal_channel"}
    for name in RESULT_NAMES - {"x", "y"}:
        with pytest.raises(InputError, match=f"must not have the name of a variable of the result, got '{name}'"):
            plan(stimulus().assign_coords({name: ("image", [1])}))


LABELS = {
    "number": [1, 2],
    "real": np.array([0.5, np.nan], np.float32),
    "text": ["a", "longer"],
    "python_text": np.array(["a", "longer"], object),
    "date": np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"),
    "flag": [True, False],
    "name with spaces.": [3, 4],
    "image": ["first", "second"],
}


def test_labels_are_the_same_in_a_store(tmp_path):
    light = luminance(np.repeat(IMAGE, 2, axis=0), 16).assign_coords({n: ("image", v) for n, v in LABELS.items()})
    found = PATHWAY.simulate(light, **SHORT)
    stored = PATHWAY.simulate(light, store=tmp_path, **SHORT).load()
    for name in LABELS:
        assert found[name].variable.equals(stored[name].variable) and found[name].variable.equals(light[name].variable)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("label", [{}], "objects of type dict"),
        ("label", [(1, 2)], "objects of type tuple"),
        ("label", [None], "objects of type NoneType"),
        ("label", ["a", 1], "objects of type int and str"),
        ("label", ["a", None], "objects of type (NoneType|float) and str"),
        ("label", pd.Categorical(["a"]), "type category"),
        ("label", pd.array([1], dtype="Int64"), "type Int64"),
        ("label", np.array([1], np.longdouble), "type float128"),
        ("settings", [1], "printable text without /, other than settings, .*, got 'settings'"),
        ("a/b", [1], "printable text without /, other than settings, .*, got 'a/b'"),
        ("", [1], "printable text without /, other than settings, .*, got ''"),
        ("\0", [1], "printable text without /.*, got '.x00'"),
        ("\ud800", [1], "printable text without /.*, got '.ud800'"),
        ("ä" * 128, [1], "must have a name of at most 255 bytes to be stored, got 'ä"),
        (5, [1], "printable text without /, other than settings, .*, got 5"),
    ],
)
def test_labels_that_cannot_be_stored_are_refused_before_the_simulation(tmp_path, name, values, words):
    if "objects" in words:
        objects = np.empty(len(values), object)
        objects[:] = values
        values = objects
    light = luminance(np.repeat(IMAGE, len(values), axis=0), 16).assign_coords({name: ("image", values)})
    with pytest.raises(InputError, match=words):
        PATHWAY.simulate(light, store=tmp_path / "store", **SHORT)
    assert not (tmp_path / "store").exists()
    assert plan(light).presentations.stimulus is light


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        ([1, 2, 3], {"_FillValue": 2}),
        ([1, 2, 3], {"missing_value": 2}),
        ([1, 2, 3], {"scale_factor": 2}),
        ([1, 2, 3], {"add_offset": 0}),
        ([1, 2, 3], {"_Unsigned": "true"}),
        ([1, 2, 3], {"dtype": "bool"}),
        ([1, 2, 3], {"units": "days since 2000-01-01"}),
        ([1, 2, 3], {"units": "days since x"}),
        ([1, 2, 3], {"coordinates": "other"}),
        ([1, 2, 3], {"function": len}),
        ([1, 2, 3], {5: "text"}),
        (["a", "b", "c"], {"_Encoding": "utf-9"}),
        (np.array(["2020-01-01"] * 3, "datetime64[ns]"), {"units": "days since 2000-01-01"}),
        (np.array([1, 2, 2**70], object), {}),
        (np.array(["a", "b", "\ud800"], object), {}),
        (["a", "b", "\ud800"], {}),
    ],
)
def test_labels_that_would_change_in_a_store_are_refused(tmp_path, values, attributes):
    light = luminance(np.repeat(IMAGE, 3, axis=0), 16)
    light = light.assign_coords(label=("image", values, attributes), other=("image", [1, 2, 3]))
    with pytest.raises(
        InputError, match="coordinates along image must come back from a store as they are, got 'label'"
    ) as one:
        PATHWAY.simulate(light, store=tmp_path / "store", **SHORT)
    assert "\n" not in str(one.value) and not (tmp_path / "store").exists()


@pytest.mark.parametrize("values", [["0001-01-01", "2020-01-01"], ["NaT", "2020-01-01"], ["1500-01-01", "9999-01-01"]])
@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_dates_come_back_from_a_store_or_are_refused(tmp_path, values, unit):
    light = luminance(np.repeat(IMAGE, 2, axis=0), 16).assign_coords(
        date=("image", np.array(values, f"datetime64[{unit}]"))
    )
    try:
        plan(light, store=Store(tmp_path))
    except InputError as error:
        assert "NaT" not in values and "got 'date': " in str(error)
    else:
        assert PATHWAY.simulate(light, store=tmp_path, **SHORT).load().date.variable.equals(light.date.variable)


def test_attributes_of_labels_come_back_from_a_store(tmp_path):
    attributes = {"long_name": "α", "units": "mm", "n": np.int64(3), "range": np.array([1.5, np.nan]), "nothing": None}
    light = stimulus().assign_coords(label=("image", [1], attributes), text=("image", ["a"], attributes))
    light.label.encoding["scale_factor"] = 2
    for _ in range(2):
        found = PATHWAY.simulate(light, store=tmp_path, **SHORT).load()
        for name in ("label", "text"):
            assert found[name].equals(light[name]) and found[name].attrs["range"][0] == 1.5
            assert {**found[name].attrs, "range": 0} == {**attributes, "range": 0}


def test_states_that_differ_in_any_digit_are_other_states():
    """A store with another one is another store."""
    texts = [
        {str(GazeAdapted(0.5)), "gaze of 0.5°"},
        {str(plan(stimulus(), adapt_to=100).presentations.adaptation), "100 cd/m²"},
    ]
    assert all(len(same) == 1 for same in texts)
    assert str(GazeAdapted(0.50000004)) != str(GazeAdapted(0.5))
    settings = [plan(stimulus(), adapt_to=level).store_settings() for level in (100.0, 100.00004, [100.0])]
    assert settings[0] != settings[1] and settings[0] == settings[2]


def test_brian2_does_not_ask_to_report_errors_of_users():
    script = [sys.executable, "-c", "import biomodel\nbiomodel.Pathway('cat')"]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and "preset must be one of" in ended.stderr
    assert "Brian 2 encountered an unexpected error" not in ended.stderr


def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error), error, error.__traceback__
    raise AssertionError("no error")


def test_hooks_of_others_are_left_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(excepthook, "brian_excepthook", lambda *error: seen.append("brian2"))
    monkeypatch.setattr(excepthook, "_before", lambda *error: seen.append("before"))
    monkeypatch.setattr(sys, "excepthook", print)
    excepthook.install()
    assert sys.excepthook is print
    monkeypatch.setattr(sys, "excepthook", excepthook.brian_excepthook)
    excepthook.install()
    for call in (lambda: 1 / 0, lambda: ms + 1, lambda: Pathway("cat")):
        sys.excepthook(*error_of(call))
    assert seen == ["before", "brian2", "before"]
