"""The stations wired into one Brian2 network, with the recorders that read it out.

A `Specification` is plain data and determines a network completely; the compiler, its cache and worker processes pass
it on as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import ceil, gcd
from typing import TypeAlias

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    Quantity,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    get_unit,
    linked_var,
    ms,
)

from biomodel import lgn, retina, spiking, v1
from biomodel.cortical_kinds import kinds
from biomodel.parameters import Parameters
from biomodel.spiking.cells import Trials
from biomodel.station import Readout, State
from biomodel.units import cd_per_m2
from biomodel.wiring import Grid, centre_weights, field_radius, near_middle

#: The stations in the order in which light passes them, and those whose cells can fire.
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn", "v1")
SPIKING = ("ganglion", "lgn", "v1")

#: Mechanisms that can be taken out by name.
LESIONS = (
    "cone_adaptation",
    "horizontal_feedback",
    "luminance_gain",
    "contrast_gain",
    "lgn_suppression",
    *v1.LESIONS,
)

#: V1's membranes are slow: its clock ticks once in so many steps of the retina's, with spikes more often.
V1_CLOCK = 4
SPIKING_V1_CLOCK = 2

#: Rates are averaged over samples this far apart, ms.
SAMPLING = 1.0


@dataclass(frozen=True)
class Specification:
    """All that determines a network but the stimulus, and what is read from it in the end; times are in ms."""

    preset: str
    fidelity: str
    values: tuple[tuple[str, float], ...]
    lesions: tuple[str, ...]
    grid: Grid
    dt: float
    until: str
    duration: float
    window: tuple[float, float]
    record: str
    frames: int
    frame_duration: float
    leaves_state: bool = False
    v1_within: float | None = None
    record_within: float | None = None
    fires_within: float | None = None
    trials: int = 1
    lead: float = 0.0

    @property
    def parameters(self) -> Parameters:
        """The preset with this specification's values."""
        return Parameters(self.preset, dict(self.values), self.fidelity)

    @property
    def spiking(self) -> tuple[str, ...]:
        """The stations whose cells fire."""
        return tuple(name for name in self.stations if name in SPIKING) if self.fidelity == "spiking" else ()

    @property
    def cells(self) -> Trials:
        """The spiking cells of every trial; what is counted is what they fire in the window, or all along a trace."""
        start, stop = (-self.lead, self.duration) if self.record == "trace" else self.window
        # Half a step keeps the edges clear of rounding.
        rows, columns = (range(places[0], places[-1] + 1) for places in self.stand("ganglion"))
        begin, end = (self.lead + edge - self.dt / 2 for edge in (start, stop))
        return Trials(self.grid, self.trials, begin, end, rows, columns)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations that are simulated."""
        return STATIONS[: STATIONS.index(self.until) + 1]

    @property
    def trace_step(self) -> float:
        """Interval of a trace's samples in ms, the same at every station."""
        return max(SAMPLING, self.dt * V1_CLOCK)

    @property
    def trace_samples(self) -> int:
        """Number of a trace's samples."""
        return len(np.arange(0, self.duration - 1e-9, self.trace_step))

    @property
    def lead_samples(self) -> int:
        """Number of samples that the recorder of a trace takes before the image comes."""
        return round(self.lead / self.trace_step)

    @property
    def recorder_samples(self) -> int:
        """Number of values of each cell in what a recorder leaves."""
        return self.lead_samples + self.trace_samples if self.record == "trace" else 1

    def samples(self, station: str) -> range:
        """The ticks of a station's recorder that lie in the window, in steps of `recording_step`."""
        step = self.recording_step(station)
        first, stop = (ceil(edge / step - 0.5) for edge in self.window)
        return range(first, stop)

    def recording_step(self, station: str) -> float:
        """Interval in ms of the samples that a mean is taken of."""
        return max(SAMPLING, float(self.clock(station) / ms))

    def stand(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns on which a station's cells stand."""
        ppd, sides = self.grid.pixels_per_degree, (self.grid.height, self.grid.width)
        rows, columns = (v1.lattice(n, ppd, self.v1_within) if station == "v1" else np.arange(n) for n in sides)
        if station in self.spiking and station != "v1":
            rows, columns = (near_middle(places, len(places), ppd, self.fires_within) for places in (rows, columns))
        return rows, columns

    def recorded(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns on which a station's cells stand that are recorded."""
        grid = self.grid
        rows, columns = (
            near_middle(places, n, grid.pixels_per_degree, self.record_within)
            for places, n in zip(self.stand(station), (grid.height, grid.width), strict=True)
        )
        return rows, columns

    def clock(self, station: str) -> Quantity:
        """The step at which a station is integrated."""
        cortical = SPIKING_V1_CLOCK if self.fidelity == "spiking" else V1_CLOCK
        return self.dt * ms * (cortical if station == "v1" else 1)

    @property
    def movie_step(self) -> float:
        """How often in ms a cone has to look at the film: with every frame, if frames and the lead last whole steps."""
        steps = [time / self.dt for time in (self.frame_duration, self.lead)]
        if any(abs(number - round(number)) > 1e-6 for number in steps):
            return self.dt
        return gcd(*map(round, steps)) * self.dt if self.lead else self.frame_duration

    def to_json(self) -> str:
        """A canonical text: equal for equal specifications."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Specification:
        """The specification that `to_json` wrote."""
        plain = json.loads(text)
        plain["values"] = tuple((name, value) for name, value in plain["values"])
        plain["lesions"] = tuple(plain["lesions"])
        plain["window"] = tuple(plain["window"])
        plain["grid"] = Grid(**plain["grid"])
        return Specification(**plain)


#: The parts of a network by name.
Parts: TypeAlias = dict[str, NeuronGroup | Synapses]


@dataclass(frozen=True)
class Output:
    """An array that is read when a network has run: a variable of a recorder, of so many values (None: of any number)."""

    recorder: NeuronGroup | StateMonitor | SpikeMonitor
    variable: str
    size: int | None


@dataclass(frozen=True)
class Circuit:
    """A wired network: `stations` and what stands between them, what is read, and the `movie` that drives the cones."""

    specification: Specification
    network: Network
    stations: Parts
    outputs: dict[str, Output]
    movie: TimedArray


def readout(specification: Specification, station: str) -> Readout:
    """What one station's responses are."""
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


def assemble(specification: Specification) -> Circuit:
    """Wire the network of a specification on the current Brian2 device; its state is still to be set."""
    s, grid, parameters = specification, specification.grid, specification.parameters
    dt = s.dt * ms
    movie = TimedArray(np.zeros((s.frames, grid.cells)) * cd_per_m2, dt=s.frame_duration * ms, name="movie")
    cascades = retina.cascade(parameters, grid, dt, movie, s.movie_step * ms, s.lead * ms)
    stations: Parts = {"cascade": cascades, "cone": retina.cone(parameters, s.lesions, grid, dt, cascades)}
    # Cones and horizontal cells make a loop: neither can be without the other.
    stations["horizontal"] = retina.horizontal(parameters, s.lesions, grid, dt, stations["cone"])
    slow_dt = retina.AMACRINE_CLOCK * dt
    if "bipolar" in s.stations:
        bipolars = retina.bipolar(parameters, s.lesions, grid, dt, stations["cone"], stations["horizontal"])
        stations["bipolar"] = bipolars
        stations["wide_amacrine"] = retina.wide_amacrine(parameters, grid, slow_dt, bipolars)
    if "ganglion" in s.stations:
        contrast = retina.contrast_amacrine(parameters, grid, slow_dt, stations["bipolar"])
        stations["contrast_amacrine"] = contrast
        behind = _spiking if s.spiking else _rates
        stations |= behind(s, stations["bipolar"], contrast)
    outputs: dict[str, Output] = {}
    if s.record != "nothing":
        for name in s.stations:
            outputs |= averages(s, name, stations[name]) if name not in s.spiking else {}
        outputs |= _spikes(s, stations)
    recorders = {output.recorder.name: output.recorder for output in outputs.values()}
    return Circuit(s, Network(*(recorders | stations).values()), stations, outputs, movie)


def _rates(s: Specification, bipolars: NeuronGroup, contrast: NeuronGroup) -> Parts:
    """Ganglion cells and what stands behind them, at rate fidelity."""
    grid, parameters, dt = s.grid, s.parameters, s.dt * ms
    made: Parts = {"ganglion": retina.ganglion(parameters, s.lesions, grid, dt, bipolars, contrast)}
    if "lgn" in s.stations:
        made |= lgn.lgn(parameters, s.lesions, grid, dt, retina.AMACRINE_CLOCK * dt, made["ganglion"])
    if "v1" in s.stations:
        clock = s.clock("v1")
        made["thalamocortical"] = v1.thalamocortical(parameters, s.lesions, grid, clock, made["lgn"])
        made |= v1.v1(parameters, s.lesions, grid, clock, V1_CLOCK, made["thalamocortical"], s.v1_within)
    return made


def _spiking(s: Specification, bipolars: NeuronGroup, contrast: NeuronGroup) -> Parts:
    """Ganglion cells and what stands behind them, firing."""
    parameters, dt = s.parameters, s.dt * ms
    inputs = spiking.ganglion.inputs(parameters, s.lesions, s.grid, dt, bipolars, contrast)
    made: Parts = {inputs.name: inputs, **spiking.ganglion.ganglion(parameters, s.cells, dt, inputs)}
    if "lgn" in s.stations:
        made |= spiking.lgn.lgn(parameters, s.lesions, s.cells, dt, retina.AMACRINE_CLOCK * dt, made)
    if "v1" in s.stations:
        clock = s.clock("v1")
        made |= spiking.v1.v1(parameters, s.lesions, s.cells, dt, clock, SPIKING_V1_CLOCK, made, s.v1_within)
    return made


def averages(s: Specification, name: str, group: NeuronGroup) -> dict[str, Output]:
    """What reads out one station's rates or potentials: averages over the window, or a trace."""
    read = recorder(s, name, group)
    tracing = isinstance(read, StateMonitor)
    size = recorded_cells(s, name).size * s.recorder_samples
    return {
        f"response.{name}.{variable}": Output(read, variable if tracing else f"mean_{variable}", size)
        for variable in readout(s, name).variables
    }


def firing(s: Specification, station: str) -> dict[str, tuple[str, int]]:
    """Of each channel of a station that fires, the group of its cells, and the number there of the first."""
    channels = readout(s, station).channels
    if station != "v1":
        return {channel: (f"{station}_{channel}", 0) for channel in channels}
    columns = v1.lattice_of(s.cells.grid, s.v1_within).cells
    return {channel: spiking.v1.place(channel, columns) for channel in channels}


def spiking_groups(s: Specification) -> dict[str, np.ndarray]:
    """The groups whose spikes are read, and the cells of each that are recorded, channel after channel."""
    found: dict[str, list[np.ndarray]] = {}
    for station in s.spiking:
        for group, first in firing(s, station).values():
            found.setdefault(group, []).append(first + recorded_cells(s, station))
    return {group: np.concatenate(cells) for group, cells in found.items()}


def _spikes(s: Specification, stations: Parts) -> dict[str, Output]:
    """What reads out spikes: how many each cell fired, how many by then, or each of them."""
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
    """What reads out one station: averages over the window, or a trace, of the variables of its readout."""
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
    """Indices of the recorded cells of a station's group, image after image."""
    rows, columns = (
        np.isin(stand, chosen) for stand, chosen in zip(s.stand(station), s.recorded(station), strict=True)
    )
    images = s.grid.images * (s.trials if station in s.spiking else 1)
    return np.flatnonzero(np.tile(np.logical_and.outer(rows, columns).ravel(), images))


def _dimension(group: NeuronGroup, variable: str) -> str:
    return repr(get_unit(group.variables[variable].dim))


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


def classical_centre(parameters: Parameters, until: str, pixels_per_degree: float) -> int:
    """Width in pixels of the largest classical centre among the stations up to `until`."""
    reach = len(centre_weights(parameters.value("bipolar.midget_centre_radius"), pixels_per_degree)) - 1
    if until == "v1":
        reach = field_radius([cell.afferents for cell in kinds(parameters, pixels_per_degree)])
    return 2 * reach + 1
