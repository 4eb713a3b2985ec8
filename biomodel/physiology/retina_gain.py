"""Experiments 26 to 38 on horizontal, ganglion and relay cells: adaptation to light and contrast, limits of rates.

Light on the retina is in trolands (td): luminance in cd/m² times the area of the pupil in mm². Fields have 1,000 td unless an
experiment says otherwise. Values of a class of cells are means of its ON and OFF cells in the middle of the screen, since
cells of a type are alike everywhere. Responses to drifting gratings and flicker are first harmonics over whole cycles, from 1 s
after the onset. The contrast gain is the first harmonic over contrast, at the lowest contrast that evokes 2 Hz.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage, optimize, signal

from biomodel.adaptation import GazeAdapted
from biomodel.circuit.specification import Region
from biomodel.images import photograph
from biomodel.pathway import LuminanceRangeWarning
from biomodel.physiology import measures
from biomodel.physiology.recording import CELLS, FRAME, FULL_CONTRAST, MOVIE, Electrode, rate_of
from biomodel.physiology.results import Curve, Experiments, Measurement
from biomodel.physiology.screens import Screen, flicker, frame_times
from biomodel.stimuli import decode_srgb, luminance

#: Experiments by number.
EXPERIMENTS: Experiments[Electrode] = Experiments()

#: The field where an experiment doesn't vary it, td.
FIELD = 1000.0

#: Seconds after which a response to flicker is taken to be steady.
_STEADY = 1.0

#: Contrasts at which the contrast gain is looked for, and the first harmonic that it needs, Hz.
_LOW_CONTRASTS = 0.02 * 2 ** (np.arange(5) / 2)
_LOWEST_HARMONIC = 2.0

#: Seconds of a movie that holds whole cycles of 1.5 Hz after `_STEADY`.
_LONG_MOVIE = 3.0

#: For ganglion cells in the middle; a spiking subject simulates no others.
_GANGLION: dict[str, Any] = {"output": "ganglion", "trials": 1000}

#: An even field needs no large screen: no current flows across its edges.
_SMALL = 9

_FIELD = "field (td)"


@EXPERIMENTS.add(26)
def fast_light_adaptation(electrode: Electrode) -> Measurement:
    """A horizontal cell's response to 5 ms probes of 50 td, about a step of the even field from 1,000 to 2,000 td.

    The gain is the peak of the absolute difference between responses with and without the probe; its share of the change is
    relative to that .2 to .3 s after the step. The half-gain is that of 2 Hz flicker by 10 % on fields of .1 to 10,000 td.
    """
    frame, onset, probe = 0.001, 0.55, 0.005
    early = np.arange(-20, 61, 2) / 1000
    delays = np.concatenate([[-0.5], early, [0.2, 0.25, 0.3]])
    times = frame_times(1.0, frame)
    step = np.where(times < onset, FIELD, 2 * FIELD)
    probes = 50.0 * ((times >= onset + delays[:, None]) & (times < onset + delays[:, None] + probe))
    courses = np.concatenate([step[None], step + probes])
    sampled, potential = _even_field(electrode, courses, frame, FIELD)
    responses = np.abs(potential[1:] - potential[0])
    gains, peaks = responses.max(axis=1), sampled[responses.argmax(axis=1)] - onset - delays
    before, after = gains[0], gains[-3:].mean()
    share = (gains - before) / (after - before)
    shown = slice(1, -3)
    reached = measures.time_to_fraction(early, share[shown], 0.0, 1.0, 0.63)
    fields = 10 ** np.arange(-1, 4.01, 0.5)
    values = {
        "h1_gain_share_20ms": float(np.interp(0.02, early, share[shown])),
        "h1_gain_time_to_peak": 1000 * (reached + float(np.interp(reached, early, peaks[shown]))),
        "h1_half_gain_td": _half_gain(fields, _flicker_gains(electrode, fields)),
    }
    curves = (Curve("horizontal cell", 1000 * early, share[shown]),)
    return Measurement(values, curves, "probe after the step (ms)", "share of the change of gain")


def _even_field(
    electrode: Electrode, courses: np.ndarray, frame: float, before: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Times in s, and potentials in mV (course, time), of a horizontal cell in even fields that change in time; in td."""
    screen = Screen(_SMALL, 0.8 / electrode.radius)
    area = electrode.pupil_area
    movies = np.broadcast_to((courses / area)[:, :, None, None], (*courses.shape, screen.pixels, screen.pixels))
    duration = courses.shape[1] * frame
    responses = electrode.subject.simulate(
        luminance(movies, screen.pixels_per_degree, frame),
        adapt_to=np.broadcast_to(np.asarray(before) / area, len(courses)).tolist(),
        duration=duration,
        window=(0.0, duration),
        output="horizontal",
        record="trace",
        workers=electrode.workers,
        region=Region(screen.one_pixel),
    )
    return responses.time.values, responses.horizontal.transpose("image", "time", "y", "x").values[:, :, 0, 0]


def _flicker_gains(electrode: Electrode, fields: np.ndarray) -> np.ndarray:
    """First harmonics of a horizontal cell over the modulation, mV/td, for 2 Hz flicker by 10 % of even fields in td."""
    courses = fields[:, None] * (1 + 0.1 * np.sin(2 * np.pi * 2 * frame_times(MOVIE, FRAME)))
    with warnings.catch_warnings():
        # Dim fields show where the gain begins to fall; rods, which would act there, take no part in the band either.
        warnings.simplefilter("ignore", LuminanceRangeWarning)
        times, potential = _even_field(electrode, courses, FRAME, fields)
    steady = times >= _STEADY
    harmonics = measures.first_harmonic(potential[:, steady], times[steady], 2)
    return np.abs(harmonics) / (0.1 * fields)


def _half_gain(fields: np.ndarray, gains: np.ndarray) -> float:
    """Field at which a gain has fallen to half of the first, interpolated over the logarithm of the field."""
    return float(10 ** measures.time_to_fraction(np.log10(fields), gains, gains[0], 0.0, 0.5))


@EXPERIMENTS.add(27)
def locality(electrode: Electrode) -> Measurement:
    """A horizontal cell's response to a spot of 4 arcmin that adds 20 td for 20 ms, in three fields.

    (a) 100 td everywhere; (b) 1,000 td from 10 arcmin to 1° of the spot's centre, 100 td elsewhere; (c) 1,000 td everywhere.
    The subject is adapted to each without eye movements, as in the anaesthetised animals of Lee 1999. The value is the share
    of the change of log gain from (a) to (c) that (b) has.
    """
    ppd = 2 / electrode.radius
    screen = Screen(2 * int(np.ceil(1.1 * ppd)) + 1, ppd)
    times = frame_times(0.2, FRAME)
    disc = screen.disc
    annulus = disc(2.0) - disc(20 / 60)
    fields = np.stack([np.full_like(annulus, 100.0), 100.0 + 900.0 * annulus, np.full_like(annulus, 1000.0)])
    flash = 20.0 * ((times >= 0.02) & (times < 0.04))[:, None, None] * disc(4 / 60)
    movies = np.concatenate([np.stack([field + 0 * flash for field in fields]), fields[:, None] + flash])
    responses = electrode.subject.simulate(
        luminance(movies / electrode.pupil_area, screen.pixels_per_degree, FRAME),
        adapt_to=GazeAdapted(0.0),
        duration=0.2,
        window=(0.0, 0.2),
        output="horizontal",
        record="trace",
        workers=electrode.workers,
        region=Region(screen.one_pixel),
    )
    potential = responses.horizontal.transpose("image", "time", "y", "x").values[:, :, 0, 0]
    courses = potential[len(fields) :] - potential[: len(fields)]
    dark, ring, light = courses.max(axis=1)
    labels = ("100 td", "100 td, annulus of 1,000 td", "1,000 td")
    curves = tuple(Curve(label, 1000 * times, course) for label, course in zip(labels, courses, strict=True))
    values = {"adaptation_locality": float(np.log(ring / dark) / np.log(light / dark))}
    return Measurement(values, curves, "time (ms)", "response to the spot (mV)")


@EXPERIMENTS.add(28)
def contrast_gain_by_light(electrode: Electrode) -> Measurement:
    """Contrast gain of ganglion cells on fields of 20 to 2,000 td: gratings of 4 and 10 Hz, and spots of 2 Hz.

    Gratings have the best spatial frequency and diameter. Spots cover a class's centre and flicker by 10 %; their gain to light
    is the first harmonic over the modulation in td.
    """
    dim, bright = 20.0, 2000.0
    gains = {cells: _contrast_gain(electrode, cells, 4, dim) for cells in CELLS}
    fast = [_contrast_gain(electrode, "parasol", 10, field) for field in (dim, bright)]
    fields = {"midget": np.array([20.0, 60.0, 200.0]), "parasol": np.array([100.0, 300.0, 1000.0, 2000.0])}
    spots = {cells: _spot_gains(electrode, cells, levels) for cells, levels in fields.items()}
    values = {
        "m_over_p_dim": gains["parasol"] / gains["midget"],
        "m_gain_dim_over_bright": fast[0] / fast[1],
        "midget_slope_dim": measures.log_slope(fields["midget"], spots["midget"]),
        "parasol_weber_slope": measures.log_slope(fields["parasol"], spots["parasol"]),
    }
    curves = tuple(Curve(f"{cells}, spots of 2 Hz", fields[cells], spots[cells]) for cells in CELLS)
    return Measurement(values, curves, _FIELD, "gain (Hz per td)", "xy")


def _spot_gains(electrode: Electrode, cells: str, fields: np.ndarray) -> np.ndarray:
    """First harmonics over the modulation in td, of spots over the centre that flicker at 2 Hz by 10 %."""
    diameter = electrode.midget_centre if cells == "midget" else electrode.parasol_centre
    course = np.sin(2 * np.pi * 2 * electrode.times)
    levels = fields / electrode.pupil_area
    movies = [flicker(electrode.movie.disc(diameter), level, 0.1, course) for level in levels]
    return _class_harmonics(electrode.movie_rates(movies, levels, **_GANGLION), cells, 2) / (0.1 * fields)


def _class_harmonics(rates: xr.Dataset, cells: str, frequency: float, station: str = "ganglion") -> np.ndarray:
    """First harmonics (image,) of the middle cells after `_STEADY`, means of ON and OFF, Hz."""
    steady = rates.sel(time=slice(_STEADY - FRAME / 2, None))
    traces = np.stack([rate_of(steady, station, cell) for cell in CELLS[cells]])
    return np.abs(measures.first_harmonic(traces, steady.time.values, frequency)).mean(axis=0)


def _drift_harmonics(
    electrode: Electrode, cells: str, frequency: float, contrasts: Sequence[float] | np.ndarray, field: float = FIELD
) -> np.ndarray:
    """First harmonics (contrast,) of ganglion cells for a class's best drifting grating of its best diameter, Hz."""
    duration = MOVIE if (MOVIE - _STEADY) * frequency % 1 == 0 else _LONG_MOVIE
    window = electrode.movie.disc(electrode.best_diameter(cells))
    phases = 2 * np.pi * frequency * frame_times(duration, FRAME)
    drifting = window * electrode.movie.grating(electrode.best_frequency(cells), phases)
    level = field / electrode.pupil_area
    rates = electrode.movie_rates([level * (1 + c * drifting) for c in contrasts], level, **_GANGLION)
    return _class_harmonics(rates, cells, frequency)


def _contrast_gain(electrode: Electrode, cells: str, frequency: float, field: float) -> float:
    """First harmonic over contrast at the lowest contrast that evokes 2 Hz; NaN if none up to .08 does."""
    harmonics = _drift_harmonics(electrode, cells, frequency, _LOW_CONTRASTS, field)
    enough = np.flatnonzero(harmonics >= _LOWEST_HARMONIC)
    return float(harmonics[enough[0]] / _LOW_CONTRASTS[enough[0]]) if enough.size else float("nan")


@EXPERIMENTS.add(29)
def contrast_gain_by_frequency(electrode: Electrode) -> Measurement:
    """First harmonic over contrast of ganglion cells at contrast .64 over that at .08; best gratings at 1.5 and 16 Hz."""
    frequencies, contrasts = np.array([1.5, 16.0]), np.array([0.08, 0.64])
    kept = {}
    for cells in CELLS:
        gains = [_drift_harmonics(electrode, cells, f, contrasts) / contrasts for f in frequencies]
        kept[cells] = np.array([gain[1] / gain[0] for gain in gains])
    values = {
        "m_low_tf_contrast_loss": kept["parasol"][0],
        "m_high_over_low_kept": kept["parasol"][1] / kept["parasol"][0],
        "p_low_tf_contrast_loss": kept["midget"][0],
        "p_high_tf_contrast_loss": kept["midget"][1],
    }
    curves = tuple(Curve(cells, frequencies, share) for cells, share in kept.items())
    return Measurement(values, curves, "temporal frequency (Hz)", "gain at .64 over gain at .08", "x")


#: Seconds of the adaptor of experiment 30, from its end to each test, and of a test; temporal frequency in Hz.
_ADAPTING, _DELAYS, _TEST, _ADAPTING_FREQUENCY = 20.0, np.array([0.3, 1, 2, 4, 8, 16, 32]), 0.5, 10

#: Seconds of a frame, ten a cycle; and the contrasts of its tests, a factor of 1.4 apart.
_TEST_FRAME = 0.01
_TEST_CONTRASTS = {"parasol": 0.02 * 1.4 ** np.arange(11), "midget": 0.125 * 1.4 ** np.arange(7)}


@EXPERIMENTS.add(30)
def slow_contrast_adaptation(electrode: Electrode) -> Measurement:
    """Sensitivity of relay cells after 20 s of their best grating at 10 Hz and full contrast, and after 20 s of grey.

    Tests are the same grating for .5 s, .3, 1, 2, 4, 8, 16 and 32 s after the adaptor, with grey between them; all tests of
    a movie have one contrast. Sensitivity is 1 / contrast at which the first harmonic reaches 10 Hz. The recovery is the time
    at which log sensitivity has regained 63 % of its loss.
    """
    criterion, starts = 10.0, _ADAPTING + _DELAYS
    screen = Screen(17, 0.8 / electrode.radius)
    movies = (
        movie for cells, tests in _TEST_CONTRASTS.items() for movie in _adapting_movies(electrode, cells, tests, screen)
    )
    # All in one call: a network simulates up to 28 movies of this size in the same time.
    rates = electrode.movie_rates(
        movies, FIELD / electrode.pupil_area, "lgn", trials=100, screen=screen, frame=_TEST_FRAME
    )
    sensitivity, first = {}, 0
    for cells, tests in _TEST_CONTRASTS.items():
        own = rates.isel(image=slice(first, first + 2 * len(tests)))
        first += 2 * len(tests)
        traces = np.stack([rate_of(own, "lgn", cell) for cell in CELLS[cells]])
        harmonics = [_harmonics_between(traces, own.time.values, start, _TEST, _ADAPTING_FREQUENCY) for start in starts]
        by_adaptor = np.reshape(harmonics, (len(starts), 2, len(tests)))
        sensitivity[cells] = np.array([[_sensitivity(tests, h, criterion) for h in one] for one in by_adaptor]).T
    loss = {cells: before[0] / after[0] for cells, (before, after) in sensitivity.items()}
    log_loss = np.log(sensitivity["parasol"][0] / sensitivity["parasol"][1])
    values = {
        "m_adaptation_loss": float(loss["parasol"]),
        "p_adaptation_loss": float(loss["midget"]),
        "m_adaptation_recovery": _recovery_time(_DELAYS, log_loss),
    }
    curves = tuple(
        Curve(f"{cells} after {adaptor}", _DELAYS, found[k])
        for cells, found in sensitivity.items()
        for k, adaptor in enumerate(("grey", "contrast"))
    )
    return Measurement(values, curves, "time after the adaptor (s)", "sensitivity (1/contrast)", "xy")


def _adapting_movies(electrode: Electrode, cells: str, contrasts: np.ndarray, screen: Screen) -> Iterator[np.ndarray]:
    """Movies of tests of each contrast, after grey and then after an adaptor: the best grating of a class of cells."""
    shown = frame_times(_ADAPTING + _DELAYS[-1] + _TEST, _TEST_FRAME)
    tested = np.any([(shown >= start) & (shown < start + _TEST) for start in _ADAPTING + _DELAYS], axis=0)
    window = screen.disc(electrode.best_diameter(cells))
    grating = window * screen.grating(electrode.best_frequency(cells), 2 * np.pi * _ADAPTING_FREQUENCY * shown)
    for adaptor in (0.0, FULL_CONTRAST):
        for contrast in contrasts:
            course = np.where(shown < _ADAPTING, adaptor, contrast * tested)
            yield flicker(grating, FIELD / electrode.pupil_area, 1.0, course)


def _harmonics_between(
    traces: np.ndarray, times: np.ndarray, start: float, duration: float, frequency: float
) -> np.ndarray:
    """First harmonics (movie,) of traces (cell, movie, time) in an interval, means over the cells."""
    chosen = (times >= start) & (times < start + duration)
    return np.abs(measures.first_harmonic(traces[..., chosen], times[chosen], frequency)).mean(axis=0)


def _sensitivity(contrasts: np.ndarray, responses: np.ndarray, criterion: float) -> float:
    """1 / contrast at which responses first reach a criterion, interpolated over log contrast; NaN if they don't."""
    if responses[0] >= criterion:
        return float("nan")
    return float(np.exp(-measures.time_to_fraction(np.log(contrasts), responses, 0.0, criterion, 1.0)))


def _recovery_time(delays: np.ndarray, log_loss: np.ndarray) -> float:
    """Time in s at which a loss has fallen to 37 % of that at the first delay; NaN where there is no loss."""
    if not log_loss[0] > 0:
        return float("nan")
    return measures.time_to_fraction(delays, log_loss, log_loss[0], 0.0, 0.63)


@EXPERIMENTS.add(32)
def highest_rates(electrode: Electrode) -> Measurement:
    """Highest rates of ganglion cells in bins of 10 ms, for even fields that change by ±100 % for .2 s, or 30 times.

    The higher one of ON and OFF cells. All cells of a type have the same rate in an even field.
    """
    screen, level = electrode.movie, FIELD / electrode.pupil_area
    times, onset = electrode.times, 0.1
    flash = (times >= onset) & (times < onset + 0.2)
    courses = {
        "contrast +1": np.where(flash, 2.0, 1.0),
        "contrast -1": np.where(flash, 0.0, 1.0),
        "30 times": np.where(times >= onset, 30.0, 1.0),
        "1/30": np.where(times >= onset, 1 / 30, 1.0),
    }
    even = np.ones((screen.pixels, screen.pixels))
    rates = electrode.movie_rates(
        [level * course[:, None, None] * even for course in courses.values()], level, **_GANGLION
    )
    bins = round(0.01 / FRAME)
    binned = {
        cell: rate_of(rates, "ganglion", cell).reshape(len(courses), -1, bins).mean(axis=2)
        for names in CELLS.values()
        for cell in names
    }
    values = {f"{cells}_peak_rate": float(max(binned[name].max() for name in names)) for cells, names in CELLS.items()}
    middle = 1000 * (times.reshape(-1, bins).mean(axis=1) - onset)
    shown = middle < 300
    best = [(cell, int(traces.max(axis=1).argmax())) for cell, traces in binned.items()]
    curves = tuple(Curve(cell, middle[shown], binned[cell][k, shown]) for cell, k in best)
    return Measurement(values, curves, "time after the change (ms)", "rate (Hz)")


@EXPERIMENTS.add(33)
def remote_suppression(electrode: Electrode) -> Measurement:
    """The best grating at 4 Hz and contrast .4, alone and with an annulus of grating at 6 Hz; ganglion cells.

    The annulus has full contrast, the same spatial frequency, and reaches from twice the best diameter to 4°.
    """
    ppd = electrode.movie.pixels_per_degree
    screen, times = Screen(2 * int(np.ceil(2 * ppd)) + 1, ppd), electrode.times
    level = FIELD / electrode.pupil_area
    suppression, curves = {}, []
    for cells in CELLS:
        frequency, diameter = electrode.best_frequency(cells), electrode.best_diameter(cells)
        centre = 0.4 * screen.disc(diameter) * screen.grating(frequency, 2 * np.pi * 4 * times)
        remote = FULL_CONTRAST * (1 - screen.disc(2 * diameter)) * screen.grating(frequency, 2 * np.pi * 6 * times)
        rates = electrode.movie_rates(
            [level * (1 + centre), level * (1 + centre + remote)], level, screen=screen, **_GANGLION
        )
        alone, with_remote = _class_harmonics(rates, cells, 4)
        suppression[cells] = float(1 - with_remote / alone)
        shown = times >= _STEADY
        traces = rate_of(rates, "ganglion", CELLS[cells][0])[:, shown]
        curves += [
            Curve(f"{CELLS[cells][0]}{added}", 1000 * (times[shown] - _STEADY), trace, bool(added))
            for added, trace in zip(("", ", annulus"), traces, strict=True)
        ]
    values = {"m_remote_suppression": suppression["parasol"], "p_remote_suppression": suppression["midget"]}
    return Measurement(values, tuple(curves), "time (ms), from 1 s after the onset", "rate (Hz)")


@EXPERIMENTS.add(34)
def on_and_off_parasol(electrode: Electrode) -> Measurement:
    """Linear responses of parasol cells to a check of .6 centre radii, flashed for 1/120 s at contrast ±.5.

    Half of the difference of the responses to a light and a dark check. Since cells of a type are alike, the cells around
    the check give the receptive field. Diameter: that of the centre at 1/e, of a difference of Gaussians fitted at the time of
    the peak. Zero crossing: of the mean time course within the centre, counted from the middle of the flash.
    """
    screen, frame, contrast = electrode.fine, 1 / 120, 0.5
    side = 0.6 * electrode.subject.parameters.value("bipolar.diffuse_centre_radius")
    inside = np.clip((side / 2 - np.abs(screen.degrees)) * screen.pixels_per_degree + 0.5, 0, 1)
    check = inside[:, None] * inside
    level = FIELD / electrode.pupil_area
    course = np.where(np.arange(36) == 0, contrast, 0.0)
    stimulus = luminance(
        np.stack([flicker(check, level, sign, course) for sign in (1, -1)]), screen.pixels_per_degree, frame
    )
    duration = len(course) * frame
    settings: dict[str, Any] = {"trials": _GANGLION["trials"]} if electrode.spiking else {}
    responses = electrode.subject.simulate(
        stimulus,
        adapt_to=[level, level],
        duration=duration,
        window=(0.0, duration),
        output="ganglion",
        record="trace",
        workers=electrode.workers,
        **settings,
    )
    times = responses.time.values - frame / 2
    distance = np.hypot(screen.degrees[:, None], screen.degrees)
    diameters, crossings, curves = [], [], []
    for cell, sign in zip(CELLS["parasol"], (1, -1), strict=True):
        traces = responses.ganglion.sel(ganglion_channel=cell).transpose("image", "time", "y", "x").values
        kernel = sign * (traces[0] - traces[1]) / 2
        radius = _centre_radius(distance, kernel[kernel[:, screen.middle, screen.middle].argmax()])
        course_in_centre = kernel[:, distance <= radius].mean(axis=1)
        diameters.append(2 * radius)
        crossings.append(_zero_crossing(times, course_in_centre))
        curves.append(Curve(cell, 1000 * times, course_in_centre / course_in_centre.max()))
    values = {
        "parasol_on_off_diameter": diameters[0] / diameters[1],
        "parasol_on_off_zero_crossing": crossings[0] / crossings[1],
    }
    return Measurement(values, tuple(curves), "time after the check (ms)", "response of the centre / peak")


def _centre_radius(distance: np.ndarray, field: np.ndarray) -> float:
    """Radius at 1/e of the centre of a difference of Gaussians, fitted to a field (y, x) by the distance in degrees."""

    def model(r: np.ndarray, centre: float, log_radius: float, surround: float, log_ratio: float) -> np.ndarray:
        near, far = np.exp(log_radius), np.exp(log_radius + log_ratio)
        return centre * np.exp(-((r / near) ** 2)) - surround * np.exp(-((r / far) ** 2))

    top = field.max()
    half = distance[field > top / 2].max()
    start = (1.0, np.log(max(half, distance[distance > 0].min())), 0.05, np.log(4.0))
    bounds = ((0.0, -10.0, 0.0, np.log(1.5)), (10.0, 5.0, 10.0, np.log(20.0)))
    fit = optimize.curve_fit(model, distance.ravel(), field.ravel() / top, p0=start, bounds=bounds)[0]
    return float(np.exp(fit[1]))


def _zero_crossing(times: np.ndarray, course: np.ndarray) -> float:
    """Time at which a course first falls to zero after its peak, interpolated; NaN if it doesn't."""
    top = int(course.argmax())
    return measures.time_to_fraction(times[top:], -course[top:], -course[top], 0.0, 1.0)


#: Segments of natural light over time, 300 s in all, and with eye movements, 60 s; seconds of each, and those left out at first.
_SEGMENTS, _GAZE_SEGMENTS, _SEGMENT, _SETTLING = 30, 6, 10.0, 1.0


@EXPERIMENTS.add(35)
def natural_light(electrode: Electrode) -> Measurement:
    """Ganglion cells in natural light: power of rates in an even field, and the surround's share with eye movements.

    The logarithm of an even field's luminance is Gaussian with a standard deviation of .6 and power 1/f from .1 to 50 Hz, for
    300 s in 30 segments. The crossing is the frequency at which the power of midget cells first falls below that of parasol
    cells. The surround's share: 60 s of a photograph moved by simulated drift (a random walk of 30 arcmin²/s) and saccades
    (3 a second); the rate is predicted by a linear filter of .15 s on the light in the centre, with and without another on
    the light in the surround (radii of Croner & Kaplan 1995), fivefold cross-validated.
    """
    random = np.random.default_rng(0)
    level, screen, frames = FIELD / electrode.pupil_area, electrode.movie, round(_SEGMENT / FRAME)
    courses = [level * _natural_course(frames, random) for _ in range(_SEGMENTS)]
    even = [np.broadcast_to(course[:, None, None], (frames, screen.pixels, screen.pixels)) for course in courses]
    moved = [level * _gaze_movie(screen, frames, random) for _ in range(_GAZE_SEGMENTS)]
    rates = electrode.movie_rates([*even, *moved], level, "ganglion", trials=20).sel(time=slice(_SETTLING, None))
    steady, with_gaze = rates.isel(image=slice(0, _SEGMENTS)), rates.isel(image=slice(_SEGMENTS, None))
    frequencies = np.zeros(0)
    spectra = {}
    for cells, names in CELLS.items():
        traces = np.stack([rate_of(steady, "ganglion", name) for name in names])
        frequencies, power = signal.welch(traces, 1 / FRAME, nperseg=round(4 / FRAME), axis=-1)
        spectra[cells] = _smooth_over_octaves(power.mean(axis=(0, 1)), frequencies)
    shown = (frequencies >= 0.25) & (frequencies <= 50)
    ratio = spectra["midget"][shown] / spectra["parasol"][shown]
    crossing = measures.time_to_fraction(np.log(frequencies[shown]), -np.log(ratio), -np.log(ratio[0]), 0.0, 1.0)
    values = {
        "p_over_m_crossing": float(np.exp(crossing)) if ratio[0] > 1 else float("nan"),
        "surround_share_natural": _surround_share(electrode, [movie / level - 1 for movie in moved], with_gaze),
    }
    curves = tuple(Curve(cells, frequencies[shown], power[shown]) for cells, power in spectra.items())
    return Measurement(values, curves, "frequency (Hz)", "power of the rate (Hz²/Hz)", "xy")


def _natural_course(frames: int, random: np.random.Generator) -> np.ndarray:
    """Luminance over its mean: log-normal with power 1/f from .1 to 50 Hz, standard deviation .6 in natural logarithms."""
    frequencies = np.fft.rfftfreq(frames, FRAME)
    within = (frequencies >= 0.1 - 1e-9) & (frequencies <= 50)
    spectrum = np.zeros(len(frequencies), complex)
    phases = random.uniform(0, 2 * np.pi, within.sum())
    spectrum[within] = np.exp(1j * phases) * random.rayleigh(size=within.sum()) / np.sqrt(frequencies[within])
    course = np.fft.irfft(spectrum, frames)
    course = np.exp(0.6 * course / course.std())
    return course / course.mean()


def _smooth_over_octaves(power: np.ndarray, frequencies: np.ndarray, octaves: float = 0.5) -> np.ndarray:
    """A spectrum averaged over half-octaves around each frequency."""
    low, high = (np.searchsorted(frequencies, frequencies * 2**shift) for shift in (-octaves / 2, octaves / 2))
    total = np.concatenate([[0.0], np.cumsum(power)])
    high = np.maximum(high, low + 1).clip(max=len(power))
    return (total[high] - total[low]) / (high - low)


def _surround_share(electrode: Electrode, contrasts: list[np.ndarray], rates: xr.Dataset) -> float:
    """Variance of rates explained by centre and surround less that by the centre, mean over types of cells.

    `contrasts` (frame, y, x) are those of each movie, `rates` begin after `_SETTLING`.
    """
    radii = {"midget": (1.0, 6.7), "parasol": (PARASOL_RADIUS, 4.8 * PARASOL_RADIUS)}
    start = round(_SETTLING / FRAME)
    shares = []
    for cells, (near, far) in radii.items():
        pools = [_gaussian(electrode.movie, radius * electrode.radius) for radius in (near, far)]
        light = np.stack([[np.tensordot(contrast, pool, 2) for contrast in contrasts] for pool in pools])
        for cell in CELLS[cells]:
            rate = rate_of(rates, "ganglion", cell)
            explained = [_cross_validated_r2(light[:n], rate, start) for n in (1, 2)]
            shares.append(explained[1] - explained[0])
    return float(np.mean(shares))


#: Radius of a diffuse bipolar cell's centre over that of a midget's (Croner & Kaplan 1995, Table 1: .1° and .05°).
PARASOL_RADIUS = 2.0


def _gaussian(screen: Screen, radius: float) -> np.ndarray:
    """Weights (y, x) of a Gaussian pool with a radius at 1/e in degrees; they sum to 1."""
    profile = np.exp(-((screen.degrees / radius) ** 2))
    weights = profile[:, None] * profile
    return weights / weights.sum()


def _gaze_movie(screen: Screen, frames: int, random: np.random.Generator) -> np.ndarray:
    """A photograph over its mean luminance, (frame, y, x), moved by drift and saccades; a pixel of it is one of the screen."""
    codes = photograph("camera") / 255.0
    light = decode_srgb(codes)
    light = ndimage.zoom(light, 0.5, order=1)
    light = light / light.mean()
    step = np.sqrt(2 * 30 * FRAME) / 60 * screen.pixels_per_degree  # pixels a frame, on either axis
    margin = screen.pixels
    positions = np.cumsum(step * random.standard_normal((2, frames)), axis=1)
    jumps = np.zeros((2, frames))
    for frame in np.flatnonzero(random.random(frames) < 3 * FRAME):
        jumps[:, frame:] = random.uniform(-60, 60, (2, 1))
    centre = np.array(light.shape)[:, None] / 2
    gaze = np.clip(centre + jumps + positions, margin, np.array(light.shape)[:, None] - margin)
    grid = np.arange(screen.pixels) - screen.middle
    movie = np.empty((frames, screen.pixels, screen.pixels))
    for k, (row, column) in enumerate(gaze.T):
        movie[k] = ndimage.map_coordinates(light, np.meshgrid(row + grid, column + grid, indexing="ij"), order=1)
    return movie / movie.mean()


def _cross_validated_r2(light: np.ndarray, rate: np.ndarray, start: int) -> float:
    """Share of the variance of a rate (movie, time) that linear filters of light (pool, movie, frame) explain.

    Filters have 15 lags of 10 ms; the response begins at frame `start`; one of five parts is predicted from the others.
    """
    bins = round(0.01 / FRAME)
    lags = np.arange(15)
    target = rate[:, : rate.shape[1] // bins * bins].reshape(len(rate), -1, bins).mean(axis=2)
    drives = light[:, :, : light.shape[2] // bins * bins].reshape(*light.shape[:2], -1, bins).mean(axis=3)
    at = start // bins + np.arange(target.shape[1])[:, None] - lags
    at = at[at[:, -1] < drives.shape[2]]
    regressors = drives[:, :, at].transpose(1, 2, 0, 3).reshape(-1, len(light) * len(lags))
    regressors = np.column_stack([regressors, np.ones(len(regressors))])
    observed = target[:, : len(at)].ravel()
    part = np.arange(len(observed)) * 5 // len(observed)
    predicted = np.empty_like(observed)
    for k in range(5):
        weights = np.linalg.lstsq(regressors[part != k], observed[part != k], rcond=None)[0]
        predicted[part == k] = regressors[part == k] @ weights
    return float(1 - ((observed - predicted) ** 2).sum() / ((observed - observed.mean()) ** 2).sum())


@EXPERIMENTS.add(38)
def after_contrast(electrode: Electrode) -> Measurement:
    """A spot of contrast .25 over the centre, of the cell's sign, 50 ms after 1.25 s of noise, over the same without noise.

    The noise is a wide field of 20 Hz and contrast .5, Gaussian and cut at twice that; means of 8 draws. Responses of ganglion
    cells are mean rates in the first .2 s of the spot less the maintained rates.
    """
    times, level = electrode.times, FIELD / electrode.pupil_area
    noise_end, spot_start, n_draws = 1.25, 1.3, 8
    random = np.random.default_rng(0)
    noise = np.clip(0.5 * random.standard_normal((n_draws, round(noise_end * 20))), -1, 1)
    held = np.minimum((times * 20).astype(int), noise.shape[1] - 1)
    adaptors = np.concatenate([np.zeros((1, len(times))), np.where(times < noise_end, noise[:, held], 0.0)])
    shown = times >= spot_start
    ratios, curves = {}, []
    for cells, diameter in (("midget", electrode.midget_centre), ("parasol", electrode.parasol_centre)):
        spot = electrode.movie.disc(diameter)
        changes = []
        for cell, sign in zip(CELLS[cells], (1, -1), strict=True):
            movies = (
                level * (1 + adaptor[:, None, None] + sign * 0.25 * (shown[:, None, None] * spot))
                for adaptor in adaptors
            )
            rates = rate_of(electrode.movie_rates(movies, level, **_GANGLION), "ganglion", cell)
            maintained = rates[0, times < spot_start].mean()
            changes.append(rates[:, shown] - maintained)
        after_grey, *after_noise = np.mean(changes, axis=0)
        since = 1000 * (times[shown] - spot_start)
        curves += [
            Curve(f"{cells} after noise", since, np.mean(after_noise, axis=0)),
            Curve(f"{cells} after grey", since, after_grey, reference=True),
        ]
        before, after = (np.mean([one[part].mean() for one in changes]) for part in (slice(0, 1), slice(1, None)))
        ratios[cells] = float(after / before)
    values = {"midget_sensitisation": ratios["midget"], "parasol_desensitisation": ratios["parasol"]}
    return Measurement(values, tuple(curves), "time after the spot's onset (ms)", "change of rate (Hz)")
