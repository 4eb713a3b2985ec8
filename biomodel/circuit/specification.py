"""The specification of a circuit: plain data, written as JSON for worker processes and the cache."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import ceil, gcd

import numpy as np
from brian2 import Quantity, ms

from biomodel.circuit import v1
from biomodel.circuit.lattice import Grid, near_middle
from biomodel.circuit.spiking.cells import Trials
from biomodel.parameters import Parameters

#: The stations from light to cortex, and those that have spiking cells at spiking fidelity.
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn", "v1")
SPIKING = ("ganglion", "lgn", "v1")

#: Steps of the retina per step of V1, whose membranes are slower; with spikes, V1 needs shorter steps.
V1_CLOCK = 4
SPIKING_V1_CLOCK = 2

#: Rates are averaged over samples this far apart, ms.
SAMPLING = 1.0


@dataclass(frozen=True)
class Specification:
    """Everything that determines a network except its stimulus, and what it records; times are in ms."""

    preset: str
    fidelity: str
    values: tuple[tuple[str, float], ...]
    lesions: tuple[str, ...]
    grid: Grid
    dt: float
    output: str
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
        """The stations with spiking cells."""
        return tuple(name for name in self.stations if name in SPIKING) if self.fidelity == "spiking" else ()

    @property
    def cells(self) -> Trials:
        """The spiking cells of every trial; spikes are counted in the window, or throughout a trace."""
        start, stop = (-self.lead, self.duration) if self.record == "trace" else self.window
        # Half a step keeps the edges clear of rounding.
        rows, columns = (range(places[0], places[-1] + 1) for places in self.lattice("ganglion"))
        begin, end = (self.lead + edge - self.dt / 2 for edge in (start, stop))
        return Trials(self.grid, self.trials, begin, end, rows, columns)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations that are simulated."""
        return STATIONS[: STATIONS.index(self.output) + 1]

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
        """Number of a trace's samples before the image appears."""
        return round(self.lead / self.trace_step)

    @property
    def recorder_samples(self) -> int:
        """Number of values that a recorder holds for each cell."""
        return self.lead_samples + self.trace_samples if self.record == "trace" else 1

    def samples(self, station: str) -> range:
        """Samples of a station's recorder that lie in the window, in steps of `recording_step`."""
        step = self.recording_step(station)
        first, stop = (ceil(edge / step - 0.5) for edge in self.window)
        return range(first, stop)

    def recording_step(self, station: str) -> float:
        """Interval in ms between the samples of a mean."""
        return max(SAMPLING, float(self.clock(station) / ms))

    def lattice(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns at which a station has cells."""
        ppd, sides = self.grid.pixels_per_degree, (self.grid.height, self.grid.width)
        rows, columns = (v1.lattice(n, ppd, self.v1_within) if station == "v1" else np.arange(n) for n in sides)
        if station in self.spiking and station != "v1":
            rows, columns = (near_middle(places, len(places), ppd, self.fires_within) for places in (rows, columns))
        return rows, columns

    def recorded_lattice(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns at which a station's cells are recorded."""
        grid = self.grid
        rows, columns = (
            near_middle(places, n, grid.pixels_per_degree, self.record_within)
            for places, n in zip(self.lattice(station), (grid.height, grid.width), strict=True)
        )
        return rows, columns

    def clock(self, station: str) -> Quantity:
        """The step at which a station is integrated."""
        cortical = SPIKING_V1_CLOCK if self.fidelity == "spiking" else V1_CLOCK
        return self.dt * ms * (cortical if station == "v1" else 1)

    @property
    def movie_step(self) -> float:
        """Interval in ms at which cones sample the film: one frame, if frames and the lead last whole steps."""
        steps = [time / self.dt for time in (self.frame_duration, self.lead)]
        if any(abs(number - round(number)) > 1e-6 for number in steps):
            return self.dt
        return gcd(*map(round, steps)) * self.dt if self.lead else self.frame_duration

    def to_json(self) -> str:
        """Canonical JSON, equal for equal specifications."""
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
