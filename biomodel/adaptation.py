r"""The adaptation states a presentation can start from.

A state is what was seen before onset, so it never depends on later frames of a movie: gaze is adapted to the first frame.

While the eye drifts, a state with a memory of τ seconds sees the image through the density of the places where the eye was.
Brownian drift with the diffusion constant D leaves a variance of 2 D τ on each axis, averaged over a memory that decays
exponentially: :math:`\sigma(\tau) = \sqrt{2 D \tau}`. The density is taken to be a Gaussian. This is the default.

A memory of seconds outlasts a fixation of some .3 s, in which saccades carry the eye to other places. Two readings of it are
there: the eye comes back to the same place, so that the memory is that of the drift, or the state has seen the scene, whose
luminances are nearly uncorrelated from one fixation to the next (Frazor & Geisler 2006), and tends to the scene's mean. The
default is the first one (docs/physiology.md compares them).
"""

from __future__ import annotations

import hashlib
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from biomodel.utils.errors import InputError
from biomodel.utils.units import as_array

#: Diffusion constant of fixational drift in arcmin²/s, on each axis. Two macaques: 12 to 48 within .2 s (data of Ben-Shushan
#: 2022, whose displacements grow faster than those of Brownian drift). Models of human drift: 20 to 100 (Pitkow 2007, Ağaoğlu &
#: Chung 2020).
DRIFT = 30.0

#: Seconds of a fixation (two or three saccades a second).
FIXATION = 0.3

#: Largest diffusion constant in arcmin²/s.
LARGEST_DRIFT = 1e6

#: The blur is cut at this many standard deviations.
TRUNCATION = 4.0

#: Largest finite standard deviation in degrees; infinity is the mean of the image.
LARGEST_SD = 180.0


@dataclass(frozen=True)
class Fields:
    """The fields that each state of the retina is adapted to, (image, y, x) in cd/m².

    Attributes
    ----------
    start : numpy.ndarray
        Of everything that does not adapt, from transduction to membrane potentials; and of bipolar cells, which subtract their
        slow average: they rest before this field.
    states : dict of str to numpy.ndarray
        Of the states that adapt, with the names of `biomodel.circuit.retina.memories`; by default `start`.
    looked_at : numpy.ndarray, optional
        The scene that saccades have carried the eye over, for what adapts to contrast over seconds; by default `start`.
    """

    start: np.ndarray
    states: Mapping[str, np.ndarray] = field(default_factory=dict)
    looked_at: np.ndarray | None = None

    @property
    def scene(self) -> np.ndarray:
        """The scene that saccades have carried the eye over."""
        return self.start if self.looked_at is None else self.looked_at

    def of(self, state: str) -> np.ndarray:
        """The field of one state that adapts."""
        return self.states.get(state, self.start)

    def __getitem__(self, images: slice | np.ndarray) -> Fields:
        states = {name: values[images] for name, values in self.states.items()}
        return Fields(self.start[images], states, self.scene[images])

    def __len__(self) -> int:
        return len(self.start)


class AdaptationState(ABC):
    """A state that a presentation can start from; its text is kept with the responses."""

    @abstractmethod
    def fields(
        self, light: np.ndarray, pixels_per_degree: float, chosen: slice, memories: Mapping[str, float]
    ) -> Fields:
        """The fields that some images are adapted to.

        Parameters
        ----------
        light : numpy.ndarray, (image, y, x)
            The images that are chosen, or their first frames, cd/m².
        pixels_per_degree : float
        chosen : slice
            Their places among all images.
        memories : mapping of str to float
            Seconds that each state remembers, as from `biomodel.circuit.retina.memories`.
        """


@dataclass(frozen=True)
class GazeAdapted(AdaptationState):
    """Adapted to the image blurred by one Gaussian distribution of gaze positions, in place of the fields of `DriftAdapted`.

    All states have the same field. Of a movie, the first frame is the image: as if it had been on the screen before.

    Parameters
    ----------
    sd : float
        Standard deviation of the gaze's position in degrees, a plain number; 0 is a stabilised image, infinity the mean of
        the image.

    Raises
    ------
    InputError
        For a standard deviation that is not a number from 0 to 180, or infinity.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.GazeAdapted(sd=0.1)
    GazeAdapted(sd=0.1)
    """

    sd: float

    def __post_init__(self) -> None:
        if isinstance(self.sd, bool | np.timedelta64) or not isinstance(self.sd, numbers.Real) or not self.sd >= 0:
            raise InputError(f"sd of gaze must be a number of degrees of 0 or more, got {self.sd!r}")
        if LARGEST_SD < self.sd < inf:
            raise InputError(f"sd of gaze must be at most {LARGEST_SD:g} degrees, or infinity, got {self.sd!r}")

    def __str__(self) -> str:
        return f"gaze of {_exact(float(self.sd))}°"

    def fields(
        self, light: np.ndarray, pixels_per_degree: float, chosen: slice, memories: Mapping[str, float]
    ) -> Fields:
        """The image blurred by gaze, for all states."""
        return Fields(gaze_field(light, float(self.sd), pixels_per_degree), looked_at=light)


@dataclass(frozen=True)
class DriftAdapted(AdaptationState):
    """Adapted to the image while the eye drifts: each state to the image blurred by where the eye was within its memory.

    A state that remembers .1 s has a field of .04 degrees, one that remembers 1.5 s a field of .16 degrees. Transduction and
    membrane potentials start from the field of the longest memory. Of a movie, the first frame is the image.

    Parameters
    ----------
    diffusion : float
        Diffusion constant D of the drift on each axis, arcmin²/s, a plain number; 0 is a stabilised image.
    saccades : bool
        Whether memories longer than a fixation of .3 s have the mean of the image as their field, because saccades carry the
        eye over all of it; otherwise the eye comes back to the same place.

    Raises
    ------
    InputError
        For a diffusion constant that is not a number from 0 to 10⁶, and for `saccades` that is not a bool.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.DriftAdapted(diffusion=20)
    DriftAdapted(diffusion=20, saccades=False)
    """

    diffusion: float = DRIFT
    saccades: bool = False

    def __post_init__(self) -> None:
        given = self.diffusion
        is_number = isinstance(given, numbers.Real) and not isinstance(given, bool | np.timedelta64)
        if not is_number or not 0 <= given <= LARGEST_DRIFT:
            raise InputError(f"diffusion must be a number from 0 to {LARGEST_DRIFT:g} arcmin²/s, got {given!r}")
        if not isinstance(self.saccades, bool):
            raise InputError(f"saccades must be True or False, got {self.saccades!r}")

    def __str__(self) -> str:
        return f"drift of {_exact(float(self.diffusion))} arcmin²/s" + (" and saccades" if self.saccades else "")

    def sd(self, memory: float) -> float:
        """Standard deviation in degrees of the eye's places within a memory of some seconds, on each axis."""
        if self.saccades and memory > FIXATION:
            return inf
        return math.sqrt(2 * float(self.diffusion) * memory) / 60

    def fields(
        self, light: np.ndarray, pixels_per_degree: float, chosen: slice, memories: Mapping[str, float]
    ) -> Fields:
        """The image blurred by the drift within each memory."""
        seen = {memory: gaze_field(light, self.sd(memory), pixels_per_degree) for memory in {*memories.values()}}
        return Fields(seen[max(seen)], {name: seen[memory] for name, memory in memories.items()}, light)


def _exact(value: float) -> str:
    """A number with all of its digits: stores with different settings differ in their text."""
    return repr(value).removesuffix(".0")


@dataclass(frozen=True)
class UniformField(AdaptationState):
    """Adapted to a uniform field: `levels` in cd/m², one for all images or one for each."""

    levels: tuple[float, ...]

    def __str__(self) -> str:
        if len(self.levels) == 1:
            return f"{_exact(self.levels[0])} cd/m²"
        digest = hashlib.sha256(np.array(self.levels).tobytes()).hexdigest()[:16]
        return f"{len(self.levels)} levels from {min(self.levels):g} to {max(self.levels):g} cd/m² with digest {digest}"

    def fields(
        self, light: np.ndarray, pixels_per_degree: float, chosen: slice, memories: Mapping[str, float]
    ) -> Fields:
        """The uniform field, for all states."""
        levels = np.array(self.levels if len(self.levels) == 1 else self.levels[chosen])
        return Fields(np.ascontiguousarray(np.broadcast_to(levels[:, None, None], light.shape)))


def uniform_levels(
    adapt_to: ArrayLike, n_images: int, accepted: str = "a luminance of 0 cd/m² or more, or one for each image"
) -> tuple[float, ...]:
    """Luminances to adapt to, one for all images or one for each.

    Parameters
    ----------
    adapt_to : array_like or brian2.Quantity
        cd/m².
    n_images : int
    accepted : str
        What `adapt_to` may be, for the message.

    Returns
    -------
    tuple of float
        One value, or `n_images` values.

    Raises
    ------
    InputError
        For another unit, number of values or of dimensions, and for values that are infinite, NaN or below 0.
    """
    levels = as_array(adapt_to, "cd/m²", "adapt_to").astype(float)
    if levels.ndim > 1:
        raise InputError(f"adapt_to must be {accepted}, got {levels.ndim} dimensions")
    if levels.size not in (1, n_images):
        raise InputError(f"adapt_to must be {accepted}, got {levels.size} luminances for {n_images} images")
    wrong = ~(np.isfinite(levels) & (levels >= 0))
    if wrong.any():
        raise InputError(f"adapt_to must be {accepted}, got {levels[wrong].flat[0]:g} cd/m²")
    return tuple(levels.ravel().tolist())


def gaze_field(light: np.ndarray, sd: float, pixels_per_degree: float) -> np.ndarray:
    """The image blurred by a Gaussian distribution of gaze positions; borders are replicated.

    Parameters
    ----------
    light : numpy.ndarray, (image, y, x)
        Luminance in cd/m².
    sd : float
        Standard deviation in degrees; 0 leaves the image as it is, infinity gives its mean.
    pixels_per_degree : float

    Returns
    -------
    numpy.ndarray, (image, y, x), cd/m²
    """
    if np.isinf(sd):
        return np.broadcast_to(light.mean(axis=(1, 2), keepdims=True), light.shape).copy()
    if sd == 0:
        return light.copy()
    return ndimage.gaussian_filter(light, sd * pixels_per_degree, axes=(1, 2), mode="nearest", truncate=TRUNCATION)
