"""Front ends in files (safetensors), with what is needed to make them again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import InputError

#: Says whose file it is.
FORMAT = "precortical.FrontEnd"

#: Grows when older files no longer load.
VERSION = 5


def write(path: Path, tensors: dict[str, Tensor], description: dict[str, object]) -> None:
    """Write tensors and a JSON description; the file appears whole or not at all.

    Raises
    ------
    InputError
        Where the folder does not exist or cannot be written.
    """
    told = json.dumps(description)
    header = {"format": FORMAT, "version": str(VERSION), "description": told, "digest": digest(tensors, told)}
    try:
        with atomic_write(path) as scratch:
            scratch.write_bytes(save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, header))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and description that `write` wrote.

    Raises
    ------
    InputError
        For a missing or damaged file, another program's, another version's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iteration)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise InputError(f"{path} holds {header.get('format', 'no format')!r}: accepted is {FORMAT!r}")
    if header.get("version") != str(VERSION):
        raise InputError(f"{path} is of version {header.get('version')!r}: accepted is {VERSION}")
    if header.get("digest") != digest(tensors, header["description"]):
        raise InputError(f"{path} is damaged: its weights or description are not those that were written")
    return tensors, json.loads(header["description"])


def digest(tensors: dict[str, Tensor], description: str) -> str:
    """SHA-256 of names, shapes, types and values, and of a description."""
    found = hashlib.sha256(description.encode())
    for name, values in sorted(tensors.items()):
        plain = values.detach().cpu().contiguous()
        found.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
