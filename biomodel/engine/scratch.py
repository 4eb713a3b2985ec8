"""Temporary folders, which are removed also after a process that was killed."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biomodel.utils.errors import MachineError


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty temporary folder, and remove it at the end.

    Raises
    ------
    MachineError
        Where there is no folder for temporary files that can be written.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=_prefix(), ignore_cleanup_errors=True)
    except OSError as error:
        raise unusable(error) from None
    with made as folder:
        yield Path(folder)


def _prefix() -> str:
    """What names of temporary folders of this machine's (or container's) processes begin with, this process's number last."""
    try:
        numbers = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        numbers = 0
    return f"precortical-{platform.node()}-{numbers}-{os.getpid()}-"


def remove_scratch() -> None:
    """Remove the temporary folders of this machine's processes that were killed."""
    family = _prefix().removesuffix(f"{os.getpid()}-")
    for folder in Path(_temporary()).glob(f"{glob.escape(family)}*"):
        process = folder.name.removeprefix(family).split("-")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise unusable(error) from None


def unusable(error: OSError) -> MachineError:
    """The error for a temporary folder that cannot be written."""
    at = f" at {error.filename}" if error.filename else ""
    return MachineError(
        f"temporary files cannot be written ({error.strerror or error}{at}): set TMPDIR to a folder that can be written"
    )


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
