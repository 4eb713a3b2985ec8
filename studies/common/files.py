"""Finished results in files: those that were damaged since are found, and computed again."""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from biomodel.utils.errors import InputError
from bridge import io

logger = logging.getLogger("precortical")


def is_intact(path: Path) -> bool:
    """Whether a result is there as it was written; a warning names a file that is damaged.

    NumPy's npz files and weights have checksums. Of other files it is known only that they can be read.
    """
    if not path.exists():
        return False
    try:
        _CHECKS.get(path.suffix, _check_text)(path)
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("%s is damaged (%s): it is computed again", path, str(error).partition("\n")[0])
        return False
    return True


def _check_npz(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
    if damaged is not None:
        raise InputError(f"the checksum of {damaged} differs")


def _check_json(path: Path) -> None:
    json.loads(path.read_text())


def _check_weights(path: Path) -> None:
    io.read(path)


def _check_text(path: Path) -> None:
    if not path.stat().st_size:
        raise InputError("it is empty")


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".npz": _check_npz,
    ".json": _check_json,
    ".safetensors": _check_weights,
}
