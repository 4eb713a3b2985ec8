"""The baselines that the simulation is measured against compute the same thing."""

from dataclasses import replace

import brian2
import numpy as np
import pytest
from brian2 import ms

from benchmarks import dense
from benchmarks.simulation import make_plan
from benchmarks.torch_loop import TorchLoop
from biomodel import Pathway
from biomodel.circuit import v1
from biomodel.circuit.assembly import assemble
from biomodel.circuit.coupled_layer import coupled_layer, coupling
from biomodel.circuit.lattice import Grid, gaussian_weights
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import executors


@pytest.fixture(scope="module")
def pathway():
    return Pathway(parameters={"v1.kinds": 4})


def test_loop_in_pytorch_meets_the_network(pathway, patches):
    """Written anew from the equations: a slip in either shows."""
    plan = make_plan(pathway, patches[:3], "v1")
    shown, background = plan.presentations.read(slice(None))
    out = TorchLoop(plan).run(shown[:, 0], steady_state(plan.specification, background))
    responses = pathway.simulate(patches[:3])
    for station in ("lgn", "v1"):
        expected = responses[station].values
        assert np.abs(out[station] - expected).max() <= 1e-12 * np.abs(expected).max()


def test_dense_v1_meets_the_network(pathway, patches):
    """Behind the same relay, and with coupled layers, synapses pool what the stencils do."""
    plan = make_plan(pathway, patches[:2], "v1")
    s = replace(plan.specification, grid=replace(plan.specification.grid, images=2))
    movie, background = plan.presentations.read(slice(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(brian2.prefs, "codegen.target", "numpy")
        coupled, front = assemble(s, False), assemble(replace(s, output="lgn"), False)
        groups, synapses = dense.cortex(s, front.stations["lgn"], coupled_layer)
        front.network.add(*groups.values(), *synapses)
        wired = replace(front, stations=front.stations | groups)
        for circuit, state in ((coupled, steady_state(s, background)), (wired, dense.start(s, background))):
            executors.set_state(circuit, executors.by_frame(movie), state)
            circuit.network.run(60 * ms, namespace={})
    for name in v1.channels(s.parameters):
        expected, found = (np.array(getattr(circuit.stations["v1"], name)) for circuit in (coupled, wired))
        assert np.ptp(expected) > 1
        assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


def test_dense_kernels_sum_to_one_and_hold_their_mass():
    grid = Grid(2, 32, 32, 16)
    layer = coupling(4.0, 60.0)
    cut, wider = dense.layer_kernel(grid, layer, 0.99), dense.layer_kernel(grid, layer, 0.999)
    for kernel in (cut, wider, dense.centre_kernel(grid, gaussian_weights(1.5))):
        assert np.allclose(kernel.sum(axis=1), 1) and (kernel >= 0).all()
    assert (wider > 0).sum() > (cut > 0).sum() > 0.5 * cut.size
