"""A pathway on the recording table: stimuli are presented to it and the cells in the middle of the screen recorded."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy import ndimage

from biomodel.engine.run import batch_images
from biomodel.parameters import Parameters
from biomodel.physiology import measures
from biomodel.physiology.equivalent import at_phases, in_phase
from biomodel.physiology.repeated import Repeated
from biomodel.physiology.screens import PHASES, Screen, frame_times, patched
from biomodel.stimuli import luminance
from biomodel.utils.errors import InputError

#: The cells of a class, ON and OFF.
CELLS = {"midget": ("midget_on", "midget_off"), "parasol": ("parasol_on", "parasol_off")}

#: Mean luminance where an experiment doesn't vary it, cd/m²: a bright indoor surface.
MEAN = 100.0

#: The highest contrast: at the mean above, black is 2 and white 198 cd/m², within what the model's cones see.
FULL_CONTRAST = 0.98

#: Radius of a parasol's centre over that of a midget's (Croner & Kaplan 1995, Table 1: .18° and .05°).
PARASOL_SIZE = 3.6

#: Seconds that a flashed image stands, and between which its response is averaged.
FLASH, WINDOW = 0.2, (0.05, 0.2)

#: Seconds that a film and each of its frames last, and from when on a response to it is taken to be steady.
FILM, FRAME, STEADY = 1.5, 0.002, 0.5

#: Batches of films that are simulated together, whatever the number of processes: noise depends on it.
FILMS = 4

#: Trials of a stimulus, and seconds, of which counts of spikes are taken.
COUNTED_TRIALS, COUNTED_IN = 50, (0.0, 0.2)

#: Of a subject that fires: pixels from the middle within which cells stand for the middle one before a grating that fills
#: the screen, 9 × 9 of flashed, 5 × 5 of drifting ones, whose screen is smaller; trials of each.
_FLASHED_NEIGHBOURS, _FLASHED_TRIALS = 4.5, 3
_DRIFTING_NEIGHBOURS, _DRIFTING_TRIALS = 2.5, 8

#: Space constants of the suppressive field beyond which relay cells of a subject that fires do not matter: mirrored at its
#: end, 2 % of what is pooled comes back.
_SUPPRESSION = 2.0

#: Standard deviation of the Gaussian by which time courses of spikes are smoothed where a latency is read off them, seconds.
_SMOOTHING = 0.005

#: Spatial frequencies by which cells are characterised, in cycles a centre radius: .1 to 8.9 c/deg at .05°.
_FREQUENCIES = 0.005 * 2 ** (np.arange(14) / 2)


class Subject(Protocol):
    """What experiments are made on: a `biomodel.Pathway`, or what answers like one."""

    @property
    def parameters(self) -> Parameters:
        """Of which the radius of the midget's centre is read, to choose stimuli by."""

    def simulate(self, *args: Any, **kwargs: Any) -> xr.Dataset:
        """Responses, as `biomodel.Pathway.simulate`."""


class Preparation:
    """A subject, the screens in front of it, and what was already found of its cells.

    Every length is in radii of the midget's centre, so that another eccentricity is shown the same pixels.

    Parameters
    ----------
    subject : Subject
    workers : int
        Processes to simulate with.
    """

    def __init__(self, subject: Subject, workers: int = 1) -> None:
        self.subject = subject
        self.workers = workers
        #: Radius of the midget's centre at 1/e, degrees.
        self.radius = subject.parameters.value("bipolar.midget_centre_radius")
        #: Diameters in degrees of spots that fill a centre: two radii on either side hold 98 % of a Gaussian.
        self.midget_centre, self.parasol_centre = 4 * self.radius, 4 * self.radius * PARASOL_SIZE
        #: A centre radius is two pixels: for spots on single fields.
        self.fine = Screen(51, 2 / self.radius)
        #: A radius is one pixel: for gratings that reach beyond every surround.
        self.wide = Screen(63, 1 / self.radius)
        #: Some nine parasol radii across, for films.
        self.film = Screen(25, 0.8 / self.radius)
        #: The middle of each frame of a film, seconds.
        self.times = frame_times(FILM, FRAME)
        self._tuning: dict[str, np.ndarray] = {}

    def rates(
        self,
        screen: Screen,
        images: np.ndarray,
        levels: ArrayLike = MEAN,
        output: str = "lgn",
        pixels: float | None = None,
        trials: int | None = None,
    ) -> xr.Dataset:
        """Mean rates from 50 to 200 ms after images were flashed.

        Parameters
        ----------
        screen : Screen
        images : numpy.ndarray, (image, y, x)
            cd/m².
        levels : array_like
            Even field in cd/m² that every image, or each, is flashed on.
        output : str
            "ganglion" or "lgn".
        pixels : float, optional
            From the middle within which cells are recorded; by default all.
        trials : int, optional
            Of a subject that fires; by default its own number.

        Returns
        -------
        xarray.Dataset
            `ganglion` and `lgn`, (image, …_channel, y, x), Hz.
        """
        return self.subject.simulate(
            luminance(images, screen.pixels_per_degree),
            adapt_to=np.broadcast_to(np.asarray(levels, dtype=float), len(images)).tolist(),
            duration=FLASH,
            window=WINDOW,
            output=output,
            workers=self.workers,
            record_within=None if pixels is None else pixels / screen.pixels_per_degree,
            **self._repeats(screen, output, pixels, trials),
        )[_recorded(output)]

    def _repeats(self, screen: Screen, output: str, pixels: float | None, trials: int | None) -> dict[str, float]:
        """Of a subject that fires, trials, and how far from the middle cells do on whom those depend that are recorded."""
        if not self.fires:
            return {}
        settings: dict[str, float] = {"trials": trials} if trials else {}
        if pixels is not None:
            value = self.subject.parameters.value
            widest = max(value(f"lgn.{cells}_suppression_space_constant") for cells in CELLS)
            reach = _SUPPRESSION * widest if output == "lgn" else 0.0
            settings["fires_within"] = pixels / screen.pixels_per_degree + reach
        return settings

    def flashed(self, screen: Screen, images: np.ndarray, levels: ArrayLike = MEAN, **settings: Any) -> xr.Dataset:
        """What flashed images add to the rates that stand before an even field; all as `rates`."""
        each = np.broadcast_to(np.asarray(levels, dtype=float), len(images))
        blanks, blank_of = np.unique(each, return_inverse=True)
        fields = np.broadcast_to(blanks[:, None, None], (len(blanks), *images.shape[1:]))
        found = self.rates(screen, np.concatenate([images, fields]), np.concatenate([each, blanks]), **settings)
        return found.isel(image=slice(0, len(images))) - found.isel(image=len(images) + blank_of)

    def filmed(
        self,
        films: np.ndarray,
        levels: ArrayLike = MEAN,
        output: str = "lgn",
        pixels: float = 0.5,
        trials: int | None = None,
    ) -> xr.Dataset:
        """Rates of the cells in the middle while films run.

        Parameters
        ----------
        films : numpy.ndarray, (film, frame, y, x)
            cd/m², in the frames `times` on the screen `film`.
        levels : array_like
            Even field in cd/m² before every film, or each.
        output, pixels, trials
            As in `rates`.

        Returns
        -------
        xarray.Dataset
            `ganglion` and `lgn`, (image, time, …_channel, y, x), Hz.
        """
        each = np.broadcast_to(np.asarray(levels, dtype=float), len(films))
        together = FILMS * batch_images(self.film.pixels, self.film.pixels)
        parts = []
        for first in range(0, len(films), together):
            chosen = slice(first, first + together)
            rates = self.subject.simulate(
                luminance(films[chosen], self.film.pixels_per_degree, FRAME),
                adapt_to=each[chosen].tolist(),
                duration=FILM,
                window=WINDOW,
                output=output,
                record="trace",
                workers=self.workers,
                record_within=pixels / self.film.pixels_per_degree,
                **self._repeats(self.film, output, pixels, trials),
            )
            parts.append(rates[_recorded(output)])
        return xr.concat(parts, "image")

    @property
    def fires(self) -> bool:
        """Whether rates are those of repeats, with the noise of spikes."""
        return isinstance(self.subject, Repeated)

    def smoothed(self, traces: np.ndarray) -> np.ndarray:
        """Traces (…, time) in the frames of a film, without the noise of spikes where there are spikes."""
        if not self.fires:
            return traces
        return ndimage.gaussian_filter1d(traces, _SMOOTHING / FRAME, axis=-1, mode="nearest")

    def counts(self, screen: Screen, images: np.ndarray, output: str, **settings: Any) -> xr.Dataset:
        """Counts (image, trial, …) of middle cells in `COUNTED_IN` after images (image, y, x) were flashed on their mean.

        Raises
        ------
        InputError
            For a subject that has rates.
        """
        if not isinstance(self.subject, Repeated):
            raise InputError(
                "counts of a subject without spikes are not accepted: give a pathway of fidelity 'spiking'"
            )
        return self.subject.counts(
            luminance(images, screen.pixels_per_degree),
            MEAN,
            duration=FLASH,
            window=COUNTED_IN,
            output=output,
            trials=COUNTED_TRIALS,
            workers=self.workers,
            record_within=screen.one_pixel,
            **settings,
        )

    def gratings(
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

        Of a subject that fires, neighbours stand for the middle cell before gratings that fill the screen
        (`biomodel.physiology.equivalent`).

        Parameters
        ----------
        cells : str
            A key of `CELLS`.
        frequencies, contrasts, mean, diameters : float or numpy.ndarray, (stimulus,)
            c/deg, 1, cd/m² and degrees; a grating of infinite diameter fills the screen.
        output : str
            "ganglion" or "lgn".
        trials : int, optional
            Of a subject that fires, before patches; by default its own number.

        Returns
        -------
        dict of station to numpy.ndarray, (ON and OFF, stimulus)
            What they add to the maintained rates of ganglion and relay cells, Hz.
        """
        columns = np.broadcast_arrays(*np.atleast_1d(frequencies, contrasts, mean, diameters))
        # Light or dark in the middle is best for ON or OFF cells there; in the rate form the others do no better.
        phases = PHASES[::2] if self.fires and np.isfinite(columns[3]).all() else PHASES
        images = [
            patched(self.wide.grating(f, phases), self.wide.disc(size), level, contrast)
            for f, contrast, level, size in zip(*columns, strict=True)
        ]
        shown: dict[str, Any] = {"output": output, "pixels": 0.5, "trials": trials}
        if self.fires and np.isinf(columns[3]).all():
            shown |= {"pixels": _FLASHED_NEIGHBOURS, "trials": _FLASHED_TRIALS}
        changes = self.flashed(self.wide, np.concatenate(images), np.repeat(columns[2], len(phases)), **shown)
        return {
            station: np.stack(
                [self._by_phase(changes, station, cell, columns[0], len(phases)).max(axis=1) for cell in CELLS[cells]]
            )
            for station in _recorded(output)
        }

    def _by_phase(
        self, changes: xr.Dataset, station: str, cell: str, frequencies: np.ndarray, phases: int
    ) -> np.ndarray:
        """What flashed gratings of so many phases evoke in the middle cell, neighbours in its place: (stimulus, phase)."""
        found = changes[station].sel({f"{station}_channel": cell}).transpose("image", "y", "x").values
        by_phase = found.reshape(-1, phases, *found.shape[1:])
        if by_phase[0, 0].size == 1:
            return by_phase[..., 0, 0]
        down, right = (_places(n, self.wide) for n in by_phase.shape[2:])
        told = [at_phases(one[..., None], 90.0, f, down, right) for one, f in zip(by_phase, frequencies, strict=True)]
        return np.stack(told)[..., 0]

    def frequency_tuning(self, cells: str) -> tuple[np.ndarray, np.ndarray]:
        """Spatial frequencies in c/deg, and the responses (ON and OFF, frequency) in Hz of a class of ganglion cells.

        Flashed gratings of contrast .25, which leaves the rates above 0.
        """
        frequencies = _FREQUENCIES / self.radius
        if cells not in self._tuning:
            self._tuning[cells] = self.gratings(cells, frequencies, 0.25, output="ganglion")["ganglion"]
        return frequencies, self._tuning[cells]

    def best_frequency(self, cells: str) -> float:
        """The spatial frequency, c/deg, at which a class of ganglion cells responds best, ON and OFF together."""
        frequencies, responses = self.frequency_tuning(cells)
        return measures.peak(frequencies, responses.mean(axis=0))[0]

    def drifting(self, cells: str, frequency: float) -> np.ndarray:
        """A grating of the best spatial frequency that drifts at `frequency` Hz, (frame, y, x), -1 to 1."""
        return self.film.grating(self.best_frequency(cells), 2 * np.pi * frequency * self.times)

    def harmonics(
        self,
        cells: str,
        station: str,
        temporal: float | np.ndarray,
        contrasts: float | np.ndarray,
        mean: float | np.ndarray = MEAN,
    ) -> np.ndarray:
        """First harmonics, complex (ON and OFF, stimulus) in Hz, of responses to drifting gratings of the best frequency.

        Parameters
        ----------
        temporal, contrasts, mean : float or numpy.ndarray, (stimulus,)
            Whole Hz, 1, cd/m².
        """
        columns = np.broadcast_arrays(*np.atleast_1d(temporal, contrasts, mean))
        films = [level * (1 + c * self.drifting(cells, f)) for f, c, level in zip(*columns, strict=True)]
        pixels = _DRIFTING_NEIGHBOURS if self.fires else 0.5
        rates = self.filmed(np.stack(films), columns[2], station, pixels, _DRIFTING_TRIALS)
        steady = rates.sel(time=slice(STEADY - FRAME / 2, None))
        best = self.best_frequency(cells)
        found = []
        for cell in CELLS[cells]:
            traces = steady[station].sel({f"{station}_channel": cell}).transpose("image", "y", "x", "time")
            by_cell = [
                measures.harmonic(trace, traces.time.values, f)
                for trace, f in zip(traces.values, columns[0], strict=True)
            ]
            down, right = (_places(traces.sizes[axis], self.film) for axis in ("y", "x"))
            found.append(in_phase(np.stack(by_cell, axis=-1), 90.0, best, down, right))
        return np.array(found)


def _recorded(output: str) -> list[str]:
    return ["ganglion", "lgn"][: 1 + (output == "lgn")]


def _places(cells: int, screen: Screen) -> np.ndarray:
    """Of so many cells in a row about the middle, degrees from it."""
    return (np.arange(cells) - cells // 2) / screen.pixels_per_degree


def rate_of(rates: xr.Dataset, station: str, cell: str) -> np.ndarray:
    """One kind of cell's rates, (image, …): of the cell in the middle, where a whole field was recorded."""
    found = rates[station].sel({f"{station}_channel": cell})
    if "y" in found.dims:
        found = found.isel(y=found.sizes["y"] // 2, x=found.sizes["x"] // 2)
    return found.values
