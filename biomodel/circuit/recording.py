"""Recorders of a circuit: means over a window, traces and spikes.

One network serves all durations, windows and types of recording: these are variables that are set before each run
(`run_variables`). Means are always taken; monitors of traces and spikes are switched on by the variable
``recording.trace``, since they hold an array of values for every cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np
from brian2 import NeuronGroup, SpikeMonitor, StateMonitor, Synapses, get_unit, linked_var, ms

from biomodel.circuit import lgn, retina, spiking, v1, v1_input
from biomodel.circuit.lattice import near_middle
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import Readout, State

#: The parts of a network by name.
Parts: TypeAlias = dict[str, NeuronGroup | Synapses]

#: The window of a mean, and the share of each of its samples.
WINDOW = """
window_start : second (shared, constant)
window_stop : second (shared, constant)
share : 1 (shared, constant)
"""

#: The group whose variables switch monitors on and end the run.
SWITCHES = "trace : 1 (shared, constant)\nduration : second (shared, constant)\n"

_READOUTS = {
    "cone": retina.CONE_READOUT,
    "horizontal": retina.HORIZONTAL_READOUT,
    "bipolar": retina.BIPOLAR_READOUT,
    "ganglion": retina.GANGLION_READOUT,
    "lgn": lgn.LGN_READOUT,
    "v1_input": v1_input.V1_INPUT_READOUT,
}


@dataclass(frozen=True)
class RunSettings:
    """What may differ between runs of one circuit; times in ms after onset.

    Attributes
    ----------
    duration : float
        How long the stimulus is shown.
    window : pair of float
        Start and end of the interval for means and counts.
    record : {"mean", "trace", "spikes"}
    """

    duration: float
    window: tuple[float, float]
    record: str


@dataclass(frozen=True)
class Output:
    """An array that is read after a run: a variable of a recorder, with `size` values (None: any number)."""

    recorder: NeuronGroup | StateMonitor | SpikeMonitor
    variable: str
    size: int | None


@dataclass(frozen=True)
class Recording:
    """The recording of one station.

    Attributes
    ----------
    station : str
    readout : Readout
        Channels, variables and unit.
    spiking : bool
        Whether spikes are recorded, and not a graded response.
    trials : bool
        Whether every trial has cells of its own.
    lattice, recorded : pair of numpy.ndarray
        Pixel rows and columns of all cells, and of those that are recorded.
    cells : numpy.ndarray of int
        Indices of the recorded cells of one channel, image after image (and trial after trial).
    places : dict of str to (str, int)
        The group that holds the cells of each spiking channel, and the index there of the channel's first cell.
    groups : dict of str to str
        The group that has each variable of a graded response.
    step : float
        Interval in ms of the samples that means are taken of.
    coordinates : dict
        What the cells of each channel of V1 are and prefer, as coordinates of ``v1_channel``.
    """

    station: str
    readout: Readout
    spiking: bool
    trials: bool
    lattice: tuple[np.ndarray, np.ndarray]
    recorded: tuple[np.ndarray, np.ndarray]
    cells: np.ndarray
    places: dict[str, tuple[str, int]]
    groups: dict[str, str]
    step: float
    coordinates: dict[str, tuple[str, list]]

    def samples(self, window: tuple[float, float]) -> range:
        """The samples that lie in a window (ms), in multiples of `step`."""
        first, stop = (ceil(edge / self.step - 0.5) for edge in window)
        return range(first, stop)


def plan_recordings(specification: Specification) -> dict[str, Recording]:
    """The recordings of all stations of a circuit."""
    return {station: _plan_recording(specification, station) for station in specification.stations}


def noise_groups(specification: Specification) -> list[str]:
    """Names of the groups of spiking cells; each has independent noise."""
    s = specification
    names = [
        f"{station}_{channel}" for station in s.spiking if station != "v1" for channel in _READOUTS[station].channels
    ]
    return [*names, "v1_simple", "v1_complex", "v1_inhibitory"] if "v1" in s.spiking else names


def _plan_recording(s: Specification, station: str) -> Recording:
    grid, is_spiking, has_trials = s.grid, station in s.spiking, station in s.noisy
    lattice = s.lattice(station)
    # Stations share their places: where spiking cells end, graded ones are not recorded either.
    within = min((limit for limit in (s.region.record, s.region.spiking) if limit is not None), default=None)
    rows, columns = (
        near_middle(places, side, grid.pixels_per_degree, within)
        for places, side in zip(lattice, (grid.height, grid.width), strict=True)
    )
    chosen = np.logical_and.outer(np.isin(lattice[0], rows), np.isin(lattice[1], columns)).ravel()
    readout = v1.readout(s.parameters) if station == "v1" else _READOUTS[station]
    return Recording(
        station,
        readout,
        is_spiking,
        has_trials,
        lattice,
        (rows, columns),
        np.flatnonzero(np.tile(chosen, grid.images * (s.trials if has_trials else 1))),
        spiking_channels(s, station, readout) if is_spiking else {},
        {} if is_spiking else graded_variables(station, readout, has_trials),
        s.recording_step(station),
        v1.coordinates(s.parameters, grid.pixels_per_degree) if station == "v1" else {},
    )


def spiking_channels(s: Specification, station: str, readout: Readout) -> dict[str, tuple[str, int]]:
    """The group that holds the cells of each spiking channel, and the index there of the channel's first cell."""
    if station != "v1":
        return {channel: (f"{station}_{channel}", 0) for channel in readout.channels}
    columns = v1.lattice_of(s.cells.grid, s.region.v1).cells
    return {channel: spiking.v1.group_and_first_cell(channel, columns) for channel in readout.channels}


def graded_variables(station: str, readout: Readout, has_trials: bool) -> dict[str, str]:
    """The group that has each variable of a graded response; with trials every channel is a group of its own."""
    return {
        variable: f"{station}_{channel}" if has_trials else station for channel, variable in readout.channels.items()
    }


def add_recorders(s: Specification, stations: Parts) -> tuple[Parts, dict[str, Output]]:
    """Recorders of all stations, by name, and the arrays that are read from them."""
    recorders: Parts = {"recording": NeuronGroup(1, SWITCHES, name="recording")}
    outputs: dict[str, Output] = {}
    for station, recording in plan_recordings(s).items():
        if recording.spiking:
            for name in dict.fromkeys(group for group, _ in recording.places.values()):
                group = stations[name]
                outputs[f"count.{name}"] = Output(group, "count", len(group))
                monitor = recorders[f"{name}_spikes"] = SpikeMonitor(group, name=f"{name}_spikes")
                outputs |= {f"spikes.{name}.{variable}": Output(monitor, variable, None) for variable in "it"}
            continue
        mean = recorders[f"{station}_mean"] = _mean_recorder(recording, stations)
        outputs |= {f"mean.{station}.{v}": Output(mean, f"mean_{v}", recording.cells.size) for v in recording.groups}
        for name in dict.fromkeys(recording.groups.values()):
            variables = [v for v, group in recording.groups.items() if group == name]
            trace = recorders[f"{name}_trace"] = StateMonitor(
                stations[name], variables, recording.cells, dt=s.trace_step * ms, when="start", name=f"{name}_trace"
            )
            outputs |= {f"trace.{station}.{v}": Output(trace, v, None) for v in variables}
    return recorders, outputs


def _mean_recorder(recording: Recording, stations: Parts) -> NeuronGroup:
    """A group that sums the recorded variables over the samples of the window."""
    cells, name = recording.cells, f"{recording.station}_mean"
    sources = {variable: stations[group] for variable, group in recording.groups.items()}
    equations = WINDOW
    for v, group in sources.items():
        unit = repr(get_unit(group.variables[v].dim))
        equations += f"{v} : {unit} (linked)\nmean_{v} : {unit}\n"
    averaging = NeuronGroup(len(cells), equations, dt=recording.step * ms, name=name)
    for v, group in sources.items():
        setattr(averaging, v, linked_var(group, v, index=None if len(cells) == len(group) else cells))
    inside = "int(t > window_start)*int(t < window_stop)*share"
    averaging.run_regularly(
        "\n".join(f"mean_{v} += {v}*({inside})" for v in sources),
        dt=recording.step * ms,
        when="start",
        name=f"{name}_sum",
    )
    return averaging


def run_variables(s: Specification, recordings: dict[str, Recording], settings: RunSettings) -> State:
    """The variables of recorders that are set before a run, by "group.variable", in SI units."""
    found: State = {"recording.trace": _scalar(settings.record != "mean", 1.0)}
    found["recording.duration"] = _scalar(s.lead + settings.duration)
    # Half a step keeps the edges clear of rounding.
    for station, recording in recordings.items():
        if recording.spiking:
            for group, _ in recording.places.values():
                found[f"{group}.count_start"] = _scalar(s.lead + settings.window[0] - s.dt / 2)
                found[f"{group}.count_stop"] = _scalar(s.lead + settings.window[1] - s.dt / 2)
            continue
        samples = recording.samples(settings.window)
        found[f"{station}_mean.window_start"] = _scalar(s.lead + (samples.start - 0.5) * recording.step)
        found[f"{station}_mean.window_stop"] = _scalar(s.lead + (samples.stop - 0.5) * recording.step)
        found[f"{station}_mean.share"] = _scalar(1 / max(1, len(samples)), 1.0)
    return found


def _scalar(value: float, unit: float = 1e-3) -> np.ndarray:
    return np.array([value * unit])
