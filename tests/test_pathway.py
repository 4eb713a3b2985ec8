import brian2
import numpy as np
import pytest
from brian2 import amp, ms, mV, nS, second
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc

from biomodel import (
    PRESETS,
    STATIONS,
    Display,
    GazeAdapted,
    InputError,
    LuminanceRangeWarning,
    Pathway,
    Region,
    Store,
    luminance,
)
from biomodel.analysis.equivalent_kernels import equivalent_kernels, probe
from biomodel.circuit.cell_types import cell_types
from biomodel.circuit.coupled_layer import coupling, solve_coupled_layer
from biomodel.circuit.lattice import gaussian_weights
from biomodel.circuit.retina import REMOTE_STRIDE
from biomodel.engine import executors, toolchain
from biomodel.parameters import Parameters
from biomodel.physiology import measures
from biomodel.utils.units import UNITS, cd_per_m2

SYMMETRIC = {
    "bipolar.diffuse_on_over_off": 1,
    "bipolar.on_saturation": 100,
    "bipolar.off_saturation": 100,
    "ganglion.midget_on_maintained": 30,
    "ganglion.midget_off_maintained": 30,
    "ganglion.parasol_on_maintained": 60,
    "ganglion.parasol_off_maintained": 60,
    "ganglion.parasol_on_transience_time": 40,
    "ganglion.parasol_off_transience_time": 40,
    "ganglion.parasol_on_integration_time": 2,
    "ganglion.parasol_off_integration_time": 2,
}


def spot(contrast, size=16, background=100.0, at=(6, 9)):
    image = np.full((size, size), background)
    image[at[0] : at[0] + 3, at[1] : at[1] + 2] *= 1 + contrast
    return image


def test_first_order_stage_meets_its_closed_form():
    """Without adaptation and feedback a cone is a cascade of first-order stages: a step gives a gamma distribution.

    r(t)/r(∞) is the distribution function of the sum of five exponential delays of τ_y and one of τ_r; with τ_r and the
    step alike it is that of a gamma distribution of order 6 (Laplace transform of the cascade).
    """
    errors = []
    for dt in (0.1, 0.05):
        pathway = Pathway(
            parameters={"cone.desensitisation": 0, "cone.cascade_time": 8, "cone.response_time": 8},
            lesions=["horizontal_feedback"],
            dt=dt,
            target="numpy",
        )
        step = luminance(np.full((1, 8, 8), 120.0), 16)
        trace = pathway.simulate(
            step, adapt_to=100.0, output="cone", record="trace", duration=0.1, window=(0, 0.1)
        ).cone
        course = (trace[0, :, 4, 4] - trace[0, 0, 4, 4]) / (0.2 * trace[0, 0, 4, 4])
        errors.append(np.abs(course - gammainc(6, trace.time.values / 0.008)).max().item())
    assert errors[1] < 4e-3
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def test_relay_meets_its_closed_form():
    """A relay cell is first-order: silent ganglion cells leave it decaying as exp(-t/τ)."""
    pathway = Pathway(
        target="numpy",
        parameters={
            "ganglion.membrane_time": 0.5,
            "ganglion.midget_on_maintained": 0,
            "bipolar.on_gain": 1e-3,
            "ganglion.midget_gain": 1e-3,
        },
    )
    network = pathway.network(luminance(np.full((1, 8, 8), 100.0), 16), adapt_to=100.0, output="lgn")
    network["lgn"].midget_on = 40 * brian2.Hz
    preferred = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        network.run(20 * ms, namespace={})
    finally:
        brian2.prefs.codegen.target = preferred
    assert np.allclose(network["lgn"].midget_on / brian2.Hz, 40 * np.exp(-20 / 4), rtol=1e-3)


@pytest.mark.parametrize("adapt_to", ["gaze", [50.0, 400.0]])
def test_even_field_leaves_maintained_rates(even, adapt_to):
    pathway = Pathway(target="numpy")
    responses = pathway.simulate(even, adapt_to=adapt_to, output="lgn")
    for channel, rate in (("midget_on", 36), ("midget_off", 25), ("parasol_on", 37), ("parasol_off", 30)):
        assert np.allclose(responses.ganglion.sel(ganglion_channel=channel), rate, rtol=1e-6)
        assert np.allclose(responses.lgn.sel(lgn_channel=channel), rate / 2, rtol=1e-6)


def test_inverted_contrast_swaps_on_and_off():
    """To first order in contrast; at 3 % the compressive cone leaves a difference of its own order."""
    pathway = Pathway(target="numpy", parameters=SYMMETRIC)
    responses = pathway.simulate(luminance([spot(0.03), spot(-0.03)], 16), adapt_to=100.0, output="lgn")
    light, dark = responses.lgn.values - np.array([15, 15, 30, 30])[:, None, None]
    for on, off in ((0, 1), (2, 3)):
        assert np.abs(light[on]).max() > 0.4
        assert np.allclose(light[on], dark[off], atol=0.06 * np.abs(light[on]).max())
        assert np.allclose(light[off], dark[on], atol=0.06 * np.abs(light[on]).max())


def test_shifted_image_gives_shifted_responses():
    """By whole squares of the lattice of remote amacrine cells, against an even field, away from what the surround reaches."""
    pathway = Pathway(target="numpy")
    shift = REMOTE_STRIDE
    images = luminance([spot(0.5, 40, at=(18, 18)), spot(0.5, 40, at=(18 + shift, 18 - shift))], 16)
    lgn = (
        pathway.simulate(images, adapt_to=100.0, output="lgn").lgn.values
        - np.array([18, 12.5, 18.5, 15])[:, None, None]
    )
    shifted = np.roll(lgn[0], (shift, -shift), axis=(1, 2))
    assert np.allclose(shifted[:, 12:28, 12:28], lgn[1][:, 12:28, 12:28], atol=2e-3 * np.abs(lgn).max())


def test_numpy_and_cpp_agree(patches, responses):
    slow = Pathway(target="numpy", parameters={"v1.kinds": 4}).simulate(patches[:2])
    for station in STATIONS:
        fast = responses[station][:2].values
        assert np.abs(fast - slow[station].values).max() <= 1e-6 * np.abs(fast).max()


def test_responses_do_not_depend_on_neighbours(patches, responses, few_kinds):
    alone = few_kinds.simulate(patches[20:21])
    for station in STATIONS:
        assert np.allclose(alone[station][0], responses[station][20], rtol=1e-10, atol=1e-12)


@pytest.mark.all
def test_cells_near_the_middle_are_recorded_as_if_all_were(patches, responses, few_kinds):
    middle = few_kinds.simulate(patches[:9], region=Region(record=0.2))
    assert middle.sizes["y"] == middle.sizes["x"] == 6
    whole = responses.isel(image=slice(9))
    for station in STATIONS:
        axes = {"v1_y": middle.v1_y, "v1_x": middle.v1_x} if station == "v1" else {"y": middle.y, "x": middle.x}
        assert np.array_equal(middle[station], whole[station].sel(axes))
    settings = {"output": "cone", "record": "trace", "duration": 0.06, "window": (0.0, 0.06)}
    pathway = Pathway(target="numpy")
    few, every = (pathway.simulate(patches[:2], region=Region(record=within), **settings) for within in (0.1, None))
    assert few.sizes["y"] == 4 and np.array_equal(few.cone, every.cone.sel(y=few.y, x=few.x))


def test_settled_state_is_where_the_slow_way_arrives():
    """Ten seconds in front of an uneven field, from an even one, end within 1 % of the closed form."""
    rng = np.random.default_rng(0)
    field = luminance(rng.uniform(20, 200, (1, 12, 12)), 16)
    slow = Pathway(
        target="numpy",
        dt=1.0,
        # A natural pupil would keep its area for the even field.
        parameters={"bipolar.adaptation_time": 150, "cone.slow_adaptation_time": 150, "cone.pupil_reflex": 0},
    )
    slowly = slow.simulate(field, adapt_to=100.0, output="lgn", duration=2.5, window=(2.49, 2.5))
    settled = slow.simulate(field, adapt_to=GazeAdapted(0), output="lgn")
    for station in STATIONS[:5]:
        scale = np.abs(settled[station]).max() if station != "bipolar" else 1.0
        assert np.abs(slowly[station] - settled[station]).max() <= 0.01 * scale


def test_previous_starts_where_the_last_image_ended():
    pathway = Pathway(target="numpy")
    images = luminance(np.stack([np.full((12, 12), v) for v in (50.0, 50.0, 200.0)]), 16)
    on = pathway.simulate(images, adapt_to="previous", output="lgn").lgn[:, 0, 6, 6].values
    assert np.allclose(on[:2], 18, rtol=1e-6)
    assert on[2] > 20
    again = pathway.simulate(images[2:], adapt_to="previous", output="lgn").lgn[0, 0, 6, 6].item()
    assert again < on[2]


def test_feedback_lesion_keeps_the_operating_point_and_removes_the_surround(even):
    flash = luminance(np.full((1, 16, 16), 110.0), 16)
    linear = {"ganglion.midget_transience": 0, "bipolar.on_saturation": 1e6, "bipolar.luminance_time": 1e5}
    intact, lesioned = (
        Pathway(target="numpy", lesions=lesions, parameters=linear)
        .simulate(flash, adapt_to=100.0, output="ganglion")
        .ganglion[0, 0, 8, 8]
        .item()
        - 36
        for lesions in ((), ("horizontal_feedback",))
    )
    # Integrated surround/centre is .55: of a full-field step .45 is left.
    assert intact / lesioned == pytest.approx(0.45, abs=0.06)


def test_cone_adaptation_lesion_makes_the_cone_linear():
    levels = luminance(np.array([10.0, 1000.0])[:, None, None] * np.ones((2, 8, 8)), 16)
    # Behind an artificial pupil: the natural one is smaller in bright light.
    pathway = Pathway(target="numpy", lesions=["cone_adaptation"], parameters={"cone.pupil_reflex": 0})
    cone = pathway.simulate(levels, output="cone").cone[:, 0, 0].values
    assert cone[1] / cone[0] == pytest.approx(100, rel=1e-6)


def test_movie_of_a_still_image_is_that_image():
    pathway = Pathway(target="numpy")
    image = spot(0.4, 12)
    still = pathway.simulate(luminance([image], 16), adapt_to=100.0, output="lgn")
    movie = luminance(np.repeat(image[None, None], 10, axis=1), 16, frame_duration=0.02)
    moving = pathway.simulate(movie, adapt_to=100.0, output="lgn")
    assert np.allclose(still.lgn, moving.lgn, rtol=1e-9)


def test_v1_prefers_its_orientation(few_kinds):
    """Complex cells of every kind, met with gratings of its frequency, within one step of the series."""
    ys, xs = (np.mgrid[:32, :32] - 16) / 16
    orientations, phases = np.arange(0, 180, 22.5), np.arange(4) * np.pi / 2
    cells = cell_types(few_kinds.parameters, 16.0)
    images = []
    for cell in cells:
        for angle in np.deg2rad(orientations):
            across = 2 * np.pi * cell.frequency * (xs * np.sin(angle) + ys * np.cos(angle))
            images += [100 * (1 + 0.5 * np.cos(across + phase)) for phase in phases]
    v1 = few_kinds.simulate(luminance(images, 16), adapt_to=100.0, workers=2).v1[:, :, 8, 8]
    complex_cells = v1.values.reshape(len(cells), len(orientations), len(phases), -1)[..., len(cells) :].mean(axis=2)
    for k, cell in enumerate(cells):
        away = orientations[complex_cells[k, :, k].argmax()] - cell.orientation
        assert abs((away + 90) % 180 - 90) <= 22.5
    assert (v1.v1_kind.values == ["simple"] * len(cells) + ["complex"] * len(cells)).all()


@pytest.mark.parametrize(
    ("output", "contrast", "size"), [("lgn", 0.0, 25), pytest.param("v1", 0.5, 21, marks=pytest.mark.all)]
)
def test_equivalent_kernel_predicts_a_weak_image(few_kinds, output, contrast, size):
    """To first order, a weak image changes the central unit's response by its product with the unit's kernel."""
    # An even field has few images, and compiling takes longer than they do.
    pathway = Pathway(target="numpy") if output == "lgn" else few_kinds
    state = probe(100.0, contrast, size, 1)
    kernels = equivalent_kernels(pathway, 100.0, size=size, output=output, contrast=contrast, seed=1)[output].values
    weak = 0.001 * 100 * np.random.default_rng(0).standard_normal((size, size))
    responses = pathway.simulate(luminance([state + weak, state - weak], 16), adapt_to=100.0, output=output)
    at = size // 4 if output == "v1" else size // 2
    light, dark = responses[output][:, :, at, at].values
    expected = (kernels * weak).sum(axis=(1, 2))
    firing = np.abs(kernels).max(axis=(1, 2)) > 0
    assert firing.sum() >= 4
    assert np.allclose((light - dark)[firing] / 2, expected[firing], atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_has_unit_and_source(preset):
    for name, parameter in Parameters(preset).items():
        assert parameter.unit in UNITS, name
        assert len(parameter.source) > 5 and parameter.origin in ("published", "derived", "calibrated"), name
        assert parameter.low <= parameter.value <= parameter.high, name


@given(sigma=st.floats(0.3, 8))
def test_gaussian_stencil_holds_its_mass(sigma):
    weights = gaussian_weights(sigma)
    assert weights[0] + 2 * weights[1:].sum() == pytest.approx(1)
    assert (np.diff(weights) <= 0).all()


@settings(max_examples=20)
@given(space_constant=st.floats(0.5, 20), limit=st.floats(22, 100))
def test_coupled_layer_keeps_its_space_constant_and_an_even_field(space_constant, limit):
    layer = coupling(space_constant, limit)
    assert layer.space_constant == pytest.approx(space_constant)
    assert 8 * len(layer.hops) * layer.strength <= limit
    assert np.allclose(solve_coupled_layer(layer, 2.0, np.ones((1, 9, 7))), 0.5)


def test_display_decodes_srgb():
    display = Display(peak=100, black=1, pixels_per_degree=8)
    codes = np.zeros((1, 2, 2), np.uint8)
    codes[0, 0] = (255, 188)
    light = display.show(codes).values
    # IEC 61966-2-1: code 188 is half of the light.
    assert light[0, 0, 0] == pytest.approx(100)
    assert light[0, 0, 1] == pytest.approx(1 + 99 * 0.5029, rel=1e-3)
    grey = np.repeat(codes[..., None], 3, axis=-1)
    assert np.allclose(display.show(grey).sum("colour"), light)


def test_luminance_range_warns_once():
    pathway = Pathway(target="numpy")
    dark = luminance(np.full((1, 8, 8), 0.1), 16)
    with pytest.warns(LuminanceRangeWarning, match="no rods"):
        pathway.simulate(dark, output="cone")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", LuminanceRangeWarning)
        pathway.simulate(dark, output="cone")


def test_quantities_are_accepted():
    pathway = Pathway(parameters={"horizontal.coupling": 3 * nS}, dt=0.5 * ms, target="numpy")
    assert pathway.parameters.value("horizontal.coupling") == pytest.approx(3)
    flash = luminance(np.full((1, 8, 8), 110.0), 16)
    given_units = pathway.simulate(flash, 100 * cd_per_m2, 0.1 * second, (50 * ms, 100 * ms), output="lgn")
    plain = pathway.simulate(flash, 100.0, 0.1, (0.05, 0.1), output="lgn")
    assert np.array_equal(given_units.lgn, plain.lgn)


GOOD = np.full((1, 32, 32), 50.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: luminance(np.where(np.eye(32) > 0, np.nan, GOOD), 16), "nan"),
        (lambda: luminance(np.where(np.eye(32) > 0, np.inf, GOOD), 16), "inf"),
        (lambda: luminance(-GOOD, 16), "-50"),
        (lambda: Pathway().simulate(-luminance(GOOD, 16)), "-50"),
        (lambda: luminance(GOOD[0], 16), "2 dimensions"),
        (lambda: luminance(GOOD[:0], 16), "at least one image"),
        (lambda: Display().show(GOOD), r"\[0, 1\]"),
        (lambda: Display().show(np.full((1, 8, 8), -0.1)), r"-0.1"),
        (lambda: Display().show(np.zeros((8, 8))), "shape"),
        (lambda: Display().show(np.zeros((0, 8, 8))), "at least one image"),
        (lambda: Display(peak=1, black=2), "black must be 0 or more and less than peak = 1 cd/m², got 2"),
        (lambda: Pathway().simulate(luminance(GOOD[:, :12], 16)), "at least 29×29 pixels"),
        (lambda: Pathway().simulate(GOOD), "ndarray"),
        (lambda: Pathway("cat"), "preset must be one of macaque_parafovea, macaque_fovea, got 'cat'"),
        (lambda: Pathway(fidelity="quantum"), "quantum"),
        (lambda: Pathway(parameters={"cone.speed": 1}), "cone.speed"),
        (lambda: Pathway(parameters={"horizontal.coupling": 3 * mV}), "horizontal.coupling"),
        (lambda: Pathway(parameters={"horizontal.coupling": -3}), "horizontal.coupling"),
        (lambda: Pathway(lesions=["cortex"]), "cortex"),
        (lambda: Pathway(dt=1 * amp), "dt"),
        (lambda: Pathway().simulate(luminance(GOOD, 16), adapt_to=-1.0), "adapt_to"),
        (lambda: Pathway().simulate(luminance(GOOD, 16), adapt_to="yesterday"), "yesterday"),
        (lambda: Pathway().simulate(luminance(GOOD, 16), window=(0.1, 0.3)), r"window must fulfil .* got \(0.1, 0.3\)"),
        (lambda: Pathway().simulate(luminance(GOOD, 16), output="it"), "output must be one of cone, .*, got 'it'"),
        (
            lambda: Pathway().simulate(luminance(GOOD, 16), region=Region(record=0.02)),
            "region.record must reach a cell of cone, got 0.02",
        ),
        (
            lambda: Pathway().simulate(luminance(GOOD, 16), output="cone", region=Region(v1=-1)),
            "region.v1 must be above 0",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(InputError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_without_a_compiler_the_numpy_target_is_taken_with_one_warning(monkeypatch, caplog):
    monkeypatch.setattr(toolchain, "compiler", lambda: None)
    executors.available_target.cache_clear()
    caplog.set_level("WARNING", logger="precortical")
    try:
        flash = luminance(np.full((1, 8, 8), 110.0), 16)
        for _ in range(2):
            Pathway().simulate(flash, adapt_to=100.0, output="cone")
        assert sum("no C++ compiler" in r.message for r in caplog.records) == 1
    finally:
        executors.available_target.cache_clear()


@pytest.fixture(scope="module")
def steps():
    """A pathway at its usual step, and at half of it, for which compilation would take longer than a few images."""
    return Pathway(), Pathway(dt=0.25, target="numpy")


def test_half_the_step_changes_no_mean_rate(steps, patches):
    """Sudden photographs are the hardest case: everything that is transient answers to them."""
    coarse, fine = (pathway.simulate(patches[:4], adapt_to=40.0, output="lgn") for pathway in steps)
    for station in STATIONS[: STATIONS.index("v1_input")]:
        kinds = [name for name in coarse[station].dims if name != f"{station}_channel"]
        assert np.abs(coarse[station].mean(kinds) / fine[station].mean(kinds) - 1).max() <= 0.01, station


def test_half_the_step_changes_no_latency(steps):
    # Of the size of the photographs before, whose circuits are compiled.
    flashes = luminance(np.stack([spot(contrast, 32, at=(14, 17)) for contrast in (0.98, -0.98)]), 16)
    setting = {"adapt_to": 100.0, "output": "lgn", "record": "trace", "duration": 0.15, "window": (0, 0.15)}
    traces = [pathway.simulate(flashes, **setting).isel(y=15, x=17) for pathway in steps]
    for station in STATIONS[: STATIONS.index("v1_input")]:
        found = []
        for trace in traces:
            rows = trace[station].transpose("image", ..., "time").values.reshape(2, -1, trace.sizes["time"])
            on, off = range(0, rows.shape[1], 2), range(1, rows.shape[1], 2)
            courses = [rows[0, k] for k in on] + [rows[1, k] for k in off]
            found.append([measures.half_rise_time(1000 * trace.time.values, course) for course in courses])
        assert np.isfinite(found).all(), station
        assert np.abs(np.subtract(*found)).max() <= 2.0, station


@pytest.mark.all
def test_foveal_cortex_stands_on_a_fine_lattice():
    """At 27 px/deg V1's surround reaches too many cells for V1's own clock: it ticks more often, and half of dt changes as little
    as at 16 px/deg, 1 % of the maximum."""
    noise = np.random.default_rng(0).choice((-1.0, 1.0), size=(1, 16, 16))
    stimulus = luminance(100 * (1 + 0.5 * noise), 27)
    told = [
        Pathway("macaque_fovea", parameters={"v1.kinds": 2}, dt=dt, target="numpy").simulate(stimulus, adapt_to=100.0)
        for dt in (0.5, 0.25)
    ]
    coarse, fine = (responses.v1.values for responses in told)
    assert np.ptp(fine) > 1
    assert np.abs(coarse - fine).max() < 0.02 * np.abs(fine).max()


def test_replace_changes_what_is_named_and_keeps_the_rest():
    spiking = Pathway(
        "macaque_fovea", "spiking", {"v1.kinds": 3, "v1.dendritic_time": 20}, ["push_pull"], 0.25, "numpy"
    )
    rate = spiking.replace(fidelity="rate", lesions=(), parameters={"lgn.transfer": 0.4})
    kept = (rate.preset, rate.dt, rate.target, rate.parameters.value("v1.kinds"))
    assert kept == ("macaque_fovea", 0.25, "numpy", 3)
    assert (rate.fidelity, rate.lesions, rate.parameters.value("lgn.transfer")) == ("rate", (), 0.4)
    assert spiking.replace().parameters.digest == spiking.parameters.digest
    with pytest.raises(InputError, match="changes must be among preset, .*, got 'lesion'"):
        spiking.replace(lesion=())


def test_frame_durations_are_seconds_or_quantities():
    light = np.ones((1, 3, 8, 8))
    for frame_duration in (0.02, 20 * ms, 0.02 * second):
        assert np.allclose(luminance(light, 16, frame_duration).time, [0, 0.02, 0.04], rtol=1e-12)
    with pytest.raises(InputError, match="frame_duration must be a quantity in s, got 20. mV"):
        luminance(light, 16, 20 * mV)


def test_cells_outside_the_region_of_spiking_cells_are_not_recorded():
    pathway = Pathway(fidelity="spiking", target="numpy")
    field = luminance(np.full((1, 12, 13), 100.0), 16)
    found = pathway.simulate(field, 100.0, 0.02, (0, 0.02), output="ganglion", region=Region(spiking=0.2))
    assert found.cone.sizes["x"] == found.ganglion.sizes["x"] == 7


def test_the_recorded_region_ends_where_spiking_cells_end():
    pathway = Pathway(fidelity="spiking", target="numpy")
    field = luminance(np.full((1, 12, 13), 100.0), 16)
    region = Region(record=0.45, spiking=0.2)
    found = pathway.simulate(field, 100.0, 0.02, (0, 0.02), output="ganglion", region=region)
    assert found.cone.sizes["x"] == found.ganglion.sizes["x"] == 7


def test_sequences_in_other_regions_do_not_share_their_states(even):
    pathway = Pathway(parameters={"v1.kinds": 2}, target="numpy")
    fields = luminance(np.full((1, 32, 32), 60.0), 16)
    settings = {"adapt_to": "previous", "duration": 0.02, "window": (0, 0.02)}
    everywhere = pathway.simulate(fields, **settings)
    near = pathway.simulate(fields, region=Region(v1=0.3), **settings)
    assert near.v1.sizes["v1_x"] < everywhere.v1.sizes["v1_x"]


def test_integers_of_numpy_are_accepted(even, tmp_path):
    pathway = Pathway(target="numpy")
    settings = {"output": "cone", "duration": 0.02, "window": (0, 0.02), "seed": np.int64(1), "trials": np.int64(1)}
    found = pathway.simulate(even, store=Store(tmp_path, np.int64(1)), **settings)
    assert found.attrs["seed"] == 1 and isinstance(Store("runs", np.int64(4)).chunk, int)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Pathway(parameters=["v1.kinds"]), "parameters must be a mapping of names to values"),
        (lambda: Pathway(lesions=5), "lesions must be names of lesions, got 5"),
        (lambda: Pathway().simulate(luminance(GOOD, 16), window=0.2), "window must be a start and an end in seconds"),
        (lambda: Pathway().simulate(luminance(GOOD, 16) * 1j), "luminance must be numbers in cd/m², got type complex"),
        (lambda: GazeAdapted(-1), "sd of gaze must be a number of degrees of 0 or more, got -1"),
        (lambda: Store(5), "folder must be a path, got 5"),
    ],
)
def test_arguments_of_other_types_are_input_errors(call, words):
    with pytest.raises(InputError, match=words):
        call()
