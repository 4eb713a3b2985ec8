"""The stations wired into one Brian2 network, with the recorders that read it out.

A `Specification` is plain data and determines a network completely; the compiler, its cache and worker processes pass
it on as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from math import ceil

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    Quantity,
    StateMonitor,
    TimedArray,
    get_unit,
    linked_var,
    ms,
)

from biomodel import lgn, retina, v1
from biomodel.cortical_kinds import kinds
from biomodel.parameters import Parameters
from biomodel.station import Readout, State
from biomodel.units import cd_per_m2
from biomodel.wiring import Grid, centre_weights, field_radius, near_middle

#: The stations in the order in which light passes them.
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn", "v1")

#: Mechanisms that can be taken out by name.
LESIONS = (
    "cone_adaptation",
    "horizontal_feedback",
    "luminance_gain",
    "contrast_gain",
    "lgn_suppression",
    *v1.LESIONS,
)

#: V1's membranes are slow: its clock ticks once in so many steps of the retina's.
V1_CLOCK = 4

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

    @property
    def parameters(self) -> Parameters:
        """The preset with this specification's values."""
        return Parameters(self.preset, dict(self.values))

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

    def samples(self, station: str) -> range:
        """The ticks of a station's recorder that lie in the window, in steps of `recording_step`."""
        step = self.recording_step(station)
        first, stop = (ceil(edge / step - 0.5) for edge in self.window)
        return range(first, stop)

    def recording_step(self, station: str) -> float:
        """Interval in ms of the samples that a mean is taken of."""
        return max(SAMPLING, float(self.clock(station) / ms))

    def recorded(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns on which a station's cells stand that are recorded."""
        grid = self.grid
        sides = (grid.height, grid.width)
        stand = [
            v1.lattice(n, grid.pixels_per_degree, self.v1_within) if station == "v1" else np.arange(n) for n in sides
        ]
        rows, columns = (
            near_middle(places, n, grid.pixels_per_degree, self.record_within)
            for places, n in zip(stand, sides, strict=True)
        )
        return rows, columns

    def clock(self, station: str) -> Quantity:
        """The step at which a station is integrated."""
        return self.dt * ms * (V1_CLOCK if station == "v1" else 1)

    @property
    def movie_step(self) -> float:
        """How often in ms a cone has to look at the film: with every frame, if frames last whole steps."""
        steps = self.frame_duration / self.dt
        return self.frame_duration if abs(steps - round(steps)) < 1e-6 else self.dt

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


@dataclass(frozen=True)
class Circuit:
    """A wired network: `stations` and what stands between them, recorders, and the `movie` that drives the cones."""

    specification: Specification
    network: Network
    stations: dict[str, NeuronGroup]
    recorders: dict[str, NeuronGroup | StateMonitor]
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
    cascades = retina.cascade(parameters, grid, dt, movie, s.movie_step * ms)
    stations = {"cascade": cascades, "cone": retina.cone(parameters, s.lesions, grid, dt, cascades)}
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
        stations["ganglion"] = retina.ganglion(parameters, s.lesions, grid, dt, stations["bipolar"], contrast)
    if "lgn" in s.stations:
        stations |= lgn.lgn(parameters, s.lesions, grid, dt, slow_dt, stations["ganglion"])
    if "v1" in s.stations:
        clock = s.clock("v1")
        stations["thalamocortical"] = v1.thalamocortical(parameters, s.lesions, grid, clock, stations["lgn"])
        stations |= v1.v1(parameters, s.lesions, grid, clock, V1_CLOCK, stations["thalamocortical"], s.v1_within)
    recorders = {}
    if s.record != "nothing":
        recorders = {name: recorder(s, name, stations[name]) for name in s.stations}
    return Circuit(s, Network(*recorders.values(), *stations.values()), stations, recorders, movie)


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
    first, stop = (samples.start - 0.5) * step, (samples.stop - 0.5) * step
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
        np.isin(stand, chosen)
        for stand, chosen in zip(replace(s, record_within=None).recorded(station), s.recorded(station), strict=True)
    )
    return np.flatnonzero(np.tile(np.logical_and.outer(rows, columns).ravel(), s.grid.images))


def _dimension(group: NeuronGroup, variable: str) -> str:
    return repr(get_unit(group.variables[variable].dim))


def settled(specification: Specification, background: np.ndarray) -> State:
    """The state of every station after `background`, (image, y, x) in cd/m², has stood still for ever."""
    s, parameters = specification, specification.parameters
    state = retina.settled(parameters, s.lesions, s.grid, s.dt * ms, background)
    if "lgn" in s.stations:
        state |= lgn.settled(parameters, s.lesions, background)
    if "v1" in s.stations:
        state |= v1.settled(parameters, s.grid, len(background), s.v1_within)
    present = {"cascade", "horizontal", *s.stations}
    present |= {"wide_amacrine"} if "bipolar" in present else set()
    present |= {"contrast_amacrine"} if "ganglion" in present else set()
    present |= {f"{name}_interneuron" for name in lgn.CLASSES} if "lgn" in present else set()
    present |= v1.layers(parameters, s.lesions, s.grid.pixels_per_degree) if "v1" in present else set()
    return {name: values for name, values in state.items() if name.split(".")[0] in present}


def classical_centre(parameters: Parameters, until: str, pixels_per_degree: float) -> int:
    """Width in pixels of the largest classical centre among the stations up to `until`."""
    reach = len(centre_weights(parameters.value("bipolar.midget_centre_radius"), pixels_per_degree)) - 1
    if until == "v1":
        reach = field_radius([cell.afferents for cell in kinds(parameters, pixels_per_degree)])
    return 2 * reach + 1


def recorded_variable(specification: Specification, variable: str) -> str:
    """What the recorder calls a station's variable."""
    return variable if specification.record == "trace" else f"mean_{variable}"
