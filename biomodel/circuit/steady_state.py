"""The state in which a circuit starts: the steady state in a static field, with random spiking cells."""

from __future__ import annotations

import numpy as np

from biomodel.adaptation import Fields
from biomodel.circuit import lgn, retina, spiking, v1, v1_input
from biomodel.circuit.recording import noise_groups
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State


def steady_state(specification: Specification, fields: Fields, noise: int = 0) -> State:
    """The state of every station after adaptation to static fields.

    Spiking cells have no steady state: their membranes start at random values.

    Parameters
    ----------
    specification : Specification
    fields : Fields
        Luminance in cd/m², (image, y, x).
    noise : int
        Seed of the random membranes and of the noise that follows.

    Returns
    -------
    dict of "group.variable" to numpy.ndarray, SI units
    """
    s, parameters = specification, specification.parameters
    background = fields.start
    state = retina.steady_state(s.setting, fields)
    if "lgn" in s.stations:
        state |= lgn.steady_state(parameters, background)
    if "v1_input" in s.stations:
        state |= v1_input.steady_state(s.setting, fields)
    if "v1" in s.stations:
        state |= v1.steady_state(parameters, s.grid, len(background), s.region.v1)
    present = {"cascade", "horizontal", *s.stations}
    present |= {"wide_amacrine"} if "bipolar" in present else set()
    present |= {"contrast_amacrine", "remote_amacrine"} if "ganglion" in present else set()
    present |= {f"{name}_interneuron" for name in lgn.CLASSES} if "lgn" in present else set()
    initial, random = {"cascade.before": background} if s.lead else {}, np.random.default_rng(noise)
    if s.spiking:
        initial |= noise_seeds(s, noise)
        present -= set(s.noisy)
        initial |= spiking.ganglion.initial_state(state, s.cells, random)
        if "lgn" in s.stations:
            initial |= spiking.lgn.initial_state(parameters, s.cells, random)
        if "v1_input" in s.stations:
            initial |= spiking.v1_input.initial_state(s.setting, s.cells, fields)
        if "v1" in s.stations:
            initial |= spiking.v1.initial_state(s.setting, s.cells, random, s.region.v1)
    else:
        present |= v1.layers(parameters, s.lesions, s.grid.pixels_per_degree) if "v1" in present else set()
    return {name: values for name, values in state.items() if name.split(".")[0] in present} | initial


def noise_seeds(specification: Specification, noise: int) -> State:
    """The part of a state that seeds the noise of spiking cells."""
    s = specification
    return spiking.noise.seeds(noise_groups(s), noise)
