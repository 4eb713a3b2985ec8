"""Large arrays that the tasks of a study have in common: in files of its folder, which each worker of a cluster reads once."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from biomodel.utils.paths import replacing, writing

#: Bytes from which an array is kept in a file.
LARGE = 10_000


class SharedArrays:
    """Pickles tasks: a large array becomes a file of a folder, and its name is in the task.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # With the arrays: without them another one could get the same identity.
        self._names: dict[int, tuple[np.ndarray, str]] = {}

    def dumps(self, task: object) -> bytes:
        """Pickle a task, and write the arrays that no task had before.

        Raises
        ------
        InputError
            For a folder that cannot be written.
        MachineError
            For a disk that is full or fails.
        """
        import cloudpickle

        keep = self._keep

        class Pickler(cloudpickle.Pickler):
            def persistent_id(self, part: object) -> str | None:
                if type(part) is not np.ndarray:
                    return None
                array = cast(np.ndarray, part)
                return keep(array) if array.nbytes >= LARGE and not array.dtype.hasobject else None

        stream = io.BytesIO()
        Pickler(stream).dump(task)
        return stream.getvalue()

    def _keep(self, array: np.ndarray) -> str:
        if id(array) not in self._names:
            digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
            name = f"{digest.hexdigest()[:32]}.npy"
            if not (self._folder / name).exists():
                with replacing(self._folder / name) as scratch:
                    np.save(scratch, array, allow_pickle=False)
            self._names[id(array)] = array, name
        return self._names[id(array)][1]


@contextmanager
def shared_arrays(folder: Path) -> Iterator[SharedArrays]:
    """Make a folder for the arrays of a run, and remove it at the end.

    Raises
    ------
    InputError
        For a folder that cannot be written.
    MachineError
        For a disk that is full or fails.
    """
    with writing(folder):
        folder.mkdir()
    try:
        yield SharedArrays(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def loads(folder: Path, task: bytes) -> Any:
    """Unpickle a task; its large arrays are read once by a process, cannot be changed, and stay until another run's task."""
    return _Unpickler(folder, task).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, folder: Path, task: bytes) -> None:
        super().__init__(io.BytesIO(task))
        self._folder = folder

    def persistent_load(self, name: str) -> np.ndarray:
        arrays = _arrays(self._folder)
        if name not in arrays:
            # Not mapped: the file is removed when the run ends, and a network file system then takes it away.
            arrays[name] = np.load(self._folder / name, allow_pickle=False)
            arrays[name].flags.writeable = False
        return arrays[name]


@functools.lru_cache(maxsize=1)
def _arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a run that this process has read."""
    return {}
