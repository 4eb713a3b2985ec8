"""The units that parameters and arguments are documented in, and the one place where they are checked."""

from __future__ import annotations

import math
import numbers

import brian2
import numpy as np
from brian2 import Quantity
from brian2.units.allunits import candle

from biomodel.utils.errors import InputError

#: Candela per square metre, the unit of luminance.
cd_per_m2 = candle / brian2.metre**2

#: A troland is a luminance of 1 cd/m² seen through 1 mm² of pupil.
troland = cd_per_m2 * brian2.mmetre**2

#: Every unit that a parameter may have, by the name printed beside its value.
#: Degrees of visual angle are plain numbers.
UNITS: dict[str, Quantity | float] = {
    "1": 1.0,
    "deg": 1.0,
    "c/deg": 1.0,
    "ms": brian2.ms,
    "s": brian2.second,
    "Hz": brian2.Hz,
    "pA": brian2.pA,
    "mV": brian2.mV,
    "pF": brian2.pF,
    "nS": brian2.nS,
    "mm²": brian2.mmetre**2,
    "cd/m²": cd_per_m2,
    "Hz/td": brian2.Hz / troland,
    "pA·ms": brian2.pA * brian2.ms,
    "mV/pA": brian2.mV / brian2.pA,
    "pA/mV": brian2.pA / brian2.mV,
    "Hz/mV": brian2.Hz / brian2.mV,
}


def as_number(value: object, unit: str, name: str) -> float:
    """A value as a plain number in its documented unit.

    Parameters
    ----------
    value : float or brian2.Quantity
        A plain number is taken to be in `unit` already.
    unit : str
        A key of `UNITS`.
    name : str
        What the value is called in the error message.

    Raises
    ------
    InputError
        For anything but one finite number, and for a quantity of another dimension.
    """
    if isinstance(value, Quantity):
        scale = UNITS[unit]
        if not brian2.have_same_dimensions(value, scale):
            raise InputError(f"{name} must be a quantity in {unit}, got {value}")
        value = np.asarray(value / scale)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} must be one finite number or quantity in {unit}, got {value!r}")
    return float(value)
