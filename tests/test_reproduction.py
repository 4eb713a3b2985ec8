import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.io import savemat

from biomodel.stimuli import decode_srgb
from studies.common import retilenet
from studies.data.datasets import Images, load
from studies.reproduction import causes, cells, claims, kernels, report, run, settings, sweeps, verdicts
from studies.reproduction.arms import ARMS
from studies.reproduction.published import PUBLISHED, SIZES
from studies.reproduction.results import COLUMNS, CellResult, Results, read
from studies.reproduction.settings import Cell, Settings
from studies.reproduction.sweeps import SWEEPS

CLEAN = ("mu", 0.0)

#: One epoch.
ONCE = ((1, 1e-3),)


def precortical(*arguments):
    command = [sys.executable, "-m", "studies.cli.main", "study", "reproduction", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def images(seed=0, channels=1):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (4, channels, 32, 32)).astype(np.float32))


def parameters(module):
    return sum(one.numel() for one in module.parameters())


def test_networks_have_the_published_numbers_of_parameters():
    # retilenet.md, from the authors' repository.
    assert parameters(retilenet.lenet(1, 10)) == 61_706 and parameters(retilenet.lenet(3, 10)) == 62_006
    assert parameters(retilenet.module(1)) == 150 and parameters(retilenet.module(3)) == 1_332
    assert retilenet.module(1)(images()).shape == retilenet.module(1, 1, 11)(images()).shape == (4, 1, 32, 32)


def test_sweeps_have_the_published_levels():
    assert SWEEPS["mu"].levels == tuple(np.round(np.arange(-2, 2.1, 0.2), 1))
    assert SWEEPS["mu_large"].levels == tuple(np.round(np.arange(-12, 12.1, 1.2), 1))
    assert SWEEPS["sigma"].levels == tuple(np.round(np.arange(0.1, 4, 0.2), 1)) and SWEEPS["sigma"].levels[-1] == 3.9
    assert SWEEPS["sigma_large"].levels[:2] == (0.1, 2.5) and SWEEPS["sigma_large"].levels[-1] == 43.3
    assert [len(one.levels) for one in SWEEPS.values()] == [21, 20, 21, 19]


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=lambda sweep: sweep.name)
def test_light_of_any_image_lies_within_the_range_of_its_sweep(sweep):
    # One white pixel on black, one black pixel on white: no pixel differs more from its mean.
    spot = torch.zeros(2, 1, 32, 32)
    spot[0, 0, 3, 4] = 1
    spot[1] = 1 - spot[0]
    light = torch.cat([sweep.luminance(sweep.apply(spot, level)) for level in sweep.levels])
    assert sweeps.DARKEST <= light.min() < 2 and 199 < light.max() <= sweeps.LIGHTEST + 1e-3
    unaltered = sweep.luminance(spot)[0].aminmax()
    assert sweep.remaining_contrast == pytest.approx(
        float((unaltered.max - unaltered.min) / (unaltered.max + unaltered.min)), rel=1e-4
    )


def test_spans_and_light_of_colours():
    # lights.md: 1 to 200 cd/m²; retilenet.md: the levels.
    assert SWEEPS["mu"].span == (-2, 3) and SWEEPS["mu_large"].span == (-12, 13)
    assert SWEEPS["sigma"].span == SWEEPS["sigma_large"].span == (-9, 10)
    assert (sweeps.DARKEST, sweeps.LIGHTEST) == (1, 200)
    assert all(len({SWEEPS[name].span for name in together}) == 1 for together in sweeps.LIGHT_GROUPS)
    assert sorted(name for together in sweeps.LIGHT_GROUPS for name in together) == sorted(SWEEPS)
    # Colours are weighted as in luminance: Rec. 709.
    colours = torch.eye(3)[:, :, None, None]
    light = SWEEPS["mu"].luminance(colours).ravel() - SWEEPS["mu"].luminance(torch.zeros(1, 3, 1, 1)).item()
    assert light.tolist() == pytest.approx([199 / 5 * weight for weight in (0.2126, 0.7152, 0.0722)], rel=1e-3)


def test_contrast_keeps_the_mean_and_luminosity_the_differences():
    codes = images(channels=3)
    for sigma in (0.1, 2.5):
        changed = sweeps.scale_contrast(codes, sigma)
        assert torch.allclose(changed.mean(dim=(1, 2, 3)), codes.mean(dim=(1, 2, 3)), atol=1e-4)
        assert torch.allclose(changed.std(dim=(1, 2, 3)) * sigma, codes.std(dim=(1, 2, 3)), rtol=1e-3)
    # Published: a negative μ brightens.
    assert torch.allclose(sweeps.shift_luminosity(codes, -0.4), codes + 0.4)


def test_augmentation_is_random_per_image_and_finite_at_zero_sigma(monkeypatch):
    same = images()[:1].expand(2000, -1, -1, -1)
    drawn = sweeps.augment(same, torch.Generator().manual_seed(0))
    mean, deviation = drawn.mean(dim=(1, 2, 3)), drawn.std(dim=(1, 2, 3))
    assert torch.isfinite(drawn).all()
    shift = same[0].mean() - mean
    assert shift.min() < -1.9 and shift.max() > 1.9 and abs(shift.mean()) < 0.1
    # σ is below 4, and below 0 in one of forty.
    assert (same[0].std() / deviation).max() == pytest.approx(4, rel=0.01)
    flipped = ((drawn - mean[:, None, None, None]) * (same - same.mean())).sum(dim=(1, 2, 3)) < 0
    assert flipped.float().mean().item() == pytest.approx(0.1 / 4.1, abs=0.012)
    # A margin stays black, and does not count in the mean: as if the image had been padded afterwards.
    padded = torch.nn.functional.pad(same, (2, 2, 2, 2))
    changed = sweeps.augment(padded, torch.Generator().manual_seed(0), 2)
    assert torch.equal(changed[..., 2:-2, 2:-2], drawn)
    assert changed.abs().sum() == pytest.approx(float(drawn.abs().sum()), rel=1e-4)
    monkeypatch.setattr(sweeps, "AUGMENTED_SIGMA", (0.0, 0.0))
    assert torch.isfinite(sweeps.augment(same[:2], torch.Generator())).all()


def test_arms_that_are_invariant_by_construction():
    def changes(arm, change):
        torch.manual_seed(0)
        network = ARMS[arm].network(1, 10).eval()
        with torch.no_grad():
            return float((network(change(images())) - network(images())).abs().max())

    def darker(codes):
        return sweeps.shift_luminosity(codes, 1.4)

    def fainter(codes):
        return sweeps.scale_contrast(codes, 2.5)

    # A zero-sum kernel over a repeated border is invariant to μ; the published module is not.
    assert changes("retilenet_zero_sum", darker) < 1e-5 < 1e-3 < changes("retilenet", darker)
    assert changes("retilenet_zero_sum", fainter) > 1e-4
    assert changes("lenet", darker) > 1e-2 and changes("lenet", fainter) > 1e-3
    for arm in ("in_lenet", "standardise"):
        assert changes(arm, darker) < 5e-4 and changes(arm, fainter) < 5e-4
    assert torch.equal(retilenet.Standardise()(torch.full((1, 3, 4, 4), 0.3)), torch.zeros(1, 3, 4, 4))


def layers(network):
    names = [type(layer).__name__.removeprefix("Parametrized") for layer in network]
    return [name for name in names if name != "Identity"]


def test_arms_have_the_layers_of_their_names():
    convolution = ["Conv2d", "Dropout", "Tanh"]
    plain = [*convolution, "AvgPool2d"] * 2 + [*convolution, "Flatten", "Linear", "Tanh", "Linear"]
    for name, arm in ARMS.items():
        front, classifier = arm.network(1, 10)
        norm = {"bn": "BatchNorm2d", "in": "InstanceNorm2d"}.get(name.split("_")[0])
        expected = list(plain)
        if norm:
            expected = ["Conv2d", norm, "Dropout", "Tanh", "AvgPool2d"] * 2 + plain[8:]
        assert layers(classifier) == expected, name
        assert {part.p for part in (*front.modules(), *classifier) if isinstance(part, torch.nn.Dropout)} == {0.2}
        assert arm.augmented == name.endswith("_augmented") and arm.takes_light == (name == "front_end_lgn")
        if arm.has_module:
            side = [part.kernel_size[0] for part in front if isinstance(part, torch.nn.Conv2d)]
            assert side == ([11] if name == "retilenet_one_layer" else [7, 7, 7])
            assert layers(front) == convolution * len(side)
            padding = [part.padding_mode for part in front if isinstance(part, torch.nn.Conv2d)]
            assert padding[0] == ("replicate" if name == "retilenet_zero_sum" else "zeros")
            assert set(padding[1:]) <= {"zeros"}
    # Instance normalisation has no parameter and no memory.
    (one, _) = [part for part in ARMS["in_lenet"].network(1, 10).modules() if isinstance(part, torch.nn.InstanceNorm2d)]
    assert not list(one.parameters()) and one.running_mean is None


def test_budgets_and_sizes_are_the_published_ones():
    assert settings.BUDGETS["full"] == (((20, 1e-3), (5, 1e-5)), None, None)
    assert settings.BUDGETS["reduced"] == (((4, 1e-3), (1, 1e-5)), 20_000, None)
    # The authors' notebook of 2021.
    assert settings.BUDGETS["notebook"] == (((15, 1e-3), (5, 1e-4), (3, 1e-5)), None, None)
    assert settings.BUDGETS["fast"] == (((20, 3e-3), (5, 1e-5)), None, None)
    assert settings.BUDGETS["long"] == (((60, 1e-3), (5, 1e-5)), None, None)
    assert SIZES == {"mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "svhn": (73_257, 26_032)}
    # 20 epochs of batches of 128, then 5.
    assert cells.n_steps(60_000, 25) == 25 * 469


def test_training_is_the_published_one(monkeypatch):
    digits, calls = load("digits").first(300, 20), []
    monkeypatch.setattr(cells.training, "train", lambda *arguments: calls.append(arguments) or arguments[0]().eval())
    rates = settings.BUDGETS["full"].rates
    cells.evaluate_on_codes(ARMS["lenet_augmented"], digits, rates, 7)
    (_, batch, labels, seed, budget, rate, schedule) = calls[0]
    assert (seed, budget.steps, budget.batch, rate) == (7, 75, 128, 1e-3)
    assert rates_of(schedule, budget.steps) == pytest.approx([1e-3] * 60 + [1e-5] * 15)
    assert labels.tolist() == digits.train_labels.tolist()
    chosen = torch.arange(8)
    first, again = batch(chosen), batch(chosen)
    assert not torch.equal(first, again) and not torch.equal(first, torch.from_numpy(digits.train[:8, None]))
    # Another seed has another augmentation.
    cells.evaluate_on_codes(ARMS["lenet_augmented"], digits, rates, 8)
    assert not torch.equal(calls[1][1](chosen), first)
    plain = cells.evaluate_on_codes(ARMS["lenet"], digits, rates, 7)
    assert torch.equal(calls[2][1](chosen)[:, 0], torch.from_numpy(digits.train[:8]).float())
    # Without training, the kernels are the initial ones.
    assert all(np.array_equal(plain.kernels[name], plain.initial_kernels[name]) for name in plain.kernels)


class RecordingFrontEnd(torch.nn.Module):
    """Replaces the front end; keeps its inputs."""

    def __init__(self):
        super().__init__()
        self.inputs = []

    def forward(self, light, background=None):
        assert background is None
        self.inputs.append(light)
        return torch.cat([light, 3 * light], dim=1)


def test_one_affine_map_to_light_and_one_scaling_from_training_images(monkeypatch):
    digits, fronts, calls = load("digits").first(150, 70), [], []
    monkeypatch.setattr(cells.bridge, "pretrained", lambda *_, **__: fronts.append(RecordingFrontEnd()) or fronts[-1])

    def initial(make_network, *arguments):
        calls.append(arguments)
        torch.manual_seed(arguments[2])
        return make_network().eval()

    monkeypatch.setattr(cells.training, "train", initial)
    mu = SWEEPS["mu"]
    results = cells.evaluate_on_light(ARMS["front_end_lgn"], digits, ONCE, [0, 1], [mu])
    light = torch.cat(fronts[0].inputs)
    assert len(light) == 150 + 70 * len(mu.levels) and light.min() >= 1 and light.max() <= 200
    codes = torch.from_numpy(np.concatenate([digits.train, digits.test])).float()[:, None]
    assert torch.allclose(light[:150], mu.luminance(codes[:150]))
    assert torch.allclose(light[150:220], mu.luminance(codes[150:] - mu.levels[0]), atol=1e-4)
    shown = calls[0][0](torch.arange(150))
    assert torch.allclose(shown.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-3)
    assert torch.allclose(shown.std(dim=(0, 2, 3)), torch.ones(2), atol=1e-3)
    # The result of a seed does not depend on the others.
    alone = cells.evaluate_on_light(ARMS["front_end_lgn"], digits, ONCE, [1], [mu])
    assert results[1].accuracy == alone[0].accuracy and set(results[0].accuracy) == {
        ("mu", level) for level in mu.levels
    }


def test_colours_are_channels():
    shown = np.zeros((1, 32, 32, 3), np.float32)
    shown[0, 2, 5] = (0.1, 0.2, 0.3)
    codes = cells._codes(shown)
    assert codes.shape == (1, 3, 32, 32) and codes[0, :, 2, 5].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_svhn_in_colour(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "svhn").mkdir()
    for part in ("train", "test"):
        pixels = random.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)
        labels = np.arange(1, 13, dtype=np.uint8).clip(max=10)[:, None]
        savemat(tmp_path / "svhn" / f"{part}_32x32.mat", {"X": pixels, "y": labels})
    colour, grey = load("svhn", tmp_path, colour=True), load("svhn", tmp_path)
    assert colour.train.shape == (12, 32, 32, 3) and grey.train.shape == (12, 32, 32)
    light = decode_srgb(colour.train.astype(float)) @ np.array([0.2126, 0.7152, 0.0722])
    assert np.allclose(decode_srgb(grey.train.astype(float)), light, atol=1e-3)


def rates_of(schedule, steps, rate=1e-3):
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], rate)
    change, rates = schedule(optimiser, steps), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        change.step()
    return rates


def test_learning_rates_of_budgets():
    for name, expected in (
        ("full", [1e-3] * 200 + [1e-5] * 50),
        ("notebook", [1e-3] * 150 + [1e-4] * 50 + [1e-5] * 30),
        ("fast", [3e-3] * 200 + [1e-5] * 50),
        ("smoke", [1e-3] * 10),
    ):
        schedule = cells.rate_schedule(settings.BUDGETS[name].rates, 1280)
        assert rates_of(schedule, len(expected), expected[0]) == pytest.approx(expected)


def test_margins_are_black():
    for name, margin in (("mnist", 2), ("fashion-mnist", 2), ("svhn", 0), ("digits", 0)):
        assert Images(name, *[np.zeros(1)] * 4).margin == margin


def test_published_numbers_are_complete():
    numbers = [
        value for by_arm in PUBLISHED.values() for by_sweep in by_arm.values() for s in by_sweep.values() for value in s
    ]
    assert len(numbers) == 84
    assert all(one.minimum <= one.mean for by_arm in PUBLISHED.values() for b in by_arm.values() for one in b.values())
    assert {arm for by_arm in PUBLISHED.values() for arm in by_arm} < set(ARMS)


def test_prediction_interval_covers_one_more_value():
    random = np.random.default_rng(0)
    inside = [
        low <= random.normal() <= high
        for low, high in (verdicts.prediction_interval(random.normal(size=4)) for _ in range(4000))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert verdicts.prediction_interval(np.array([0.5])) == (-np.inf, np.inf)


#: MNIST's test images of each class.
CLASSES = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def make_results(arm="lenet", budget="full", dataset="mnist", values=(0.3, 0.31, 0.32), sizes=(60_000, 10_000)):
    """Means of `values` over the small sweep of μ; its minimum .05 below, σ's mean .2 and its minimum .1 above."""
    results = {}
    for seed, value in enumerate(values):
        accuracy = {}
        for sweep in SWEEPS.values():
            mean, lowered = (value, 0.05) if sweep.parameter == "μ" else (value + 0.2, 0.1)
            levels = np.full(len(sweep.levels), mean)
            # One level is lower, another higher by the same amount.
            levels[0] -= lowered
            levels[-1] += lowered
            accuracy |= {(sweep.name, level): one for level, one in zip(sweep.levels, levels.tolist(), strict=True)}
        results[Cell(dataset, budget, arm, seed, tuple(SWEEPS))] = CellResult(accuracy, 10_000)
    return Results(results, {dataset: sizes}, {dataset: CLASSES})


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ({"values": (0.24, 0.25, 0.245)}, "reproduced"),
        # Published to three places.
        ({"values": (0.24465, 0.24466, 0.24464)}, "reproduced"),
        ({"values": (0.24535, 0.24536, 0.24534)}, "reproduced"),
        ({"values": (0.24415, 0.24416, 0.24414)}, "not reproduced"),
        ({"values": (0.24585, 0.24586, 0.24584)}, "not reproduced"),
        ({"values": (0.30, 0.301, 0.302)}, "not reproduced"),
        ({"values": (0.1, 0.25, 0.4)}, "inconclusive"),
        ({"values": (0.245,)}, "inconclusive"),
        ({"values": (0.24, 0.25, 0.245), "budget": "reduced"}, "not comparable"),
        ({"values": (0.24, 0.25, 0.245), "sizes": (20_000, 10_000)}, "not comparable"),
    ],
)
def test_verdicts(arguments, verdict):
    found = verdicts.judge(make_results(**arguments))
    assert len(found) == 84
    (one,) = [v for v in found if (v.dataset, v.arm, v.sweep, v.statistic) == ("mnist", "lenet", "mu", "mean")]
    assert one.published == 0.245 and one.verdict == verdict and one.mean == pytest.approx(np.mean(arguments["values"]))
    assert {v.verdict for v in found if v.arm == "in_lenet"} == {"not run"}
    others = {(v.sweep, v.statistic): v for v in found if v.dataset == "mnist" and v.arm == "lenet"}
    for key, published, above in (
        (("mu", "min"), 0.102, -0.05),
        (("sigma", "mean"), 0.829, 0.2),
        (("sigma", "min"), 0.485, 0.1),
    ):
        assert others[key].published == published
        assert others[key].mean == pytest.approx(np.mean(arguments["values"]) + above)


def test_numbers_outside_intervals_beside_other_budgets_and_single_classes():
    # The minimum of every seed at the full budget is the fraction of one class: of digits 8, 4 and 2.
    full = make_results(values=(0.0974 + 0.05, 0.0982 + 0.05, 0.1032 + 0.05)).cells
    other = make_results(budget="notebook", values=(0.2446, 0.2447, 0.2455)).cells
    sizes, classes = {"mnist": (60_000, 10_000)}, {"mnist": CLASSES}
    both = Results(full | other | make_results(budget="reduced", values=(0.5,)).cells, sizes, classes)
    found = {c.quantity: c.budgets for c in causes.outside_intervals(both, verdicts.judge(both))}
    assert set(found) == {"μ, mean", "σ, mean", "σ, minimum"}
    assert list(found["μ, mean"]) == ["reduced", "notebook", "full"]
    assert [b.contains_published for b in found["μ, mean"].values()] == [False, True, False]
    assert found["μ, mean"]["full"].seeds == pytest.approx((0.1474, 0.1482, 0.1532))
    assert {b.n_one_class for c in found.values() for b in c.values()} == {0}
    alike = Results(make_results(values=(0.0974 + 0.05,) * 3).cells, sizes, classes)
    (least,) = [c for c in causes.outside_intervals(alike, verdicts.judge(alike)) if c.quantity == "μ, minimum"]
    assert least.budgets["full"].n_one_class == 3 and least.budgets["full"].seeds == pytest.approx([0.0974] * 3)
    # An interval that is too wide to decide may also exclude a number.
    wide = Results(make_results(values=(0.8, 0.9, 0.85)).cells, sizes, classes)
    judged = {
        (v.sweep, v.statistic): v.verdict for v in verdicts.judge(wide) if (v.dataset, v.arm) == ("mnist", "lenet")
    }
    assert judged["mu", "mean"] == "inconclusive"
    assert "μ, mean" in {c.quantity for c in causes.outside_intervals(wide, verdicts.judge(wide))}
    (clean,) = causes.clean_accuracies(both)
    assert (clean.arm, clean.published, clean.budgets["reduced"].seeds) == ("lenet", 0.991, (0.5,))
    assert causes.clean_accuracies(Results(full, {"mnist": (20_000, 10_000)}, classes)) == []


def test_the_published_budget_is_judged_where_it_was_run():
    both = Results(
        make_results(budget="reduced").cells | make_results(values=(0.245, 0.246)).cells,
        {"mnist": (60_000, 10_000)},
        {},
    )
    one = verdicts.judge(both)[0]
    assert one.budget == "full" and one.verdict == "reproduced"


def test_claims_and_welch_interval():
    one, other = np.array([0.5, 0.52, 0.55]), np.array([0.4, 0.45, 0.44, 0.3])
    # Welch 1947: degrees of freedom from the two variances of the means.
    errors = one.var(ddof=1) / 3, other.var(ddof=1) / 4
    degrees = sum(errors) ** 2 / (errors[0] ** 2 / 2 + errors[1] ** 2 / 3)
    half_width = stats.t.ppf(0.975, degrees) * np.sqrt(sum(errors))
    difference = one.mean() - other.mean()
    assert claims.welch_interval(one, other) == pytest.approx((difference - half_width, difference + half_width))
    assert claims.welch_interval(np.full(3, 0.5), np.full(2, 0.25)) == (0.25, 0.25)
    both = Results(make_results().cells | make_results("retilenet", values=(0.5, 0.51, 0.52)).cells, {}, {})
    table = both.statistics
    held = {claim.words: claims.judge_claim(claim, "mnist", table) for claim in claims.CLAIMS}
    assert held[claims.CLAIMS[0].words].holds is True and held[claims.CLAIMS[0].words].difference == pytest.approx(0.2)
    assert held[claims.CLAIMS[2].words] is None
    # retilenet.md: .447 against .245 over μ, .988 against .991 on unaltered images, .990 against (.447 + .970) / 2.
    published = [claim.published("mnist") for claim in claims.CLAIMS]
    assert [published[k] for k in (0, 4, 6)] == pytest.approx([0.202, -0.003, 0.2815])
    assert published[7:] == [None, None, None] and claims.CLAIMS[0].published("digits") is None
    assert len(claims.CLAIMS) == 10


def test_kernel_measures_have_closed_forms():
    y, x = np.mgrid[-3:4, -3:4]

    def gaussian(width, across=0):
        blob = np.exp(-((x - across) ** 2 + y**2) / (2 * width**2))
        return blob / blob.sum()

    for width in (0.8, 1.0):
        difference = (gaussian(width) - gaussian(2.5 * width))[None, None]
        assert kernels.balance(difference) == pytest.approx(0, abs=1e-9)
        assert kernels.centre_surround(difference) > 0.9
        assert kernels.centre_surround(-difference) == pytest.approx(kernels.centre_surround(difference))
        beside = (gaussian(width, 1) - gaussian(2.5 * width, 1))[None, None]
        assert kernels.centre_surround(beside) > 0.7
    # An edge sums to zero, too, but has no centre and surround at any place or width.
    for width in (1.0, 1.5, 2.0):
        for across in (0, 1):
            edge = (-(x - across) * gaussian(width, across))[None, None]
            assert kernels.centre_surround(edge) < 0.15
        assert kernels.balance((-x * gaussian(width))[None, None]) == pytest.approx(0, abs=1e-9)
        assert kernels.balance(gaussian(width)[None, None]) == pytest.approx(1)
        assert kernels.centre_surround(gaussian(width)[None, None]) == 0
        assert kernels.isotropy(gaussian(width)[None, None]) == pytest.approx(1, abs=0.06)
        assert kernels.isotropy((-x * gaussian(width))[None, None]) == pytest.approx(0, abs=1e-9)
    # A bar with flanks, (1 − x²) exp(−r²/2): 2/3 of its energy is that of the mean over directions, 1 − r²/2.
    v, u = np.mgrid[-20:21, -20:21] / 5
    bar = ((1 - u**2) * np.exp(-(u**2 + v**2) / 2))[None, None]
    assert kernels.isotropy(bar) == pytest.approx(2 / 3, abs=0.01) and kernels.centre_surround(bar) > 0.3
    noise = np.random.default_rng(0).normal(size=(500, 1, 7, 7))
    assert 0.08 < kernels.isotropy(noise) < 0.2
    nothing = np.zeros((1, 1, 7, 7))
    assert kernels.isotropy(nothing) == kernels.centre_surround(nothing) == 0
    # Outputs are averaged, inputs of one output are summed.
    assert kernels.balance(np.array([[[[3.0, -1.0]]]])) == pytest.approx(0.5)
    assert kernels.balance(np.array([[[[3.0, -1.0]]], [[[1.0, -1.0]]]])) == pytest.approx(0.25)
    assert kernels.balance(np.array([[[[3.0]], [[-3.0]]]])) == 0


def test_correlation_is_spearmans_and_its_interval_covers():
    random = np.random.default_rng(0)
    one = random.normal(size=60)
    found = kernels.correlate(one, -one + 0.5 * random.normal(size=60), np.zeros(60))
    assert -1 <= found.low < found.rho < found.high < -0.5
    # Bonett & Wright 2000: Fisher's z has the standard error √((1 + ρ²/2) / (n − 3)).
    z, wide = np.arctanh(found.rho), 1.959964 * np.sqrt((1 + found.rho**2 / 2) / 57)
    assert np.arctanh([found.low, found.high]) == pytest.approx([z - wide, z + wide])
    other = random.normal(size=60)
    assert kernels.correlate(one, other, np.zeros(60)).rho == pytest.approx(stats.spearmanr(one, other).statistic)
    assert np.isnan(kernels.correlate(one[:5], other[:5], np.zeros(5)).low)
    covered = []
    for _ in range(600):
        drawn = kernels.correlate(*random.normal(size=(2, 12)), np.repeat([0, 1], 6))
        covered.append(drawn.low <= 0 <= drawn.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
    # Differences between arms are no correlation within them.
    groups = np.repeat([0, 1], 30)
    apart = kernels.correlate(one + 5 * groups, other + 5 * groups, groups)
    assert abs(apart.rho) < 0.5 < kernels.correlate(one + 5 * groups, other + 5 * groups, 0 * groups).rho


def test_correlations_need_eight_networks():
    """Ten networks of one budget have a row per measure, three of another have none; all of them together have rows again."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.random((13, 4)), columns=["balance", "centre_surround", "mu", "sigma"])
    table = table.assign(dataset="mnist", budget=["reduced"] * 10 + ["full"] * 3, arm="retilenet", layer="bipolar")
    rows = {(row["dataset"], row["budget"], row["measure"]): row for row in kernels.correlation_rows(table)}
    assert list(rows) == [
        (*place, name) for place in (("mnist", "reduced"), ("all", "all")) for name in ("balance", "centre_surround")
    ]
    ours, ten = rows["mnist", "reduced", "balance"], table[:10]
    assert ours["networks"] == 10 and set(rows["all", "all", "balance"]["by"]) == {
        "mu, within arms",
        "sigma, within arms",
    }
    for sweep in ("mu", "sigma"):
        expected = stats.spearmanr(ten.balance, ten[sweep]).statistic
        assert ours["by"][f"{sweep}, across arms"].rho == pytest.approx(expected)


def test_kernels_are_measured_before_and_after_training():
    accuracy = {("mu", 0.0): 0.5, ("mu", 1.0): 0.7, ("sigma", 1.0): 0.9}
    kernel = np.array([[[[3.0, -1.0]]]])
    one = CellResult(accuracy, 10, {"bipolar": kernel}, {"bipolar": np.abs(kernel)})
    table = kernels.measure(Results({Cell("mnist", "full", "retilenet", 0, tuple(SWEEPS)): one}, {}, {}))
    (row,) = table.to_dict("records")
    assert (row["balance"], row["balance_before"]) == (0.5, 1.0)
    assert row["mu"] == pytest.approx(0.6) and row["sigma"] == pytest.approx(0.9)


def test_lenet_learns_and_zero_sum_is_kept():
    found = cells.evaluate_on_codes(
        ARMS["retilenet_zero_sum"], load("digits").first(1347, 100), ((8, 1e-3), (2, 1e-5)), 0
    )
    assert found.accuracy[CLEAN] > 0.7
    # Its inputs are the same at any μ.
    over_mu = [value for (sweep, _), value in found.accuracy.items() if sweep.startswith("mu")]
    assert np.ptp(over_mu) <= 2 / found.n_images
    assert {name: kernel.shape for name, kernel in found.kernels.items()} == {
        **{station: (1, 1, 7, 7) for station in retilenet.STATIONS},
        "lenet": (6, 1, 5, 5),
    }
    assert kernels.balance(found.kernels["bipolar"]) < 1e-5
    assert not np.array_equal(found.kernels["bipolar"], found.initial_kernels["bipolar"])


@pytest.mark.all
@pytest.mark.slow
def test_a_stopped_reproduction_computes_only_what_is_missing(tmp_path):
    command = ("--budget", "smoke", "--seeds", 1, "--arms", "in_lenet,lenet", "--out", tmp_path)
    assert precortical(*command).returncode == 0
    results = pd.read_csv(tmp_path / "results.csv")
    assert set(results.arm) == {"in_lenet", "lenet"} and len(results) == 2 * 81
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/**/*.npz")}
    gone = tmp_path / "cells" / "digits" / "smoke" / "in_lenet-0.npz"
    gone.unlink()
    assert precortical(*command).returncode == 0
    assert [path.name for path, when in kept.items() if path.stat().st_mtime_ns != when] == [gone.name]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "results.csv"), results)


@pytest.mark.all
@pytest.mark.slow
def test_smoke_budget_of_every_arm_resumes(tmp_path):
    """`--budget smoke` on digits, all arms; the published budget is the same code with more images and epochs."""
    out = tmp_path / "out"
    first = precortical("--budget", "smoke", "--seeds", 2, "--out", out, "--json", tmp_path / "verdicts.json")
    assert first.returncode == 0, first.stderr
    results = pd.read_csv(out / "results.csv")
    assert list(results.columns) == list(COLUMNS)
    assert set(results.arm) == set(ARMS) and set(results.sweep) == set(SWEEPS)
    assert len(results) == len(ARMS) * 2 * 81 and (results.n == 50).all()
    rows = json.loads((out / "cells.json").read_text())
    assert len(rows) == 84 and rows == json.loads((tmp_path / "verdicts.json").read_text())
    assert {one["verdict"] for one in rows} == {"not run"}
    assert (out / "report.html").stat().st_size > 10_000 and (out / "follows.png").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/**/*.npz")}
    # The arm that takes light is trained under three maps.
    assert len(kept) == 2 * (len(ARMS) + 2)
    gone = out / "cells" / "digits" / "smoke" / "in_lenet-0.npz"
    gone.unlink()
    again = precortical("--budget", "smoke", "--seeds", 2, "--arms", "in_lenet,lenet", "--out", out)
    assert again.returncode == 0, again.stderr
    # One cell is computed again, the others are unchanged, and the table has all of them.
    assert [path.name for path, when in kept.items() if path.stat().st_mtime_ns != when] == [gone.name]
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), results)
    commands = (out / "commands.txt").read_text().splitlines()
    assert len(commands) == 2 and commands[1].endswith(
        "--arms in_lenet,lenet --budget smoke --seeds 2 --seed 0 --device cpu"
    )


def test_a_seed_gives_the_same_result_after_others():
    digits = load("digits").first(128, 20)
    alone = cells.evaluate_on_codes(ARMS["retilenet_augmented"], digits, ONCE, 3)
    other = cells.evaluate_on_codes(ARMS["retilenet_augmented"], digits, ONCE, 4)
    torch.rand(5)
    again = cells.evaluate_on_codes(ARMS["retilenet_augmented"], digits, ONCE, 3)
    assert alone.accuracy == again.accuracy
    assert all(np.array_equal(alone.kernels[name], again.kernels[name]) for name in alone.kernels)
    assert not np.array_equal(alone.kernels["bipolar"], other.kernels["bipolar"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"budget": "huge"}, "budget must be one of smoke, reduced, notebook, fast, long, full, got 'huge'"),
        ({"arms": ("vgg",)}, "arms must be one of lenet, .*, got 'vgg'"),
        ({"arms": ()}, "arms must be among lenet, .*, got none"),
        ({"datasets": ("cifar",)}, "datasets must be one of digits, .*, got 'cifar'"),
        ({"seeds": 0}, "seeds must be a positive integer, got 0"),
        ({"seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ({"device": "abacus"}, "device must be an available device, cpu or cuda, got 'abacus'"),
    ],
)
def test_invalid_settings_raise(tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        run.run(Settings(**changed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_of_other_code_or_images_raises(tmp_path, monkeypatch):
    few = load("digits").first(140, 20)
    monkeypatch.setattr(run.datasets, "load", lambda *_, **__: few)
    monkeypatch.setattr(run, "run_parallel", lambda *_: None)
    with pytest.raises(ValueError, match="holds no reproduction"):
        run.run(Settings(budget="smoke"), tmp_path)
    monkeypatch.setattr(run.datasets, "load", lambda *_, **__: few.first(130, 20))
    with pytest.raises(ValueError, match="made with digits = "):
        run.run(Settings(budget="smoke"), tmp_path)
    # The front end matters only to arms that take light.
    monkeypatch.setattr(run.datasets, "load", lambda *_, **__: few)
    monkeypatch.setattr(run, "_FRONT_END_CODE", ())
    with pytest.raises(ValueError, match="made with front end = "):
        run.run(Settings(budget="smoke", arms=("lenet", "front_end_lgn")), tmp_path)
    with pytest.raises(ValueError, match="holds no reproduction"):
        run.run(Settings(budget="smoke", arms=("lenet",)), tmp_path)
    monkeypatch.setattr(run, "_CODE", ())
    with pytest.raises(ValueError, match="made with code = "):
        run.run(Settings(budget="smoke", arms=("lenet",)), tmp_path)


def test_report_separates_budgets_and_data_sets(tmp_path):
    for budget in ("reduced", "full"):
        for arm in ("lenet", "retilenet"):
            for cell, result in make_results(arm, budget).cells.items():
                learned = {"bipolar": np.random.default_rng(cell.seed).normal(size=(1, 1, 7, 7))}
                CellResult(result.accuracy, result.n_images, learned, learned).save(cell.path(tmp_path))
    (tmp_path / "config.json").write_text(
        json.dumps({"code": "", "mnist": {"images": [60_000, 10_000], "classes": CLASSES}})
    )
    results = read(tmp_path)
    assert len(results.cells) == 12 and results.sizes == {"mnist": (60_000, 10_000)}
    report.write(results, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "MNIST, reduced budget" in page and "MNIST, full budget" in page and "not reproduced, full" in page
    assert (
        "Numbers outside the intervals" in page
        and "60,000 training" in page
        and "20,000 training" in page
        and "subset" not in page
    )
    few = json.dumps({"code": "", "mnist": {"images": [20_000, 10_000], "classes": CLASSES}})
    (tmp_path / "config.json").write_text(few)
    report.write(read(tmp_path), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "MNIST subset, full budget" in page and "not reproduced, full" not in page
