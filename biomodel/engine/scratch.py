"""Temporary folders, which are removed also after a process that was killed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biomodel.utils.errors import MachineError
from biomodel.utils.killed import process_name, remove_killed

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
    try:
        made = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{process_name()}-", ignore_cleanup_errors=True)
    except OSError as error:
        raise unusable(error) from None
    with made as folder:
        yield Path(folder)


def remove_scratch() -> None:
    """Remove the temporary folders of this machine's processes that were killed."""
    remove_killed(Path(_temporary()), _PREFIX)


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
