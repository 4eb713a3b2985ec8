"""Folders that belong to one run: one writer at a time, one set of settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from biomodel.utils.errors import InputError

#: Settings that differ are named; of many, so many.
_NAMED = 4


def check_same(path: Path, made_with: dict[str, object], settings: dict[str, object]) -> None:
    """Refuse, with a ValueError that names the settings that differ, what was made with others."""
    differing = [name for name in sorted(made_with.keys() | settings) if made_with.get(name) != settings.get(name)]
    if differing:
        named = "; ".join(f"{name} = {made_with.get(name)}, now {settings.get(name)}" for name in differing[:_NAMED])
        more = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        raise InputError(f"{path} was made with {named}{more}: give the same settings, or another folder")


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder's store against other processes; the hold ends with the process, however that ends.

    Raises
    ------
    InputError
        Where another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise InputError(f"{folder} is being written by another process: wait for it, or give another folder") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}): give a writable folder") from None
    try:
        yield
    finally:
        lock.release()
