"""Statistics of responses: harmonics, slopes, peaks, widths, fits, and the tests of tuning curves of V1 cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from diptest import dipstat
from numpy.typing import ArrayLike
from scipy.interpolate import Akima1DInterpolator, CubicSpline
from scipy.optimize import curve_fit

#: Height, relative to the peak, at which widths of tuning curves are measured.
HEIGHT = np.sqrt(0.5)

#: Half-width of a cell that responds to every orientation with more than that height, degrees.
UNTUNED = 90.0

#: Share of the peak that defines the summation field, and of the suppression that defines the surround.
_FULL = 0.95

#: Points of an interpolated curve between two samples.
_POINTS = 50


def first_harmonic(rate: ArrayLike, time: ArrayLike, frequency: float) -> np.ndarray:
    """First harmonic (…) of responses (…, time), fitted by least squares together with a mean and a linear drift.

    It is A exp(iφ) for a response A cos(2πft + φ), so that an increase of φ is a phase advance. `time` in seconds should
    cover whole cycles of `frequency` in Hz.
    """
    t = np.asarray(time, dtype=float)
    angle = 2 * np.pi * frequency * t
    regressors = np.stack([np.ones_like(t), t - t.mean(), np.cos(angle), np.sin(angle)], axis=1)
    responses = np.asarray(rate, dtype=float)
    weights = np.linalg.lstsq(regressors, responses.reshape(-1, t.size).T, rcond=None)[0]
    return (weights[2] - 1j * weights[3]).reshape(responses.shape[:-1])


def phase_advance(later: complex, earlier: complex) -> float:
    """Phase by which one harmonic leads another, -180 to 180 degrees."""
    return float(np.degrees(np.angle(later / earlier)))


def log_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Slope of log y on log x by least squares; NaN if any y is not positive."""
    if not (np.asarray(y) > 0).all():
        return float("nan")
    return float(np.polyfit(np.log10(x), np.log10(y), 1)[0])


def initial_slope(contrast: ArrayLike, response: ArrayLike, highest: float) -> float:
    """Contrast gain: slope of the least-squares line from the origin through the contrasts up to `highest`."""
    c, r = np.asarray(contrast, dtype=float), np.asarray(response, dtype=float)
    low = c <= highest
    return float((c[low] * r[low]).sum() / (c[low] ** 2).sum())


def saturation_index(contrast: ArrayLike, response: ArrayLike) -> float:
    """Twice the area under a contrast response scaled to the unit square, less 1: 0 for a line, 1 for a step.

    This is EVNet's index, with contrast and response both scaled to their range. `contrast` is positive and increasing; a
    response of 0 at contrast 0 is added.
    """
    c = np.concatenate([[0.0], np.asarray(contrast, dtype=float)])
    r = np.concatenate([[0.0], np.asarray(response, dtype=float)])
    span = r.max() - r.min()
    if span == 0:
        return float("nan")
    return float(2 * np.trapezoid(r - r.min(), c) / (c[-1] * span) - 1)


def peak(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Position and height of a tuning curve's peak: a parabola over log x through the highest sample and its neighbours.

    `x` is positive and increasing. If the first or last sample is the highest, it is the peak.
    """
    logs, values = np.log(np.asarray(x, dtype=float)), np.asarray(y, dtype=float)
    top = int(values.argmax())
    if top in (0, len(values) - 1):
        return float(np.exp(logs[top])), float(values[top])
    a, b, c = np.polyfit(logs[top - 1 : top + 2] - logs[top], values[top - 1 : top + 2], 2)
    shift = -b / (2 * a)
    return float(np.exp(logs[top] + shift)), float(c + b * shift / 2)


def interpolate_log(x: float, xs: ArrayLike, ys: ArrayLike) -> float:
    """A tuning curve's value at x, interpolated over log x."""
    return float(np.interp(np.log(x), np.log(np.asarray(xs)), np.asarray(ys, dtype=float)))


def time_to_fraction(time: ArrayLike, value: ArrayLike, start: float, end: float, fraction: float) -> float:
    """Time at which a value first has gone a fraction of the way from `start` to `end`.

    Parameters
    ----------
    time, value : array_like, (time,)
    start, end : float
        In the unit of `value`.
    fraction : float
        From 0 to 1.

    Returns
    -------
    float
        In the unit of `time`, interpolated; NaN if the fraction is never reached.
    """
    t = np.asarray(time, dtype=float)
    if start == end:
        return float("nan")
    share = (np.asarray(value, dtype=float) - start) / (end - start)
    reached = np.flatnonzero(share >= fraction)
    if reached.size == 0:
        return float("nan")
    first = reached[0]
    if first == 0:
        return float(t[0])
    before, after = share[first - 1], share[first]
    return float(t[first - 1] + (t[first] - t[first - 1]) * (fraction - before) / (after - before))


def fano_factors(counts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Means and Fano factors (variance over mean) of counts (trial, …); NaN where the mean is below 1."""
    values = np.asarray(counts, dtype=float)
    mean, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
    return mean, np.divide(variance, mean, out=np.full(mean.shape, np.nan), where=mean >= 1)


def half_rise_time(time: ArrayLike, rate: ArrayLike) -> float:
    """Latency: time at which a response first is half of the way from its first sample to its peak."""
    values = np.asarray(rate, dtype=float)
    return time_to_fraction(time, values, values[0], values.max(), 0.5)


def width_at_half(position: ArrayLike, profile: ArrayLike) -> float:
    """Full width at half maximum of a profile, interpolated; NaN if it doesn't fall to half on both sides."""
    x, values = np.asarray(position, dtype=float), np.asarray(profile, dtype=float)
    top = int(values.argmax())
    right = time_to_fraction(x[top:], -values[top:], -values[top], 0.0, 0.5)
    left = time_to_fraction(-x[top::-1], -values[top::-1], -values[top], 0.0, 0.5)
    return right + left


def inseparable_share(gain: ArrayLike) -> float:
    """Share of the variance of log gain (rows, columns) that a separable model, row times column, does not explain.

    NaN if any gain is not positive.
    """
    gains = np.asarray(gain, dtype=float)
    if not (gains > 0).all():
        return float("nan")
    logs = np.log(gains)
    deviation = logs - logs.mean()
    residual = deviation - deviation.mean(axis=0) - deviation.mean(axis=1, keepdims=True)
    total = (deviation**2).sum()
    return float((residual**2).sum() / total) if total > 0 else 0.0


def half_desensitisation(background: ArrayLike, gain: ArrayLike) -> float:
    """Background that halves the dark gain, from a fit of gain = dark gain / (1 + (background/half)ⁿ).

    NaN if any gain is not positive.
    """
    if not (np.asarray(gain) > 0).all():
        return float("nan")
    logs, gains = np.log(np.asarray(background, dtype=float)), np.log(np.asarray(gain, dtype=float))

    def model(log_background: np.ndarray, dark: float, half: float, exponent: float) -> np.ndarray:
        return dark - np.logaddexp(0, exponent * (log_background - half))

    fit = curve_fit(model, logs, gains, p0=(gains.max(), logs.mean(), 1.0))[0]
    return float(np.exp(fit[1]))


@dataclass(frozen=True)
class DifferenceOfGaussians:
    """A centre and a surround: amplitudes in the response's unit per unit contrast, radii at 1/e in degrees."""

    centre: float
    centre_radius: float
    surround: float
    surround_radius: float

    def __call__(self, frequency: ArrayLike) -> np.ndarray:
        """Response to gratings by spatial frequency, c/deg (Enroth-Cugell & Robson 1966)."""
        f = np.pi * np.asarray(frequency, dtype=float)
        return self.centre * np.exp(-((self.centre_radius * f) ** 2)) - self.surround * np.exp(
            -((self.surround_radius * f) ** 2)
        )


def fit_difference_of_gaussians(frequency: ArrayLike, response: ArrayLike) -> DifferenceOfGaussians:
    """Least-squares fit to a spatial-frequency tuning curve: frequencies in c/deg, responses above 0 at the peak."""
    f, r = np.asarray(frequency, dtype=float), np.asarray(response, dtype=float)
    best, height = peak(f, r)

    def model(frequency: np.ndarray, *logs: float) -> np.ndarray:
        return DifferenceOfGaussians(*np.exp(logs))(frequency) / height

    # At the peak of a centre-surround cell the centre has fallen a little, the surround almost completely.
    start = np.log([1.2 * height, 0.4 / (np.pi * best), 0.6 * height, 2.5 / (np.pi * best)])
    fit = curve_fit(model, f, r / height, p0=start, maxfev=20_000)[0]
    return DifferenceOfGaussians(*(float(value) for value in np.exp(fit)))


def modulation_ratio(phase: ArrayLike, response: ArrayLike) -> np.ndarray:
    """First harmonic over mean (F1/F0) of responses (phase, …), less the spontaneous rate, to one grating.

    `phase` in radians is evenly spaced over the circle. 0 for a complex cell, above 1 for a simple one (Skottun 1991);
    infinite where the mean is not above 0.
    """
    rates, phases = np.asarray(response, dtype=float), np.asarray(phase, dtype=float)
    first = 2 * np.abs(np.tensordot(np.exp(-1j * phases), rates, axes=1))
    total = rates.sum(axis=0)
    return np.divide(first, total, out=np.full_like(total, np.inf), where=total > 0)


def circular_variance(orientation: ArrayLike, rate: ArrayLike) -> float:
    """1 - abs(Σ r exp(2iθ)) / Σ r (Ringach 2002): 0 for a response to one orientation only, 1 for an untuned cell.

    `orientation` in degrees, evenly spaced over 180; `rate` in Hz with the spontaneous rate. NaN if the sum is not above 0.
    """
    rates, angles = np.asarray(rate, dtype=float), np.deg2rad(np.asarray(orientation, dtype=float))
    total = rates.sum()
    return float(1 - abs((rates * np.exp(2j * angles)).sum()) / total) if total > 0 else float("nan")


def half_width(orientation: ArrayLike, rate: ArrayLike) -> float:
    """Half of the full width of orientation tuning at .707 of its peak, degrees; interpolated by cubic splines.

    `orientation` in degrees, increasing and evenly spaced over 180. `UNTUNED` for a cell that doesn't fall so low on both
    sides; NaN if no rate is above 0.
    """
    angles, rates = np.asarray(orientation, dtype=float), np.asarray(rate, dtype=float)
    if not rates.max() > 0:
        return float("nan")
    x, y = _interpolate(np.concatenate([angles - 180, angles, angles + 180]), np.tile(rates, 3), CubicSpline)
    period = (x >= angles[0]) & (x < angles[0] + 180)
    below, above = _distances_to_height(x, y, int(np.flatnonzero(period)[y[period].argmax()]))
    width = (below + above) / 2
    return float(width) if width <= UNTUNED else UNTUNED


def passband(frequency: ArrayLike, rate: ArrayLike) -> tuple[float, float]:
    """Frequencies below and above the peak at which tuning falls to .707 of it, by cubic splines over log frequency.

    `frequency` is positive and increasing. NaN where the curve doesn't fall so low; both, if no rate is above 0.
    """
    logs, rates = np.log(np.asarray(frequency, dtype=float)), np.asarray(rate, dtype=float)
    if not rates.max() > 0:
        return float("nan"), float("nan")
    x, y = _interpolate(logs, rates, CubicSpline)
    top = int(y.argmax())
    below, above = _distances_to_height(x, y, top)
    low, high = (
        float(np.exp(edge)) if np.isfinite(edge) else float("nan") for edge in (x[top] - below, x[top] + above)
    )
    return low, high


def high_cutoff(frequency: ArrayLike, response: ArrayLike) -> float:
    """Frequency above the peak at which a response falls to half of it, interpolated over log frequency.

    For a response that doesn't fall so low it is the highest frequency shown, a lower bound.
    """
    f, r = np.asarray(frequency, dtype=float), np.asarray(response, dtype=float)
    if not r.max() > 0:
        return float("nan")
    top = int(r.argmax())
    cutoff = time_to_fraction(np.log(f)[top:], r[top:], r[top], 0.0, 0.5)
    return float(np.exp(cutoff)) if np.isfinite(cutoff) else float(f[-1])


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


def fit_contrast_response(contrast: ArrayLike, response: ArrayLike) -> ContrastResponse:
    """Least-squares fit of R = maximum · cⁿ / (cⁿ + c50ⁿ) to responses less the spontaneous rate, at contrasts above 0.

    n is from .2 to 10 and c50 from .002 to 20; all are NaN if no response is above 0 or the fit doesn't converge.
    """
    c, r = np.asarray(contrast, dtype=float), np.asarray(response, dtype=float)
    unknown = ContrastResponse(*[float("nan")] * 4)
    height = r.max()
    if not height > 0:
        return unknown

    def model(contrast: np.ndarray, maximum: float, log_exponent: float, log_half: float) -> np.ndarray:
        return ContrastResponse(maximum, np.exp(log_exponent), np.exp(log_half), 0.0)(contrast)

    bounds = [(0.0, *np.log([0.2, 0.002])), (1e4, *np.log([10.0, 20.0]))]
    try:
        fit = curve_fit(model, c, r / height, p0=(1.2, np.log(2.0), np.log(0.3)), bounds=bounds, maxfev=5000)[0]
    except RuntimeError:
        return unknown
    residual = ((r / height - model(c, *fit)) ** 2).sum()
    variance = ((r / height - (r / height).mean()) ** 2).sum()
    r2 = 1 - residual / variance if variance > 0 else float("nan")
    return ContrastResponse(float(fit[0] * height), float(np.exp(fit[1])), float(np.exp(fit[2])), float(r2))


def suppression_index(response: ArrayLike) -> float:
    """1 - response to the largest patch over that to the best one; NaN if no response is above 0."""
    rates = np.asarray(response, dtype=float)
    return float(1 - rates[-1] / rates.max()) if rates.max() > 0 else float("nan")


def summation_field(diameter: ArrayLike, response: ArrayLike) -> float:
    """Smallest diameter at which a response reaches 95 % of its peak (Cavanaugh 2002), interpolated over its log."""
    logs, rates = np.log(np.asarray(diameter, dtype=float)), np.asarray(response, dtype=float)
    if not rates.max() > 0:
        return float("nan")
    x, y = _interpolate(logs, rates)
    return float(np.exp(time_to_fraction(x, y, 0.0, y.max(), _FULL)))


def surround_diameter(diameter: ArrayLike, response: ArrayLike) -> float:
    """Smallest diameter beyond the best with 95 % of the suppression that the largest patch has.

    NaN for a cell that the largest patch suppresses by less than 10 %: it has no surround to measure (Cavanaugh 2002).
    """
    logs, rates = np.log(np.asarray(diameter, dtype=float)), np.asarray(response, dtype=float)
    if not suppression_index(rates) >= 0.1:
        return float("nan")
    x, y = _interpolate(logs, rates)
    top = int(y.argmax())
    return float(np.exp(time_to_fraction(x[top:], y[top:], y[top], y[-1], _FULL)))


def dip_probability(values: ArrayLike, seed: int = 0, draws: int = 2000) -> float:
    """p of Hartigan's dip test of unimodality (Hartigan & Hartigan 1985).

    It is the share of uniform samples of the same size whose dip is at least as large, the sample itself counted as one:
    at least 1 / (draws + 1). NaN for fewer than four values.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size < 4:
        return float("nan")
    dip = dipstat(sample, allow_zero=False)
    uniform = np.random.default_rng(seed).uniform(size=(draws, sample.size))
    return (1 + sum(dipstat(one, allow_zero=False) >= dip - 1e-12 for one in uniform)) / (draws + 1)


def median(values: ArrayLike) -> float:
    """The median of the finite values; NaN if there is none."""
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else float("nan")


def ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One over the other, NaN where the other is not above 0."""
    return np.divide(one, other, out=np.full(np.shape(other), np.nan), where=other > 0)


def scale_to_peak(responses: np.ndarray, axis: int = 0) -> np.ndarray:
    """Responses over their highest along an axis, leaving out NaN; at most over 1e-9."""
    return responses / np.maximum(np.nanmax(responses, axis=axis, initial=1e-9, keepdims=True), 1e-9)


def _interpolate(
    x: np.ndarray, y: np.ndarray, spline: type[CubicSpline] | type[Akima1DInterpolator] = Akima1DInterpolator
) -> tuple[np.ndarray, np.ndarray]:
    """A smooth curve through samples; Akima's splines don't overshoot where a curve reaches a plateau."""
    fine = np.interp(np.linspace(0, len(x) - 1, _POINTS * (len(x) - 1) + 1), np.arange(len(x)), x)
    return fine, spline(x, y)(fine)


def _distances_to_height(x: np.ndarray, y: np.ndarray, top: int) -> tuple[float, float]:
    """Distances to the left and to the right of the top at which a curve falls to `HEIGHT` of it, else infinite."""

    def distance(x: np.ndarray, y: np.ndarray, top: int) -> float:
        below = np.flatnonzero(y[top:] <= HEIGHT * y[top])
        if not below.size:
            return float("inf")
        last = top + below[0]
        return float(np.interp(HEIGHT * y[top], y[[last, last - 1]], x[[last, last - 1]]) - x[top])

    return distance(-x[::-1], y[::-1], len(x) - 1 - top), distance(x, y, top)
