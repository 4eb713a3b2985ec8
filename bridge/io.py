"""Files of front ends (safetensors): weights, and the configuration in JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from biomodel.utils.errors import InputError
from biomodel.utils.paths import replacing

#: Identifies the files of this package.
FORMAT = "precortical.FrontEnd"
#: Version of the format; increases when the content changes.
VERSION = 9


def write(path: Path, tensors: dict[str, Tensor], config: dict[str, object]) -> None:
    """Write tensors and a configuration, atomically.

    Raises
    ------
    InputError
        Where the folder does not exist or is not writable.
    """
    text = json.dumps(config)
    header = {"format": FORMAT, "version": str(VERSION), "description": text, "digest": digest(tensors, text)}
    with replacing(path) as scratch:
        scratch.write_bytes(save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, header))


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read tensors and configuration that `write` wrote.

    Raises
    ------
    InputError
        For a missing or damaged file, and for one of another program or version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not iterable)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise InputError(f"{path} must have the format {FORMAT!r}, got {header.get('format', 'none')!r}")
    version = header.get("version")
    if version != str(VERSION):
        raise InputError(
            f"{path} must have version {str(VERSION)!r}, got {version!r}: front ends of another version are of another "
            "circuit and must be fitted again"
        )
    if header.get("digest") != digest(tensors, header.get("description", "")):
        raise InputError(f"{path} is damaged: the digest of weights and configuration differs from the one in the file")
    return tensors, json.loads(header["description"])


def digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 of names, shapes, types and values of tensors, and of a text."""
    found = hashlib.sha256(text.encode())
    for name, values in sorted(tensors.items()):
        plain = values.detach().cpu().contiguous()
        found.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
