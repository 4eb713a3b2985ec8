"""Processes that end when the process that started them does, however that ends."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between looks at the parent.
_INTERVAL = 0.5


def call_in_worker(parent: int, function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a worker process, which ends when its parent has ended.

    A worker of joblib would finish its task, and then wait for minutes for another one.

    Parameters
    ----------
    parent : int
        The number of the process that started the worker, or of this process.
    function, arguments
        What is called.
    """
    if parent != os.getpid():
        _watch(parent)
    return function(*arguments)


@functools.cache
def _watch(parent: int) -> None:
    threading.Thread(target=_end_after, args=(parent, lambda: os._exit(1)), daemon=True).start()


def end_group_with(parent: int) -> None:
    """Let this process's group, which it leads, end with its parent: programs that it started, and theirs, too."""
    end = functools.partial(os.killpg, os.getpid(), signal.SIGTERM)
    threading.Thread(target=_end_after, args=(parent, end), daemon=True).start()


def _end_after(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    end()
