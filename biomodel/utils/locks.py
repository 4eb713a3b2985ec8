"""Locks between processes, which end with the process that holds them, however that ends."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from biomodel.utils.errors import MachineError
from biomodel.utils.paths import unwritable

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}


@contextmanager
def file_lock(path: Path, change: str | None = None, timeout: float = -1) -> Iterator[None]:
    """Hold a lock, by default as soon as no other process does.

    Parameters
    ----------
    path : pathlib.Path
        A file in a folder that exists. It stays.
    change : str, optional
        What the user can change where the folder cannot be used; by default the folder is the user's.
    timeout : float
        Seconds to wait.

    Raises
    ------
    filelock.Timeout
        Where another process holds the lock for that long.
    InputError
        For a folder of the user's that cannot be written.
    MachineError
        For a file system without locks, and for another folder that cannot be written.
    """
    lock = filelock.FileLock(path, timeout)
    try:
        # Versions of filelock raise an error, or mark the folder by a file, which a killed process leaves there for ever.
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_UN)
        lock.acquire()
    except filelock.Timeout:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise unwritable(path.parent, error, change) from None
        raise MachineError(
            f"the file system of {path.parent} has no locks (flock: {error.strerror}): "
            f"{change or 'give a folder on another file system'}"
        ) from None
    try:
        yield
    finally:
        lock.release()
