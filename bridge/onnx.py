"""Export of front ends to ONNX."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.paths import check_file, replacing

#: Largest accepted difference between PyTorch and onnxruntime, relative to the largest response.
_TOLERANCE = 1e-4


def write_onnx(module: nn.Module, path: Path, height: int, width: int, highest: float = 100.0) -> None:
    """Write a front end, or a network that begins with one, as ONNX, and compare its output with PyTorch.

    Parameters
    ----------
    module : torch.nn.Module
        Takes images (B, 1, height, width).
    path : pathlib.Path
    height, width : int
        Pixels; the number of images is free.
    highest : float
        Largest input for the comparison: in cd/m², or 1 for a network that begins with a display.

    Raises
    ------
    InputError
        Where the extra ``onnx`` isn't installed, or the file cannot be written.
    RuntimeError
        Where onnxruntime gives another output; no file is left.
    """
    height, width = whole_number(height, "height", 1), whole_number(width, "width", 1)
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (PyTorch's exporter needs it)
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'precortical[onnx]'") from None
    module = copy.deepcopy(module).cpu().float().eval()
    light = highest * (0.05 + 0.95 * torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(0)))
    check_file(path)
    with replacing(path) as scratch:
        torch.onnx.export(
            module,
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
        (output,) = session.run(None, {"luminance": light.numpy()})
        with torch.no_grad():
            expected = module(light)
        difference = float((torch.from_numpy(output) - expected).abs().max()) / float(expected.abs().max())
        if not difference < _TOLERANCE:
            raise RuntimeError(
                f"onnxruntime differs from PyTorch by {difference:.1e} of the largest response, more than {_TOLERANCE:.0e}"
            )
