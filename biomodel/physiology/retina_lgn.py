"""The experiments on ganglion and relay cells, one function each, with the numbers of ``bands.json``.

Values of a class of cells are means of its ON and OFF cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from biomodel.physiology import measures
from biomodel.physiology.recording import CELLS, FRAME, FULL_CONTRAST, MEAN, STEADY, Electrode, rate_of
from biomodel.physiology.results import Curve, Experiments, Measurement
from biomodel.physiology.screens import PHASES, Screen, flicker
from biomodel.stimuli import luminance

#: Experiments by number.
EXPERIMENTS: Experiments[Electrode] = Experiments()

#: Backgrounds of Weber's law, half-decades, cd/m².
_BACKGROUNDS = np.array([30.0, 95.0, 300.0, 950.0, 3000.0])

#: Settings for ganglion cells in the middle of the screen. For a spiking subject no other cells are simulated.
_GANGLION: dict[str, Any] = {"output": "ganglion", "pixels": 0.5, "trials": 4000}

#: Distance in pixels from the middle to which responses to a spot of two centre radii, four pixels, are recorded.
_PROFILE = 5.5

#: Seconds from the onset of a test flash in which its response has its peak.
_TEST_WINDOW = 0.15

#: For a spiking subject, trials of spots of increasing contrast, of the spots that map fields, of increasing patches, and of the
#: flashes that measure latency.
_SPOT_TRIALS, _MAP_TRIALS, _PATCH_TRIALS, _LATENCY_TRIALS = 150, 400, 800, 1000

#: Highest contrast of the responses that give the contrast gain; for a spiking subject, trials of these and of stronger ones.
_WEAK, _WEAK_TRIALS, _STRONG_TRIALS = 0.055, 60, 20

_LUMINANCE = "background (cd/m²)"
_CONTRAST = "contrast"
_CHANGE = "change of rate (Hz)"


@EXPERIMENTS.add(1)
def webers_law(electrode: Electrode) -> Measurement:
    """Increments by 10 % for 200 ms of a spot over the midget's centre, in uniform fields that it is adapted to.

    Gain is the change of the ON ganglion cell's rate, averaged over the 200 ms, over the increment in cd/m²; the value is the
    least-squares slope of log gain on log background. Also for increments of the full field.
    """
    screen = electrode.fine
    gains = {}
    for label, pattern in (
        ("spot", screen.disc(electrode.midget_centre)),
        ("full field", np.ones((screen.pixels, screen.pixels))),
    ):
        images = _BACKGROUNDS[:, None, None] * (1 + 0.1 * pattern)
        changes = electrode.rate_changes(screen, images, _BACKGROUNDS, **_GANGLION)
        gains[label] = rate_of(changes, "ganglion", "midget_on") / (0.1 * _BACKGROUNDS)
    values = {
        "weber_slope": measures.log_slope(_BACKGROUNDS, gains["spot"]),
        "weber_slope_full_field": measures.log_slope(_BACKGROUNDS, gains["full field"]),
    }
    curves = tuple(Curve(label, _BACKGROUNDS, gain) for label, gain in gains.items())
    return Measurement(values, curves, _LUMINANCE, "gain (Hz per cd/m²)", "xy")


@EXPERIMENTS.add(2)
def fast_flicker(electrode: Electrode) -> Measurement:
    """A spot over the midget's centre flickers by 10 % at 2 and at 30 Hz, on the backgrounds of Weber's law.

    Gain is the first harmonic of the ON ganglion cell's rate over the amplitude of the flicker in cd/m².
    """
    pattern = electrode.movie.disc(electrode.midget_centre)
    conditions = [(frequency, level) for frequency in (2, 30) for level in _BACKGROUNDS]
    courses = {f: np.sin(2 * np.pi * f * electrode.times) for f in (2, 30)}
    movies = np.stack([flicker(pattern, level, 0.1, courses[f]) for f, level in conditions])
    rates = electrode.movie_rates(movies, [level for _, level in conditions], **_GANGLION)
    steady = rates.sel(time=slice(STEADY - FRAME / 2, None))
    each = zip(rate_of(steady, "ganglion", "midget_on"), conditions, strict=True)
    amplitudes = [abs(measures.first_harmonic(trace, steady.time.values, f)) for trace, (f, _) in each]
    slow, fast = np.reshape(amplitudes, (2, -1)) / (0.1 * _BACKGROUNDS)
    difference = measures.log_slope(_BACKGROUNDS, fast) - measures.log_slope(_BACKGROUNDS, slow)
    values = {"flicker_slope_difference": difference}
    curves = (Curve("2 Hz", _BACKGROUNDS, slow), Curve("30 Hz", _BACKGROUNDS, fast))
    return Measurement(values, curves, _LUMINANCE, "gain (Hz per cd/m²)", "xy")


@EXPERIMENTS.add(3)
def cone_half_gain(electrode: Electrode) -> Measurement:
    """Flashes of 10 ms that add 10 % to uniform backgrounds from 1 to 10,000 cd/m²; the cone's photocurrent.

    Gain is the peak over the flash in cd/m². The background that halves it comes from a fit with the gain in the dark as a
    parameter, since the model has no valid background darker than 1 cd/m².
    """
    backgrounds = 10 ** np.arange(0, 4.01, 0.5)
    backgrounds[-1] = 9000.0  # so that the flash is in the valid range
    frame, frames, screen = 0.01, 20, Screen(9, 0.8 / electrode.radius)
    movies = np.tile(backgrounds[:, None, None, None], (1, frames, screen.pixels, screen.pixels))
    movies[:, 0] *= 1.1
    responses = electrode.subject.simulate(
        luminance(movies, screen.pixels_per_degree, frame),
        adapt_to=backgrounds.tolist(),
        duration=frame * frames,
        window=(0.0, frame * frames),
        output="cone",
        record="trace",
        workers=electrode.workers,
    )
    current = responses.cone.isel(y=screen.middle, x=screen.middle).values
    gains = (current - current[:, :1]).max(axis=1) / (0.1 * backgrounds)
    half = measures.half_desensitisation(backgrounds, gains)
    return Measurement(
        {"cone_half_gain": half}, (Curve("cone", backgrounds, gains),), _LUMINANCE, "flash gain (pA per cd/m²)", "xy"
    )


@EXPERIMENTS.add(4)
def fast_adaptation(electrode: Electrode) -> Measurement:
    """Test flashes after the background has stepped from 30 to 300 cd/m² (modified Crawford experiment).

    A spot over the midget's centre adds 3 cd/m² for 20 ms, from 60 ms before to 1 s after the step. The test response is
    the response of the ON ganglion cell less that to the step alone, and its peak up to 150 ms after the test's onset the
    gain. The value is the time after the step of the peak of the first test whose gain has gone 63 % (1 - 1/e) of the way
    from that on the old background to that 1 s after the step, interpolated between tests. Counted to the onset of a test it
    would be shorter by the time to its peak: a gain that changes while a test's response rises changes its peak (experiment
    26 is counted in both ways).
    """
    old, new, onset, flash, increment = 30.0, 300.0, 0.2, 0.02, 3.0
    early = np.array([-60, -40, -30, -20, -10, 0, 10, 20, 30, 40, 60, 80, 120, 160, 240, 360, 500, 700])
    delays = np.array([*early, 1000]) / 1000
    times = electrode.times
    spot = increment * electrode.movie.disc(electrode.midget_centre)
    even = np.ones_like(spot)
    step = np.where(times < onset, old, new)
    tests = [((times >= onset + d) & (times < onset + d + flash)).astype(float) for d in delays]
    conditions = [
        (np.full_like(times, old), np.zeros_like(times)),
        (np.full_like(times, old), tests[0]),
        (step, np.zeros_like(times)),
        *((step, test) for test in tests),
    ]
    movies = np.stack([base[:, None, None] * even + test[:, None, None] * spot for base, test in conditions])
    rates = electrode.movie_rates(movies, old, **_GANGLION)
    on = electrode.smooth(rate_of(rates, "ganglion", "midget_on"))
    shown = onset + delays
    before = _test_response(times, shown[:1], on[1:2] - on[0]).max() / increment
    responses = _test_response(times, shown, on[3:] - on[2])
    gains = responses.max(axis=1) / increment
    to_peak = times[responses.argmax(axis=1)] - shown
    reached = measures.time_to_fraction(delays, gains, before, gains[-1], 1 - np.exp(-1))
    values = {"fast_adaptation_time": 1000 * (reached + float(np.interp(reached, delays, to_peak)))}
    curves = (
        Curve("after the step", 1000 * delays, gains),
        Curve("old background", 1000 * delays, np.full_like(delays, before), reference=True),
    )
    return Measurement(values, curves, "delay of the test after the step (ms)", "gain (Hz per cd/m²)")


def _test_response(times: np.ndarray, shown: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Responses (test, time) from the onset of each test on, 0 at other times: with spikes the noise before has peaks too."""
    since = times - shown[:, None]
    return np.where((since >= 0) & (since <= _TEST_WINDOW), response, 0.0)


@EXPERIMENTS.add(5)
def gain_separability(electrode: Electrode) -> Measurement:
    """Gratings that drift at 8 Hz, of 10 to 1000 cd/m² and contrasts .1 to .8; parasol relay cells.

    Mante 2005 recorded cells of cats, most similar to the macaque's parasol pathway. Gain is the first harmonic over
    contrast, so that Weber's law alone, which is no interaction, does not explain the variance.
    """
    levels = 10 ** np.arange(1, 3.01, 0.5)
    contrasts = np.array([0.1, 0.2, 0.4, 0.8])
    grid = [axis.ravel() for axis in np.meshgrid(contrasts, levels)]
    harmonics = electrode.drift_harmonics("parasol", "lgn", 8, *grid)
    gains = np.abs(harmonics).reshape(2, len(levels), len(contrasts)) / contrasts
    share = float(np.mean([measures.inseparable_share(gain) for gain in gains]))
    curves = tuple(Curve(f"{level:.0f} cd/m²", contrasts, gains[:, k].mean(axis=0)) for k, level in enumerate(levels))
    return Measurement({"gain_separability": share}, curves, _CONTRAST, "first harmonic / contrast (Hz)", "xy")


@EXPERIMENTS.add(6)
def light_invariance(electrode: Electrode) -> Measurement:
    """A flashed grating of the best spatial frequency and contrast .5 with means from 10 to 1000 cd/m²; midget relay cells.

    The value is the response at 1000 over that at 10 cd/m², less 1.
    """
    levels = 10 ** np.arange(1, 3.01, 0.5)
    responses = electrode.grating_responses("midget", electrode.best_frequency("midget"), 0.5, levels)["lgn"]
    change = float((responses[:, -1] / responses[:, 0] - 1).mean())
    return Measurement(
        {"contrast_kept": change}, _on_and_off("midget", levels, responses), "mean luminance (cd/m²)", _CHANGE, "x"
    )


@EXPERIMENTS.add(7)
def spatial_tuning(electrode: Electrode) -> Measurement:
    """Spatial-frequency tuning of midget ganglion cells: flashed gratings of contrast .25 that fill the screen.

    A difference of Gaussians is fitted for the plot only.
    """
    frequencies, responses = electrode.frequency_tuning("midget")
    shares = []
    for response in responses:
        best, height = measures.peak(frequencies, response)
        shares.append(measures.interpolate_log(best / 10, frequencies, response) / height)
    fitted = measures.fit_difference_of_gaussians(frequencies, responses.mean(axis=0))
    label = (
        f"fit: radius {fitted.centre_radius:.3f}°, ratio {fitted.surround_radius / fitted.centre_radius:.1f}, "
        f"weight {fitted.surround / fitted.centre:.2f}"
    )
    values = {"midget_low_frequency_ratio": float(np.mean(shares))}
    curves = (
        *_on_and_off("midget", frequencies, responses),
        Curve(label, frequencies, fitted(frequencies), reference=True),
    )
    return Measurement(values, curves, "spatial frequency (c/deg)", _CHANGE, "x")


@EXPERIMENTS.add(8)
def temporal_tuning(electrode: Electrode) -> Measurement:
    """Gratings of the best spatial frequency and contrast .2 that drift at 1 to 40 Hz; first harmonic of relay cells.

    The peak is that of a parabola over log frequency through the highest sample and its neighbours.
    """
    frequencies = np.array([1, 2, 3, 4, 6, 8, 11, 16, 22, 30, 40])
    amplitudes = {cells: np.abs(electrode.drift_harmonics(cells, "lgn", frequencies, 0.2)) for cells in CELLS}
    peaks = {
        cells: np.array([measures.peak(frequencies, response) for response in both])
        for cells, both in amplitudes.items()
    }
    values = {
        "midget_peak_tf": peaks["midget"][:, 0].mean(),
        "parasol_peak_tf": peaks["parasol"][:, 0].mean(),
        "midget_low_cut": (amplitudes["midget"][:, 0] / peaks["midget"][:, 1]).mean(),
    }
    curves = tuple(curve for cells, both in amplitudes.items() for curve in _on_and_off(cells, frequencies, both))
    return Measurement(values, curves, "temporal frequency (Hz)", "first harmonic (Hz)", "x")


@EXPERIMENTS.add(9)
def contrast_gain_control(electrode: Electrode) -> Measurement:
    """Gratings of the best spatial frequency that drift at 4 Hz, contrast .08 to .64; phase of ganglion cells."""
    contrasts = 0.08 * 2.0 ** np.arange(4)
    values: dict[str, float] = {}
    curves: list[Curve] = []
    for cells in reversed(CELLS):
        found = electrode.drift_harmonics(cells, "ganglion", 4, contrasts)
        advances = np.array([[measures.phase_advance(h, row[0]) for h in row] for row in found])
        values[f"{cells}_phase_advance"] = float(advances[:, -1].mean())
        curves += _on_and_off(cells, contrasts, advances)
    return Measurement(values, tuple(curves), _CONTRAST, "phase advance (°)", "x")


@EXPERIMENTS.add(10)
def contrast_gain(electrode: Electrode) -> Measurement:
    """Contrast series of flashed gratings at each class's best spatial frequency.

    Contrast gain is the slope through the origin over contrasts up to .05, of ganglion cells (Kaplan & Shapley 1986);
    the saturation index, of relay cells, is EVNet's (`measures.saturation_index`).
    """
    contrasts = np.geomspace(0.01, FULL_CONTRAST, 12)
    gains: dict[str, float] = {}
    indices: dict[str, float] = {}
    curves: list[Curve] = []
    for cells in CELLS:
        best = electrode.best_frequency(cells)
        # The best of several noisy phases is too high where responses are weak, unless there are many trials.
        parts = [
            electrode.grating_responses(cells, best, contrasts[chosen], trials=trials)
            for chosen, trials in ((contrasts <= _WEAK, _WEAK_TRIALS), (contrasts > _WEAK, _STRONG_TRIALS))
        ]
        found = {station: np.concatenate([part[station] for part in parts], axis=1) for station in parts[0]}
        gains[cells] = float(np.mean([measures.initial_slope(contrasts, r, _WEAK) for r in found["ganglion"]]))
        indices[cells] = float(np.mean([measures.saturation_index(contrasts, r) for r in found["lgn"]]))
        curves += _on_and_off(cells, contrasts, found["lgn"])
    values = {
        "contrast_gain_ratio": gains["parasol"] / gains["midget"],
        "parasol_saturation": indices["parasol"],
        "midget_saturation": indices["midget"],
    }
    plotted = tuple(curves)
    return Measurement(values, plotted, _CONTRAST, _CHANGE)


@EXPERIMENTS.add(11)
def size_tuning(electrode: Electrode) -> Measurement:
    """Round patches of flashed grating of increasing diameter, at each class's best spatial frequency; relay cells.

    Contrast .5 for midgets and .25 for parasols, as in Solomon 2002. The largest patch, some 60 centre radii, reaches
    beyond every surround.
    """
    diameters = electrode.radius * np.geomspace(2, 62, 13)
    values: dict[str, float] = {}
    curves: list[Curve] = []
    for cells, contrast in (("midget", 0.5), ("parasol", 0.25)):
        best = electrode.best_frequency(cells)
        responses = electrode.grating_responses(cells, best, contrast, diameters=diameters, trials=_PATCH_TRIALS)["lgn"]
        suppression = 1 - responses[:, -1] / responses.max(axis=1)
        values[f"{cells}_size_suppression"] = float(suppression.mean())
        curves += _on_and_off(cells, diameters, responses)
    return Measurement(values, tuple(curves), "diameter (°)", _CHANGE, "x")


@EXPERIMENTS.add(12)
def on_and_off(electrode: Electrode) -> Measurement:
    """Light spots for ON and dark spots for OFF midget relay cells (Kremkow 2014).

    Saturation: spots that fill the centre on grey (100 cd/m²), contrast .02 to .98, by `measures.saturation_index`.
    Field diameters: full width at half maximum of the responses to a spot of two centre radii at successive positions;
    since cells of a type are alike everywhere, one spot is shown and the cells around it are recorded. On grey both spots
    have contrast .98. The "dark background" of the bands is Kremkow's pair of binary backgrounds, light spots on dark for
    ON and dark spots on light for OFF, of 2 and 198 cd/m².
    """
    screen, grey = electrode.fine, MEAN
    dark, light = grey * (1 - FULL_CONTRAST), grey * (1 + FULL_CONTRAST)
    full, target = screen.disc(electrode.midget_centre), screen.disc(2 * electrode.radius)
    contrasts = np.geomspace(0.02, FULL_CONTRAST, 10)
    series = np.concatenate([contrasts, -contrasts])
    images = grey * (1 + series[:, None, None] * full)
    changes = electrode.rate_changes(screen, images, pixels=0.5, trials=_SPOT_TRIALS)
    on = rate_of(changes, "lgn", "midget_on")[: len(contrasts)]
    off = rate_of(changes, "lgn", "midget_off")[len(contrasts) :]
    # (background, spot): ON and OFF on grey, ON and OFF on binary backgrounds.
    mapped = np.array([(grey, light), (grey, dark), (dark, light), (light, dark)])
    maps = mapped[:, :1, None] + np.diff(mapped)[:, :, None] * target
    found = electrode.rate_changes(screen, maps, mapped[:, 0], pixels=_PROFILE, trials=_MAP_TRIALS)
    profiles = [
        _profile(found.lgn.isel(image=k).sel(lgn_channel=CELLS["midget"][k % 2]).values) for k in range(len(mapped))
    ]
    degrees = np.arange(len(profiles[0])) / screen.pixels_per_degree
    widths = [measures.width_at_half(degrees, profile) for profile in profiles]
    saturation = measures.saturation_index(contrasts, on) - measures.saturation_index(contrasts, off)
    values = {
        "on_minus_off_saturation": saturation,
        "on_off_diameter_dark": widths[2] / widths[3],
        "on_off_diameter_grey": widths[0] / widths[1],
    }
    curves = (Curve("ON, light spots", contrasts, on), Curve("OFF, dark spots", contrasts, off))
    return Measurement(values, curves, _CONTRAST, _CHANGE)


@EXPERIMENTS.add(13)
def variability(electrode: Electrode) -> Measurement:
    """Gratings of each class's best frequency and contrast .5, at four phases, flashed on grey 50 times.

    Spikes are counted from the onset to 200 ms. The Fano factor is the variance over trials of a cell's count over its mean;
    the value is the median over relay cells and phases with a mean of 1 or more.
    """
    by_cell: dict[str, list[np.ndarray]] = {"ganglion": [], "lgn": []}
    screen = electrode.movie
    for cells, names in CELLS.items():
        gratings = screen.grating(electrode.best_frequency(cells), PHASES)
        counts = electrode.spike_counts(screen, MEAN * (1 + 0.5 * gratings), "lgn")
        for station, found in by_cell.items():
            found += [np.stack(measures.fano_factors(rate_of(counts, station, name).T)) for name in names]
    medians, curves = {}, []
    for station, found in by_cell.items():
        mean, factor = np.concatenate(found, axis=1)
        medians[station], order = float(np.nanmedian(factor)), np.argsort(mean)
        curves.append(Curve(f"{station}, median {medians[station]:.2f}", mean[order], factor[order]))
    return Measurement({"lgn_fano": medians["lgn"]}, tuple(curves), "mean count", "Fano factor")


@EXPERIMENTS.add(14)
def maintained_activity(electrode: Electrode) -> Measurement:
    """Rates of midget ganglion cells in uniform fields that they are adapted to; the value is for 100 cd/m²."""
    levels, screen = np.array([1.0, 10.0, MEAN, 1000.0]), electrode.fine
    fields = np.tile(levels[:, None, None], (1, screen.pixels, screen.pixels))
    rates = electrode.rates(screen, fields, levels, **_GANGLION)
    both = np.stack([rate_of(rates, "ganglion", cell) for cell in CELLS["midget"]])
    values = {"midget_maintained_rate": float(np.median(both[:, levels == MEAN]))}
    curves = _on_and_off("midget", levels, both)
    return Measurement(values, curves, _LUMINANCE, "maintained rate (Hz)", "x")


@EXPERIMENTS.add(15)
def latency(electrode: Electrode) -> Measurement:
    """A spot of contrast .98 that fills the parasol's centre is flashed on grey: light for ON, dark for OFF cells.

    Latency is the time from the flash to half of the relay cell's peak, interpolated between samples 2 ms apart. All cells
    see the same flash, since responses to a larger spot are faster in every cell: the surround ends the peak earlier.
    """
    spot = electrode.movie.disc(electrode.parasol_centre)
    flashes = np.stack([MEAN * (1 + sign * FULL_CONTRAST * spot) for sign in (1, -1)])
    rates = electrode.movie_rates(np.repeat(flashes[:, None], len(electrode.times), axis=1), trials=_LATENCY_TRIALS)
    times = 1000 * rates.time.values
    shown = times < 250
    found: dict[str, float] = {}
    curves: list[Curve] = []
    for cells, names in CELLS.items():
        traces = [electrode.smooth(rate_of(rates, "lgn", name)[k]) for k, name in enumerate(names)]
        found[cells] = float(np.mean([measures.half_rise_time(times, trace) for trace in traces]))
        curves += [Curve(name, times[shown], trace[shown]) for name, trace in zip(names, traces, strict=True)]
    values = {"midget_minus_parasol_latency": found["midget"] - found["parasol"]}
    plotted = tuple(curves)
    return Measurement(values, plotted, "time after the flash (ms)", "rate (Hz)")


def _profile(responses: np.ndarray) -> np.ndarray:
    """Mean of responses (y, x) along the row and the column through the middle, in both directions."""
    row, column = responses[len(responses) // 2], responses[:, responses.shape[1] // 2]
    return (row + row[::-1] + column + column[::-1]) / 4


def _on_and_off(cells: str, x: np.ndarray, responses: np.ndarray) -> tuple[Curve, ...]:
    return tuple(Curve(name, x, response) for name, response in zip(CELLS[cells], responses, strict=True))
