import math

import numpy as np
import pytest
import torch

from bridge import FrontEnd
from bridge.evaluate.scores import feve
from bridge.fit.data import Recording
from bridge.fit.fitting import refine
from bridge.fit.optimisers import _LEAST_RATE, AdamSettings, Targets, deviance
from bridge.fit.stimuli import NOISE, choose_validation
from bridge.model.front_end import RELAY


def noise_and_fields(images: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of squares around several levels, and the uniform fields before it."""
    generator = torch.Generator().manual_seed(0)
    levels = 10 ** (1 + torch.rand(images, 1, 1, 1, generator=generator))
    squares = torch.rand(images, 1, 6, 6, generator=generator).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return levels * (0.5 + squares), levels.expand(images, 1, 12, 12).contiguous()


def respond(front_end: FrontEnd, light: torch.Tensor, background: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {"lgn": front_end(light, background)}


def perturb(front_end: FrontEnd) -> FrontEnd:
    """A copy with random changes of a tenth in all parameters."""
    other = front_end.untrained()
    generator = torch.Generator().manual_seed(1)
    state = {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in front_end.state_dict().items()}
    other.load_state_dict(state)
    return other


@pytest.fixture(scope="module")
def truth() -> FrontEnd:
    return FrontEnd(16.0, {"lgn": list(RELAY)}, "lgn")


@pytest.mark.slow
def test_refine_recovers_a_front_end(truth):
    light, background = noise_and_fields()
    response, other = respond(truth, light, background), perturb(truth)
    is_validation = choose_validation([k // 3 for k in range(len(light))], 0)
    frozen = other.cone.log_gain.requires_grad_(False).clone()
    held_light, held_background = noise_and_fields(30)[0][24:], noise_and_fields(30)[1][24:]
    expected = truth(held_light, held_background).detach()

    def unexplained() -> float:
        with torch.no_grad():
            return float(((other(held_light, held_background) - expected) ** 2).mean() / expected.var())

    before = unexplained()
    recording = Recording(light, background, Targets(response, is_validation))
    share = refine(other, recording, AdamSettings(150, 1e-2))
    assert unexplained() < before / 5 and share < 0.05
    assert torch.equal(frozen, other.cone.log_gain)


def test_deviance_has_the_slope_of_the_poisson_likelihood_of_all_trials():
    generator = torch.Generator().manual_seed(0)
    seconds, trials = 0.15, 20
    rate = torch.rand(50, generator=generator) * 40
    counts = torch.poisson((seconds * rate).expand(trials, -1).contiguous(), generator=generator)
    prediction = (torch.rand(50, generator=generator) * 40).requires_grad_()
    deviance(prediction, counts.mean(dim=0) / seconds, seconds).sum().backward()
    slope, prediction.grad = prediction.grad.clone(), None
    # McCullagh & Nelder 1989, section 2.3; the rate that is added to both is small.
    likelihood = torch.nn.functional.poisson_nll_loss(
        (seconds * (prediction + _LEAST_RATE)).expand(trials, -1),
        counts + seconds * _LEAST_RATE,
        log_input=False,
        reduction="sum",
    )
    (likelihood / trials).backward()
    assert torch.allclose(slope, prediction.grad, rtol=1e-4, atol=1e-6)
    silent = deviance(torch.zeros(3), torch.zeros(3), seconds)
    assert torch.equal(silent, torch.zeros(3))
    assert torch.isfinite(deviance(torch.zeros(3), torch.full((3,), 50.0), seconds)).all()


@pytest.mark.all
@pytest.mark.slow
def test_refine_recovers_a_front_end_from_counts_of_spikes(truth):
    light, background = noise_and_fields(32)
    rates = respond(truth, light, background)["lgn"]
    generator, seconds, trials = torch.Generator().manual_seed(2), 0.15, 20
    counts = torch.poisson((seconds * rates).expand(trials, *rates.shape).contiguous(), generator=generator)
    other, held = perturb(truth), slice(24, 32)
    expected = counts[:, held].numpy() / seconds

    def share() -> float:
        with torch.no_grad():
            return feve(expected, other(light[held], background[held]).numpy())

    before, is_validation = share(), choose_validation([k // 3 for k in range(24)], 0)
    response = {"lgn": counts[:, :24].mean(dim=0) / seconds}
    recording = Recording(light[:24], background[:24], Targets(response, is_validation, {"lgn": seconds}))
    refine(other, recording, AdamSettings(150, 1e-2))
    assert before < 0.9 and share() > 0.95


@pytest.mark.slow
def test_a_state_without_gain_on_the_validation_set_is_dropped(truth):
    """The fitted images have responses of another circuit: the better the fit, the worse on the validation set."""
    light, background = noise_and_fields()
    response = respond(truth, light, background)
    response["lgn"][: len(light) - 3] = respond(perturb(truth), light, background)["lgn"][: len(light) - 3].flip(1)
    other = truth.replace()
    is_validation = np.arange(len(light)) >= len(light) - 3
    recording = Recording(light, background, Targets(response, is_validation))
    assert refine(other, recording, AdamSettings(60)) < 1e-4
    for name, values in truth.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name


def test_validation_has_whole_photographs_where_there_are_enough(truth):
    photographs = np.repeat(np.arange(20), 3)
    is_validation = choose_validation(photographs.tolist(), 1)
    assert is_validation.reshape(20, 3).all(axis=1).sum() == 3 and is_validation.sum() == 9
    assert not np.array_equal(is_validation, choose_validation(photographs.tolist(), 2))
    noise = choose_validation([*photographs.tolist(), *[NOISE] * 20], 1)
    assert noise[:60].reshape(20, 3).all(axis=1).sum() == 3 and noise[60:].sum() == 3
    light, background = noise_and_fields(6)
    other, none = perturb(truth), choose_validation(["a", "a", "b", "b", "c", "c"], 0)
    before = other(light, background)
    recording = Recording(light, background, Targets(respond(truth, light, background), none))
    assert math.isnan(refine(other, recording, AdamSettings()))
    assert torch.equal(before, other(light, background))
