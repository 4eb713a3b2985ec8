"""Ganglion cells: equations of `biomodel.circuit.retina` against their closed forms."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, StateMonitor, ms, mV, prefs

from biomodel import Pathway
from biomodel.circuit import retina
from biomodel.circuit.coupled_layer import coupling, solve_coupled_layer, stability_limit
from biomodel.circuit.lattice import Grid
from biomodel.circuit.retina import BIPOLAR_CHANNELS, GANGLION_CHANNELS
from biomodel.circuit.station import Setting
from biomodel.images import photographs
from biomodel.parameters import Parameters

PARASOL = ("parasol_on", "parasol_off")


@pytest.fixture(autouse=True)
def numpy_target():
    before, prefs.codegen.target = prefs.codegen.target, "numpy"
    yield
    prefs.codegen.target = before


def setting(lesions=(), overrides=None, **size):
    grid = Grid(**({"images": 1, "height": 1, "width": 1, "pixels_per_degree": 16.0} | size))
    return Setting(Parameters("macaque_parafovea", overrides), lesions, grid, 0.1 * ms)


def respond(duration, bipolar=0.0, contrast=0.0, remote=0.0, adapted=0.0, lesions=(), overrides=None):
    """Times in ms, and variables (place, time), for constant input (place,) in mV from t = 0 on."""
    places = np.size(bipolar)
    bipolars = NeuronGroup(places, "\n".join(f"{c} : volt" for c in BIPOLAR_CHANNELS))
    pool, wide = (NeuronGroup(places, "pooled : volt") for _ in range(2))
    group = retina.ganglion(setting(lesions, overrides, images=places), bipolars, pool, wide)
    for channel in BIPOLAR_CHANNELS:
        setattr(bipolars, channel, bipolar * mV)
    pool.pooled, wide.pooled = contrast * mV, remote * mV
    parameters = Parameters("macaque_parafovea", overrides)
    for channel in GANGLION_CHANNELS:
        setattr(group, channel, parameters[f"ganglion.{channel}_maintained"].quantity)
    if "contrast_adaptation" not in lesions:
        group.adapted = adapted * mV
    names = [c for channel in GANGLION_CHANNELS for c in (channel, f"{channel}_excitation")]
    names += [] if "contrast_adaptation" in lesions else ["adapted"]
    monitor = StateMonitor(group, names, record=True, dt=1 * ms)
    Network(bipolars, pool, wide, group, monitor).run(duration * ms)
    found = {name: np.squeeze(np.asarray(getattr(monitor, name))) for name in names}
    return np.asarray(monitor.t / ms), found


def value(name, overrides=None, station="ganglion"):
    return Parameters("macaque_parafovea", overrides).value(f"{station}.{name}")


@pytest.mark.parametrize("channel", PARASOL)
@pytest.mark.parametrize(("contrast", "remote"), [(0.0, 0.0), (5.0, 0.0), (20.0, 0.0), (0.0, 15.0), (5.0, 30.0)])
def test_contrast_shortens_the_time_constant_of_the_transient(channel, contrast, remote):
    # Victor 1987, Benardete & Kaplan 1999: T_S = T_0 / (1 + c / c_half); remote contrast adds its share to c.
    times, found = respond(120, bipolar=1.0, contrast=contrast, remote=remote, adapted=contrast)
    excitation = found[f"{channel}_excitation"]
    lasting = value("parasol_gain") * (1 - value("parasol_transience")) / (1 + contrast / value("adaptation_half"))
    effective = contrast + value("remote_weight") * remote
    expected = value(f"{channel}_transience_time") / (1 + effective / value("contrast_half"))
    above = excitation - lasting
    fitted = (times >= 30) & (above > 1e-6 * above.max())
    slope = np.polyfit(times[fitted], np.log(above[fitted]), 1)[0]
    assert -1 / slope == pytest.approx(expected, rel=0.02)


def test_steady_excitation_is_the_share_that_lasts():
    _, found = respond(400, bipolar=2.0, contrast=15.0, adapted=15.0)
    for channel in GANGLION_CHANNELS:
        cells = retina.cell_class(channel)
        divisor = 1 + 15.0 / value("adaptation_half") if cells == "parasol" else 1.0
        expected = value(f"{cells}_gain") * 2.0 * (1 - value(f"{cells}_transience")) / divisor
        assert found[f"{channel}_excitation"][-1] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("channel", GANGLION_CHANNELS)
def test_rates_end_at_one_spike_per_recovery_time(channel):
    cells = retina.cell_class(channel)
    lasts = {f"ganglion.{cells}_transience": 0.0}
    recovery, maintained = value(f"{cells}_recovery_time") / 1000, value(f"{channel}_maintained")
    bipolar = np.array([0.0, 0.001, 3.0, 1e5, -0.001, -1e5])
    rates = respond(60, bipolar, overrides=lasts)[1][channel][:, -1]
    e, left = value(f"{cells}_gain") * bipolar, 1 - recovery * maintained
    # Renewal process with a dead time: the mean rate of a free rate f is f / (1 + ρ f).
    free = np.maximum(maintained / left + e / left**2, 0.0)
    np.testing.assert_allclose(rates, free / (1 + recovery * free), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(rates[[1, 4]] - maintained, e[[1, 4]], rtol=1e-2)
    assert 0.99 / recovery < rates[3] < 1 / recovery


def test_contrast_of_the_last_seconds_is_remembered():
    times, found = respond(500, contrast=10.0)
    expected = 10e-3 * (1 - np.exp(-times / value("adaptation_time")))
    np.testing.assert_allclose(found["adapted"], expected, atol=2e-6)


def test_midget_cells_do_not_adapt_to_contrast():
    _, plain = respond(60, bipolar=1.0)
    _, other = respond(60, bipolar=1.0, contrast=20.0, remote=40.0, adapted=30.0)
    np.testing.assert_allclose(other["midget_on_excitation"], plain["midget_on_excitation"], rtol=1e-9)
    assert other["parasol_on_excitation"].max() < 0.5 * plain["parasol_on_excitation"].max()


#: Effects of contrast that a lesion removes, in mV.
REMOVED = {
    "contrast_gain": {"contrast": 20.0, "remote": 40.0},
    "remote_suppression": {"remote": 40.0},
    "contrast_adaptation": {"adapted": 30.0},
}


@pytest.mark.parametrize("lesion", REMOVED)
def test_each_lesion_removes_its_effects_of_contrast(lesion):
    # Memory that does not change within the test.
    fixed = {"ganglion.adaptation_time": 1e5}
    _, plain = respond(60, bipolar=1.0, overrides=fixed)
    _, found = respond(60, bipolar=1.0, lesions=(lesion,), overrides=fixed, **REMOVED[lesion])
    _, intact = respond(60, bipolar=1.0, overrides=fixed, **REMOVED[lesion])
    for channel in GANGLION_CHANNELS:
        name = f"{channel}_excitation"
        np.testing.assert_allclose(found[name], plain[name], rtol=2e-3, atol=1e-9)
        assert channel not in PARASOL or intact[name].mean() < 0.9 * plain[name].mean()


def test_the_contrast_nearby_stays_without_the_remote_one():
    _, expected = respond(60, bipolar=1.0, contrast=20.0)
    _, found = respond(60, bipolar=1.0, contrast=20.0, remote=40.0, lesions=("remote_suppression",))
    for channel in PARASOL:
        np.testing.assert_allclose(found[f"{channel}_excitation"], expected[f"{channel}_excitation"], rtol=1e-9)


def test_a_coarser_lattice_has_a_cell_for_each_square():
    """Two images of 5 × 6 cells, which no square of 4 × 4 cells divides: indices by hand."""
    coarse, middles, squares = Grid(2, 5, 6, 16.0).coarser(4)
    assert coarse == Grid(2, 2, 2, 4.0)
    # The third of four rows or columns; the last one of those that are left over.
    first = [2 * 6 + 2, 2 * 6 + 5, 4 * 6 + 2, 4 * 6 + 5]
    assert middles.tolist() == [*first, *(30 + cell for cell in first)]
    upper, lower = [0, 0, 0, 0, 1, 1], [2, 2, 2, 2, 3, 3]
    assert squares.tolist() == [k + cell for k in (0, 4) for cell in upper * 4 + lower]


@pytest.mark.parametrize("size", [(8, 4), (9, 11), (3, 2), (1, 1)])
def test_squares_of_a_coarser_lattice_hold_their_middles(size):
    grid = Grid(3, *size, 16.0)
    coarse, middles, squares = grid.coarser(4)
    assert len(middles) == coarse.cells and len(squares) == grid.cells
    assert (squares[middles] == np.arange(coarse.cells)).all()
    # Distances from a cell to the middle of its square, in rows and in columns.
    places = np.stack(np.unravel_index(np.arange(grid.cells), (3, *size)))
    apart = np.abs(places - places[:, middles[squares]])
    assert apart[0].max() == 0 and apart[1:].max() <= 3


def test_remote_contrast_is_pooled_on_the_coarse_lattice():
    """A static contrast of 9 × 11 cells: the steady state of the layer, and what ganglion cells read of it."""
    place = setting(height=9, width=11, images=2)
    bipolars = NeuronGroup(place.grid.cells, "\n".join(f"{c} : volt" for c in BIPOLAR_CHANNELS))
    near = NeuronGroup(place.grid.cells, "pooled : volt")
    shown = np.random.default_rng(0).uniform(0, 30, (2, 9, 11))
    near.pooled = shown.ravel() * mV
    remote = retina.remote_amacrine(place, near)
    cells = retina.ganglion(place, bipolars, near, remote)
    Network(bipolars, near, remote, cells).run(15 * value("remote_time", station="amacrine") * ms)
    space_constant = value("remote_space_constant", station="amacrine") * 16 / retina.REMOTE_STRIDE
    layer = coupling(space_constant, stability_limit(remote.namespace["time"], remote.clock.dt))
    middles = shown[:, [2, 6, 8]][..., [2, 6, 10]]
    expected = solve_coupled_layer(layer, 1.0, middles)
    found = np.asarray(remote.pooled / mV).reshape(2, 3, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    read = np.asarray(cells.remote / mV).reshape(2, 9, 11)
    np.testing.assert_allclose(read, found.repeat(4, 1)[:, :9].repeat(4, 2)[..., :11], rtol=1e-9)
    assert found.std() > 0.1 and found.mean() == pytest.approx(middles.mean(), rel=1e-4)


def test_an_even_scene_has_no_contrast():
    found = retina.settled_contrast(setting(height=8, width=8), np.full((1, 8, 8), 50.0))
    assert abs(found[0]) < 1e-9
    for variance in retina.settled_variance(setting(height=8, width=8), np.full((1, 8, 8), 50.0)).values():
        assert variance.shape == (1, 1, 1) and abs(variance).max() < 1e-12


def test_settled_contrast_of_wide_halves_is_that_of_uniform_fields():
    # Pixels of 20 degrees: no pool reaches across one, so that each half responds as an even field does.
    place = setting(overrides={"cone.pupil_reflex": 0}, height=2, width=8, pixels_per_degree=0.05)
    scene = np.where(np.arange(8) < 4, 20.0, 180.0) * np.ones((1, 2, 1))
    p = {name: float(one.quantity) for name, one in place.parameters.items()}
    light = np.array([20.0, 180.0, 100.0]) * p["cone.isomerisation_rate"] * p["cone.pupil_area"]
    share = p["cone.fast_adaptation_share"]
    z = share * light + (1 - share) * light[2]
    signal = p["cone.gain"] * light / (1 + p["cone.desensitisation"] * z) / (1 + retina.loop_gain(place.parameters))
    change = (
        (1 - p["amacrine.surround_weight"]) * (signal[:2] - signal[2]) / (1 + signal[2] / p["bipolar.luminance_half"])
    )
    off, on = -change[0], change[1]
    evoked = [
        p["bipolar.on_gain"] * on / (1 + on / p["bipolar.on_saturation"]),
        p["bipolar.off_gain"] * off / (1 + off / p["bipolar.off_saturation"]),
    ]
    expected = retina.FIXATION_SHARE * np.mean(evoked)
    assert retina.settled_contrast(place, scene)[0] == pytest.approx(expected, rel=1e-3)


def fixations(output, lesions=()):
    """Photographs, traces of .3 s of each after the scene's mean, and the setting."""
    scenes = photographs(8, 32, seed=5)
    pathway = Pathway(lesions=lesions)
    means = scenes.values.mean(axis=(1, 2)).tolist()
    found = pathway.simulate(scenes, means, output=output, duration=0.3, window=(0.0, 0.3), record="trace")
    return scenes.values, found, Setting(pathway.parameters, tuple(lesions), Grid(8, 32, 32, 16.0), 0.5 * ms)


def test_settled_contrast_is_the_mean_over_simulated_fixations():
    scenes, found, place = fixations("bipolar")
    diffuse = found.bipolar.sel(bipolar_channel=["diffuse_on", "diffuse_off"])
    mean = np.maximum(diffuse, 0).sum("bipolar_channel").mean(("time", "y", "x")).values
    ratio = mean / (1000 * retina.settled_contrast(place, scenes))
    assert np.median(ratio) == pytest.approx(1.0, abs=0.06)
    assert ratio.min() > 0.85 and ratio.max() < 1.35


def test_settled_variance_is_the_mean_over_simulated_fixations():
    """Without adaptation to contrast: simulated cells come from an even field, those of the closed form know the scene."""
    scenes, found, place = fixations("ganglion", ["contrast_adaptation"])
    closed_form = retina.settled_variance(place, scenes)
    for name, tolerance in (("midget", 0.07), ("parasol", 0.12)):
        squares = 0
        for side in ("on", "off"):
            rates = found.ganglion.sel(ganglion_channel=f"{name}_{side}")
            squares = squares + (rates - value(f"{name}_{side}_maintained")) ** 2
        ratio = np.sqrt(squares.mean(("time", "y", "x")).values / closed_form[name][:, 0, 0])
        assert np.median(ratio) == pytest.approx(1.0, abs=tolerance), (name, ratio)
        assert ratio.min() > 0.7 and ratio.max() < 1.5, (name, ratio)


def test_settled_variance_of_wide_halves_is_that_of_uniform_fields():
    """Rates by hand: the limit of each cell for the share of its steady input that evokes as much as a transient."""
    place = setting(overrides={"cone.pupil_reflex": 0}, height=2, width=8, pixels_per_degree=0.05)
    scene = np.where(np.arange(8) < 4, 20.0, 180.0) * np.ones((1, 2, 1))
    potentials = retina.fixation_potentials(place, scene)
    contrast = 1000 * retina.settled_contrast(place, scene)[0]
    pooled = (1 + value("remote_weight")) * contrast
    losses = {
        (): (1 + contrast / value("adaptation_half")) * np.sqrt(1 + pooled / value("contrast_half")),
        ("remote_suppression",): (1 + contrast / value("adaptation_half"))
        * np.sqrt(1 + contrast / value("contrast_half")),
        ("contrast_gain",): 1 + contrast / value("adaptation_half"),
        ("contrast_gain", "contrast_adaptation"): 1.0,
    }
    for lesions, parasol in losses.items():
        found = retina.settled_variance(place._replace(lesions=lesions), scene)
        for name, bipolar, loss in (("midget", "midget", 1.0), ("parasol", "diffuse", parasol)):
            recovery, expected = value(f"{name}_recovery_time") / 1000, 0
            for side in ("on", "off"):
                maintained = value(f"{name}_{side}_maintained")
                e = value(f"{name}_gain") * retina.TRANSIENT_SHARE[name] * 1000 * potentials[f"{bipolar}_{side}"] / loss
                left = 1 - recovery * maintained
                free = np.maximum(maintained / left + e / left**2, 0)
                expected += np.mean((free / (1 + recovery * free) - maintained) ** 2)
            assert found[name].item() == pytest.approx(expected, rel=1e-9), (name, lesions)
