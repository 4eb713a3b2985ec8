"""Lateral facilitation in V1 at rate fidelity: its factor in closed form, its lesion, and summation at low and high contrast."""

import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, ms, prefs
from scipy import optimize

from biomodel.circuit import lgn, v1
from biomodel.circuit.cell_types import cell_types
from biomodel.circuit.lattice import Grid
from biomodel.circuit.lesions import lesions_of
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.specification import V1_CLOCK
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters

LESION = "lateral_facilitation"
PARAMETERS = Parameters("macaque_parafovea", {"v1.kinds": 3})
CELLS = cell_types(PARAMETERS, 16.0)
PHASES = ("simple", "opposite")


@pytest.fixture(autouse=True)
def numpy_target(monkeypatch):
    monkeypatch.setitem(prefs, "codegen.target", "numpy")


def value(name):
    return PARAMETERS.value(f"v1.{name}")


def settle(changes, size, lesions=()):
    """Groups of V1 after .3 s of constant input: its change from rest by channel in Hz, a number or (y, x)."""
    grid = Grid(1, *size, 16.0)
    synapses = NeuronGroup(grid.cells, "\n".join(f"sent_{channel} : Hz" for channel in GANGLION_CHANNELS))
    for channel, rate in lgn.maintained(PARAMETERS).items():
        setattr(synapses, f"sent_{channel}", np.ravel(rate + changes.get(channel, 0) + np.zeros(size)) * Hz)
    setting = Setting(PARAMETERS, ("surround_suppression", *lesions), grid, 0.5 * ms)
    groups = v1.v1(setting, V1_CLOCK, synapses)
    for name, values in v1.steady_state(PARAMETERS, grid, 1).items():
        group, variable = name.split(".")
        if group in groups:
            unit = 1 if group.startswith("normalisation") else Hz
            setattr(groups[group], variable, values.ravel() * unit)
    Network(synapses, *groups.values()).run(300 * ms, namespace={})
    return groups


#: Even changes from rest, Hz.
EVEN = {"midget_on": 6.0, "midget_off": 1.0, "parasol_on": 2.0, "parasol_off": 9.0}


def rates(facilitated, normalised):
    """Rates of the simple cells of each type and phase for `EVEN`, Hz, by the steady state of V1's equations.

    Every pool has its input. The one that normalises depends on the factor, which it shunts: a root for each class.
    """
    drives = []
    for cell in CELLS:
        gain = value("parasol_gain") if cell.relay == "parasol" else 1.0
        sides = np.array([EVEN[f"{cell.relay}_{side}"] for side in ("on", "off")])
        shares = np.array([cell.afferents.weight[cell.afferents.on == on].sum() for on in (True, False)])
        drives.append(gain * np.array([shares @ sides, shares @ sides[::-1]]))
    bands = [v1.band_of(cell) for cell in CELLS]
    lateral = [np.mean([d.sum() for d, other in zip(drives, bands, strict=True) if other == band]) for band in bands]
    excited = [np.maximum(d - value("inhibition") * d[::-1], 0) for d in drives]
    assert min(np.min(d) for d in drives) > 0

    def powers(k, pool):
        shunt = 1 + value("normalisation_weight") * pool / value("lateral_normalisation_half")
        factor = 1 + lateral[k] / value("lateral_half") / shunt if facilitated else 1
        return (excited[k] * factor / value("semisaturation")) ** value("exponent")

    found = {}
    for relay in v1.RELAYS:
        members = [k for k, cell in enumerate(CELLS) if cell.relay == relay]
        pool = 0.0
        if normalised:
            pool = optimize.brentq(lambda n, m=members: n - np.mean([powers(k, n).sum() for k in m]), 0, 1e6)
        for k in members:
            divided = powers(k, pool) / (1 + value("normalisation_weight") * pool)
            found |= {k: value("spontaneous") + value("maximum_rate") * divided}
    return found


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("facilitated", [True, False])
def test_the_factor_is_the_closed_form(facilitated, normalised):
    """(1 + (l / l_half) / (1 + w n / n_half)) times the drive, in a field in which every pool equals its input."""
    assert {cell.relay for cell in CELLS} == {*v1.RELAYS} and LESION in lesions_of("v1")
    lesions = (() if facilitated else (LESION,)) + (() if normalised else ("normalisation",))
    groups = settle(EVEN, (6, 6), lesions)
    expected = rates(facilitated, normalised)
    assert any(name.startswith("lateral") for name in groups) is facilitated
    for k, each in expected.items():
        for phase, rate in zip(PHASES, each, strict=True):
            np.testing.assert_allclose(getattr(groups["v1"], f"{phase}_{k}") / Hz, rate, rtol=2e-3)
    plain = rates(False, normalised)
    if facilitated:
        assert max(np.max(expected[k]) / np.max(plain[k]) for k in expected) > 1.05


def test_facilitation_widens_summation_at_low_contrast():
    """Gratings in a narrow and a wide patch: what facilitation adds grows with the patch, and more so at low contrast."""
    kind = next(k for k, cell in enumerate(CELLS) if cell.relay == "midget")
    cell, side = CELLS[kind], 40
    down, right = (np.mgrid[:side, :side] - side / 2) / 16
    angle = np.deg2rad(cell.orientation)
    wave = np.cos(2 * np.pi * cell.frequency * (right * np.sin(angle) + down * np.cos(angle)))
    middle = (side // 2 // v1.STRIDE) * (side // v1.STRIDE) + side // 2 // v1.STRIDE

    def response(amplitude, radius, lesions):
        patch = amplitude * wave * (np.hypot(down, right) <= radius)
        changes = {"midget_on": patch, "midget_off": -patch}
        group = settle(changes, (side, side), lesions)["v1"]
        return sum(float(getattr(group, f"{phase}_{kind}")[middle] / Hz) - value("spontaneous") for phase in PHASES)

    def factor(amplitude, radius):
        return response(amplitude, radius, ()) / response(amplitude, radius, (LESION,))

    growth = [factor(amplitude, 1.1) / factor(amplitude, 0.3) for amplitude in (1.0, 15.0)]
    assert growth[0] > 1.05 and growth[0] > 1.05 * growth[1], growth
