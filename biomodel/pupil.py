r"""The pupil of an eye that is adapted to a field (Watson & Yellott 2012, from the formula of Stanley & Davies 1995).

A field of luminance L (cd/m²) and area a (deg²) gives the corneal flux density F = L a M, with M = 1 where both eyes see it. At
an age of y years the diameter of the pupil is

.. math::
    x = (F / 846)^{.41}, \quad D_{SD} = 7.75 - 5.75\, \frac{x}{x + 2}, \quad
    D = D_{SD} + (y - 28.58)\, (.02132 - .009562\, D_{SD}) \text{ mm} .

Assumptions: the mean luminance of the scene extends over 40° × 40°; both eyes see it; the age is the formula's reference, 28.58
years, so that D = D_SD; macaques have the pupil of humans. The formula is static. A macaque's pupil does not begin to follow a
change of light before 136 ms (Pong & Fuchs 2000), so that within a presentation it keeps its area for the field adapted to.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from biomodel.utils.errors import InputError
from biomodel.utils.units import as_array

#: Area of the field, deg².
FIELD = 40.0 * 40.0

#: Largest diameter of the pupil and the range of diameters, mm.
_LARGEST, _RANGE = 7.75, 5.75

#: Flux density in cd/m² deg², and its exponent, in the formula.
_FLUX, _EXPONENT = 846.0, 0.41


def pupil_area(luminance: ArrayLike) -> np.ndarray:
    """Area of the pupil for uniform fields.

    Parameters
    ----------
    luminance : array_like or brian2.Quantity, of any shape
        cd/m².

    Returns
    -------
    numpy.ndarray, of the same shape
        mm².

    Raises
    ------
    InputError
        For another unit, and for luminance that is negative, infinite or NaN.

    Examples
    --------
    >>> from biomodel.pupil import pupil_area
    >>> pupil_area([0.1, 10, 1000]).round(1).tolist()
    [34.1, 13.6, 4.8]
    """
    fields = as_array(luminance, "cd/m²", "luminance").astype(float)
    wrong = ~(np.isfinite(fields) & (fields >= 0))
    if wrong.any():
        raise InputError(f"luminance must be finite and at least 0 cd/m², got {fields[wrong].flat[0]:g}")
    return np.asarray(watson_yellott(fields))


def watson_yellott(luminance: Any) -> Any:
    """Area of the pupil in mm² for fields in cd/m², by arithmetic alone: a number, an array or a tensor of any shape."""
    x = (luminance * (FIELD / _FLUX)) ** _EXPONENT
    diameter = _LARGEST - _RANGE * (x / (x + 2))
    return pi / 4 * diameter**2
