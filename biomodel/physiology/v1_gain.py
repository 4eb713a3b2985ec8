"""Experiments 31 to 39 on V1 cells: contrast adaptation, time courses, and summation fields by contrast.

They use responsive cells of the column in the middle of the screen and gratings of a panel, as `biomodel.physiology.v1`.
Drifting gratings have 4 Hz. Evoked rates are those less the spontaneous rate; values are medians over cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from biomodel.physiology import measures
from biomodel.physiology.column import LOWEST_RESPONSE, Column, Panel
from biomodel.physiology.measures import median, ratio
from biomodel.physiology.recording import FRAME, MEAN, MOVIE
from biomodel.physiology.results import Curve, Experiments, Measurement
from biomodel.physiology.screens import PHASES, Screen, flicker, frame_times

#: Experiments by number.
EXPERIMENTS: Experiments[Column] = Experiments()

#: Temporal frequency of drifting gratings, Hz.
_DRIFT = 4

#: Seconds of adaptation, from the adaptor to a test, of a test, of the adaptor between tests, and of a brief adaptor.
_ADAPTING, _GAP, _TEST, _TOP_UP, _BRIEF = 30.0, 0.3, 0.5, 5.0, 3.0

#: Seconds of a frame of these movies, 20 a cycle: tests and gaps are whole frames.
_FRAME = 0.0125

#: Contrasts of tests, and of the test whose loss is followed in time.
_TESTS = 0.02 * 2.0 ** np.arange(6)
_FOLLOWED = 0.3

#: Seconds after the adaptor at which the recovery is measured.
_RECOVERY = 60.0


@EXPERIMENTS.add(31)
def contrast_adaptation(column: Column) -> Measurement:
    """Contrast responses after 30 s of a drifting grating of contrast .8, of .03 and of grey; a panel of 2 gratings.

    Tests of .5 s begin .3 s after the adaptor, which is shown for 5 s more between tests. The threshold is the contrast at
    which the evoked rate, averaged over a test, is 10 % of the unadapted maximum. The loss of log rate is that to contrast .3,
    after 3 s and after 30 s of contrast .8, and after 60 s of grey that follow. The 3 s follow 27 s of grey, in the movie
    of the tests after grey.
    """
    panel = column.panel(2)
    thresholds = {adaptor: np.zeros(0) for adaptor in (0.0, 0.03, 0.8)}
    losses = {seconds: np.zeros(0) for seconds in (_BRIEF, _ADAPTING, _RECOVERY)}
    shares = {adaptor: np.full(len(_TESTS), np.nan) for adaptor in thresholds}
    if len(panel):
        fresh, series, last = _BRIEF + _GAP, _series_starts(), _ADAPTING + _RECOVERY
        brief_end = last - _GAP
        shown = [
            _Tests(0.8, (brief_end - _BRIEF, brief_end), (fresh, *series, last), (_FOLLOWED, *_TESTS, _FOLLOWED)),
            _Tests(0.03, (0.0, series[-1]), series, tuple(_TESTS)),
            _Tests(0.8, (0.0, series[-1]), series, tuple(_TESTS)),
            _Tests(0.8, (0.0, _ADAPTING), (_ADAPTING + _GAP, last), (_FOLLOWED, _FOLLOWED)),
        ]
        after_grey, *by_adaptor, lasting = _test_rates(column, panel, shown)
        evoked = dict(zip(thresholds, [after_grey[1:-1], *by_adaptor], strict=True))
        top = evoked[0.0].max(axis=0)
        thresholds = {adaptor: _thresholds(found, top) for adaptor, found in evoked.items()}
        shares = {adaptor: np.median(found / np.maximum(top, 1e-9), axis=1) for adaptor, found in evoked.items()}
        adapted = np.stack([after_grey[-1], *lasting])
        log_losses = np.log(ratio(np.broadcast_to(after_grey[0], adapted.shape), adapted))
        losses = dict(zip(losses, log_losses, strict=True))
    values = {
        "v1_threshold_high": median(ratio(thresholds[0.8], thresholds[0.0])),
        "v1_threshold_3pct": median(ratio(thresholds[0.03], thresholds[0.0])),
        "v1_adaptation_3s": median(ratio(losses[_BRIEF], losses[_ADAPTING])),
        "v1_adaptation_recovery_60s": 1 - median(ratio(losses[_RECOVERY], losses[_ADAPTING])),
    }
    curves = tuple(Curve(f"after {adaptor:g}", _TESTS, share) for adaptor, share in shares.items())
    return Measurement(values, curves, "contrast", "share of the highest rate after grey", "x")


@dataclass(frozen=True)
class _Tests:
    """An adaptor between two times, in s, but for tests that begin at `starts` and have `contrasts`, after a gap."""

    adaptor: float
    shown: tuple[float, float]
    starts: tuple[float, ...]
    contrasts: tuple[float, ...]

    def course(self, times: np.ndarray) -> np.ndarray:
        """Contrast by time."""
        course = np.where((times >= self.shown[0]) & (times < self.shown[1]), self.adaptor, 0.0)
        for start, contrast in zip(self.starts, self.contrasts, strict=True):
            course[(times >= start - _GAP) & (times < start)] = 0.0
            course[(times >= start) & (times < start + _TEST)] = contrast
        return course


def _series_starts() -> tuple[float, ...]:
    """Seconds at which the tests of a contrast series begin."""
    return tuple(_ADAPTING + _GAP + (_GAP + _TEST + _TOP_UP) * np.arange(len(_TESTS)))


def _test_rates(column: Column, panel: Panel, shown: list[_Tests]) -> list[np.ndarray]:
    """Evoked rates (test, driven) of each movie, Hz: means over a test. All movies are simulated in one call."""
    times = frame_times(_ADAPTING + _RECOVERY + _TEST, _FRAME)
    gratings = [column.drifting_grating(o, f, _DRIFT, times, column.long) for o, f in panel.gratings]
    movies = (flicker(grating, MEAN, 1.0, tests.course(times)) for tests in shown for grating in gratings)
    rates = column.movie_rates(movies, neighbours=True, screen=column.long, frame=_FRAME).v1
    found = []
    for k, tests in enumerate(shown):
        own = rates.isel(image=slice(k * len(panel), (k + 1) * len(panel)))
        parts = [own.sel(time=slice(start - FRAME / 2, start + _TEST - FRAME / 2)) for start in tests.starts]
        means = np.stack([part.mean(("time", "v1_y", "v1_x")).values for part in parts])
        found.append(panel.select(means) - column.spontaneous_rates[panel.cells])
    return found


def _thresholds(evoked: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Contrast at which each cell's response (test, cell) first is 10 % of `top`, over log contrast; NaN if at none."""
    each = zip(evoked.T, top, strict=True)
    logs = [
        measures.time_to_fraction(np.log(_TESTS), one, 0.0, height, 0.1) if height > 0 else np.nan
        for one, height in each
    ]
    return np.exp(logs)


@EXPERIMENTS.add(36)
def time_course_by_contrast(column: Column) -> Measurement:
    """Gratings flashed for .2 s at 8 contrasts from .05 to 1, a panel of 4, each cell at its best phase.

    Rates in bins of 10 ms up to .3 s, less the spontaneous rate, are compared with A(c) m(t - s(c)): one course, whose scale
    and shift depend on contrast, fitted by turns.
    """
    contrasts = np.minimum(0.05 * 1.534 ** np.arange(8), 1.0)
    panel = column.panel(4)
    times, flash, shown = column.times, 0.2, 0.3
    shares, mean = np.zeros(0), np.full((len(contrasts), round(shown / 0.01)), np.nan)
    if len(panel):
        gratings = column.panel_gratings(column.movie, panel).reshape(-1, column.movie.pixels, column.movie.pixels)
        movies = (flicker(one, MEAN, c, (times < flash) * 1.0) for c in contrasts for one in gratings)
        rates = column.movie_rates(movies, duration=shown).v1.isel(v1_y=0, v1_x=0)
        rates = rates.values.reshape(len(contrasts), len(panel), len(PHASES), round(shown / 0.01), -1, column.n_cells)
        by_phase = panel.select(np.moveaxis(rates.mean(axis=4), 1, 3))  # (contrast, phase, bin, driven)
        best = by_phase[-1].mean(axis=1).argmax(axis=0)
        courses = np.moveaxis(by_phase, -1, 0)[np.arange(len(best)), :, best]
        courses = courses - column.spontaneous_rates[panel.cells][:, None, None]
        responding = courses.mean(axis=2).max(axis=1) > 0
        shares = np.array([_scaled_and_shifted_share(one) for one in courses[responding]])
        mean = courses[responding].mean(axis=0) if responding.any() else mean
    bins = 10 * (np.arange(mean.shape[1]) + 0.5)
    # Every second one: eight are hard to tell apart.
    curves = tuple(
        Curve(f"contrast {c:.2f}", bins, course) for c, course in zip(contrasts[1::2], mean[1::2], strict=True)
    )
    values = {"v1_scale_shift_share": median(shares)}
    return Measurement(values, curves, "time after the flash (ms)", "evoked rate (Hz), mean of cells")


def _scaled_and_shifted_share(courses: np.ndarray, rounds: int = 5) -> float:
    """Share of the variance of courses (contrast, bin) that one course explains, scaled and shifted for each contrast."""
    bins = np.arange(courses.shape[1], dtype=float)
    shifts = np.arange(-8, 8.01, 0.25)
    mean = courses.mean(axis=0)
    predicted = courses
    for _ in range(rounds):
        shifted = np.stack([np.interp(bins - shift, bins, mean) for shift in shifts])
        products, powers = courses @ shifted.T, (shifted**2).sum(axis=1)
        explained = products**2 / np.maximum(powers, 1e-12)
        at = explained.argmax(axis=1)
        scales = products[np.arange(len(courses)), at] / np.maximum(powers[at], 1e-12)
        predicted = scales[:, None] * shifted[at]
        aligned = np.stack([np.interp(bins + shifts[k], bins, one) for k, one in zip(at, courses, strict=True)])
        mean = scales @ aligned / max(float(scales @ scales), 1e-12)
    return float(1 - ((courses - predicted) ** 2).sum() / ((courses - courses.mean()) ** 2).sum())


#: Contrasts of patches: the lowest with 20 % of the highest response, and the high one.
_PATCH_CONTRASTS = np.array([0.12, 0.24, 0.8])

#: Seconds of a patch's movie; its last cycle is averaged.
_PATCH_MOVIE = 0.5


@EXPERIMENTS.add(37)
def summation_by_contrast(column: Column) -> Measurement:
    """Patches of drifting grating, 12 diameters, with and without V1's suppression from the surround.

    Two panels of 2 gratings on the screens of size tuning; responses are means from .25 to .5 s. The low contrast is .12, or .24
    for cells with less than 20 % of their highest rate at .12. Responses by diameter are fitted by the difference of two
    Gaussians' integrals (Sceniak 1999); the value is the ratio of their excitatory extents, low over high contrast.
    """
    values, curves = {}, []
    subjects = {
        "v1_summation_growth_fit": column,
        "v1_summation_growth_no_surround": column.lesioned("surround_suppression"),
    }
    for key, subject in subjects.items():
        if subject is None:
            values[key] = np.nan
            continue
        growth, fields = [], []
        for diameters, evoked in _patch_series(subject, column):
            for cell in np.moveaxis(evoked, -1, 0):
                enough = np.flatnonzero(cell[:-1].max(axis=1) >= 0.2 * cell[-1].max())
                if not cell[-1].max() > LOWEST_RESPONSE / 2 or not enough.size:
                    continue
                extents = [_excitatory_extent(diameters, series) for series in (cell[enough[0]], cell[-1])]
                growth.append(extents[0] / extents[1])
                fields.append(extents)
        values[key] = median(growth)
        ordered = np.sort(np.array(fields).reshape(-1, 2)[:, 1])
        rank = (np.arange(len(growth)) + 0.5) / max(len(growth), 1)
        label = "intact" if subject is column else "without the surround"
        curves.append(Curve(f"{label}, {len(growth)} cells", rank, np.sort(growth)))
        curves.append(Curve(f"{label}, extent at .8 (°)", rank, ordered, reference=True))
    return Measurement(values, tuple(curves), "share of cells", "extent at low over high contrast")


def _patch_series(subject: Column, intact: Column) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Diameters in degrees and evoked rates (contrast, diameter, driven) on the two screens of size tuning."""
    low = intact.frequencies[intact.characterisation.best[1]] <= intact.coarse_limit * (1 + 1e-9)
    times = frame_times(_PATCH_MOVIE, FRAME)
    for screen, among in ((intact.coarse, low), (intact.fine, ~low)):
        panel = intact.panel(2, among)
        if not len(panel):
            continue
        diameters = screen.pixels / screen.pixels_per_degree * np.geomspace(1 / 24, 1, 12)
        shape = len(_PATCH_CONTRASTS), len(diameters), len(panel)
        movies = _patch_movies(intact, screen, panel, diameters, times)
        # Only the surround reaches further than the columns that are simulated for gratings.
        rates = subject.movie_rates(movies, screen=screen, full_v1=subject is intact).v1
        steady = rates.sel(time=slice(_PATCH_MOVIE - 1 / _DRIFT - FRAME / 2, None))
        means = steady.mean(("time", "v1_y", "v1_x")).values.reshape(*shape, -1)
        yield diameters, panel.select(means) - intact.spontaneous_rates[panel.cells]


def _patch_movies(
    column: Column, screen: Screen, panel: Panel, diameters: np.ndarray, times: np.ndarray
) -> Iterator[np.ndarray]:
    """Movies of drifting patches, by contrast, diameter and grating."""
    gratings = [column.drifting_grating(o, f, _DRIFT, times, screen) for o, f in panel.gratings]
    for contrast in _PATCH_CONTRASTS:
        for diameter in diameters:
            window = screen.disc(diameter)
            for grating in gratings:
                yield MEAN * (1 + contrast * window * grating)


def _excitatory_extent(diameter: np.ndarray, response: np.ndarray) -> float:
    """Extent in degrees of the excitatory one of two Gaussians whose integrals' difference is fitted to a size tuning."""
    height = max(float(response.max()), 1e-9)

    def model(d: np.ndarray, excitation: float, log_a: float, inhibition: float, log_ratio: float) -> np.ndarray:
        a = np.exp(log_a)
        return excitation * special.erf(d / a) - inhibition * special.erf(d / (a * np.exp(log_ratio)))

    best = diameter[response.argmax()]
    start = (1.2, np.log(best / 1.5), 0.3, np.log(3.0))
    bounds = ((0.0, np.log(diameter[0] / 4), 0.0, 0.0), (20.0, np.log(4 * diameter[-1]), 20.0, np.log(30.0)))
    fit = optimize.curve_fit(model, diameter, response / height, p0=start, bounds=bounds, maxfev=20_000)[0]
    return float(np.exp(fit[1]))


@EXPERIMENTS.add(39)
def onset(column: Column) -> Measurement:
    """Stationary gratings of contrast .8 for 1 s, a panel of 6, each cell at its best phase: the decay after the peak.

    A exp(-t/τ) + B is fitted from the peak on, in cells whose B is below .7 of the peak. With spikes also the interval of 50 ms
    in which counts with a grating of low contrast differ most from those without (d'), counted from the onset of the response.
    """
    panel = column.panel(6)
    seconds = 1.0
    decays, mean = np.zeros(0), np.full(2, np.nan)
    times = np.array([0.0, 1000 * seconds])
    if len(panel):
        gratings = column.panel_gratings(column.movie, panel).reshape(-1, column.movie.pixels, column.movie.pixels)
        still = np.ones(round(MOVIE / FRAME))
        rates = column.movie_rates((flicker(one, MEAN, 0.8, still) for one in gratings), duration=seconds).v1
        times = 1000 * rates.time.values
        by_phase = rates.isel(v1_y=0, v1_x=0).values.reshape(len(panel), len(PHASES), len(times), -1)
        traces = np.moveaxis(panel.select(np.moveaxis(by_phase, 0, 2)), -1, 0)  # (driven, phase, time)
        traces = column.smooth(traces)
        best = traces[np.arange(len(traces)), traces.mean(axis=2).argmax(axis=1)]
        best = best - column.spontaneous_rates[panel.cells][:, None]
        decays = np.array([_decay_time(times, trace) for trace in best])
        mean = best.mean(axis=0)
    values = {"v1_onset_decay": median(decays)}
    if column.spiking:
        values["v1_detectability_peak"] = _detectability_peak(column)
    curves = (Curve(f"V1, mean of {len(decays)} cells", times, mean),)
    return Measurement(values, curves, "time after the onset (ms)", "evoked rate (Hz)")


def _decay_time(times: np.ndarray, trace: np.ndarray) -> float:
    """Time constant of the decay of a trace from its peak to a level; NaN where that is .7 of the peak or more."""
    top = int(trace.argmax())
    height = trace[top]
    if not height > 0 or top > len(trace) - 10:
        return float("nan")

    def model(t: np.ndarray, amplitude: float, log_time: float, level: float) -> np.ndarray:
        return amplitude * np.exp(-t / np.exp(log_time)) + level

    start = (0.5, np.log(50.0), 0.5)
    bounds = ((0.0, np.log(1.0), -1.0), (2.0, np.log(5000.0), 1.0))
    fit = optimize.curve_fit(model, times[top:] - times[top], trace[top:] / height, p0=start, bounds=bounds)[0]
    return float(np.exp(fit[1])) if fit[2] < 0.7 else float("nan")


#: Trials of gratings of low contrast and of grey, the step of the intervals and their length in seconds.
_DETECTION_TRIALS, _DETECTION_STEP, _DETECTION_WINDOW = 100, 0.01, 0.05


def _detectability_peak(column: Column) -> float:
    """Middle of the interval with the highest d' after the onset of the response, ms, median over cells."""
    panel = column.panel(4)
    if not len(panel):
        return float("nan")
    contrasts = np.array([0.06, 0.12, 0.25, 0.5])
    lowest = column.evoked(column.grating_rates(contrasts[:, None], panel.orientation, panel.frequency), panel)
    peak = column.characterisation.peak[panel.cells] - column.spontaneous_rates[panel.cells]
    enough = lowest >= 0.2 * peak
    chosen = np.where(enough.any(axis=0), enough.argmax(axis=0), -1)
    found = []
    for k in np.unique(chosen[chosen >= 0]):
        blank, counts = column.counts_in_time(panel, contrasts[k], _DETECTION_TRIALS, _DETECTION_STEP)
        # (driven, phase, trial, bin)
        for cell in np.flatnonzero(chosen == k):
            best = counts[cell].mean(axis=(1, 2)).argmax()
            found.append(_best_interval(counts[cell, best], blank[cell]))
    return median(found)


def _best_interval(counts: np.ndarray, blank: np.ndarray) -> float:
    """Middle of the interval of the highest d' in ms after the onset, from counts (trial, bin) with and without a stimulus."""
    mean = counts.mean(axis=0) - blank.mean()
    reached = np.flatnonzero(mean >= mean.max() / 2)
    onset = reached[0] if reached.size else 0
    width = round(_DETECTION_WINDOW / _DETECTION_STEP)
    sums, nothing = (
        np.lib.stride_tricks.sliding_window_view(one, width, axis=1).sum(axis=2) for one in (counts, blank)
    )
    spread = np.sqrt((sums.var(axis=0, ddof=1) + nothing.var(axis=0, ddof=1)) / 2)
    detectability = np.divide(
        sums.mean(axis=0) - nothing.mean(axis=0), spread, out=np.zeros(len(spread)), where=spread > 0
    )
    return 1000 * _DETECTION_STEP * (detectability.argmax() + width / 2 - onset - 0.5)
