import math

import numpy as np
import pytest
import torch

from bridge import FrontEnd
from bridge.evaluate.metrics import explainable_share
from bridge.fit.refinement import _LEAST, _deviance, refine
from bridge.fit.stimuli import NOISE, left_aside
from bridge.model.front_end import RELAY


def shown(images: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of squares about several levels, and the even fields before it."""
    generator = torch.Generator().manual_seed(0)
    levels = 10 ** (1 + torch.rand(images, 1, 1, 1, generator=generator))
    squares = torch.rand(images, 1, 6, 6, generator=generator).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return levels * (0.5 + squares), levels.expand(images, 1, 12, 12).contiguous()


def answered(front_end: FrontEnd, light: torch.Tensor, background: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {"lgn": front_end(light, background)}


def astray(front_end: FrontEnd) -> FrontEnd:
    """A copy whose parameters are all off by a tenth."""
    other = front_end.altered()
    generator = torch.Generator().manual_seed(1)
    state = {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in front_end.state_dict().items()}
    other.load_state_dict(state)
    return other


@pytest.fixture(scope="module")
def truth() -> FrontEnd:
    return FrontEnd(16.0, {"lgn": list(RELAY)}, "lgn")


@pytest.mark.slow
def test_a_front_end_gone_astray_is_brought_back(truth):
    light, background = shown()
    response, other = answered(truth, light, background), astray(truth)
    is_aside = left_aside([k // 3 for k in range(len(light))], 0)
    frozen = other.cone.log_gain.requires_grad_(False).clone()
    held_light, held_background = shown(30)[0][24:], shown(30)[1][24:]
    expected = truth(held_light, held_background).detach()

    def missed() -> float:
        with torch.no_grad():
            return float(((other(held_light, held_background) - expected) ** 2).mean() / expected.var())

    before = missed()
    told = refine(other, light, background, response, is_aside, steps=150, rate=1e-2)
    assert missed() < before / 5 and told < 0.05
    assert torch.equal(frozen, other.cone.log_gain)


def test_deviance_has_the_slope_of_the_poisson_likelihood_of_all_trials():
    generator = torch.Generator().manual_seed(0)
    seconds, trials = 0.15, 20
    rate = torch.rand(50, generator=generator) * 40
    counts = torch.poisson((seconds * rate).expand(trials, -1).contiguous(), generator=generator)
    told = (torch.rand(50, generator=generator) * 40).requires_grad_()
    _deviance(told, counts.mean(dim=0) / seconds, seconds).sum().backward()
    slope, told.grad = told.grad.clone(), None
    # McCullagh & Nelder 1989, section 2.3; the rate that is added to both is small.
    likelihood = torch.nn.functional.poisson_nll_loss(
        (seconds * (told + _LEAST)).expand(trials, -1), counts + seconds * _LEAST, log_input=False, reduction="sum"
    )
    (likelihood / trials).backward()
    assert torch.allclose(slope, told.grad, rtol=1e-4, atol=1e-6)
    silent = _deviance(torch.zeros(3), torch.zeros(3), seconds)
    assert torch.equal(silent, torch.zeros(3))
    assert torch.isfinite(_deviance(torch.zeros(3), torch.full((3,), 50.0), seconds)).all()


@pytest.mark.slow
def test_a_front_end_gone_astray_is_brought_back_by_counts_of_spikes(truth):
    light, background = shown(32)
    rates = answered(truth, light, background)["lgn"]
    generator, seconds, trials = torch.Generator().manual_seed(2), 0.15, 20
    counts = torch.poisson((seconds * rates).expand(trials, *rates.shape).contiguous(), generator=generator)
    other, held = astray(truth), slice(24, 32)
    expected = counts[:, held].numpy() / seconds

    def feve() -> float:
        with torch.no_grad():
            return explainable_share(expected, other(light[held], background[held]).numpy())

    before, is_aside = feve(), left_aside([k // 3 for k in range(24)], 0)
    response = {"lgn": counts[:, :24].mean(dim=0) / seconds}
    refine(other, light[:24], background[:24], response, is_aside, steps=150, rate=1e-2, counted={"lgn": seconds})
    assert before < 0.9 and feve() > 0.95


@pytest.mark.slow
def test_what_gains_nothing_on_images_left_aside_is_not_kept(truth):
    """Responses of another circuit to the images fitted: the better they are met, the worse are those left aside."""
    light, background = shown()
    response = answered(truth, light, background)
    response["lgn"][: len(light) - 3] = answered(astray(truth), light, background)["lgn"][: len(light) - 3].flip(1)
    other = truth.altered()
    other.load_state_dict(truth.state_dict())
    is_aside = np.arange(len(light)) >= len(light) - 3
    assert refine(other, light, background, response, is_aside, steps=60) < 1e-4
    for name, values in truth.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name


def test_whole_photographs_are_left_aside_where_there_are_enough(truth):
    photographs = np.repeat(np.arange(20), 3)
    is_aside = left_aside(photographs.tolist(), 1)
    assert is_aside.reshape(20, 3).all(axis=1).sum() == 3 and is_aside.sum() == 9
    assert not np.array_equal(is_aside, left_aside(photographs.tolist(), 2))
    noise = left_aside([*photographs.tolist(), *[NOISE] * 20], 1)
    assert noise[:60].reshape(20, 3).all(axis=1).sum() == 3 and noise[60:].sum() == 3
    light, background = shown(6)
    other, none = astray(truth), left_aside(["a", "a", "b", "b", "c", "c"], 0)
    before = other(light, background)
    assert math.isnan(refine(other, light, background, answered(truth, light, background), none))
    assert torch.equal(before, other(light, background))
