"""V1's measures against closed forms; its experiments on cells with known responses."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from biomodel import Pathway, physiology
from biomodel.parameters import Parameters
from biomodel.physiology import battery, distributions, draws, measures, receptive_fields, v1
from biomodel.physiology.column import ORIENTATIONS, Column
from biomodel.physiology.plots import population
from biomodel.physiology.recording import Electrode, rates_from_neighbours
from biomodel.physiology.results import CellValues
from biomodel.physiology.screens import PHASES, Screen


def test_gratings_of_any_orientation():
    screen = Screen(41, 40.0)
    phases = np.array([0.3, 2.0])
    upright, lying = screen.grating(4.0, phases), screen.grating(4.0, phases, 0.0)
    assert np.allclose(upright, lying.swapaxes(1, 2)) and np.ptp(lying, axis=2).max() < 1e-12
    # Stripes that run up to the right: the same along the diagonal from bottom left to top right.
    oblique = screen.grating(4.0, 0.0, 45.0)
    assert np.allclose(np.diag(oblique[::-1]), 1) and np.ptp(np.diag(oblique)) > 1.9


def test_modulation_of_rectified_and_of_even_responses():
    phases = np.arange(8) * np.pi / 4
    rectified = np.maximum(np.cos(phases - np.pi / 4), 0)
    assert measures.modulation_ratio(phases, np.stack([rectified, np.ones(8)], axis=1)) == pytest.approx(
        [1.657, 0], abs=1e-3
    )
    assert np.isinf(measures.modulation_ratio(phases, np.zeros(8)))


def test_circular_variance_of_known_curves():
    assert measures.circular_variance(ORIENTATIONS, np.eye(12)[3]) == pytest.approx(0)
    assert measures.circular_variance(ORIENTATIONS, np.full(12, 7.0)) == pytest.approx(1)
    cosine = 1 + 0.8 * np.cos(2 * np.deg2rad(ORIENTATIONS - 20))
    assert measures.circular_variance(ORIENTATIONS, cosine) == pytest.approx(0.6)
    assert np.isnan(measures.circular_variance(ORIENTATIONS, np.zeros(12)))


@pytest.mark.parametrize("best", [0.0, 37.0, 91.0, 179.0])
def test_half_width_wherever_the_peak_is(best):
    away = (ORIENTATIONS - best + 90) % 180 - 90
    assert measures.half_width(ORIENTATIONS, np.exp(-(away**2) / (2 * 25**2))) == pytest.approx(
        25 * np.sqrt(np.log(2)), rel=0.02
    )


def test_half_width_is_interpolated_between_samples():
    narrow, wide = (
        measures.half_width(ORIENTATIONS, np.exp(-((ORIENTATIONS - 90) ** 2) / (2 * s**2))) for s in (25, 25.05)
    )
    assert wide - narrow == pytest.approx(0.05 * np.sqrt(np.log(2)), rel=0.1)


def test_untuned_and_silent_cells_have_widths_too():
    assert measures.half_width(ORIENTATIONS, np.full(12, 3.0)) == measures.UNTUNED
    assert np.isnan(measures.half_width(ORIENTATIONS, np.zeros(12)))


def test_passband_of_a_curve_over_log_frequency():
    frequencies = 0.25 * 2 ** (np.arange(10) / 2)
    octaves = np.log2(frequencies / 1.3)
    low, high = measures.passband(frequencies, np.exp(-(octaves**2) / (2 * 0.66**2)))
    assert np.log2(high / low) == pytest.approx(2 * 0.66 * np.sqrt(np.log(2)), rel=0.02)
    assert np.sqrt(high * low) == pytest.approx(1.3, rel=0.02)
    low, high = measures.passband(frequencies, np.exp(-frequencies))
    assert np.isnan(low) and high == pytest.approx(0.25 + np.log(2) / 2, rel=0.05)
    assert np.isnan(measures.passband(frequencies, np.zeros(10))).all()


def test_high_cutoff_is_at_half_of_the_peak():
    frequencies = np.array([1, 2, 4, 8, 16, 32])
    assert measures.high_cutoff(frequencies, [1, 2, 4, 4, 1, 0]) == pytest.approx(8 * 2 ** (2 / 3))
    assert measures.high_cutoff(frequencies, [1, 2, 4, 5, 6, 4]) == 32
    assert np.isnan(measures.high_cutoff(frequencies, np.zeros(6)))


@pytest.mark.parametrize(("exponent", "half"), [(1.0, 0.8), (2.4, 0.33), (4.0, 0.1)])
def test_contrast_response_is_recovered(exponent, half):
    contrasts = np.array([0.03, 0.06, 0.12, 0.25, 0.49, 0.7, 0.98])
    found = measures.fit_contrast_response(contrasts, measures.ContrastResponse(40, exponent, half, 1)(contrasts))
    assert (found.maximum, found.exponent, found.half) == pytest.approx((40, exponent, half), rel=1e-3)
    assert found.r2 == pytest.approx(1)
    assert np.isnan(measures.fit_contrast_response(contrasts, np.zeros(7)).half)


def test_fields_of_a_ratio_of_gaussians():
    diameters = np.geomspace(0.3, 7.2, 8)
    centre, surround = (1 - np.exp(-((diameters / size) ** 2)) for size in (0.8, 3.0))
    response = 30 * centre / (1 + 0.6 * surround)
    fine = np.geomspace(0.3, 7.2, 5000)
    expected = (1 - np.exp(-((fine / 0.8) ** 2))) / (1 + 0.6 * (1 - np.exp(-((fine / 3.0) ** 2))))
    top = expected.argmax()
    assert measures.suppression_index(response) == pytest.approx(1 - expected[-1] / expected[top], abs=0.02)
    reached = fine[np.argmax(expected >= 0.95 * expected[top])]
    assert measures.summation_field(diameters, response) == pytest.approx(reached, rel=0.05)
    gone = fine[top + np.argmax(expected[top:] <= expected[-1] + 0.05 * (expected[top] - expected[-1]))]
    assert measures.surround_diameter(diameters, response) == pytest.approx(gone, rel=0.1)
    assert np.isnan(measures.surround_diameter(diameters, centre))
    assert np.isnan(measures.suppression_index(np.zeros(8))) and np.isnan(
        measures.summation_field(diameters, np.zeros(8))
    )


def test_dip_of_one_cluster_and_of_two():
    random = np.random.default_rng(1)
    one, two = random.normal(1, 0.3, 60), np.concatenate([random.normal(0.3, 0.1, 30), random.normal(1.6, 0.1, 30)])
    assert measures.dip_probability(two, draws=200) < 0.01 < 0.2 < measures.dip_probability(one, draws=200)
    assert measures.dip_probability(two, seed=3, draws=50) == measures.dip_probability(two, seed=3, draws=50)
    assert np.isnan(measures.dip_probability([1.0, 2, 3])) and measures.dip_probability(np.ones(4), draws=50) == 1


def test_kolmogorov_smirnov_distance_to_a_histogram():
    edges, published = np.array([0.0, 1, 2, 4]), np.array([0.0, 0.25, 0.75, 1])
    assert distributions.kolmogorov_smirnov([0.5, 1.2, 1.9, 3], edges, published) == pytest.approx(0)
    assert distributions.kolmogorov_smirnov([0.5, 0.6, 0.7, 3], edges, published) == pytest.approx(0.5)
    assert distributions.kolmogorov_smirnov([7.0], edges, published) == pytest.approx(1)
    assert np.isnan(distributions.kolmogorov_smirnov([], edges, published))


def test_published_histograms_are_mixed_as_the_cells_are():
    simple = np.array([True, True, True, False])
    values = CellValues(np.array([1.0, 1.5, np.nan, 3.0]), simple)
    edges, shares = distributions.cumulative_histogram("peak_spatial_frequency", values, "macaque_fovea")
    # Below 2 c/deg: 41 of 148 simple and 18 of 84 complex foveal cells.
    assert shares[edges == 2.0] == pytest.approx(2 / 3 * 41 / 148 + 1 / 3 * 18 / 84)
    assert shares[-1] == pytest.approx(1)
    assert not np.allclose(
        shares, distributions.cumulative_histogram("peak_spatial_frequency", values, "macaque_parafovea")[1]
    )
    with pytest.raises(ValueError, match="preset must be one of .*, got 'mouse'"):
        distributions.cumulative_histogram("peak_spatial_frequency", values, "mouse")


def test_histograms_are_the_published_ones():
    shipped = distributions._HISTOGRAMS
    counts = json.loads(shipped.read_text())["surround_suppression_index"]["counts"]
    assert sum(counts) == 190 and counts[0] == 66


class GaborCells:
    """Simple (rectified) and complex (energy) Gabor cells behind a delay and a membrane, with a pool and a surround.

    R = spontaneous + maximum · (1 - suppression · E/P) · Lⁿ / (c50ⁿ + Pⁿ), n = 2, where L is the filter's output (1
    for its best grating of contrast 1), P the contrast around the cell and E that in a ring further out, times cos² of
    the angle between its orientation and the cell's. In films there is no ring. After an adaptor c50 is 2^`shift`
    times as high.
    """

    parameters = Parameters("macaque_parafovea")
    spontaneous, maximum, half, suppression, shift = 0.8, 60.0, 0.3, 0.3, 0.6
    across, along, pool, ring = 0.33, 0.25, 0.22, (2.2, 3.4)  # cycles
    delay, membrane, relay = 0.020, 0.010, 0.006

    def __init__(self, kinds=("simple", "complex"), gain=1.0):
        self.gain = gain
        preferences = [(0, 1.0), (22, 1.2), (50, 2.0), (75, 2.6), (110, 3.0), (160, 2.0)]
        self.cells = [(kind, orientation, frequency) for kind in kinds for orientation, frequency in preferences]

    def simulate(
        self, stimulus, adapt_to, duration=0.2, window=(0.05, 0.2), output="v1", record="mean", workers=1, **_
    ):
        trace = "time" in stimulus.dims
        contrast = stimulus.values / np.reshape(adapt_to, (-1,) + (1,) * (stimulus.ndim - 1)) - 1
        pixels = contrast.reshape(*contrast.shape[:-2], -1)
        rates = np.stack(self.rates(stimulus, pixels), axis=-1) if self.cells else np.zeros((*pixels.shape[:-1], 0))
        dims = ("image", *(["time"] if trace else []))
        coordinates = {}
        found = {"v1": ((*dims, "v1_channel", "v1_y", "v1_x"), rates[..., None, None])}
        if trace:
            middle = contrast[..., contrast.shape[-2] // 2, contrast.shape[-1] // 2]
            driven = 50 * self.slowed(middle, self.relay)
            relay = np.stack([40 + driven, 40 - driven], axis=-1)[..., None, None]
            found["lgn"] = ((*dims, "lgn_channel", "y", "x"), relay)
            coordinates["time"] = np.arange(contrast.shape[1]) * 0.002
        return xr.Dataset(found, coordinates)

    def slowed(self, values, time):
        decay = np.exp(-0.002 / time)
        return lfilter([1 - decay], [1, -decay], values, axis=1)

    def rates(self, stimulus, pixels):
        x, y = (axis.ravel() for axis in np.meshgrid(stimulus.x.values, stimulus.y.values))
        filters, pools, rings = [], [], []
        for _, orientation, frequency in self.cells:
            angle = np.deg2rad(orientation)
            u, v = x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) - y * np.sin(angle)
            window = np.exp(-((u * frequency / self.across) ** 2 + (v * frequency / self.along) ** 2) / 2)
            filters.append(2 * window / window.sum() * np.exp(2j * np.pi * frequency * u))
            around = np.exp(-(u**2 + v**2) * (frequency / self.pool) ** 2 / 2)
            pools.append(2 * around / around.sum())
            radius = np.hypot(u, v) * frequency
            rings.append((radius > self.ring[0]) & (radius < self.ring[1]))
        weights = np.array(filters).T
        filtered = pixels @ weights.real + 1j * (pixels @ weights.imag)
        pool = np.sqrt(pixels**2 @ np.array(pools).T)
        film = "time" in stimulus.dims
        found = []
        for k, (kind, orientation, _) in enumerate(self.cells):
            shares = 0.0 if film else self.share(stimulus, pixels, rings[k], np.deg2rad(orientation), pool[..., k])
            found.append(self.rate(kind, filtered[..., k], pool[..., k], shares, film))
        return found

    def share(self, stimulus, pixels, ring, angle, pool):
        """Contrast in the ring over that in the pool, times cos² of the angle between its orientation and the cell's."""
        down, right = np.gradient(pixels.reshape(-1, *stimulus.shape[-2:]), axis=(1, 2))
        own = (right * np.sin(angle) + down * np.cos(angle)).reshape(pixels.shape)[:, ring]
        other = (right * np.cos(angle) - down * np.sin(angle)).reshape(pixels.shape)[:, ring]
        energy = (own**2).sum(axis=1), (other**2).sum(axis=1)
        outside = np.sqrt(2 * (pixels[:, ring] ** 2).mean(axis=1)) * energy[0] / np.maximum(sum(energy), 1e-9)
        return np.divide(outside, pool, out=np.zeros_like(pool), where=pool > 1e-9)

    def rate(self, kind, filtered, pool, share, film):
        half = self.half
        if film:
            steps, adapted = round(self.delay / 0.002), 600
            late = np.concatenate([np.zeros_like(filtered[:, :steps]), filtered[:, :-steps]], axis=1)
            filtered = self.slowed(late, self.membrane)
            adaptor = pool[:, :adapted].mean(axis=1, keepdims=True)
            changed = (abs(pool - adaptor) > 0.03) & (np.arange(pool.shape[1]) >= adapted)
            half = np.where(changed, half * 2 ** (self.shift * adaptor / 0.5), half)
        drive = abs(filtered) if kind == "complex" else np.maximum(filtered.real, 0)
        return self.spontaneous + self.gain * self.maximum * (1 - self.suppression * share) * drive**2 / (
            half**2 + pool**2
        )

    def closed_form(self, cell, orientation, frequency):
        """Rate before a grating of full contrast in the best phase, from the filter's Fourier transform."""
        _, best, peak = cell
        away = np.deg2rad((orientation - best + 90) % 180 - 90)
        u, v = frequency * np.cos(away) - peak, frequency * np.sin(away)
        filtered = np.exp(-2 * np.pi**2 * ((u * self.across / peak) ** 2 + (v * self.along / peak) ** 2))
        driven = 0.98**2 / (self.half**2 + 0.98**2)
        ring = 1 - self.suppression * np.cos(away) ** 2
        return self.spontaneous + self.maximum * ring * driven * filtered**2


@pytest.fixture(scope="module")
def column():
    return Column(Electrode(GaborCells()))


@pytest.fixture(scope="module")
def measured(column):
    experiments = sorted((number, one) for number, one in v1.EXPERIMENTS.items() if number not in battery.SPIKES_ONLY)
    return {number: experiment(column) for number, experiment in experiments}


@pytest.fixture(scope="module")
def values(measured):
    return {statistic: value for one in measured.values() for statistic, value in one.values.items()}


def test_column_is_the_one_nearest_the_middle(column):
    assert column.n_cells == 12 and np.isfinite(column.characterisation.rates).all()
    assert column.spontaneous_rates == pytest.approx(GaborCells.spontaneous)


def test_cells_are_classified_by_their_responses(column):
    found = column.characterisation
    assert found.simple.tolist() == [True] * 6 + [False] * 6
    assert found.modulation[6:] == pytest.approx(0, abs=0.02) and (found.modulation[:6] > 1.4).all()
    near = [
        abs((ORIENTATIONS[o] - c[1] + 90) % 180 - 90) for o, c in zip(found.best[0], GaborCells().cells, strict=True)
    ]
    assert max(near) <= 7.5
    octaves = [np.log2(column.frequencies[f] / c[2]) for f, c in zip(found.best[1], GaborCells().cells, strict=True)]
    assert np.abs(octaves).max() <= 0.3


def test_rates_from_neighbours_are_those_of_the_middle_column_at_every_phase():
    """Cells of 1, cosines and sines of the phase, and its fourth harmonic, on a lattice: found again, to rounding."""
    screen = Screen(9, 8)
    down = right = screen.degrees[::2]
    gratings = np.stack([screen.grating(0.9, phase, orientation=30) for phase in PHASES])[:, ::2, ::2]
    turned = np.stack([screen.grating(0.9, phase + np.pi / 2, orientation=30) for phase in PHASES])[:, ::2, ::2]
    rates = np.stack([3 + gratings, 5 + turned * gratings, 8 * gratings**4], axis=-1)
    found = rates_from_neighbours(rates, 30, 0.9, down, right)
    assert np.allclose(found, rates[:, 2, 2], atol=1e-9)
    # Noise of single columns is averaged: nine terms are fitted to 100 rates.
    noisy = np.random.default_rng(0).standard_normal((*rates.shape[:-1], 4000))
    assert rates_from_neighbours(noisy, 30, 0.9, down, right).std() == pytest.approx(np.sqrt(9 / 100), rel=0.05)


@pytest.mark.all
@pytest.mark.slow
def test_columns_are_alike_for_a_grating_that_fills_the_screen(as_trials):
    """In the rate form, which has no noise, neighbours replace the middle column: within 5 % of a cell's peak, rms."""
    pathway = Pathway(parameters={"v1.kinds": 4})
    shown = 0.98, np.array([[0], [1], [5]]), np.array([2, 5, 7])
    middle, estimated = (
        Column(Electrode(subject, workers=2)).grating_rates(*shown) for subject in (pathway, as_trials(pathway))
    )
    error = estimated - middle
    assert (np.sqrt((error**2).mean((0, 1, 2))) < 0.05 * middle.max((0, 1, 2))).all() and error.any()
    assert estimated.shape == (3, 3, 4, 8) and middle.max() > 20


def test_a_panel_drives_every_cell(column):
    panel, found = column.panel(16), column.characterisation
    assert sorted(panel.cells) == list(range(12)) and len(panel) == 6  # one for each pair of cells
    evoked = found.responses - found.spontaneous
    served = panel.select(evoked[panel.orientation, panel.frequency])
    assert (served >= 0.85 * (found.peak - found.spontaneous)[panel.cells]).all()
    few = column.panel(3)
    assert len(few) == 3 and np.array_equal(few.orientation, panel.orientation[:3])
    none = column.panel(3, among=np.zeros(12, dtype=bool))
    assert len(none) == 0 and none.cells.size == 0


def test_tuning_is_that_of_the_filters(column, values):
    widths, variances, octaves = [], [], []
    fine, degrees = np.geomspace(0.25, 5.66, 4000), np.arange(0, 180, 0.05)
    for cell, best in zip(GaborCells().cells, column.characterisation.best[1], strict=True):
        around = GaborCells().closed_form(cell, degrees, column.frequencies[best])
        widths.append((around >= np.sqrt(0.5) * around.max()).mean() * 90)
        variances.append(measures.circular_variance(degrees, around))
        over = GaborCells().closed_form(cell, cell[1], fine)
        passed = fine[over >= np.sqrt(0.5) * over.max()]
        octaves.append(np.log2(passed[-1] / passed[0]))
    assert values["orientation_half_width"] == pytest.approx(np.median(widths), rel=0.06)
    assert values["circular_variance"] == pytest.approx(np.median(variances), abs=0.03)
    assert values["sf_bandwidth"] == pytest.approx(np.median(octaves), rel=0.06)
    assert values["tuning_width_ratio"] == pytest.approx(1, abs=0.02)


def test_known_cells_have_the_known_values(values):
    cells = GaborCells
    contrast, half = 0.49, cells.half
    alone = contrast**2 / (half**2 + contrast**2) * (1 - cells.suppression)
    # The mask doubles the pool's energy; in the ring there is twice the energy too, half of it of the cell's orientation.
    masked = contrast**2 / (half**2 + 2 * contrast**2) * (1 - cells.suppression / 2)
    expected = {
        "v1_spontaneous_rate": (cells.spontaneous, 1e-6),
        "v1_latency": (
            1000 * (cells.delay - cells.membrane * np.log(1 - np.sqrt(0.5))),
            2,
        ),
        "simple_share": (0.5, 1e-6),
        "crf_exponent": (2, 0.03),
        "crf_c50": (half, 0.01),
        "cross_orientation": (1 - masked / alone, 0.03),
        "tuned_surround": (cells.suppression, 0.04),
        "lgn_minus_v1_cutoff": (
            (np.sqrt(3) / cells.relay - 1 / cells.membrane) / (2 * np.pi),
            2.5,
        ),
        "low_pass_share": (1, 1e-6),
        "c50_shift": (cells.shift, 0.06),
    }
    for statistic, (value, tolerance) in expected.items():
        assert values[statistic] == pytest.approx(value, abs=tolerance), statistic
    assert values["f1f0_dip"] < 0.05


def test_size_tuning_is_that_of_patches_of_many_sizes(column, values):
    indices, ratios = [], []
    subject = GaborCells()
    for k, (_, orientation, frequency) in enumerate(subject.cells):
        screen = column.coarse if frequency < 2.2 else column.fine
        diameters = np.geomspace(1 / 24, 1, 40) * screen.pixels / screen.pixels_per_degree
        windows = np.stack([screen.disc(diameter) for diameter in diameters])
        low, high = (
            column.rates(screen, 100 * (1 + c * windows * screen.grating(frequency, 0.0, orientation)))[:, k] - 0.8
            for c in (0.12, 0.98)
        )
        indices.append(1 - high[-1] / high.max())
        reached = [diameters[np.argmax(curve >= 0.95 * curve.max())] for curve in (low, high)]
        ratios.append(reached[0] / reached[1])
    assert values["surround_suppression"] == pytest.approx(np.median(indices), abs=0.03)
    assert values["summation_growth"] == pytest.approx(np.median(ratios), rel=0.08)


def test_distances_are_those_of_the_cells(measured):
    results = battery.Results([], measured, {})
    found = {one.name: one for one in physiology.distances(results, "macaque_parafovea")}
    assert list(found) == [
        "preferred_orientation",
        "peak_spatial_frequency",
        "spatial_frequency_bandwidth",
        "spatial_frequency_selective",
        "surround_suppression_index",
        "grating_summation_field",
        "surround_diameter",
        "strongly_suppressed",
        "surround_to_summation_ratio",
    ]
    assert [name for name, one in found.items() if one.by_construction] == [
        "preferred_orientation",
        "peak_spatial_frequency",
    ]
    # All cells are band-pass and suppressed by .3: of the published ones 14 of 87 are not selective, 42 of 190 not suppressed.
    assert found["spatial_frequency_selective"].distance == pytest.approx(14 / 87)
    assert found["strongly_suppressed"].distance == pytest.approx(42 / 190)
    # Below 112.5° (160 counts as -20) lie all 6 orientations, and 293 of 385 published ones.
    assert found["preferred_orientation"].distance == pytest.approx(1 - 293 / 385)
    assert all(one.cells == 12 and 0 <= one.distance <= 1 for one in found.values())


@pytest.mark.parametrize("kinds", [(), ("simple",)])
def test_without_a_responsive_cell_nothing_is_measured(kinds, tmp_path):
    silent = GaborCells(kinds, gain=0.0) if kinds else NoCortex()
    results = physiology.run(silent, range(16, 26))
    assert len(results) == 16
    assert all(np.isnan(row.value) and not row.passed for row in results)
    assert all(row.passed is False for row in results if row.low is not None)
    json.dumps(results.to_json(), allow_nan=False)
    physiology.draw_curves(results, tmp_path / "page.png")
    assert not physiology.has_population(results)
    with pytest.raises(ValueError, match="16, 18, 19, 20, 22"):
        physiology.draw_population(results, tmp_path / "population.png")
    assert all(np.isnan(one.distance) and one.cells == 0 for one in physiology.distances(results, "macaque_fovea"))


class NoCortex:
    """A subject without V1."""

    parameters = Parameters("macaque_fovea")

    def simulate(self, stimulus, **_):
        return xr.Dataset({"lgn": (("image", "lgn_channel", "y", "x"), np.zeros((len(stimulus), 1, 3, 3)))})


def test_screens_grow_to_the_largest_classical_centre():
    class Wide(NoCortex):
        def classical_centre(self, pixels_per_degree):
            return 64 if pixels_per_degree > 20 else 3

    column = Column(Electrode(Wide()))
    assert (column.fine.pixels, column.movie.pixels, column.coarse.pixels) == (65, 65, 57)


def test_receptive_fields_are_those_of_linear_filters():
    x = np.linspace(-1.5, 1.5, 61)
    right, down = np.meshgrid(x, x)
    gabors = []
    for angle, frequency, shift in ((20, 1.0, 0.0), (70, 1.5, 1.2), (140, 2.0, -2.0)):
        turn = np.deg2rad(angle)
        u, v = right * np.sin(turn) + down * np.cos(turn), right * np.cos(turn) - down * np.sin(turn)
        window = np.exp(-((u * frequency / 0.3) ** 2 + (v * frequency / 0.25) ** 2) / 2)
        gabors.append(window * np.cos(2 * np.pi * frequency * u + shift))
    filters = np.stack(gabors).reshape(3, -1)
    screen, frequencies = Screen(61, 20.0), 0.25 * 2 ** (np.arange(10) / 2)
    gratings = np.stack([[screen.grating(f, PHASES, o) for f in frequencies] for o in ORIENTATIONS])
    rates = 5 + gratings.reshape(*gratings.shape[:3], -1) @ filters.T
    both = np.concatenate([rates, np.full_like(rates[..., :1], 7.0)], axis=-1)
    found = receptive_fields.receptive_fields(both, ORIENTATIONS, frequencies, PHASES, x, x)
    for field, gabor in zip(found, gabors, strict=False):
        assert np.corrcoef(field.ravel(), gabor.ravel())[0, 1] > 0.98
        assert np.abs(field).max() == pytest.approx(1)
    # A cell that no phase matters to has no field.
    assert np.array_equal(found[3], np.zeros((61, 61)))


def test_modulation_by_drifting_gratings_separates_the_classes(column):
    cells, ratios = column.drift_modulation
    assert cells.tolist() == sorted(cells) and np.array_equal(ratios > 1, column.characterisation.simple[cells])


def test_population_is_drawn_without_a_simulation(column, measured, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("simulated again")

    monkeypatch.setattr(GaborCells, "simulate", refuse)
    results = battery.Results([], measured, {}, column)
    assert population.has_population(results)
    population.draw_population(results, tmp_path / "population.png")
    assert (tmp_path / "population.png").read_bytes().startswith(b"\x89PNG")
    some = {number: one for number, one in measured.items() if number != 22}
    assert not population.has_population(battery.Results([], some, {}, column))


@pytest.mark.parametrize(("tiles", "columns"), [(1, 1), (4, 2), (6, 2), (7, 3), (64, 8)])
def test_tiles_fill_their_frame(tiles, columns):
    found, side = population._tile(tiles, 5.75, 7.15)
    assert found * side <= 5.75 + 1e-9 and np.ceil(tiles / found) * side <= 7.15 + 1e-9
    assert found == columns


class DrawnCells(GaborCells):
    """Gabor cells whose preferences are turned by 30° a draw."""

    simulated: list[int] = []

    def __init__(self, draw, **changed):
        super().__init__()
        self.draw = draw
        self.parameters = Parameters("macaque_parafovea", {"v1.draw": draw, **changed})
        self.cells = [(kind, (orientation + 30 * draw) % 180, f) for kind, orientation, f in self.cells[::3]]

    def simulate(self, *arguments, **named):
        self.simulated.append(self.draw)
        if self.draw == 9:
            raise RuntimeError("stopped")
        return super().simulate(*arguments, **named)


@pytest.fixture
def simulated(monkeypatch):
    monkeypatch.setattr(DrawnCells, "simulated", found := [])
    return found


def test_distances_over_draws_are_those_of_each_draw(simulated):
    found = {one.name: one for one in physiology.distances_over_draws(DrawnCells, (0, 2), 16)}
    alone = [physiology.distances(physiology.run(DrawnCells(k), 16), "macaque_parafovea")[0] for k in (0, 2)]
    (one,) = found.values()
    assert one.distances == tuple(each.distance for each in alone) and len(set(one.distances)) == 2
    assert one.by_construction and one.draws == (0, 2) and one.cells == (4, 4)
    assert (one.low, one.median, one.high) == pytest.approx(
        (min(one.distances), np.mean(one.distances), max(one.distances))
    )
    assert "by construction" in str(one) and "4 cells" in str(one)
    json.dumps(one.to_dict(), allow_nan=False)


def test_interrupted_draws_continue(simulated, tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        physiology.distances_over_draws(DrawnCells, (0, 9), 16, store=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.*json*")) == ["draw_0.json"]
    simulated.clear()
    found = physiology.distances_over_draws(DrawnCells, (0, 1), 16, store=tmp_path)
    assert set(simulated) == {1}
    simulated.clear()
    assert physiology.distances_over_draws(DrawnCells, (0, 1), 16, store=tmp_path) == found and not simulated
    assert found == physiology.distances_over_draws(DrawnCells, (0, 1), 16)
    # Another experiment is added to what a draw has.
    simulated.clear()
    both = physiology.distances_over_draws(DrawnCells, (0, 1), (16, 18), store=tmp_path)
    assert both[0] == found[0] and len(both) == 6 and set(simulated) == {0, 1}
    assert set(json.loads((tmp_path / "draw_1.json").read_text())["experiments"]) == {"16", "18"}


def test_draws_of_other_settings_are_refused_before_a_simulation(simulated, tmp_path):
    physiology.distances_over_draws(DrawnCells, (1,), 16, store=tmp_path)
    simulated.clear()
    with pytest.raises(
        ValueError, match=r"draw_1.json was made with parameter v1.inhibition = .*, now 3.0: give the same"
    ):
        physiology.distances_over_draws(
            lambda draw: DrawnCells(draw, **{"v1.inhibition": 3.0}), (0, 1), 16, store=tmp_path
        )
    (tmp_path / "draw_1.json").write_text("{}")
    with pytest.raises(ValueError, match="draw_1.json must be the file of a draw"):
        physiology.distances_over_draws(DrawnCells, (0, 1), 16, store=tmp_path)
    assert not simulated and not (tmp_path / "draw_0.json").exists()


def test_a_property_without_cells_has_no_distance():
    class Silent(DrawnCells):
        def __init__(self, draw):
            super().__init__(draw)
            self.gain = 0.0

    (one,) = physiology.distances_over_draws(Silent, (0, 1), 16)
    assert np.isnan([one.median, one.low, one.high]).all() and one.cells == (0, 0)
    assert one.to_dict()["median"] is None and one.to_dict()["draws"][0]["distance"] is None


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"draws": ()}, "draws must be one or more different numbers"),
        ({"draws": (1, 1)}, "one or more different numbers, got"),
        ({"draws": (0, -1)}, "a draw must be an integer of 0 or more, got -1"),
        ({"draws": (0.5,)}, "got 0.5"),
        ({"ids": 19}, "an experiment over draws must be one of 16, 18, 22, got 19"),
        ({"ids": ()}, "ids must be one or more of 16, 18, 22, got none"),
    ],
)
def test_wrong_draws_and_experiments_are_refused(simulated, named, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        physiology.distances_over_draws(DrawnCells, **named, store=tmp_path / "new")
    assert not simulated and not (tmp_path / "new").exists()


def test_every_published_histogram_of_the_experiments_is_compared(measured):
    compared = {name for number in draws.WITH_HISTOGRAMS for name in measured[number].cells}
    shipped = json.loads(distributions._HISTOGRAMS.read_text())
    # The widths in cycles are compared as they were drawn.
    assert set(shipped) - {"about"} - compared == {"gabor_nx_ny"}


def test_drawn_widths_are_near_the_histogram_that_they_are_drawn_from():
    """400 kinds that are never drawn again: theory says .1 in one of 2,000 draws (Kolmogorov)."""
    free = {"v1.kinds": 400, "v1.widest_field": 20, "v1.highest_frequency": 60}
    across, along = distributions.width_distances(Parameters("macaque_parafovea", free))
    assert (across.name, along.name) == ("gabor_n_x", "gabor_n_y")
    assert max(across.distance, along.distance) < 0.1 and across.by_construction and across.cells == 400
    (narrow, _) = distributions.width_distances(Parameters("macaque_parafovea", free | {"v1.widest_field": 0.1}))
    assert narrow.distance > 0.2
