"""Independent tasks of a study, run in parallel processes of one thread each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import torch

from biomodel.utils.parents import call_for
from biomodel.utils.progress import progress


def run_parallel(task: Callable[..., None], arguments: Sequence[tuple[Any, ...]], workers: int, what: str) -> None:
    """Call a function once for each tuple of arguments; it writes its own results.

    Parameters
    ----------
    task : callable
        A module-level function.
    arguments : sequence of tuple
        Positional arguments of each call.
    workers : int
        Number of processes.
    what : str
        Label of the progress bar.
    """
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        results = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
            joblib.delayed(call_for)(os.getpid(), _single_threaded, task, *values) for values in arguments
        )
        for _ in progress(results, total=len(arguments), what=what, unit="task"):
            pass


def _single_threaded(task: Callable[..., None], *values: Any) -> None:
    torch.set_num_threads(1)
    task(*values)
