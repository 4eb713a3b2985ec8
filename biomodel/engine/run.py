"""Runs a plan: on Brian2's C++ target, or on NumPy's where there is no compiler."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import brian2
import joblib
import numpy as np
import xarray as xr

from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.recording import run_variables
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import noise_seeds, steady_state
from biomodel.engine import cache, cpp
from biomodel.engine.plan import Batch, Plan, Target, chunked, noise_seed
from biomodel.engine.responses import Recorded, concatenate, concatenate_trials, empty_dataset, label, read_batch
from biomodel.engine.spike_trains import SpikeTrains
from biomodel.engine.store import open_store
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import exclusive

logger = logging.getLogger("precortical")

T = TypeVar("T")

#: Takes a chunk, the responses to it and its backgrounds, where the chunk was simulated.
Keep = Callable[[slice, Recorded, np.ndarray], T]


@functools.cache
def available_target() -> Target:
    """C++ where there is a compiler; otherwise NumPy, with one warning."""
    if cache.compiler() is not None:
        return "cpp"
    logger.warning("no C++ compiler (g++ and make) was found: simulating on Brian2's slower numpy target")
    return "numpy"


def simulate(plan: Plan, workers: int) -> xr.Dataset | SpikeTrains:
    """Responses of a plan in memory, simulated by several processes."""
    parts = list(run_chunks(plan, plan.chunks(), _unchanged, workers))
    recorded = concatenate([part for part, _ in parts])
    return label(plan, recorded, np.concatenate([background for _, background in parts]))


def simulate_into(plan: Plan, folder: Path, chunk: int | None, resume: bool, workers: int) -> xr.Dataset:
    """Responses of a plan in a folder, written chunk by chunk; chunks that are there already are kept.

    Parameters
    ----------
    plan : Plan
    folder : pathlib.Path
    chunk : int, optional
        Images that are stored together.
    resume : bool
        Whether to continue where a store is there already.
    workers : int

    Returns
    -------
    xarray.Dataset
        Values are read when they are used.
    """
    plan = chunked(plan, chunk)
    stimulus = plan.presentations.stimulus
    with exclusive(folder):
        bare = plan.without_images()
        store = open_store(folder, empty_dataset(plan), stimulus, plan.chunk, plan.store_settings(), resume)

        def keep(chosen: slice, recorded: Recorded, background: np.ndarray) -> None:
            store.write(chosen, label(bare, recorded, background))

        pending = store.pending()
        for _ in run_chunks(plan, pending, keep, workers) if pending else ():
            pass
    return store.read()


def simulate_in_sequence(
    plan: Plan, before: tuple[State, np.ndarray] | None
) -> tuple[xr.Dataset | SpikeTrains, tuple[State, np.ndarray]]:
    """Responses to images of which each starts from the state that the one before left.

    Parameters
    ----------
    plan : Plan
    before : pair of State and numpy.ndarray (y, x), optional
        The state to start from, and the image that was shown last; by default the state that gaze on the first image leaves.

    Returns
    -------
    responses : xarray.Dataset or SpikeTrains
    after : pair of State and numpy.ndarray
        The state at the end, and the last image.
    """
    s = plan.specification
    shown, fields = plan.presentations.read(slice(None))
    state, last = before or (steady_state(s, fields[:1], plan.seed), fields[0])
    folder = cache.build(s) if plan.target == "cpp" else None
    parts = []
    for k, image in enumerate(progress(list(shown), what="simulating", unit="image")):
        seed = noise_seed(plan.seed, k, 0)
        out = run_batch(plan, folder, image[None], state | noise_seeds(s, seed))
        batch = Batch(np.array([0]), 1, k, plan.trials, 0, seed)
        parts.append(read_batch(plan, batch, out))
        state = {name.removeprefix("end."): values for name, values in out.items() if name.startswith("end.")}
    still = shown.mean(axis=1)
    responses = label(plan, concatenate(parts), np.concatenate([last[None], still[:-1]]))
    return responses, (state, still[-1])


def _unchanged(chosen: slice, recorded: Recorded, background: np.ndarray) -> tuple[Recorded, np.ndarray]:
    return recorded, background


def run_chunks(plan: Plan, chunks: list[slice], keep: Keep[T], workers: int) -> Iterator[T]:
    """Simulate chunks of images, each image from its steady state, in several processes at once.

    Parameters
    ----------
    plan : Plan
    chunks : list of slice
        A chunk is simulated by one process.
    keep : callable
        Its results are yielded, in the order of the chunks.
    workers : int
        Processes at a time.
    """
    folder = None
    if plan.target == "cpp":
        folder = cache.build(plan.specification)
        cpp.remove_scratch()
    # A compiled circuit is a process of its own, and a thread is enough to start it; NumPy needs a process.
    prefer = "threads" if plan.target == "cpp" else "processes"
    parallel = joblib.Parallel(n_jobs=workers, prefer=prefer, return_as="generator")
    total, left = len(plan.presentations), sum(chunk.stop - chunk.start for chunk in chunks)
    bare = plan.without_images()
    with progress(total=total, initial=total - left, what="simulating", unit="image") as bar:
        tasks = (
            joblib.delayed(_simulate_chunk)(bare, folder, chunk, *plan.presentations.read(chunk), keep)
            for chunk in chunks
        )
        for chunk, kept in zip(chunks, parallel(tasks), strict=True):
            bar.update(chunk.stop - chunk.start)
            yield kept


def _simulate_chunk(
    plan: Plan, folder: Path | None, chunk: slice, movie: np.ndarray, background: np.ndarray, keep: Keep[T]
) -> T:
    parts = []
    for batches in plan.batches(chunk):
        repeats = []
        for batch in batches:
            state = steady_state(plan.specification, background[batch.images], batch.noise_seed)
            out = run_batch(plan, folder, movie[batch.images], state)
            repeats.append(read_batch(plan, batch, out))
        parts.append(concatenate_trials(plan, repeats))
    return keep(chunk, concatenate(parts), background)


def run_batch(plan: Plan, folder: Path | None, movie: np.ndarray, state: State) -> dict[str, np.ndarray]:
    """Outputs and end states of one batch by name, flat, in SI units.

    Parameters
    ----------
    plan : Plan
    folder : pathlib.Path or None
        The compiled circuit; None for the numpy target.
    movie : numpy.ndarray, (image, frame, y, x)
        As many images as the specification's grid holds; cd/m².
    state : dict
        From which to start.

    Raises
    ------
    RuntimeError
        Where the simulation fails or its numbers become infinite.
    """
    settings = run_variables(plan.specification, plan.recordings, plan.settings)
    frames = by_frame(movie)
    out = (
        cpp.run_binary(folder, {"movie": frames, **state, **settings})
        if folder
        else _run_numpy(plan.specification, frames, state, settings)
    )
    for name, values in out.items():
        if not np.isfinite(values).all():
            raise RuntimeError(f"the simulation diverged ({name} is not finite): choose a shorter dt")
    return out


def by_frame(movie: np.ndarray) -> np.ndarray:
    """A movie (image, frame, y, x) as a network takes it: (frame, cell)."""
    return np.ascontiguousarray(np.moveaxis(movie, 1, 0)).reshape(movie.shape[1], -1)


@functools.lru_cache(maxsize=2)
def _numpy_circuit(specification: Specification) -> Circuit:
    circuit = assemble(specification)
    circuit.network.store()
    return circuit


def _run_numpy(
    specification: Specification, frames: np.ndarray, state: State, settings: State
) -> dict[str, np.ndarray]:
    if not isinstance(brian2.get_device(), brian2.devices.RuntimeDevice):
        raise RuntimeError("the numpy target needs Brian2's runtime device: call brian2.set_device('runtime') first")
    preferred = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        circuit = _numpy_circuit(specification)
        circuit.network.restore()
        set_state(circuit, frames, state | settings)
        for monitor in circuit.monitors:
            monitor.active = bool(settings["recording.trace"][0])
        circuit.network.run(float(settings["recording.duration"][0]) * brian2.second, namespace={})
    finally:
        brian2.prefs.codegen.target = preferred
    out = {
        name: np.array(output.recorder.variables[output.variable].get_value()).ravel()
        for name, output in circuit.outputs.items()
    }
    for name in state if specification.leaves_state else ():
        group, variable = name.split(".")
        out[f"end.{name}"] = np.array(circuit.stations[group].variables[variable].get_value(), dtype=float)
    return out


def set_state(circuit: Circuit, frames: np.ndarray, state: State) -> None:
    """Set the movie, (frame, cell) in cd/m², and the state of a circuit on the runtime device."""
    circuit.movie.values[:] = frames
    for name, values in state.items():
        group, variable = name.split(".")
        circuit.stations[group].variables[variable].set_value(values.ravel())
