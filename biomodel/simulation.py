"""Runs a pathway over many stimuli, on Brian2's C++ target or, without a compiler, on NumPy's.

Images are simulated in batches that fill one network, and kept in chunks of several batches; a chunk is the work of one
process, and what is in memory at a time.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeVar

import brian2
import joblib
import numpy as np
import scipy

import biomodel
from biomodel import builds
from biomodel.circuit import Circuit, Specification, assemble, readout, recorded_variable, settled
from biomodel.presentations import Presentations
from biomodel.progress import progress
from biomodel.station import State

logger = logging.getLogger("precortical")

Target = Literal["cpp", "numpy"]
T = TypeVar("T")

#: Cells a batch holds at each station: its state stays in the processor's cache.
BATCH_CELLS = 8_192

#: Cells whose responses are stored together.
CHUNK_CELLS = 65_536


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if builds.compiler() is not None:
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
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def chunk_images(specification: Specification) -> int:
    """Images that are stored together, unless told otherwise."""
    s = specification
    samples = s.trace_samples if s.record == "trace" else 1
    batches = CHUNK_CELLS // (s.grid.height * s.grid.width * samples * s.grid.images)
    return s.grid.images * max(1, batches)


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
    out = builds.run(folder, _by_frame(movie), state) if folder else _run_numpy(specification, movie, state)
    for name, values in out.items():
        if not np.isfinite(values).all():
            raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
    return out


def responses(specification: Specification, out: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `run_batch` recorded of each station's variable, image first: (image, cell), or (image, time, cell)."""
    images = specification.grid.images
    found = {}
    for name, values in out.items():
        if not name.startswith("response."):
            continue
        if specification.record == "trace":
            values = np.swapaxes(values.reshape(specification.trace_samples, images, -1), 0, 1)
        found[name.removeprefix("response.")] = values.reshape(images, *values.shape[1:-1], -1)
    return found


def _by_frame(movie: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(movie, 1, 0)).reshape(movie.shape[1], -1)


@functools.lru_cache(maxsize=2)
def _numpy_circuit(specification: Specification) -> Circuit:
    circuit = assemble(specification)
    circuit.network.store()
    return circuit


def _run_numpy(specification: Specification, movie: np.ndarray, state: State) -> dict[str, np.ndarray]:
    if not isinstance(brian2.get_device(), brian2.devices.RuntimeDevice):
        raise RuntimeError("the numpy target needs Brian2's runtime device: call brian2.set_device('runtime') first")
    preferred = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        circuit = _numpy_circuit(specification)
        circuit.network.restore()
        start(circuit, movie, state)
        circuit.network.run(specification.duration * brian2.ms, namespace={})
    finally:
        brian2.prefs.codegen.target = preferred
    out = {}
    for station, recorder in circuit.recorders.items():
        for variable in readout(specification, station).variables:
            values = recorder.variables[recorded_variable(specification, variable)].get_value()
            out[f"response.{station}.{variable}"] = np.array(values, dtype=float).ravel()
    for name in state:
        group, variable = name.split(".")
        out[f"end.{name}"] = np.array(circuit.stations[group].variables[variable].get_value(), dtype=float)
    return out


def start(circuit: Circuit, movie: np.ndarray, state: State) -> None:
    """Put a circuit on the runtime device before its first step: the film (image, frame, y, x) is in, the state is set."""
    circuit.movie.values[:] = _by_frame(movie)
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

    Yields
    ------
    What `keep` returned, in the order of the chunks.
    """
    folder = None
    if target == "cpp":
        folder = builds.build(specification)
        builds.sweep_scratch()
    # A compiled pathway is a process of its own, and a thread is enough to start it; NumPy needs a process.
    parallel = joblib.Parallel(
        n_jobs=workers, prefer="threads" if target == "cpp" else "processes", return_as="generator"
    )
    total = len(presentations)
    waiting = sum(chosen.stop - chosen.start for chosen in chunks)
    with progress(total=total, initial=total - waiting, what="simulating", unit="image") as bar:
        tasks = (
            joblib.delayed(_simulate_chunk)(specification, folder, chosen, *presentations.read(chosen), keep)
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
) -> T:
    size = specification.grid.images
    parts = []
    for first in range(0, len(movie), size):
        # The last batch is filled up with the last image, since a network has one size.
        batch = np.minimum(np.arange(first, first + size), len(movie) - 1)
        out = run_batch(specification, folder, movie[batch], settled(specification, background[batch]))
        parts.append({name: values[: len(movie) - first] for name, values in responses(specification, out).items()})
    return keep(chosen, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, background)


def run_in_sequence(
    specification: Specification, target: Target, movie: np.ndarray, state: State
) -> tuple[list[dict[str, np.ndarray]], State]:
    """Responses to images shown one after the other, each from what the last one left, and what the last one left."""
    folder = builds.build(specification) if target == "cpp" else None
    parts = []
    for image in progress(list(movie), what="simulating", unit="image"):
        out = run_batch(specification, folder, image[None], state)
        parts.append(responses(specification, out))
        state = {n.removeprefix("end."): v for n, v in out.items() if n.startswith("end.")}
    return parts, state
