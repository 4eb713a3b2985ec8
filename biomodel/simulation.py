"""Runs a pathway over many stimuli: in chunks of one shape, on the C++ target or, without a compiler, on NumPy's."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import brian2
import joblib
import numpy as np

from biomodel import compilation
from biomodel.circuit import Circuit, Specification, assemble, readout, recorded_variable, settled
from biomodel.progress import progress
from biomodel.station import State

logger = logging.getLogger("precortical")

Target = Literal["cpp", "numpy"]

#: Cells a chunk holds at each station: batches of this size stay in the processor's cache.
CHUNK_CELLS = 16_384


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if compilation.compiler() is not None:
        return "cpp"
    logger.warning("no C++ compiler (g++ and make) was found: simulating on Brian2's slower numpy target")
    return "numpy"


def chunk_images(height: int, width: int) -> int:
    """Images that are simulated together; it depends on their size alone, so that results don't depend on their number."""
    return max(1, CHUNK_CELLS // (height * width))


@dataclass(frozen=True)
class Chunk:
    """Images to simulate together: `movie` (image, frame, y, x) in cd/m², and the state to start from."""

    movie: np.ndarray
    state: State


def run_chunk(specification: Specification, target: Target, chunk: Chunk) -> dict[str, np.ndarray]:
    """Responses and end states of one chunk by name, flat, in SI units; the chunk fills the specification's grid.

    Raises
    ------
    RuntimeError
        Where the simulation fails or leaves the range of numbers.
    """
    by_frame = np.ascontiguousarray(np.moveaxis(chunk.movie, 1, 0)).reshape(specification.frames, -1)
    if target == "cpp":
        out = compilation.run(compilation.build(specification), {"movie": by_frame, **chunk.state})
    else:
        out = _run_numpy(specification, by_frame, chunk.state)
    for name, values in out.items():
        if not np.isfinite(values).all():
            raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
    return out


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
        out[f"end.{name}"] = np.array(circuit.stations[group].group.variables[variable].get_value(), dtype=float)
    return out


def start(circuit: Circuit, movie: np.ndarray, state: State) -> None:
    """Put a circuit on the runtime device before its first step: the film is in, the state is set."""
    circuit.movie.values[:] = movie
    for name, values in state.items():
        group, variable = name.split(".")
        circuit.stations[group].group.variables[variable].set_value(values.ravel())


def run_settled(
    specification: Specification, target: Target, movie: np.ndarray, background: np.ndarray, workers: int
) -> Iterator[dict[str, np.ndarray]]:
    """Responses to many images, each from the state settled at its background, chunk by chunk in order.

    Parameters
    ----------
    movie : numpy.ndarray, (image, frame, y, x)
    background : numpy.ndarray, (image, y, x)

    Yields
    ------
    dict of str to numpy.ndarray
        Of each station's variable: (image, …), the last chunk without its padding.
    """
    size = specification.grid.images
    if target == "cpp":
        compilation.build(specification)

    def task(first: int) -> dict[str, np.ndarray]:
        # The last chunk is filled up with its last image, since a binary takes whole chunks.
        chosen = np.minimum(np.arange(first, first + size), len(movie) - 1)
        chunk = Chunk(movie[chosen], settled(specification, background[chosen]))
        out = run_chunk(specification, target, chunk)
        kept = min(size, len(movie) - first)
        return {
            name.removeprefix("response."): by_image(specification, values)[:kept]
            for name, values in out.items()
            if name.startswith("response.")
        }

    firsts = range(0, len(movie), size)
    # A binary is a process of its own; NumPy needs one.
    parallel = joblib.Parallel(
        n_jobs=workers, prefer="threads" if target == "cpp" else "processes", return_as="generator"
    )
    with progress(total=len(movie), what="simulating", unit="image") as bar:
        for out in parallel(joblib.delayed(task)(first) for first in firsts):
            bar.update(len(next(iter(out.values()))))
            yield out


def run_in_sequence(
    specification: Specification, target: Target, movie: np.ndarray, state: State
) -> tuple[list[dict[str, np.ndarray]], State]:
    """Responses to images shown one after the other, each from what the last one left, and what the last one left."""
    responses = []
    for image in progress(list(movie), what="simulating", unit="image"):
        out = run_chunk(specification, target, Chunk(image[None], state))
        responses.append(
            {n.removeprefix("response."): by_image(specification, v) for n, v in out.items() if n.startswith("resp")}
        )
        state = {n.removeprefix("end."): v for n, v in out.items() if n.startswith("end.")}
    return responses, state


def by_image(specification: Specification, values: np.ndarray) -> np.ndarray:
    """A recorder's flat output with the image first: (image, cell), or (image, time, cell) of a trace."""
    images = specification.grid.images
    if specification.record == "trace":
        samples = len(np.arange(0, specification.duration - 1e-9, specification.trace_step))
        return np.swapaxes(values.reshape(samples, images, -1), 0, 1)
    return values.reshape(images, -1)
