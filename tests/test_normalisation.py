"""Normalisation in V1 at rate fidelity, in an even field, in which every pool equals its input: closed forms and time course."""

import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, StateMonitor, ms, prefs

from biomodel.circuit import lgn, v1
from biomodel.circuit.cell_types import cell_types
from biomodel.circuit.lattice import Grid
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.specification import V1_CLOCK
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters

PARAMETERS = Parameters("macaque_parafovea", {"v1.kinds": 3})
CELLS = cell_types(PARAMETERS, 16.0)
PHASES = ("simple", "opposite")

#: Changes of synaptic input from rest, Hz: both phases of every cell type are driven.
EVEN = {"midget_on": 6.0, "midget_off": 1.0, "parasol_on": 2.0, "parasol_off": 9.0}


@pytest.fixture(autouse=True)
def numpy_target(monkeypatch):
    monkeypatch.setitem(prefs, "codegen.target", "numpy")


def value(name):
    return PARAMETERS.value(f"v1.{name}")


def settle(duration, lesions=()):
    """Groups of V1 after `duration` ms of `EVEN` from rest on, without the surround; and a monitor of the pools."""
    grid = Grid(1, 6, 6, 16.0)
    synapses = NeuronGroup(grid.cells, "\n".join(f"sent_{channel} : Hz" for channel in GANGLION_CHANNELS))
    for channel, rate in lgn.maintained(PARAMETERS).items():
        setattr(synapses, f"sent_{channel}", (rate + EVEN[channel]) * Hz)
    groups = v1.v1(Setting(PARAMETERS, ("surround_suppression", *lesions), grid, 0.5 * ms), V1_CLOCK, synapses)
    for name, values in v1.steady_state(PARAMETERS, grid, 1).items():
        group, variable = name.split(".")
        if group in groups:
            setattr(groups[group], variable, values.ravel() * (Hz if group == "v1" else 1))
    monitors = {
        name: StateMonitor(group, "pooled", record=[0, group.N - 1], dt=5 * ms)
        for name, group in groups.items()
        if name.startswith("normalisation")
    }
    Network(synapses, *groups.values(), *monitors.values()).run(duration * ms, namespace={})
    return groups, monitors


def powers(inhibited=True):
    """Powers of the excitation of both phases of each cell type, (kind, phase)."""
    found = []
    for cell in CELLS:
        gain = value("parasol_gain") if cell.relay == "parasol" else 1.0
        sides = np.array([EVEN[f"{cell.relay}_{side}"] for side in ("on", "off")])
        shares = np.array([cell.afferents.weight[cell.afferents.on == on].sum() for on in (True, False)])
        drives = gain * np.array([shares @ sides, shares @ sides[::-1]])
        assert drives.min() > 0
        excited = np.maximum(drives - inhibited * value("inhibition") * drives[::-1], 0)
        found.append((excited / value("semisaturation")) ** value("exponent"))
    return np.array(found)


def pools(power):
    """Pool of each relay class: the sum over phases, averaged over its cell types."""
    classes = [cell.relay for cell in CELLS]
    return {relay: power[[one == relay for one in classes]].sum(axis=1).mean() for relay in v1.RELAYS}


@pytest.mark.parametrize("lesions", [(), ("normalisation",), ("push_pull",)])
def test_rates_are_the_closed_form(lesions):
    """s₀ + R (u / σ)^α / (1 + w n), with u = [D - p A]₊ and n of the class; what a lesion removes is 0."""
    assert {cell.relay for cell in CELLS} == {*v1.RELAYS}
    groups, monitors = settle(400, lesions)
    power = powers("push_pull" not in lesions)
    normalised = "normalisation" not in lesions
    assert bool(monitors) is normalised
    for k, cell in enumerate(CELLS):
        pool = pools(power)[cell.relay] if normalised else 0.0
        expected = value("spontaneous") + value("maximum_rate") * power[k] / (1 + value("normalisation_weight") * pool)
        for phase, rate in zip(PHASES, expected, strict=True):
            np.testing.assert_allclose(getattr(groups["v1"], f"{phase}_{k}") / Hz, rate, rtol=1e-3)
        assert not normalised or value("normalisation_weight") * pool > 1


def test_normalisation_builds_up_with_its_time_constant():
    """Without push-pull the input is a step: n approaches it as an exponential, in steps of forward Euler."""
    _, monitors = settle(100, ("push_pull",))
    expected = pools(powers(inhibited=False))
    for relay in v1.RELAYS:
        monitor = monitors[f"normalisation_{relay}"]
        step = float(monitor.source.clock.dt / ms)
        steps = np.ceil(np.asarray(monitor.t / ms) / step - 1e-6)
        share = 1 - (1 - step / value("normalisation_time")) ** steps
        assert share[-1] > 0.9
        for found in monitor.pooled:
            np.testing.assert_allclose(np.asarray(found), share * expected[relay], rtol=1e-6, atol=1e-9)
