"""Export of front ends to ONNX."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import torch
from torch import nn

from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import InputError

#: How far from PyTorch onnxruntime may be, of the largest response.
_ONNX_TOLERANCE = 1e-4


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
    InputError
        Where the extra ``onnx`` isn't installed, or the file cannot be written.
    RuntimeError
        Where onnxruntime says something else; no file is left.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'precortical[onnx]'") from None
    # Training mode is for what is still to be trained.
    answering = copy.deepcopy(front_end).cpu().float().eval()
    light = highest * torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(0))
    if not path.parent.is_dir() or path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written: give a path of a file, in a writable folder that exists")
    with atomic_write(path) as scratch:
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
