"""The plan of a simulation: everything that is decided before it runs, computed once.

`make_plan` checks a `Request`, and decides on the network, the recorded cells, the images and trials of every batch and
chunk, and the seeds. All later stages read the `Plan`.

Images are simulated in batches that fill one network, and kept in chunks of several batches. A chunk is the work of one
process, and what is in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, TypeAlias

import brian2
import numpy as np
import scipy
import xarray as xr
from brian2 import Quantity

import biomodel
from biomodel.adaptation import (
    AdaptationState,
    DriftAdapted,
    Fields,
    GazeAdapted,
    UniformField,
    uniform_levels,
)
from biomodel.circuit.cell_types import classical_centre
from biomodel.circuit.lattice import Grid, centre_weights
from biomodel.circuit.recording import Recording, RunSettings, plan_recordings, run_variables
from biomodel.circuit.retina import memories
from biomodel.circuit.specification import EVERYWHERE, NOISY, STATIONS, STILL, Region, Specification
from biomodel.circuit.station import State
from biomodel.engine.cache import simulation_digest
from biomodel.engine.executors import Target
from biomodel.engine.store import Store, changed_label
from biomodel.parameters import Parameters
from biomodel.stimuli import blocks, check_stimulus, frames, movie, places, positive
from biomodel.utils.checks import one_of, whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: The name of a state, a luminance (one for all images, or one for each image), or a distribution of gaze positions.
AdaptTo: TypeAlias = str | float | Quantity | Sequence[float] | GazeAdapted | DriftAdapted

#: Cells of a station in a batch: its state stays in the processor's cache.
BATCH_CELLS = 8_192

#: Cells whose responses are stored together; each trial has its own cells.
CHUNK_CELLS = 65_536

#: Milliseconds of the background before the image, in which spiking cells lose their initial state.
LEAD = 100.0


#: Seconds for which a still image is shown by default. The default window begins at the onset, because responses keep their shape
#: from the onset on (Albrecht, Geisler, Frazor & Crane 2002), and ends with the presentation, for a still image after `DURATION`
#: at the latest.
DURATION = 0.2


#: Names of the variables, dimensions and coordinates of responses; labels of images have other ones.
RESULT_NAMES = frozenset(
    {"background", "y", "x", "time", "trial", *STATIONS, *(f"{station}_channel" for station in STATIONS)}
    | {f"v1_{name}" for name in ("y", "x", "kind", "orientation", "phase", "frequency", "relay")}
)

#: Names of other files and groups in a store.
NOT_STORED = ("", "settings", "zarr.json", ".", "..")

#: Bytes of the name of a file, on most file systems.
LONGEST_NAME = 255


@dataclass(frozen=True)
class Network:
    """The circuit that a pathway simulates: parameters, lesions, step in ms, and code generation target."""

    parameters: Parameters
    lesions: tuple[str, ...]
    dt: float
    target: Target


@dataclass(frozen=True)
class Request:
    """The arguments of `Pathway.simulate`, not yet checked."""

    adapt_to: AdaptTo = "gaze"
    duration: float | Quantity | None = None
    window: tuple[float | Quantity, float | Quantity] | None = None
    seed: int = 0
    output: str = "v1"
    record: str = "mean"
    trials: int = 1
    region: Region = EVERYWHERE
    store: Store | None = None


@dataclass(frozen=True)
class Presentations:
    """The images of a stimulus, each with the field that it is adapted to; read in pieces."""

    stimulus: xr.DataArray
    adaptation: AdaptationState
    pixels_per_degree: float
    memories: Mapping[str, float]

    def __len__(self) -> int:
        return self.stimulus.sizes["image"]

    def read(self, chosen: slice) -> tuple[np.ndarray, Fields]:
        """Luminance of the chosen images, (image, frame, y, x) in cd/m², and the fields they are adapted to."""
        shown = movie(self.stimulus.isel(image=chosen))
        return shown, self.adaptation.fields(shown[:, 0], self.pixels_per_degree, chosen, self.memories)

    def digest(self) -> str:
        """A digest of the luminances with their places and times."""
        digest = hashlib.sha256()
        for axis in ("y", "x", "time"):
            if axis in self.stimulus.dims:
                digest.update(np.ascontiguousarray(places(self.stimulus, axis)).tobytes())
        for block in blocks(self.stimulus):
            digest.update(np.ascontiguousarray(movie(block)).tobytes())
        return digest.hexdigest()[:16]

    def labels_digest(self) -> str:
        """A digest of the coordinates along `image`."""
        digest = hashlib.sha256()
        for name, labels in sorted(self.stimulus.coords.items(), key=lambda item: str(item[0])):
            if labels.dims == ("image",):
                digest.update(repr((str(name), labels.values.tolist())).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Images that one network simulates together, some trials of each.

    `images` are indices into a chunk; the last one repeats where a batch is not full. `n_images` and `n_trials` are
    kept; `first_image` (among all images) and `first_trial` number them.
    """

    images: np.ndarray
    n_images: int
    first_image: int
    n_trials: int
    first_trial: int
    noise_seed: int


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a simulation runs.

    Attributes
    ----------
    specification : Specification
        The network.
    recordings : dict of str to Recording
        What is recorded of each station.
    settings : RunSettings
        Duration, window and type of recording.
    presentations : Presentations
    target : {"cpp", "numpy"}
    trials, seed : int
        Trials of each image, and the seed of their noise.
    chunk : int
        Images in a chunk.
    in_sequence : bool
        Whether each image starts from the state that the one before left.
    luminances : pair of float
        The lowest and the highest luminance of the stimulus and of the fields adapted to, cd/m².
    attributes : dict
        What determines the responses apart from the stimulus, for their dataset.
    """

    specification: Specification
    recordings: dict[str, Recording]
    settings: RunSettings
    presentations: Presentations
    target: Target
    trials: int
    seed: int
    chunk: int
    in_sequence: bool
    luminances: tuple[float, float]
    attributes: dict[str, Any]

    @property
    def variables(self) -> State:
        """The variables of recorders that are set before a run."""
        return run_variables(self.specification, self.recordings, self.settings)

    @property
    def trace_samples(self) -> int:
        """Number of samples of a trace."""
        return len(_trace_times(self.specification, self.settings))

    @property
    def last_frame(self) -> int:
        """The frame that is shown at the end of a presentation."""
        s = self.specification
        return min(s.frames, ceil(self.settings.duration / s.frame_duration - 1e-6)) - 1

    @property
    def lead_samples(self) -> int:
        """Number of samples that the monitor of a trace takes before the stimulus."""
        return round(self.specification.lead / self.specification.trace_step)

    def without_images(self) -> Plan:
        """The plan with an empty stimulus, which keeps its places: what a worker process has to know."""
        none = self.presentations.stimulus.isel(image=slice(0, 0)).load()
        return replace(self, presentations=replace(self.presentations, stimulus=none))

    def chunks(self) -> list[slice]:
        """All images in pieces of one size; the last may be shorter."""
        n = len(self.presentations)
        return [slice(first, min(first + self.chunk, n)) for first in range(0, n, self.chunk)]

    def batches(self, chunk: slice) -> Iterator[list[Batch]]:
        """The batches of a chunk: for every set of images, one batch for each set of trials."""
        s, n = self.specification, chunk.stop - chunk.start
        for first in range(0, n, s.grid.images):
            # The last batch is filled up with the last image, since a network has one size.
            images = np.minimum(np.arange(first, first + s.grid.images), n - 1)
            yield [
                Batch(
                    images,
                    min(s.grid.images, n - first),
                    chunk.start + first,
                    min(s.trials, self.trials - trial),
                    trial,
                    noise_seed(self.seed, chunk.start + first, trial),
                )
                for trial in range(0, self.trials, s.trials)
            ]

    def store_settings(self) -> dict[str, object]:
        """All that determines the responses, by names that a user knows."""
        s = self.specification
        plain = asdict(s) | asdict(self.settings)
        del plain["values"]
        return (
            plain
            | {f"parameter {name}": value for name, value in s.values}
            | {
                "lesions": ",".join(s.lesions),
                "grid": f"{s.grid.images} images of {s.grid.height}×{s.grid.width}",
                "pixels_per_degree": s.grid.pixels_per_degree,
                "adapt_to": str(self.presentations.adaptation),
                "stimulus": f"{len(self.presentations)} images with digest {self.presentations.digest()}",
                "coordinates": self.presentations.labels_digest(),
                "chunk": self.chunk,
                "trials": self.trials,
                "seed": self.seed,
                "target": self.target,
                "code": simulation_digest(),
                "precortical": biomodel.__version__,
                "brian2": brian2.__version__,
                "numpy": np.__version__,
                "scipy": scipy.__version__,
            }
        )


def noise_seed(seed: int, image: int, trial: int) -> int:
    """The seed of the network whose first image and trial these are."""
    return int(np.random.SeedSequence([seed, image, trial]).generate_state(1)[0])


def batch_images(height: int, width: int) -> int:
    """Images in a batch: a function of their size alone, so that results don't depend on the number of images."""
    return max(1, BATCH_CELLS // (height * width))


def make_plan(network: Network, stimulus: xr.DataArray, request: Request, all_images: bool = False) -> Plan:
    """Check a request and plan its simulation.

    Parameters
    ----------
    network : Network
    stimulus : xarray.DataArray
        (image, y, x) in cd/m², with `colour` or `time`.
    request : Request
    all_images : bool
        Whether one network holds all images, and no spiking cells are before their stimulus.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For a stimulus that cannot be shown, and for a wrong argument, by name.
    """
    output = one_of(request.output, STATIONS, "output")
    ppd, low, high = check_stimulus(stimulus)
    _check_labels(stimulus, request.store is not None)
    height, width = stimulus.sizes["y"], stimulus.sizes["x"]
    smallest = classical_centre(network.parameters, output, ppd)
    if min(height, width) < smallest:
        raise InputError(
            f"images must be at least {smallest}×{smallest} pixels at {ppd:g} pixels per degree, the largest classical "
            f"centre, got {height}×{width}"
        )
    has_noise = network.parameters.fidelity == "spiking" and output in NOISY
    trials = whole_number(request.trials, "trials", 1)
    n_frames, frame_duration = _frames(stimulus, network.dt)
    shown = n_frames * frame_duration if "time" in stimulus.dims else None
    settings = _run_settings(request, network.parameters.fidelity, has_noise, shown)
    seed = whole_number(request.seed, "seed", 0)
    # Without noise all trials are the same.
    trials = trials if has_noise else 1
    in_sequence = isinstance(request.adapt_to, str) and request.adapt_to == "previous"
    adaptation = DriftAdapted() if in_sequence else _adaptation(request.adapt_to, stimulus.sizes["image"])
    is_uniform = isinstance(adaptation, UniformField)
    adapted_to = "previous" if in_sequence else "luminance" if is_uniform else "gaze"
    levels = adaptation.levels if isinstance(adaptation, UniformField) else ()
    n_images = stimulus.sizes["image"] if all_images else 1 if in_sequence else batch_images(height, width)
    specification = Specification(
        network.parameters.preset,
        network.parameters.fidelity,
        tuple(network.parameters.values_by_name().items()),
        network.lesions,
        Grid(n_images, height, width, ppd),
        network.dt,
        output,
        n_frames,
        frame_duration,
        _region(request.region, has_noise and output != "v1"),
        leaves_state=in_sequence,
    )
    if has_noise and not all_images:
        specification = _with_trials(specification, stimulus.sizes["image"], trials, in_sequence)
    recordings = plan_recordings(specification)
    _check_recordings(recordings, settings, request.region)
    return Plan(
        specification,
        recordings,
        settings,
        Presentations(stimulus, adaptation, ppd, memories(specification.parameters)),
        network.target,
        trials,
        seed,
        _chunk_images(specification, settings, trials, stimulus.sizes["image"], request.store),
        in_sequence,
        (min([low, *levels]), max([high, *levels])),
        _attributes(specification, settings, {"adapt_to": adapted_to} | _eye(adaptation, network.parameters), seed),
    )


def _eye(adaptation: AdaptationState, parameters: Parameters) -> dict[str, float]:
    """Drift of the eye, and standard deviation of the field called `background`; without either, those of the default."""
    if isinstance(adaptation, GazeAdapted):
        return {"gaze_spread_deg": float(adaptation.sd)}
    drift = adaptation if isinstance(adaptation, DriftAdapted) else DriftAdapted()
    longest = max(memories(parameters).values())
    return {"drift_arcmin2_per_s": float(drift.diffusion), "gaze_spread_deg": drift.sd(longest)}


def _check_labels(stimulus: xr.DataArray, stored: bool) -> None:
    """Check that the coordinates along `image` can be added to the result, and be stored."""
    labels = {name: label for name, label in stimulus.coords.items() if label.dims == ("image",)}
    for name, label in labels.items():
        if str(name) in RESULT_NAMES:
            raise InputError(
                f"a coordinate along image must not have the name of a variable of the result, got {name!r}"
            )
        if not stored:
            continue
        # A name is that of a folder.
        if not isinstance(name, str) or not name.isprintable() or "/" in name or name in NOT_STORED:
            raise InputError(
                f"a coordinate along image must have a printable text without /, other than {', '.join(NOT_STORED[1:])}, as "
                f"its name to be stored, got {name!r}"
            )
        if len(name.encode()) > LONGEST_NAME:
            raise InputError(
                f"a coordinate along image must have a name of at most {LONGEST_NAME} bytes to be stored, got {name!r}"
            )
        if found := _not_storable(label):
            raise InputError(
                f"the coordinate {name!r} along image must be numbers, texts or dates to be stored, got {found}"
            )
    if stored and (change := changed_label({str(name): label for name, label in labels.items()})):
        raise InputError(f"coordinates along image must come back from a store as they are, got {change}")


def _not_storable(label: xr.DataArray) -> str | None:
    """The type of a label that a store cannot keep."""
    dtype = label.dtype
    if not isinstance(dtype, np.dtype) or dtype in (np.longdouble, np.clongdouble):
        return f"type {dtype}"
    if dtype.kind != "O":
        return None
    types = {type(value) for value in label.values.tolist()}
    names = " and ".join(sorted(one.__name__ for one in types))
    return None if len(types) == 1 and types <= {str, int, float, bool} else f"objects of type {names}"


def _chunk_images(s: Specification, settings: RunSettings, trials: int, n_images: int, store: Store | None) -> int:
    """Images in a chunk: a batch; in a store as many as it asks for, by default with 65,536 responses of a channel."""
    if store is None:
        return s.grid.images
    samples = trials * (len(_trace_times(s, settings)) if settings.record == "trace" else 1)
    batches = CHUNK_CELLS // (s.grid.height * s.grid.width * samples * s.grid.images)
    return min(store.chunk or s.grid.images * max(1, batches), n_images)


def _trace_times(s: Specification, settings: RunSettings) -> np.ndarray:
    """Times of a trace's samples, ms after onset."""
    return np.arange(0, settings.duration - 1e-9, s.trace_step)


def _attributes(s: Specification, settings: RunSettings, adaptation: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What determines the responses apart from the stimulus, as attributes that any file format keeps."""
    radius = s.parameters.value("bipolar.midget_centre_radius")
    is_one_pixel = len(centre_weights(radius, s.grid.pixels_per_degree)) == 1
    note = f"the midget centre's radius of {radius:g}° is under half a pixel: it is one pixel"
    return {
        "preset": s.preset,
        "fidelity": s.fidelity,
        "lesions": ",".join(s.lesions),
        "parameters": json.dumps(dict(s.values)),
        "parameters_digest": s.parameters.digest,
        "pixels_per_degree": s.grid.pixels_per_degree,
        "dt_ms": s.dt,
        "duration_s": settings.duration / 1000,
        "window_s": [settings.window[0] / 1000, settings.window[1] / 1000],
        **({"lead_s": s.lead / 1000} if s.spiking else {}),
        "precortical": biomodel.__version__,
        **adaptation,
        "seed": seed,
        **({"note": note} if is_one_pixel else {}),
    }


def _run_settings(request: Request, fidelity: str, spikes: bool, movie_ms: float | None) -> RunSettings:
    if request.duration is not None:
        duration = positive(request.duration, "duration", "s")
    else:
        # Digits beyond these are rounding of the times of frames.
        duration = DURATION if movie_ms is None else round(movie_ms, 9) / 1000
    start, end = _window(request.window, duration, movie_ms is not None)
    if not 0 <= start < end <= duration:
        raise InputError(f"window must fulfil 0 <= start < end <= {duration:g} s, got ({start:g}, {end:g})")
    record = one_of(request.record, ("mean", "trace", "spikes"), "record")
    if record == "spikes" and not spikes:
        raise InputError(
            f"record must be 'mean' or 'trace' at {fidelity} fidelity up to {request.output}, got 'spikes'"
        )
    if fidelity == "rate" and request.trials != 1:
        raise InputError(f"trials must be 1 at rate fidelity, which has no noise, got {request.trials}")
    return RunSettings(1000 * duration, (1000 * start, 1000 * end), record)


def _window(
    window: tuple[float | Quantity, float | Quantity] | None, duration: float, is_movie: bool
) -> tuple[float, float]:
    """Start and end of the window in seconds."""
    if window is None:
        return 0.0, duration if is_movie else min(DURATION, duration)
    is_sequence = window.ndim > 0 if isinstance(window, np.ndarray) else isinstance(window, list | tuple)
    pair = list(window) if is_sequence else []
    if len(pair) != 2:
        raise InputError(f"window must be a start and an end in seconds, got {window!r}")
    start, end = (as_number(edge, "s", "window") for edge in pair)
    return start, end


def _adaptation(adapt_to: AdaptTo, n_images: int) -> AdaptationState:
    states = "'gaze', 'previous', a GazeAdapted or DriftAdapted"
    accepted = f"{states}, a luminance of 0 cd/m² or more, or one luminance for each image"
    if isinstance(adapt_to, GazeAdapted | DriftAdapted):
        return adapt_to
    if isinstance(adapt_to, str):
        if adapt_to != "gaze":
            raise InputError(f"adapt_to must be {accepted}, got {adapt_to!r}")
        return DriftAdapted()
    return UniformField(uniform_levels(adapt_to, n_images, accepted))


def _frames(stimulus: xr.DataArray, dt: float) -> tuple[int, float]:
    """Number of frames of a stimulus and their duration in ms."""
    of_movie = frames(stimulus)
    if of_movie is None:
        return 1, STILL
    # Digits beyond these are rounding of the times of frames.
    count, frame_duration = of_movie[0], float(f"{1000 * of_movie[1]:.12g}")
    if frame_duration < dt * (1 - 1e-6):
        raise InputError(f"a movie's frames must last {dt:g} ms, the step dt, or longer, got {frame_duration:g} ms")
    return count, frame_duration


def _region(region: Region, crops_spiking_cells: bool) -> Region:
    if not isinstance(region, Region):
        raise InputError(f"region must be a biomodel.Region, got {region!r}")
    if region.spiking is not None and not crops_spiking_cells:
        raise InputError(
            "region.spiking must be None unless the output is 'ganglion', 'lgn' or 'v1_input' at spiking fidelity, "
            f"got {region.spiking!r}"
        )
    return Region(
        **{
            name: None if degrees is None else positive(degrees, f"region.{name}", "deg")
            for name, degrees in asdict(region).items()
        }
    )


def _with_trials(s: Specification, n_images: int, trials: int, in_sequence: bool) -> Specification:
    """The specification with as many images and trials as one network holds.

    Trials are shared out evenly among as few networks as possible.
    """
    cells = int(np.prod([places.size for places in s.lattice("ganglion")]))
    if cells == 0:
        raise InputError(f"region.spiking must reach a cell, got {s.region.spiking!r}")
    rounds = 1 if in_sequence else ceil(trials * cells / max(cells, BATCH_CELLS))
    together = ceil(trials / rounds)
    images = max(1, min(n_images, s.grid.images, BATCH_CELLS // (cells * together)))
    # Whole steps of a trace, so that a sample is taken at onset.
    lead = 0.0 if in_sequence else ceil(LEAD / s.trace_step - 1e-9) * s.trace_step
    return replace(s, grid=replace(s.grid, images=images), trials=together, lead=lead)


def _check_recordings(recordings: dict[str, Recording], settings: RunSettings, region: Region) -> None:
    """Check that every station has recorded cells and, for means, samples in the window."""
    for station, recording in recordings.items():
        if not all(places.size for places in recording.lattice):
            name = "v1" if station == "v1" else "spiking"
            raise InputError(f"region.{name} must reach a cell of {station}, got {getattr(region, name)!r}")
        if not all(places.size for places in recording.recorded):
            raise InputError(f"region.record must reach a cell of {station}, got {region.record!r}")
        if settings.record == "mean" and not recording.samples(settings.window):
            start, end = (edge / 1000 for edge in settings.window)
            raise InputError(
                f"window must hold a sample of {station}, which is sampled every {recording.step / 1000:g} s, "
                f"got ({start:g}, {end:g})"
            )
