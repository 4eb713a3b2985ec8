"""What relay cells' axons deliver to V1: closed forms, clocks and trials; the fitted stage is tested in test_bridge."""

import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, ms, prefs

from biomodel import Pathway, luminance
from biomodel.circuit import lgn, v1_input
from biomodel.circuit.lattice import Grid
from biomodel.circuit.lesions import lesions_of
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters
from biomodel.physiology.recording import TrialAveraged

LESION = "thalamocortical_depression"


def delivered(parameters, channel, rate):
    """What synapses deliver at a constant relay rate, Hz: U, the recovery time and the maintained rate by hand."""
    release = parameters.value(f"v1.{channel.split('_')[0]}_release")
    use = parameters.value("v1.recovery_time") / 1000 * release
    maintained = 0.5 * parameters.value(f"ganglion.{channel}_maintained")
    return rate * (1 + use * maintained) / (1 + use * rate)


@pytest.mark.parametrize("lesions", [(), (LESION,)])
def test_synapses_settle_at_the_closed_form(lesions, monkeypatch):
    """Cells of constant rates from silence to the highest; three seconds are six times the recovery time."""
    monkeypatch.setitem(prefs, "codegen.target", "numpy")
    parameters, rates = Parameters("macaque_parafovea"), np.array([0.0, 1.0, 20.0, 200.0])
    relay = NeuronGroup(len(rates), "\n".join(f"{channel} : Hz" for channel in GANGLION_CHANNELS), name="constant")
    synapses = v1_input.v1_input(Setting(parameters, lesions, Grid(1, 1, 4, 16.0), 0.5 * ms), 2 * ms, relay)
    for name, values in v1_input.steady_state(parameters, np.ones((1, 1, 4))).items():
        setattr(synapses, name.split(".")[1], values.ravel() * (1 if "resource" in name else Hz))
    for channel in GANGLION_CHANNELS:
        setattr(relay, channel, rates * Hz)
    Network(relay, synapses).run(3000 * ms, namespace={})
    for channel in GANGLION_CHANNELS:
        expected = rates if lesions else delivered(parameters, channel, rates)
        np.testing.assert_allclose(getattr(synapses, f"sent_{channel}") / Hz, expected, rtol=5e-3, atol=1e-9)


def test_a_static_field_delivers_the_maintained_rates():
    pathway, field = Pathway(target="numpy"), luminance(np.full((1, 6, 6), 60.0), 16)
    found = pathway.simulate(field, 60.0, output="v1_input", record="trace", duration=0.02, window=(0, 0.02))
    assert found.v1_input.units == "Hz" and found.v1_input.dims == ("image", "time", "v1_input_channel", "y", "x")
    assert list(found) == ["background", "cone", "horizontal", "bipolar", "ganglion", "lgn", "v1_input"]
    for channel, rate in lgn.maintained(pathway.parameters).items():
        np.testing.assert_allclose(found.v1_input.sel(v1_input_channel=channel), rate, rtol=1e-6)


def test_recorded_values_follow_the_recorded_relay():
    """Synapses that release all and recover fast are always near the closed form of the relay's present rate."""
    squares = np.random.default_rng(1).uniform(0.05, 1.95, (1, 3, 3)).repeat(4, 1).repeat(4, 2)
    light = luminance(100 * squares, 16)
    times = dict.fromkeys(("v1.conduction_time", "v1.synaptic_time"), 1) | {"v1.recovery_time": 20}
    releases = dict.fromkeys(("v1.midget_release", "v1.parasol_release"), 1)
    # Ganglion cells without a transient after an even field: the relay's rates are large and hardly change.
    lasting = dict.fromkeys(("ganglion.midget_transience", "ganglion.parasol_transience"), 0)
    pathway = Pathway(target="numpy", parameters=times | releases | lasting)
    found = pathway.simulate(light, 100.0, output="v1_input", duration=0.1, window=(0.07, 0.1))
    for channel in GANGLION_CHANNELS:
        rates, values = (found[station].sel({f"{station}_channel": channel}).values for station in ("lgn", "v1_input"))
        expected = delivered(pathway.parameters, channel, rates)
        # The relay's rates fall by a few per cent while the synapses follow.
        missed, undepressed = (np.abs(values - each).mean() for each in (expected, rates))
        assert undepressed > 1 and missed < 0.3 * undepressed, (channel, missed, undepressed)


def test_depression_is_a_lesion_of_this_station():
    assert lesions_of("v1_input") == (LESION,) and LESION not in lesions_of("v1")


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
