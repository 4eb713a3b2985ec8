"""The experiments in V1, one function each, under the numbers of the published bands in ``experiments.json``.

Cells of the column in the middle of the screen count that answer their best grating with more than 5 Hz; how they are
characterised, and what an answer to flashed gratings is, is told in `biomodel.physiology.column`. Where cells are shown
the gratings of a panel, each is recorded with one that evokes at least 85 % of what its best grating does. Values are
medians over cells; what a cell adds to its spontaneous rate is called evoked.
"""

from __future__ import annotations

import numpy as np

from biomodel.physiology import dip, distributions, measures, tuning
from biomodel.physiology.column import COUNTED, LEVELS, ORIENTATIONS, Column, Panel
from biomodel.physiology.recording import FRAME, FULL_CONTRAST, MEAN
from biomodel.physiology.results import CellValues, Curve, Experiments, Measurement
from biomodel.physiology.screens import PHASES, Screen, flicker

#: Experiments by number.
EXPERIMENTS: Experiments[Column] = Experiments()

_experiment = EXPERIMENTS.numbered

_OF_PEAK = "share of the peak"

#: Seconds of a flash of which latencies are read off.
_LATENCY_FILM = 0.25

#: An answer to low contrast is measured where more than this is evoked, Hz.
_SEEN = 0.5

#: Cells are strongly suppressed by their surrounds whose index is above this (Cavanaugh 2002).
_STRONGLY = 0.1


@_experiment(13)
def variability(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6 at four phases, flashed on grey 50 times over 2.1°.

    Spikes count from the onset to 200 ms; the median is over cells and phases with a mean count of 1 or more.
    """
    mean, factor = column.count_variability(column.panel(6))
    order = np.argsort(mean)
    return Measurement(
        {"v1_fano": _median(factor)},
        (Curve(f"V1, median {_median(factor):.2f}", mean[order], factor[order]),),
        "mean count",
        "Fano factor",
    )


@_experiment(14)
def spontaneous_activity(column: Column) -> Measurement:
    """Rates of all V1 cells of the column before even fields that they are adapted to; the one of 100 cd/m² counts.

    Means from 50 to 200 ms after nothing has changed.
    """
    return Measurement(
        {"v1_spontaneous_rate": _median(column.spontaneous)},
        (Curve("V1, median", LEVELS, _median_curve(column.maintained.T, len(LEVELS))),),
        "background (cd/m²)",
        "maintained rate (Hz)",
        "x",
    )


@_experiment(15)
def latency(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6 at four phases, flash on grey and fill the screen.

    Latency is the time from the flash to half of the cell's peak, counted from its first sample and interpolated between
    samples 2 ms apart, at the phase with the highest peak.
    """
    panel = column.panel(6)
    found, mean = np.zeros(0), np.full(2, np.nan)
    times = np.array([0.0, 248.0])
    if len(panel):
        waves = column.waves(column.film, panel).reshape(-1, column.film.pixels, column.film.pixels)
        frames = round(_LATENCY_FILM / FRAME)
        films = (np.broadcast_to(MEAN * (1 + FULL_CONTRAST * wave), (frames, *wave.shape)) for wave in waves)
        rates = column.filmed(films).v1.isel(v1_y=0, v1_x=0).sel(time=slice(None, 0.249))
        times = 1000 * rates.time.values
        by_phase = rates.values.reshape(len(panel), len(PHASES), len(times), -1)
        traces = np.moveaxis(panel.served(np.moveaxis(by_phase, 0, 2)), -1, 0)  # (served, phase, time)
        traces = column.smoothed(traces)
        best = traces.max(axis=2).argmax(axis=1)
        chosen = traces[np.arange(len(traces)), best]
        found = np.array([measures.half_rise(times, trace) for trace in chosen])
        mean = chosen.mean(axis=0)
    return Measurement(
        {"v1_latency": _median(found)},
        (Curve(f"V1, mean of {len(found)} cells", times, mean),),
        "time after the flash (ms)",
        "rate (Hz)",
    )


@_experiment(16)
def orientation_tuning(column: Column) -> Measurement:
    """Flashed gratings of contrast .98 that fill 3.8°, 12 orientations, each cell's best of 10 spatial frequencies.

    Half-width at .707 of the peak, of curves interpolated by cubic splines, 90° for a cell that doesn't fall so low;
    circular variance over the 12 orientations. Spontaneous rates are not taken off (Ringach 2002).
    """
    found = column.characterisation
    curves = [found.answers[:, found.best[1][cell], cell] for cell in found.counted]
    widths = np.array([tuning.half_width(ORIENTATIONS, curve) for curve in curves])
    variances = np.array([tuning.circular_variance(ORIENTATIONS, curve) for curve in curves])
    turned = [_preferred(curve) for curve in curves]
    simple = found.simple[found.counted]
    offsets, aligned = _aligned(curves)
    return Measurement(
        {
            "orientation_half_width": _median(widths),
            "circular_variance": _median(variances),
        },
        tuple(
            Curve(f"{name}, {chosen.sum()} cells", offsets, _median_curve(aligned[chosen], len(offsets)))
            for name, chosen in (("simple", simple), ("complex", ~simple))
        ),
        "orientation less the best (°)",
        _OF_PEAK,
        cells={"preferred_orientation": CellValues(np.array(turned), simple)},
    )


@_experiment(17)
def contrast_invariance(column: Column) -> Measurement:
    """As orientation tuning, of contrast .1 and .8, at the four spatial frequencies that are the best of most cells.

    Half-widths of evoked answers, each cell at its best frequency; cells in which more than .5 Hz is evoked at contrast .1.
    """
    found = column.characterisation
    frequencies, cells = np.unique(found.best[1][found.counted], return_counts=True)
    chosen = np.sort(frequencies[np.argsort(-cells, kind="stable")][:4])
    counted = found.counted[np.isin(found.best[1][found.counted], chosen)]
    contrasts = np.array([0.1, 0.8])
    ratios, curves = [], []
    if len(counted):
        rates = column.gratings(contrasts[:, None, None], np.arange(len(ORIENTATIONS))[:, None], chosen)
        answers = column.read(rates) - column.spontaneous
        for cell in counted:
            low, high = answers[:, :, list(chosen).index(found.best[1][cell]), cell]
            if low.max() > _SEEN:
                ratios.append(tuning.half_width(ORIENTATIONS, low) / tuning.half_width(ORIENTATIONS, high))
                curves.append((low, high))
    for_contrast = [_aligned([pair[k] for pair in curves]) for k in range(2)]
    return Measurement(
        {"tuning_width_ratio": _median(ratios)},
        tuple(
            Curve(f"contrast {contrast:g}, {len(curves)} cells", offsets, _median_curve(aligned, len(offsets)))
            for contrast, (offsets, aligned) in zip(contrasts, for_contrast, strict=True)
        ),
        "orientation less the best (°)",
        _OF_PEAK,
    )


@_experiment(18)
def spatial_frequency_tuning(column: Column) -> Measurement:
    """Flashed gratings of contrast .98 that fill 3.8°, 10 spatial frequencies half an octave apart, the best orientation.

    Bandwidth is the octaves between the frequencies at which tuning falls to .707 of its peak, of curves interpolated by
    cubic splines over log frequency; cells that fall so low on one side alone have none. The peak is that of a parabola
    through the highest sample and its neighbours; its histogram is that of the preset's eccentricity, De Valois 1982.
    """
    found = column.characterisation
    curves = [found.answers[found.best[0][cell], :, cell] for cell in found.counted]
    edges = np.array([tuning.band(column.frequencies, curve) for curve in curves]).reshape(-1, 2)
    octaves = np.log2(edges[:, 1] / edges[:, 0])
    simple = found.simple[found.counted]
    peaks = CellValues(np.array([measures.peak(column.frequencies, curve)[0] for curve in curves]), simple)
    preset = column.preset
    bins, published = distributions.cumulative("peak_spatial_frequency", peaks, preset)
    below = np.array([np.mean(peaks.values < edge) if len(curves) else np.nan for edge in bins])
    return Measurement(
        {
            "sf_bandwidth": _median(octaves),
            "sf_peak_distance": distributions.distance("peak_spatial_frequency", peaks, preset),
        },
        (
            Curve(f"V1, {np.isfinite(octaves).sum()} of {len(curves)} cells band-pass", bins, below),
            Curve("published", bins, published, reference=True),
        ),
        "peak spatial frequency (c/deg)",
        "share of cells below",
        "x",
        {
            "peak_spatial_frequency": peaks,
            "spatial_frequency_bandwidth": CellValues(100 * edges[:, 0] / edges[:, 1], simple),
            "spatial_frequency_selective": CellValues(np.isfinite(octaves).astype(float), simple),
        },
    )


@_experiment(19)
def simple_and_complex(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 24, that drift at 4 Hz over 2.1°, from half a second to 1.5 s after onset.

    Which cells count is told in `Column.drift_modulation`. Hartigan's dip test, its p from 2000 uniform samples of as
    many cells.
    """
    _, ratios = column.drift_modulation
    bins = np.linspace(0, 2, 11)
    counts = np.histogram(np.minimum(ratios, 1.999), bins)[0].astype(float)
    return Measurement(
        {
            "simple_share": float(np.mean(ratios > 1)) if len(ratios) else np.nan,
            "f1f0_dip": dip.probability(ratios),
        },
        (Curve(f"{len(ratios)} cells", (bins[1:] + bins[:-1]) / 2, counts),),
        "F1/F0",
        "cells",
    )


@_experiment(20)
def contrast_response(column: Column) -> Measurement:
    """Flashed gratings that fill 3.8°, a panel of 16, contrast .03 to .98.

    Evoked answers are fitted by maximum · cⁿ / (cⁿ + c50ⁿ), cell by cell (`tuning.fit_contrast_response`).
    """
    panel, contrasts, evoked = column.contrast_series
    fits = [tuning.fit_contrast_response(contrasts, response) for response in evoked.T]
    exponent, half, r2 = (_median([getattr(fit, name) for fit in fits]) for name in ("exponent", "half", "r2"))
    median = tuning.ContrastResponse(1.0, exponent, half, r2)
    fine = np.geomspace(contrasts[0], 1, 50)
    curves = _of_peak(evoked)
    return Measurement(
        {"crf_exponent": exponent, "crf_c50": half},
        (
            Curve(f"V1, median of {len(panel.cells)} cells", contrasts, _median_curve(curves, len(contrasts))),
            Curve(f"medians of fits; r² {r2:.3f}", fine, median(fine) / median(FULL_CONTRAST), reference=True),
        ),
        "contrast",
        _OF_PEAK,
        "x",
    )


@_experiment(21)
def cross_orientation(column: Column) -> Measurement:
    """The gratings of the contrast response at contrast .49, alone and with an orthogonal mask of .49 and equal frequency.

    Both are flashed and fill 3.8°; the mask is in sine phase, which adds no light on the cell's middle line. Evoked
    answers.
    """
    panel, contrasts, evoked = column.contrast_series
    half = FULL_CONTRAST / 2
    alone = evoked[contrasts == half][0]
    mask = column.waves(column.fine, panel, turned=90.0)[:, 1:2]
    both = column.answers(column.fine, panel, half * (column.waves(column.fine, panel) + mask))
    suppression = 1 - _ratio(both, alone)
    return Measurement(
        {"cross_orientation": _median(suppression)},
        (_ranked("V1", suppression),),
        "share of cells",
        "suppression",
    )


@_experiment(22)
def surround_suppression(column: Column) -> Measurement:
    """Round patches of flashed grating, 8 diameters to the edge of the screen, contrast .12 and .98; evoked answers.

    Two panels of 4 gratings: cells of up to 2 c/deg (at a centre radius of .05°) on a screen of 7.1° in pixels of an
    eighth of a degree, those above on one of 3.8° in pixels half as large. Suppression index: 1 - answer to the largest
    patch over that to the best, contrast .98. Summation field: the smallest diameter that evokes 95 % of the peak; the
    ratio is over cells in which more than .5 Hz is evoked at .12 (Cavanaugh 2002).
    """
    indices, low_fields, high_fields, surrounds, simple = [], [], [], [], []
    curves: list[tuple[np.ndarray, np.ndarray]] = []
    for series in column.size_series:
        for k, (low, high) in enumerate(np.moveaxis(series.evoked, -1, 0)):
            indices.append(tuning.suppression_index(high))
            high_fields.append(tuning.summation_field(series.diameters, high))
            low_fields.append(tuning.summation_field(series.diameters, low) if low.max() > _SEEN else np.nan)
            surrounds.append(tuning.surround_diameter(series.diameters, high))
            simple.append(column.characterisation.simple[series.panel.cells[k]])
            curves.append((series.diameters / high_fields[-1], np.stack([low, high])))
    kinds = np.array(simple, dtype=bool)
    suppressed = np.where(np.isfinite(indices), np.greater(indices, _STRONGLY), np.nan)
    relative = np.geomspace(0.25, 8, 11)
    shown = [
        [np.interp(relative, x, pair[k] / max(pair[k].max(), 1e-9), left=np.nan, right=np.nan) for x, pair in curves]
        for k in range(2)
    ]
    return Measurement(
        {
            "surround_suppression": _median(indices),
            "summation_growth": _median(_ratio(np.array(low_fields), np.array(high_fields))),
        },
        tuple(
            Curve(f"contrast {contrast:g}", relative, _median_curve(np.array(rows), len(relative)))
            for contrast, rows in zip(column.size_contrasts, shown, strict=True)
        ),
        "diameter / summation field at .98",
        _OF_PEAK,
        "x",
        {
            "surround_suppression_index": CellValues(np.array(indices), kinds),
            "grating_summation_field": CellValues(np.array(high_fields), kinds),
            "surround_diameter": CellValues(np.array(surrounds), kinds),
            "strongly_suppressed": CellValues(suppressed, kinds),
            "surround_to_summation_ratio": CellValues(_ratio(np.array(surrounds), np.array(high_fields)), kinds),
        },
    )


@_experiment(23)
def tuned_surround(column: Column) -> Measurement:
    """A patch of flashed grating in a surround that goes to the edge of the screen, all of contrast .98; evoked answers.

    Screens and gratings are those of size tuning; the patch has the diameter, of those shown and at most half of the
    screen, that evokes most on the mean over the cells that the grating serves. The surround, which begins where the
    patch ends, has the grating's frequency and phase, its orientation or the orthogonal one. Suppression is 1 - answer
    with over answer without the surround; the statistic is the median of the difference.
    """
    with_iso: list[np.ndarray] = []
    with_orthogonal: list[np.ndarray] = []
    for series in column.size_series:
        screen, panel = series.screen, series.panel
        if not len(panel):
            continue
        windows, alone = _centres(series.diameters, series.evoked[-1], screen, panel)
        waves, turned = column.waves(screen, panel), column.waves(screen, panel, turned=90.0)
        inside, outside = windows[:, None], 1 - windows[:, None]
        for surround, found in ((waves, with_iso), (turned, with_orthogonal)):
            answers = column.answers(screen, panel, FULL_CONTRAST * (inside * waves + outside * surround), whole=True)
            found.append(1 - _ratio(answers, alone))
    iso, orthogonal = (np.concatenate([np.zeros(0), *found]) for found in (with_iso, with_orthogonal))
    return Measurement(
        {"tuned_surround": _median(iso - orthogonal)},
        (_ranked("iso-oriented", iso), _ranked("orthogonal", orthogonal)),
        "share of cells",
        "suppression",
    )


@_experiment(24)
def temporal_frequency_tuning(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6, that drift at 1 to 48 Hz over 2.1°, from half a second to 1.5 s after onset.

    A V1 cell's response is the first harmonic or the evoked mean, whichever is larger at 4 Hz; relay cells (midget and
    parasol, ON and OFF, in the middle of the same films) respond with the first harmonic, and count where it exceeds
    5 Hz. The cut-off is where the response has fallen to half of its peak, 48 Hz where it never does; cut-offs are
    medians over cells and gratings. A cell is low-pass that answers 1 Hz with at least half of its peak (Foster 1985).
    """
    temporal = np.array([1, 2, 4, 8, 12, 16, 24, 32, 48])
    panel = column.panel(6)
    responses, relays = np.zeros((len(temporal), 0)), np.zeros((len(temporal), 0))
    if len(panel):
        drifts = column.drifts(panel, temporal)
        mean, first = (
            panel.served(np.array([[getattr(drift, name) for drift in row] for row in drifts]))
            for name in ("mean", "first")
        )
        raised, at = column.evoked(mean, panel.cells), int(np.flatnonzero(temporal == 4)[0])
        responses = np.where(first[at] > raised[at], first, raised)
        responses = responses[:, np.maximum(first[at], raised[at]) > COUNTED]
        relays = np.array([np.concatenate([drift.relay for drift in row]) for row in drifts])
        relays = relays[:, relays.max(axis=0) > COUNTED]
    cuts, relay_cuts = ([tuning.high_cut(temporal, r) for r in both.T] for both in (responses, relays))
    low_pass = responses[0] >= responses.max(axis=0) / 2 if responses.size else np.zeros(0)
    return Measurement(
        {
            "lgn_minus_v1_cutoff": _median(relay_cuts) - _median(cuts),
            "low_pass_share": float(np.mean(low_pass)) if len(low_pass) else np.nan,
        },
        tuple(
            Curve(f"{name}, cut-off {_median(found):.3g} Hz", temporal, _median_curve(_of_peak(both), len(temporal)))
            for name, both, found in (("LGN", relays, relay_cuts), ("V1", responses, cuts))
        ),
        "temporal frequency (Hz)",
        _OF_PEAK,
        "x",
    )


@_experiment(25)
def contrast_adaptation(column: Column) -> Measurement:
    """Contrast series after 1.2 s of a grating of contrast .5 that drifts at 4 Hz, and after 1.2 s of grey.

    A panel of 4 gratings, over 2.1°; the test is the same grating drifting on at contrast .05 to .98. Its response is the
    mean rate over one cycle, from 50 to 300 ms after its onset, less that to a test of contrast 0 after the same
    adaptor. Both series are fitted as the contrast response is; the shift is log2 of c50 after the adaptor over c50
    after grey, in octaves: positive towards the adaptor.
    """
    adapting, test_from, test_to = 1.2, 1.25, 1.5
    contrasts = np.array([0.05, 0.1, 0.2, 0.35, 0.6, FULL_CONTRAST])
    panel = column.panel(4)
    shifts: list[float] = []
    medians = np.full((2, len(contrasts)), np.nan)
    if len(panel):
        before = column.times < adapting
        films = (
            flicker(column.drifting(o, f, 4, column.times), MEAN, 1.0, np.where(before, adaptor, contrast))
            for adaptor in (0.0, 0.5)
            for contrast in (0.0, *contrasts)
            for o, f in zip(panel.orientation, panel.frequency, strict=True)
        )
        test = column.filmed(films, neighbours=True).v1.sel(time=slice(test_from - FRAME / 2, test_to - FRAME / 2))
        # Over a cycle columns are alike, whatever phase they see.
        rates = panel.served(test.mean(("time", "v1_y", "v1_x")).values.reshape(2, 1 + len(contrasts), len(panel), -1))
        evoked = rates[:, 1:] - rates[:, :1]
        fits = [[tuning.fit_contrast_response(contrasts, cell) for cell in series.T] for series in evoked]
        shifts = [float(np.log2(adapted.half / fresh.half)) for fresh, adapted in zip(*fits, strict=True)]
        scale = np.maximum(evoked[0].max(axis=0), 1e-9)
        medians = np.median(evoked / scale, axis=-1)
    return Measurement(
        {"c50_shift": _median(shifts)},
        (Curve("after grey", contrasts, medians[0]), Curve("after contrast .5", contrasts, medians[1])),
        "contrast",
        "share of the peak after grey",
        "x",
    )


def _centres(diameters: np.ndarray, evoked: np.ndarray, screen: Screen, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """For every grating the window that evokes most, (grating, y, x), and what it evokes, (served,)."""
    allowed = diameters <= screen.pixels / screen.pixels_per_degree / 2
    share = _of_peak(evoked)[:, allowed]
    best = np.array([share[panel.grating == k].mean(axis=0).argmax() for k in range(len(panel))])
    windows = np.stack([screen.disc(diameters[k]) for k in best])
    return windows, evoked[best[panel.grating], np.arange(len(panel.cells))]


def _preferred(curve: np.ndarray) -> float:
    """The mean direction of orientation tuning, -22.5 to 157.5°, as the published histogram counts."""
    total = (curve * np.exp(2j * np.deg2rad(ORIENTATIONS))).sum()
    return float((np.rad2deg(np.angle(total)) / 2 + 22.5) % 180 - 22.5)


def _aligned(curves: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Orientations less the best one, and each curve over its peak at them."""
    half = len(ORIENTATIONS) // 2
    offsets = ORIENTATIONS - ORIENTATIONS[half]
    rows = [np.roll(curve, half - int(curve.argmax())) / max(curve.max(), 1e-9) for curve in curves]
    return offsets, np.reshape(rows, (len(curves), len(offsets)))


def _of_peak(responses: np.ndarray) -> np.ndarray:
    """Every cell's responses over its highest: (cell, stimulus), from (stimulus, cell)."""
    return (responses / np.maximum(responses.max(axis=0, initial=1e-9), 1e-9)).T


def _median_curve(rows: np.ndarray, points: int) -> np.ndarray:
    """Medians over cells at each point, of the cells that were measured there; NaN where none was."""
    return np.array([_median(rows[:, k]) if len(rows) else np.nan for k in range(points)])


def _ranked(label: str, values: np.ndarray) -> Curve:
    """Cells' values in their order, by the share of cells that have less."""
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return Curve(f"{label}, 0 cells", np.array([0.0, 1.0]), np.full(2, np.nan))
    return Curve(f"{label}, {len(known)} cells", (np.arange(len(known)) + 0.5) / len(known), known)


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One over the other, NaN where the other is not above 0."""
    known = other > 0
    return np.divide(one, other, out=np.full(np.shape(other), np.nan), where=known)


def _median(values: list[float] | np.ndarray) -> float:
    """The median of the values that are known; NaN where none is."""
    array = np.asarray(values, dtype=float)
    known = array[np.isfinite(array)]
    return float(np.median(known)) if known.size else float("nan")
