import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from studies.datasets import load
from studies.reproduction import cells, claims, kernels, networks, report, study, sweeps, verdicts
from studies.reproduction.arms import ARMS
from studies.reproduction.cells import Found
from studies.reproduction.published import PUBLISHED
from studies.reproduction.study import Cell, Settings, Study
from studies.reproduction.sweeps import SWEEPS

CLEAN = ("mu", 0.0)


def precortical(*arguments):
    command = [sys.executable, "-m", "studies.cli", "study", "reproduction", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def images(seed=0, channels=1):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (4, channels, 32, 32)).astype(np.float32))


def parameters(module):
    return sum(one.numel() for one in module.parameters())


def test_networks_have_the_published_numbers_of_parameters():
    # retilenet.md, from the authors' repository.
    assert parameters(networks.lenet(1, 10)) == 61_706 and parameters(networks.lenet(3, 10)) == 62_006
    assert parameters(networks.module(1)) == 150 and parameters(networks.module(3)) == 1_332
    assert networks.module(1)(images()).shape == networks.module(1, 1, 11)(images()).shape == (4, 1, 32, 32)


def test_sweeps_have_the_published_levels():
    assert SWEEPS["mu"].levels == tuple(np.round(np.arange(-2, 2.1, 0.2), 1))
    assert SWEEPS["mu_large"].levels == tuple(np.round(np.arange(-12, 12.1, 1.2), 1))
    assert SWEEPS["sigma"].levels == tuple(np.round(np.arange(0.1, 4, 0.2), 1)) and SWEEPS["sigma"].levels[-1] == 3.9
    assert SWEEPS["sigma_large"].levels[:2] == (0.1, 2.5) and SWEEPS["sigma_large"].levels[-1] == 43.3
    assert [len(one.levels) for one in SWEEPS.values()] == [21, 20, 21, 19]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), white=st.floats(0, 1), sweep=st.sampled_from(list(SWEEPS.values())))
def test_no_image_leaves_the_light_that_a_sweep_is_mapped_to(seed, white, sweep):
    codes = images(seed).round() * white
    for level in sweep.levels:
        light = sweep.luminance(sweep.change(codes, level))
        assert light.min() >= sweeps.DARKEST - 1e-3 and light.max() <= sweeps.LIGHTEST + 1e-3
    # The map is affine, and as wide as it may be.
    low, high = (sweep.luminance(torch.full((1, 1, 1, 1), code)).item() for code in sweep.span)
    assert (low, high) == pytest.approx((1, 200))
    assert 0.02 < sweep.contrast_left < 0.4


def test_contrast_keeps_the_mean_and_luminosity_the_differences():
    codes = images(channels=3)
    for sigma in (0.1, 2.5):
        changed = sweeps.contrast(codes, sigma)
        assert torch.allclose(changed.mean(dim=(1, 2, 3)), codes.mean(dim=(1, 2, 3)), atol=1e-4)
        assert torch.allclose(changed.std(dim=(1, 2, 3)) * sigma, codes.std(dim=(1, 2, 3)), rtol=1e-3)
    # Published: a negative μ brightens.
    assert torch.allclose(sweeps.luminosity(codes, -0.4), codes + 0.4)


def test_augmentation_draws_for_every_image_and_survives_no_contrast(monkeypatch):
    same = images()[:1].expand(2000, -1, -1, -1)
    drawn = sweeps.augmented(same, torch.Generator().manual_seed(0))
    mean, deviation = drawn.mean(dim=(1, 2, 3)), drawn.std(dim=(1, 2, 3))
    assert torch.isfinite(drawn).all()
    shift = same[0].mean() - mean
    assert shift.min() < -1.9 and shift.max() > 1.9 and abs(shift.mean()) < 0.1
    # σ is below 4, and below 0 in one of forty.
    assert (same[0].std() / deviation).max() == pytest.approx(4, rel=0.01)
    flipped = ((drawn - mean[:, None, None, None]) * (same - same.mean())).sum(dim=(1, 2, 3)) < 0
    assert flipped.float().mean().item() == pytest.approx(0.1 / 4.1, abs=0.012)
    monkeypatch.setattr(sweeps, "AUGMENTED_SIGMA", (0.0, 0.0))
    assert torch.isfinite(sweeps.augmented(same[:2], torch.Generator())).all()


def test_what_is_invariant_by_construction():
    def changes(arm, change):
        torch.manual_seed(0)
        network = ARMS[arm].network(1, 10).eval()
        with torch.no_grad():
            return float((network(change(images())) - network(images())).abs().max())

    def darker(codes):
        return sweeps.luminosity(codes, 1.4)

    def fainter(codes):
        return sweeps.contrast(codes, 2.5)

    # A zero-sum kernel over a repeated border does not see μ; the published module does.
    assert changes("retilenet_zero_sum", darker) < 1e-5 < 1e-3 < changes("retilenet", darker)
    assert changes("retilenet_zero_sum", fainter) > 1e-4
    for arm in ("in_lenet", "standardise"):
        assert changes(arm, darker) < 2e-3 and changes(arm, fainter) < 5e-3
    assert torch.equal(networks.Standardise()(torch.full((1, 3, 4, 4), 0.3)), torch.zeros(1, 3, 4, 4))


def test_schedule_is_the_published_one():
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], cells.RATE)
    schedule = cells.late_rate(optimiser, cells.steps(1280, 25))
    rates = []
    for _ in range(250):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    # 20 epochs at 1e-3, then 5 at 1e-5.
    assert rates == pytest.approx([1e-3] * 200 + [1e-5] * 50)


def test_all_published_numbers_are_there():
    numbers = [
        value for by_arm in PUBLISHED.values() for by_sweep in by_arm.values() for s in by_sweep.values() for value in s
    ]
    assert len(numbers) == 84
    assert all(one.minimum <= one.mean for by_arm in PUBLISHED.values() for b in by_arm.values() for one in b.values())
    assert {arm for by_arm in PUBLISHED.values() for arm in by_arm} < set(ARMS)


def test_one_more_value_lies_within_a_prediction_interval():
    random = np.random.default_rng(0)
    inside = [
        low <= random.normal() <= high
        for low, high in (verdicts.prediction(random.normal(size=4)) for _ in range(4000))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert verdicts.prediction(np.array([0.5])) == (-np.inf, np.inf)


def made(arm="lenet", budget="full", dataset="mnist", values=(0.3, 0.31, 0.32), sizes=(60_000, 10_000)):
    found = {}
    for seed, value in enumerate(values):
        accuracy = {(sweep.name, level): value for sweep in SWEEPS.values() for level in sweep.levels}
        found[Cell(dataset, budget, arm, seed, tuple(SWEEPS))] = Found(accuracy, 10_000)
    return Study(found, {dataset: sizes})


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({"values": (0.24, 0.25, 0.245)}, "reproduced"),
        ({"values": (0.30, 0.301, 0.302)}, "not reproduced"),
        ({"values": (0.1, 0.25, 0.4)}, "inconclusive"),
        ({"values": (0.245,)}, "inconclusive"),
        ({"values": (0.24, 0.25, 0.245), "budget": "reduced"}, "not comparable"),
        ({"values": (0.24, 0.25, 0.245), "sizes": (20_000, 10_000)}, "not comparable"),
    ],
)
def test_verdicts(told, verdict):
    found = verdicts.verdicts(made(**told))
    assert len(found) == 84
    (one,) = [v for v in found if (v.dataset, v.arm, v.sweep, v.statistic) == ("mnist", "lenet", "mu", "mean")]
    assert one.published == 0.245 and one.verdict == verdict and one.mean == pytest.approx(np.mean(told["values"]))
    assert {v.verdict for v in found if v.arm == "in_lenet"} == {"not run"}


def test_the_published_budget_is_judged_where_it_was_run():
    both = Study(made(budget="reduced").cells | made(values=(0.245, 0.246)).cells, {"mnist": (60_000, 10_000)})
    one = verdicts.verdicts(both)[0]
    assert one.budget == "full" and one.verdict == "reproduced"


def test_claims_have_welchs_interval():
    one, other = np.array([0.5, 0.52, 0.55]), np.array([0.4, 0.45, 0.44, 0.3])
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert claims.welch(one, other) == pytest.approx((expected.low, expected.high))
    both = Study(made().cells | made("retilenet", values=(0.5, 0.51, 0.52)).cells, {})
    table = claims.scores(both.results)
    held = {claim.words: claims.judged(claim, "mnist", table) for claim in claims.CLAIMS}
    assert held[claims.CLAIMS[0].words].holds is True and held[claims.CLAIMS[0].words].difference == pytest.approx(0.2)
    assert held[claims.CLAIMS[2].words] is None
    assert len(claims.CLAIMS) == 10


def test_kernels_are_told_by_their_closed_forms():
    y, x = np.mgrid[-10:11, -10:11]

    def gaussian(width):
        blob = np.exp(-(x**2 + y**2) / (2 * width**2))
        return blob / blob.sum()

    difference, blob, edge = gaussian(1.0) - gaussian(3.0), gaussian(2.0), -x * gaussian(2.0)
    kernel = {name: values[None, None] for name, values in (("dog", difference), ("blob", blob), ("edge", edge))}
    assert kernels.balance(kernel["dog"]) == pytest.approx(0, abs=1e-9)
    assert kernels.balance(kernel["edge"]) == pytest.approx(0, abs=1e-9)
    assert kernels.balance(kernel["blob"]) == pytest.approx(1)
    assert kernels.balance(np.array([[[[3.0, -1.0]]]])) == pytest.approx(0.5)
    assert kernels.centre_surround(kernel["dog"]) > 0.95
    assert kernels.centre_surround(kernel["blob"]) == 0
    # The zero-sum kernel of an edge is no centre and surround.
    assert kernels.centre_surround(kernel["edge"]) < 0.75 * kernels.centre_surround(kernel["dog"])
    assert kernels.centre_surround(-kernel["dog"]) == pytest.approx(kernels.centre_surround(kernel["dog"]))


def test_correlation_is_spearmans_with_an_interval_about_it():
    random = np.random.default_rng(0)
    one = random.normal(size=60)
    found = kernels.correlation(one, -one + 0.5 * random.normal(size=60))
    assert -1 <= found.low < found.rho < found.high < -0.5
    assert kernels.correlation(one, np.exp(one)).rho == pytest.approx(1)


def test_lenet_learns_and_keeps_what_it_should():
    found = cells.of_codes(ARMS["retilenet_zero_sum"], load("digits").first(1347, 100), 10, 0)
    assert found.accuracy[CLEAN] > 0.7
    # It meets the same at any μ.
    over_mu = [told for (sweep, _), told in found.accuracy.items() if sweep.startswith("mu")]
    assert np.ptp(over_mu) <= 2 / found.images
    assert {name: kernel.shape for name, kernel in found.kernels.items()} == {
        **{station: (1, 1, 7, 7) for station in networks.STATIONS},
        "lenet": (6, 1, 5, 5),
    }
    assert kernels.balance(found.kernels["bipolar"]) < 1e-5


@pytest.mark.slow
def test_smoke_of_every_arm_goes_on_where_it_was(tmp_path):
    """`--budget smoke` on digits, all arms; the published budget is the same code with more images and epochs."""
    out = tmp_path / "out"
    first = precortical("--budget", "smoke", "--seeds", 1, "--out", out, "--json", tmp_path / "told.json")
    assert first.returncode == 0, first.stderr
    results = pd.read_csv(out / "results.csv")
    assert list(results.columns) == list(study.COLUMNS)
    assert set(results.arm) == set(ARMS) and set(results.sweep) == set(SWEEPS)
    assert len(results) == len(ARMS) * 81 and (results.n == 50).all()
    told = json.loads((out / "cells.json").read_text())
    assert len(told) == 84 and told == json.loads((tmp_path / "told.json").read_text())
    assert {one["verdict"] for one in told} == {"not run"}
    assert (out / "report.html").stat().st_size > 10_000 and (out / "follows.png").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/**/*.npz")}
    # The arm that takes light is trained under three maps.
    assert len(kept) == len(ARMS) + 2
    gone = out / "cells" / "digits" / "smoke" / "in_lenet-0.npz"
    gone.unlink()
    again = precortical("--budget", "smoke", "--seeds", 1, "--arms", "in_lenet,lenet", "--out", out)
    assert again.returncode == 0, again.stderr
    # One cell is made again, the others are as they were, and the table has all of them.
    assert [path.name for path, when in kept.items() if path.stat().st_mtime_ns != when] == [gone.name]
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), results)


def test_a_seed_gives_the_same_numbers_whatever_else_is_asked_for():
    digits = load("digits").first(128, 20)
    alone, again = (cells.of_codes(ARMS["retilenet_augmented"], digits, 1, 3) for _ in range(2))
    assert alone.accuracy == again.accuracy
    assert all(np.array_equal(alone.kernels[name], again.kernels[name]) for name in alone.kernels)
    other = cells.of_codes(ARMS["retilenet_augmented"], digits, 1, 4)
    assert not np.array_equal(alone.kernels["bipolar"], other.kernels["bipolar"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"budget": "huge"}, "unknown budget 'huge': accepted are smoke, reduced, full"),
        ({"arms": ("vgg",)}, "unknown arm 'vgg'"),
        ({"arms": ()}, "no arm is chosen"),
        ({"datasets": ("cifar",)}, "unknown dataset 'cifar'"),
        ({"seeds": 0}, "seeds = 0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_settings_that_are_wrong_are_refused(tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        study.run(Settings(**changed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_code_or_images_is_refused(tmp_path, monkeypatch):
    few = load("digits").first(140, 20)
    monkeypatch.setattr(study.datasets, "load", lambda *_, **__: few)
    monkeypatch.setattr(study.side_by_side, "side_by_side", lambda *_: None)
    with pytest.raises(ValueError, match="holds no reproduction"):
        study.run(Settings(budget="smoke"), tmp_path)
    monkeypatch.setattr(study.datasets, "load", lambda *_, **__: few.first(130, 20))
    with pytest.raises(ValueError, match="another digits: choose another folder"):
        study.run(Settings(budget="smoke"), tmp_path)


def test_what_a_module_says_of_itself_is_no_part_of_what_it_does():
    source = 'def f(x):\n    """Doc."""\n    return x  # why\n'
    assert (
        study._statements(source)
        == study._statements("def f(x): return x\n")
        != study._statements("def f(x): return 1\n")
    )


def test_report_of_a_folder_tells_budgets_and_data_sets_apart(tmp_path):
    for budget in ("reduced", "full"):
        for arm in ("lenet", "retilenet"):
            for cell, found in made(arm, budget).cells.items():
                learned = {"bipolar": np.random.default_rng(cell.seed).normal(size=(1, 1, 7, 7))}
                Found(found.accuracy, found.images, learned).save(cell.path(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"code": "", "mnist": {"images": [60_000, 10_000]}}))
    held = study.read(tmp_path)
    assert len(held.cells) == 12 and held.sizes == {"mnist": (60_000, 10_000)}
    report.write(held, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "MNIST, reduced budget" in page and "MNIST, full budget" in page and "not reproduced, full" in page
