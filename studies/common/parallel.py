"""Independent tasks of a study, run side by side in processes of one thread each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import joblib

from biomodel.utils.progress import progress


def side_by_side(task: Callable[..., None], arguments: Sequence[tuple[Any, ...]], workers: int, what: str) -> None:
    """Run `task` once for each of `arguments`, `workers` at a time; a task writes what it found itself."""
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        tasks = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
            joblib.delayed(task)(*given) for given in arguments
        )
        for _ in progress(tasks, total=len(arguments), what=what, unit="task"):
            pass
