import math

import pytest
import torch

from bridge import FrontEnd
from bridge.front_end import RELAY
from bridge.refinement import refine


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
    labels = [k // 3 for k in range(len(light))]
    frozen = other.cone.log_gain.requires_grad_(False).clone()
    held_light, held_background = shown(30)[0][24:], shown(30)[1][24:]
    expected = truth(held_light, held_background).detach()

    def missed() -> float:
        with torch.no_grad():
            return float(((other(held_light, held_background) - expected) ** 2).mean() / expected.var())

    before = missed()
    told = refine(other, light, background, response, labels, steps=150, rate=1e-2)
    assert missed() < before / 5 and told < 0.05
    assert torch.equal(frozen, other.cone.log_gain)


@pytest.mark.slow
def test_what_gains_nothing_on_images_left_aside_is_not_kept(truth):
    """Responses of another circuit to the images fitted: the better they are met, the worse are those left aside."""
    light, background = shown()
    response = answered(truth, light, background)
    response["lgn"][: len(light) - 3] = answered(astray(truth), light, background)["lgn"][: len(light) - 3].flip(1)
    other, labels = truth.altered(), ["fitted"] * (len(light) - 3) + ["aside"] * 3
    other.load_state_dict(truth.state_dict())
    seeds = [seed for seed in range(20) if refine(other, light, background, response, labels, seed, steps=1) < 1e-4]
    assert seeds, "some seed leaves the last three aside"
    refine(other, light, background, response, labels, seeds[0], steps=60)
    for name, values in truth.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name


def test_one_photograph_alone_is_left_as_it_was(truth):
    light, background = shown(4)
    other = astray(truth)
    before = other(light, background)
    assert math.isnan(refine(other, light, background, answered(truth, light, background), ["one"] * 4))
    assert torch.equal(before, other(light, background))
