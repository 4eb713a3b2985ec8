import copy
import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional

import biomodel
import bridge
from biomodel.images import photographs
from bridge.fit import fitting, stimuli, v1_counts
from bridge.fit.v1_counts import begin_complex, fit_v1_to_counts, regress
from bridge.model.front_end import RELAY
from bridge.model.stages import PARTS, V1

PIXELS_PER_DEGREE, MAINTAINED = 4.0, 10.0

SECONDS, TRIALS = 0.15, 20


def relay(images: int, seed: int) -> Tensor:
    """Rates of relay cells, (PARTS, image, 4, y, x): ON and OFF of opposite signs, parasol cells blurred and saturating."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(images, 1, 16, 16, generator=generator)
    blurred = 1.5 * torch.tanh(2 * functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1))
    lasting = torch.linspace(1.0, 0.6, PARTS).view(-1, 1, 1, 1, 1)
    transient = torch.linspace(1.0, 0.2, PARTS).view(-1, 1, 1, 1, 1)
    change = torch.cat([lasting * torch.cat([image, -image], 1), transient * torch.cat([blurred, -blurred], 1)], dim=2)
    return (MAINTAINED * (1 + change)).clamp_min(0)


@pytest.fixture(scope="module")
def truth() -> V1:
    """Two kinds of 45° and 135°, whose subregions lie side by side; the second hears parasol cells."""
    v1 = V1([45.0, 135.0], PIXELS_PER_DEGREE, spiking=True)
    v1.hear([False, True])
    reach, complex_reach = v1.reach, v1.complex_reach
    with torch.no_grad():
        v1.root_weight.zero_()
        v1.root_complex_weight.zero_()
        for kind, sign, root in ((0, 1, 0.2), (1, -1, 0.26)):
            for along in (-1, 0, 1):
                v1.root_weight[kind, 0, reach + along, reach + sign * along] = 1.2 * root
                v1.root_weight[kind, 1, reach + along, reach + 1 + sign * along] = root
            v1.root_complex_weight[kind, :, complex_reach, complex_reach] = 0.7
        v1.log_spontaneous.copy_(torch.tensor([0.5, 1.0, 1.5, 2.0]).log())
        v1.log_complex_exponent.copy_(torch.tensor([1.0, 1.3]).log())
        # Pools are weak: what is asked for is the weights.
        v1.normalisation.log_weight -= 3.0
    return v1


def answered(v1: V1, shown: Tensor) -> Tensor:
    with torch.no_grad():
        return v1(shown, torch.full((4, 1, 1), MAINTAINED))


@pytest.mark.slow
def test_v1_cells_that_spike_are_found_again_from_their_counts(truth):
    shown, unseen = relay(240, 0), relay(40, 1)
    rates = answered(truth, shown)
    assert 1 < float(rates.mean()) < 30
    counts = np.random.default_rng(0).poisson(SECONDS * rates.numpy(), size=(TRIALS, *rates.shape)).mean(axis=0)
    response = torch.from_numpy(counts / SECONDS).float()
    fitted = V1(truth.orientations, PIXELS_PER_DEGREE, spiking=True)
    fit_v1_to_counts(
        fitted, shown, torch.full((4, 1, 1), MAINTAINED), response, SECONDS, np.zeros(240, dtype=bool), seed=0
    )
    assert fitted.parasol == truth.parasol
    told, expected = answered(fitted, unseen), answered(truth, unseen)
    missed = ((told - expected) ** 2).mean(dim=(0, 2, 3)) / expected.var(dim=(0, 2, 3))
    assert float(missed.max()) < 0.12 and float(missed.min()) < 0.01, missed
    for found, true in zip(fitted.root_weight.detach() ** 2, truth.root_weight.detach() ** 2, strict=True):
        assert float(torch.corrcoef(torch.stack([found.flatten(), true.flatten()]))[0, 1]) > 0.95
    rest = fitted.spontaneous.flatten().detach()
    assert torch.allclose(rest, truth.spontaneous.flatten(), rtol=0.4), rest


def test_regression_finds_where_weights_stand_and_how_strong(truth):
    """Of the first kind, which hears midget cells; rates are without noise."""
    shown = relay(60, 2)
    fitted = V1(truth.orientations, PIXELS_PER_DEGREE, spiking=True)
    fitted.hear([False, False])
    simple = answered(truth, shown)[:, :2]
    regress(fitted, shown, torch.full((4, 1, 1), MAINTAINED), simple)
    found, true = fitted.root_weight[0].detach() ** 2, truth.root_weight[0].detach() ** 2
    assert float(torch.corrcoef(torch.stack([found.flatten(), true.flatten()]))[0, 1]) > 0.8
    root = fitted.root_weight[0].detach()  # None is 0, where its slope would be, too.
    assert float(root.min()) >= 0.029 * float(root.max())
    assert float(fitted.spontaneous[0]) == pytest.approx(float(truth.spontaneous[0]), rel=0.3)
    assert float(answered(fitted, shown)[:, 0].mean()) == pytest.approx(float(simple[:, 0].mean()), rel=0.3)


def test_complex_cells_begin_where_they_rest(truth):
    """Below 1 Hz, too, and with weights that gradients can change."""
    shown = relay(60, 2)
    quiet = copy.deepcopy(truth)
    with torch.no_grad():
        quiet.log_spontaneous[2:] = math.log(0.2)
        quiet.root_complex_weight.mul_(0.2)
    fitted = copy.deepcopy(quiet)
    with torch.no_grad():
        fitted.log_spontaneous.zero_()
        fitted.root_complex_weight.fill_(0.1)
    complex_ = answered(quiet, shown)[:, 2:]
    begin_complex(fitted, shown, torch.full((4, 1, 1), MAINTAINED), complex_, seed=0)
    assert torch.allclose(fitted.spontaneous[2:], quiet.spontaneous[2:], rtol=0.3)
    assert float(fitted.root_complex_weight.min()) > 0


def test_each_channel_of_cells_that_spike_rests_at_its_own_rate(truth, tmp_path):
    """Before an even field, where nothing comes to V1; and it is kept in files."""
    labels = {"lgn": list(RELAY), "v1": ["simple_0", "simple_1", "complex_0", "complex_1"]}
    front_end = bridge.FrontEnd(
        PIXELS_PER_DEGREE, labels, orientations=truth.orientations, parasol=truth.parasol, spiking=True
    )
    front_end.v1.load_state_dict(truth.state_dict())
    even = torch.full((1, 1, 16, 16), 50.0)
    told = front_end(even, 50.0)
    assert torch.allclose(told, truth.spontaneous.expand_as(told), atol=0.01)
    front_end.save(tmp_path / "spiking.safetensors")
    again = bridge.FrontEnd.load(tmp_path / "spiking.safetensors")
    light = even * (0.5 + torch.rand(16, 16, generator=torch.Generator().manual_seed(0)))
    expected = front_end(light, 50.0)
    assert float((expected - told).abs().amax()) > 0.1 and torch.equal(again(light, 50.0), expected)
    assert torch.equal(again.ending_at("lgn")(light, 50.0), front_end.responses(light, 50.0)["lgn"])


def test_complex_cells_that_spike_raise_their_sum_to_a_power(truth):
    drives = truth.drives(truth.arriving(relay(6, 3), torch.full((4, 1, 1), MAINTAINED))).detach()
    with torch.no_grad():
        powered = truth.respond(drives)[:, 2:] - truth.spontaneous[2:]
        exponents = truth.log_complex_exponent.clone()
        truth.log_complex_exponent.zero_()
        linear = truth.respond(drives)[:, 2:] - truth.spontaneous[2:]
        truth.log_complex_exponent.copy_(exponents)
    assert torch.allclose(powered[:, 0], linear[:, 0], atol=1e-4)
    assert torch.allclose(powered[:, 1], linear[:, 1] ** 1.3, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def counted(truth):
    """Photographs, and what a front end with this V1 answers them in counts over trials."""
    light = photographs(60, 16, biomodel.Display(pixels_per_degree=PIXELS_PER_DEGREE), 3)
    labels = {"lgn": list(RELAY), "v1": ["simple_0", "simple_1", "complex_0", "complex_1"]}
    front_end = bridge.FrontEnd(
        PIXELS_PER_DEGREE, labels, orientations=truth.orientations, parasol=truth.parasol, spiking=True
    )
    front_end.v1.load_state_dict(truth.state_dict())
    images = torch.from_numpy(light.values[:, None]).float()
    with torch.no_grad():
        background = front_end.background(images)
        rates = front_end.responses(images)
    random = np.random.default_rng(0)
    found = {}
    for name, dims in (("lgn", ("lgn_channel", "y", "x")), ("v1", ("v1_channel", "v1_y", "v1_x"))):
        counts = random.poisson(SECONDS * rates[name].clamp_min(0).numpy(), size=(TRIALS, *rates[name].shape))
        found[name] = (("trial", "image", *dims), counts / SECONDS, {"counted_s": SECONDS, "units": "Hz"})
    found["background"] = (("image", "y", "x"), background[:, 0].numpy())
    cells, angles = ["simple"] * 2 + ["complex"] * 2, [*truth.orientations, *truth.orientations]
    coords = {
        "lgn_channel": list(RELAY),
        "v1_channel": labels["v1"],
        "v1_kind": ("v1_channel", cells),
        "v1_orientation": ("v1_channel", angles),
    }
    return light, xr.Dataset(found, coords), rates["v1"]


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [("lgn", "v1"), ("v1",)])
def test_a_front_end_is_fitted_to_counts(counted, recorded, monkeypatch):
    """Behind a relay that was recorded, and behind one that was not, which is then fitted through V1; in few steps."""
    monkeypatch.setattr(v1_counts, "_STEPS", 400)
    monkeypatch.setattr(fitting, "_FAR", (100, 1e-2))
    light, responses, rates = counted
    front_end = fitting.identify(light, responses.drop_vars({"lgn", "v1"} - set(recorded)))
    assert front_end.v1.spiking
    with torch.no_grad():
        told = front_end(torch.from_numpy(light.values[:, None]).float())
    aside = stimuli.left_aside(light.photograph.values.tolist(), 0)
    missed = ((told - rates) ** 2)[aside].mean(dim=(0, 2, 3)) / rates[aside].var(dim=(0, 2, 3))
    assert float(missed.median()) < 0.3, missed
    guess = bridge.FrontEnd(PIXELS_PER_DEGREE, front_end.station_channels, orientations=[0.0, 0.0])
    moved = [n for n, p in front_end.cone.named_parameters() if not torch.equal(p, guess.cone.get_parameter(n))]
    assert "log_gain" in moved
