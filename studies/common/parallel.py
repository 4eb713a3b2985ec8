"""Independent tasks of a study, run in parallel processes of one thread each, here or on a cluster."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import joblib
import torch

from biomodel.engine.cluster import Cluster, Needs, Workers
from biomodel.engine.scratch import folder_of_process, remove_scratch
from biomodel.utils.parents import call_in_worker
from biomodel.utils.progress import progress
from biomodel.utils.run_folder import run_token, working_for
from studies.common.shared_arrays import loads, shared_arrays

#: The random numbers of torch are a process's: in a worker with several threads tasks wait for each other.
_one_task = threading.Lock()


def run_parallel(
    task: Callable[..., None], arguments: Sequence[tuple[Any, ...]], workers: Workers, what: str, folder: Path
) -> None:
    """Call a function once for each tuple of arguments; it writes its own results.

    Parameters
    ----------
    task : callable
        A module-level function.
    arguments : sequence of tuple
        Positional arguments of each call.
    workers : int or str
        Number of processes, or the address of a dask scheduler.
    what : str
        Label of the progress bar.
    folder : pathlib.Path
        Where results are written; the workers of a cluster have to see it. An absolute path, for a cluster.
    """
    # Also where nothing is left to do: the run before may have been killed at its very end.
    remove_scratch()
    if not arguments:
        return
    with _results(task, arguments, workers, folder) as results:
        for _ in progress(results, total=len(arguments), what=what, unit="task"):
            pass


@contextmanager
def _results(
    task: Callable[..., None], arguments: Sequence[tuple[Any, ...]], workers: Workers, folder: Path
) -> Iterator[Iterator[None]]:
    """What the tasks return, as they are done."""
    with run_token(folder) as token:
        if isinstance(workers, int):
            with joblib.parallel_config("loky", inner_max_num_threads=1):
                temporary = folder_of_process(os.getpid())
                parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", temp_folder=temporary)
                calls = (
                    joblib.delayed(call_in_worker)(os.getpid(), _call, token, task, *values) for values in arguments
                )
                yield parallel(calls)
            return
        cluster = Cluster(workers, Needs(token, packages=("bridge", "studies"), distributions=("torch",)))
        arrays = token.with_name(f"{token.name}-arrays")
        with shared_arrays(arrays) as kept:
            tasks = ((token, arrays, kept.dumps((task, *values))) for values in arguments)
            with closing(cluster.map(_call_with_arrays, tasks, ordered=False)) as results:
                yield results


def shared(folder: Path, workers: Workers) -> Path:
    """The folder of a study as its tasks take it: for a cluster, whose workers have other working directories, absolute."""
    return folder if isinstance(workers, int) else folder.absolute()


def _call_with_arrays(token: Path, arrays: Path, call: bytes) -> None:
    """Run a task in a worker of a cluster."""
    with _one_task:
        _call(token, *loads(arrays, call))


def _call(token: Path, task: Callable[..., None], *values: Any) -> None:
    """Run a task, whose results are written only as long as the run of a token lasts."""
    torch.set_num_threads(1)
    with working_for(token):
        task(*values)
