"""The steady state of a circuit that has adapted to a static field."""

from __future__ import annotations

import numpy as np
from brian2 import (
    ms,
)

from biomodel.circuit import lgn, retina, spiking, v1
from biomodel.circuit.recording import firing
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State


def settled(specification: Specification, background: np.ndarray, noise: int = 0) -> State:
    """The state of every station after `background`, (image, y, x) in cd/m², has stood still for ever.

    Cells that fire are anywhere on the way to their next spike; `noise` is the seed of that, and of what comes.
    """
    s, parameters = specification, specification.parameters
    state = retina.settled(parameters, s.lesions, s.grid, s.dt * ms, background)
    if "lgn" in s.stations:
        state |= lgn.settled(parameters, s.lesions, background)
    if "v1" in s.stations:
        state |= v1.settled(parameters, s.grid, len(background), s.v1_within)
    present = {"cascade", "horizontal", *s.stations}
    present |= {"wide_amacrine"} if "bipolar" in present else set()
    present |= {"contrast_amacrine"} if "ganglion" in present else set()
    begun, random = {"cascade.before": background} if s.lead else {}, np.random.default_rng(noise)
    if s.spiking:
        begun |= seeded(s, noise)
        present -= set(s.spiking)
        begun |= spiking.ganglion.begun(state, s.cells, random)
        if "lgn" in s.stations:
            begun |= spiking.lgn.begun(parameters, s.lesions, s.cells, random)
        if "v1" in s.stations:
            begun |= spiking.v1.begun(parameters, s.lesions, s.cells, random, s.v1_within)
    else:
        present |= {f"{name}_interneuron" for name in lgn.CLASSES} if "lgn" in present else set()
        present |= v1.layers(parameters, s.lesions, s.grid.pixels_per_degree) if "v1" in present else set()
    return {name: values for name, values in state.items() if name.split(".")[0] in present} | begun


def seeded(specification: Specification, noise: int) -> State:
    """The part of a state that decides the noise to come."""
    s = specification
    groups = [group for station in s.spiking for group, _ in firing(s, station).values()]
    groups += ["v1_inhibitory"] if "v1" in s.spiking else []
    return spiking.noise.seeds(dict.fromkeys(groups), noise)
