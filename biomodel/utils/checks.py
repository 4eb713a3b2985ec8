"""Checks of arguments."""

from __future__ import annotations

import numbers
from collections.abc import Iterable

import numpy as np

from biomodel.utils.errors import InputError


def whole_number(value: object, name: str, least: int) -> int:
    """A whole number of at least `least`, or an InputError that names it."""
    # NumPy's durations count as integers.
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, numbers.Integral) or value < least:
        what = "a positive integer" if least == 1 else f"an integer of {least} or more"
        raise InputError(f"{name} must be {what}, got {value!r}")
    return int(value)


def one_of(value: object, accepted: Iterable[str], name: str) -> str:
    """A value that is among the accepted ones, or an InputError that names it."""
    options = tuple(accepted)
    if not isinstance(value, str) or value not in options:
        raise InputError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return value
