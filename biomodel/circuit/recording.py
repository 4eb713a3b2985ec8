"""Recorders and outputs of a circuit: means over a window, traces, spike counts, spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from brian2 import NeuronGroup, SpikeMonitor, StateMonitor, Synapses, get_unit, linked_var, ms

from biomodel.circuit import lgn, retina, spiking, v1
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import Readout

#: The parts of a network by name.
Parts: TypeAlias = dict[str, NeuronGroup | Synapses]


@dataclass(frozen=True)
class Output:
    """An array that is read after a run: a variable of a recorder, with `size` values (None: any number)."""

    recorder: NeuronGroup | StateMonitor | SpikeMonitor
    variable: str
    size: int | None


def readout(specification: Specification, station: str) -> Readout:
    """The variables that are one station's responses."""
    if station == "v1":
        return v1.readout(specification.parameters)
    return _READOUTS[station]


_READOUTS = {
    "cone": retina.CONE_READOUT,
    "horizontal": retina.HORIZONTAL_READOUT,
    "bipolar": retina.BIPOLAR_READOUT,
    "ganglion": retina.GANGLION_READOUT,
    "lgn": lgn.LGN_READOUT,
}


def response_outputs(s: Specification, name: str, group: NeuronGroup) -> dict[str, Output]:
    """Outputs of one station's rates or potentials: means over the window, or a trace."""
    read = recorder(s, name, group)
    tracing = isinstance(read, StateMonitor)
    size = recorded_cells(s, name).size * s.recorder_samples
    return {
        f"response.{name}.{variable}": Output(read, variable if tracing else f"mean_{variable}", size)
        for variable in readout(s, name).variables
    }


def spiking_channels(s: Specification, station: str) -> dict[str, tuple[str, int]]:
    """The group of each spiking channel's cells, and the index there of the first one."""
    channels = readout(s, station).channels
    if station != "v1":
        return {channel: (f"{station}_{channel}", 0) for channel in channels}
    columns = v1.lattice_of(s.cells.grid, s.v1_within).cells
    return {channel: spiking.v1.place(channel, columns) for channel in channels}


def spiking_groups(s: Specification) -> dict[str, np.ndarray]:
    """The groups whose spikes are recorded, and the recorded cells of each, channel after channel."""
    groups: dict[str, list[np.ndarray]] = {}
    for station in s.spiking:
        for group, first in spiking_channels(s, station).values():
            groups.setdefault(group, []).append(first + recorded_cells(s, station))
    return {group: np.concatenate(cells) for group, cells in groups.items()}


def spike_outputs(s: Specification, stations: Parts) -> dict[str, Output]:
    """Outputs of spiking cells: counts in the window, cumulative counts over time, or single spikes."""
    outputs: dict[str, Output] = {}
    for name, cells in spiking_groups(s).items():
        group = stations[name]
        if s.record == "spikes":
            monitor = SpikeMonitor(group, name=f"{name}_spikes")
            outputs |= {f"spikes.{name}.{variable}": Output(monitor, variable, None) for variable in ("i", "t")}
        elif s.record == "trace":
            read = StateMonitor(group, "count", cells, dt=s.trace_step * ms, when="start", name=f"{name}_recorder")
            size = cells.size * s.recorder_samples
            outputs[f"spikes.{name}.count"] = Output(read, "count", size)
        else:
            outputs[f"spikes.{name}.count"] = Output(group, "count", len(group))
    return outputs


def recorder(s: Specification, name: str, group: NeuronGroup) -> NeuronGroup | StateMonitor:
    """The recorder of one station's variables: their means over the window, or a trace."""
    variables, chosen = readout(s, name).variables, recorded_cells(s, name)
    if s.record == "trace":
        return StateMonitor(group, variables, chosen, dt=s.trace_step * ms, when="start", name=f"{name}_recorder")
    step, samples = s.recording_step(name), s.samples(name)
    equations = "".join(
        f"{v} : {_dimension(group, v)} (linked)\nmean_{v} : {_dimension(group, v)}\n" for v in variables
    )
    averaging = NeuronGroup(len(chosen), equations, dt=step * ms, name=f"{name}_recorder")
    for v in variables:
        index = None if len(chosen) == len(group) else chosen
        setattr(averaging, v, linked_var(group, v, index=index))
    # Half a step keeps the edges clear of rounding.
    first, stop = (s.lead + (edge - 0.5) * step for edge in (samples.start, samples.stop))
    inside = f"int(t > {first!r}*ms)*int(t < {stop!r}*ms)"
    averaging.run_regularly(
        "\n".join(f"mean_{v} += {v}*({inside}/{len(samples)})" for v in variables),
        dt=step * ms,
        when="start",
        name=f"{name}_averaging",
    )
    return averaging


def recorded_cells(s: Specification, station: str) -> np.ndarray:
    """Indices of the recorded cells in a station's group, image after image."""
    rows, columns = (
        np.isin(places, chosen) for places, chosen in zip(s.lattice(station), s.recorded_lattice(station), strict=True)
    )
    images = s.grid.images * (s.trials if station in s.spiking else 1)
    return np.flatnonzero(np.tile(np.logical_and.outer(rows, columns).ravel(), images))


def _dimension(group: NeuronGroup, variable: str) -> str:
    return repr(get_unit(group.variables[variable].dim))
