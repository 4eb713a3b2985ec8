"""Recordings from ganglion and relay cells in the middle of a screen; trial-averaged rates of a spiking pathway.

For a grating that fills the screen, cells of a type differ only in its phase: a cell, or a V1 column, at u degrees across
the stripes from the middle sees a grating of spatial frequency f and phase φ as the middle one sees it at phase φ - 2πfu. So
of a spiking pathway, a few trials of the cells around the middle replace many trials of the middle cell.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import xarray as xr
from brian2 import Quantity
from numpy.typing import ArrayLike
from scipy import ndimage

from biomodel.adaptation import DriftAdapted, GazeAdapted, uniform_levels
from biomodel.circuit.specification import NOISY, SPIKING, Region
from biomodel.engine.cluster import Workers
from biomodel.engine.plan import batch_images
from biomodel.parameters import Parameters
from biomodel.pathway import Pathway
from biomodel.physiology import measures
from biomodel.physiology.screens import PHASES, Screen, frame_times, patch
from biomodel.stimuli import luminance
from biomodel.utils.checks import whole_number
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number

#: The cells of a class, ON and OFF.
CELLS = {"midget": ("midget_on", "midget_off"), "parasol": ("parasol_on", "parasol_off")}

#: Mean luminance where an experiment doesn't vary it, cd/m²: a bright indoor surface.
MEAN = 100.0

#: The highest contrast: at the mean above, black is 2 and white 198 cd/m², in the valid range of the model's cones.
FULL_CONTRAST = 0.98

#: Radius of a parasol's centre over that of a midget's (Croner & Kaplan 1995, Table 1: .18° and .05°).
PARASOL_SIZE = 3.6

#: Seconds that an image is flashed for, and between which its response is averaged.
FLASH, WINDOW = 0.2, (0.0, 0.2)

#: Seconds that a movie and each of its frames last, and after which a response to it is taken to be steady.
MOVIE, FRAME, STEADY = 1.5, 0.002, 0.5

#: Batches of movies that are simulated together, for any number of processes: noise depends on it.
MOVIE_BATCHES = 4

#: Trials of a stimulus, and the window in seconds, for spike counts.
COUNT_TRIALS, COUNT_WINDOW = 50, (0.0, 0.2)

#: Trials of a stimulus for a spiking subject: up to V1, and up to the relay, where a trial takes less time.
V1_TRIALS, RELAY_TRIALS = 5, 20

#: Seconds between samples of a trace, and cells × samples × trials that are in memory together.
_TRACE_STEP, _IN_MEMORY = 0.002, 1_000_000

#: For a spiking subject and gratings that fill the screen: distance from the middle in pixels of the neighbours that replace
#: trials of the middle cell, and their trials. 9 × 9 cells for flashed gratings; 5 × 5 for drifting ones, on a smaller screen.
_FLASH_NEIGHBOURS, _FLASH_TRIALS = 4.5, 3
_DRIFT_NEIGHBOURS, _DRIFT_TRIALS = 2.5, 8

#: Trials of the patches among which the best one is.
_BEST_TRIALS = 100

#: Standard deviation in seconds of the Gaussian that smooths spike counts where a latency is measured.
_SMOOTHING = 0.005

#: Spatial frequencies by which cells are characterised, in cycles a centre radius: .1 to 8.9 c/deg at .05°.
_FREQUENCIES = 0.005 * 2 ** (np.arange(14) / 2)

#: Harmonics of the phase in a response: after a rectifying power of 2 to 3 the rest is below a hundredth.
_HARMONICS = 4

_T = TypeVar("_T")


class Subject(Protocol):
    """The subject of experiments: a `biomodel.Pathway`, or any object with these members."""

    @property
    def parameters(self) -> Parameters:
        """The radius of the midget's centre, among these, scales the stimuli."""

    def simulate(self, *args: Any, **kwargs: Any) -> xr.Dataset:
        """Responses, as `biomodel.Pathway.simulate`."""


class TrialAveraged:
    """Trial-averaged rates of a spiking pathway, as a subject of experiments.

    Different stimuli have different noise.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking".
    v1_trials, relay_trials : int
        Trials of a stimulus where V1 is recorded, and where it is not.
    seed : int
        Seed of the noise, which also depends on the stimulus.

    Examples
    --------
    >>> import biomodel
    >>> import numpy as np
    >>> from biomodel.physiology import TrialAveraged
    >>> subject = TrialAveraged(biomodel.Pathway(fidelity="spiking", target="numpy"), relay_trials=3)
    >>> field = biomodel.luminance(np.full((1, 9, 9), 100.0), pixels_per_degree=16)
    >>> rates = subject.simulate(field, 100.0, duration=0.02, window=(0.0, 0.02), output="ganglion")
    >>> rates.ganglion.dims, rates.ganglion.units
    (('image', 'ganglion_channel', 'y', 'x'), 'Hz')
    """

    def __init__(
        self, pathway: Pathway, v1_trials: int = V1_TRIALS, relay_trials: int = RELAY_TRIALS, seed: int = 0
    ) -> None:
        self.pathway = pathway
        self.v1_trials, self.relay_trials = (
            whole_number(trials, name, 1) for trials, name in ((v1_trials, "v1_trials"), (relay_trials, "relay_trials"))
        )
        self.seed = whole_number(seed, "seed", 0)
        self.preset, self.parameters, self.classical_centre = (
            pathway.preset,
            pathway.parameters,
            pathway.classical_centre,
        )
        self.fidelity, self.lesions, self.dt = pathway.fidelity, pathway.lesions, pathway.dt

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: GazeAdapted | DriftAdapted | Sequence[float] | float | Quantity,
        duration: float | Quantity,
        window: tuple[float | Quantity, float | Quantity],
        output: str,
        record: str = "mean",
        trials: int | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """Simulate rates in Hz, averaged over trials. Parameters are those of `Pathway.simulate`; `trials` has a default."""
        trials = trials or (self.v1_trials if output == "v1" else self.relay_trials)
        duration = as_number(duration, "s", "duration")
        start, end = (as_number(edge, "s", "window") for edge in window)
        settings |= {"duration": duration, "window": (start, end), "output": output, "record": record, "trials": trials}
        traces = record == "trace"
        values = trials * (round(duration / _TRACE_STEP) if traces else 1)
        if settings.get("region", Region()).record is None:
            values *= stimulus.sizes["y"] * stimulus.sizes["x"]
        parts = []
        for counts in self._simulate_parts(stimulus, adapt_to, max(1, _IN_MEMORY // values), settings):
            seconds = float(counts.time[1] - counts.time[0]) if traces else end - start
            for station in set(NOISY) & set(counts):
                mean = counts[station].mean("trial")
                counts[station] = (mean / seconds if station in SPIKING else mean).assign_attrs(units="Hz")
            parts.append(counts)
        return xr.concat(parts, "image", data_vars="minimal")

    def spike_counts(self, stimulus: xr.DataArray, adapt_to: Sequence[float] | float, **settings: Any) -> xr.Dataset:
        """Counts of spikes in the window by trial, as `Pathway.simulate` with this subject's seeds."""
        parts = self._simulate_parts(stimulus, adapt_to, stimulus.sizes["image"], settings)
        return xr.concat(list(parts), "image", data_vars="minimal")

    def _simulate_parts(
        self,
        stimulus: xr.DataArray,
        adapt_to: GazeAdapted | DriftAdapted | Sequence[float] | float | Quantity,
        images: int,
        settings: dict[str, Any],
    ) -> Iterator[xr.Dataset]:
        """A number of images at a time. The seed depends on the images, so that no two stimuli share their noise."""
        n_images = stimulus.sizes["image"]
        levels = None
        if not isinstance(adapt_to, GazeAdapted | DriftAdapted):
            levels = np.broadcast_to(uniform_levels(adapt_to, n_images), n_images)
        for first in range(0, n_images, images):
            chunk = slice(first, first + images)
            part = stimulus.isel(image=chunk)
            seed = zlib.crc32(np.ascontiguousarray(part.values).tobytes(), self.seed)
            state = adapt_to if levels is None else levels[chunk].tolist()
            yield self.pathway.simulate(part, state, seed=seed, **settings)


def behind_artificial_pupil(subject: Subject) -> Subject:
    """A pathway, or a trial-averaged one, with a pupil of `cone.pupil_area` in every field; any other subject as it is."""
    if isinstance(subject, TrialAveraged):
        pathway = cast(Pathway, behind_artificial_pupil(subject.pathway))
        if pathway is subject.pathway:
            return subject
        return type(subject)(pathway, subject.v1_trials, subject.relay_trials, subject.seed)
    if isinstance(subject, Pathway) and subject.parameters.value("cone.pupil_reflex"):
        return subject.replace(parameters={"cone.pupil_reflex": 0})
    return subject


class Electrode:
    """An electrode in the middle of a screen: responses of ganglion and relay cells there, and their best gratings.

    Lengths are in radii of the midget's centre, so that stimuli have the same pixels at another eccentricity. Light on the retina
    is given in trolands: a pathway sees all stimuli through an artificial pupil of `cone.pupil_area`, as in the published
    experiments.

    Parameters
    ----------
    subject : Subject
        A pathway, also a `TrialAveraged` one, is measured with the parameter `cone.pupil_reflex` at 0.
    workers : int, str or distributed.Client
        Processes to simulate with.
    """

    def __init__(self, subject: Subject, workers: Workers = 1) -> None:
        self.subject = behind_artificial_pupil(subject)
        self.workers = workers
        #: Radius of the midget's centre at 1/e, degrees.
        self.radius = subject.parameters.value("bipolar.midget_centre_radius")
        #: Diameters in degrees of spots that fill a centre: two radii on either side hold 98 % of a Gaussian.
        self.midget_centre, self.parasol_centre = 4 * self.radius, 4 * self.radius * PARASOL_SIZE
        #: A centre radius is two pixels: for spots on single receptive fields.
        self.fine = Screen(51, 2 / self.radius)
        #: A radius is one pixel: for gratings that reach beyond every surround.
        self.wide = Screen(63, 1 / self.radius)
        #: Some nine parasol radii across, for movies.
        self.movie = Screen(25, 0.8 / self.radius)
        #: The middle of each frame of a movie, seconds.
        self.times = frame_times(MOVIE, FRAME)
        self._tuning: dict[str, np.ndarray] = {}
        self._diameter: dict[str, float] = {}

    @property
    def pupil_area(self) -> float:
        """Area of the pupil, mm²: trolands per cd/m²."""
        return self.subject.parameters.value("cone.pupil_area")

    @property
    def spiking(self) -> bool:
        """Whether rates are averages over trials, with the noise of spikes."""
        return isinstance(self.subject, TrialAveraged)

    def lesioned(self, lesion: str) -> Electrode | None:
        """An electrode for the same pathway without a mechanism; None for a subject that is not a pathway."""
        subject = self.subject
        if isinstance(subject, TrialAveraged):
            pathway = subject.pathway.replace(lesions=(*subject.lesions, lesion))
            trials = subject.v1_trials, subject.relay_trials
            return Electrode(TrialAveraged(pathway, *trials, subject.seed), self.workers)
        if isinstance(subject, Pathway):
            return Electrode(subject.replace(lesions=(*subject.lesions, lesion)), self.workers)
        return None

    def rates(
        self,
        screen: Screen,
        images: np.ndarray,
        levels: ArrayLike = MEAN,
        output: str = "lgn",
        pixels: float | None = None,
        trials: int | None = None,
    ) -> xr.Dataset:
        """Mean rates over the 200 ms after the onset of images.

        Parameters
        ----------
        screen : Screen
        images : numpy.ndarray, (image, y, x)
            cd/m².
        levels : array_like
            Luminance in cd/m² of the uniform field before all images, or before each.
        output : {"ganglion", "lgn"}
        pixels : float, optional
            Distance from the middle within which cells are recorded; by default all are.
        trials : int, optional
            For a spiking subject; by default its own number.

        Returns
        -------
        xarray.Dataset
            `ganglion` and `lgn`, (image, …_channel, y, x), Hz.
        """
        each = np.broadcast_to(np.asarray(levels, dtype=float), len(images)).tolist()
        settings = self._settings(screen, output, pixels, trials)
        return self.flash(screen, images, each, output=output, **settings)[_stations(output)]

    def flash(self, screen: Screen, images: Iterable[np.ndarray], levels: list[float], **settings: Any) -> xr.Dataset:
        """Responses to flashed images (y, x), each after a uniform field; `settings` as for `Pathway.simulate`."""
        stimulus = luminance(np.stack(list(images)), screen.pixels_per_degree)
        return self.subject.simulate(
            stimulus, adapt_to=levels, duration=FLASH, window=WINDOW, workers=self.workers, **settings
        )

    def play(
        self,
        screen: Screen,
        movies: Sequence[np.ndarray],
        levels: list[float] | float,
        frame: float = FRAME,
        duration: float | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """Traces of responses to movies, each after a uniform field.

        Parameters
        ----------
        movies : sequence of numpy.ndarray, (frame, y, x)
            Luminance in cd/m²; all of one length.
        levels : float or list of float
            Luminance of the uniform fields, cd/m², of all movies or of each.
        frame : float
            Duration of a frame in seconds.
        duration : float, optional
            Seconds that are shown; by default the movies are shown whole.
        **settings
            Of `Pathway.simulate`.
        """
        stimulus = luminance(np.stack(movies), screen.pixels_per_degree, frame)
        shown = len(movies[0]) * frame if duration is None else duration
        timing: dict[str, Any] = {"duration": shown, "window": WINDOW, "record": "trace"}
        return self.subject.simulate(stimulus, adapt_to=levels, workers=self.workers, **timing, **settings)

    def _settings(self, screen: Screen, output: str, pixels: float | None, trials: int | None) -> dict[str, Any]:
        """Where cells are recorded; for a spiking subject, trials, and where cells are simulated that the recorded need."""
        within = None if pixels is None else pixels / screen.pixels_per_degree
        if not self.spiking:
            return {"region": Region(within)}
        settings: dict[str, Any] = {"trials": trials} if trials else {}
        if within is None:
            return settings
        return settings | {"region": Region(within, spiking=within)}

    def rate_changes(self, screen: Screen, images: np.ndarray, levels: ArrayLike = MEAN, **settings: Any) -> xr.Dataset:
        """Rates for flashed images less the maintained rates in the uniform field; arguments as `rates`."""
        each = np.broadcast_to(np.asarray(levels, dtype=float), len(images))
        blanks, blank_of = np.unique(each, return_inverse=True)
        fields = np.broadcast_to(blanks[:, None, None], (len(blanks), *images.shape[1:]))
        rates = self.rates(screen, np.concatenate([images, fields]), np.concatenate([each, blanks]), **settings)
        return rates.isel(image=slice(0, len(images))) - rates.isel(image=len(images) + blank_of)

    def movie_rates(
        self,
        movies: Iterable[np.ndarray],
        levels: ArrayLike = MEAN,
        output: str = "lgn",
        pixels: float = 0.5,
        trials: int | None = None,
        screen: Screen | None = None,
        frame: float = FRAME,
    ) -> xr.Dataset:
        """Rates of the cells in the middle during movies.

        Parameters
        ----------
        movies : iterable of numpy.ndarray, each (frame, y, x)
            cd/m²; all of the same length.
        levels : array_like
            Luminance in cd/m² of the uniform field before all movies, or before each.
        output, pixels, trials
            As in `rates`.
        screen : Screen, optional
            By default `movie`.
        frame : float
            Seconds that each frame lasts.

        Returns
        -------
        xarray.Dataset
            `ganglion` and so on up to the output, (image, time, …_channel, y, x), Hz.
        """
        screen = screen or self.movie
        each = repeat(levels) if np.ndim(levels) == 0 else np.asarray(levels, dtype=float).tolist()
        settings = self._settings(screen, output, pixels, trials)
        parts = []
        for chunk in in_chunks(zip(movies, each, strict=False), movie_chunk(screen)):
            shown, before = zip(*chunk, strict=True)
            rates = self.play(screen, shown, list(before), frame, output=output, **settings)
            parts.append(rates[_stations(output)])
        return xr.concat(parts, "image")

    def smooth(self, traces: np.ndarray) -> np.ndarray:
        """Traces (…, time) in the frames of a movie, smoothed for a spiking subject."""
        if not self.spiking:
            return traces
        return ndimage.gaussian_filter1d(traces, _SMOOTHING / FRAME, axis=-1, mode="nearest")

    def spike_counts(self, screen: Screen, images: np.ndarray, output: str, v1: float | None = None) -> xr.Dataset:
        """Count the spikes of the middle cells in `COUNT_WINDOW` after images on their mean.

        Parameters
        ----------
        screen : Screen
        images : numpy.ndarray, (image, y, x)
            Luminance in cd/m².
        output : str
            The last station.
        v1 : float, optional
            V1 exists up to this distance from the middle, degrees; by default everywhere.

        Returns
        -------
        xarray.Dataset
            Counts (image, trial, …).

        Raises
        ------
        InputError
            For a subject of rates.
        """
        timing: dict[str, Any] = {"duration": FLASH, "window": COUNT_WINDOW}
        region = Region(screen.one_pixel, v1)
        return self._counts(screen, images, trials=COUNT_TRIALS, output=output, region=region, **timing)

    def spike_traces(
        self, screen: Screen, images: np.ndarray, duration: float, trials: int, **settings: Any
    ) -> xr.Dataset:
        """Spike counts in time of images on their mean, (image, trial, time, …).

        Parameters
        ----------
        images : numpy.ndarray, (image, y, x)
            Luminance in cd/m².
        duration : float
            Seconds that the images are shown and the counts are recorded.
        trials : int
            Number of trials of each image.
        **settings
            Of `Pathway.simulate`.

        Raises
        ------
        InputError
            For a subject of rates.
        """
        timing: dict[str, Any] = {"duration": duration, "window": (0.0, duration), "record": "trace"}
        return self._counts(screen, images, trials=trials, **timing, **settings)

    def _counts(self, screen: Screen, images: np.ndarray, **settings: Any) -> xr.Dataset:
        """Spike counts of images (y, x) on their mean, by trial."""
        if not isinstance(self.subject, TrialAveraged):
            raise InputError("spike counts need a pathway of fidelity 'spiking', got a subject of rates")
        stimulus = luminance(images, screen.pixels_per_degree)
        return self.subject.spike_counts(stimulus, MEAN, workers=self.workers, **settings)

    def grating_responses(
        self,
        cells: str,
        frequencies: float | np.ndarray,
        contrasts: float | np.ndarray,
        mean: float | np.ndarray = MEAN,
        diameters: float | np.ndarray = np.inf,
        output: str = "lgn",
        trials: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Responses of a class of cells to flashed gratings, each at its best phase.

        Parameters
        ----------
        cells : str
            A key of `CELLS`.
        frequencies, contrasts, mean, diameters : float or numpy.ndarray, (stimulus,)
            c/deg, 1, cd/m² and degrees; a grating of infinite diameter fills the screen.
        output : {"ganglion", "lgn"}
        trials : int, optional
            For a spiking subject; by default its own number, and a few for gratings that fill the screen, which use neighbours.

        Returns
        -------
        dict of station to numpy.ndarray, (ON and OFF, stimulus)
            Changes of the maintained rates of ganglion and relay cells, Hz.
        """
        columns = np.broadcast_arrays(*np.atleast_1d(frequencies, contrasts, mean, diameters))
        # Light or dark in the middle is the best phase for ON or OFF cells; in the rate form no other is better.
        phases = PHASES[::2] if self.spiking and np.isfinite(columns[3]).all() else PHASES
        images = [
            patch(self.wide.grating(f, phases), self.wide.disc(size), level, contrast)
            for f, contrast, level, size in zip(*columns, strict=True)
        ]
        settings: dict[str, Any] = {"output": output, "pixels": 0.5, "trials": trials}
        if self.spiking and np.isinf(columns[3]).all():
            settings |= {"pixels": _FLASH_NEIGHBOURS, "trials": trials or _FLASH_TRIALS}
        levels = np.repeat(columns[2], len(phases))
        changes = self.rate_changes(self.wide, np.concatenate(images), levels, **settings)
        return {
            station: np.stack(
                [self._by_phase(changes, station, cell, columns[0], len(phases)).max(axis=1) for cell in CELLS[cells]]
            )
            for station in _stations(output)
        }

    def _by_phase(
        self, changes: xr.Dataset, station: str, cell: str, frequencies: np.ndarray, phases: int
    ) -> np.ndarray:
        """Changes (stimulus, phase) of the middle cell's rate, from its neighbours where they are recorded."""
        rates = changes[station].sel({f"{station}_channel": cell}).transpose("image", "y", "x").values
        by_phase = rates.reshape(-1, phases, *rates.shape[1:], 1)
        if by_phase[0, 0].size == 1:
            return by_phase[..., 0, 0, 0]
        down, right = (_positions(n, self.wide) for n in rates.shape[1:])
        each = zip(by_phase, frequencies, strict=True)
        return np.stack([rates_from_neighbours(one, 90.0, f, down, right) for one, f in each])[..., 0]

    def frequency_tuning(self, cells: str) -> tuple[np.ndarray, np.ndarray]:
        """Spatial frequencies in c/deg, and responses (ON and OFF, frequency) in Hz of a class of ganglion cells.

        Flashed gratings of contrast .25, at which rates stay above 0.
        """
        frequencies = _FREQUENCIES / self.radius
        if cells not in self._tuning:
            self._tuning[cells] = self.grating_responses(cells, frequencies, 0.25, output="ganglion")["ganglion"]
        return frequencies, self._tuning[cells]

    def best_frequency(self, cells: str) -> float:
        """Spatial frequency, c/deg, with the highest response of a class of ganglion cells, mean of ON and OFF."""
        frequencies, responses = self.frequency_tuning(cells)
        return measures.peak(frequencies, responses.mean(axis=0))[0]

    def best_diameter(self, cells: str) -> float:
        """Diameter in degrees of the patch of the best grating, contrast .25, with the highest response of ganglion cells."""
        if cells not in self._diameter:
            sizes = self.radius * np.geomspace(2, 31, 11)
            found = self.grating_responses(
                cells, self.best_frequency(cells), 0.25, diameters=sizes, output="ganglion", trials=_BEST_TRIALS
            )
            self._diameter[cells] = measures.peak(sizes, found["ganglion"].mean(axis=0))[0]
        return self._diameter[cells]

    def drifting_grating(self, cells: str, frequency: float) -> np.ndarray:
        """A grating of the best spatial frequency that drifts at `frequency` Hz, (frame, y, x), -1 to 1."""
        return self.movie.grating(self.best_frequency(cells), 2 * np.pi * frequency * self.times)

    def drift_harmonics(
        self,
        cells: str,
        station: str,
        temporal: float | np.ndarray,
        contrasts: float | np.ndarray,
        mean: float | np.ndarray = MEAN,
    ) -> np.ndarray:
        """First harmonics of responses to drifting gratings of the best spatial frequency.

        Parameters
        ----------
        cells : str
            A key of `CELLS`.
        station : {"ganglion", "lgn"}
        temporal, contrasts, mean : float or numpy.ndarray, (stimulus,)
            Whole Hz, 1, cd/m².

        Returns
        -------
        numpy.ndarray of complex, (ON and OFF, stimulus)
            Hz.
        """
        columns = np.broadcast_arrays(*np.atleast_1d(temporal, contrasts, mean))
        movies = [level * (1 + c * self.drifting_grating(cells, f)) for f, c, level in zip(*columns, strict=True)]
        pixels = _DRIFT_NEIGHBOURS if self.spiking else 0.5
        rates = self.movie_rates(np.stack(movies), columns[2], station, pixels, _DRIFT_TRIALS)
        steady = rates.sel(time=slice(STEADY - FRAME / 2, None))
        harmonics = []
        for cell in CELLS[cells]:
            traces = steady[station].sel({f"{station}_channel": cell}).transpose("image", "y", "x", "time")
            each = zip(traces.values, columns[0], strict=True)
            by_stimulus = [measures.first_harmonic(trace, traces.time.values, f) for trace, f in each]
            down, right = (_positions(traces.sizes[axis], self.movie) for axis in ("y", "x"))
            middle = np.stack(by_stimulus, axis=-1)
            harmonics.append(average_harmonics(middle, 90.0, self.best_frequency(cells), down, right))
        return np.array(harmonics)


def rates_from_neighbours(
    rates: np.ndarray, orientation: float, frequency: float, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Rates of the middle cell for each phase of a grating, from the rates of its neighbours.

    Rates are taken to be a sum of four harmonics of the phase, fitted by least squares.

    Parameters
    ----------
    rates : numpy.ndarray, (phase, y, x, cell)
        In the order of `PHASES`.
    orientation : float
        Of the stripes, degrees anticlockwise from horizontal, as `Screen.grating`.
    frequency : float
        c/deg.
    down, right : numpy.ndarray, (y,) and (x,)
        Positions relative to the middle, degrees.

    Returns
    -------
    numpy.ndarray, (phase, cell)
    """
    phases = PHASES[:, None, None] - 2 * np.pi * frequency * _across(orientation, down, right)
    weights = np.linalg.lstsq(_harmonic_basis(phases.ravel()), rates.reshape(phases.size, -1), rcond=None)[0]
    return _harmonic_basis(PHASES) @ weights


def average_harmonics(
    harmonics: np.ndarray, orientation: float, frequency: float, down: np.ndarray, right: np.ndarray
) -> np.ndarray:
    r"""First harmonic of the middle cell for a drifting grating: the mean over its neighbours, aligned in phase.

    Parameters
    ----------
    harmonics : numpy.ndarray of complex, (y, x, …)
        From `measures.first_harmonic`: a cell u degrees across the stripes lags by :math:`2\pi f u`.
    orientation, frequency, down, right
        As in `rates_from_neighbours`.

    Returns
    -------
    numpy.ndarray of complex, (…)
    """
    advance = np.exp(2j * np.pi * frequency * _across(orientation, down, right))
    return np.tensordot(advance, harmonics, 2) / advance.size


def _across(orientation: float, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Degrees across the stripes of a grating, (y, x)."""
    angle = np.deg2rad(orientation)
    return right * np.sin(angle) + down[:, None] * np.cos(angle)


def _harmonic_basis(phases: np.ndarray) -> np.ndarray:
    """A constant, and cosines and sines of the harmonics of phases: (phase, term)."""
    multiples = np.arange(1, _HARMONICS + 1) * phases[:, None]
    return np.concatenate([np.ones((len(phases), 1)), np.cos(multiples), np.sin(multiples)], axis=1)


def in_chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of consecutive items; the last may be shorter."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def movie_chunk(screen: Screen) -> int:
    """Movies that are simulated together."""
    return MOVIE_BATCHES * batch_images(screen.pixels, screen.pixels)


def _stations(output: str) -> list[str]:
    """Stations that record rates, from ganglion cells up to the output."""
    return list(NOISY[: NOISY.index(output) + 1])


def _positions(cells: int, screen: Screen) -> np.ndarray:
    """Degrees from the middle of a row of cells around it."""
    return (np.arange(cells) - cells // 2) / screen.pixels_per_degree


def rate_of(rates: xr.Dataset, station: str, cell: str) -> np.ndarray:
    """Rates (image, …) of one type of cell: of the middle cell, where a whole field was recorded."""
    field = rates[station].sel({f"{station}_channel": cell})
    if "y" in field.dims:
        field = field.isel(y=field.sizes["y"] // 2, x=field.sizes["x"] // 2)
    return field.values
