import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import correlate

from biomodel import Pathway
from biomodel.analysis.equivalent_kernels import equivalent_kernels
from biomodel.images import PHOTOGRAPHS
from biomodel.stimuli import luminance
from bridge.evaluate.reverse_correlation import linear_kernels
from bridge.evaluate.scores import feve, r_squared
from bridge.fit import stimuli
from studies.identification.baselines import Energy, LinearNonlinear, Network, fit_baseline, make_baselines

PIXELS_PER_DEGREE = 16.0


def kernel() -> np.ndarray:
    """A centre and a surround, in Hz per cd/m², sampled out to 5 pixels."""
    y, x = np.mgrid[-5:6, -5:6] / PIXELS_PER_DEGREE

    def gaussian(sigma: float) -> np.ndarray:
        values = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        return values / values.sum()

    return 0.25 * (gaussian(0.06) - 0.8 * gaussian(0.15))


def one_linear_kernel(images: int) -> tuple[xr.DataArray, np.ndarray]:
    """Noise of half contrast about 100 cd/m², and what a linear cell about 20 Hz answers everywhere."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(images, 32, 32))
    stimulus = luminance(100 * (1 + 0.5 * signs), PIXELS_PER_DEGREE)
    return stimulus, 20 + np.stack([correlate(image, kernel(), mode="nearest") for image in stimulus.values])


def relative_error(stimulus: xr.DataArray, rates: np.ndarray) -> float:
    """Norm of the error of the kernel, relative to that of the kernel."""
    responses = xr.DataArray(rates[:, None], dims=("image", "lgn_channel", "y", "x"))
    found, offsets = linear_kernels(stimulus, responses, reach=5 / PIXELS_PER_DEGREE)
    assert found.shape == (1, 11, 11) and float(offsets[0]) == pytest.approx(20, abs=0.5)
    return float(np.linalg.norm(found.values[0] - kernel()) / np.linalg.norm(kernel()))


def test_a_linear_kernel_is_found():
    assert relative_error(*one_linear_kernel(50)) < 1e-4


def test_what_was_shown_has_to_tell_weights_apart():
    stimulus, rates = one_linear_kernel(2)
    even = stimulus * 0 + 100.0
    with pytest.raises(ValueError, match="ridge"):
        linear_kernels(even, xr.DataArray(rates[:, None], dims=("image", "lgn_channel", "y", "x")))


@pytest.mark.slow
def test_a_linear_kernel_is_found_through_poisson_noise():
    """Counts of 150 ms about 20 Hz: theory says √(taps · noise / (places · signal)), with 133 Hz² of noise some .024."""
    stimulus, rates = one_linear_kernel(5_000)
    noisy = np.random.default_rng(1).poisson(np.maximum(rates, 0) * 0.15) / 0.15
    assert relative_error(stimulus, noisy) < 0.05


@pytest.mark.all
@pytest.mark.slow
def test_the_kernel_of_a_circuit_made_linear_is_found():
    """Without its gain controls the circuit answers faint noise linearly: its kernel, by finite differences, within 1 %."""
    lesions = ("cone_adaptation", "luminance_gain", "contrast_gain", "lgn_suppression")
    # A narrow surround, so that the kernel ends within the images and the noise's even margin.
    pathway = Pathway(lesions=lesions, parameters={"horizontal.coupling": 0.5})
    noise = np.pad(np.random.default_rng(0).choice((-1.0, 1.0), size=(60, 24, 24)), ((0, 0), (8, 8), (8, 8)))
    stimulus = luminance(100 * (1 + 0.01 * noise), PIXELS_PER_DEGREE)
    responses = pathway.simulate(stimulus, adapt_to=100.0, output="lgn", workers=2)
    found, _ = linear_kernels(stimulus, responses.lgn, reach=14 / PIXELS_PER_DEGREE)
    truth = equivalent_kernels(pathway, 100.0, 29, PIXELS_PER_DEGREE, "lgn", 2, 0.0, 0).lgn
    for kernel_found, kernel_true in zip(found.values, truth.values, strict=True):
        assert np.linalg.norm(kernel_found - kernel_true) < 0.01 * np.linalg.norm(kernel_true)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, r: (s, r[:-1]), "as many images as stimulus, 3, got 2"),
        (lambda s, r: (s, r.where(r.image != 0)), "NaN"),
        (lambda s, r: (-s, r), "not negative"),
        (lambda s, r: (s, r[:, 0]), "responses must have dimensions"),
    ],
)
def test_bad_recordings_are_refused(change, words):
    stimulus, rates = one_linear_kernel(3)
    responses = xr.DataArray(rates[:, None], dims=("image", "lgn_channel", "y", "x"), coords={"image": range(3)})
    with pytest.raises(ValueError, match=words):
        linear_kernels(*change(stimulus, responses))


def test_held_out_sets_hold_what_was_never_fitted():
    fitted = stimuli.identification_set(130, seed=3)
    names, held = stimuli.split_photographs(3)
    assert set(names) | set(held) == set(PHOTOGRAPHS) and len(held) == 3
    assert not set(names) & set(held)
    assert set(fitted.light.photograph.values.tolist()) == {*names, "noise"}
    sets = {one.name: one for one in stimuli.held_out_sets(24, held, seed=3)}
    assert list(sets) == ["photographs", "luminance", "gratings", "local_light"]
    for name in ("photographs", "luminance", "local_light"):
        assert set(sets[name].light.photograph.values.tolist()) == set(held)
    levels = fitted.fields[~np.isnan(fitted.fields)]
    means = fitted.light.values.mean(axis=(1, 2))[~np.isnan(fitted.fields)]
    is_own = levels == means
    assert set(levels[~is_own].tolist()) == set(stimuli.FIELDS) and 0.2 < is_own.mean() < 0.5
    shown = sets["luminance"].fields
    assert np.isnan(shown).any() and (~np.isnan(shown)).any()
    tested = np.unique(shown[~np.isnan(shown)])
    assert np.abs(np.log10(levels[:, None] / tested)).min() > 0.05
    half = np.log10(np.array([levels.min() / tested.min(), tested.max() / levels.max()]))
    assert len(tested) == 4 and (half > 0.49).all()
    exposures = (*stimuli.BETWEEN, *stimuli.BEYOND)
    assert min(abs(a - b) for a in exposures for b in stimuli.EXPOSURES) >= 0.25
    assert not np.isnan(sets["gratings"].fields).any()


def test_stimulus_sets_are_the_seeds_own():
    first, again, other = (stimuli.identification_set(40, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.light, again.light) and not np.array_equal(first.light, other.light)
    assert np.array_equal(first.fields, again.fields, equal_nan=True)
    assert float(first.light.min()) >= 0 and first.light.sizes == {"image": 40, "y": 32, "x": 32}
    with pytest.raises(ValueError, match="images must be an integer of 13 or more, got 5"):
        stimuli.identification_set(5)


def test_local_light_dims_a_part_of_the_image():
    _, held = stimuli.split_photographs(0)
    plain, _, _, local = stimuli.held_out_sets(40, held, seed=0)
    assert plain.light.shape == local.light.shape
    ratios = []
    for image in local.light.values[::2]:
        # Shadows fall on even images: the darkest and the lightest tenth differ by more than photographs do.
        ratios.append(np.percentile(image, 95) / np.percentile(image, 5))
    assert np.median(ratios) > 2 * np.median(
        [np.percentile(image, 95) / np.percentile(image, 5) for image in plain.light.values]
    )


def test_feve_against_known_noise():
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, 4000)
    repeats = truth + random.normal(0, 3, (6, 4000))
    assert feve(repeats, truth) == pytest.approx(1, abs=0.05)
    assert feve(repeats, 0.5 * truth) == pytest.approx(0.75, abs=0.05)
    assert r_squared(repeats[0], truth) < 0.4
    with pytest.raises(ValueError, match="at least 2 repeats, got 1"):
        feve(repeats[:1], truth)


def test_a_baseline_fits_a_cell_of_its_own_form():
    """Weber contrast through a kernel and a rectifier at 20 Hz."""
    random = np.random.default_rng(0)
    background = 10 ** random.uniform(0, 2, (60, 1, 1)) * np.ones((60, 16, 16))
    light = background * (1 + 0.5 * random.choice((-1.0, 1.0), size=(60, 16, 16)))
    contrast = light / background - 1
    drive = 300 * np.stack([correlate(image, kernel(), mode="nearest") for image in contrast])
    rates = np.maximum(20 + drive, 0)[:, None]
    shown = [torch.from_numpy(values[:, None]).float() for values in (light, background)]
    target = torch.from_numpy(rates).float()
    weber, plain = (LinearNonlinear(kind, 1, 1, PIXELS_PER_DEGREE, False, 0.3) for kind in ("weber", "luminance"))
    assert fit_baseline(weber, *shown, target).unexplained < 0.01
    assert fit_baseline(plain, *shown, target).unexplained > 0.1


@pytest.mark.slow
def test_a_baseline_fits_a_logarithmic_cell_on_the_identification_set():
    """The images of identification, some of them noise that goes down to 0, and a cell of log(L + 1)."""
    shown = stimuli.identification_set(104, pixels=16)
    light = shown.light.values
    background = np.where(np.isnan(shown.fields), light.mean(axis=(1, 2)), shown.fields)[:, None, None] * np.ones_like(
        light
    )
    drive = 60 * np.stack([correlate(image, kernel(), mode="nearest") for image in np.log(light + 1)])
    target = torch.from_numpy(np.maximum(20 + drive - drive.mean(), 0)[:, None]).float()
    pair = [torch.from_numpy(values[:, None]).float() for values in (light, background)]
    baseline = LinearNonlinear("log", 1, 1, PIXELS_PER_DEGREE, False, 0.3)
    assert fit_baseline(baseline, *pair, target, photographs=shown.light.photograph.values.tolist()).unexplained < 0.03


@pytest.mark.slow
def test_an_energy_model_fits_a_complex_cell():
    """The root of the square sum of a Gabor function's two phases, of Weber contrast, beside a cell of one phase."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-6:7, -6:7]
    envelope = np.exp(-(x**2 + y**2) / (2 * 2.5**2))
    phases = [envelope * np.cos(2 * np.pi * x / 6 - phase) for phase in (0.0, np.pi / 2)]
    light = 100 * (1 + 0.5 * random.choice((-1.0, 1.0), size=(100, 12, 12)))
    one, other = (np.stack([correlate(image / 100 - 1, k, mode="nearest") for image in light]) for k in phases)
    target = np.stack([np.maximum(one, 0), np.hypot(one, other)], axis=1)
    shown = [torch.from_numpy(v[:, None]).float() for v in (light, np.full_like(light, 100.0))]
    energy, plain = (make("weber", 2, 1, PIXELS_PER_DEGREE, False, 0.4) for make in (Energy, LinearNonlinear))
    trained = [fit_baseline(one, *shown, torch.from_numpy(target).float()) for one in (energy, plain)]
    with torch.no_grad():
        unexplained = [((r(*shown).numpy() - target) ** 2).mean((0, 2, 3)) / target.var((0, 2, 3)) for r in trained]
    assert unexplained[0].max() < 0.03
    assert unexplained[1][1] > 0.5


def test_number_and_size_of_baselines():
    every = make_baselines(4, 2, PIXELS_PER_DEGREE, 9_000)
    assert len(every) == 11
    small = make_baselines(4, 1, PIXELS_PER_DEGREE, 120)
    assert len(small) == 8
    assert any(sum(p.numel() for p in baseline.parameters()) < 200 for baseline in small.values())
    light = torch.rand(2, 1, 16, 14) * 100 + 1
    for name, baseline in every.items():
        assert baseline(light, light).shape == (2, 4, 8, 7), name
    for size in (9_000, 30_000):
        network = Network(4, 1, size)
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(size, rel=0.15)
