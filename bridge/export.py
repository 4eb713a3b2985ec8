"""Front ends on disk: safetensors, with a description in the header."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

#: Says whose file it is.
FORMAT = "precortical.FrontEnd"

#: Grows when older files no longer load.
VERSION = 3


def write(path: Path, tensors: dict[str, Tensor], description: dict[str, object]) -> None:
    """Write tensors and a JSON description; the file appears whole or not at all.

    Raises
    ------
    ValueError
        Where the folder does not exist or cannot be written.
    """
    header = {"format": FORMAT, "version": str(VERSION), "description": json.dumps(description)}
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as scratch:
            whole = save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, header)
            (Path(scratch) / "w").write_bytes(whole)
            os.replace(Path(scratch) / "w", path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and description that `write` wrote.

    Raises
    ------
    ValueError
        For a missing or damaged file, another program's, another version's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iteration)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} holds {header.get('format', 'no format')!r}: accepted is {FORMAT!r}")
    if header.get("version") != str(VERSION):
        raise ValueError(f"{path} is of version {header.get('version')!r}: accepted is {VERSION}")
    return tensors, json.loads(header["description"])
