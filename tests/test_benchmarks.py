"""The baselines that the simulation is measured against compute the same thing."""

import numpy as np

from benchmarks import dense
from benchmarks.simulation import prepared
from benchmarks.torch_loop import TorchLoop
from biomodel import Pathway
from biomodel.circuit import settled


def test_loop_in_pytorch_meets_the_network(patches, responses):
    """Written anew from the equations: a slip in either shows."""
    specification, presentations = prepared(Pathway(), patches[:3], "v1")
    every = slice(None)
    state = settled(specification, presentations.background(every))
    out = TorchLoop(specification).run(presentations.movie(every)[:, 0], state)
    for station in ("lgn", "v1"):
        expected = responses[station][:3].values
        assert np.abs(out[station] - expected).max() <= 1e-9 * np.abs(expected).max()


def test_dense_kernels_sum_to_one_and_hold_their_mass(patches):
    specification, _ = prepared(Pathway(), patches[:1], "lgn")
    surround, centre = dense.surround_kernel(specification, 0.99), dense.centre_kernel(specification)
    for kernel in (surround, centre):
        assert np.allclose(kernel.sum(axis=1), 1) and (kernel >= 0).all()
    wider = dense.surround_kernel(specification, 0.999)
    assert (wider > 0).sum() > (surround > 0).sum() > 0.5 * surround.size
