"""Receptive fields of V1 cells from their responses to gratings: reverse correlation in the space of gratings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

#: Steps to which responses are interpolated between the gratings that were shown.
_DEGREES, _OCTAVES = 3.0, 0.125


def receptive_fields(
    rates: ArrayLike, orientation: ArrayLike, frequency: ArrayLike, phase: ArrayLike, y: ArrayLike, x: ArrayLike
) -> np.ndarray:
    """Linear fields: the sum of gratings weighted by the responses to them (Ringach, Sapiro & Shapley 1997).

    The weight is the first harmonic over phase of the responses, so that responses that do not depend on phase, such as
    those of a complex cell, leave no field. Harmonics are interpolated by cubic splines, over log frequency and orientation, and
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
        Positions of the fields' pixels, degrees from the cell; y increases downwards as in `Screen.grating`.

    Returns
    -------
    numpy.ndarray, (cell, y, x)
        Each over its largest absolute value, positive where light excites; 0 for a cell without a field.
    """
    phases = np.asarray(phase, dtype=float)
    spectrum = 2 * np.tensordot(np.asarray(rates, dtype=float), np.exp(-1j * phases), axes=(2, 0)) / len(phases)
    angles, frequencies, values = _interpolate(
        spectrum, np.asarray(orientation, dtype=float), np.asarray(frequency, dtype=float)
    )
    down, right = np.meshgrid(np.asarray(y, dtype=float), np.asarray(x, dtype=float), indexing="ij")
    fields = np.zeros((values.shape[2], down.size))
    for angle, weights in zip(np.deg2rad(angles), values, strict=True):
        across = (right * np.sin(angle) + down * np.cos(angle)).ravel()
        waves = np.exp(2j * np.pi * frequencies[:, None] * across)
        fields += ((weights * frequencies[:, None] ** 2).T @ waves).real
    largest = np.abs(fields).max(axis=1, keepdims=True)
    # The rounding errors of a cell that does not depend on phase are not a field.
    known = largest > 1e-9 * max(float(np.abs(spectrum).max(initial=0)), 1e-9)
    return np.divide(fields, largest, out=np.zeros_like(fields), where=known).reshape(-1, *down.shape)


def _interpolate(
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
