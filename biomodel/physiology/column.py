"""The V1 column in the middle of a screen: responses of its cells, and the properties of the cells found so far.

Cells are characterised by their responses to gratings alone, not by their labels. The response of a cell to a flashed grating
is that at the best of four phases for a simple cell and the mean over the phases for a complex cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from biomodel.circuit.specification import Region
from biomodel.engine.plan import batch_images
from biomodel.physiology import measures
from biomodel.physiology.recording import (
    FRAME,
    FULL_CONTRAST,
    MEAN,
    MOVIE,
    STEADY,
    Electrode,
    average_harmonics,
    in_chunks,
    movie_chunk,
    rates_from_neighbours,
)
from biomodel.physiology.screens import PHASES, Screen, frame_times

#: Orientations of the gratings that characterise cells, degrees.
ORIENTATIONS = 15.0 * np.arange(12)

#: Their spatial frequencies, in cycles a midget's centre radius: .25 to 5.7 c/deg at .05°.
_FREQUENCIES = 0.0125 * 2 ** (np.arange(10) / 2)

#: Luminances of uniform fields in which maintained rates are recorded, cd/m².
LEVELS = np.array([1.0, 10.0, MEAN, 1000.0])

#: A cell is responsive if its response to the best grating is above this, Hz (Marques 2021).
LOWEST_RESPONSE = 5.0

#: A grating drives a cell in which it evokes this share of the response to the best grating.
DRIVING_SHARE = 0.85

#: Distance from the middle in pixels within which V1 is simulated if its stimuli are uniform gratings: .75° on the fine screen,
#: for a radius of .05°.
_V1_PIXELS = 12.0

#: For a spiking subject: distance from the middle in pixels of the columns that replace trials of the middle one, for flashed
#: and for drifting gratings (7 × 7 and 5 × 5 columns), and trials of each.
_FLASH_NEIGHBOURS, _DRIFT_NEIGHBOURS, _NEIGHBOURS_TRIALS = 6.5, 4.5, 1

#: Trials of patches and surrounds, for which V1 is simulated for the full screen.
_PATCH_TRIALS = 2

#: Presentations of a uniform field: five of .15 s give 37 spikes from 49 columns at 1 Hz.
_SPONTANEOUS_TRIALS = 5

#: Batches of images whose responses are in memory together, for any number of processes: noise depends on it.
_BATCHES = 16


@dataclass(frozen=True)
class Characterisation:
    """Responses of a column's cells to flashed gratings of full contrast that fill the screen.

    `spontaneous` rates (cell,) are in Hz, `frequencies` in c/deg, `rates` (orientation, frequency, phase, cell) in Hz;
    `modulation` (cell,) is F1/F0 over the phases of the best grating.
    """

    spontaneous: np.ndarray
    frequencies: np.ndarray
    rates: np.ndarray
    modulation: np.ndarray

    @property
    def simple(self) -> np.ndarray:
        """Whether a cell is simple (F1/F0 > 1), (cell,)."""
        return self.modulation > 1

    @cached_property
    def responses(self) -> np.ndarray:
        """Responses at the best phase, or averaged over phases: (orientation, frequency, cell) in Hz."""
        return pool_phases(self.rates, self.simple)

    @cached_property
    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the best grating's orientation and frequency, each (cell,)."""
        orientation, frequency = np.unravel_index(_by_grating(self.responses).argmax(axis=0), self.responses.shape[:2])
        return orientation, frequency

    @cached_property
    def peak(self) -> np.ndarray:
        """Response to the best grating, (cell,) in Hz."""
        return self.responses[*self.best, np.arange(len(self.spontaneous))]

    @property
    def responsive(self) -> np.ndarray:
        """Indices of the responsive cells."""
        return np.flatnonzero(self.peak > LOWEST_RESPONSE)

    @property
    def orientation_curves(self) -> np.ndarray:
        """Responsive cells' responses at their best frequency, (cell, orientation) in Hz."""
        return self.responses[:, self.best[1][self.responsive], self.responsive].T

    @property
    def frequency_curves(self) -> np.ndarray:
        """Responsive cells' responses at their best orientation, (cell, frequency) in Hz."""
        return self.responses[self.best[0][self.responsive], :, self.responsive]


@dataclass(frozen=True)
class Panel:
    """A few of the gratings of the characterisation, and the indices of the `cells` (driven,) that they drive.

    `orientation` and `frequency` (grating,) are indices into `ORIENTATIONS` and the frequencies of the characterisation;
    `grating` (driven,) is the one of the panel that evokes the highest response in each cell.
    """

    orientation: np.ndarray
    frequency: np.ndarray
    cells: np.ndarray
    grating: np.ndarray

    def __len__(self) -> int:
        return len(self.orientation)

    @property
    def gratings(self) -> list[tuple[int, int]]:
        """The indices of each grating's orientation and frequency."""
        return list(zip(self.orientation.tolist(), self.frequency.tolist(), strict=True))

    def select(self, responses: np.ndarray) -> np.ndarray:
        """Every cell's response to its own grating: (…, driven), from (…, grating, cell)."""
        return responses[..., self.grating, self.cells]


@dataclass(frozen=True)
class DriftResponse:
    """Responses to one drifting grating, Hz: `mean` and `first` harmonic of V1 cells, first harmonic of `relay` cells."""

    mean: np.ndarray
    first: np.ndarray
    relay: np.ndarray


@dataclass(frozen=True)
class SizeSeries:
    """Responses of a panel's cells to patches of increasing `diameters` (degrees) on one screen.

    `evoked` is (contrast, diameter, driven) in Hz, at `Column.size_contrasts`.
    """

    screen: Screen
    panel: Panel
    diameters: np.ndarray
    evoked: np.ndarray


class Column:
    """The cells of the V1 column in the middle of a screen, and the measurements that experiments share.

    Screens have 4n + 1 pixels along a side, so that a V1 column, which is at every second pixel, is in the middle. They are
    larger if the largest classical centre of the subject is.

    Parameters
    ----------
    electrode : Electrode
    """

    #: Of the patches of size tuning.
    size_contrasts = (0.12, FULL_CONTRAST)

    def __init__(self, electrode: Electrode) -> None:
        self._electrode, self.smooth = electrode, electrode.smooth
        radius = electrode.radius
        #: 3.8° at a centre radius of .05°, for flashed gratings.
        self.fine = self._screen(61, 0.8 / radius)
        #: 7.1°, for patches that reach beyond surrounds; it shows `coarse_limit` cycles a degree in four pixels.
        self.coarse = self._screen(57, 0.4 / radius)
        self.coarse_limit = 0.1 / radius
        #: 2.1°, for movies.
        self.movie = self._screen(33, 0.8 / radius)
        #: 2.6°, for movies of minutes: four fill a network, which takes less time than seven of `movie`.
        self.long = self._screen(41, 0.8 / radius)
        #: The middle of each frame of a movie, seconds.
        self.times = frame_times(MOVIE, FRAME)
        #: Of the gratings of the characterisation, c/deg.
        self.frequencies = _FREQUENCIES / radius
        #: The preset of the subject's parameters.
        self.preset = electrode.subject.parameters.preset
        self._drifts: dict[tuple[int, int, float], DriftResponse] = {}

    def _screen(self, pixels: int, pixels_per_degree: float) -> Screen:
        classical_centre = getattr(self._electrode.subject, "classical_centre", None)
        smallest = classical_centre(pixels_per_degree) if classical_centre else 1
        return Screen(max(pixels, smallest + (1 - smallest) % 4), pixels_per_degree)

    def rates(
        self, screen: Screen, images: Iterable[np.ndarray], levels: float | np.ndarray = MEAN, full_v1: bool = False
    ) -> np.ndarray:
        """Mean rates over the 200 ms after the onset of images: (image, cell), Hz.

        Parameters
        ----------
        screen : Screen
        images : iterable of numpy.ndarray, (y, x)
            cd/m².
        levels : float or numpy.ndarray, (image,)
            Luminance in cd/m² of the uniform field before all images, or before each.
        full_v1 : bool
            Whether V1 is simulated for the full screen; otherwise only for its middle, where its layers end.
        """
        settings = {"trials": _PATCH_TRIALS} if full_v1 and self._electrode.spiking else {}
        parts = self._responses(screen, images, levels, full_v1, **settings)
        return np.concatenate([_middle_column(part) for part in parts])

    def _responses(
        self,
        screen: Screen,
        images: Iterable[np.ndarray],
        levels: float | np.ndarray = MEAN,
        full_v1: bool = False,
        pixels: float = 0.5,
        **settings: int,
    ) -> Iterator[xr.Dataset]:
        """Responses of the columns up to a distance from the middle in pixels, for many images at a time."""
        each = repeat(levels) if np.ndim(levels) == 0 else np.asarray(levels).tolist()
        for chunk in in_chunks(zip(images, each, strict=False), _BATCHES * batch_images(screen.pixels, screen.pixels)):
            shown, before = zip(*chunk, strict=True)
            region = self._region(screen, pixels, full_v1)
            yield self._electrode.flash(screen, shown, list(before), output="v1", region=region, **settings)

    @staticmethod
    def _region(screen: Screen, pixels: float, full_v1: bool = False) -> Region:
        """Where cells are recorded, and V1 is simulated."""
        ppd = screen.pixels_per_degree
        return Region(pixels / ppd, None if full_v1 else _V1_PIXELS / ppd)

    def grating_rates(self, contrast: ArrayLike, orientation: ArrayLike, frequency: ArrayLike) -> np.ndarray:
        """Rates for flashed gratings that fill the `fine` screen, at each of `PHASES`: (…, phase, cell), Hz.

        `orientation` and `frequency` are indices into `ORIENTATIONS` and `frequencies`; all are broadcast to (…). For a
        spiking subject, columns around the middle replace trials of the middle one.
        """
        each = np.broadcast_arrays(
            contrast, ORIENTATIONS[np.asarray(orientation)], self.frequencies[np.asarray(frequency)]
        )
        gratings = list(zip(*(one.ravel().tolist() for one in each), strict=True))
        if not gratings or not self.n_cells:
            return np.zeros((*each[0].shape, len(PHASES), self.n_cells))
        waves = (c * self.fine.grating(f, phase, o) for c, o, f in gratings for phase in PHASES)
        images = (MEAN * (1 + wave) for wave in waves)
        if not self._electrode.spiking:
            return self.rates(self.fine, images).reshape(*each[0].shape, len(PHASES), -1)
        parts = self._responses(self.fine, images, pixels=_FLASH_NEIGHBOURS, trials=_NEIGHBOURS_TRIALS)
        v1 = xr.concat([_columns(part) for part in parts], "image").transpose("image", "v1_y", "v1_x", "cell")
        down, right = _from_middle(v1["v1_y"]), _from_middle(v1["v1_x"])
        by_phase = v1.values.reshape(len(gratings), len(PHASES), *v1.shape[1:])
        rates = [
            rates_from_neighbours(one, o, f, down, right) for one, (_, o, f) in zip(by_phase, gratings, strict=True)
        ]
        return np.reshape(rates, (*each[0].shape, len(PHASES), -1))

    @cached_property
    def maintained_rates(self) -> np.ndarray:
        """Rates in uniform fields of the luminances `LEVELS`: (level, cell), Hz."""
        fields = (np.full((self.fine.pixels,) * 2, level) for level in LEVELS)
        if not self._electrode.spiking:
            return self.rates(self.fine, fields, LEVELS)
        images = (field for field in fields for _ in range(_SPONTANEOUS_TRIALS))
        levels = np.repeat(LEVELS, _SPONTANEOUS_TRIALS)
        parts = self._responses(self.fine, images, levels, pixels=_FLASH_NEIGHBOURS, trials=_NEIGHBOURS_TRIALS)
        rates = np.concatenate([_columns(part).mean(("v1_y", "v1_x")).values for part in parts])
        return rates.reshape(len(LEVELS), _SPONTANEOUS_TRIALS, -1).mean(axis=1)

    @property
    def spontaneous_rates(self) -> np.ndarray:
        """Rates in a uniform field of the mean luminance: (cell,), Hz."""
        return self.maintained_rates[LEVELS == MEAN][0]

    @property
    def n_cells(self) -> int:
        """Number of V1 cells in the column; 0 for a subject without V1."""
        return self.maintained_rates.shape[1]

    @cached_property
    def characterisation(self) -> Characterisation:
        """Responses to flashed gratings of full contrast, 12 orientations × 10 spatial frequencies × 4 phases."""
        orientation, frequency = np.indices((len(ORIENTATIONS), len(self.frequencies)))
        rates = self.grating_rates(FULL_CONTRAST, orientation, frequency)
        best = _by_grating(rates.max(axis=2)).argmax(axis=0)
        by_phase = np.stack([_by_grating(rates[:, :, k]) for k in range(len(PHASES))])[:, best, np.arange(self.n_cells)]
        modulation = measures.modulation_ratio(PHASES, by_phase - self.spontaneous_rates)
        return Characterisation(self.spontaneous_rates, self.frequencies, rates, modulation)

    def evoked(self, rates: np.ndarray, panel: Panel) -> np.ndarray:
        """Responses of a panel's cells less their spontaneous rates: (…, driven), from rates (…, grating, phase, cell)."""
        responses = panel.select(pool_phases(rates, self.characterisation.simple))
        return responses - self.spontaneous_rates[panel.cells]

    def panel(self, gratings: int, among: np.ndarray | None = None) -> Panel:
        """The fewest gratings that drive most of the responsive cells.

        There are at most `gratings`; `among` (cell,) selects cells. They are chosen one after the other: the one that drives
        most of the cells not driven yet, and among equals the one that evokes most. A panel of fewer gratings is the
        beginning of a panel of more.
        """
        found = self.characterisation
        responsive = found.responsive if among is None else found.responsive[among[found.responsive]]
        evoked = _by_grating(found.responses - found.spontaneous)[:, responsive]
        share = evoked / evoked.max(axis=0, initial=1e-9)
        remaining = np.ones(len(responsive), dtype=bool)
        chosen: list[int] = []
        while remaining.any() and len(chosen) < gratings:
            driving = (share >= DRIVING_SHARE) & remaining
            top = int((driving.sum(axis=1) + (share * driving).sum(axis=1) / (len(responsive) + 1)).argmax())
            chosen.append(top)
            remaining &= ~driving[top]
        indices = np.array(chosen, dtype=int)
        orientation, frequency = np.unravel_index(indices, found.responses.shape[:2])
        if not chosen:
            return Panel(orientation, frequency, np.zeros(0, dtype=int), np.zeros(0, dtype=int))
        driven = np.flatnonzero(~remaining)
        return Panel(orientation, frequency, responsive[driven], share[indices][:, driven].argmax(axis=0))

    def panel_gratings(self, screen: Screen, panel: Panel, turn: float = 0.0) -> np.ndarray:
        """The gratings of a panel on a screen, turned by some degrees: (grating, phase, y, x), -1 to 1."""
        gratings = [screen.grating(self.frequencies[f], PHASES, ORIENTATIONS[o] + turn) for o, f in panel.gratings]
        return np.reshape(gratings, (len(panel), len(PHASES), screen.pixels, screen.pixels))

    def evoked_by(self, screen: Screen, panel: Panel, patterns: np.ndarray, full_v1: bool = False) -> np.ndarray:
        """Evoked responses of a panel's cells to flashed patterns: (…, driven), Hz.

        Parameters
        ----------
        screen : Screen
        panel : Panel
        patterns : numpy.ndarray, (…, grating, phase, y, x)
            Contrast at each pixel, about the mean luminance.
        full_v1 : bool
            As in `rates`.
        """
        shape = (*patterns.shape[:-2], self.n_cells)
        if not self.n_cells or not patterns.size:
            return self.evoked(np.zeros(shape), panel)
        images = MEAN * (1 + patterns)
        rates = self.rates(screen, images.reshape(-1, *images.shape[-2:]), full_v1=full_v1)
        return self.evoked(rates.reshape(shape), panel)

    @cached_property
    def contrast_series(self) -> tuple[Panel, np.ndarray, np.ndarray]:
        """A panel of 16 gratings, contrasts, and evoked responses (contrast, driven) in Hz."""
        panel = self.panel(16)
        contrasts = np.array([0.03, 0.06, 0.12, 0.25, FULL_CONTRAST / 2, 0.7, FULL_CONTRAST])
        lower = self.grating_rates(contrasts[:-1, None], panel.orientation, panel.frequency)
        # The characterisation has those of full contrast.
        full = self.characterisation.rates[panel.orientation, panel.frequency]
        return panel, contrasts, np.concatenate([self.evoked(lower, panel), self.evoked(full, panel)[None]])

    @cached_property
    def size_series(self) -> tuple[SizeSeries, SizeSeries]:
        """Patches of two panels of 4 gratings: cells of low frequency on the `coarse`, the others on the `fine` screen."""
        low = self.frequencies[self.characterisation.best[1]] <= self.coarse_limit * (1 + 1e-9)
        return self._sizes(self.coarse, low), self._sizes(self.fine, ~low)

    def _sizes(self, screen: Screen, among: np.ndarray) -> SizeSeries:
        panel = self.panel(4, among)
        diameters = screen.pixels / screen.pixels_per_degree * np.geomspace(1 / 24, 1, 8)
        gratings = self.panel_gratings(screen, panel)
        windows = [screen.disc(diameter) for diameter in diameters]
        evoked = [
            [self.evoked_by(screen, panel, c * window * gratings, full_v1=True) for window in windows]
            for c in self.size_contrasts
        ]
        return SizeSeries(screen, panel, diameters, np.reshape(evoked, (2, len(diameters), len(panel.cells))))

    def movie_rates(
        self,
        movies: Iterable[np.ndarray],
        neighbours: bool = False,
        screen: Screen | None = None,
        full_v1: bool = False,
        frame: float = FRAME,
        duration: float | None = None,
    ) -> xr.Dataset:
        """Rates during movies, from a uniform field of the mean luminance.

        Parameters
        ----------
        movies : iterable of numpy.ndarray, each (frame, y, x)
            cd/m²; all of the same length.
        neighbours : bool
            Whether the neighbours of the middle column of a spiking subject are recorded too, in a single trial.
        screen : Screen, optional
            By default `movie`.
        full_v1 : bool
            As in `rates`.
        frame, duration : float
            Seconds, as for `Electrode.play`.

        Returns
        -------
        xarray.Dataset
            `v1` (image, time, v1_y, v1_x, cell) and `lgn` (image, time, y, x, lgn_channel), Hz.
        """
        screen = screen or self.movie
        around = neighbours and self._electrode.spiking
        settings: dict[str, Any] = {"trials": _NEIGHBOURS_TRIALS} if around else {}
        pixels = _DRIFT_NEIGHBOURS if around else 0.5
        parts = []
        for chunk in in_chunks(movies, movie_chunk(screen)):
            region = self._region(screen, pixels, full_v1)
            rates = self._electrode.play(screen, chunk, MEAN, frame, duration, output="v1", region=region, **settings)
            relay = rates["lgn"].transpose("image", "time", "y", "x", "lgn_channel")
            parts.append(xr.Dataset({"lgn": relay, "v1": _columns(rates)}))
        return xr.concat(parts, "image")

    def count_variability(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Mean spike counts and Fano factors of a panel's cells at the phases of its gratings, where they are known."""
        if not len(panel):
            return np.zeros(0), np.zeros(0)
        gratings = self.panel_gratings(self.movie, panel).reshape(-1, self.movie.pixels, self.movie.pixels)
        within = _V1_PIXELS / self.movie.pixels_per_degree
        images = MEAN * (1 + FULL_CONTRAST * gratings)
        counts = _middle_column(self._electrode.spike_counts(self.movie, images, "v1", within))
        by_trial = np.moveaxis(counts, 1, 0)  # (trial, image, cell)
        mean, factor = (
            panel.select(np.moveaxis(one, 1, 0)).ravel()
            for one in measures.fano_factors(by_trial.reshape(len(by_trial), len(panel), len(PHASES), -1))
        )
        return mean[np.isfinite(factor)], factor[np.isfinite(factor)]

    @property
    def spiking(self) -> bool:
        """Whether rates are averages over trials, with the noise of spikes."""
        return self._electrode.spiking

    def counts_in_time(
        self, panel: Panel, contrast: float, trials: int, step: float, duration: float = 0.3
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spike counts of a panel's cells in time, after the onset of nothing and of the panel's gratings.

        Parameters
        ----------
        panel : Panel
        contrast : float
        trials : int
        step, duration : float
            Seconds of a bin, and of the presentation.

        Returns
        -------
        blank : numpy.ndarray, (driven, trial, bin)
        counts : numpy.ndarray, (driven, phase, trial, bin)

        Raises
        ------
        InputError
            For a subject of rates.
        """
        gratings = self.panel_gratings(self.movie, panel).reshape(-1, self.movie.pixels, self.movie.pixels)
        images = MEAN * (1 + contrast * np.concatenate([0 * gratings[:1], gratings]))
        region = self._region(self.movie, 0.5)
        v1 = self._electrode.spike_traces(self.movie, images, duration, trials, output="v1", region=region).v1
        counts = v1.transpose("image", "trial", "v1_channel", "time", "v1_y", "v1_x").values[..., 0, 0]
        bins = round(duration / step)
        counts = counts.reshape(*counts.shape[:3], bins, -1).sum(axis=-1)
        blank = np.moveaxis(counts[0][:, panel.cells], 1, 0)
        by_grating = counts[1:].reshape(len(panel), len(PHASES), *counts.shape[1:])
        chosen = panel.select(np.moveaxis(by_grating, (0, 3), (-2, -1)))  # (phase, trial, bin, driven)
        return blank, np.moveaxis(chosen, -1, 0)

    def lesioned(self, lesion: str) -> Column | None:
        """The column of the same pathway without a mechanism; None for a subject that is not a pathway."""
        electrode = self._electrode.lesioned(lesion)
        return None if electrode is None else Column(electrode)

    def drifting_grating(
        self, orientation: int, frequency: int, temporal: float, times: ArrayLike, screen: Screen | None = None
    ) -> np.ndarray:
        """Make a drifting grating of the characterisation.

        Parameters
        ----------
        orientation, frequency : int
            Indices in `ORIENTATIONS` and `frequencies`.
        temporal : float
            Temporal frequency, Hz.
        times : array_like, (time,)
            Seconds.
        screen : Screen, optional
            By default `movie`.

        Returns
        -------
        numpy.ndarray, (time, y, x), from -1 to 1
        """
        phases = 2 * np.pi * temporal * np.asarray(times)
        return (screen or self.movie).grating(self.frequencies[frequency], phases, ORIENTATIONS[orientation])

    def drift_responses(self, panel: Panel, temporal: Iterable[float]) -> dict[str, np.ndarray]:
        """Responses to a panel's gratings of full contrast that drift at `temporal` frequencies (whole Hz).

        From half a second after the onset: `mean` and `first` harmonic of V1 cells, (frequency, driven), and first harmonics
        of `relay` cells, (frequency, grating and channel); Hz.
        """
        keys = [[(o, f, hz) for o, f in panel.gratings] for hz in temporal]
        missing = [key for row in keys for key in row if key not in self._drifts]
        if missing:
            movies = (MEAN * (1 + FULL_CONTRAST * self.drifting_grating(*key, self.times)) for key in missing)
            steady = self.movie_rates(movies, neighbours=True).sel(time=slice(STEADY - FRAME / 2, None))
            means = steady["v1"].mean(("time", "v1_y", "v1_x")).values
            for k, key in enumerate(missing):
                v1, relay = (self._first_harmonics(steady[station][k], key) for station in ("v1", "lgn"))
                self._drifts[key] = DriftResponse(means[k], v1, relay)
        rows = [[self._drifts[key] for key in row] for row in keys]
        return {
            "mean": panel.select(np.array([[one.mean for one in row] for row in rows])),
            "first": panel.select(np.array([[one.first for one in row] for row in rows])),
            "relay": np.array([np.concatenate([one.relay for one in row]) for row in rows]),
        }

    def _first_harmonics(self, traces: xr.DataArray, grating: tuple[int, int, float]) -> np.ndarray:
        """Amplitudes (cell,) of responses (time, y, x, cell) to a drifting grating, of the middle and its neighbours."""
        orientation, frequency, temporal = grating
        down, right = (_from_middle(traces[axis]) for axis in traces.dims[1:3])
        harmonics = measures.first_harmonic(traces.transpose(..., "time").values, traces.time.values, temporal)
        at = ORIENTATIONS[orientation], self.frequencies[frequency]
        return np.abs(average_harmonics(harmonics, *at, down, right))

    @cached_property
    def drift_modulation(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells, and their F1/F0 (cell,) for gratings of full contrast, a panel of 24, that drift at 4 Hz.

        F1 is the amplitude of the first harmonic, F0 the mean less the spontaneous rate. Cells whose F1 or mean is above
        5 Hz, and whose F0 is above 0.
        """
        panel = self.panel(24)
        if not len(panel):
            return panel.cells, np.zeros(0)
        responses = self.drift_responses(panel, [4])
        mean, first = responses["mean"][0], responses["first"][0]
        raised = mean - self.spontaneous_rates[panel.cells]
        responsive = (np.maximum(mean, first) > LOWEST_RESPONSE) & (raised > 0)
        return panel.cells[responsive], first[responsive] / raised[responsive]


def pool_phases(rates: np.ndarray, simple: np.ndarray) -> np.ndarray:
    """Responses (…, cell) from rates (…, phase, cell): at the best phase of `simple` cells, the mean of the others."""
    return np.where(simple, rates.max(axis=-2), rates.mean(axis=-2))


def _by_grating(values: np.ndarray) -> np.ndarray:
    """(grating, cell) from (orientation, frequency, cell)."""
    orientations, frequencies, cells = values.shape
    return values.reshape(orientations * frequencies, cells)


def _columns(rates: xr.Dataset) -> xr.DataArray:
    """Rates of V1 (…, v1_y, v1_x, cell); without cells where there is no V1."""
    if "v1" in rates:
        v1 = rates["v1"].transpose(..., "v1_y", "v1_x", "v1_channel")
        return v1.drop_vars("v1_channel", errors="ignore").rename(v1_channel="cell")
    shape = {name: rates.sizes[name] for name in ("image", "time") if name in rates.dims}
    empty = xr.DataArray(np.zeros((*shape.values(), 1, 1, 0)), dims=(*shape, "v1_y", "v1_x", "cell"))
    return empty.assign_coords(v1_y=[0.0], v1_x=[0.0])


def _middle_column(rates: xr.Dataset) -> np.ndarray:
    """Rates of V1 (…, cell) in the column in the middle of the screen."""
    return _columns(rates).values[..., 0, 0, :]


def _from_middle(positions: xr.DataArray) -> np.ndarray:
    """Positions in degrees relative to the one in the middle."""
    return positions.values - positions.values[len(positions) // 2]
