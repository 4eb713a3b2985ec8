"""Paths that users give, and the writing of files at them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import InputError, MachineError

#: The beginning of an address, of whose slashes `Path` keeps one. One letter is a drive of Windows.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

#: Errors for which another path is the remedy. Every other one is the machine's: full, or it does not read or write.
_WRONG_PATH = {
    errno.EACCES,
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def local_path(path: str | os.PathLike[str], name: str = "path") -> Path:
    """A path on this machine, with the user's home for ``~``.

    Raises
    ------
    InputError
        For an address, and for the home of an unknown user.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"{name} must be a path, got {path!r}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{name} must be a text that is not empty, got {text!r}")
    if _ADDRESS.match(os.fspath(path)):
        raise InputError(f"{name} must be a path on this machine, got the address {os.fspath(path)!r}")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{name} must have a home folder for ~, got {os.fspath(path)!r}") from None


def check_folder(path: Path) -> None:
    """Check, before work that takes hours, that a folder exists or can be made, and that files can be written there.

    Raises
    ------
    InputError
    """
    with writing(path):
        nearest = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_file(path: Path) -> None:
    """Check, before work that takes hours, that a file can be written in a folder that exists.

    Raises
    ------
    InputError
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    check_folder(path.parent)


def unwritable(what: object, error: OSError, change: str | None = None) -> InputError | MachineError:
    """The error for what the file system does not write.

    Parameters
    ----------
    what : pathlib.Path or str
        What is written, for the message.
    error : OSError
    change : str, optional
        What the user can change, for what has no path of the user's. By default `what` is such a path.

    Returns
    -------
    InputError or MachineError
        `InputError` where the user's path is at fault, and `MachineError` for a disk that is full or fails.
    """
    # NumPy's errors for a full disk have no reason.
    reason = error.strerror or f"{error}: is the disk full?"
    if change is None and error.errno in _WRONG_PATH:
        return InputError(f"{what} cannot be written ({reason}): give a path in a writable folder")
    at = f" at {error.filename}" if change and error.filename and str(error.filename) not in str(what) else ""
    change = change or "free space there, or give a path on another disk"
    return MachineError(f"{what} cannot be written ({reason}{at}): {change}")


@contextmanager
def writing(what: object, change: str | None = None) -> Iterator[None]:
    """Turn errors of the file system inside the block into one line; see `unwritable`."""
    try:
        yield
    except OSError as error:
        raise unwritable(what, error, change) from None


def make_folder(path: Path) -> None:
    """Make a user's folder and its parents, where they are missing.

    Raises
    ------
    InputError
        For a folder that cannot be made there.
    MachineError
        For a disk that is full or fails.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to `path` at the end.

    Raises
    ------
    InputError
        For a path that cannot be written; what was there before stays.
    MachineError
        For a disk that is full or fails; likewise.
    """
    with writing(path), atomic_write(path) as scratch:
        yield scratch


def write_text(path: Path, text: str) -> None:
    """Write a text file, all of it or nothing; see `replacing`."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
