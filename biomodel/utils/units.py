"""The units that parameters and arguments are documented in, and the one place where they are checked."""

from __future__ import annotations

import math
import numbers
from typing import cast

import brian2
import numpy as np
import xarray as xr
from brian2 import Quantity
from brian2.units.allunits import candle
from numpy.typing import ArrayLike

from biomodel.utils.errors import InputError

#: Candela per square metre, the unit of luminance.
cd_per_m2 = candle / brian2.metre**2

#: A troland is a luminance of 1 cd/m² seen through 1 mm² of pupil.
troland = cd_per_m2 * brian2.mmetre**2

#: Every unit that a parameter may have, by the name printed beside its value.
#: Degrees of visual angle are plain numbers, since Brian2 has no unit for them.
UNITS: dict[str, Quantity | float] = {
    "1": 1.0,
    "deg": 1.0,
    "c/deg": 1.0,
    "px/deg": 1.0,
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


#: What the attribute ``units`` of an `xarray.DataArray` may be, by unit.
ATTRIBUTES: dict[str, frozenset[str]] = {
    "1": frozenset({"", "1", "dimensionless"}),
    "deg": frozenset({"deg", "degree", "degrees", "°", "dva"}),
    "s": frozenset({"s", "sec", "second", "seconds"}),
    "cd/m²": frozenset(
        {"cd/m²", "cd/m2", "cd/m^2", "cd/m**2", "cd m-2", "cd m^-2", "cd·m⁻²", "cd m⁻²", "nit", "nits"}
        | {"candela / meter ** 2", "candela/metre**2"}
    ),
}


def as_number(value: object, unit: str, name: str) -> float:
    """A value as a plain number in its documented unit.

    Parameters
    ----------
    value : float, brian2.Quantity or xarray.DataArray
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
    if isinstance(value, xr.DataArray) and value.ndim == 0:
        check_units_attribute(value, unit, name)
        value = value.data
    if isinstance(value, Quantity):
        value = _without_unit(value, unit, name)
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value.item()
    # NumPy's durations count as integers.
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool | np.timedelta64)
    try:
        number = float(cast(float, value)) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        accepted = "number" if _is_plain(unit) else "number or quantity"
        raise InputError(f"{name} must be one finite {accepted} in {unit}, got {value!r}")
    return number


def as_array(values: ArrayLike, unit: str, name: str, kinds: str = "uif") -> np.ndarray:
    """Values as an array of plain numbers in their documented unit.

    Parameters
    ----------
    values : array_like
        Numbers or quantities, also in nested lists; of an `xarray.DataArray` the attribute ``units`` is checked. Plain
        numbers are taken to be in `unit` already.
    unit : str
        A key of `UNITS`.
    name : str
        What the values are called in the error message.
    kinds : str
        Accepted kinds of NumPy types; the type is not changed.

    Raises
    ------
    InputError
        For quantities of another dimension, lists of different lengths, texts and other objects, masked values.
    """

    def plain(part: object) -> object:
        if np.ma.is_masked(part):
            raise InputError(f"{name} must be numbers in {unit}, got masked values")
        if isinstance(part, xr.DataArray):
            check_units_attribute(part, unit, name)
            part = part.data
        if isinstance(part, Quantity):
            return _without_unit(part, unit, name)
        # NumPy drops the units of quantities in a list.
        return [plain(one) for one in part] if isinstance(part, list | tuple) else part

    try:
        array = np.asarray(plain(values))
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} must be an array of real numbers, got {type(values).__name__}: {error}") from None
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} must be an array of real numbers, got {array.dtype}")
    return array


def check_units_attribute(values: xr.DataArray, unit: str, name: str) -> None:
    """Check that the attribute ``units`` of an array, if there is one, is a name of `unit`.

    Raises
    ------
    InputError
        With the attribute.
    """
    found = values.attrs.get("units")
    if found is None or (isinstance(found, str) and found.strip() in ATTRIBUTES.get(unit, {unit})):
        return
    if isinstance(found, Quantity) and not _is_plain(unit) and bool(found == UNITS[unit]):
        return
    raise InputError(f"{name} must be in {unit}, got the attribute units = {found!r}")


def _without_unit(value: Quantity, unit: str, name: str) -> np.ndarray:
    scale = UNITS[unit]
    if _is_plain(unit):
        raise InputError(f"{name} must be a plain number in {unit}, got the quantity {value}")
    if not brian2.have_same_dimensions(value, scale):
        got = value if value.ndim == 0 else f"an array in {brian2.get_unit(value.dim)}"
        raise InputError(f"{name} must be a quantity in {unit}, got {got}")
    return np.asarray(value / scale)


def _is_plain(unit: str) -> bool:
    """Whether a unit has no quantities; those of the unit 1 are dimensionless."""
    return unit != "1" and not isinstance(UNITS[unit], Quantity)
