"""The experiments on V1 cells, one function each, with the numbers of ``bands.json``.

They use the responsive cells of the column in the middle of the screen, with more than 5 Hz for their best grating
(`biomodel.physiology.column`). Where cells are shown the gratings of a panel, each is recorded with one that evokes at least
85 % of the response to its best grating. Values are medians over cells. Evoked responses are those less the spontaneous rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from biomodel.physiology import distributions, measures
from biomodel.physiology.column import LEVELS, LOWEST_RESPONSE, ORIENTATIONS, Column, Panel, SizeSeries, pool_phases
from biomodel.physiology.measures import median, ratio, scale_to_peak
from biomodel.physiology.recording import FRAME, FULL_CONTRAST, MEAN
from biomodel.physiology.results import CellValues, Curve, Experiments, Measurement
from biomodel.physiology.screens import PHASES, flicker

#: Experiments by number.
EXPERIMENTS: Experiments[Column] = Experiments()

_OF_PEAK = "share of the peak"

#: Seconds of a flash in which latencies are measured.
_LATENCY_MOVIE = 0.25

#: Tuning at low contrast is measured in cells with an evoked response above this, Hz.
_LOWEST_EVOKED = 0.5

#: Index above which a cell is strongly suppressed by its surround (Cavanaugh 2002).
_STRONGLY = 0.1


@EXPERIMENTS.add(13)
def variability(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6 at four phases, flashed on grey 50 times over 2.1°.

    Spikes are counted from the onset to 200 ms; the median is over cells and phases with a mean count of 1 or more.
    """
    mean, factor = column.count_variability(column.panel(6))
    order = np.argsort(mean)
    values = {"v1_fano": median(factor)}
    curves = (Curve(f"V1, median {median(factor):.2f}", mean[order], factor[order]),)
    return Measurement(values, curves, "mean count", "Fano factor")


@EXPERIMENTS.add(14)
def spontaneous_activity(column: Column) -> Measurement:
    """Rates of all V1 cells of the column in uniform fields that they are adapted to; the value is for 100 cd/m².

    Means over 200 ms of a static field.
    """
    values = {"v1_spontaneous_rate": median(column.spontaneous_rates)}
    curves = (Curve("V1, median", LEVELS, _median_curve(column.maintained_rates.T, len(LEVELS))),)
    return Measurement(values, curves, "background (cd/m²)", "maintained rate (Hz)", "x")


@EXPERIMENTS.add(15)
def latency(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6 at four phases, are flashed on grey and fill the screen.

    Latency is the time from the flash to half of the cell's peak, relative to its first sample and interpolated between
    samples 2 ms apart, at the phase with the highest peak.
    """
    panel = column.panel(6)
    latencies, mean = np.zeros(0), np.full(2, np.nan)
    times = np.array([0.0, 248.0])
    if len(panel):
        gratings = column.panel_gratings(column.movie, panel).reshape(-1, column.movie.pixels, column.movie.pixels)
        frames = round(_LATENCY_MOVIE / FRAME)
        movies = (np.broadcast_to(MEAN * (1 + FULL_CONTRAST * one), (frames, *one.shape)) for one in gratings)
        rates = column.movie_rates(movies).v1.isel(v1_y=0, v1_x=0).sel(time=slice(None, 0.249))
        times = 1000 * rates.time.values
        by_phase = rates.values.reshape(len(panel), len(PHASES), len(times), -1)
        traces = np.moveaxis(panel.select(np.moveaxis(by_phase, 0, 2)), -1, 0)  # (driven, phase, time)
        traces = column.smooth(traces)
        best = traces[np.arange(len(traces)), traces.max(axis=2).argmax(axis=1)]
        latencies = np.array([measures.half_rise_time(times, trace) for trace in best])
        mean = best.mean(axis=0)
    values = {"v1_latency": median(latencies)}
    curves = (Curve(f"V1, mean of {len(latencies)} cells", times, mean),)
    return Measurement(values, curves, "time after the flash (ms)", "rate (Hz)")


@EXPERIMENTS.add(16)
def orientation_tuning(column: Column) -> Measurement:
    """Flashed gratings of contrast .98 that fill 3.8°, 12 orientations, at each cell's best of 10 spatial frequencies.

    Half-width at .707 of the peak, of curves interpolated by cubic splines, 90° for a cell that doesn't fall so low;
    circular variance over the 12 orientations. Spontaneous rates are not subtracted (Ringach 2002).
    """
    found = column.characterisation
    curves = found.orientation_curves
    simple = found.simple[found.responsive]
    preferred = np.array([_preferred_orientation(curve) for curve in curves])
    offsets, aligned = _align(curves)
    values = {
        "orientation_half_width": median([measures.half_width(ORIENTATIONS, curve) for curve in curves]),
        "circular_variance": median([measures.circular_variance(ORIENTATIONS, curve) for curve in curves]),
    }
    plotted = tuple(
        Curve(f"{name}, {chosen.sum()} cells", offsets, _median_curve(aligned[chosen], len(offsets)))
        for name, chosen in (("simple", simple), ("complex", ~simple))
    )
    cells = {"preferred_orientation": CellValues(preferred, simple)}
    return Measurement(values, plotted, "orientation less the best (°)", _OF_PEAK, cells=cells)


@EXPERIMENTS.add(17)
def contrast_invariance(column: Column) -> Measurement:
    """As orientation tuning, with contrasts .1 and .8, at the four spatial frequencies that are the best of most cells.

    Half-widths of evoked responses, each cell at its best frequency; cells with more than .5 Hz evoked at contrast .1.
    """
    found = column.characterisation
    best = found.best[1][found.responsive]
    frequencies, counts = np.unique(best, return_counts=True)
    chosen = np.sort(frequencies[np.argsort(-counts, kind="stable")][:4])
    contrasts = np.array([0.1, 0.8])
    curves = np.zeros((2, 0, len(ORIENTATIONS)))
    if len(best):
        rates = column.grating_rates(contrasts[:, None, None], np.arange(len(ORIENTATIONS))[:, None], chosen)
        evoked = pool_phases(rates, found.simple) - column.spontaneous_rates
        cells = found.responsive[np.isin(best, chosen)]
        curves = evoked[:, :, np.searchsorted(chosen, found.best[1][cells]), cells].swapaxes(1, 2)
        curves = curves[:, curves[0].max(axis=1) > _LOWEST_EVOKED]
    low, high = ([measures.half_width(ORIENTATIONS, curve) for curve in series] for series in curves)
    aligned = [_align(series) for series in curves]
    values = {"tuning_width_ratio": median(np.divide(low, high))}
    plotted = tuple(
        Curve(f"contrast {contrast:g}, {len(rows)} cells", offsets, _median_curve(rows, len(offsets)))
        for contrast, (offsets, rows) in zip(contrasts, aligned, strict=True)
    )
    return Measurement(values, plotted, "orientation less the best (°)", _OF_PEAK)


@EXPERIMENTS.add(18)
def spatial_frequency_tuning(column: Column) -> Measurement:
    """Flashed gratings of contrast .98 that fill 3.8°, 10 spatial frequencies half an octave apart, the best orientation.

    Bandwidth in octaves is between the frequencies at which tuning falls to .707 of its peak, of curves interpolated by
    cubic splines over log frequency; cells that fall so low on one side only have none. The peak is that of a parabola
    through the highest sample and its neighbours; its histogram is that of the preset's eccentricity, De Valois 1982.
    """
    found = column.characterisation
    curves, preset = found.frequency_curves, column.preset
    edges = np.array([measures.passband(column.frequencies, curve) for curve in curves]).reshape(-1, 2)
    octaves = np.log2(edges[:, 1] / edges[:, 0])
    simple = found.simple[found.responsive]
    peaks = CellValues(np.array([measures.peak(column.frequencies, curve)[0] for curve in curves]), simple)
    bins, published = distributions.cumulative_histogram("peak_spatial_frequency", peaks, preset)
    below = np.array([np.mean(peaks.values < edge) if len(curves) else np.nan for edge in bins])
    values = {
        "sf_bandwidth": median(octaves),
        "sf_peak_distance": distributions.histogram_distance("peak_spatial_frequency", peaks, preset),
    }
    plotted = (
        Curve(f"V1, {np.isfinite(octaves).sum()} of {len(curves)} cells band-pass", bins, below),
        Curve("published", bins, published, reference=True),
    )
    cells = {
        "peak_spatial_frequency": peaks,
        "spatial_frequency_bandwidth": CellValues(100 * edges[:, 0] / edges[:, 1], simple),
        "spatial_frequency_selective": CellValues(np.isfinite(octaves).astype(float), simple),
    }
    return Measurement(values, plotted, "peak spatial frequency (c/deg)", "share of cells below", "x", cells)


@EXPERIMENTS.add(19)
def simple_and_complex(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 24, that drift at 4 Hz over 2.1°, from half a second to 1.5 s after onset.

    Cells are those of `Column.drift_modulation`. Hartigan's dip test, with p from 2000 uniform samples of the same size.
    """
    _, ratios = column.drift_modulation
    bins = np.linspace(0, 2, 11)
    counts = np.histogram(np.minimum(ratios, 1.999), bins)[0].astype(float)
    values = {
        "simple_share": float(np.mean(ratios > 1)) if len(ratios) else np.nan,
        "f1f0_dip": measures.dip_probability(ratios),
    }
    curves = (Curve(f"{len(ratios)} cells", (bins[1:] + bins[:-1]) / 2, counts),)
    return Measurement(values, curves, "F1/F0", "cells")


@EXPERIMENTS.add(20)
def contrast_response(column: Column) -> Measurement:
    """Flashed gratings that fill 3.8°, a panel of 16, contrasts .03 to .98.

    Evoked responses of each cell are fitted by maximum · cⁿ / (cⁿ + c50ⁿ) (`measures.fit_contrast_response`).
    """
    panel, contrasts, evoked = column.contrast_series
    fits = [measures.fit_contrast_response(contrasts, response) for response in evoked.T]
    exponent, half, r2 = (median([getattr(fit, name) for fit in fits]) for name in ("exponent", "half", "r2"))
    model = measures.ContrastResponse(1.0, exponent, half, r2)
    fine = np.geomspace(contrasts[0], 1, 50)
    curve = _median_curve(scale_to_peak(evoked).T, len(contrasts))
    values = {"crf_exponent": exponent, "crf_c50": half}
    curves = (
        Curve(f"V1, median of {len(panel.cells)} cells", contrasts, curve),
        Curve(f"medians of fits; r² {r2:.3f}", fine, model(fine) / model(FULL_CONTRAST), reference=True),
    )
    return Measurement(values, curves, "contrast", _OF_PEAK, "x")


@EXPERIMENTS.add(21)
def cross_orientation(column: Column) -> Measurement:
    """The gratings of the contrast response at contrast .49, alone and with an orthogonal mask of .49 and equal frequency.

    Both are flashed and fill 3.8°; the mask is in sine phase, which adds no light on the cell's middle line. Evoked
    responses.
    """
    panel, contrasts, evoked = column.contrast_series
    half = FULL_CONTRAST / 2
    mask = column.panel_gratings(column.fine, panel, turn=90.0)[:, 1:2]
    masked = column.evoked_by(column.fine, panel, half * (column.panel_gratings(column.fine, panel) + mask))
    suppression = 1 - ratio(masked, evoked[contrasts == half][0])
    return Measurement(
        {"cross_orientation": median(suppression)}, (_rank("V1", suppression),), "share of cells", "suppression"
    )


@EXPERIMENTS.add(22)
def surround_suppression(column: Column) -> Measurement:
    """Round patches of flashed grating, 8 diameters up to the edge of the screen, contrasts .12 and .98; evoked responses.

    Two panels of 4 gratings: cells of up to 2 c/deg (at a centre radius of .05°) on a screen of 7.1° in pixels of an
    eighth of a degree, those above on one of 3.8° in pixels half as large. Suppression index: 1 - response to the largest
    patch over that to the best, contrast .98. Summation field: the smallest diameter that evokes 95 % of the peak; the
    ratio is over cells with more than .5 Hz evoked at .12 (Cavanaugh 2002).
    """
    rows, curves = [], []
    for series in column.size_series:
        for cell, (low, high) in zip(series.panel.cells, np.moveaxis(series.evoked, -1, 0), strict=True):
            field = measures.summation_field(series.diameters, high)
            low_field = measures.summation_field(series.diameters, low) if low.max() > _LOWEST_EVOKED else np.nan
            surround = measures.surround_diameter(series.diameters, high)
            simple = column.characterisation.simple[cell]
            rows.append((measures.suppression_index(high), low_field, field, surround, simple))
            curves.append((series.diameters / field, low, high))
    indices, low_fields, fields, surrounds, simples = np.reshape(rows, (-1, 5)).astype(float).T
    suppressed = np.where(np.isfinite(indices), np.greater(indices, _STRONGLY), np.nan)
    properties = {
        "surround_suppression_index": indices,
        "grating_summation_field": fields,
        "surround_diameter": surrounds,
        "strongly_suppressed": suppressed,
        "surround_to_summation_ratio": ratio(surrounds, fields),
    }
    relative = np.geomspace(0.25, 8, 11)
    by_contrast = [
        [np.interp(relative, x, y[k] / max(y[k].max(), 1e-9), left=np.nan, right=np.nan) for x, *y in curves]
        for k in range(2)
    ]
    result = {"surround_suppression": median(indices), "summation_growth": median(ratio(low_fields, fields))}
    plotted = tuple(
        Curve(f"contrast {contrast:g}", relative, _median_curve(np.array(series), len(relative)))
        for contrast, series in zip(column.size_contrasts, by_contrast, strict=True)
    )
    cells = {name: CellValues(values, simples > 0) for name, values in properties.items()}
    return Measurement(result, plotted, "diameter / summation field at .98", _OF_PEAK, "x", cells)


@EXPERIMENTS.add(23)
def tuned_surround(column: Column) -> Measurement:
    """A patch of flashed grating in a surround that reaches the edge of the screen, both of contrast .98; evoked responses.

    Screens and gratings are those of size tuning. The patch is fitted to each cell: it has the diameter that evokes most in the
    cell, of those shown and at most half of the screen. The surround, which begins where the patch ends, has the grating's
    frequency and phase, and its orientation or the orthogonal one. Suppression is 1 - response with over response without the
    surround; the value is the median of the difference.
    """
    suppression: dict[str, list[np.ndarray]] = {"iso-oriented": [], "orthogonal": []}
    for series in column.size_series:
        for panel, window, alone in _fitted_patches(series):
            gratings, turned = (column.panel_gratings(series.screen, panel, turn) for turn in (0.0, 90.0))
            patterns = [window * gratings + (1 - window) * surround for surround in (gratings, turned)]
            responses = column.evoked_by(series.screen, panel, FULL_CONTRAST * np.stack(patterns), full_v1=True)
            for by_cell, response in zip(suppression.values(), responses, strict=True):
                by_cell.append(1 - ratio(response, alone))
    iso, orthogonal = (np.concatenate([np.zeros(0), *by_cell]) for by_cell in suppression.values())
    values = {"tuned_surround": median(iso - orthogonal)}
    curves = (_rank("iso-oriented", iso), _rank("orthogonal", orthogonal))
    return Measurement(values, curves, "share of cells", "suppression")


@EXPERIMENTS.add(24)
def temporal_frequency_tuning(column: Column) -> Measurement:
    """Gratings of contrast .98, a panel of 6, that drift at 1 to 48 Hz over 2.1°, from half a second to 1.5 s after onset.

    A V1 cell's response is the first harmonic or the evoked mean, the larger one at 4 Hz. The response of relay cells
    (midget and parasol, ON and OFF, in the middle of the same movies) is the first harmonic, if it exceeds 5 Hz. The
    cut-off is where the response has fallen to half of its peak, 48 Hz where it never does; cut-offs are medians over
    cells and gratings. A cell is low-pass if its response to 1 Hz is at least half of its peak (Foster 1985).
    """
    temporal = np.array([1, 2, 4, 8, 12, 16, 24, 32, 48])
    panel = column.panel(6)
    v1, relay = np.zeros((len(temporal), 0)), np.zeros((len(temporal), 0))
    if len(panel):
        drifts = column.drift_responses(panel, temporal)
        first, raised = drifts["first"], drifts["mean"] - column.spontaneous_rates[panel.cells]
        at = int(np.flatnonzero(temporal == 4)[0])
        v1 = np.where(first[at] > raised[at], first, raised)
        v1 = v1[:, np.maximum(first[at], raised[at]) > LOWEST_RESPONSE]
        relay = drifts["relay"][:, drifts["relay"].max(axis=0) > LOWEST_RESPONSE]
    cutoffs = {
        name: median([measures.high_cutoff(temporal, response) for response in responses.T])
        for name, responses in (("LGN", relay), ("V1", v1))
    }
    low_pass = v1[0] >= v1.max(axis=0) / 2 if v1.size else np.zeros(0)
    values = {
        "lgn_minus_v1_cutoff": cutoffs["LGN"] - cutoffs["V1"],
        "low_pass_share": float(np.mean(low_pass)) if len(low_pass) else np.nan,
    }
    curves = tuple(
        Curve(f"{name}, cut-off {cutoffs[name]:.3g} Hz", temporal, _median_curve(scaled, len(temporal)))
        for name, scaled in (("LGN", scale_to_peak(relay).T), ("V1", scale_to_peak(v1).T))
    )
    return Measurement(values, curves, "temporal frequency (Hz)", _OF_PEAK, "x")


@EXPERIMENTS.add(25)
def contrast_adaptation(column: Column) -> Measurement:
    """Contrast series after 1.2 s of a grating of contrast .5 that drifts at 4 Hz, and after 1.2 s of grey.

    A panel of 4 gratings, over 2.1°; the test is the same grating, drifting on at contrast .05 to .98. Its response is the
    mean rate over one cycle, from 50 to 300 ms after its onset, less that to a test of contrast 0 after the same adaptor.
    Both series are fitted as the contrast response is; the shift is log2 of c50 after the adaptor over c50 after grey, in
    octaves: positive towards the adaptor.
    """
    adapting, test_from, test_to = 1.2, 1.25, 1.5
    contrasts = np.array([0.05, 0.1, 0.2, 0.35, 0.6, FULL_CONTRAST])
    panel = column.panel(4)
    shifts: list[float] = []
    medians = np.full((2, len(contrasts)), np.nan)
    if len(panel):
        before = column.times < adapting
        movies = (
            flicker(column.drifting_grating(o, f, 4, column.times), MEAN, 1.0, np.where(before, adaptor, contrast))
            for adaptor in (0.0, 0.5)
            for contrast in (0.0, *contrasts)
            for o, f in panel.gratings
        )
        test = column.movie_rates(movies, neighbours=True).v1
        test = test.sel(time=slice(test_from - FRAME / 2, test_to - FRAME / 2))
        # Over a cycle columns have the same mean, at any phase.
        rates = panel.select(test.mean(("time", "v1_y", "v1_x")).values.reshape(2, 1 + len(contrasts), len(panel), -1))
        evoked = rates[:, 1:] - rates[:, :1]
        fits = [[measures.fit_contrast_response(contrasts, cell) for cell in series.T] for series in evoked]
        shifts = [float(np.log2(adapted.half / fresh.half)) for fresh, adapted in zip(*fits, strict=True)]
        medians = np.median(evoked / np.maximum(evoked[0].max(axis=0), 1e-9), axis=-1)
    values = {"c50_shift": median(shifts)}
    curves = (Curve("after grey", contrasts, medians[0]), Curve("after contrast .5", contrasts, medians[1]))
    return Measurement(values, curves, "contrast", "share of the peak after grey", "x")


def _fitted_patches(series: SizeSeries) -> Iterator[tuple[Panel, np.ndarray, np.ndarray]]:
    """The patch that evokes most in each cell: for the cells of one grating and diameter a panel, the patch and responses to it.

    Yields
    ------
    panel : Panel
        Of one grating.
    window : numpy.ndarray, (y, x)
    alone : numpy.ndarray, (driven,)
        Evoked responses to the patch in Hz.
    """
    screen, panel, evoked = series.screen, series.panel, series.evoked[-1]
    allowed = np.flatnonzero(series.diameters <= screen.pixels / screen.pixels_per_degree / 2)
    best = allowed[evoked[allowed].argmax(axis=0)]
    for grating, diameter in sorted({*zip(panel.grating.tolist(), best.tolist(), strict=True)}):
        own = np.flatnonzero((panel.grating == grating) & (best == diameter))
        one = np.array([grating])
        cells = Panel(panel.orientation[one], panel.frequency[one], panel.cells[own], np.zeros(len(own), dtype=int))
        yield cells, screen.disc(series.diameters[diameter]), evoked[diameter, own]


def _preferred_orientation(curve: np.ndarray) -> float:
    """Mean direction of orientation tuning, -22.5 to 157.5°, the range of the published histogram."""
    total = (curve * np.exp(2j * np.deg2rad(ORIENTATIONS))).sum()
    return float((np.rad2deg(np.angle(total)) / 2 + 22.5) % 180 - 22.5)


def _align(curves: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientations relative to the best one, and each curve over its peak at them, (cell, orientation)."""
    half = len(ORIENTATIONS) // 2
    offsets = ORIENTATIONS - ORIENTATIONS[half]
    rows = [np.roll(curve, half - int(curve.argmax())) / max(curve.max(), 1e-9) for curve in curves]
    return offsets, np.reshape(rows, (len(curves), len(offsets)))


def _median_curve(rows: np.ndarray, points: int) -> np.ndarray:
    """Medians over the cells with a finite value at each point; NaN where there is none."""
    return np.array([median(rows[:, k]) if len(rows) else np.nan for k in range(points)])


def _rank(label: str, values: np.ndarray) -> Curve:
    """Cells' values in ascending order, by the share of cells with lower values."""
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return Curve(f"{label}, 0 cells", np.array([0.0, 1.0]), np.full(2, np.nan))
    return Curve(f"{label}, {len(known)} cells", (np.arange(len(known)) + 0.5) / len(known), known)
