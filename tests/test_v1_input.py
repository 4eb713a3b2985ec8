"""What relay cells' axons deliver to V1: closed forms, clocks and trials; the fitted stage is tested in test_stages."""

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, PoissonGroup, StateMonitor, ms, prefs
from scipy import integrate

from biomodel import DriftAdapted, Pathway, luminance
from biomodel.adaptation import Fields
from biomodel.circuit import lgn, retina, v1_input
from biomodel.circuit.lattice import Grid
from biomodel.circuit.lesions import lesions_of
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking import v1_input as spiking_form
from biomodel.circuit.spiking.cells import Trials
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters
from biomodel.physiology.recording import TrialAveraged

DEPRESSION, ADAPTATION = "thalamocortical_depression", "thalamocortical_adaptation"

#: Adaptation to contrast that settles within a test.
FAST = {"v1.contrast_time": 50, "v1.contrast_adaptation_time": 100}


@pytest.fixture
def numpy_target(monkeypatch):
    monkeypatch.setitem(prefs, "codegen.target", "numpy")


def delivered(parameters, channel, rate):
    """What synapses deliver at a constant relay rate, Hz: U, the recovery time and the maintained rate by hand."""
    release = parameters.value(f"v1.{channel.split('_')[0]}_release")
    use = parameters.value("v1.recovery_time") / 1000 * release
    maintained = 0.5 * parameters.value(f"ganglion.{channel}_maintained")
    return rate * (1 + use * maintained) / (1 + use * rate)


def loss(parameters, channel, contrast):
    """Factor f of a local contrast in Hz that has lasted for long: (1 + s / k₀)^p."""
    half = parameters.value(f"v1.{channel.split('_')[0]}_contrast_half")
    return (1 + contrast / half) ** parameters.value("v1.contrast_adaptation_exponent")


def synapses_of(parameters, rates, contrast, lesions=(), images=1):
    """Groups of constant relay rates in Hz and constant local contrast in Hz, each (cell,), and their synapses."""
    relay = NeuronGroup(len(rates), "\n".join(f"{channel} : Hz" for channel in GANGLION_CHANNELS), name="constant")
    relays = {"lgn": relay}
    for channel in GANGLION_CHANNELS:
        setattr(relay, channel, rates * Hz)
    for name in lgn.CLASSES:
        relays[f"{name}_interneuron"] = NeuronGroup(len(rates), "pooled : Hz**2", name=f"constant_{name}")
        relays[f"{name}_interneuron"].pooled = contrast**2 * Hz**2
    setting = Setting(parameters, lesions, Grid(1, 1, len(rates), 16.0), 0.5 * ms)
    synapses = v1_input.v1_input(setting, 2 * ms, relays)
    for name, values in v1_input.steady_state(setting, Fields(np.ones((1, 1, len(rates))))).items():
        unit = 1 if "resource" in name else Hz**2 if "variance" in name else Hz
        setattr(synapses, name.split(".")[1], values.ravel() * unit)
    return synapses, list(relays.values())


@pytest.mark.parametrize("lesions", [(), (DEPRESSION,), (ADAPTATION,), (DEPRESSION, ADAPTATION)])
def test_synapses_settle_at_the_closed_form(lesions, numpy_target):
    """m + (l x / x₀ - m) / (1 + s / k₀)^p, for rates from silence to the highest; without a mechanism x = x₀, or f = 1.

    Three seconds are six times the longest time constant.
    """
    parameters = Parameters("macaque_parafovea", FAST)
    rates, contrast = np.tile([0.0, 1.0, 20.0, 200.0], 3), np.repeat([0.0, 2.0, 60.0], 4)
    synapses, relays = synapses_of(parameters, rates, contrast, lesions)
    Network(synapses, *relays).run(3000 * ms, namespace={})
    assert hasattr(synapses, "midget_loss") is (ADAPTATION not in lesions)
    for channel in GANGLION_CHANNELS:
        maintained = 0.5 * parameters.value(f"ganglion.{channel}_maintained")
        sent = rates if DEPRESSION in lesions else delivered(parameters, channel, rates)
        divisor = 1 if ADAPTATION in lesions else loss(parameters, channel, contrast)
        expected = maintained + (sent - maintained) / divisor
        np.testing.assert_allclose(getattr(synapses, f"sent_{channel}") / Hz, expected, rtol=5e-3, atol=1e-9)


def test_contrast_of_the_last_seconds_passes_two_stages(numpy_target):
    """A step of contrast, on for 3 s and off for 3 s: K is an exponential, k the low-pass filtered root of it (quadrature)."""
    parameters, high, on = Parameters("macaque_parafovea"), 40.0, 3.0
    synapses, relays = synapses_of(parameters, np.array([10.0]), np.array([high]))
    names = [f"{name}_{variable}" for name in lgn.CLASSES for variable in ("variance", "contrast", "loss")]
    monitor = StateMonitor(synapses, names, record=True, dt=100 * ms)
    network = Network(synapses, *relays, monitor)
    network.run(on * 1000 * ms, namespace={})
    for interneurons in relays[1:]:
        interneurons.pooled = 0 * Hz**2
    network.run(3000 * ms, namespace={})
    fast, slow = (parameters.value(f"v1.{name}_time") / 1000 for name in ("contrast", "contrast_adaptation"))
    assert fast < on < slow
    times = np.asarray(monitor.t)

    def variance(t):
        return high**2 * (-np.expm1(-np.minimum(t, on) / fast)) * np.exp(-np.maximum(t - on, 0) / fast)

    expected = [
        integrate.quad(lambda t, end=end: np.sqrt(variance(t)) * np.exp((t - end) / slow) / slow, 0, end, points=[on])[
            0
        ]
        for end in times
    ]
    for name in lgn.CLASSES:
        np.testing.assert_allclose(
            getattr(monitor, f"{name}_variance")[0] / Hz**2, variance(times), rtol=1e-6, atol=1e-9
        )
        # A step of adaptation takes 20 ms; it adds the root at its end.
        step = v1_input.ADAPTATION_CLOCK * 0.002
        np.testing.assert_allclose(
            getattr(monitor, f"{name}_contrast")[0] / Hz, expected, rtol=0.01, atol=1.1 * step * high / slow
        )
        np.testing.assert_allclose(
            getattr(monitor, f"{name}_loss")[0][1:],
            loss(parameters, name, getattr(monitor, f"{name}_contrast")[0] / Hz)[1:],
            rtol=1e-9,
        )
        assert max(expected) > 0.3 * high


def test_a_static_field_delivers_the_maintained_rates():
    pathway, field = Pathway(target="numpy"), luminance(np.full((1, 6, 6), 60.0), 16)
    found = pathway.simulate(field, 60.0, output="v1_input", record="trace", duration=0.02, window=(0, 0.02))
    assert found.v1_input.units == "Hz" and found.v1_input.dims == ("image", "time", "v1_input_channel", "y", "x")
    assert list(found) == ["background", "cone", "horizontal", "bipolar", "ganglion", "lgn", "v1_input"]
    for channel, rate in lgn.maintained(pathway.parameters).items():
        np.testing.assert_allclose(found.v1_input.sel(v1_input_channel=channel), rate, rtol=1e-6)


def settled(lesions=(), images=None):
    """Setting, fields of the default state, and their settled adaptation, for three images by default: one is even."""
    if images is None:
        images = np.random.default_rng(0).uniform(10, 200, (3, 12, 12))
        images[1] = 60.0
    setting = Setting(Parameters("macaque_parafovea"), lesions, Grid(len(images), *images.shape[1:], 16.0), 0.5 * ms)
    fields = DriftAdapted().fields(images, 16, slice(None), retina.memories(setting.parameters))
    return setting, fields, v1_input.adapted(setting, fields)


def test_the_settled_state_is_the_contrast_of_the_scene():
    """K is the mean square of the whole scene, k its root, everywhere alike; 0 in an even scene, of which f is 1."""
    setting, fields, state = settled()
    variances = retina.settled_variance(setting, fields.scene)
    for name in lgn.CLASSES:
        expected = np.broadcast_to(variances[name], fields.start.shape)
        np.testing.assert_allclose(state[f"{name}_variance"], expected)
        np.testing.assert_allclose(state[f"{name}_contrast"] ** 2, expected)
        assert expected[1].max() < 1e-12 < 1 < expected[[0, 2]].min()
    stored = v1_input.steady_state(setting, fields)
    assert {f"v1_input.{name}" for name in state} < set(stored)
    assert settled((ADAPTATION,))[2] == {}
    for channel, rate in lgn.maintained(setting.parameters).items():
        assert (stored[f"v1_input.sent_{channel}"] == rate).all()


def test_responses_to_a_settled_image_are_divided_by_its_contrast():
    """With and without adaptation, behind one relay: departures from maintained rates differ by f of the settled contrast."""
    images = np.random.default_rng(1).uniform(10, 200, (2, 12, 12))
    images[1] = images[1].mean()
    # Contrast of the presentation itself does not count.
    parameters = {"v1.contrast_adaptation_time": 1e5}
    asked = {"output": "v1_input", "duration": 0.05, "window": (0.03, 0.05)}
    adapted, plain = (
        Pathway(target="numpy", lesions=lesions, parameters=parameters).simulate(luminance(images, 16), **asked)
        for lesions in ((), (ADAPTATION,))
    )
    np.testing.assert_allclose(adapted.lgn, plain.lgn, rtol=1e-9)
    setting, _, state = settled(images=images)
    for channel in GANGLION_CHANNELS:
        contrast = state[f"{channel.split('_')[0]}_contrast"]
        maintained = lgn.maintained(setting.parameters)[channel]
        departures = [found.v1_input.sel(v1_input_channel=channel).values - maintained for found in (adapted, plain)]
        np.testing.assert_allclose(
            departures[0], departures[1] / loss(setting.parameters, channel, contrast), rtol=2e-3, atol=1e-3
        )
        assert np.abs(departures[1][0]).max() > 1 and loss(setting.parameters, channel, contrast)[0].min() > 1.2


def test_recorded_values_follow_the_recorded_relay():
    """Synapses that release all and recover fast are always near the closed form of the relay's present rate."""
    squares = np.random.default_rng(1).uniform(0.05, 1.95, (1, 3, 3)).repeat(4, 1).repeat(4, 2)
    light = luminance(100 * squares, 16)
    times = dict.fromkeys(("v1.conduction_time", "v1.synaptic_time"), 1) | {"v1.recovery_time": 20}
    releases = dict.fromkeys(("v1.midget_release", "v1.parasol_release"), 1)
    # Ganglion cells without a transient after an even field: the relay's rates are large and hardly change.
    lasting = dict.fromkeys(("ganglion.midget_transience", "ganglion.parasol_transience"), 0)
    pathway = Pathway(target="numpy", parameters=times | releases | lasting, lesions=[ADAPTATION])
    found = pathway.simulate(light, 100.0, output="v1_input", duration=0.1, window=(0.07, 0.1))
    for channel in GANGLION_CHANNELS:
        rates, values = (found[station].sel({f"{station}_channel": channel}).values for station in ("lgn", "v1_input"))
        expected = delivered(pathway.parameters, channel, rates)
        # The relay's rates fall by a few per cent while the synapses follow.
        missed, undepressed = (np.abs(values - each).mean() for each in (expected, rates))
        assert undepressed > 1 and missed < 0.3 * undepressed, (channel, missed, undepressed)


def test_lesions_of_this_station():
    assert lesions_of("v1_input") == (DEPRESSION, ADAPTATION) and not {DEPRESSION, ADAPTATION} & {*lesions_of("v1")}


@pytest.mark.parametrize("lesions", [(), (ADAPTATION,)])
def test_spikes_deliver_the_closed_form_on_average(lesions, numpy_target):
    """Spikes of a Poisson process, whose mean effect is that of its rate: the maintained rate stays, departures are over f.

    Cells of the maintained rate, a fifth and three times of it, at a contrast of 30 Hz that is held. 200 cells in 1.5 s have
    some 5,000 spikes: 3 % is two standard errors.
    """
    brian2.seed(3)
    parameters, contrast = Parameters("macaque_parafovea", {"v1.contrast_adaptation_time": 1e5}), 30.0
    shares, each, dt = np.array([1.0, 0.2, 3.0]), 200, 0.5 * ms
    cells = each * len(shares)
    setting = Setting(parameters, lesions, Grid(1, 1, cells, 16.0), dt)
    trials = Trials(setting.grid, 1, range(1), range(cells))
    relays, maintained = {}, lgn.maintained(parameters)
    for name in lgn.CLASSES:
        relays[f"{name}_interneuron"] = NeuronGroup(cells, "pooled : Hz**2", name=f"constant_{name}")
        relays[f"{name}_interneuron"].pooled = contrast**2 * Hz**2
    for channel, rate in maintained.items():
        relays[f"lgn_{channel}"] = PoissonGroup(
            cells, np.repeat(rate * shares, each) * Hz, dt=dt, name=f"poisson_{channel}"
        )
    groups = spiking_form.v1_input(setting, trials, relays)
    monitors = []
    for channel, rate in maintained.items():
        group = groups[f"v1_input_{channel}"]
        group.resource, name = v1_input.resting_resources(parameters)[channel], channel.split("_")[0]
        setattr(group, f"sent_{channel}", rate * Hz)
        if not lesions:
            setattr(group, f"{name}_variance", contrast**2 * Hz**2)
            setattr(group, f"{name}_contrast", contrast * Hz)
        monitors.append(StateMonitor(group, f"sent_{channel}", record=True, dt=5 * ms))
    network = Network(*groups.values(), *relays.values(), *monitors)
    network.run(3000 * ms, namespace={})
    for (channel, rate), monitor in zip(maintained.items(), monitors, strict=True):
        # After the resources have settled.
        mean = np.asarray(getattr(monitor, f"sent_{channel}"))[:, 300:].mean(axis=1).reshape(-1, each).mean(axis=1)
        divisor = 1 if lesions else loss(parameters, channel, contrast)
        expected = (delivered(parameters, channel, rate * shares) - rate) / divisor
        assert mean[0] == pytest.approx(rate, rel=0.1)
        np.testing.assert_allclose(mean[1:] - mean[0], expected[1:], atol=0.06 * rate, err_msg=channel)
        # What it would be without division is farther away.
        assert lesions or abs(expected[1] * divisor - expected[1]) > 0.12 * rate


class Recorded:
    """A spiking pathway whose responses are known."""

    preset = parameters = classical_centre = lesions = dt = None
    fidelity = "spiking"

    def __init__(self, responses):
        self.responses = responses

    def simulate(self, *_, **__):
        return self.responses.copy()


def test_with_spikes_it_is_a_rate_in_every_trial():
    """A few cells in a static field, where it is about the maintained rate; averaged over trials it stays a rate."""
    pathway, field = Pathway(fidelity="spiking", target="numpy"), luminance(np.full((1, 8, 8), 60.0), 16)
    found = pathway.simulate(field, 60.0, output="v1_input", trials=2, duration=0.1, window=(0.0, 0.1))
    assert found.v1_input.units == "Hz" and found.v1_input.sizes["trial"] == 2 and found.lgn.units == "spikes"
    trials = found.v1_input.isel(image=0).values
    assert not np.array_equal(*trials) and not np.array_equal(trials, np.round(trials))
    mean = found.v1_input.mean(("image", "trial", "y", "x")).values
    np.testing.assert_allclose(mean, list(lgn.maintained(pathway.parameters).values()), rtol=0.25)
    averaged = TrialAveraged(Recorded(found)).simulate(field, 60.0, 0.1, (0.0, 0.1), "v1_input")
    np.testing.assert_allclose(averaged.v1_input, found.v1_input.mean("trial"))
    np.testing.assert_allclose(averaged.lgn, found.lgn.mean("trial") / 0.1)
    assert averaged.lgn.units == averaged.v1_input.units == "Hz"
