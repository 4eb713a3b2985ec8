"""Folders that belong to one run: one set of settings, one writer at a time."""

from __future__ import annotations

import functools
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock
import numpy as np

from biomodel.utils.atomic import checking_writes
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.killed import remove
from biomodel.utils.locks import file_lock
from biomodel.utils.paths import make_folder, write_text, writing

#: Differing settings that a message names.
_NAMED = 4

#: What names of tokens begin with.
_TOKEN = ".run-"


def claim(path: Path, settings: Mapping[str, object], *, extend: bool = False) -> None:
    """Write the settings of a run to a file, or check that the file holds the same settings.

    Parameters
    ----------
    path : pathlib.Path
        A JSON file in the folder of the run; the folder is made where it is missing.
    settings : mapping of str to JSON values
        All that determines the results.
    extend : bool
        Whether settings that the file does not hold are added to it; otherwise they count as different.

    Raises
    ------
    InputError
        For a file that holds other settings, or none; for a folder that cannot be written.
    MachineError
        For a disk that is full or fails.
    """
    new = json.loads(json.dumps(dict(settings)))
    make_folder(path.parent)
    try:
        with writing(path):
            old = json.loads(path.read_text()) if path.exists() else None
        if old is not None:
            check_same(
                path.parent,
                {name: old[name] for name in old if name in new} if extend else old,
                {name: new[name] for name in new if name in old} if extend else new,
            )
        if old is None or extend:
            write_text(path, json.dumps({**(old or {}), **new}, indent=2) + "\n")
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be a JSON file with the settings of a run: {error}") from None


def check_same(path: Path, old: Mapping[str, object], new: Mapping[str, object]) -> None:
    """Check that results at `path`, made with the settings `old`, can be continued with the settings `new`.

    Raises
    ------
    InputError
        With the settings that differ.
    """
    differing = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if differing:
        named = "; ".join(f"{name} = {old.get(name)}, now {new.get(name)}" for name in differing[:_NAMED])
        more = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        raise InputError(f"{path} was made with {named}{more}: give the same settings, or another folder")


def array_digest(arrays: Iterable[np.ndarray]) -> str:
    """Digest of the values of arrays, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def exclusive(folder: Path) -> Iterator[Path]:
    """Lock a folder against other processes; the lock ends with the process, also when it is killed.

    Yields
    ------
    pathlib.Path
        The token of this run (`run_token`). Those of earlier runs are removed, with what was kept beside them.

    Raises
    ------
    InputError
        For a folder that another process has locked, or that cannot be written.
    MachineError
        For a file system without locks, and a disk that is full or fails.
    """
    make_folder(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / ".lock", timeout=0))
        except filelock.Timeout:
            raise InputError(
                f"{folder} is being written by another process: wait for it, or give another folder"
            ) from None
        remove(folder.glob(f"{_TOKEN}*"))
        yield stack.enter_context(run_token(folder))


@contextmanager
def run_token(folder: Path) -> Iterator[Path]:
    """Yield the path of a file that is in a folder as long as this run lasts.

    Processes that work for the run look for it (`is_running`): one that does not find it works in another folder, or for a
    run that has ended.

    Raises
    ------
    InputError
        For a folder that cannot be written.
    """
    make_folder(folder)
    token = folder / f"{_TOKEN}{uuid.uuid4().hex}"
    with writing(folder):
        token.touch()
    try:
        yield token
    finally:
        with suppress(OSError):
            token.unlink()


def is_running(token: Path) -> bool:
    """Whether the run of a token lasts, and its folder is this process's, too."""
    try:
        # A network file system looks again when a file is opened, not when it is asked for.
        token.open("rb").close()
    except OSError:
        return False
    return True


def check_running(token: Path) -> None:
    """Check that the run of a token lasts: otherwise its folder may be another run's.

    Raises
    ------
    MachineError
    """
    if not is_running(token):
        raise MachineError(f"{token.parent} is no longer that of this run: was it removed?")


@contextmanager
def working_for(token: Path) -> Iterator[None]:
    """Let this thread write files (`biomodel.utils.paths.replacing`) only as long as the run of a token lasts.

    A process that works for a run may go on after its end. Every file is checked immediately before it appears.
    """
    with checking_writes(functools.partial(check_running, token)):
        yield
