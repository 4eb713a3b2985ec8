import brian2
import hypothesis
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import bridge
from biomodel import Pathway, Region, Store, luminance
from biomodel.adaptation import Fields
from biomodel.analysis.equivalent_kernels import equivalent_kernels
from biomodel.circuit import lgn, v1
from biomodel.circuit.cell_types import cell_types
from biomodel.circuit.lattice import Grid
from biomodel.circuit.spiking.noise import numbers
from biomodel.circuit.spiking.v1 import COMPLEX, OWN_NOISE, SIMPLE, homeostasis, relay_trains, resting_potential
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import plan, run
from biomodel.engine.plan import Network, Request, make_plan
from biomodel.engine.responses import in_rates
from biomodel.images import photographs
from biomodel.parameters import Parameters
from biomodel.physiology import measures, recording, retina_lgn
from biomodel.physiology.column import ORIENTATIONS, Column, Panel
from biomodel.physiology.plots import raster
from biomodel.physiology.recording import Electrode, TrialAveraged, average_harmonics
from biomodel.physiology.screens import PHASES, Screen
from bridge.fit import fitting, stimuli
from bridge.fit.fitting import refine
from studies.physiology import fidelities

GANGLION = ("midget_on", "midget_off", "parasol_on", "parasol_off")

#: Not strict, because results depend on the noise of a few trials.


@pytest.fixture(scope="module")
def spiking():
    return Pathway(fidelity="spiking", parameters={"v1.kinds": 4})


@pytest.fixture(scope="module")
def counts(spiking, patches):
    """Counts of 12 trials of photographs, and of a still field of their mean."""
    shown = patches[:4]
    still = shown.copy(data=np.broadcast_to(shown.mean(), shown.shape).copy())
    return spiking.simulate(xr.concat([shown, still], "image"), trials=12, workers=2)


def small(**parameters):
    """A pathway without compiler, before an even field of 12×12 pixels."""
    given = {name.replace("__", "."): value for name, value in parameters.items()}
    return Pathway(fidelity="spiking", parameters=given, target="numpy"), luminance(np.full((1, 12, 12), 100.0), 16)


def test_counts_have_trials_and_what_does_not_fire_has_none(counts, responses):
    assert counts.ganglion.dims == ("image", "trial", "ganglion_channel", "y", "x")
    assert counts.v1.dims == ("image", "trial", "v1_channel", "v1_y", "v1_x")
    assert counts.cone.dims == ("image", "y", "x") and counts.lgn.units == "spikes" and counts.cone.units == "pA"
    assert counts.sizes["trial"] == 12
    assert counts.v1_input.dims == ("image", "trial", "v1_input_channel", "y", "x") and counts.v1_input.units == "Hz"
    for station in ("ganglion", "lgn", "v1"):
        values = counts[station].values
        assert (values == np.round(values)).all() and values.min() == 0 < values.max()
    assert np.allclose(responses.bipolar[:4], counts.bipolar[:4], atol=1e-9)


def test_trials_repeat_the_image_with_other_noise(counts):
    for station in ("ganglion", "lgn", "v1_input", "v1"):
        trials = counts[station].isel(image=0).values.reshape(12, -1)
        assert len({trial.tobytes() for trial in trials}) == 12


def test_rates_over_trials_are_those_of_the_rate_form(counts, patches, few_kinds, responses):
    """One circuit, two fidelities: correlations without the noise of 12 trials, cell by cell; maintained rates within a tenth.

    Settled photographs evoke little; with the noise of trials, correlations are below their bounds (next test).
    """
    seconds = 0.2

    def correlations(station):
        channels = range(counts.sizes[f"{station}_channel"])
        for k in channels:
            trials = counts[station].values[:4, :, k]
            r = np.corrcoef(trials.mean(axis=1).ravel(), responses[station].values[:4, k].ravel())[0, 1]
            yield r / np.sqrt(fidelities.reliability(trials[:, ::2].mean(axis=1), trials[:, 1::2].mean(axis=1)))

    least = {"ganglion": 0.98, "lgn": 0.95, "v1_input": 0.85}
    for station, correlation in least.items():
        assert min(correlations(station)) > correlation, station
        mean = counts[station].mean("trial").values / (1 if station == "v1_input" else seconds)
        for k, channel in enumerate(counts[f"{station}_channel"].values):
            maintained = few_kinds.parameters.value(f"ganglion.{channel}_maintained") * (
                1 if station == "ganglion" else 0.5
            )
            assert mean[4:, k].mean() == pytest.approx(maintained, rel=0.1), (station, channel)
    assert set(counts.v1_relay.values) == {"midget", "parasol"}
    spontaneous = counts.v1[4:].mean(("image", "trial", "v1_y", "v1_x")).values / seconds
    assert 0.1 < np.median(spontaneous) < 3, spontaneous


def test_v1_fires_as_much_as_the_rate_form(counts, responses):
    """Pools and surrounds divide as much: without the surround there were 1.3 times the spikes, without both 2.3 times."""
    cortex = counts.v1[:4].mean("trial").values / 0.2
    assert 0.7 < cortex.mean() / float(responses.v1[:4].mean()) < 1.5


@pytest.mark.parametrize(
    ("station", "middle", "least"),
    [("ganglion", 0.95, 0.95), ("lgn", 0.9, 0.9), ("v1_input", 0.7, 0.7), ("v1", 0.8, 0.55)],
)
@pytest.mark.xfail(strict=True, reason="docs/misses.md: settled responses are weak, and spiking V1 follows them less")
def test_means_of_a_few_trials_are_those_of_the_rate_form(counts, responses, station, middle, least):
    """Correlations with the noise of 12 trials, median and least over channels."""
    means, rates = counts[station].mean("trial").values[:4], responses[station].values[:4]
    found = [np.corrcoef(means[:, k].ravel(), rates[:, k].ravel())[0, 1] for k in range(means.shape[1])]
    assert np.median(found) > middle and min(found) > least, found


@pytest.fixture(scope="module")
def many():
    """More small images than one network holds, and how three trials of each are simulated up to the relay."""
    random = np.random.default_rng(5)
    shown = luminance(60 * (1 + random.uniform(-0.9, 0.9, (40, 12, 12))), 16)
    return shown, {"output": "lgn", "trials": 3, "duration": 0.1, "window": (0.02, 0.1)}


def test_seed_decides_the_noise_whatever_the_workers(many):
    shown, settings = many
    pathway = Pathway(fidelity="spiking")
    once = pathway.simulate(shown, seed=1, workers=2, **settings)
    assert pathway.simulate(shown, seed=1, workers=1, **settings).identical(once)
    other = pathway.simulate(shown, seed=2, workers=2, **settings)
    assert not (other.lgn == once.lgn).all() and (other.bipolar == once.bipolar).all()


def test_what_has_no_noise_has_no_trials():
    pathway, field = small()
    found = pathway.simulate(field, output="bipolar", trials=3)
    assert "trial" not in found.dims and found.bipolar.dims == ("image", "bipolar_channel", "y", "x")


def test_a_film_comes_after_the_lead_as_it_comes_without_one():
    """What stands before onset is the field adapted to: the retina answers a film as at rate fidelity, frame for frame."""
    random = np.random.default_rng(2)
    film = luminance(60 * (1 + random.uniform(-0.8, 0.8, (2, 20, 12, 12))), 16, 0.005)
    settings = {"adapt_to": 60.0, "duration": 0.1, "window": (0.0, 0.1), "record": "trace"}
    rates = Pathway(target="numpy").simulate(film, output="bipolar", **settings)
    spikes = Pathway(fidelity="spiking", target="numpy").simulate(film, output="ganglion", **settings)
    assert np.ptp(rates.bipolar.values) > 1
    for station in ("cone", "horizontal", "bipolar"):
        expected = rates[station].values
        assert np.abs(spikes[station].values - expected).max() < 1e-6 * np.abs(expected).max()


def test_images_in_sequence_keep_their_trials():
    pathway, field = small()
    shown = luminance(np.stack([np.full((12, 12), level) for level in (60.0, 150.0)]), 16)
    found = pathway.simulate(shown, "previous", output="lgn", trials=2)
    assert found.lgn.dims[:2] == ("image", "trial") and found.lgn.shape[:2] == (2, 2)
    assert (found.background[1] == 60).all() and float(found.lgn.sum()) > 0


def test_random_state_of_the_caller_is_left_alone():
    pathway, field = small()
    np.random.seed(3)
    expected = np.random.RandomState(3).rand()
    pathway.simulate(field, output="ganglion", duration=0.02, window=(0.0, 0.02))
    assert np.random.rand() == expected


def test_a_store_of_trials_goes_on_where_it_was(many, tmp_path):
    shown, settings = many
    pathway = Pathway(fidelity="spiking")
    whole = pathway.simulate(shown, **settings)
    settings = settings | {"store": Store(tmp_path, chunk=18)}
    kept = pathway.simulate(shown, **settings)
    assert (kept.lgn.values == whole.lgn.values).all() and kept.lgn.dims == whole.lgn.dims
    assert pathway.simulate(shown, **settings).lgn.equals(kept.lgn)
    with pytest.raises(ValueError, match="trials"):
        pathway.simulate(shown, **settings | {"trials": 4})


def test_a_store_keeps_an_image_as_soon_as_its_many_trials_are_done(tmp_path, monkeypatch):
    """With hundreds of trials an image is a chunk of its own, or a stop would lose an hour; batches are small here."""
    pathway, field = small()
    shown = xr.concat([field] * 3, "image")
    request = Request(output="ganglion", trials=500, store=Store(tmp_path))
    assert make_plan(network_of(pathway), shown, request).chunk == 1
    for name in ("BATCH_CELLS", "CHUNK_CELLS"):
        monkeypatch.setattr(plan, name, 1024)
    asked = {"output": "ganglion", "duration": 0.01, "window": (0.0, 0.01)}
    for trials, chunk in ((1, 3), (8, 1)):
        pathway.simulate(shown, 100.0, trials=trials, store=tmp_path / str(trials), **asked)
        kept = xr.open_zarr(tmp_path / str(trials) / "responses.zarr", consolidated=False)
        assert kept.ganglion.encoding["chunks"][0] == chunk


def spikes_by_cell(table, station, start):
    """Number of a station's spikes from `start` on, by image, trial and cell, of those that fired."""
    # Half a step keeps the edge clear of rounding.
    spikes = table[(table.station == station) & (table.time >= start - 0.00025)]
    return spikes.groupby(["image", "trial", "channel", "y", "x"]).size()


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_spikes_are_what_is_counted(target, many):
    """Table and counts tell of the same spikes."""
    shown, settings = many
    # NumPy is slow; and networks of as many images as on C++ are the ones that are compiled already.
    shown = shown[:2] if target == "numpy" else shown
    pathway = Pathway(fidelity="spiking", target=target)
    table, counts = (pathway.simulate(shown, record=how, **settings) for how in ("spikes", "mean"))
    assert list(table.columns) == ["station", "image", "trial", "channel", "y", "x", "time"]
    assert table.time.between(0, 0.1, inclusive="left").all()
    for station in ("ganglion", "lgn"):
        number = spikes_by_cell(table, station, 0.02)
        counted = counts[station].to_series().reorder_levels(["image", "trial", f"{station}_channel", "y", "x"])
        found = counted[counted > 0]
        assert len(number) == len(found) > 0
        assert (number.reindex(found.index) == found).all()


def test_bins_of_a_trace_are_the_spikes_since_the_bin_before(many):
    shown, settings = many
    pathway = Pathway(fidelity="spiking", target="numpy")
    trace, table = (pathway.simulate(shown[:2], record=how, **settings) for how in ("trace", "spikes"))
    assert trace.lgn.dims == ("image", "trial", "time", "lgn_channel", "y", "x")
    for station in ("ganglion", "lgn"):
        last = float(trace.time[-1])
        spikes = table[(table.station == station) & (table.time < last - 0.00025)]
        # The first bin is what was fired before the image came.
        assert float(trace[station].isel(time=slice(1, None)).sum()) == pytest.approx(len(spikes), abs=2)


def test_spike_trains_as_neo_objects():
    pytest.importorskip("neo")
    pathway, field = small()
    table = pathway.simulate(field, output="ganglion", trials=2, record="spikes", duration=0.1, window=(0.0, 0.1))
    block = table.to_neo()
    assert len(block.segments) == 2 and block.annotations["fidelity"] == "spiking"
    for trial, segment in enumerate(block.segments):
        assert segment.annotations["trial"] == trial
        assert sum(map(len, segment.spiketrains)) == (table.trial == trial).sum()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trials": 0}, "trials must be a positive integer, got 0"),
        ({"seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ({"record": "rasters"}, "rasters"),
        ({"record": "spikes", "store": "here"}, "store must be None"),
        ({"record": "spikes", "output": "bipolar"}, "up to bipolar"),
        ({"region": Region(spiking=0.01)}, "region.spiking must reach a cell, got 0.01"),
        ({"region": Region(spiking=0.5), "output": "cone"}, "region.spiking must be None"),
    ],
)
def test_settings_of_spikes_that_are_refused(settings, told):
    pathway, field = small()
    with pytest.raises(ValueError, match=told):
        pathway.simulate(field, **{"output": "lgn"} | settings)


def test_rates_have_neither_trials_nor_spikes(few_kinds, even):
    for settings in ({"trials": 2}, {"record": "spikes"}):
        with pytest.raises(ValueError, match="at rate fidelity"):
            few_kinds.simulate(even, output="lgn", **settings)
    with pytest.raises(ValueError, match="ganglion.noise"):
        Pathway(parameters={"ganglion.noise": 0.1})
    assert Parameters("macaque_parafovea").digest != Parameters("macaque_parafovea", fidelity="spiking").digest


@pytest.mark.parametrize("rate", [20, 60, 150])
def test_ganglion_cell_without_noise_fires_at_the_rate_that_excites_it(rate):
    """The current for a rate inverts the leaky integrator's own closed form, to the order of (rate · leak time)^-2."""
    leak, refractory = 0.02, 0.001
    pathway, field = small(ganglion__noise=0, ganglion__midget_on_maintained=rate)
    fired = pathway.simulate(field, 100.0, output="ganglion", duration=1.0, window=(0.0, 1.0)).ganglion[0, 0, 0]
    current = 0.5 + rate * leak / (1 - rate * refractory)
    exact = 1 / (refractory + leak * np.log(current / (current - 1))) if current > 1 else 0
    # An Euler step of .5 ms fires late by half of it.
    assert float(fired.mean()) == pytest.approx(exact, rel=0.05, abs=1)
    if rate > 50:
        assert float(fired.mean()) == pytest.approx(rate, rel=0.1)


def test_relay_cell_without_noise_follows_its_conductance():
    """An unsuppressed relay cell, afferents silent and noise off, rests where leak and no conductance leave it: silent."""
    silent = {f"ganglion__{channel}_maintained": 0 for channel in GANGLION}
    pathway, field = small(**silent, ganglion__noise=0, lgn__noise=0)
    assert pathway.simulate(field, 100.0, output="lgn").lgn.sum() == 0


def test_suppressive_field_is_silent_in_a_still_field():
    """It pools departures from the maintained rate without noise: relay cells fire as without it."""
    field = luminance(np.full((1, 12, 12), 100.0), 16)
    intact, lesioned = (
        Pathway(fidelity="spiking", lesions=lesions, target="numpy").simulate(
            field, 100.0, output="lgn", trials=2, duration=0.3, window=(0.0, 0.3), seed=1
        )
        for lesions in ((), ("lgn_suppression",))
    )
    assert intact.lgn.sum() > 100
    xr.testing.assert_equal(intact.lgn, lesioned.lgn)


@pytest.mark.slow
def test_suppression_divides_departures_and_keeps_the_maintained_rate(monkeypatch):
    """At a constant s / s_half of 1, half of the change of rate is left, and all of the maintained rate."""
    flash = luminance(np.stack([np.full((12, 12), level) for level in (100.0, 300.0)]), 16)

    def rates(lesions=(), **parameters):
        pathway = Pathway(fidelity="spiking", lesions=lesions, target="numpy", parameters=parameters)
        fired = pathway.simulate(flash, 100.0, output="lgn", trials=60, duration=0.3, window=(0.0, 0.3), seed=1)
        still, bright = fired.lgn.mean(("trial", "y", "x")).values / 0.3
        return still, bright - still

    maintained, change = rates(("lgn_suppression",))
    constant = "".join(f"{{name}}_{variable}\n" for variable in ("contrast = 0*Hz**2", "suppression = 20*Hz"))
    monkeypatch.setattr("biomodel.circuit.lgn.CONTRAST", constant)
    halves = {f"lgn.{name}_suppression_half": 20 for name in ("midget", "parasol")}
    kept, divided = rates(**halves)
    assert kept == pytest.approx(maintained, rel=0.12)
    driven = change > 2  # rates that fall end at 0
    assert driven.sum() >= 2 and divided[driven] / change[driven] == pytest.approx(0.5, abs=0.15)
    # Without the noise of inhibition the maintained rate falls.
    quieter, _ = rates(**halves, **{"lgn.suppression_noise": 0})
    assert (quieter < 0.8 * maintained).all()


def test_hyperpolarised_relay_cells_burst():
    """With T channels, and a reset above their threshold as in Smith 2000, a cell that rests below it answers in bursts."""
    parts = {}
    for conductance in (0, 2):
        pathway, field = small(lgn__rest=-68, lgn__reset=-59, lgn__burst_conductance=conductance)
        table = pathway.simulate(field, 100.0, output="lgn", trials=3, record="spikes", duration=0.5, window=(0.0, 0.5))
        relay = table[table.station == "lgn"]
        intervals = relay.groupby(["trial", "channel", "y", "x"]).time.diff().dropna()
        parts[conductance] = float((intervals <= 0.004).mean())
    assert parts[2] > 3 * parts[0] + 0.05


def test_four_excitatory_cells_to_one_inhibitory(spiking, patches, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    network = spiking.network(patches[:1])
    number = {name: len(network[f"v1_{name}"]) for name in ("simple", "complex", "inhibitory")}
    assert number["simple"] + number["complex"] == 4 * number["inhibitory"]
    assert number["simple"] * COMPLEX == number["complex"] * SIMPLE * 2


def test_push_pull_and_complex_cells_are_wired_by_phase_and_place(spiking, patches, monkeypatch):
    """A simple cell is inhibited by the cell that hears the opposite phase, its copies alike; complex cells hear both phases."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    network = spiking.network(patches[:1])
    dendrites, simple, inhibitory = (network[f"v1_{name}"] for name in ("dendrite", "simple", "inhibitory"))
    half, number = len(dendrites) // 2, len(dendrites)
    dendrites.afferents = np.arange(number) * brian2.Hz
    inhibitory.sent = inhibitory.afferents
    assert (np.array(inhibitory.afferents) == np.r_[half:number, 0:half]).all()
    dendrites.carried = dendrites.afferents
    for copy in range(SIMPLE):
        cells = slice(copy * number, (copy + 1) * number)
        assert (np.array(simple.carried)[cells] == np.arange(number)).all()
        assert (np.array(simple.transmitted)[cells] == np.r_[half:number, 0:half]).all()
    complexes = network["v1_complex"]
    network["v1_fired"].carried = np.arange(half) * brian2.Hz
    columns = half // 4
    kind = np.tile(np.repeat(np.arange(4), columns), COMPLEX)
    assert (np.array(complexes.carried_here) // columns == kind).all()
    assert (np.array(complexes.carried_beside) // columns == kind).all()
    assert (np.array(complexes.carried_here) != np.array(complexes.carried_beside)).any()


def variance_of_a_train(*times):
    """Of Poisson impulses, one a second, behind exponential filters in s, one after the other (Campbell's theorem)."""
    step = 2e-5
    sampled = np.arange(0, 1, step)
    kernel = np.exp(-sampled / times[0]) / times[0]
    for time in times[1:]:
        kernel = signal.fftconvolve(kernel, np.exp(-sampled / time) / time)[: len(sampled)] * step
    return float((kernel**2).sum() * step)


@pytest.mark.parametrize(("background", "set_point"), [(4, 640), (4, 300), (30, 640)])
def test_kinds_are_as_sensitive_as_their_noise_lets_them(background, set_point):
    """A Hz moves simple cells of one class by as much of their noise, unless most of that is their own synapses'."""
    parameters = Parameters(
        "macaque_parafovea",
        {"v1.kinds": 16, "v1.background_noise": background, "v1.midget_set_point": set_point},
        "spiking",
    )
    cells = cell_types(parameters, 16.0)
    # On this lattice the middle columns have all their afferents from different axons.
    found = homeostasis(parameters, cells, Grid(1, 32, 32, 16.0))
    scalings, relay_noise, other_noise = (
        one[..., 8, 8] for one in (found.scaling, found.relay_noise, found.other_noise)
    )
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    synapse, dendrite, membrane, inhibitory_synapse = (
        p[f"v1.{name}_time"] for name in ("synaptic", "dendritic", "membrane", "inhibitory_synaptic")
    )
    afferent = variance_of_a_train(synapse, dendrite, membrane)
    excitation, inhibition = (p[f"v1.{name}_strength"] for name in ("excitatory", "inhibition"))
    slow = p["v1.background_time"] / (p["v1.background_time"] + membrane) * (background / 1e3) ** 2
    reached = []
    for k, cell in enumerate(cells):
        for phase, terms in enumerate(v1.afferent_terms(parameters, cell)):
            spikes = sum(w**2 * lgn.maintained(parameters)[name.removeprefix("sent_")] for w, name, _ in terms)
            relays = p[f"v1.{cell.relay}_irregularity"] * spikes * (excitation * 0.053) ** 2 * afferent
            inhibitory = variance_of_a_train(inhibitory_synapse, membrane)
            partners = p["v1.inhibitory_spontaneous"] * (inhibition * 0.027) ** 2 * inhibitory
            own = relays + partners
            scaling = scalings[phase, k]
            noise = np.sqrt(scaling**2 * own + slow)
            assert relay_noise[phase, k] == pytest.approx(scaling**2 * relays, rel=1e-2)
            assert other_noise[phase, k] == pytest.approx(scaling**2 * partners + slow, rel=1e-2)
            sensitivity = scaling * excitation * 0.053 / noise / p[f"v1.{cell.relay}_set_point"]
            share = scaling**2 * own / slow
            assert sensitivity <= 1.005 and scaling <= 1 and share <= 1.01 * OWN_NOISE
            reached.append((sensitivity > 0.995, scaling == 1, share > 0.99 * OWN_NOISE))
    assert np.all(np.any(reached, axis=1))
    # With the default circuit all cell types are limited by their synapses' own noise or strength.
    assert np.any(reached, axis=0).tolist() == [set_point == 300, True, background == 4]
    together = 0.8 / 4 * (p["v1.complex_strength"] * excitation * 0.053) ** 2 * afferent
    assert found.complex_noise == pytest.approx(together + slow, rel=1e-2)
    assert resting_potential(parameters, 4e-6) == pytest.approx(-0.053 - p["v1.rest_margin"] * 2e-3)


def test_trains_near_an_edge_add_up_where_several_afferents_are_one_axon():
    """The variance of a sum is that of its axons: squared effects of each axon's impulse, with edges that replicate."""
    parameters = Parameters("macaque_parafovea", {"v1.kinds": 4}, "spiking")
    cells, size, margin = cell_types(parameters, 16.0), 16, 16
    found = relay_trains(parameters, cells, Grid(1, size, size, 16.0))
    places = margin + np.arange(0, size, v1.STRIDE)
    for k, cell in enumerate(cells):
        for phase, terms in enumerate(v1.afferent_terms(parameters, cell)):
            expected = 0
            for channel, rate in lgn.maintained(parameters).items():
                for axon in range(size * size):
                    impulse = np.pad(np.eye(1, size * size, axon).reshape(size, size), margin, mode="edge")
                    effect = sum(
                        weight * impulse[np.ix_(places + down, places + right)]
                        for weight, name, (down, right) in terms
                        if name == f"sent_{channel}"
                    )
                    expected = expected + rate * np.square(effect)
            assert found[phase, k] == pytest.approx(expected)
    assert found[..., 0, 0].max() > 1.5 * found[..., 4, 4].max()


@pytest.mark.slow
def test_v1_reads_the_mean_of_what_synapses_deliver(spiking, patches, monkeypatch):
    """What a spike opens is read before it decays: a mean that was read after it would be 7 % lower at this step."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    network = spiking.replace(lesions=("thalamocortical_adaptation",)).network(patches[:1])
    channels = [f"midget_{side}" for side in ("on", "off")]
    dendrites = brian2.StateMonitor(network["v1_dendrite"], "afferents", record=True, dt=1 * brian2.ms, when="end")
    sent = {
        channel: brian2.StateMonitor(network[f"v1_input_{channel}"], f"sent_{channel}", record=True, when="end")
        for channel in channels
    }
    network.add(dendrites, *sent.values())
    network.run(60 * brian2.ms)
    parameters, rest = spiking.parameters, lgn.maintained(spiking.parameters)
    mean = {
        channel: np.array(getattr(m, f"sent_{channel}")).mean(axis=1).reshape(32, 32) for channel, m in sent.items()
    }
    read = np.array(dendrites.afferents).mean(axis=1).reshape(2, 4, 16, 16)
    places = np.arange(8, 24, v1.STRIDE)
    for k, cell in enumerate(cell_types(parameters, 16.0)):
        if cell.relay == "midget":
            drive, _ = v1.afferent_terms(parameters, cell)
            expected = sum(
                weight
                * (mean[name.removeprefix("sent_")] - rest[name.removeprefix("sent_")])[
                    np.ix_(places + down, places + right)
                ]
                for weight, name, (down, right) in drive
            )
            missing = 0.07 * sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in drive)
            assert abs((read[0, k, 4:12, 4:12] - expected).mean()) < 0.15 * missing


@pytest.mark.parametrize("lesions", [(), ("thalamocortical_adaptation",)])
def test_rest_of_simple_cells_follows_the_noise_that_adaptation_leaves(spiking, patches, monkeypatch, lesions):
    """The distance to threshold stays the same number of standard deviations; with the lesion that in a static field."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    pathway = spiking.replace(lesions=lesions)
    network = pathway.network(patches[:1])
    # A step of the adaptation, in which rests follow it.
    network.run(4 * brian2.ms)
    p, cells = pathway.parameters, cell_types(pathway.parameters, 16.0)
    grid = Grid(1, *patches.shape[1:], 16.0)
    found = homeostasis(p, cells, grid)
    rest = np.array(network["v1_simple"].rest).reshape(SIMPLE, *found.scaling.shape)
    for k, cell in enumerate(cells):
        loss = (
            1.0 if lesions else float(np.array(getattr(network[f"v1_input_{cell.relay}_on"], f"{cell.relay}_loss"))[0])
        )
        assert lesions or loss > 1.03
        noise = np.sqrt(found.relay_noise[:, k] / loss**2 + found.other_noise[:, k])
        expected = -0.053 - p.value("v1.rest_margin") * noise
        assert np.allclose(rest[:, :, k], expected, atol=2e-5)


def test_homeostasis_scales_what_excites_and_what_inhibits_each_simple_cell(spiking, patches, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    # At this set point most cell types have synapses of different strengths.
    spiking = spiking.replace(parameters={"v1.midget_set_point": 250, "v1.parasol_set_point": 250})
    network = spiking.network(patches[:1])
    dendrites, simple, inhibitory = (network[f"v1_{name}"] for name in ("dendrite", "simple", "inhibitory"))
    cells = cell_types(spiking.parameters, 16.0)
    found = homeostasis(spiking.parameters, cells, Grid(1, *patches.shape[1:], 16.0))
    scaling = np.array(simple.scaling)
    # Some types have 1, the strongest synapses that there are.
    assert (scaling.reshape(SIMPLE, -1) == found.scaling.ravel()).all() and len(set(scaling)) > len(cells)
    dendrites.carried = np.arange(len(dendrites)) * brian2.Hz
    inhibitory.sent = 20 * brian2.Hz
    simple.V = -60 * brian2.mV
    excited, inhibited = (np.array(getattr(simple, name)) for name in ("excited", "inhibited"))
    assert excited == pytest.approx(scaling * 0.15 * np.tile(np.arange(len(dendrites)), SIMPLE) * 0.06)
    assert inhibited == pytest.approx(scaling * 0.004 * (20 - 10.5) * -0.02)


def test_what_takes_rates_refuses_a_spiking_pathway():
    pathway, field = small()
    with pytest.raises(ValueError, match="fidelity must be 'rate' for an equivalent kernel, got 'spiking'"):
        equivalent_kernels(pathway)


def test_counts_become_rates_and_say_over_how_long_they_were():
    pathway, field = small()
    counts = pathway.simulate(field, output="lgn", trials=2, window=(0.05, 0.15), duration=0.15)
    rates = in_rates(counts)
    assert np.allclose(rates.lgn * 0.1, counts.lgn) and rates.lgn.attrs["units"] == "Hz"
    assert rates.lgn.attrs["counted_s"] == pytest.approx(0.1)
    assert rates.cone.identical(counts.cone) and in_rates(rates) is rates


def test_reliability_is_the_share_of_variance_that_trials_repeat():
    """Halves of a signal of variance 1 with noise of variance 2: their mean has noise of variance 1, so half is signal."""
    random = np.random.default_rng(0)
    signal = random.standard_normal(200_000)
    odd, even = (signal + np.sqrt(2) * random.standard_normal(signal.shape) for _ in range(2))
    assert fidelities.reliability(odd, even) == pytest.approx(0.5, abs=0.01)
    assert np.isnan(fidelities.reliability(signal, -signal))


def test_afferents_inside_reach_no_replicated_edge(few_kinds):
    """Cell by cell: the afferents of a simple cell, and those of a complex cell's two columns."""
    height, width = 30, 26
    found = fidelities.afferents_inside(few_kinds, luminance(np.full((1, height, width), 100.0), 16))
    for k, cell in enumerate(cell_types(few_kinds.parameters, 16)):
        a = cell.afferents
        beside = v1.complex_pool_offsets(cell, 8)[1]
        for name, places in (("simple", [(0, 0)]), ("complex", [(0, 0), beside])):
            offsets = [(2 * d + dd, 2 * r + dr) for d, r in places for dd, dr in zip(a.down, a.right, strict=True)]
            expected = [
                [all(0 <= y + d < height and 0 <= x + r < width for d, r in offsets) for x in range(0, width, 2)]
                for y in range(0, height, 2)
            ]
            assert (found[f"{name}_{k}"] == expected).all() and 0 < np.mean(expected) < 1, name


def test_fidelities_are_compared_cell_by_cell(tmp_path, spiking, few_kinds):
    """A comparison of six trials of four patches; docs/spikes.md has that of fifty of two hundred."""
    # As many trials as a network of `counts` has.
    table = fidelities.compare_fidelities(spiking, patches=4, trials=6, workers=2, store=tmp_path)
    rates = few_kinds.simulate(photographs(4))
    counts = spiking.simulate(photographs(4), trials=6, workers=2)
    row = table.set_index(["station", "channel"]).loc["lgn", "midget_on"]
    spikes = counts.lgn.mean("trial").sel(lgn_channel="midget_on") / 0.2
    expected = rates.lgn.sel(lgn_channel="midget_on")
    assert row.r == pytest.approx(np.corrcoef(spikes.values.ravel(), expected.values.ravel())[0, 1])
    assert (row.rate, row.spiking) == pytest.approx((float(expected.mean()), float(spikes.mean())))
    one = counts.lgn.sel(lgn_channel="midget_on")
    active = (spikes >= 5).values
    fano = (one.var("trial", ddof=1) / one.mean("trial")).values[active]
    assert row.fano == pytest.approx(np.median(fano), rel=1e-3)
    assert len(table) == 4 + 4 + 4 + 8 and np.isnan(row.r_inside)
    row = table.set_index(["station", "channel"]).loc["v1", "complex_1"]
    inside = fidelities.afferents_inside(few_kinds, photographs(1))["complex_1"]
    trials = counts.v1.sel(v1_channel="complex_1").values[..., inside]
    r = np.corrcoef(trials.mean(1).ravel(), rates.v1.sel(v1_channel="complex_1").values[:, inside].ravel())[0, 1]
    left = fidelities.reliability(trials[:, ::2].mean(1), trials[:, 1::2].mean(1))
    assert row.r_inside == pytest.approx(r / np.sqrt(left))
    # What the axons deliver are rates in every trial, which have no Fano factor.
    row = table.set_index(["station", "channel"]).loc["v1_input", "parasol_on"]
    axons = counts.v1_input.mean("trial").sel(v1_input_channel="parasol_on")
    assert row.spiking == pytest.approx(float(axons.mean())) and np.isnan(row.fano) and row.r < 0.9 < row.r_corrected
    # Stored responses are not simulated again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_chunks", lambda *_: pytest.fail("simulated again"))
        assert fidelities.compare_fidelities(spiking, patches=4, trials=6, workers=2, store=tmp_path).equals(table)
    with pytest.raises(ValueError, match="fidelity must be 'spiking', got 'rate'"):
        fidelities.compare_fidelities(Pathway())


def test_the_rate_form_beside_spikes_keeps_the_settings(monkeypatch):
    simulated = []

    def simulate(pathway, *_, **__):
        simulated.append(pathway)
        if len(simulated) == 2:
            raise RuntimeError("enough")

    monkeypatch.setattr(Pathway, "simulate", simulate)
    pathway = Pathway(
        fidelity="spiking", parameters={"v1.kinds": 4}, lesions="lgn_suppression", dt=0.25, target="numpy"
    )
    with pytest.raises(RuntimeError, match="enough"):
        fidelities.compare_fidelities(pathway, patches=1, trials=2)
    rate, spiking = simulated
    assert spiking is pathway and rate.fidelity == "rate" and rate.parameters.value("v1.kinds") == 4
    assert (rate.lesions, rate.dt, rate.target) == (("lgn_suppression",), 0.25, "numpy")


@pytest.mark.all
@pytest.mark.slow
def test_a_fit_of_spikes_explains_what_repeats_leave_to_explain(monkeypatch, tmp_path):
    """Few images, short: far from what ships; docs/spikes.md has the goal's numbers. It goes on from what was simulated."""
    seen = []

    def watched(*given):
        seen.append(given[1].targets.counting_s)
        return refine(*given)

    monkeypatch.setattr(fitting, "refine", watched)
    asked = {"output": "lgn", "trials": 4, "workers": 2, "store": tmp_path / "responses"}
    asked["stimulus"] = stimuli.identification_set(26)
    front_end, report = bridge.fit_pathway(Pathway(fidelity="spiking"), **asked)
    assert report.fidelity == front_end.metadata["fitted_on"]["fidelity"] == "spiking"
    assert front_end.metadata["fitted_on"]["trials"] == 4
    # Ganglion and relay cells were counted between 0 and 200 ms, and those before them were not.
    assert seen == [pytest.approx({"ganglion": 0.2, "lgn": 0.2})]
    scores = report.summary()["lgn"]["photographs"]
    assert 0.6 < scores["median_r2"] < scores["median_feve"] and scores["median_feve"] > 0.8
    assert report.summary()["ganglion"]["photographs"]["min_r2"] > 0.8
    monkeypatch.setattr(run, "run_chunks", lambda *_: pytest.fail("simulated again"))
    monkeypatch.setattr(fitting, "fit_front_end", lambda *_: front_end)
    assert bridge.fit_pathway(Pathway(fidelity="spiking"), **asked)[1].summary() == report.summary()


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
@given(
    mean=st.floats(0, np.log(5000)).map(np.exp),
    contrast=st.floats(0, 1),
    cycles=st.sampled_from([0.5, 1, 2, 4]),
    adapted=st.booleans(),
)
def test_neither_runaway_nor_silence(spiking, mean, contrast, cycles, adapted):
    """Mean luminance from 1 to 5,000 cd/m² and contrast from 0 to 1: gratings, met settled or out of a field of 100 cd/m².

    Settled relay cells keep an average of 3 Hz or more, and none passes 300 Hz (peak rates are 85 and 130 Hz); V1's cells fire
    .05 to 60 Hz on average (spontaneous rates are some .8, the highest evoked ones some 30 Hz), after 200 ms no more than 1 Hz
    above what they did before.
    """
    place = np.arange(32) / 16
    light = mean * (1 + contrast * np.sin(2 * np.pi * cycles * place))
    stimulus = luminance(np.broadcast_to(light, (1, 32, 32)).copy(), 16)
    found = spiking.simulate(
        stimulus,
        "gaze" if adapted else 100.0,
        duration=0.3,
        window=(0.0, 0.3),
        trials=6,  # as many as a network of `counts` has
        record="trace",
        seed=int(1000 * contrast),
    )
    late, bin_ = found.time > 0.2, float(found.time[1])
    relay = found.lgn.mean(("image", "trial")) / bin_
    if adapted:
        assert float(relay.sel(time=late).mean()) >= 3
    assert float(relay.mean("time").max()) <= 300
    cortex = found.v1.mean(("image", "trial")) / bin_
    assert 0.05 <= float(cortex.mean()) <= 60
    # Cells of 4 kinds in 256 columns: 1 Hz is many standard errors.
    assert float(cortex.sel(time=late).mean()) <= float(cortex.sel(time=~late).mean()) + 1


def test_rates_over_trials():
    """Experiments use the counts of a spiking pathway, averaged over trials, in Hz."""
    pathway, field = small()
    twice = xr.concat([field, 2 * field], "image")
    subject = TrialAveraged(pathway, relay_trials=3)
    asked = {"adapt_to": 100.0, "duration": 0.1, "window": (0.02, 0.1), "output": "lgn"}
    counts = subject.spike_counts(twice, trials=3, **asked)
    rates = subject.simulate(twice, **asked)
    assert counts.lgn.dims[:2] == ("image", "trial") and "trial" not in rates.dims
    assert np.allclose(rates.lgn, counts.lgn.mean("trial") / 0.08) and float(rates.lgn.max()) > 20
    trace = subject.simulate(twice, record="trace", **asked)
    # The last sample is taken 2 ms before the end: the same spikes, to the last one.
    until_then = subject.simulate(twice, **asked | {"window": (0.02, 0.098)})
    assert np.allclose(trace.ganglion.sel(time=slice(0.021, None)).mean("time"), until_then.ganglion)
    other = subject.simulate(2 * twice, **asked)
    assert not np.allclose(other.ganglion[0], rates.ganglion[1], atol=1e-9)


def test_trial_averages_do_not_depend_on_memory_but_on_seeds(monkeypatch):
    pathway, field = small()
    twice = xr.concat([field, 2 * field], "image")
    asked = {"adapt_to": 100.0, "duration": 0.05, "window": (0.0, 0.05), "output": "ganglion"}
    whole = TrialAveraged(pathway, relay_trials=2).simulate(twice, **asked)
    assert not TrialAveraged(pathway, relay_trials=2, seed=1).simulate(twice, **asked).ganglion.equals(whole.ganglion)
    monkeypatch.setattr(recording, "_IN_MEMORY", 1)
    parts = TrialAveraged(pathway, relay_trials=2).simulate(twice, **asked)
    assert parts.sizes == whole.sizes and np.allclose(parts.background, whole.background)
    means = [one.ganglion.mean(("image", "y", "x")).values for one in (whole, parts)]
    assert np.allclose(*means, rtol=0.15) and parts.ganglion.units == "Hz"


@pytest.mark.parametrize("trials", [2, pytest.param(60, marks=[pytest.mark.all, pytest.mark.slow])])
def test_cells_that_do_not_fire_far_from_the_middle_are_not_missed_there(trials):
    """With region.spiking the same cells see the same light: a bright bar beside the middle, on every station that fires."""
    # A weak suppressive field, so that the bar evokes many spikes. It does not end with the region.
    pathway, _ = small(lgn__midget_suppression_half=500)
    image = np.full((1, 21, 25), 100.0)
    image[:, :, 14:] = 400.0
    asked = {"adapt_to": 100.0, "output": "lgn", "trials": trials, "workers": 2}
    everywhere, near = (
        pathway.simulate(luminance(image, 16), seed=k, **asked | settings)
        for k, settings in enumerate(({"region": Region(0.2)}, {"region": Region(0.2, spiking=0.45)}))
    )
    assert everywhere.sizes == near.sizes and all(np.array_equal(everywhere[axis], near[axis]) for axis in ("x", "y"))
    assert np.allclose(everywhere.bipolar, near.bipolar)
    for station in ("ganglion", "lgn"):
        assert near[station].sizes["x"] == 7
        whole, part = (
            one[station].mean(("trial", "y")).transpose("image", f"{station}_channel", "x")[0]
            for one in (everywhere, near)
        )
        # At 60 trials 420 counts each: some three standard errors, and a bar that is worth many.
        assert np.allclose(whole, part, atol=0.35 * np.sqrt(60 / trials))
        assert float(whole[0].max() - whole[0].min()) > 2
    request = Request(output="lgn", trials=3, region=Region(spiking=0.45))
    cropped = make_plan(network_of(pathway), luminance(image, 16), request).specification.cells
    assert cropped.grid.cells == 3 * 15 * 15 and len(cropped.same_place) == 3 * 15 * 15
    with pytest.raises(ValueError, match="region.spiking must be None unless the output is"):
        pathway.simulate(luminance(np.full((1, 48, 48), 100.0), 16), 100.0, region=Region(spiking=0.5))


@pytest.mark.all
@pytest.mark.slow
def test_neighbours_replace_the_middle_cell_for_gratings(as_trials):
    """In the rate form, which has no noise: within 5 % of the best response, flashed and drifting, before V1."""
    pathway = Pathway()
    middle, estimated = (Electrode(subject, workers=2) for subject in (pathway, as_trials(pathway)))
    found = [
        one.grating_responses("parasol", np.array([0.4, 1.4, 2.8]), np.array([0.1, 0.25, 0.98]))["lgn"]
        for one in (middle, estimated)
    ]
    assert np.allclose(*found, atol=0.05 * found[0].max()) and not np.allclose(*found, rtol=1e-9)
    # Of patches those phases are shown that put light or dark in the middle: no other does better.
    found = [
        one.grating_responses("midget", 1.9, 0.5, diameters=np.array([0.2, 1.0, 3.0])) for one in (middle, estimated)
    ]
    assert all(np.allclose(*(one[station] for one in found), rtol=1e-6) for station in ("ganglion", "lgn"))
    for one in (middle, estimated):
        one.best_frequency = lambda cells: 1.9
    found = [one.drift_harmonics("midget", "ganglion", np.array([2, 8]), 0.2) for one in (middle, estimated)]
    assert np.allclose(*found, atol=0.05 * np.abs(found[0]).max()) and not np.allclose(*found, rtol=1e-9)


def test_harmonics_of_neighbours_in_the_phase_of_the_middle():
    """A grating that drifts passes cells one after the other: their mean, in phase, is the middle's, to rounding."""
    screen, times = Screen(9, 8), np.arange(0, 1, 0.002)
    films = screen.grating(0.9, 2 * np.pi * 4 * times, orientation=30)
    traces = np.stack([3 + 2 * films, 5 + np.roll(films, 25, axis=0)], axis=-1)
    harmonics = measures.first_harmonic(np.moveaxis(traces, 0, -1), times, 4)
    found = average_harmonics(harmonics, 30, 0.9, screen.degrees, screen.degrees)
    assert np.allclose(found, harmonics[4, 4], atol=1e-9) and abs(found[0]) == pytest.approx(2)


def test_fano_factors():
    """Poisson counts have 1, counts that never vary 0; below a mean of 1 there is none."""
    random = np.random.default_rng(0)
    counts = np.stack([random.poisson(6, 4000), np.full(4000, 3), random.poisson(0.5, 4000)], axis=1)
    mean, factor = measures.fano_factors(counts)
    assert mean == pytest.approx([6, 3, 0.5], rel=0.05)
    assert factor[0] == pytest.approx(1, abs=0.1) and factor[1] == 0 and np.isnan(factor[2])


def test_cortical_cells_vary_for_the_grating_that_drives_them(monkeypatch):
    """Of three cells that fire in pairs, singly, or not at all, before two gratings of four phases each."""
    electrode = Electrode(TrialAveraged(Pathway(fidelity="spiking")))
    column = Column(electrode)
    mean = np.arange(2.0, 10.0)  # By grating and phase.
    drawn = np.random.default_rng(0).poisson(mean[:, None, None], (8, 4000, 3)) * [2, 1, 0]
    shown = []

    def counts(screen, images, output, v1):
        shown.append((screen, images, output, v1))
        return xr.Dataset({"v1": (("image", "trial", "v1_channel", "v1_y", "v1_x"), drawn[..., None, None])})

    monkeypatch.setattr(electrode, "spike_counts", counts)
    panel = Panel(np.array([0, 3]), np.array([2, 4]), cells=np.array([0, 1, 2]), grating=np.array([1, 0, 1]))
    means, factor = column.count_variability(panel)
    ((screen, images, output, within),) = shown
    waves = [screen.grating(column.frequencies[f], PHASES, ORIENTATIONS[o]) for o, f in ((0, 2), (3, 4))]
    assert screen is column.movie and output == "v1" and 0 < within < screen.pixels / screen.pixels_per_degree / 2
    assert np.allclose(images, 100 * (1 + 0.98 * np.concatenate(waves)))
    pairs = factor > 1.5
    assert sorted(means[pairs] / 2) == pytest.approx(mean[4:], rel=0.05) and factor[pairs] == pytest.approx(2, rel=0.15)
    assert sorted(means[~pairs]) == pytest.approx(mean[:4], rel=0.05) and factor[~pairs] == pytest.approx(1, rel=0.15)


@pytest.mark.all
@pytest.mark.slow
@pytest.mark.xfail(
    reason="spiking V1 fires at a quarter of the rate form for this grating: docs/misses.md", strict=True
)
def test_rasters_show_the_spikes_of_the_time_courses(tmp_path, monkeypatch):
    """Four cells before V1, a simple and a complex one: in a raster as many spikes as the bars below it count."""
    pages, simulated = [], {}

    def simulate(pathway, stimulus, *, record, **settings):
        simulated[record] = original(pathway, stimulus, record=record, **settings)
        return simulated[record]

    original = Pathway.simulate
    monkeypatch.setattr(Pathway, "simulate", simulate)
    monkeypatch.setattr(raster, "TRIALS", 4)
    monkeypatch.setattr(raster, "save", lambda figure, path: pages.append((figure, path)))
    raster.draw_rasters(Pathway(fidelity="spiking", parameters={"v1.kinds": 4}), tmp_path / "rasters.png")
    ((page, path),) = pages
    assert path == tmp_path / "rasters.png" and len(page.axes) == 12
    recorded = simulated["spikes"]
    titles = []
    for row in (0, 6):
        for spikes, course in zip(page.axes[row : row + 3], page.axes[row + 3 : row + 6], strict=True):
            titles.append(spikes.get_title(loc="left"))
            time, trial = spikes.lines[0].get_data()
            assert set(trial) <= set(range(4)) and min(time) >= 0 and max(time) <= 250
            counted = course.patches[0].get_data().values.sum() * 4 * raster.BIN
            assert counted == pytest.approx(len(time)) and counted > 4
            rates = course.lines[0].get_ydata()
            assert 0.3 * rates.mean() < len(time) / (4 * raster.DURATION) < 3 * rates.mean()
            station, cell = titles[-1].split(", ")
            own = recorded[(recorded.station == station) & (recorded.channel == cell.replace(" ", "_"))]
            of_images = [own[own.image == image] for image in sorted(set(recorded.image))]
            assert any(np.array_equal(1000 * one.time, time) and np.array_equal(one.trial, trial) for one in of_images)
            means = simulated["trace"][station].sel({f"{station}_channel": cell.replace(" ", "_")}).mean("time")
            assert rates.mean() == pytest.approx(float(means.max()))
    assert titles[:4] == ["ganglion, midget on", "ganglion, parasol on", "lgn, midget on", "lgn, parasol on"]
    assert titles[4].startswith("v1, simple") and titles[5].startswith("v1, complex")


@pytest.mark.all
@pytest.mark.slow
def test_counts_vary_as_published():
    """Experiment 13 before V1: relay cells' Fano factor is .2 to .6 (Poisson trains have 1)."""
    electrode = Electrode(TrialAveraged(Pathway(fidelity="spiking"), relay_trials=1), workers=2)
    found = retina_lgn.EXPERIMENTS[13](electrode)
    assert 0.2 <= found.values["lgn_fano"] <= 0.6
    assert all(len(curve.x) for curve in found.curves)


def network_of(pathway):
    return Network(pathway.parameters, pathway.lesions, pathway.dt, "cpp")


def test_state_to_begin_in_is_that_of_all_trials(spiking, patches):
    spec = make_plan(network_of(spiking), patches[:2], Request(trials=3)).specification
    assert (spec.trials, spec.grid.images, spec.lead) == (3, 2, 100.0)
    state = steady_state(spec, Fields(np.full((2, 32, 32), 100.0)), noise=1)
    assert state["ganglion_midget_on.v"].size == 3 * Grid(2, 32, 32, 16.0).cells
    assert state["cascade.before"].shape == (2, 32, 32) and "ganglion.midget_on" not in state
    again = steady_state(spec, Fields(np.full((2, 32, 32), 100.0)), noise=1)
    assert all((again[name] == values).all() for name, values in state.items())


def test_noise_is_white():
    """Uniform of mean 0 and variance 1; no correlation between neighbours, steps or seeds, within four standard errors."""
    cells = np.arange(2000)
    drawn = np.stack([numbers(cells, step, seed) for seed in (5.0, 6.0) for step in range(200)])
    drawn = drawn.reshape(2, 200, len(cells))
    error = 4 / np.sqrt(drawn.size / 2)
    assert abs(drawn.mean()) < error and abs(drawn.var() - 1) < error
    assert np.abs(drawn).max() <= np.sqrt(3)
    for one, other in (
        (drawn[:, :, 1:], drawn[:, :, :-1]),
        (drawn[:, 1:], drawn[:, :-1]),
        (drawn[0], drawn[1]),
        (drawn[:, 1:, 1:], drawn[:, :-1, :-1]),
    ):
        assert abs((one * other).mean()) < 4 / np.sqrt(one.size)


def test_targets_fire_alike(many):
    """Noise is the same on every target, and so are spikes, but where rounding decides."""
    shown, settings = many
    # As many images as a network of `many` has.
    counts = [
        Pathway(fidelity="spiking", target=target).simulate(shown[:18], **settings) for target in ("numpy", "cpp")
    ]
    for station in ("ganglion", "lgn"):
        one, other = (found[station].values for found in counts)
        assert (one == other).mean() > 0.99
