"""Stimuli: spots and gratings on a screen, as shares of the mean luminance, and movies of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biomodel.utils.errors import InputError

#: Phases at which gratings are flashed; the best one is used.
PHASES = np.arange(4) * np.pi / 2

#: Points along a pixel's side at which the edge of a disc is sampled.
_SUBPIXELS = 8


@dataclass(frozen=True)
class Screen:
    """A square screen in front of the cells, with a cell in its middle.

    Parameters
    ----------
    pixels : int
        Along a side; odd, so that the middle is a cell.
    pixels_per_degree : float
    """

    pixels: int
    pixels_per_degree: float

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.pixels % 2 == 0:
            raise InputError(f"pixels must be a positive odd number, with a cell in the middle, got {self.pixels}")

    @property
    def middle(self) -> int:
        """Index of the middle row and column."""
        return self.pixels // 2

    @property
    def one_pixel(self) -> float:
        """Distance from the middle, degrees, that no pixel but the middle one reaches."""
        return 0.5 / self.pixels_per_degree

    @property
    def degrees(self) -> np.ndarray:
        """Positions of the columns, and of the rows, relative to the middle in degrees."""
        return (np.arange(self.pixels) - self.middle) / self.pixels_per_degree

    def disc(self, diameter: float) -> np.ndarray:
        """Share of each pixel, (y, x), that a disc in the middle covers; its diameter in degrees."""
        fine = (np.arange(self.pixels * _SUBPIXELS) + 0.5) / _SUBPIXELS - self.pixels / 2
        squares = (fine / self.pixels_per_degree) ** 2
        inside = squares[:, None] + squares[None, :] <= (diameter / 2) ** 2
        return inside.reshape(self.pixels, _SUBPIXELS, self.pixels, _SUBPIXELS).mean(axis=(1, 3))

    def grating(self, frequency: float, phase: float | np.ndarray = 0.0, orientation: float = 90.0) -> np.ndarray:
        """A sinusoidal grating, cos(2πfu - phase), in cosine phase with the middle at phase 0.

        Parameters
        ----------
        frequency : float
            c/deg.
        phase : float or numpy.ndarray
            Radians; the grating drifts towards increasing u as the phase increases.
        orientation : float
            Of the stripes, degrees anticlockwise from horizontal: u is across them, to the right at 90°, down at 0°.

        Returns
        -------
        numpy.ndarray, (…, y, x), -1 to 1
            Leading dimensions are those of the phase.
        """
        angle = np.deg2rad(orientation)
        across = self.degrees[None, :] * np.sin(angle) + self.degrees[:, None] * np.cos(angle)
        return np.cos(2 * np.pi * frequency * across - np.asarray(phase)[..., None, None])


def patch(grating: np.ndarray, window: np.ndarray, mean: float, contrast: float) -> np.ndarray:
    """Luminance of a grating seen through a window in a uniform field of its mean.

    Parameters
    ----------
    grating, window : numpy.ndarray
        Values from -1 to 1, and from 0 to 1; shapes that broadcast.
    mean, contrast : float
        Mean luminance in cd/m², and contrast from 0 to 1.

    Returns
    -------
    numpy.ndarray, cd/m²
    """
    return mean * (1 + contrast * window * grating)


def flicker(pattern: np.ndarray, mean: float, contrast: float, course: np.ndarray) -> np.ndarray:
    """Luminance of a pattern whose contrast follows a time course.

    Parameters
    ----------
    pattern : numpy.ndarray, (y, x) or (frame, y, x)
        Values from -1 to 1 with mean 0.
    mean, contrast : float
        Mean luminance in cd/m², and contrast from 0 to 1.
    course : numpy.ndarray, (frame,)
        Factor of the contrast.

    Returns
    -------
    numpy.ndarray, (frame, y, x), cd/m²
    """
    return mean * (1 + contrast * course[:, None, None] * pattern)


def frame_times(duration: float, frame: float) -> np.ndarray:
    """The middle of each frame of a movie; all in seconds."""
    return (np.arange(round(duration / frame)) + 0.5) * frame
