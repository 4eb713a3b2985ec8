"""Numbers that physiologists read off responses: harmonics, slopes, peaks, widths and fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import curve_fit


def harmonic(rate: ArrayLike, time: ArrayLike, frequency: float) -> np.ndarray:
    """First harmonic of a response, by least squares beside a mean and a linear drift.

    Parameters
    ----------
    rate : array_like, (…, time)
    time : array_like, (time,)
        Seconds; should cover whole cycles.
    frequency : float
        Hz.

    Returns
    -------
    numpy.ndarray of complex, (…)
        A exp(iφ) for a response A cos(2πft + φ): a growing φ is a phase advance.
    """
    t = np.asarray(time, dtype=float)
    angle = 2 * np.pi * frequency * t
    regressors = np.stack([np.ones_like(t), t - t.mean(), np.cos(angle), np.sin(angle)], axis=1)
    responses = np.asarray(rate, dtype=float)
    found = np.linalg.lstsq(regressors, responses.reshape(-1, t.size).T, rcond=None)[0]
    return (found[2] - 1j * found[3]).reshape(responses.shape[:-1])


def phase_advance(later: complex, earlier: complex) -> float:
    """By how many degrees one harmonic leads another, -180 to 180."""
    return float(np.degrees(np.angle(later / earlier)))


def log_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Slope of log y on log x by least squares; NaN where y is not positive throughout."""
    if not (np.asarray(y) > 0).all():
        return float("nan")
    return float(np.polyfit(np.log10(x), np.log10(y), 1)[0])


def initial_slope(contrast: ArrayLike, response: ArrayLike, highest: float) -> float:
    """Contrast gain: slope of the least-squares line from the origin through the contrasts up to `highest`."""
    c, r = np.asarray(contrast, dtype=float), np.asarray(response, dtype=float)
    low = c <= highest
    return float((c[low] * r[low]).sum() / (c[low] ** 2).sum())


def saturation_index(contrast: ArrayLike, response: ArrayLike) -> float:
    """Twice the area under a contrast response drawn into a unit square, less 1: 0 for a line, 1 for a step.

    That is EVNet's index, with contrast and response both scaled to their range. A response of 0 at contrast 0 is
    added.

    Parameters
    ----------
    contrast : array_like
        Growing, above 0.
    response : array_like
    """
    c = np.concatenate([[0.0], np.asarray(contrast, dtype=float)])
    r = np.concatenate([[0.0], np.asarray(response, dtype=float)])
    span = r.max() - r.min()
    if span == 0:
        return float("nan")
    return float(2 * np.trapezoid(r - r.min(), c) / (c[-1] * span) - 1)


def peak(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Where and how high a tuning curve peaks: a parabola over log x through the highest sample and its neighbours.

    A curve that is highest at its first or last sample peaks there.

    Parameters
    ----------
    x : array_like
        Growing, above 0.
    y : array_like
    """
    logs, values = np.log(np.asarray(x, dtype=float)), np.asarray(y, dtype=float)
    top = int(values.argmax())
    if top in (0, len(values) - 1):
        return float(np.exp(logs[top])), float(values[top])
    a, b, c = np.polyfit(logs[top - 1 : top + 2] - logs[top], values[top - 1 : top + 2], 2)
    shift = -b / (2 * a)
    return float(np.exp(logs[top] + shift)), float(c + b * shift / 2)


def at(x: float, xs: ArrayLike, ys: ArrayLike) -> float:
    """A tuning curve's value at x, interpolated over log x."""
    return float(np.interp(np.log(x), np.log(np.asarray(xs)), np.asarray(ys, dtype=float)))


def time_to_fraction(time: ArrayLike, value: ArrayLike, start: float, end: float, fraction: float) -> float:
    """When a value has first gone a fraction of the way from `start` to `end`, interpolated; NaN if never."""
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
    """Means and Fano factors, variance over mean, of counts (trial, …); NaN where the mean is below 1."""
    values = np.asarray(counts, dtype=float)
    mean, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
    return mean, np.divide(variance, mean, out=np.full(mean.shape, np.nan), where=mean >= 1)


def half_rise(time: ArrayLike, rate: ArrayLike) -> float:
    """Latency: when a response has first come half of the way from its first sample to its peak."""
    values = np.asarray(rate, dtype=float)
    return time_to_fraction(time, values, values[0], values.max(), 0.5)


def width_at_half(position: ArrayLike, profile: ArrayLike) -> float:
    """Full width at half of the maximum of a profile, interpolated; NaN where it doesn't fall to half on both sides."""
    x, values = np.asarray(position, dtype=float), np.asarray(profile, dtype=float)
    top = int(values.argmax())
    right = time_to_fraction(x[top:], -values[top:], -values[top], 0.0, 0.5)
    left = time_to_fraction(-x[top::-1], -values[top::-1], -values[top], 0.0, 0.5)
    return right + left


def inseparable_share(gain: ArrayLike) -> float:
    """Share of the variance of log gain that is left when each row and each column may have a gain of its own.

    Parameters
    ----------
    gain : array_like, (rows, columns)
        NaN comes back where it is not positive throughout.
    """
    gains = np.asarray(gain, dtype=float)
    if not (gains > 0).all():
        return float("nan")
    logs = np.log(gains)
    deviation = logs - logs.mean()
    left = deviation - deviation.mean(axis=0) - deviation.mean(axis=1, keepdims=True)
    total = (deviation**2).sum()
    return float((left**2).sum() / total) if total > 0 else 0.0


def half_desensitisation(background: ArrayLike, gain: ArrayLike) -> float:
    """The background that halves the gain in the dark, from a fit of gain = dark gain / (1 + (background/half)ⁿ).

    NaN where a gain is not positive.
    """
    if not (np.asarray(gain) > 0).all():
        return float("nan")
    logs, gains = np.log(np.asarray(background, dtype=float)), np.log(np.asarray(gain, dtype=float))

    def model(log_background: np.ndarray, dark: float, half: float, exponent: float) -> np.ndarray:
        return dark - np.logaddexp(0, exponent * (log_background - half))

    found = curve_fit(model, logs, gains, p0=(gains.max(), logs.mean(), 1.0))[0]
    return float(np.exp(found[1]))


@dataclass(frozen=True)
class DifferenceOfGaussians:
    """A centre and a surround: strengths in the response's unit per unit contrast, radii at 1/e in degrees."""

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
    """Least squares over a spatial-frequency tuning curve.

    Parameters
    ----------
    frequency : array_like
        c/deg.
    response : array_like
        In contrast or Hz; above 0 at the peak.
    """
    f, r = np.asarray(frequency, dtype=float), np.asarray(response, dtype=float)
    best, height = peak(f, r)

    def model(frequency: np.ndarray, *logs: float) -> np.ndarray:
        return DifferenceOfGaussians(*np.exp(logs))(frequency) / height

    # At the peak of a centre-surround cell the centre has fallen a little, the surround almost wholly.
    start = np.log([1.2 * height, 0.4 / (np.pi * best), 0.6 * height, 2.5 / (np.pi * best)])
    found = curve_fit(model, f, r / height, p0=start, maxfev=20_000)[0]
    return DifferenceOfGaussians(*(float(value) for value in np.exp(found)))
