"""Writing files so that no reader finds a part of one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from biomodel.utils.killed import process_name, remove_killed

#: What this thread calls before a file appears at its path.
_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder with the same suffix, and move the file to `path` at the end.

    Processes and threads that write the same file at the same time have different temporary paths; the last file is kept.
    Temporary files of this machine's processes that were killed are removed.
    """
    remove_killed(path.parent, f".{path.stem}.", f".part{path.suffix}")
    scratch = path.with_name(f".{path.stem}.{process_name()}-{threading.get_ident()}.part{path.suffix}")
    try:
        yield scratch
        check = _check.get()
        if check is not None:
            check()
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def checking_writes(check: Callable[[], None]) -> Iterator[None]:
    """Let this thread call `check` before each file that it writes; where that raises, the file does not appear."""
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)
