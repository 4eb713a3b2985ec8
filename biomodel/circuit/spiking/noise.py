r"""Membrane noise: random numbers that depend only on a seed, a cell and a step.

In an Euler step, :math:`\sqrt{dt}\, u` replaces the increment of a Wiener process, with independent u of mean 0 and
variance 1. For averages over trials u need not be Gaussian (the simplified weak Euler scheme: Kloeden & Platen 1992,
section 14.1); here it is uniform. The numbers are hashes of a counter (the finaliser of SplitMix64: Steele, Lea & Flood
2014), so that a compiler can vectorise over cells. A sequential generator would take most of a simulation's time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from brian2 import Function

from biomodel.circuit.station import State

#: Declaration in every group with noise.
SEED_EQUATION = "noise_seed : 1 (shared, constant)\n"

#: The number u of a cell and step in equations; divided by the square root of dt it is white noise.
UNIT_NOISE = "unit_noise(i, t_in_timesteps, noise_seed)"

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

_CPP = f"""
static inline double unit_noise(const long long cell, const long long step, const double seed)
{{
    unsigned long long z = (unsigned long long)seed << 20;
    z += {_STEP:#x}ULL*((((unsigned long long)step) << 32) + (unsigned long long)cell);
    z = (z ^ (z >> 30))*{_FIRST:#x}ULL;
    z = (z ^ (z >> 27))*{_SECOND:#x}ULL;
    z ^= z >> 31;
    // 52 bits become the fraction of a number from 1 to 2.
    z = (z >> 12) | 0x3FF0000000000000ULL;
    double u;
    std::memcpy(&u, &z, 8);
    return 3.4641016151377544*(u - 1.5);
}}
"""

_CYTHON = f"""
cdef double unit_noise(long long cell, long long step, double seed):
    cdef unsigned long long z = (<unsigned long long>seed) << 20
    z += {_STEP:#x}ULL*(((<unsigned long long>step) << 32) + <unsigned long long>cell)
    z = (z ^ (z >> 30))*{_FIRST:#x}ULL
    z = (z ^ (z >> 27))*{_SECOND:#x}ULL
    z ^= z >> 31
    return 3.4641016151377544*(<double>(z >> 12)*2.220446049250313e-16 - 0.5)
"""


def numbers(cell: np.ndarray, step: int, seed: float) -> np.ndarray:
    """Uniform random numbers of mean 0 and variance 1, one for each cell at a step."""
    with np.errstate(over="ignore"):
        z = np.uint64(int(seed) << 20) + np.uint64(_STEP) * (
            (np.uint64(step) << np.uint64(32)) + np.asarray(cell, np.uint64)
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
        z ^= z >> np.uint64(31)
    return np.sqrt(12) * ((z >> np.uint64(12)) * 2.0**-52 - 0.5)


#: `numbers` as a function in equations.
unit_noise = Function(
    numbers,
    arg_units=[1, 1, 1],
    return_unit=1,
    arg_types=["integer", "integer", "float"],
    return_type="float",
)
unit_noise.implementations.add_numpy_implementation(numbers, discard_units=True)
unit_noise.implementations.add_implementation("cpp", _CPP, compiler_kwds={"headers": ["<cstring>"]})
unit_noise.implementations.add_implementation("cython", _CYTHON)


def seeds(groups: Iterable[str], noise: int) -> State:
    """A seed for each group with noise."""
    names = list(groups)
    drawn = np.random.SeedSequence([noise, 61]).generate_state(len(names))
    return {f"{name}.noise_seed": np.array([float(seed)]) for name, seed in zip(names, drawn, strict=True)}
