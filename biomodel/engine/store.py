"""Responses in a folder, written chunk by chunk."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from biomodel.circuit.specification import STATIONS
from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.killed import remove
from biomodel.utils.paths import local_path, make_folder, unwritable, writing
from biomodel.utils.run_folder import check_same

logger = logging.getLogger("precortical")

#: The group beside the responses whose attributes are the settings.
_SETTINGS = "settings"

#: Every chunk ends with a checksum, of four bytes.
_COMPRESSORS, _CHECKSUM = (ZstdCodec(level=0), Crc32cCodec()), 4


@dataclass(frozen=True)
class Store:
    """A folder for responses, with the number of images that are stored together.

    Parameters
    ----------
    folder : str or pathlib.Path
        Responses go to ``responses.zarr`` in it.
    chunk : int, optional
        Images that are simulated by one process and stored together, with all of their trials; by default as many as have
        65,536 responses of a channel. What is in memory at a time is a few chunks.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.Store("runs/a", chunk=16)
    Store(folder='runs/a', chunk=16)
    """

    folder: str | Path
    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.chunk is not None:
            object.__setattr__(self, "chunk", whole_number(self.chunk, "chunk", 1))
        if not isinstance(self.folder, str | Path):
            raise InputError(f"folder must be a path, got {self.folder!r}")

    @property
    def path(self) -> Path:
        """The folder as an absolute path, since worker processes may have another working directory."""
        return local_path(self.folder, "store").absolute()


@dataclass(frozen=True)
class ResponseStore:
    """The responses of `images` images in `folder`/responses.zarr, `chunk` images at a time."""

    folder: Path
    images: int
    chunk: int

    @property
    def path(self) -> Path:
        """Where the responses are."""
        return self.folder / "responses.zarr"

    def pending(self, intact: bool = True) -> list[slice]:
        """The chunks that are not done yet, in order; those that are damaged are not, if `intact` is asked for."""
        arrays = [array for _, array in self._group().arrays() if array.ndim > 1]
        chunks = []
        for k, first in enumerate(range(0, self.images, self.chunk)):
            files = [_file(self.path, array, k) for array in arrays]
            written = all(_is_written(file) for file in files)
            damaged = [file for file in files if intact and written and not _is_intact(file)]
            if damaged:
                logger.warning("%s is damaged: its images are simulated again", damaged[0])
            if damaged or not written:
                chunks.append(slice(first, min(first + self.chunk, self.images)))
        return chunks

    def n_done(self) -> int:
        """How many images' responses are there."""
        return self.images - sum(left.stop - left.start for left in self.pending(intact=False))

    def write(self, chosen: slice, responses: xr.Dataset) -> None:
        """Keep the responses to one chunk of images.

        Raises
        ------
        MachineError
            Where the disk does not take them: full, read-only, gone. What was written before stays.
        """
        try:
            group = self._group()
            for name, variable in responses.data_vars.items():
                _array(group, str(name))[chosen] = variable.values
        except OSError as error:
            try:
                kept = f"the responses to {self.n_done()} of {self.images} images are kept"
            except (OSError, KeyError, ValueError, MachineError):
                kept = "the store is gone"
            raise unwritable(self.path, error, f"{kept}; repeat the call to continue") from error

    def read(self) -> xr.Dataset:
        """The responses; values are read from disk when they are used."""
        return _read(self.path)

    def settings(self) -> dict[str, object]:
        """Read the settings of the simulation from the store."""
        found = self._group()[_SETTINGS].attrs["all"]
        if not isinstance(found, dict):
            raise InputError(f"settings must be a mapping, got {found!r}")
        return dict(found)

    def _group(self) -> zarr.Group:
        return zarr.open_group(self.path, mode="r+", use_consolidated=False)


def _read(store: Path | MemoryStore) -> xr.Dataset:
    found = xr.open_zarr(store, chunks=None, consolidated=False)
    texts = {
        name: (c.dims, np.array(c.values.tolist(), dtype=str), c.attrs)
        for name, c in found.variables.items()
        if c.dtype.kind == "T"
    }
    # A coordinate with a space in its name is stored as a variable.
    responses = [name for name in ("background", *STATIONS) if name in found]
    return found.set_coords([name for name in found.data_vars if name not in responses]).assign_coords(texts)


def changed_label(labels: Mapping[str, xr.DataArray]) -> str | None:
    """The name of a label that a store does not return as it is, and what becomes of it; None where all come back.

    Labels are written to memory as they are written to a store, and read again.

    Parameters
    ----------
    labels : mapping of str to xarray.DataArray, (image,)

    Returns
    -------
    str or None
    """
    if _changed(labels) is None:
        return None
    # Attributes can name other labels: together they may change where each one does not.
    alone = ((name, _changed({name: label})) for name, label in labels.items())
    name, change = next((found for found in alone if found[1]), (", ".join(labels), _changed(labels)))
    return f"{name!r}: {change}"


def _changed(labels: Mapping[str, xr.DataArray]) -> str | None:
    """What differs where labels were written and read again."""
    kept = MemoryStore()
    try:
        _write_coordinates(kept, xr.Dataset(coords=labels))
        found = _read(kept).load()
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        return (str(error) or type(error).__name__).splitlines()[0]
    for name, label in labels.items():
        if name not in found.coords:
            return "it is lost"
        one = found[name].variable
        if one.dtype.kind != label.dtype.kind and label.dtype != object:
            return f"type {label.dtype} becomes {one.dtype}"
        if not one.equals(label.variable):
            return "other values come back"
        if set(one.attrs) != set(label.attrs) or _plain(one.attrs) != _plain(label.attrs):
            return f"the attributes {label.attrs} become {one.attrs}"
    return None


def _file(path: Path, array: zarr.Array, chunk: int) -> Path:
    """The file of an array's chunk along its first dimension."""
    return path / array.path / array.metadata.encode_chunk_key((chunk, *[0] * (array.ndim - 1)))


def _is_written(file: Path) -> bool:
    """Whether a chunk is there."""
    with _opening(file):
        return file.exists() and file.stat().st_size > 0


def _is_intact(file: Path) -> bool:
    """Whether a chunk is as it was written."""
    with _opening(file):
        content = file.read_bytes()
    return google_crc32c.value(content[:-_CHECKSUM]) == int.from_bytes(content[-_CHECKSUM:], "little")


@contextmanager
def _opening(file: Path) -> Iterator[None]:
    """Turn errors of the file system inside the block, in which a chunk is opened, into `MachineError`."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{file} cannot be read ({error.strerror or error}): make it readable, or remove it: "
            "its images are then simulated again"
        ) from None


def n_done(folder: Path) -> int:
    """How many images' responses a folder holds."""
    try:
        background = _array(zarr.open_group(folder / "responses.zarr", mode="r", use_consolidated=False), "background")
        return ResponseStore(folder, background.shape[0], background.chunks[0]).n_done()
    except (OSError, KeyError, ValueError, TypeError, AttributeError):
        return 0


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise InputError(f"{name} must be an array of {group.path}, got a group")
    return found


def open_store(
    folder: Path, empty: xr.Dataset, stimulus: xr.DataArray, chunk: int, settings: dict[str, object], resume: bool
) -> ResponseStore:
    """Create a store, or open one with the same settings.

    Parameters
    ----------
    folder : pathlib.Path
        Is made where it is missing.
    empty : xarray.Dataset
        The responses to no image at all: variables, coordinates and attributes.
    stimulus : xarray.DataArray
        Whose coordinates along `image` are taken over.
    chunk : int
        Images that are kept together.
    settings : dict of str to JSON values
        All that decides the responses.
    resume : bool
        Whether to go on where a store is there already.

    Raises
    ------
    InputError
        For a store that is there and must not be, was made with other settings (which are named), or is no store; for
        a folder that cannot be written.
    MachineError
        For a disk that is full or fails.
    """
    store = ResponseStore(folder, stimulus.sizes["image"], chunk)
    plain = json.loads(json.dumps(settings))
    if store.path.exists():
        if not resume:
            raise InputError(f"{store.path} exists already: give resume=True to continue it, or another folder")
        _check(store, empty, stimulus, plain)
        # Of processes that were killed: the folder is locked.
        remove(store.path.glob("*/c/**/*.partial"))
        return store
    make_folder(folder)
    remove(folder.glob(".responses-*.zarr"))
    making = folder / f".responses-{os.getpid()}.zarr"
    try:
        with writing(folder):
            _create(making, empty, stimulus, chunk, plain)
            making.rename(store.path)
    finally:
        remove([making])
    return store


def _create(
    store: Path | MemoryStore, empty: xr.Dataset, stimulus: xr.DataArray, chunk: int, settings: dict[str, object]
) -> None:
    images = stimulus.sizes["image"]
    along_images = {name: c for name, c in stimulus.coords.items() if c.dims == ("image",)}
    bare = empty.drop_vars([*empty.data_vars, *along_images]).assign_coords(along_images).drop_encoding()
    _write_coordinates(store, bare)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    for name, variable in empty.data_vars.items():
        rest = variable.shape[1:]
        group.create_array(
            str(name),
            shape=(images, *rest),
            chunks=(chunk, *rest),
            dtype=variable.dtype,
            fill_value=np.nan,
            compressors=_COMPRESSORS,
            dimension_names=[str(dimension) for dimension in variable.dims],
            attributes=variable.attrs,
        )
    group.create_group(_SETTINGS, attributes={"all": settings})


def _write_coordinates(store: Path | MemoryStore, bare: xr.Dataset) -> None:
    # Strings of a fixed length have no place in the zarr 3 specification.
    bare = bare.assign_coords({name: c.astype(object) for name, c in bare.coords.items() if c.dtype.kind == "U"})
    bare = bare.drop_encoding()
    encoding = {name: {"compressors": _COMPRESSORS} for name in bare.variables}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*has a space in its name", xr.SerializationWarning)
        bare.to_zarr(store, mode="w", consolidated=False, zarr_format=3, encoding=encoding)


def _check(store: ResponseStore, empty: xr.Dataset, stimulus: xr.DataArray, settings: dict[str, object]) -> None:
    """Check that a store was made with the same settings, and that all of it but the responses is as it was written."""
    try:
        made_with = store.settings()
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{store.path} must be a store of simulated responses ({error}): give another folder"
        ) from None
    check_same(store.path, made_with, settings)
    # Before zarr opens all arrays at once: it prints the others where one of them cannot be opened.
    damaged = [
        name
        for name, document in _documents(empty, stimulus, store.chunk, settings).items()
        if _document(store.path / name) != document
    ]
    if damaged:
        raise InputError(f"{store.path} is damaged ({', '.join(damaged)}): give another folder")
    try:
        found = store.read()
        found.coords.to_dataset().load()
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{store.path} is damaged ({error}): give another folder") from None
    changed = [
        str(name)
        for name, expected in empty.coords.items()
        if "image" not in expected.dims and not np.array_equal(found[name].values, expected.values)
    ]
    if changed:
        raise InputError(f"{store.path} is damaged ({', '.join(changed)}): give another folder")


def _documents(
    empty: xr.Dataset, stimulus: xr.DataArray, chunk: int, settings: dict[str, object]
) -> dict[str, dict[str, object]]:
    """The metadata of a new store, by the names of their files."""
    kept: dict[str, Buffer] = {}
    _create(MemoryStore(kept), empty, stimulus, chunk, settings)
    return {name: json.loads(content.to_bytes()) for name, content in kept.items() if name.endswith("zarr.json")}


def _document(file: Path) -> object:
    """The metadata in a file; None where it cannot be read."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def _plain(attributes: Mapping[Any, Any]) -> str:
    """Attributes as JSON, with NaN as text."""
    # Numbers of NumPy have the method too.
    plain = json.loads(json.dumps(dict(attributes), default=lambda value: value.tolist()))
    return json.dumps(plain, sort_keys=True)
