"""Runs a pathway over many stimuli, on Brian2's C++ target or, without a compiler, on NumPy's.

Images are simulated in batches that fill one network, and kept in chunks of several batches; a chunk is the work of one
process, and what is in memory at a time.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Literal, TypeVar

import brian2
import joblib
import numpy as np
import scipy

import biomodel
from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.recording import recorded_cells, spiking_channels, spiking_groups
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import noise_seeds, steady_state
from biomodel.engine import cache
from biomodel.engine.presentations import Presentations
from biomodel.utils.code import code_digest
from biomodel.utils.progress import progress

logger = logging.getLogger("precortical")

Target = Literal["cpp", "numpy"]
T = TypeVar("T")

#: Cells a batch holds at each station: its state stays in the processor's cache.
BATCH_CELLS = 8_192

#: Cells whose responses are stored together; each trial has cells of its own.
CHUNK_CELLS = 65_536


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if cache.compiler() is not None:
        return "cpp"
    logger.warning("no C++ compiler (g++ and make) was found: simulating on Brian2's slower numpy target")
    return "numpy"


def batch_images(height: int, width: int) -> int:
    """Images that are simulated together; it depends on their size alone, so that results don't depend on their number."""
    return max(1, BATCH_CELLS // (height * width))


def chunks(images: int, size: int) -> list[slice]:
    """All images in pieces of one size; the last may be shorter."""
    return [slice(first, min(first + size, images)) for first in range(0, images, size)]


def settings(
    specification: Specification, target: Target, presentations: Presentations, chunk: int
) -> dict[str, object]:
    """All that decides the responses, by names that a user knows."""
    s = specification
    values = dict(s.values)
    plain = asdict(s) | {
        "lesions": ",".join(s.lesions),
        "grid": f"{s.grid.images} images of {s.grid.height}×{s.grid.width}",
    }
    del plain["values"]
    return (
        plain
        | {f"parameter {name}": value for name, value in values.items()}
        | {
            "pixels_per_degree": s.grid.pixels_per_degree,
            "adapt_to": str(presentations.adaptation),
            "stimulus": f"{len(presentations)} images with digest {presentations.digest()}",
            "chunk": chunk,
            "target": target,
            "precortical": biomodel.__version__,
            "brian2": brian2.__version__,
            "coordinates": presentations.labels_digest(),
            "code": _code_digest(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        }
    )


@functools.cache
def _code_digest() -> str:
    package = Path(__file__).parent.parent
    names = ("circuit", "engine", "parameters", "adaptation.py", "stimuli.py", "utils/units.py")
    return code_digest(package / name for name in names)


def chunk_images(specification: Specification, trials: int) -> int:
    """Images that are stored together with all of their trials, unless told otherwise."""
    s = specification
    samples = trials * (s.trace_samples if s.record == "trace" else 1)
    batches = CHUNK_CELLS // (s.grid.height * s.grid.width * samples * s.grid.images)
    return s.grid.images * max(1, batches)


def batch_trials(images: int, cells: int, trials: int) -> tuple[int, int]:
    """Images and trials of each that one network holds, of so many, whose cells a station are so many an image.

    Trials are shared out evenly among as few networks as there have to be.
    """
    rounds = ceil(trials * cells / max(cells, BATCH_CELLS))
    together = ceil(trials / rounds)
    return max(1, min(images, BATCH_CELLS // (cells * together))), together


def run_batch(
    specification: Specification, folder: Path | None, movie: np.ndarray, state: State
) -> dict[str, np.ndarray]:
    """Responses and end states of one batch by name, flat, in SI units.

    Parameters
    ----------
    folder : pathlib.Path or None
        Of the compiled pathway; None for the numpy target.
    movie : numpy.ndarray, (image, frame, y, x)
        As many images as the specification's grid holds; cd/m².
    state : dict
        From which to start.

    Raises
    ------
    RuntimeError
        Where the simulation fails or leaves the range of numbers.
    """
    film = by_frame(movie)
    out = cache.run(folder, film, state) if folder else _run_numpy(specification, film, state)
    for name, values in out.items():
        if not np.isfinite(values).all():
            raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
    return out


def responses(specification: Specification, out: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `run_batch` recorded of each station's variable, image first, by "station.variable".

    (image, cell), with trials (image, trial, cell), of a trace (…, time, cell); recorded spikes are (spike, 4): image, trial,
    cell and time in seconds.
    """
    s, found = specification, {}
    for name, values in out.items():
        if name.startswith("response."):
            tracing = s.record == "trace"
            values = values.reshape(-1, s.grid.images, values.size // (s.grid.images * s.recorder_samples))
            values = np.swapaxes(values[s.lead_samples :], 0, 1) if tracing else values[0]
            found[name.removeprefix("response.")] = values
    read = {group: 0 for group in spiking_groups(s)}
    for station in s.spiking:
        cells = recorded_cells(s, station)
        for channel, (group, first) in spiking_channels(s, station).items():
            if s.record == "spikes":
                fired = _fired(s, station, out[f"spikes.{group}.i"] - first, out[f"spikes.{group}.t"])
                found[f"{station}.{channel}"] = fired
                continue
            counts = out[f"spikes.{group}.count"]
            if s.record == "trace":
                counts = counts.reshape(s.recorder_samples, -1)[:, read[group] : read[group] + cells.size]
                read[group] += cells.size
                # A count up to each sample becomes what was fired since the one before.
                counts = np.diff(counts, axis=0, prepend=0.0)[s.lead_samples :]
            else:
                counts = counts[None, first + cells]
            counts = counts.reshape(len(counts), s.trials, s.grid.images, -1).transpose(2, 1, 0, 3)
            found[f"{station}.{channel}"] = counts if s.record == "trace" else counts[:, :, 0]
    return found


def _fired(s: Specification, station: str, cells: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A channel's spikes after onset in the order of image, trial and time: (spike, 4), the cell counted within its image."""
    kept = (times >= (s.lead - s.dt / 2) / 1000) & np.isin(cells, recorded_cells(s, station))
    cells, times = cells[kept].astype(int), times[kept] - s.lead / 1000
    rows, columns = s.lattice(station)
    repeat, cell = np.divmod(cells, len(rows) * len(columns))
    trial, image = np.divmod(repeat, s.grid.images)
    order = np.lexsort((cell, times, trial, image))
    return np.stack([image, trial, cell, times], axis=1)[order]


def by_frame(movie: np.ndarray) -> np.ndarray:
    """A movie (image, frame, y, x) as a network is shown it: (frame, cell)."""
    return np.ascontiguousarray(np.moveaxis(movie, 1, 0)).reshape(movie.shape[1], -1)


@functools.lru_cache(maxsize=2)
def _numpy_circuit(specification: Specification) -> Circuit:
    circuit = assemble(specification)
    circuit.network.store()
    return circuit


def _run_numpy(specification: Specification, film: np.ndarray, state: State) -> dict[str, np.ndarray]:
    if not isinstance(brian2.get_device(), brian2.devices.RuntimeDevice):
        raise RuntimeError("the numpy target needs Brian2's runtime device: call brian2.set_device('runtime') first")
    preferred = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        circuit = _numpy_circuit(specification)
        circuit.network.restore()
        start(circuit, film, state)
        circuit.network.run((specification.lead + specification.duration) * brian2.ms, namespace={})
    finally:
        brian2.prefs.codegen.target = preferred
    out = {
        name: np.array(output.recorder.variables[output.variable].get_value()).ravel()
        for name, output in circuit.outputs.items()
    }
    for name in state:
        group, variable = name.split(".")
        out[f"end.{name}"] = np.array(circuit.stations[group].variables[variable].get_value(), dtype=float)
    return out


def start(circuit: Circuit, film: np.ndarray, state: State) -> None:
    """Put a circuit on the runtime device before its first step: the film, (frame, cell), is in, the state is set."""
    circuit.movie.values[:] = film
    for name, values in state.items():
        group, variable = name.split(".")
        circuit.stations[group].variables[variable].set_value(values.ravel())


def run_settled(
    specification: Specification,
    target: Target,
    presentations: Presentations,
    chunks: Sequence[slice],
    keep: Callable[[slice, dict[str, np.ndarray], np.ndarray], T],
    workers: int,
    trials: int = 1,
    seed: int = 0,
) -> Iterator[T]:
    """Simulate chunks of images, each image from its settled state, in several processes at once.

    Parameters
    ----------
    chunks : sequence of slice
        Of the presentations; a chunk is simulated by one process, in batches of the specification's size.
    keep : callable
        Takes a chunk, the responses to it (of each station's variable: image, …) and its backgrounds, where the chunk
        was simulated; what it returns is yielded.
    workers : int
        Processes at a time.
    trials : int
        Of each image, in as many networks as it takes.
    seed : int
        Of the noise, which is another one for every network.

    Yields
    ------
    What `keep` returned, in the order of the chunks.
    """
    folder = None
    if target == "cpp":
        folder = cache.build(specification)
        cache.sweep_scratch()
    # A compiled pathway is a process of its own, and a thread is enough to start it; NumPy needs a process.
    parallel = joblib.Parallel(
        n_jobs=workers, prefer="threads" if target == "cpp" else "processes", return_as="generator"
    )
    total = len(presentations)
    waiting = sum(chosen.stop - chosen.start for chosen in chunks)
    with progress(total=total, initial=total - waiting, what="simulating", unit="image") as bar:
        tasks = (
            joblib.delayed(_simulate_chunk)(
                specification, folder, chosen, *presentations.read(chosen), keep, trials, seed
            )
            for chosen in chunks
        )
        for chosen, kept in zip(chunks, parallel(tasks), strict=True):
            bar.update(chosen.stop - chosen.start)
            yield kept


def _simulate_chunk(
    specification: Specification,
    folder: Path | None,
    chosen: slice,
    movie: np.ndarray,
    background: np.ndarray,
    keep: Callable[[slice, dict[str, np.ndarray], np.ndarray], T],
    trials: int,
    seed: int,
) -> T:
    size = specification.grid.images
    parts = []
    for first in range(0, len(movie), size):
        # The last batch is filled up with the last image, since a network has one size.
        batch = np.minimum(np.arange(first, first + size), len(movie) - 1)
        rounds = []
        for begin in range(0, trials, specification.trials):
            noise = _noise(seed, chosen.start + first, begin)
            state = steady_state(specification, background[batch], noise)
            found = responses(specification, run_batch(specification, folder, movie[batch], state))
            rounds.append(_kept(specification, found, len(movie) - first, chosen.start + first, begin, trials))
        parts.append(_together(specification, rounds))
    return keep(chosen, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, background)


def _noise(seed: int, image: int, trial: int) -> int:
    """The seed of the network that begins with this image and trial."""
    return int(np.random.SeedSequence([seed, image, trial]).generate_state(1)[0])


def _kept(
    s: Specification, found: dict[str, np.ndarray], images: int, first: int, begin: int, trials: int
) -> dict[str, np.ndarray]:
    """Responses without the images and trials that only filled a network up; recorded spikes with numbers of all images."""
    kept = {}
    for name, values in found.items():
        if name.split(".")[0] not in s.spiking:
            kept[name] = values[:images]
        elif s.record == "spikes":
            values = values[(values[:, 0] < images) & (values[:, 1] + begin < trials)]
            kept[name] = values + [first, begin, 0, 0]
        else:
            kept[name] = values[:images, : trials - begin]
    return kept


def _together(s: Specification, rounds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Responses in all rounds of trials; what has no noise is the same in all of them."""
    axis = 0 if s.record == "spikes" else 1
    return {
        name: np.concatenate([one[name] for one in rounds], axis) if name.split(".")[0] in s.spiking else values
        for name, values in rounds[0].items()
    }


def run_in_sequence(
    specification: Specification, target: Target, movie: np.ndarray, state: State, seed: int = 0
) -> tuple[list[dict[str, np.ndarray]], State]:
    """Responses to images shown one after the other, each from what the last one left, and what the last one left."""
    folder = cache.build(specification) if target == "cpp" else None
    parts = []
    for k, image in enumerate(progress(list(movie), what="simulating", unit="image")):
        state |= noise_seeds(specification, _noise(seed, k, 0))
        out = run_batch(specification, folder, image[None], state)
        parts.append(responses(specification, out))
        state = {n.removeprefix("end."): v for n, v in out.items() if n.startswith("end.")}
    return parts, state
