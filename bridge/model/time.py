"""The time axis of the model: intervals of a presentation, and first-order low-pass filters over them.

A response is one value per interval, its mean over that interval, on the first axis of a tensor. The recording window is the
whole presentation, from the onset of the image on. Times are in units of its duration.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.func import debug_unwrap

#: Durations of the intervals from the onset of the image on, in windows: short ones first, because responses are transient.
DURATIONS = (0.05, 0.05, 0.06, 0.08, 0.13, 0.22, 0.41)
N_INTERVALS = len(DURATIONS)
#: Time from the end of each interval to the start of each later one, (later, earlier).
_GAPS = [[sum(DURATIONS[earlier + 1 : later], 0.0) for earlier in range(N_INTERVALS)] for later in range(N_INTERVALS)]


def log_parameter(*values: float) -> nn.Parameter:
    """A positive parameter, stored as its logarithm."""
    return nn.Parameter(torch.tensor(values).log())


class LowPass(nn.Module):
    """A first-order low-pass filter of signals that are 0 until the onset: interval means to interval means.

    Parameters
    ----------
    time : float
        Initial value of the time constant, in windows.
    """

    def __init__(self, time: float) -> None:
        super().__init__()
        self.log_time = log_parameter(time)

    def matrix(self) -> Tensor:
        """The filter as a matrix, (interval of the output, interval of the input)."""
        return low_pass_matrices(self.log_time.exp())[0]

    def integrate(self, x: Tensor, speed: Tensor, initial: Tensor | None = None) -> Tensor:
        """Filter a signal with a time constant that varies.

        Parameters
        ----------
        x : Tensor, (interval, ...)
        speed : Tensor, (interval, ...)
            Divisor of the time constant.
        initial : Tensor, (...), optional
            State at the onset; 0 by default.

        Returns
        -------
        Tensor, (interval, ...)
        """
        rate = speed * (constant(DURATIONS, x) / self.log_time.exp()).view(-1, *[1] * (speed.ndim - 1))
        decay = torch.exp(-rate)
        share = -torch.expm1(-rate) / rate
        state = torch.zeros_like(x[0]) if initial is None else initial
        means = []
        for k in range(N_INTERVALS):
            means.append(torch.lerp(x[k], state, share[k]))
            state = torch.lerp(x[k], state, decay[k])
        return torch.stack(means)

    def forward(self, x: Tensor) -> Tensor:
        return combine_intervals(self.matrix(), x)

    def window_mean(self, x: Tensor) -> Tensor:
        """Mean over the window of the filtered signal, (...) of (interval, ...)."""
        return combine_intervals(constant(DURATIONS, x) @ self.matrix(), x)

    def high_pass_matrix(self, share: Tensor | float = 1.0) -> Tensor:
        """Identity minus `share` of the filter, (interval, interval): removes a share of the sustained component."""
        return torch.eye(N_INTERVALS, dtype=self.log_time.dtype, device=self.log_time.device) - share * self.matrix()


def low_pass_matrices(times: Tensor) -> Tensor:
    """Matrices (K, output interval, input interval) of first-order low-pass filters of time constants (K,)."""
    # In bfloat16 the weights of slow filters would drown in rounding.
    exact = times if times.dtype in (torch.float32, torch.float64) else times.float()
    rate = constant(DURATIONS, exact) / exact[:, None]
    charged = -torch.expm1(-rate)
    share = charged / rate
    earlier = torch.exp(-constant(_GAPS, exact) / exact[:, None, None]).tril(-1)
    return (torch.diag_embed(1 - share) + share[:, :, None] * earlier * charged[:, None, :]).to(times)


def combine_intervals(weights: Tensor, x: Tensor) -> Tensor:
    """Weighted sums over the intervals of (interval, ...): (Q, ...) of weights (Q, interval), (...) of (interval,)."""
    return (weights @ x.flatten(1)).view(*weights.shape[:-1], *x.shape[1:])


def window_mean(x: Tensor) -> Tensor:
    """Mean over the recording window, (...) of (interval, ...)."""
    return combine_intervals(constant(DURATIONS, x), x)


def constant(
    values: Sequence[float] | Sequence[Sequence[float]], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Numbers as a tensor on the device of another one, and of its type unless `dtype` is given."""
    dtype = like.dtype if dtype is None else dtype
    # On CUDA a copy from the host waits for the device, and cannot be part of a CUDA graph.
    if like.is_cuda and not torch.compiler.is_compiling() and not isinstance(debug_unwrap(like), FakeTensor):
        return _kept(tuple(tuple(v) if isinstance(v, Sequence) else v for v in values), dtype, like.device)
    return torch.tensor(values, dtype=dtype, device=like.device)


@functools.cache
def _kept(values: tuple[object, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # A tensor made in inference mode could not be used in training.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
