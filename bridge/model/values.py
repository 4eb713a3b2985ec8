"""Checks of the values of tensors that neither wait for an accelerator at every batch nor break a graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.func import debug_unwrap


class RangeCheck:
    """A check that values are in a range.

    On the CPU every batch is checked. On an accelerator only the first one is, because reading a value waits for the device. In
    later batches, in CUDA graphs, and in compiled, traced and exported modules, values outside become NaN.

    Parameters
    ----------
    low, high : float
        The range, with its ends.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        self.read_once = False

    def __call__(self, x: Tensor, refuse: Callable[[float], Exception]) -> Tensor:
        """`x`, checked.

        Parameters
        ----------
        x : Tensor
            Of a floating-point type.
        refuse : callable
            The exception to raise for a value outside, which is NaN if there is one.
        """
        if not self.readable(x):
            inside = (x >= self.low) & (x <= min(self.high, torch.finfo(x.dtype).max))
            return torch.where(inside, x, torch.nan)
        self.read_once = True
        for value in extremes(x):
            if not self.low <= value <= self.high:
                raise refuse(value)
        return x

    def readable(self, x: Tensor) -> bool:
        """Whether values are read now."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        plain = debug_unwrap(x)
        if plain.is_meta or isinstance(plain, FakeTensor) or plain.numel() == 0:
            return False
        if plain.device.type == "cpu":
            return True
        return not self.read_once and not (plain.is_cuda and torch.cuda.is_current_stream_capturing())


def extremes(x: Tensor) -> tuple[float, float]:
    """The lowest and the highest value of a tensor, over all samples inside `torch.vmap`; both NaN where any value is."""
    lowest, highest = debug_unwrap(x).detach().aminmax()
    return float(lowest), float(highest)
