"""The V1 column in the middle of a screen: what its cells answer, and what was already found of them.

Cells are characterised by their responses to gratings alone, whatever a subject labels them. A cell's answer to a
flashed grating is that at the best of four phases for a simple cell and the mean over the phases for a complex one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from biomodel.engine.run import batch_images
from biomodel.physiology import measures, tuning
from biomodel.physiology.equivalent import at_phases, in_phase
from biomodel.physiology.recording import FILM, FILMS, FLASH, FRAME, FULL_CONTRAST, MEAN, STEADY, WINDOW, Preparation
from biomodel.physiology.screens import PHASES, Screen, frame_times
from biomodel.stimuli import luminance

#: Of the gratings by which cells are characterised, degrees.
ORIENTATIONS = 15.0 * np.arange(12)

#: Their spatial frequencies, in cycles a midget's centre radius: .25 to 5.7 c/deg at .05°.
_FREQUENCIES = 0.0125 * 2 ** (np.arange(10) / 2)

#: Luminances of even fields before which cells are recorded, cd/m².
LEVELS = np.array([1.0, 10.0, MEAN, 1000.0])

#: Cells count that answer their best grating with more than this, Hz (Marques 2021).
COUNTED = 5.0

#: A grating serves a cell in which it evokes this share of what the best one does.
NEAR = 0.85

#: Pixels from the middle to which V1 stands where all it sees is alike: .75° on the fine screen, for a radius of .05°.
_CORTEX = 12.0

#: Of a subject that fires: pixels from the middle within which columns stand for the middle one before flashed and before
#: drifting gratings, 7 × 7 and 5 × 5 of them, and trials of each.
_FLASHED_NEIGHBOURS, _DRIFTING_NEIGHBOURS, _NEIGHBOURS_TRIALS = 6.5, 4.5, 1

#: Trials of patches and surrounds, behind which V1 stands behind all of the screen.
_PATCH_TRIALS = 2

#: Times that an even field is shown: in .15 s 49 columns of 1 Hz fire 37 spikes in so many.
_SPONTANEOUS_TIMES = 5

#: Batches whose responses are in memory together, whatever the number of processes: noise depends on it.
_BATCHES = 16


@dataclass(frozen=True)
class Characterisation:
    """What flashed gratings of full contrast that fill the screen told of the cells of a column.

    Parameters
    ----------
    spontaneous : numpy.ndarray, (cell,)
        Rate before an even field, Hz.
    frequencies : numpy.ndarray, (frequency,)
        c/deg.
    rates : numpy.ndarray, (orientation, frequency, phase, cell)
        Hz.
    modulation : numpy.ndarray, (cell,)
        F1/F0 over the phases of the best grating.
    """

    spontaneous: np.ndarray
    frequencies: np.ndarray
    rates: np.ndarray
    modulation: np.ndarray

    @property
    def simple(self) -> np.ndarray:
        """(cell,): whether the phase of its best grating matters to a cell more than not (F1/F0 > 1)."""
        return self.modulation > 1

    @cached_property
    def answers(self) -> np.ndarray:
        """(orientation, frequency, cell) in Hz: at the best phase, or averaged over phases."""
        return read(self.rates, self.simple)

    @cached_property
    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the best grating's orientation and frequency, each (cell,)."""
        orientation, frequency = np.unravel_index(by_grating(self.answers).argmax(axis=0), self.answers.shape[:2])
        return orientation, frequency

    @cached_property
    def peak(self) -> np.ndarray:
        """(cell,): the answer to the best grating, Hz."""
        return self.answers[*self.best, np.arange(len(self.spontaneous))]

    @property
    def counted(self) -> np.ndarray:
        """Indices of the cells that count."""
        return np.flatnonzero(self.peak > COUNTED)


@dataclass(frozen=True)
class Panel:
    """A few gratings, of those that cells were characterised by, and the cells that they serve.

    Parameters
    ----------
    orientation, frequency : numpy.ndarray of int, (grating,)
        Indices into `ORIENTATIONS` and the frequencies of the characterisation.
    cells : numpy.ndarray of int, (served,)
    grating : numpy.ndarray of int, (served,)
        Which grating serves each: of those in the panel, the one that evokes most.
    """

    orientation: np.ndarray
    frequency: np.ndarray
    cells: np.ndarray
    grating: np.ndarray

    def __len__(self) -> int:
        return len(self.orientation)

    def served(self, responses: np.ndarray) -> np.ndarray:
        """Every cell's response to the grating that serves it: (…, served), from (…, grating, cell)."""
        return responses[..., self.grating, self.cells]


@dataclass(frozen=True)
class Drift:
    """Responses to one drifting grating, Hz: of V1 cells `mean` and `first` harmonic (cell,), of `relay` cells the first."""

    mean: np.ndarray
    first: np.ndarray
    relay: np.ndarray


@dataclass(frozen=True)
class SizeSeries:
    """What patches of growing `diameters` (degrees) on one screen evoke in the cells of a panel.

    `evoked` is (contrast, diameter, served) in Hz, at `Column.size_contrasts`.
    """

    screen: Screen
    panel: Panel
    diameters: np.ndarray
    evoked: np.ndarray


class Column:
    """The cells of one V1 column, screens with it in the middle, and what experiments share.

    Screens have a pixel more than a multiple of four along a side, so that a V1 column, which stands on every second
    pixel, is in the middle. Where a subject says that its largest classical centre is wider, they grow.

    Parameters
    ----------
    preparation : Preparation
    """

    #: Of the patches of size tuning.
    size_contrasts = (0.12, FULL_CONTRAST)

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation
        radius = preparation.radius
        #: 3.8° at a centre radius of .05°, for flashed gratings.
        self.fine = self._screen(61, 0.8 / radius)
        #: 7.1°, for patches that reach beyond surrounds; it shows `coarse_limit` cycles a degree in four pixels.
        self.coarse = self._screen(57, 0.4 / radius)
        self.coarse_limit = 0.1 / radius
        #: 2.1°, for films.
        self.film = self._screen(33, 0.8 / radius)
        #: The middle of each frame of a film, seconds.
        self.times = frame_times(FILM, FRAME)
        #: Of the gratings of the characterisation, c/deg.
        self.frequencies = _FREQUENCIES / radius
        #: The preset of the subject's parameters.
        self.preset = preparation.subject.parameters.preset
        self._drifts: dict[tuple[int, int, float], Drift] = {}

    def _screen(self, pixels: int, pixels_per_degree: float) -> Screen:
        classical_centre = getattr(self._preparation.subject, "classical_centre", None)
        smallest = classical_centre(pixels_per_degree) if classical_centre else 1
        return Screen(max(pixels, smallest + (1 - smallest) % 4), pixels_per_degree)

    def rates(
        self, screen: Screen, images: Iterable[np.ndarray], levels: float | np.ndarray = MEAN, whole: bool = False
    ) -> np.ndarray:
        """Mean rates from 50 to 200 ms after images were flashed on even fields: (image, cell), Hz.

        Parameters
        ----------
        screen : Screen
        images : iterable of numpy.ndarray, (y, x)
            cd/m².
        levels : float or numpy.ndarray, (image,)
            Of the even field before all, or each, cd/m².
        whole : bool
            Whether V1 stands behind all of the screen; else, behind its middle, where its layers end.
        """
        settings = {"trials": _PATCH_TRIALS} if whole and self._preparation.fires else {}
        return np.concatenate(
            [_middle_column(found) for found in self._shown(screen, images, levels, whole, **settings)]
        )

    def _shown(
        self,
        screen: Screen,
        images: Iterable[np.ndarray],
        levels: float | np.ndarray = MEAN,
        whole: bool = False,
        pixels: float = 0.5,
        **settings: int,
    ) -> Iterator[xr.Dataset]:
        """Responses of the columns within some pixels of the middle, many images at a time; else as `rates`."""
        together = _BATCHES * batch_images(screen.pixels, screen.pixels)
        shown, first = iter(images), 0
        while chosen := list(islice(shown, together)):
            before = levels if np.ndim(levels) == 0 else np.asarray(levels)[first : first + len(chosen)].tolist()
            yield self._preparation.subject.simulate(
                luminance(np.stack(chosen), screen.pixels_per_degree),
                adapt_to=np.broadcast_to(before, len(chosen)).tolist(),
                duration=FLASH,
                window=WINDOW,
                output="v1",
                workers=self._preparation.workers,
                v1_within=None if whole else _CORTEX / screen.pixels_per_degree,
                record_within=pixels / screen.pixels_per_degree,
                **settings,
            )
            first += len(chosen)

    def flashed(self, screen: Screen, images: np.ndarray, whole: bool = False) -> np.ndarray:
        """Rates of the cells after images were flashed: (…, cell) in Hz, from (…, y, x) in cd/m²; `whole` as in `rates`."""
        if not self.cells or not images.size:
            return np.zeros((*images.shape[:-2], self.cells))
        found = self.rates(screen, images.reshape(-1, *images.shape[-2:]), whole=whole)
        return found.reshape(*images.shape[:-2], self.cells)

    def gratings(self, contrast: ArrayLike, orientation: ArrayLike, frequency: ArrayLike) -> np.ndarray:
        """Rates before flashed gratings that fill the `fine` screen, at each of `PHASES`: (…, phase, cell), Hz.

        Of a subject that fires, columns about the middle stand for the middle one (`biomodel.physiology.equivalent`).

        Parameters
        ----------
        contrast : array_like
        orientation, frequency : array_like of int
            Indices into `ORIENTATIONS` and `frequencies`; all three are broadcast to (…).
        """
        shown = (contrast, ORIENTATIONS[np.asarray(orientation)], self.frequencies[np.asarray(frequency)])
        each = np.broadcast_arrays(*shown)
        listed = list(zip(*(one.ravel().tolist() for one in each), strict=True))
        if not listed or not self.cells:
            return np.zeros((*each[0].shape, len(PHASES), self.cells))
        waves = (c * self.fine.grating(f, phase, o) for c, o, f in listed for phase in PHASES)
        images = (MEAN * (1 + wave) for wave in waves)
        if not self._preparation.fires:
            return self.rates(self.fine, images).reshape(*each[0].shape, len(PHASES), -1)
        parts = self._shown(self.fine, images, pixels=_FLASHED_NEIGHBOURS, trials=_NEIGHBOURS_TRIALS)
        found = xr.concat([part["v1"] for part in parts], "image").transpose("image", "v1_y", "v1_x", "v1_channel")
        down, right = _from_middle(found["v1_y"]), _from_middle(found["v1_x"])
        by_phase = found.values.reshape(len(listed), len(PHASES), *found.shape[1:])
        rates = [at_phases(one, o, f, down, right) for one, (_, o, f) in zip(by_phase, listed, strict=True)]
        return np.reshape(rates, (*each[0].shape, len(PHASES), -1))

    @cached_property
    def maintained(self) -> np.ndarray:
        """Rates before even fields of the luminances `LEVELS`: (level, cell), Hz."""
        fields = (np.full((self.fine.pixels,) * 2, level) for level in LEVELS)
        if not self._preparation.fires:
            return self.rates(self.fine, fields, LEVELS)
        shown = (field for field in fields for _ in range(_SPONTANEOUS_TIMES))
        levels = np.repeat(LEVELS, _SPONTANEOUS_TIMES)
        parts = self._shown(self.fine, shown, levels, pixels=_FLASHED_NEIGHBOURS, trials=_NEIGHBOURS_TRIALS)
        rates = np.concatenate([_columns(part).mean(("v1_y", "v1_x")).values for part in parts])
        return rates.reshape(len(LEVELS), _SPONTANEOUS_TIMES, -1).mean(axis=1)

    @property
    def spontaneous(self) -> np.ndarray:
        """Rates before an even field of the mean luminance: (cell,), Hz."""
        return self.maintained[LEVELS == MEAN][0]

    @property
    def cells(self) -> int:
        """Number of V1 cells in the column; 0 where a subject has none."""
        return self.maintained.shape[1]

    @cached_property
    def characterisation(self) -> Characterisation:
        """Responses to flashed gratings of full contrast, 12 orientations × 10 spatial frequencies × 4 phases."""
        orientation, frequency = np.indices((len(ORIENTATIONS), len(self.frequencies)))
        rates = self.gratings(FULL_CONTRAST, orientation, frequency)
        best = by_grating(rates.max(axis=2)).argmax(axis=0)
        by_phase = np.stack([by_grating(rates[:, :, k]) for k in range(len(PHASES))])
        modulation = tuning.modulation(PHASES, by_phase[:, best, np.arange(self.cells)] - self.spontaneous)
        return Characterisation(self.spontaneous, self.frequencies, rates, modulation)

    def read(self, rates: np.ndarray) -> np.ndarray:
        """Answers (…, cell) from rates (…, phase, cell): at the best phase of simple, the mean of complex cells."""
        return read(rates, self.characterisation.simple)

    def evoked(self, rates: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Answers (…, cell) less the spontaneous rates of these cells, Hz."""
        return rates - self.spontaneous[cells]

    def panel(self, gratings: int, among: np.ndarray | None = None) -> Panel:
        """The fewest gratings that serve most of the cells that count.

        One after the other the grating is taken that serves most cells not served yet; among equals, the one that
        evokes most. A panel of fewer gratings is the beginning of one of more.

        Parameters
        ----------
        gratings : int
            At most.
        among : numpy.ndarray of bool, (cell,), optional
            Cells that are wanted.
        """
        found = self.characterisation
        counted = found.counted if among is None else found.counted[among[found.counted]]
        evoked = by_grating(found.answers - found.spontaneous)[:, counted]
        share = evoked / evoked.max(axis=0, initial=1e-9)
        left = np.ones(len(counted), dtype=bool)
        chosen: list[int] = []
        while left.any() and len(chosen) < gratings:
            serving = (share >= NEAR) & left
            top = int((serving.sum(axis=1) + (share * serving).sum(axis=1) / (len(counted) + 1)).argmax())
            chosen.append(top)
            left &= ~serving[top]
        orientation, frequency = np.unravel_index(np.array(chosen, dtype=int), found.answers.shape[:2])
        cells = np.flatnonzero(~left) if chosen else np.zeros(0, dtype=int)
        serves = share[np.array(chosen, dtype=int)][:, cells]
        grating = serves.argmax(axis=0) if chosen else np.zeros(0, dtype=int)
        return Panel(orientation, frequency, counted[cells], grating)

    def waves(self, screen: Screen, panel: Panel, turned: float = 0.0) -> np.ndarray:
        """The gratings of a panel on a screen, turned by some degrees: (grating, phase, y, x), -1 to 1."""
        shape = (len(panel), len(PHASES), screen.pixels, screen.pixels)
        each = [
            screen.grating(self.frequencies[f], PHASES, ORIENTATIONS[o] + turned)
            for o, f in zip(panel.orientation, panel.frequency, strict=True)
        ]
        return np.reshape(each, shape)

    def answers(self, screen: Screen, panel: Panel, patterns: np.ndarray, whole: bool = False) -> np.ndarray:
        """What patterns add to the rates of the cells that a panel serves: (…, served), Hz.

        Parameters
        ----------
        patterns : numpy.ndarray, (…, grating, phase, y, x)
            Contrast at each pixel, shown about the mean luminance.
        whole : bool
            As in `rates`.
        """
        rates = self.flashed(screen, MEAN * (1 + patterns), whole)
        return self.evoked(panel.served(self.read(rates)), panel.cells)

    @cached_property
    def contrast_series(self) -> tuple[Panel, np.ndarray, np.ndarray]:
        """A panel of 16 gratings, contrasts, and what they add to the rates, (contrast, served) in Hz."""
        panel = self.panel(16)
        contrasts = np.array([0.03, 0.06, 0.12, 0.25, FULL_CONTRAST / 2, 0.7, FULL_CONTRAST])
        lower = self.gratings(contrasts[:-1, None], panel.orientation, panel.frequency)
        # Those of full contrast have been shown.
        highest = self.characterisation.answers[panel.orientation, panel.frequency]
        full = self.evoked(panel.served(highest), panel.cells)
        return panel, contrasts, np.concatenate([self.evoked(panel.served(self.read(lower)), panel.cells), full[None]])

    @cached_property
    def size_series(self) -> tuple[SizeSeries, SizeSeries]:
        """Patches of two panels of 4 gratings: cells of low frequency on the `coarse`, the others on the `fine` screen."""
        found = self.characterisation
        low = self.frequencies[found.best[1]] <= self.coarse_limit * (1 + 1e-9)
        return self._sizes(self.coarse, low), self._sizes(self.fine, ~low)

    def _sizes(self, screen: Screen, among: np.ndarray) -> SizeSeries:
        panel = self.panel(4, among)
        side = screen.pixels / screen.pixels_per_degree
        diameters = side * np.geomspace(1 / 24, 1, 8)
        waves = self.waves(screen, panel)
        windows = [screen.disc(diameter) for diameter in diameters]
        evoked = [
            [self.answers(screen, panel, c * window * waves, whole=True) for window in windows]
            for c in self.size_contrasts
        ]
        return SizeSeries(screen, panel, diameters, np.reshape(evoked, (2, len(diameters), len(panel.cells))))

    def filmed(self, films: Iterable[np.ndarray], neighbours: bool = False) -> xr.Dataset:
        """Rates of columns, and of relay cells, while films run, from an even field of the mean luminance.

        Parameters
        ----------
        films : iterable of numpy.ndarray, (frame, y, x)
            cd/m², in frames of 2 ms on the screen `film`.
        neighbours : bool
            Whether of a subject that fires neighbours of the middle are recorded too, in a single trial.

        Returns
        -------
        xarray.Dataset
            `v1` (image, time, v1_y, v1_x, cell) and `lgn` (image, time, y, x, lgn_channel), Hz; of the middle or about it.
        """
        around = neighbours and self._preparation.fires
        settings = {"trials": _NEIGHBOURS_TRIALS} if around else {}
        together = FILMS * batch_images(self.film.pixels, self.film.pixels)
        waiting, parts = iter(films), []
        while chosen := list(islice(waiting, together)):
            found = self._preparation.subject.simulate(
                luminance(np.stack(chosen), self.film.pixels_per_degree, FRAME),
                adapt_to=MEAN,
                duration=len(chosen[0]) * FRAME,
                window=WINDOW,
                output="v1",
                record="trace",
                workers=self._preparation.workers,
                v1_within=_CORTEX / self.film.pixels_per_degree,
                record_within=(_DRIFTING_NEIGHBOURS if around else 0.5) / self.film.pixels_per_degree,
                **settings,
            )
            relay = found["lgn"].transpose("image", "time", "y", "x", "lgn_channel")
            parts.append(xr.Dataset({"lgn": relay, "v1": _columns(found)}))
        return xr.concat(parts, "image")

    def smoothed(self, traces: np.ndarray) -> np.ndarray:
        """As `Preparation.smoothed`."""
        return self._preparation.smoothed(traces)

    def count_variability(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Mean counts, and Fano factors, of a panel's cells at the phases of its gratings, those that are known."""
        if not len(panel):
            return np.zeros(0), np.zeros(0)
        waves = self.waves(self.film, panel).reshape(-1, self.film.pixels, self.film.pixels)
        within = _CORTEX / self.film.pixels_per_degree
        counts = self._preparation.counts(self.film, MEAN * (1 + FULL_CONTRAST * waves), "v1", v1_within=within)
        by_trial = np.moveaxis(_middle_column(counts), 1, 0)  # (trial, image, cell)
        mean, factor = measures.fano_factors(by_trial.reshape(len(by_trial), len(panel), len(PHASES), -1))
        mean, factor = (panel.served(np.moveaxis(one, 1, 0)).ravel() for one in (mean, factor))
        return mean[np.isfinite(factor)], factor[np.isfinite(factor)]

    def drifting(self, orientation: int, frequency: int, temporal: float, times: ArrayLike) -> np.ndarray:
        """A grating of the characterisation, by its indices, that drifts at `temporal` Hz: (time, y, x), -1 to 1."""
        phases = 2 * np.pi * temporal * np.asarray(times)
        return self.film.grating(self.frequencies[frequency], phases, ORIENTATIONS[orientation])

    def drifts(self, panel: Panel, temporal: Iterable[float]) -> list[list[Drift]]:
        """Responses, by temporal frequency (whole Hz) and grating, to a panel's drifting gratings of full contrast.

        Means and harmonics are taken from half a second after the onset.
        """
        keys = [
            [(int(o), int(f), hz) for o, f in zip(panel.orientation, panel.frequency, strict=True)] for hz in temporal
        ]
        missing = [key for row in keys for key in row if key not in self._drifts]
        if missing:
            films = (MEAN * (1 + FULL_CONTRAST * self.drifting(*key, self.times)) for key in missing)
            steady = self.filmed(films, neighbours=True).sel(time=slice(STEADY - FRAME / 2, None))
            mean = steady["v1"].mean(("time", "v1_y", "v1_x")).values
            for k, key in enumerate(missing):
                one = steady.isel(image=k)
                self._drifts[key] = Drift(
                    mean[k], self._first_harmonics(one["v1"], key), self._first_harmonics(one["lgn"], key)
                )
        return [[self._drifts[key] for key in row] for row in keys]

    def _first_harmonics(self, traces: xr.DataArray, shown: tuple[int, int, float]) -> np.ndarray:
        """Amplitudes (cell,) of responses (time, y, x, cell) to a drifting grating, of the middle and what stands about it."""
        orientation, frequency, temporal = shown
        down, right = (_from_middle(traces[axis]) for axis in traces.dims[1:3])
        harmonics = measures.harmonic(traces.transpose(..., "time").values, traces.time.values, temporal)
        return np.abs(in_phase(harmonics, ORIENTATIONS[orientation], self.frequencies[frequency], down, right))

    @cached_property
    def drift_modulation(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells, and their F1/F0 (cell,) before gratings of full contrast, a panel of 24, that drift at 4 Hz.

        F1 is the first harmonic's amplitude, F0 the mean less the spontaneous rate. Cells count of which F1 or the mean
        is above 5 Hz, and F0 above 0.
        """
        panel = self.panel(24)
        if not len(panel):
            return panel.cells, np.zeros(0)
        (drifts,) = self.drifts(panel, [4])
        mean, first = (panel.served(np.stack([getattr(d, name) for d in drifts])) for name in ("mean", "first"))
        raised = self.evoked(mean, panel.cells)
        counted = (np.maximum(mean, first) > COUNTED) & (raised > 0)
        return panel.cells[counted], first[counted] / raised[counted]


def read(rates: np.ndarray, simple: np.ndarray) -> np.ndarray:
    """Answers (…, cell) from rates (…, phase, cell): at the best phase of `simple` cells, the mean of the others."""
    return np.where(simple, rates.max(axis=-2), rates.mean(axis=-2))


def by_grating(values: np.ndarray) -> np.ndarray:
    """(grating, cell) from (orientation, frequency, cell)."""
    orientations, frequencies, cells = values.shape
    return values.reshape(orientations * frequencies, cells)


def _columns(found: xr.Dataset) -> xr.DataArray:
    """V1's rates (…, v1_y, v1_x, cell); no cell where there is no V1."""
    if "v1" in found:
        return (
            found["v1"]
            .transpose(..., "v1_y", "v1_x", "v1_channel")
            .drop_vars("v1_channel", errors="ignore")
            .rename(v1_channel="cell")
        )
    shown = {name: found.sizes[name] for name in ("image", "time") if name in found.dims}
    none = xr.DataArray(np.zeros((*shown.values(), 1, 1, 0)), dims=(*shown, "v1_y", "v1_x", "cell"))
    return none.assign_coords(v1_y=[0.0], v1_x=[0.0])


def _middle_column(found: xr.Dataset) -> np.ndarray:
    """V1's rates (…, cell) in the column in the middle of the screen."""
    return _columns(found).values[..., 0, 0, :]


def _from_middle(places: xr.DataArray) -> np.ndarray:
    """Places in degrees as their distances from the one in the middle."""
    return places.values - places.values[len(places) // 2]
