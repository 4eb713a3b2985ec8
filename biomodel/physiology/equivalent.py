"""Neighbours in place of repeats: before a grating that fills the screen, cells of a kind differ in its phase alone.

A cell, or a V1 column, u degrees across the stripes from the middle sees a grating of spatial frequency f and phase φ as the
middle one sees it of phase φ - 2πfu. So a few trials of the cells about the middle say, kind by kind, what many of the middle
one would.
"""

from __future__ import annotations

import numpy as np

from biomodel.physiology.screens import PHASES

#: Harmonics of the phase that a response is a sum of: behind a rectifying power of 2 to 3 the rest is below a hundredth.
HARMONICS = 4


def at_phases(
    rates: np.ndarray, orientation: float, frequency: float, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Rates in the middle at the phases that a grating was shown in, from those of what stands about it.

    Rates are taken to be a sum of `HARMONICS` harmonics of the phase, fitted by least squares.

    Parameters
    ----------
    rates : numpy.ndarray, (phase, y, x, cell)
        In the order of `PHASES`.
    orientation : float
        Of the stripes, degrees anticlockwise from horizontal, as `Screen.grating`.
    frequency : float
        c/deg.
    down, right : numpy.ndarray, (y,) and (x,)
        Places from the middle, degrees.

    Returns
    -------
    numpy.ndarray, (phase, cell)
    """
    seen = PHASES[:, None, None] - 2 * np.pi * frequency * _across(orientation, down, right)
    found = np.linalg.lstsq(_harmonics(seen.ravel()), rates.reshape(seen.size, -1), rcond=None)[0]
    return _harmonics(PHASES) @ found


def in_phase(
    harmonics: np.ndarray, orientation: float, frequency: float, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """First harmonics of the middle's responses to a drifting grating: means of its neighbours', in its phase.

    Parameters
    ----------
    harmonics : numpy.ndarray of complex, (y, x, …)
        As `measures.harmonic`: a cell u degrees across the stripes lags by :math:`2\\pi f u`.
    orientation, frequency, down, right
        As in `at_phases`.

    Returns
    -------
    numpy.ndarray of complex, (…)
    """
    ahead = np.exp(2j * np.pi * frequency * _across(orientation, down, right))
    return np.tensordot(ahead, harmonics, 2) / ahead.size


def _across(orientation: float, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Degrees across the stripes of a grating, (y, x)."""
    angle = np.deg2rad(orientation)
    return right * np.sin(angle) + down[:, None] * np.cos(angle)


def _harmonics(phases: np.ndarray) -> np.ndarray:
    """A constant and `HARMONICS` cosines and sines of phases: (phase, term)."""
    turns = np.arange(1, HARMONICS + 1) * phases[:, None]
    return np.concatenate([np.ones((len(phases), 1)), np.cos(turns), np.sin(turns)], axis=1)
