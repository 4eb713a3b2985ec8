"""Front ends on disk: safetensors, with a description in the header."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from biomodel.whole_files import whole

#: Says whose file it is.
FORMAT = "precortical.FrontEnd"

#: Grows when older files no longer load.
VERSION = 5

#: How far from PyTorch onnxruntime may be, of the largest response.
_ONNX_TOLERANCE = 1e-4


def write(path: Path, tensors: dict[str, Tensor], description: dict[str, object]) -> None:
    """Write tensors and a JSON description; the file appears whole or not at all.

    Raises
    ------
    ValueError
        Where the folder does not exist or cannot be written.
    """
    told = json.dumps(description)
    header = {"format": FORMAT, "version": str(VERSION), "description": told, "digest": digest(tensors, told)}
    try:
        with whole(path) as scratch:
            scratch.write_bytes(save({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, header))
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def write_onnx(front_end: nn.Module, path: Path, height: int, width: int, highest: float = 100.0) -> None:
    """Write a front end, or a network that begins with one, as ONNX, and see that onnxruntime says the same.

    Parameters
    ----------
    front_end : torch.nn.Module
        From images (B, 1, height, width) to whatever it says of them.
    path : pathlib.Path
    height, width : int
        Pixels; the number of images stays open.
    highest : float
        Of what goes in when PyTorch and onnxruntime are compared: cd/m², or 1 for what begins with a display.

    Raises
    ------
    ValueError
        Where the extra ``onnx`` isn't installed, or the file cannot be written.
    RuntimeError
        Where onnxruntime says something else; no file is left.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'precortical[onnx]'") from None
    # Training mode is for what is still to be trained.
    answering = copy.deepcopy(front_end).cpu().float().eval()
    light = highest * torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(0))
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: give a path of a file, in a writable folder that exists")
    with whole(path) as scratch:
        torch.onnx.export(
            answering,
            (light[:2],),
            scratch,
            dynamo=True,
            input_names=["luminance"],
            output_names=["response"],
            dynamic_shapes=({0: torch.export.Dim("images")},),
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(scratch, providers=["CPUExecutionProvider"])
        (told,) = session.run(None, {"luminance": light.numpy()})
        with torch.no_grad():
            expected = answering(light)
        away = float((torch.from_numpy(told) - expected).abs().max()) / float(expected.abs().max())
        if not away < _ONNX_TOLERANCE:
            raise RuntimeError(
                f"onnxruntime is {away:.1e} of the largest response away from PyTorch: nothing was written"
            )


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
    if header.get("digest") != digest(tensors, header["description"]):
        raise ValueError(f"{path} is damaged: its weights or description are not those that were written")
    return tensors, json.loads(header["description"])


def digest(tensors: dict[str, Tensor], description: str) -> str:
    """SHA-256 of names, shapes, types and values, and of a description."""
    found = hashlib.sha256(description.encode())
    for name, values in sorted(tensors.items()):
        plain = values.detach().cpu().contiguous()
        found.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        found.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
