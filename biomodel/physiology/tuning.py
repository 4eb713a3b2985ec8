"""Numbers that physiologists read off a V1 cell's tuning curves: widths, fields of summation, contrast responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import Akima1DInterpolator, CubicSpline
from scipy.optimize import curve_fit

from biomodel.physiology import measures

#: Height, of the peak, at which widths of tuning curves are read.
HEIGHT = np.sqrt(0.5)

#: Half-width of a cell that answers every orientation with more than that height, degrees.
UNTUNED = 90.0

#: Share of the peak at which a field of summation is full, and of what is left at which a surround is.
FULL = 0.95

#: Points between two samples at which a curve is looked at.
_FINE = 50


def modulation(phase: ArrayLike, response: ArrayLike) -> np.ndarray:
    """First harmonic over mean (F1/F0) of responses to one grating at several phases.

    Parameters
    ----------
    phase : array_like, (phase,)
        Radians, evenly spaced over the whole circle.
    response : array_like, (phase, …)
        Spontaneous rate taken off.

    Returns
    -------
    numpy.ndarray, (…)
        0 for a complex cell, above 1 for a simple one (Skottun 1991); infinite where the mean is not above 0.
    """
    rates, phases = np.asarray(response, dtype=float), np.asarray(phase, dtype=float)
    first = 2 * np.abs(np.tensordot(np.exp(-1j * phases), rates, axes=1))
    total = rates.sum(axis=0)
    return np.divide(first, total, out=np.full_like(total, np.inf), where=total > 0)


def circular_variance(orientation: ArrayLike, rate: ArrayLike) -> float:
    """1 - abs(Σ r exp(2iθ)) / Σ r (Ringach 2002): 0 for a cell that answers one orientation alone, 1 for an untuned one.

    Parameters
    ----------
    orientation : array_like
        Degrees, evenly spaced over 180.
    rate : array_like
        Hz, spontaneous rate not taken off; NaN comes back where the sum is not above 0.
    """
    rates, angles = np.asarray(rate, dtype=float), np.deg2rad(np.asarray(orientation, dtype=float))
    total = rates.sum()
    return float(1 - abs((rates * np.exp(2j * angles)).sum()) / total) if total > 0 else float("nan")


def half_width(orientation: ArrayLike, rate: ArrayLike) -> float:
    """Half of the full width of orientation tuning at .707 of its peak, interpolated by cubic splines.

    Parameters
    ----------
    orientation : array_like
        Degrees, growing and evenly spaced over 180.
    rate : array_like
        Above 0 at the peak, or NaN comes back.

    Returns
    -------
    float
        Degrees; `UNTUNED` for a cell that doesn't fall so low on both sides.
    """
    angles, rates = np.asarray(orientation, dtype=float), np.asarray(rate, dtype=float)
    if not rates.max() > 0:
        return float("nan")
    around = np.concatenate([angles - 180, angles, angles + 180])
    x, y = _fine(around, np.tile(rates, 3), CubicSpline)
    middle = (x >= angles[0]) & (x < angles[0] + 180)
    top = int(np.flatnonzero(middle)[y[middle].argmax()])
    right, left = _falls(x, y, top, HEIGHT * y[top]), _falls(-x[::-1], y[::-1], len(x) - 1 - top, HEIGHT * y[top])
    width = (right + left) / 2
    return float(width) if width <= UNTUNED else UNTUNED


def band(frequency: ArrayLike, rate: ArrayLike) -> tuple[float, float]:
    """The frequencies below and above the peak at which tuning falls to .707 of it, by cubic splines over log frequency.

    Parameters
    ----------
    frequency : array_like
        Growing, above 0.
    rate : array_like

    Returns
    -------
    low, high : float
        NaN where the curve doesn't fall so low; both, where it is nowhere above 0.
    """
    logs, rates = np.log(np.asarray(frequency, dtype=float)), np.asarray(rate, dtype=float)
    if not rates.max() > 0:
        return float("nan"), float("nan")
    x, y = _fine(logs, rates, CubicSpline)
    top = int(y.argmax())
    high = x[top] + _falls(x, y, top, HEIGHT * y[top])
    low = x[top] - _falls(-x[::-1], y[::-1], len(x) - 1 - top, HEIGHT * y[top])
    return tuple(float(np.exp(edge)) if np.isfinite(edge) else float("nan") for edge in (low, high))  # type: ignore[return-value]


def high_cut(frequency: ArrayLike, response: ArrayLike) -> float:
    """The frequency above the peak at which a response falls to half of it, interpolated over log frequency.

    A response that doesn't fall so low is taken to end at the highest frequency shown: no cut-off is overrated.
    """
    f, r = np.asarray(frequency, dtype=float), np.asarray(response, dtype=float)
    if not r.max() > 0:
        return float("nan")
    top = int(r.argmax())
    logs = np.log(f)
    cut = measures.time_to_fraction(logs[top:], r[top:], r[top], 0.0, 0.5)
    return float(np.exp(cut)) if np.isfinite(cut) else float(f[-1])


@dataclass(frozen=True)
class ContrastResponse:
    """A hyperbolic ratio (Naka & Rushton 1966; Albrecht & Hamilton 1982) and the share of variance that it explains."""

    maximum: float
    exponent: float
    half: float
    r2: float

    def __call__(self, contrast: ArrayLike) -> np.ndarray:
        """Response by contrast."""
        driven = np.asarray(contrast, dtype=float) ** self.exponent
        return self.maximum * driven / (driven + self.half**self.exponent)


#: Accepted exponents and half-contrasts of a fit.
_EXPONENTS, _HALVES = (0.2, 10.0), (0.002, 20.0)


def fit_contrast_response(contrast: ArrayLike, response: ArrayLike) -> ContrastResponse:
    """Least squares of R = maximum · cⁿ / (cⁿ + c50ⁿ).

    Parameters
    ----------
    contrast : array_like
        Above 0.
    response : array_like
        Spontaneous rate taken off.

    Returns
    -------
    ContrastResponse
        n within .2 to 10 and c50 within .002 to 20; NaN throughout where nothing is above 0 or no fit is found.
    """
    c, r = np.asarray(contrast, dtype=float), np.asarray(response, dtype=float)
    unknown = ContrastResponse(*[float("nan")] * 4)
    height = r.max()
    if not height > 0:
        return unknown

    def model(contrast: np.ndarray, maximum: float, log_exponent: float, log_half: float) -> np.ndarray:
        return ContrastResponse(maximum, np.exp(log_exponent), np.exp(log_half), 0.0)(contrast)

    bounds = [(0.0, *np.log([low for low, _ in (_EXPONENTS, _HALVES)])), (1e4, *np.log([_EXPONENTS[1], _HALVES[1]]))]
    try:
        found = curve_fit(model, c, r / height, p0=(1.2, np.log(2.0), np.log(0.3)), bounds=bounds, maxfev=5000)[0]
    except RuntimeError:
        return unknown
    left = ((r / height - model(c, *found)) ** 2).sum()
    variance = ((r / height - (r / height).mean()) ** 2).sum()
    r2 = 1 - left / variance if variance > 0 else float("nan")
    return ContrastResponse(float(found[0] * height), float(np.exp(found[1])), float(np.exp(found[2])), float(r2))


def suppression_index(response: ArrayLike) -> float:
    """1 - response to the largest patch over that to the best one; NaN where none is above 0."""
    rates = np.asarray(response, dtype=float)
    return float(1 - rates[-1] / rates.max()) if rates.max() > 0 else float("nan")


def summation_field(diameter: ArrayLike, response: ArrayLike) -> float:
    """The smallest diameter at which a response reaches 95 % of its peak (Cavanaugh 2002), interpolated over its log."""
    logs, rates = np.log(np.asarray(diameter, dtype=float)), np.asarray(response, dtype=float)
    if not rates.max() > 0:
        return float("nan")
    x, y = _fine(logs, rates)
    return float(np.exp(measures.time_to_fraction(x, y, 0.0, y.max(), FULL)))


def surround_diameter(diameter: ArrayLike, response: ArrayLike) -> float:
    """The smallest diameter beyond the best at which all but 5 % of the suppression by the largest patch has come.

    NaN for a cell that the largest patch suppresses by less than 10 %: it has no surround to measure (Cavanaugh 2002).
    """
    logs, rates = np.log(np.asarray(diameter, dtype=float)), np.asarray(response, dtype=float)
    if not suppression_index(rates) >= 0.1:
        return float("nan")
    x, y = _fine(logs, rates)
    top = int(y.argmax())
    return float(np.exp(measures.time_to_fraction(x[top:], y[top:], y[top], y[-1], FULL)))


def _fine(
    x: np.ndarray, y: np.ndarray, spline: type[CubicSpline] | type[Akima1DInterpolator] = Akima1DInterpolator
) -> tuple[np.ndarray, np.ndarray]:
    """A smooth curve through samples; Akima's splines don't overshoot where a curve reaches a plateau."""
    fine = np.interp(np.linspace(0, len(x) - 1, _FINE * (len(x) - 1) + 1), np.arange(len(x)), x)
    return fine, spline(x, y)(fine)


def _falls(x: np.ndarray, y: np.ndarray, top: int, height: float) -> float:
    """How far to the right of the top a curve falls to a height; infinite if it doesn't."""
    below = np.flatnonzero(y[top:] <= height)
    if not below.size:
        return float("inf")
    last = top + below[0]
    return float(np.interp(height, y[[last, last - 1]], x[[last, last - 1]]) - x[top])
