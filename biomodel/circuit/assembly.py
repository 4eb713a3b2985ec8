"""Assembly of the stations into one Brian2 network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, TimedArray, ms

from biomodel.circuit import lgn, retina, spiking, v1, v1_input
from biomodel.circuit.recording import Output, Parts, add_recorders
from biomodel.circuit.specification import SPIKING_V1_CLOCK, V1_CLOCK, Specification
from biomodel.utils.units import cd_per_m2


@dataclass(frozen=True)
class Circuit:
    """A wired network: the groups of its `stations`, its recorded `outputs`, and the `movie` that drives the cones."""

    specification: Specification
    network: Network
    stations: Parts
    outputs: dict[str, Output]
    movie: TimedArray

    @property
    def monitors(self) -> list[StateMonitor | SpikeMonitor]:
        """Monitors of traces and spikes, which are switched on before a run."""
        recorders = {output.recorder.name: output.recorder for output in self.outputs.values()}
        return [recorder for recorder in recorders.values() if isinstance(recorder, StateMonitor | SpikeMonitor)]


def assemble(specification: Specification, recording: bool = True) -> Circuit:
    """Wire the network of a specification on the current Brian2 device. Its state is set later."""
    s, setting = specification, specification.setting
    movie = TimedArray(np.zeros((s.frames, s.grid.cells)) * cd_per_m2, dt=s.frame_duration * ms, name="movie")
    cascades = retina.cascade(setting, movie, s.movie_step * ms, s.lead * ms)
    stations: Parts = {"cascade": cascades, "cone": retina.cone(setting, cascades, s.lead * ms)}
    # Cones and horizontal cells form a loop: neither works without the other.
    stations["horizontal"] = retina.horizontal(setting, stations["cone"])
    if "bipolar" in s.stations:
        bipolars = retina.bipolar(setting, stations["cone"], stations["horizontal"], s.lead * ms)
        stations |= {"bipolar": bipolars, "wide_amacrine": retina.wide_amacrine(setting, bipolars)}
    if "ganglion" in s.stations:
        contrast = retina.contrast_amacrine(setting, stations["bipolar"])
        remote = retina.remote_amacrine(setting, contrast)
        stations |= {"contrast_amacrine": contrast, "remote_amacrine": remote}
        later_stations = _spiking if s.spiking else _rates
        stations |= later_stations(s, stations["bipolar"], contrast, remote)
    recorders, outputs = add_recorders(s, stations) if recording else ({}, {})
    return Circuit(s, Network(*(recorders | stations).values()), stations | recorders, outputs, movie)


def _rates(s: Specification, bipolars: NeuronGroup, contrast: NeuronGroup, remote: NeuronGroup) -> Parts:
    """Ganglion cells, relay, V1's input and V1 at rate fidelity."""
    groups: Parts = {"ganglion": retina.ganglion(s.setting, bipolars, contrast, remote)}
    if "lgn" in s.stations:
        groups |= lgn.lgn(s.setting, groups["ganglion"])
    if "v1_input" in s.stations:
        groups["v1_input"] = v1_input.v1_input(s.setting, s.clock("v1_input"), groups)
    if "v1" in s.stations:
        groups |= v1.v1(s.setting, V1_CLOCK, groups["v1_input"], s.region.v1)
    return groups


def _spiking(s: Specification, bipolars: NeuronGroup, contrast: NeuronGroup, remote: NeuronGroup) -> Parts:
    """Ganglion cells, relay, V1's input and V1 at spiking fidelity."""
    inputs = spiking.ganglion.inputs(s.setting, bipolars, contrast, remote)
    groups: Parts = {inputs.name: inputs, **spiking.ganglion.ganglion(s.setting, s.cells, inputs)}
    if "lgn" in s.stations:
        groups |= spiking.lgn.lgn(s.setting, s.cells, groups)
    if "v1_input" in s.stations:
        groups |= spiking.v1_input.v1_input(s.setting, s.cells, groups)
    if "v1" in s.stations:
        groups |= spiking.v1.v1(s.setting, s.cells, SPIKING_V1_CLOCK, groups, s.region.v1)
    return groups
