"""The baselines that the simulation is measured against compute the same thing."""

import numpy as np

from benchmarks import dense
from benchmarks.simulation import prepared
from benchmarks.torch_loop import TorchLoop
from biomodel import Pathway
from biomodel.circuit import settled
from biomodel.wiring import Grid, coupling, gaussian_weights


def test_loop_in_pytorch_meets_the_network(patches, responses):
    """Written anew from the equations: a slip in either shows."""
    specification, presentations = prepared(Pathway(), patches[:3], "v1")
    every = slice(None)
    state = settled(specification, presentations.background(every))
    out = TorchLoop(specification).run(presentations.movie(every)[:, 0], state)
    for station in ("lgn", "v1"):
        expected = responses[station][:3].values
        assert np.abs(out[station] - expected).max() <= 1e-9 * np.abs(expected).max()


def test_dense_kernels_sum_to_one_and_hold_their_mass():
    grid = Grid(2, 32, 32, 16)
    layer = coupling(4.0, 60.0)
    cut, wider = dense.layer_kernel(grid, layer, 0.99), dense.layer_kernel(grid, layer, 0.999)
    for kernel in (cut, wider, dense.centre_kernel(grid, gaussian_weights(1.5))):
        assert np.allclose(kernel.sum(axis=1), 1) and (kernel >= 0).all()
    assert (wider > 0).sum() > (cut > 0).sum() > 0.5 * cut.size
