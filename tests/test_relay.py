"""Relay cells at rate fidelity: equations of `biomodel.circuit.lgn` against their closed forms."""

import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, ms, prefs

from biomodel.circuit import lgn
from biomodel.circuit.lattice import Grid
from biomodel.circuit.retina import GANGLION_CHANNELS, cell_class
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters

#: Rates of ganglion cells in each image, as shares of their maintained rates; silent in the first.
SHARES = np.array([0.0, 0.5, 0.999, 1.0, 1.2, 5.0])


@pytest.mark.parametrize("lesions", [(), ("lgn_suppression",)])
def test_constant_ganglion_rates_are_relayed_by_the_closed_form(lesions, monkeypatch):
    """[t m + t_e (g - m) / (1 + s / s_half)]_+; s is the root of the summed squares of ON and OFF, 0 with the lesion.

    Images are uniform, so that what interneurons pool is the same everywhere.
    """
    monkeypatch.setitem(prefs, "codegen.target", "numpy")
    transfer, evoked = 0.4, 0.8
    parameters = Parameters("macaque_parafovea", {"lgn.transfer": transfer, "lgn.evoked_transfer": evoked})
    grid = Grid(len(SHARES), 3, 4, 16.0)
    ganglia = NeuronGroup(grid.cells, "\n".join(f"{channel} : Hz" for channel in GANGLION_CHANNELS), name="constant")
    groups = lgn.lgn(Setting(parameters, lesions, grid, 0.5 * ms), ganglia)
    maintained = {channel: parameters.value(f"ganglion.{channel}_maintained") for channel in GANGLION_CHANNELS}
    for channel, rate in maintained.items():
        setattr(ganglia, channel, np.repeat(SHARES * rate, 12) * Hz)
    Network(ganglia, *groups.values()).run(400 * ms, namespace={})
    for channel, rate in maintained.items():
        cells = cell_class(channel)
        contrast = abs(SHARES - 1) * np.hypot(*(maintained[f"{cells}_{side}"] for side in ("on", "off")))
        divisor = 1 if lesions else 1 + contrast / parameters.value(f"lgn.{cells}_suppression_half")
        expected = transfer * rate + evoked * (SHARES - 1) * rate / divisor
        # The rectification matters where nothing divides.
        assert (expected[0] < -5) == bool(lesions)
        found = np.asarray(getattr(groups["lgn"], channel) / Hz).reshape(len(SHARES), 12)
        np.testing.assert_allclose(found, np.repeat(expected.clip(min=0)[:, None], 12, axis=1), rtol=1e-6, atol=1e-6)
