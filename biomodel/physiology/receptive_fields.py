"""Receptive fields of V1 cells from their responses to gratings: reverse correlation in the space of gratings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

#: Between gratings that were shown, what a cell answers is interpolated to steps of so many degrees and octaves.
_DEGREES, _OCTAVES = 3.0, 0.125


def receptive_fields(
    rates: ArrayLike, orientation: ArrayLike, frequency: ArrayLike, phase: ArrayLike, y: ArrayLike, x: ArrayLike
) -> np.ndarray:
    """Linear fields: gratings weighted by what they evoke and summed (Ringach, Sapiro & Shapley 1997).

    Of every grating the first harmonic over phase counts, so that what does not depend on phase, as the answers of a
    complex cell, leaves no field. Harmonics are interpolated by cubic splines, over log frequency and orientation, and
    weighted by their area in the plane of frequencies: the sum is an inverse Fourier transform.

    Parameters
    ----------
    rates : array_like, (orientation, frequency, phase, cell)
        Hz.
    orientation : array_like
        Degrees, evenly spaced over 180.
    frequency : array_like
        c/deg, evenly spaced over their logarithm.
    phase : array_like
        Radians, evenly spaced over the whole circle.
    y, x : array_like
        Degrees from the cell at which fields are wanted, y growing downwards as in `Screen.grating`.

    Returns
    -------
    numpy.ndarray, (cell, y, x)
        Each over its largest absolute value, positive where light excites; 0 for a cell without a field.
    """
    phases = np.asarray(phase, dtype=float)
    spectrum = 2 * np.tensordot(np.asarray(rates, dtype=float), np.exp(-1j * phases), axes=(2, 0)) / len(phases)
    angles, frequencies, values = _interpolated(
        spectrum, np.asarray(orientation, dtype=float), np.asarray(frequency, dtype=float)
    )
    down, right = np.meshgrid(np.asarray(y, dtype=float), np.asarray(x, dtype=float), indexing="ij")
    found = np.zeros((values.shape[2], down.size))
    for angle, weights in zip(np.deg2rad(angles), values, strict=True):
        across = (right * np.sin(angle) + down * np.cos(angle)).ravel()
        waves = np.exp(2j * np.pi * frequencies[:, None] * across)
        found += ((weights * frequencies[:, None] ** 2).T @ waves).real
    largest = np.abs(found).max(axis=1, keepdims=True)
    # What rounding leaves of a cell that no phase matters to is no field.
    seen = largest > 1e-9 * max(float(np.abs(spectrum).max(initial=0)), 1e-9)
    return np.divide(found, largest, out=np.zeros_like(found), where=seen).reshape(-1, *down.shape)


def _interpolated(
    spectrum: np.ndarray, orientation: np.ndarray, frequency: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orientations and frequencies in fine steps, and the spectrum (orientation, frequency, cell) at them."""
    # A grating turned by half a circle is the same one with its phase reversed.
    around = np.concatenate([spectrum, spectrum.conj(), spectrum[:1]])
    angles = np.concatenate([orientation, orientation + 180, orientation[:1] + 360])
    fine_angles = orientation[0] + np.arange(0, 180, _DEGREES)
    turned = CubicSpline(angles, around, bc_type="periodic")(fine_angles)
    octaves = np.log2(frequency)
    count = round((octaves[-1] - octaves[0]) / _OCTAVES) + 1
    fine_octaves = np.linspace(octaves[0], octaves[-1], count)
    return fine_angles, 2**fine_octaves, CubicSpline(octaves, turned, axis=1)(fine_octaves)
