"""Temporary folders, which are removed also after a process that was killed."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from biomodel.utils.killed import process_name, remove_killed
from biomodel.utils.paths import writing

#: What the names of temporary folders begin with.
_PREFIX = "precortical-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty temporary folder, and remove it at the end.

    Raises
    ------
    MachineError
        Where there is no folder for temporary files that can be written.
    """
    with writing_scratch():
        made = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{process_name()}-", ignore_cleanup_errors=True)
    with made as folder:
        yield Path(folder)


@functools.cache
def folder_of_process(process: int) -> Path:
    """A temporary folder of this process, with its number, until it ends: for the arrays that joblib shares with workers.

    joblib's own folder is left where all processes are killed. Its workers are used again, with the folder that they had.
    The folders of processes that were killed are removed.

    Raises
    ------
    MachineError
        Where there is no folder for temporary files that can be written.
    """
    remove_scratch()
    with writing_scratch():
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{process_name()}-"))
    atexit.register(_remove_at_end, folder, process)
    return folder


def _remove_at_end(folder: Path, process: int) -> None:
    # A process that was forked has not made it.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def remove_scratch() -> None:
    """Remove the temporary folders of this machine's processes that were killed."""
    with writing_scratch():
        folder = tempfile.gettempdir()
    remove_killed(Path(folder), _PREFIX)


def writing_scratch() -> AbstractContextManager[None]:
    """Turn errors of the file system inside the block, in which temporary files are written, into one line."""
    return writing("temporary files", "set TMPDIR to a folder that can be written")
