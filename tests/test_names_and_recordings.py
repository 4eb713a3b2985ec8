"""Stimuli and responses are matched by names and labels, and recordings have any number of repeats."""

import json

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import strategies as st

import biomodel
import bridge
from biomodel import InputError, orientation_field
from biomodel.analysis.alignment import CHANNELS, canonical, canonical_light
from biomodel.analysis.orientation import derivative_field
from biomodel.engine.responses import in_rates
from biomodel.images import photographs
from biomodel.physiology import TrialAveraged
from biomodel.stimuli import COLOURS
from biomodel.utils.units import cd_per_m2
from bridge.evaluate.as_subject import FrontEndSubject
from bridge.evaluate.kernels import compare_kernels
from bridge.evaluate.reverse_correlation import linear_kernels
from bridge.evaluate.scores import feve, score_cells, score_front_end
from bridge.fit import fitting
from bridge.fit.data import Recording, validate_data
from bridge.fit.optimisers import Targets
from bridge.fit.stimuli import StimulusSet
from studies.reporting import stations_figure

IMAGES, PIXELS = 12, 16

#: V1 cell types of the shipped front end that the small one has.
TYPES = [0, 20]

shuffles = hypothesis.settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def front_end():
    """The shipped front end with two of its V1 cell types, behind an artificial pupil as recordings are."""
    shipped = bridge.pretrained()
    front_end = shipped.untrained(
        channels={
            "lgn": shipped.station_channels["lgn"],
            "v1": ["simple_0", "simple_1", "complex_0", "complex_1"],
        },
        orientations=[shipped.v1.orientations[k] for k in TYPES],
        parasol=[shipped.v1.parasol[k] for k in TYPES],
        pupil=False,
    )
    state = shipped.state_dict()
    for name in ("v1.root_weight", "v1.root_complex_weight", "v1.log_surround_weight"):
        state[name] = state[name][TYPES]
    front_end.load_state_dict({name: state[name].reshape(v.shape) for name, v in front_end.state_dict().items()})
    return front_end


@pytest.fixture(scope="module")
def light():
    """Photographs, not square, with a label for each image."""
    shown = photographs(IMAGES, PIXELS, seed=1)[:, : PIXELS - 2]
    return shown.assign_coords(image=[f"image {k}" for k in range(IMAGES)])


@pytest.fixture(scope="module")
def recorded(front_end, light):
    """Responses of the front end, labelled as those of a pathway."""
    found = FrontEndSubject(front_end).simulate(light)
    return found.assign_coords(
        v1_kind=("v1_channel", ["simple"] * 2 + ["complex"] * 2),
        v1_orientation=("v1_channel", [*front_end.v1.orientations] * 2),
    ).assign_attrs(fidelity="rate")


@pytest.fixture(scope="module")
def repeated(recorded):
    """Counts of three to seven repeats, NaN where an image has fewer."""
    random = np.random.default_rng(0)
    rates = recorded.lgn.clip(min=0).expand_dims(trial=7, axis=1)
    counts = xr.DataArray(
        random.poisson(0.15 * rates).astype(float), rates.coords, rates.dims, attrs={"units": "spikes"}
    )
    repeats = xr.DataArray(np.resize([3, 5, 7], IMAGES), dims="image")
    counts = counts.where(xr.DataArray(np.arange(7), dims="trial") < repeats).assign_attrs(units="spikes")
    return recorded[["background"]].assign(lgn=counts).assign_attrs(window_s=[0.05, 0.2], fidelity="spiking")


@pytest.fixture
def no_fit(monkeypatch, front_end):
    """A fit that takes no time: what it would be given, and a front end that it returns."""
    given = []

    def fit(light, responses, seed=0, ablations=()):
        given.append((light, responses))
        return front_end.truncated("v1" if "v1" in responses else "lgn")

    monkeypatch.setattr(fitting, "fit_front_end", fit)
    return given


def shuffled(array, data, axes=True):
    """The same array with dimensions, and the values along each, in another order."""
    names = [str(name) for name in array.dims]
    chosen = [name for name in names if axes or name not in ("y", "x", "v1_y", "v1_x")]
    orders = {name: data.draw(st.permutations(range(array.sizes[name])), label=name) for name in chosen}
    return array.isel(orders).transpose(*data.draw(st.permutations(names), label="dims"))


def same(one, other):
    xr.testing.assert_identical(one, other)
    for name in one.data_vars:
        assert one[name].dims == other[name].dims and one[name].values.flags.c_contiguous


@shuffles
@hypothesis.given(st.data())
def test_responses_in_any_order_are_the_same(light, recorded, data):
    """Dimensions, images, channels, rows and columns of both, each in an order of its own."""
    wanted = validate_data(light, recorded)
    found = validate_data(shuffled(light, data), shuffled(recorded, data))
    xr.testing.assert_identical(found[0], wanted[0].sel(image=found[0].image))
    same(found[1], wanted[1].sel(image=found[0].image))


@hypothesis.settings(shuffles, max_examples=5)
@hypothesis.given(st.data())
def test_scores_of_responses_in_any_order_are_the_same(front_end, light, recorded, data):
    noisy = 0.9 * recorded + 1
    wanted = score_front_end(front_end, "photographs", light, noisy)
    found = score_front_end(front_end, "photographs", light, shuffled(noisy, data))
    pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.transpose(..., "image"),
        lambda r: r.isel(y=slice(None, None, -1), v1_y=slice(None, None, -1)),
        lambda r: r.isel(image=np.random.default_rng(0).permutation(IMAGES)),
        lambda r: r.sortby("lgn_channel").sortby("v1_orientation"),
        lambda r: r.drop_vars(["y", "x", "v1_y", "v1_x"]),
        lambda r: r.assign(note=("session", ["a", "b"])),
        lambda r: r.assign_coords(y=r.y.astype("f4"), v1_x=r.v1_x.astype("f4")),
    ],
    ids=["transposed", "reversed", "permuted", "sorted", "without places", "with other variables", "float32 places"],
)
def test_fit_responses_takes_names(change, light, recorded, no_fit):
    """The same data reach the fit, and the scores on held-out images are the same."""
    _, wanted = bridge.fit_responses(recorded, light, seed=3)
    _, found = bridge.fit_responses(change(recorded), light, seed=3)
    pd.testing.assert_frame_equal(found.scores, wanted.scores)
    assert (found.scores.r2 > 0.999).all() and len(found.scores) == 22
    (light_1, first), (light_2, second) = no_fit
    xr.testing.assert_identical(light_1, light_2)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.all
@pytest.mark.slow
def test_fits_of_responses_in_another_order_are_the_same(light, recorded, monkeypatch):
    monkeypatch.setattr(fitting, "_NEAR", (4, 3e-3))
    random = np.random.default_rng(0)
    other = recorded.isel(
        image=random.permutation(IMAGES),
        v1_channel=random.permutation(4),
        lgn_channel=[3, 1, 0, 2],
        y=slice(None, None, -1),
        v1_x=slice(None, None, -1),
    ).transpose("x", "v1_y", "v1_channel", "lgn_channel", ...)
    (one, _), (two, _) = (bridge.fit_responses(r, shown) for r, shown in ((recorded, light), (other, light.T)))
    assert one.channels == two.channels
    for name, values in one.state_dict().items():
        assert torch.equal(values, two.state_dict()[name]), name


def test_fit_pathway_takes_names(no_fit, front_end, light, monkeypatch):
    """A stimulus in another order, from a subject in place of a pathway; a set of stimuli too."""
    monkeypatch.setattr(fitting, "TEST_IMAGES", 4)

    class Subject(FrontEndSubject):
        def simulate(self, stimulus, adapt_to="gaze", *, output="v1", workers=1, seed=0, trials=1, store=None):
            return super().simulate(stimulus, adapt_to, output=output).assign_attrs(adapt_to="gaze")

    settings = {"output": "lgn", "adapt_to": ["gaze"]}
    reports = [bridge.fit_pathway(Subject(front_end), shown, **settings)[1] for shown in (light, light.T)]
    pd.testing.assert_frame_equal(reports[0].scores, reports[1].scores)
    fields = np.array([np.nan, 40.0] * (IMAGES // 2))
    one, two = (StimulusSet("mine", shown, fields) for shown in (light, light.isel(y=slice(None, None, -1)).T))
    xr.testing.assert_identical(one.light, two.light)
    with pytest.raises(InputError, match=r"fields must have a value per image, 12, got \(3,\)"):
        StimulusSet("mine", light, fields[:3])


def test_images_are_matched_by_all_labels_that_both_have(light, recorded):
    swapped = recorded.isel(image=slice(None, None, -1))
    # Without an index, by the other labels where these are unique.
    some = light[:8].drop_vars("image"), recorded.isel(image=slice(8)).drop_vars("image")
    same(validate_data(*some)[1], validate_data(some[0], some[1].isel(image=[3, 1, 0, 2, 7, 6, 5, 4]))[1])
    # Without any common label, by position.
    bare = light.drop_vars(["image", "photograph"])
    for here, there in ((bare, swapped), (light, swapped.drop_vars(["image", "photograph"]))):
        np.testing.assert_array_equal(validate_data(here, there)[1].lgn, swapped.lgn)
    # An image may be shown twice, where both have the same order.
    twice = [one.drop_vars("photograph").assign_coords(image=np.repeat(np.arange(6), 2)) for one in (light, recorded)]
    np.testing.assert_array_equal(validate_data(*twice)[1].lgn, recorded.lgn)
    with pytest.raises(InputError, match="must be unique, or in the same order, got .* more than once"):
        validate_data(twice[0], twice[1].isel(image=slice(None, None, -1)))
    with pytest.raises(
        InputError, match=r"coordinates image, photograph\) must have the label image 3 cat, got image 0 astronaut, "
    ):
        validate_data(light, recorded.assign_coords(image=[f"image {k + (k == 3) * 100}" for k in range(IMAGES)]))
    with pytest.raises(InputError, match="photograph"):
        validate_data(light, recorded.assign_coords(photograph=("image", ["camera"] * IMAGES)))


BAD = {
    "one image": (lambda r: r.isel(image=[0]), lambda s: s[:1], "at least 2 photographs, .*, got 1"),
    "no image": (lambda r: r.isel(image=[]), lambda s: s[:0], "at least one image"),
    "single image": (lambda r: r.isel(image=0), None, r"must have dimensions \(image, y, x\), got \('y', 'x'\)"),
    "another number": (lambda r: r.isel(image=slice(9)), None, "as many images as stimulus, 12, got 9"),
    "constant": (
        lambda r: r.assign(lgn=0 * r.lgn + 3),
        None,
        "channels of lgn must vary, got no variance in midget_on",
    ),
    "NaN": (lambda r: r.assign(lgn=r.lgn.where(r.y < 0)), None, "responses of lgn must be finite, got NaN or infinity"),
    "infinite": (lambda r: r.assign(v1=r.v1 / 0), None, "responses of v1 must be finite"),
    "negative": (
        lambda r: r.assign(lgn=r.lgn - r.lgn.min() - 50),
        None,
        "lgn must be rates or counts of 0 or more, got -50$",
    ),
    "no background": (lambda r: r.drop_vars("background"), None, "variable 'background', the field adapted to"),
    "negative background": (lambda r: r.assign(background=-r.background), None, "background must be .*, got -"),
    "NaN background": (lambda r: r.assign(background=r.background * np.nan), None, "background must be .*, got nan"),
    "background of images": (lambda r: r.assign(background=r.background[:, 0, 0]), None, "background must have dim"),
    "no station": (
        lambda r: r[["background", "cone"]],
        None,
        "must have one of lgn, v1_input, v1, got background, cone",
    ),
    "shifted": (lambda r: r.assign_coords(x=r.x + 0.01), None, "every pixel of the stimulus, 16 along x from -0.46875"),
    "shifted V1": (
        lambda r: r.assign_coords(v1_y=r.v1_y + 0.05),
        None,
        "every second pixel of the stimulus, 7 along v1",
    ),
    "coarser": (lambda r: r.isel(y=slice(None, None, 2)), None, "every pixel of the stimulus, 14 along y .*, got 7"),
    "coarser without places": (
        lambda r: r.isel(y=slice(None, None, 2)).drop_vars("y"),
        None,
        "every pixel of the stimulus, 14 along y, got 7",
    ),
    "another resolution": (
        None,
        lambda s: s.assign_coords(y=2 * s.y, x=2 * s.x),
        "from -0.9375 to 0.6875°, got 14 from -0.46875",
    ),
    "places in text": (lambda r: r.assign_coords(x=r.x.astype(str)), None, "coordinate x must be numbers of degrees"),
    "unknown channel": (
        lambda r: r.assign_coords(lgn_channel=["a", *r.lgn_channel.values[1:]]),
        None,
        "lgn_channel must be among midget_on, .*, got 'a'",
    ),
    "no names": (lambda r: r.drop_vars("lgn_channel"), None, "must have a coordinate lgn_channel .*, got none"),
    "numbered": (lambda r: r.assign_coords(lgn_channel=range(4)), None, "lgn_channel must be among .*, got '0'"),
    "missing channel": (
        lambda r: r.isel(lgn_channel=[0, 2]),
        None,
        "lgn_channel must be .*, got midget_on, parasol_on",
    ),
    "channel twice": (
        lambda r: r.isel(lgn_channel=[0, 1, 2, 2]),
        None,
        "lgn_channel must be unique, got 'parasol_on' more than once",
    ),
    "V1 channel twice": (lambda r: r.isel(v1_channel=[0, 1, 2, 2]), None, "v1_channel must be unique"),
    "V1 without kinds": (lambda r: r.drop_vars("v1_kind"), None, "must have coordinates v1_kind and v1_orientation"),
    "V1 of other kinds": (
        lambda r: r.assign_coords(v1_kind=("v1_channel", ["complex"] * 2 + ["simple"] * 2)),
        None,
        "v1_kind must be the kind that v1_channel names",
    ),
    "simple cells only": (lambda r: r.isel(v1_channel=[0, 1]), None, "complex cells of the same types"),
    "V1 of other names and equal orientations": (
        lambda r: r.assign_coords(v1_channel=list("abcd"), v1_orientation=("v1_channel", [10.0] * 4)),
        None,
        "v1_channel must name cell types, simple_K and complex_K, .*, got 'a' and 'c'",
    ),
    "complex numbers": (lambda r: r.assign(lgn=r.lgn * 1j), None, "lgn must be real numbers, got type complex"),
    "text": (lambda r: r.assign(lgn=r.lgn.astype(str)), None, "lgn must be real numbers, got type <U"),
    "boolean": (lambda r: r.assign(lgn=r.lgn > 1), None, "lgn must be real numbers, got type bool"),
    "trace": (lambda r: r.expand_dims(time=3), None, "got .*'time'.*average over time first"),
    "cells": (
        lambda r: r.assign(lgn=r.lgn.stack(cell=["lgn_channel", "y", "x"])),
        None,
        r"must have dimensions \(image, lgn_channel, y, x\).*got \('image', 'cell'\): a fit needs .*score_cells",
    ),
    "an array": (lambda r: r.lgn, None, "responses must be an xarray.Dataset, got DataArray"),
    "nothing": (lambda r: None, None, "responses must be an xarray.Dataset, got NoneType"),
    "light in an array": (None, lambda s: s.values, "stimulus must be an xarray.DataArray, got ndarray"),
    "light of other dimensions": (None, lambda s: s.rename(y="row"), r"\(image, y, x\), optionally colour, got"),
    "light in text": (None, lambda s: s.astype(str), "stimulus must be real numbers"),
    "negative light": (None, lambda s: s - 500, "luminance must be finite and not negative"),
    "light without places": (None, lambda s: s.drop_vars("y"), "the stimulus must have a coordinate y in degrees"),
    "one row": (
        lambda r: r.isel(y=[0], v1_y=[0]),
        lambda s: s[:, :1],
        "the stimulus must have a coordinate y in degrees",
    ),
    "no trial": (
        lambda r: r.assign(lgn=r.lgn.expand_dims(trial=0)),
        None,
        "at least one repeat .*, got none of image 0",
    ),
    "gaze": (
        lambda r: r.assign_attrs(gaze_spread_deg="wide"),
        None,
        "attribute gaze_spread_deg must be .*, got 'wide'",
    ),
    "counts without window": (
        lambda r: r.assign(lgn=r.lgn.assign_attrs(units="spikes")),
        None,
        "must have the attribute window_s, start and end in seconds, got 'none'",
    ),
    "counts of an empty window": (
        lambda r: r.assign(lgn=r.lgn.assign_attrs(units="spikes")).assign_attrs(window_s=[0.2, 0.2]),
        None,
        r"window_s, .*got \[0.2, 0.2\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_responses_that_cannot_be_fitted_are_refused(name, light, recorded):
    """Before anything is fitted, in one line."""
    change, change_light, words = BAD[name]
    responses = recorded if change is None else change(recorded)
    shown = light if change_light is None else change_light(light)
    with pytest.raises(InputError, match=words) as raised:
        bridge.fit_responses(responses, shown)
    assert "\n" not in str(raised.value)


def test_channels_that_vary_in_held_out_images_only_are_refused(light, recorded):
    held = fitting.choose_held_out(light, 0.25, 0)
    silent = recorded.assign(
        lgn=recorded.lgn.where(xr.DataArray(held, dims="image") | (recorded.lgn_channel != "midget_off"), 2)
    )
    with pytest.raises(InputError, match="channels of lgn must vary, got no variance in midget_off"):
        bridge.fit_responses(silent, light)


def test_cell_types_without_numbers_are_matched_by_orientation(light, recorded):
    named = recorded.assign_coords(v1_channel=["a", "b", "c", "d"])
    for order in ([0, 1, 3, 2], [3, 0, 2, 1]):
        same(validate_data(light, named.isel(v1_channel=order))[1], validate_data(light, named)[1])


def test_integers_and_lazy_arrays_are_read(light, recorded, tmp_path):
    whole = recorded.assign(lgn=np.round(recorded.lgn).astype("u2"))
    np.testing.assert_array_equal(validate_data(light, whole)[1].lgn, np.round(recorded.lgn))
    recorded.to_zarr(tmp_path / "r.zarr", zarr_format=3, consolidated=False)
    stored = [xr.open_zarr(tmp_path / "r.zarr", chunks=None, consolidated=False)]
    if pytest.importorskip("dask"):
        stored.append(xr.open_zarr(tmp_path / "r.zarr", chunks={"image": 5, "y": 3}, consolidated=False))
    for one in stored:
        found = validate_data(light.chunk(image=7), one.isel(image=slice(None, None, -1)))[1]
        for name, values in validate_data(light, recorded)[1].items():
            np.testing.assert_array_equal(found[name], values)
            assert isinstance(found[name].data, np.ndarray)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"held_out": "a"}, "held_out must be one finite number .*, got 'a'"),
        ({"held_out": 1.0}, "held_out must be above 0 and below 1, got 1"),
        ({"seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ({"seed": 1.5}, "seed must be an integer of 0 or more, got 1.5"),
        ({"ablations": None}, "ablations must be names of mechanisms, got None"),
        ({"ablations": "push_pull"}, "ablations must be names of mechanisms, got 'push_pull'"),
    ],
)
def test_settings_of_a_fit_that_cannot_be_used_are_refused(light, recorded, settings, words):
    with pytest.raises(InputError, match=words):
        bridge.fit_responses(recorded, light, **settings)
    with pytest.raises(InputError, match="pathway must be a biomodel.Pathway, got NoneType"):
        bridge.fit_pathway(None, light, **settings)


# Repeats


def test_unequal_repeats_are_fitted_by_their_means(light, repeated, no_fit):
    """And scored by the noise of each image's own repeats; images count by their repeats."""
    _, report = bridge.fit_responses(repeated, light)
    assert report.scores.feve.notna().all() and (report.scores.feve > report.scores.r2).all()
    shown, responses = validate_data(light, repeated)
    recording = Recording.from_xarray(shown, responses, 0)
    np.testing.assert_allclose(recording.targets.responses["lgn"], np.nanmean(repeated.lgn, axis=1) / 0.15, rtol=1e-6)
    np.testing.assert_allclose(recording.targets.weights["lgn"], np.resize([3, 5, 7], IMAGES) / 5, rtol=1e-6)
    np.testing.assert_allclose(recording.subset(np.array([1, 4])).targets.weights["lgn"], [1.0, 1.0], rtol=1e-6)
    equal = validate_data(light, repeated.isel(trial=slice(3)))[1]
    assert not Recording.from_xarray(shown, equal, 0).targets.weights


def test_images_without_any_repeat_are_refused(light, repeated):
    gone = repeated.assign(lgn=repeated.lgn.where(repeated.image != "image 4").assign_attrs(units="spikes"))
    with pytest.raises(InputError, match="at least one repeat that is not NaN at every place, got none of image 4"):
        bridge.fit_responses(gone, light)


def test_a_single_repeat_has_no_feve(light, repeated, no_fit, caplog):
    _, report = bridge.fit_responses(repeated.isel(trial=[0]), light)
    assert report.scores.feve.isna().all() and report.scores.r2.notna().all()
    assert report.summary()["lgn"]["photographs"]["median_feve"] is None
    assert "feve of lgn in photographs is NaN: no image has two repeats" in caplog.text


def test_images_count_by_their_repeats():
    """The misfit is that of all trials, one by one."""
    random = np.random.default_rng(0)
    trials, repeats = random.random((4, 5, 1, 2, 2)), np.array([1, 2, 3, 4])
    mean = np.stack([one[:n].mean(axis=0) for one, n in zip(trials, repeats, strict=True)])
    targets = Targets(
        {"v1": torch.from_numpy(mean)},
        np.zeros(4, dtype=bool),
        weights={"v1": torch.from_numpy(repeats / repeats.mean())},
    )
    every = torch.arange(4)
    share = {
        p: float(targets.unexplained(lambda images, p=p: {"v1": torch.full((4, 1, 2, 2), p)}, every)["v1"])
        for p in (0.2, 0.7)
    }
    each = {
        p: np.concatenate([(one[:n] - p).ravel() ** 2 for one, n in zip(trials, repeats, strict=True)]).sum()
        for p in share
    }
    noise = sum(((one[:n] - m) ** 2).sum() for one, n, m in zip(trials, repeats, mean, strict=True))
    assert share[0.2] / share[0.7] == pytest.approx((each[0.2] - noise) / (each[0.7] - noise))
    assert targets.of("v1").weights.keys() == {"v1"}


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_feve_of_unequal_repeats_against_known_noise(share):
    """Noise that grows with the rate, and more repeats of some images: with half of the signal predicted, FEVe is .75."""
    random = np.random.default_rng(0)
    truth = random.gamma(4.0, 2.0, 6000)
    repeats = random.poisson(truth, (8, 6000)).astype(float)
    repeats[np.arange(8)[:, None] >= random.integers(1, 9, 6000)] = np.nan
    prediction = truth.mean() + share * (truth - truth.mean())
    assert feve(repeats, prediction) == pytest.approx(1 - (1 - share) ** 2, abs=0.03)
    every = random.poisson(truth, (8, 6000)).astype(float)
    padded = np.concatenate([every, np.full((3, 6000), np.nan)])[random.permutation(11)]
    assert feve(padded, prediction) == pytest.approx(feve(every, prediction), abs=1e-12)


def test_feve_of_equal_repeats_is_that_of_the_publication():
    random = np.random.default_rng(1)
    prediction = random.normal(5, 2, 30)
    response = prediction + random.normal(0, 1, 30) + random.normal(0, 2, (4, 30))
    noise = response.var(axis=0, ddof=1).mean()
    expected = 1 - (((response - prediction) ** 2).mean() - noise) / (response.var() - noise)
    assert feve(response, prediction) == pytest.approx(expected, rel=1e-12)


@pytest.fixture(scope="module")
def cells():
    """Ten cells, 40 images, up to six repeats; and the rates that they come from."""
    random = np.random.default_rng(2)
    labels = {
        "image": [f"i{k}" for k in range(40)],
        "cell": [f"cell {k}" for k in range(10)],
        "y": ("cell", random.random(10)),
        "x": ("cell", random.random(10)),
    }
    rates = xr.DataArray(random.gamma(2.0, 5.0, (40, 10)), labels, ("image", "cell"))
    counts = random.poisson(rates.values[:, None], (40, 6, 10)).astype(float)
    counts[np.arange(6)[None, :, None] >= random.integers(1, 7, (40, 1, 10))] = np.nan
    return xr.DataArray(counts, labels, ("image", "trial", "cell")), rates


@shuffles
@hypothesis.given(st.data())
def test_cells_in_any_order_have_the_same_scores(cells, data):
    response, rates = cells
    wanted = score_cells(response, rates).set_index("cell")
    assert (wanted.feve > wanted.r2).all() and wanted.feve.median() > 0.85 and (wanted.note == "").all()
    found = score_cells(shuffled(response, data), shuffled(rates, data)).set_index("cell")
    pd.testing.assert_frame_equal(found.loc[wanted.index], wanted, rtol=1e-9)


@pytest.mark.parametrize("dimension", ["image", "cell"])
@pytest.mark.parametrize("indexed", [False, True])
def test_cells_are_matched_by_all_labels_that_both_have(cells, dimension, indexed):
    """Also by those without an index, as `fit_responses` matches images."""
    response, rates = (
        one.drop_vars(["cell", "y", "x", "image"]).assign_coords(
            stim=("image", [f"s{k}" for k in range(40)]),
            unit=("cell", [k / 10 for k in range(10)]),
            day=("cell", np.arange(10).astype("datetime64[D]").astype("datetime64[ns]")),
        )
        for one in cells
    )
    if indexed:
        response, rates = (one.set_xindex("stim").set_xindex("unit") for one in (response, rates))
    order = np.random.default_rng(3).permutation(response.sizes[dimension])
    found = score_cells(response.isel({dimension: order}), rates).sort_values("unit", ignore_index=True)
    wanted = score_cells(response, rates)
    pd.testing.assert_frame_equal(found.drop(columns="cell"), wanted.drop(columns="cell"), rtol=1e-9)
    label = "stim" if dimension == "image" else "unit"
    changed = rates[label].values.copy()
    changed[3] = changed[4]
    with pytest.raises(InputError, match=f"predictions along {dimension} .*{label}"):
        score_cells(response, rates.drop_vars(label).assign_coords({label: (dimension, changed)}))


def test_images_of_several_levels_are_matched(cells):
    response, rates = (
        one.drop_vars(["image", "y", "x"])
        .assign_coords(scene=("image", np.arange(40) // 2), light=("image", [1.0, np.nan] * 20))
        .set_xindex(["scene", "light"])
        for one in cells
    )
    order = np.random.default_rng(3).permutation(40)
    other = response.isel(image=order)
    assert score_cells(other, rates).r2.tolist() == pytest.approx(score_cells(response, rates).r2.tolist())


def test_one_cell_many_cells_and_cells_without_positions(cells):
    response, rates = cells
    many = score_cells(response, rates)
    assert list(many)[:3] == ["cell", "y", "x"] and many.images.eq(40).all()
    assert many.repeats[0] == pytest.approx(float(response[..., 0].notnull().sum()) / 40)
    one = score_cells(response.isel(cell=3, drop=True), rates.isel(cell=3, drop=True))
    assert one.feve[0] == many.feve[3] and one.cell.tolist() == [0]
    bare = score_cells(response.drop_vars(["cell", "y", "x", "image"]), rates.drop_vars(["cell", "y", "x", "image"]))
    np.testing.assert_array_equal(bare.feve, many.feve)
    assert bare.cell.tolist() == list(range(10))
    mean = score_cells(response.mean("trial"), rates)
    assert mean.feve.isna().all() and mean.r2.tolist() == pytest.approx(many.r2.tolist())
    assert set(mean.note) == {"no image has two repeats"}


def test_cells_without_a_score_have_a_reason(cells):
    response, rates = cells
    odd = response.copy(deep=True)
    odd[..., 0] = np.nan
    odd[..., 1] = 4.0
    odd[:, 1:, 2] = np.nan
    odd[..., 3] = np.random.default_rng(0).permuted(np.tile([0.0, 1.0], (40, 3)), axis=1)
    table = score_cells(odd, rates)
    assert table.note[:5].tolist() == [
        "no responses",
        "the response does not vary over images",
        "no image has two repeats",
        "the response does not vary over images",
        "",
    ]
    assert table.images[0] == 0 and table.feve[:4].isna().all() and np.isnan(table.r2[0])
    noise = np.random.default_rng(5).normal(0, 1, (40, 6, 1))
    table = score_cells(
        xr.DataArray(noise - 0.9 * noise.mean(axis=1, keepdims=True), dims=response.dims),
        rates[:, :1].drop_vars(["image", "cell"]),
    )
    assert np.isnan(table.feve[0]) and table.note[0] == "no explainable variance"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r, p: (r.values, p), "responses must be an xarray.DataArray, got ndarray"),
        (lambda r, p: (r, p.values), "predictions must be an xarray.DataArray, got ndarray"),
        (lambda r, p: (r.rename(trial="repeat"), p), r"must have dimensions \(image\), optionally trial, cell, got"),
        (lambda r, p: (r, p.isel(cell=0, drop=True)), r"predictions must have the dimensions \('image', 'cell'\)"),
        (lambda r, p: (r[:30], p), "predictions must have 30 values along image, got 40"),
        (
            lambda r, p: (r, p.assign_coords(cell=range(10))),
            r"predictions along cell \(coordinates cell, x, y\) must have the label cell 0 .*, got 0 ",
        ),
        (lambda r, p: (r, p.assign_coords(image=["i0"] * 40)), "must be unique, .*, got i0 more than once"),
        (lambda r, p: (r, p.where(p < 5)), "predictions must be finite where responses are, got NaN for cell cell 0"),
        (lambda r, p: (r / 0, p), "responses must be finite, or NaN where an image was not shown, got infinity"),
        (lambda r, p: (r.astype(complex), p), "responses must be real numbers"),
        (lambda r, p: (r[:0], p[:0]), "responses must have at least one image and one cell"),
        (lambda r, p: (r[..., :0], p[:, :0]), "responses must have at least one image and one cell"),
    ],
)
def test_cells_that_cannot_be_scored_are_refused(cells, change, words):
    with pytest.raises(InputError, match=words):
        score_cells(*change(*cells))


# Other functions that take stimuli and responses


def test_scores_of_some_channels_are_those_of_their_names(front_end, light, recorded):
    every = score_front_end(front_end, "a", light, recorded).set_index(["station", "channel"])
    some = recorded.isel(lgn_channel=[2, 0], v1_channel=[3])
    found = score_front_end(front_end, "a", light, some).set_index(["station", "channel"])
    assert found.loc["lgn"].index.tolist() == ["midget_on", "parasol_on"]
    assert found.loc[("v1", "complex_1"), "r2"] == every.loc[("v1", "complex_1"), "r2"] > 0.999
    with pytest.raises(InputError, match="channels of v1 must be among simple_0, .*, got 'simple_7'"):
        other = recorded.assign_coords(v1_channel=["simple_7", "simple_1", "complex_0", "complex_1"])
        score_front_end(front_end, "a", light, other)
    with pytest.raises(InputError, match="variable 'background'"):
        score_front_end(front_end, "a", light, recorded.drop_vars("background"))


def test_a_front_end_subject_takes_names_and_gives_them(front_end, light, recorded):
    found = FrontEndSubject(front_end).simulate(light.isel(y=slice(None, None, -1)).T)
    for name in ("cone", "lgn", "v1"):
        xr.testing.assert_identical(
            found[name], recorded[name].drop_vars(["v1_kind", "v1_orientation"], errors="ignore")
        )
    for station, names in CHANNELS.items():
        assert tuple(found[f"{station}_channel"].values) == names
    assert found.image.equals(light.image)
    with pytest.raises(InputError, match="stimulus must have dimensions"):
        FrontEndSubject(front_end).simulate(light[0])


class Uniform:
    """A pathway whose responses are the luminances that it was adapted to."""

    preset = parameters = classical_centre = lesions = dt = None
    fidelity = "spiking"

    def simulate(self, stimulus, adapt_to, **settings):
        return xr.Dataset({"background": ("image", adapt_to)})


@pytest.mark.parametrize("levels", [[50, 60], [[50, 60, 70]], [], [50, -1, 60], [50, np.nan, 60], -5, np.inf])
def test_levels_of_other_numbers_or_values_are_refused(levels, front_end, light):
    """By all subjects, as `Pathway.simulate` refuses them."""
    subjects = [
        lambda: biomodel.Pathway(target="numpy").simulate(light[:3], levels, output="cone"),
        lambda: FrontEndSubject(front_end).simulate(light[:3], levels),
        lambda: TrialAveraged(Uniform()).simulate(light[:3], levels, 0.02, (0, 0.02), "lgn"),
        lambda: TrialAveraged(Uniform()).spike_counts(light[:3], levels, output="lgn"),
    ]
    for call in subjects:
        with pytest.raises(InputError, match="^adapt_to must be .*a luminance of 0 cd/m² or more, or one .*, got "):
            call()


@pytest.mark.parametrize("levels", [50, [50], np.array([[50.0]])[0], [50, 60, 70], 50 * cd_per_m2])
def test_levels_of_a_subject(levels, front_end, light):
    expected = np.broadcast_to(np.asarray(levels, dtype=float), 3)
    found = FrontEndSubject(front_end).simulate(light[:3], levels, output="cone")
    np.testing.assert_array_equal(found.background[:, 0, 0], expected)
    found = TrialAveraged(Uniform()).spike_counts(light[:3], levels, output="lgn")
    np.testing.assert_array_equal(found.background, expected)


@pytest.fixture(scope="module")
def of_pathway(recorded):
    """Responses with the attributes of a pathway of two kinds of V1 cells."""
    parameters = biomodel.Pathway(parameters={"v1.kinds": 2}).parameters.values_by_name()
    attributes = {"preset": "macaque_parafovea", "parameters": json.dumps(parameters), "pixels_per_degree": 16.0}
    return recorded.assign_attrs(attributes)


@shuffles
@hypothesis.given(st.data())
def test_the_orientation_field_goes_by_names(of_pathway, data):
    wanted, found = orientation_field(of_pathway), orientation_field(shuffled(of_pathway, data))
    places = {name: wanted[name] for name in ("image", "v1_y", "v1_x")}
    xr.testing.assert_identical(found.sel(places), wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.isel(image=0), r"responses of v1 must have dimensions \(image, v1_channel, v1_y, v1_x\)"),
        (
            lambda r: r.isel(v1_channel=[0, 2]),
            "complex cells of all types, complex_0 to complex_1, got 1 complex cells",
        ),
        (lambda r: r.sel(v1_channel=r.v1_kind == "simple"), "complex cells of all types"),
        (lambda r: r.expand_dims(trial=2), "average over trials first"),
        (lambda r: r.expand_dims(time=2), "average over time first"),
        (lambda r: r.v1, "responses must be an xarray.Dataset, got DataArray"),
        (lambda r: r.drop_attrs(), "responses must be those of Pathway.simulate with v1"),
        (lambda r: r.drop_vars("v1_channel"), "must have a coordinate v1_channel"),
    ],
)
def test_an_orientation_field_needs_all_complex_cells(of_pathway, change, words):
    with pytest.raises(InputError, match=words):
        orientation_field(change(of_pathway))


def test_the_derivative_field_goes_by_names(light):
    wanted = derivative_field(light, 0.1)
    xr.testing.assert_identical(derivative_field(light.T, 0.1), wanted)
    with pytest.raises(InputError, match=r"signal must have dimensions \(image, y, x\), got \('y', 'x'\)"):
        derivative_field(light[0], 0.1)


def test_a_pathway_takes_a_transposed_stimulus():
    """With colours and times too; the same bits."""
    pathway = biomodel.Pathway(target="numpy")
    settings = {"duration": 0.02, "window": (0.0, 0.02), "output": "cone"}
    movie = biomodel.luminance(np.random.default_rng(0).uniform(5, 200, (2, 2, 8, 9)), 16, frame_duration=0.01)
    colours = movie * xr.DataArray([0.2, 0.7, 0.1], {"colour": list(COLOURS)}, ["colour"])
    found = pathway.simulate(colours.transpose("x", "colour", "image", "y", "time"), **settings)
    xr.testing.assert_identical(found, pathway.simulate(colours, **settings))
    with pytest.raises(InputError, match="coordinate y must grow"):
        pathway.simulate(colours.isel(y=slice(None, None, -1)), **settings)


def test_arrays_with_names_are_shown_by_name(light):
    codes = xr.DataArray(
        np.random.default_rng(0).random((3, 8, 9, 3)), {"colour": list(COLOURS)}, ["image", "y", "x", "colour"]
    )
    display = biomodel.Display()
    wanted = display.show(codes.values)
    found = display.show(codes.isel(colour=[2, 0, 1]).transpose("colour", "x", "image", "y"))
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(biomodel.luminance(light.T, 16), light)
    for wrong, words in (
        (lambda: biomodel.luminance(light.rename(y="row"), 16), r"must have the dimensions \('image', 'y', 'x'\), got"),
        (lambda: biomodel.luminance(light.isel(y=slice(None, None, -1)), 16), "coordinate y of luminance must grow"),
        (
            lambda: display.show(codes.assign_coords(colour=["blue", "green", "grey"])),
            "coordinate colour of images must be",
        ),
        (lambda: display.show(codes.isel(image=0)), "images with named dimensions must have"),
    ):
        with pytest.raises(InputError, match=words):
            wrong()


def test_linear_kernels_go_by_names(light, recorded):
    wanted = linear_kernels(light, recorded.lgn, reach=0.07, ridge=1e-3)
    responses = recorded.lgn.isel(
        image=[3, 1, 0, 2, *range(11, 3, -1)], lgn_channel=[3, 1, 0, 2], x=slice(None, None, -1)
    )
    found = linear_kernels(light.isel(y=slice(None, None, -1)).T, responses.T, reach=0.07, ridge=1e-3)
    # The order of channels can change the last bit of a product of matrices.
    for one, other in zip(found, wanted, strict=True):
        xr.testing.assert_allclose(one.sel(lgn_channel=other.lgn_channel), other, rtol=1e-5, atol=1e-6)


def test_linear_kernels_of_responses_elsewhere_are_refused(light, recorded):
    for wrong, words in (
        (recorded.lgn.values, "responses must be an xarray.DataArray"),
        (recorded.lgn[:, 0], r"responses must have dimensions \(image, channel, y, x\), got"),
        (recorded.lgn[:5], "as many images as stimulus, 12, got 5"),
        (recorded.lgn[..., 1:], "a cell at every pixel of the stimulus, 16 along x"),
        (recorded.lgn.assign_coords(image=list("abcdefghijkl")), "must have the label"),
    ):
        with pytest.raises(InputError, match=words):
            linear_kernels(light, wrong)


def test_kernels_are_compared_by_names(front_end):
    degrees = np.arange(-2, 3) / 16
    labels = {"lgn_channel": front_end.station_channels["lgn"], "y": degrees, "x": degrees}
    kernels = xr.Dataset({"lgn": (tuple(labels), front_end.truncated("lgn").kernel(size=5).numpy())}, labels)
    settings = {"pathway": biomodel.Pathway(), "front_end": front_end, "station": "lgn", "size": 5}
    for other in (kernels, kernels.isel(lgn_channel=[2, 0, 3, 1], y=slice(None, None, -1)).transpose("x", "y", ...)):
        found = compare_kernels(simulated=other, **settings)
        np.testing.assert_array_equal(found.circuit, found.twin)
        assert found.labels == ("midget on", "midget off", "parasol on", "parasol off")
    for other, words in (
        (kernels.isel(lgn_channel=[0, 1]), "kernels of lgn must have 4 values along lgn_channel, got 2"),
        (
            kernels.assign_coords(lgn_channel=list("abcd")),
            "along lgn_channel must have the label midget_on, got a, b",
        ),
        (kernels.isel(y=slice(3)), "kernels of lgn must have 5 values along y, got 3"),
    ):
        with pytest.raises(InputError, match=words):
            compare_kernels(simulated=other, **settings)


def test_a_figure_of_stations_goes_by_names(light, recorded):
    with_units = recorded.copy()
    for name in with_units:
        with_units[name].attrs["units"] = "Hz"
    other = with_units.isel(lgn_channel=[2, 0, 3, 1]).transpose("x", "v1_x", ...)
    figures = [stations_figure.draw(light.values[1], one, image=1) for one in (with_units, other)]
    shown = [[ax.images[0].get_array() for ax in figure.axes if ax.images] for figure in figures]
    assert len(shown[0]) == len(shown[1]) > 10
    for one, two in zip(*shown, strict=True):
        np.testing.assert_array_equal(one, two)


def test_names_of_the_circuit_in_another_order_are_refused():
    with pytest.raises(InputError, match=r"channels\['lgn'\] must be in the order midget_on, .*, got parasol_on, "):
        bridge.FrontEnd(16.0, {"lgn": ["parasol_on", "parasol_off", "midget_on", "midget_off"]}, output="lgn")


def test_canonical_order_without_a_stimulus(recorded):
    found = canonical(recorded.isel(v1_channel=[3, 1, 0, 2], y=slice(None, None, -1)).transpose("x", ...))
    assert found.v1_channel.values.tolist() == recorded.v1_channel.values.tolist()
    assert found.lgn.dims == recorded.lgn.dims and float(found.y[0]) > 0
    assert list(canonical(recorded, names=("lgn",))) == ["lgn"]
    colours = canonical_light((recorded.background * xr.DataArray([0.5, 0.5], dims="colour")).T)
    np.testing.assert_allclose(colours, recorded.background)
    with pytest.raises(InputError, match="counts of spikes must have the attribute window_s"):
        in_rates(recorded.assign(lgn=recorded.lgn.assign_attrs(units="spikes")))
