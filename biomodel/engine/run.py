"""Runs a plan, chunk by chunk, and labels the responses."""

from __future__ import annotations

import copy
import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import joblib
import numpy as np
import xarray as xr

from biomodel.adaptation import Fields
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.engine.cluster import Cluster, Needs, Workers
from biomodel.engine.executors import EXECUTORS, Executor, Target
from biomodel.engine.plan import Batch, Plan, noise_seed
from biomodel.engine.responses import Recorded, concatenate, concatenate_trials, empty_dataset, label, read_batch
from biomodel.engine.scratch import folder_of_process, remove_scratch
from biomodel.engine.spike_trains import SpikeTrains
from biomodel.engine.store import ResponseStore, open_store
from biomodel.utils.parents import call_in_worker
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import check_running, exclusive

T = TypeVar("T")

#: Takes a chunk, the responses to it and its backgrounds, in the process that simulated it.
Keep = Callable[[slice, Recorded, np.ndarray], T]


def simulate(plan: Plan, workers: Workers) -> xr.Dataset | SpikeTrains:
    """Responses of a plan in memory, simulated by several processes."""
    parts = list(run_chunks(plan, plan.chunks(), _unchanged, _processes(plan, workers)))
    recorded = concatenate([part for part, _ in parts])
    return label(plan, recorded, np.concatenate([background for _, background in parts]))


def simulate_into(plan: Plan, folder: Path, resume: bool, workers: Workers) -> xr.Dataset:
    """Responses of a plan in a folder, written chunk by chunk; chunks that are there already are kept.

    Parameters
    ----------
    plan : Plan
    folder : pathlib.Path
    resume : bool
        Whether to continue where a store is there already.
    workers : int, str or distributed.Client

    Returns
    -------
    xarray.Dataset
        Values are read when they are used.
    """
    # Also where nothing is left to do: the run before may have been killed at its very end.
    remove_scratch()
    with exclusive(folder) as token:
        processes = _processes(plan, workers, token)
        store = open_store(
            folder, empty_dataset(plan), plan.presentations.stimulus, plan.chunk, plan.store_settings(), resume
        )
        pending = store.pending()
        keep = functools.partial(_write, plan.without_images(), store, token)
        for _ in run_chunks(plan, pending, keep, processes) if pending else ():
            pass
    return store.read()


def _write(bare: Plan, store: ResponseStore, token: Path, chosen: slice, recorded: Recorded, field: np.ndarray) -> None:
    """Keep the responses to a chunk, unless the run has ended: then the folder may be another one's."""
    check_running(token)
    store.write(chosen, label(bare, recorded, field))


def _processes(plan: Plan, workers: Workers, token: Path | None = None) -> int | Cluster:
    """A number of processes of this machine, or a cluster whose workers are checked."""
    return workers if isinstance(workers, int) else Cluster(workers, Needs(token, compiler=plan.target == "cpp"))


def simulate_in_sequence(
    plan: Plan, before: tuple[State, np.ndarray] | None
) -> tuple[xr.Dataset | SpikeTrains, tuple[State, np.ndarray]]:
    """Simulate images in a sequence: each presentation starts from the last state of the one before.

    Parameters
    ----------
    plan : Plan
    before : pair of State and numpy.ndarray (y, x), optional
        The state to start from, and the image or frame that was shown last; by default the state that gaze on the first
        image leaves.

    Returns
    -------
    responses : xarray.Dataset or SpikeTrains
    after : pair of State and numpy.ndarray
        The state at the end, and the image or frame that was shown last.
    """
    executor = EXECUTORS[plan.target](plan.specification, plan.variables)
    shown, fields = plan.presentations.read(slice(None))
    state, last = before or (executor.steady_state(fields[:1], plan.seed), fields.start[0])
    parts = []
    for k, image in enumerate(progress(list(shown), what="simulating", unit="image")):
        seed = noise_seed(plan.seed, k, 0)
        out = executor.run(image[None], state, seed)
        parts.append(read_batch(plan, Batch(np.array([0]), 1, k, plan.trials, 0, seed), out))
        state = {name.removeprefix("end."): values for name, values in out.items() if name.startswith("end.")}
    ends = shown[:, plan.last_frame]
    responses = label(plan, concatenate(parts), np.concatenate([last[None], ends[:-1]]))
    return responses, (state, ends[-1])


def _unchanged(chosen: slice, recorded: Recorded, background: np.ndarray) -> tuple[Recorded, np.ndarray]:
    return recorded, background


def run_chunks(plan: Plan, chunks: list[slice], keep: Keep[T], processes: int | Cluster) -> Iterator[T]:
    """Simulate chunks of images, each image from its steady state, in several processes at once.

    Parameters
    ----------
    plan : Plan
    chunks : list of slice
        A chunk is simulated by one process.
    keep : callable
        Its results are yielded, in the order of the chunks.
    processes : int or Cluster
        Processes of this machine, or workers of a cluster.
    """
    bare = plan.without_images()
    tasks = ((bare, chunk, *plan.presentations.read(chunk), keep) for chunk in chunks)
    total, left = len(plan.presentations), sum(chunk.stop - chunk.start for chunk in chunks)
    if isinstance(processes, Cluster):
        # Each worker finds or makes the binary for its own processor.
        results = processes.map(_simulate_chunk, tasks)
    else:
        simulate_chunk = functools.partial(_simulate_chunk, executor=_executor(plan))
        # A compiled circuit is a process of its own, and a thread is enough to start it; NumPy needs a process.
        if plan.target == "cpp":
            results = _call_in_threads(simulate_chunk, tasks, processes)
        else:
            results = _call_in_processes(simulate_chunk, tasks, processes)
    # Closed after an error too: no other chunk begins.
    with closing(results), progress(total=total, initial=total - left, what="simulating", unit="image") as bar:
        for chunk, kept in zip(chunks, results, strict=True):
            bar.update(chunk.stop - chunk.start)
            yield kept


def _call_in_threads(function: Callable[..., T], tasks: Iterable[tuple], threads: int) -> Generator[T, None, None]:
    """Results of a function, in the order of its tasks. After an error, calls that run are waited for.

    Threads of joblib would go on: the processes that they wait for outlive the program, and SciPy's solver cannot free its
    memory of a thread that goes on when the interpreter ends, which changes the exit code to 120.
    """
    if threads == 1:
        yield from (function(*task) for task in tasks)
        return
    running: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                running.append(pool.submit(function, *task))
                if len(running) == 2 * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for one in running:
                one.cancel()


def _call_in_processes(function: Callable[..., T], tasks: Iterable[tuple], processes: int) -> Generator[T, None, None]:
    """Results of a function, in the order of its tasks."""
    parallel = joblib.Parallel(n_jobs=processes, return_as="generator", temp_folder=folder_of_process(os.getpid()))
    with closing(parallel(joblib.delayed(call_in_worker)(os.getpid(), function, *task) for task in tasks)) as results:
        yield from results


def _executor(plan: Plan) -> Executor:
    return EXECUTORS[plan.target](plan.specification, plan.variables)


def _worker_executor(plan: Plan) -> Executor:
    """The executor of a plan in a worker of a cluster, which checks a binary for its first chunk."""
    made = _kept_executor(plan.target, plan.specification)
    if not made.is_present():
        _kept_executor.cache_clear()
        made = _kept_executor(plan.target, plan.specification)
    executor = copy.copy(made)
    executor.variables = plan.variables
    return executor


@functools.lru_cache(maxsize=4)
def _kept_executor(target: Target, specification: Specification) -> Executor:
    return EXECUTORS[target](specification, {})


def _simulate_chunk(
    plan: Plan,
    chunk: slice,
    movie: np.ndarray,
    fields: Fields,
    keep: Keep[T],
    executor: Executor | None = None,
) -> T:
    executor = executor or _worker_executor(plan)
    parts = []
    for batches in plan.batches(chunk):
        repeats = []
        for batch in batches:
            state = executor.steady_state(fields[batch.images], batch.noise_seed)
            repeats.append(read_batch(plan, batch, executor.run(movie[batch.images], state)))
        parts.append(concatenate_trials(plan, repeats))
    return keep(chunk, concatenate(parts), fields.start)
