"""Files and folders that processes leave behind when they are killed: named by the process, and removed by later ones."""

from __future__ import annotations

import glob
import os
import platform
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def process_name() -> str:
    """The name of this process among those of all machines and containers that share a folder."""
    return f"{_machine()}{os.getpid()}"


def _machine() -> str:
    try:
        numbers = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        numbers = 0
    return f"{platform.node()}-{numbers}-"


def remove_killed(folder: Path, before: str, after: str = "") -> None:
    """Remove what this machine's processes that have ended left in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    before, after : str
        What the names have before and after `process_name`; without `after`, names may go on behind a hyphen.
    """
    start = f"{before}{_machine()}"
    for left in folder.glob(f"{glob.escape(start)}*{glob.escape(after)}"):
        number = left.name.removeprefix(start).removesuffix(after).split("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            remove([left])


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, as far as that is possible."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
