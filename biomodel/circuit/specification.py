"""All that determines a circuit: a `Specification` is plain data, written as JSON for the cache of compiled circuits.

What can differ from run to run of one compiled circuit is not part of it: the stimulus, the state to start from, the
duration, the window and the type of recording (`biomodel.circuit.recording.RunSettings`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import gcd

import numpy as np
from brian2 import Quantity, ms

from biomodel.circuit import v1
from biomodel.circuit.lattice import Grid, near_middle
from biomodel.circuit.spiking.cells import Trials
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters

#: The stations in the order in which signals pass them; those that differ from trial to trial at spiking fidelity; and of
#: these, those whose cells spike.
STATIONS = ("cone", "horizontal", "bipolar", "ganglion", "lgn", "v1_input", "v1")
NOISY = STATIONS[STATIONS.index("ganglion") :]
SPIKING = ("ganglion", "lgn", "v1")

#: V1's membranes are slow: V1 and its input are integrated at every fourth step of the retina. With spikes, V1 is integrated at
#: every second step, and its input at every one, because spikes can arrive at any.
V1_CLOCK = 4
SPIKING_V1_CLOCK = 2

#: Shortest interval between the samples that a mean is taken of, ms.
SAMPLING = 1.0

#: How long the frame of a still image lasts, ms; the image stays on after that.
STILL = 1000.0


@dataclass(frozen=True)
class Region:
    """Where cells are simulated and recorded: distances from the middle of the image, across and down, in degrees.

    Parameters
    ----------
    record : float, optional
        Cells are recorded up to this distance, at every station; by default where there are cells. Traces of whole fields are
        large.
    v1 : float, optional
        V1 exists up to this distance; by default everywhere. Its layers end there, as they do at the border of an image.
    spiking : float, optional
        Spiking ganglion and relay cells and their axons exist up to this distance, where the output is "ganglion", "lgn" or
        "v1_input"; by default everywhere. Pools of the retina and the suppressive field do not end there.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.Region(record=0.5)
    Region(record=0.5, v1=None, spiking=None)
    """

    record: float | None = None
    v1: float | None = None
    spiking: float | None = None


#: The default of `Pathway.simulate`.
EVERYWHERE = Region()


@dataclass(frozen=True)
class Specification:
    """All that determines a network; times are in ms.

    Attributes
    ----------
    preset, fidelity, values, lesions
        The parameters by name in their documented units, and the mechanisms that are removed.
    grid : Grid
        The images of one batch.
    dt : float
        Integration step of the retina.
    output : str
        The last station.
    frames, frame_duration : int, float
        Frames of the stimulus and how long each lasts.
    region : Region
    trials : int
        Trials of each image in the network, where cells spike.
    lead : float
        Time before the stimulus, in which spiking cells lose their initial state.
    leaves_state : bool
        Whether the state at the end is read out.
    """

    preset: str
    fidelity: str
    values: tuple[tuple[str, float], ...]
    lesions: tuple[str, ...]
    grid: Grid
    dt: float
    output: str
    frames: int = 1
    frame_duration: float = STILL
    region: Region = EVERYWHERE
    trials: int = 1
    lead: float = 0.0
    leaves_state: bool = False

    @property
    def parameters(self) -> Parameters:
        """The preset with this specification's values."""
        return Parameters(self.preset, dict(self.values), self.fidelity)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations that are simulated."""
        return STATIONS[: STATIONS.index(self.output) + 1]

    @property
    def setting(self) -> Setting:
        """Arguments of every function that builds a station."""
        return Setting(self.parameters, self.lesions, self.grid, self.dt * ms)

    @property
    def spiking(self) -> tuple[str, ...]:
        """The stations whose cells spike."""
        return tuple(name for name in self.stations if name in SPIKING) if self.fidelity == "spiking" else ()

    @property
    def noisy(self) -> tuple[str, ...]:
        """The stations that have cells of their own in every trial: those from the first spiking cells on."""
        return tuple(name for name in self.stations if name in NOISY) if self.fidelity == "spiking" else ()

    @property
    def cells(self) -> Trials:
        """The spiking cells of all trials."""
        rows, columns = (range(places[0], places[-1] + 1) for places in self.lattice("ganglion"))
        return Trials(self.grid, self.trials, rows, columns)

    @property
    def trace_step(self) -> float:
        """Interval of a trace's samples in ms, the same at every station."""
        return max(SAMPLING, self.dt * V1_CLOCK)

    def recording_step(self, station: str) -> float:
        """Interval in ms of the samples that a station's mean is taken of."""
        return max(SAMPLING, float(self.clock(station) / ms))

    def clock(self, station: str) -> Quantity:
        """The step at which a station is integrated."""
        rate_clocks = {"v1_input": V1_CLOCK, "v1": V1_CLOCK}
        steps = {"v1": SPIKING_V1_CLOCK} if self.fidelity == "spiking" else rate_clocks
        return self.dt * ms * steps.get(station, 1)

    def lattice(self, station: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows and columns at which a station has cells."""
        ppd, sides = self.grid.pixels_per_degree, (self.grid.height, self.grid.width)
        rows, columns = (v1.lattice(n, ppd, self.region.v1) if station == "v1" else np.arange(n) for n in sides)
        if station in self.noisy and station != "v1":
            rows, columns = (near_middle(places, len(places), ppd, self.region.spiking) for places in (rows, columns))
        return rows, columns

    @property
    def movie_step(self) -> float:
        """Interval in ms at which cones read the stimulus: a frame, if frames and the lead last whole steps."""
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
        plain["grid"] = Grid(**plain["grid"])
        plain["region"] = Region(**plain["region"])
        return Specification(**plain)
