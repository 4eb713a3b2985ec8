"""The baselines of the benchmarks compute the same responses as the simulation."""

from dataclasses import replace

import brian2
import numpy as np
import pytest
from brian2 import ms

from benchmarks import dense
from benchmarks.simulation import make_plan
from benchmarks.torch_loop import TorchLoop
from biomodel import GazeAdapted, Pathway
from biomodel.circuit.coupled_layer import coupling
from biomodel.circuit.lattice import Grid, gaussian_weights
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import executors


@pytest.fixture(scope="module")
def pathway():
    return Pathway(parameters={"v1.kinds": 4})


def test_torch_loop_equals_the_network(pathway, patches):
    """An independent implementation of the equations: an error in either shows."""
    plan = make_plan(pathway, patches[:1], "v1")
    shown, fields = plan.presentations.read(slice(None))
    out = TorchLoop(plan).run(shown[:, 0], steady_state(plan.specification, fields))
    responses = pathway.simulate(patches[:1])
    for station in ("lgn", "v1"):
        expected = responses[station].values
        assert np.abs(out[station] - expected).max() <= 1e-12 * np.abs(expected).max()


def test_dense_circuit_has_the_steady_state_of_the_network(patches, monkeypatch):
    """With kernels that are not cut, the dense circuit stays in the steady state of the coupled one."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    plan = make_plan(Pathway(), patches[:1, :12, :12], "lgn", GazeAdapted(0.0))
    specification = replace(plan.specification, grid=replace(plan.specification.grid, images=1))
    background = plan.presentations.read(slice(None))[1].start
    circuit = dense.wire(specification, mass=1 - 1e-9)
    state = dense.initial_state(specification, background)
    executors.set_state(circuit, executors.by_frame(background[:, None]), state)
    circuit.network.run(10 * ms, namespace={})
    for name in ("cone.photocurrent", "cone.signal", "horizontal.potential", "bipolar.diffuse_centre"):
        group, variable = name.split(".")
        found = circuit.stations[group].variables[variable].get_value()
        assert found == pytest.approx(state[name].ravel(), rel=1e-6)


def test_dense_kernels_sum_to_one_and_hold_their_mass():
    grid = Grid(2, 32, 32, 16)
    layer = coupling(4.0, 60.0)
    cut, wider = dense.layer_kernel(grid, layer, 0.99), dense.layer_kernel(grid, layer, 0.999)
    for kernel in (cut, wider, dense.centre_kernel(grid, gaussian_weights(1.5))):
        assert np.allclose(kernel.sum(axis=1), 1) and (kernel >= 0).all()
    assert (wider > 0).sum() > (cut > 0).sum() > 0.5 * cut.size
