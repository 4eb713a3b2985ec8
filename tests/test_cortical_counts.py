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
from bridge.fit.data import Cortex, Recording, Relay
from bridge.fit.optimisers import Targets
from bridge.fit.v1_counts import fit_v1_to_counts, initialise_complex, regress
from bridge.model.front_end import RELAY
from bridge.model.stages import V1, V1Input
from bridge.model.time import N_INTERVALS

PIXELS_PER_DEGREE, MAINTAINED = 4.0, 10.0

SECONDS, TRIALS = 0.15, 20


def relay_rates(images: int, seed: int) -> Tensor:
    """Rates of relay cells, (interval, image, 4, y, x): ON and OFF of opposite signs, parasol cells blurred and saturating."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(images, 1, 16, 16, generator=generator)
    blurred = 1.5 * torch.tanh(2 * functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1))
    lasting = torch.linspace(1.0, 0.6, N_INTERVALS).view(-1, 1, 1, 1, 1)
    # Never down to a rate of 0: the sum of ON and OFF rates would be a signal too.
    transient = torch.linspace(0.6, 0.2, N_INTERVALS).view(-1, 1, 1, 1, 1)
    change = torch.cat([lasting * torch.cat([image, -image], 1), transient * torch.cat([blurred, -blurred], 1)], dim=2)
    return (MAINTAINED * (1 + change)).clamp_min(0)


@pytest.fixture(scope="module")
def truth() -> V1:
    """Two cell types of 45° and 135°, with adjacent subregions; the second has parasol afferents."""
    v1 = V1([45.0, 135.0], PIXELS_PER_DEGREE, spiking=True)
    v1.set_relay_classes([False, True])
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
        # Weak pools: the test is about the weights.
        v1.normalisation.log_weight -= 3.0
    return v1


def relay(images: int, seed: int) -> Relay:
    return Relay(relay_rates(images, seed), torch.full((4, 1, 1), MAINTAINED), torch.zeros(images, 2))


def respond(v1: V1, shown: Relay) -> Tensor:
    with torch.no_grad():
        return Cortex(V1Input(), v1)(shown)


@pytest.mark.all
@pytest.mark.slow
def test_fit_to_counts_recovers_v1(truth):
    shown, unseen = relay(240, 0), relay(40, 1)
    rates = respond(truth, shown)
    assert 1 < float(rates.mean()) < 30
    counts = np.random.default_rng(0).poisson(SECONDS * rates.numpy(), size=(TRIALS, *rates.shape)).mean(axis=0)
    response = torch.from_numpy(counts / SECONDS).float()
    fitted = V1(truth.orientations, PIXELS_PER_DEGREE, spiking=True)
    cortex = Cortex(V1Input(), fitted)
    targets = Targets({"v1": response}, np.zeros(240, dtype=bool), {"v1": SECONDS})
    fit_v1_to_counts(cortex, shown, targets, seed=0)
    assert fitted.parasol == truth.parasol
    found, expected = cortex(unseen).detach(), respond(truth, unseen)
    unexplained = ((found - expected) ** 2).mean(dim=(0, 2, 3)) / expected.var(dim=(0, 2, 3))
    assert float(unexplained.max()) < 0.12 and float(unexplained.min()) < 0.01, unexplained
    for found, true in zip(fitted.root_weight.detach() ** 2, truth.root_weight.detach() ** 2, strict=True):
        assert float(torch.corrcoef(torch.stack([found.flatten(), true.flatten()]))[0, 1]) > 0.95
    rest = fitted.spontaneous.flatten().detach()
    assert torch.allclose(rest, truth.spontaneous.flatten(), rtol=0.4), rest


def test_regression_recovers_position_and_strength_of_weights(truth):
    """For the first cell type, with midget afferents; rates without noise."""
    shown = relay(60, 2)
    fitted = V1(truth.orientations, PIXELS_PER_DEGREE, spiking=True)
    fitted.set_relay_classes([False, False])
    simple = respond(truth, shown)[:, :2]
    regress(Cortex(V1Input(), fitted), shown, simple)
    found, true = fitted.root_weight[0].detach() ** 2, truth.root_weight[0].detach() ** 2
    assert float(torch.corrcoef(torch.stack([found.flatten(), true.flatten()]))[0, 1]) > 0.8
    root = fitted.root_weight[0].detach()  # None is 0, where the root has no slope.
    assert float(root.min()) >= 0.029 * float(root.max())
    assert float(fitted.spontaneous[0]) == pytest.approx(float(truth.spontaneous[0]), rel=0.3)
    assert float(respond(fitted, shown)[:, 0].mean()) == pytest.approx(float(simple[:, 0].mean()), rel=0.3)


@pytest.mark.parametrize("recorded", [True, False])
def test_synapses_are_fitted_with_v1_unless_their_output_was_recorded(truth, recorded, monkeypatch):
    for steps in ("_STEPS", "_FEW_STEPS"):
        monkeypatch.setattr(v1_counts, steps, 2)
    shown = relay(8, 2)
    responses = {"v1": respond(truth, shown)} | ({"v1_input": shown.rates.mean(dim=0)} if recorded else {})
    targets = Targets(responses, np.arange(8) >= 6, {"v1": SECONDS})
    labels = {"lgn": list(RELAY), "v1": ["simple_0", "simple_1", "complex_0", "complex_1"]}
    front_end = bridge.FrontEnd(PIXELS_PER_DEGREE, labels, orientations=truth.orientations, spiking=True)
    monkeypatch.setattr(Relay, "of", lambda *_: shown)
    recording = Recording(torch.ones(8, 1, 16, 16), torch.ones(8, 1, 16, 16), targets)
    before = copy.deepcopy(front_end.state_dict())
    fitting._v1_fit(front_end, recording, recording, 0)(1, True)
    moved = {name for name, values in front_end.state_dict().items() if not torch.equal(values, before[name])}
    assert "v1.log_exponent" in moved and ("v1_input.log_release" not in moved) == recorded
    assert all(p.requires_grad and p.grad is None for p in front_end.parameters())


def test_complex_cells_start_at_their_resting_rates(truth):
    """Also below 1 Hz, and with weights that have a gradient."""
    shown = relay(60, 2)
    quiet = copy.deepcopy(truth)
    with torch.no_grad():
        quiet.log_spontaneous[2:] = math.log(0.2)
        quiet.root_complex_weight.mul_(0.2)
    fitted = copy.deepcopy(quiet)
    with torch.no_grad():
        fitted.log_spontaneous.zero_()
        fitted.root_complex_weight.fill_(0.1)
    complex_ = respond(quiet, shown)[:, 2:]
    initialise_complex(Cortex(V1Input(), fitted), shown, complex_, seed=0)
    assert torch.allclose(fitted.spontaneous[2:], quiet.spontaneous[2:], rtol=0.3)
    assert float(fitted.root_complex_weight.min()) > 0


def test_each_spiking_channel_has_its_own_resting_rate(truth, tmp_path):
    """For a uniform field, which does not drive V1; files keep it."""
    labels = {"lgn": list(RELAY), "v1": ["simple_0", "simple_1", "complex_0", "complex_1"]}
    front_end = bridge.FrontEnd(
        PIXELS_PER_DEGREE, labels, orientations=truth.orientations, parasol=truth.parasol, spiking=True
    )
    front_end.v1.load_state_dict(truth.state_dict())
    even = torch.full((1, 1, 16, 16), 50.0)
    found = front_end(even, 50.0)
    assert torch.allclose(found, truth.spontaneous.expand_as(found), atol=0.01)
    front_end.save(tmp_path / "spiking.safetensors")
    again = bridge.FrontEnd.load(tmp_path / "spiking.safetensors")
    light = even * (0.5 + torch.rand(16, 16, generator=torch.Generator().manual_seed(0)))
    expected = front_end(light, 50.0)
    assert float((expected - found).abs().amax()) > 0.1 and torch.equal(again(light, 50.0), expected)
    assert torch.equal(again.truncated("lgn")(light, 50.0), front_end.responses(light, 50.0)["lgn"])


def test_spiking_complex_cells_raise_their_sum_to_a_power(truth):
    drives = truth.drives(Cortex(V1Input(), truth).synaptic_input(relay(6, 3))).detach()
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
    """Photographs, and counts over trials of a front end with this V1."""
    light = photographs(45, 16, biomodel.Display(pixels_per_degree=PIXELS_PER_DEGREE), 3)
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
@pytest.mark.parametrize("recorded", [("lgn", "v1"), pytest.param(("v1",), marks=pytest.mark.all)])
def test_a_front_end_is_fitted_to_counts(counted, recorded, monkeypatch):
    """Behind a recorded relay, and behind one that is fitted through V1; in few steps."""
    monkeypatch.setattr(v1_counts, "_STEPS", 250)
    monkeypatch.setattr(fitting, "_FAR", (100, 1e-2))
    monkeypatch.setattr(fitting, "_EARLY_PLACES", 6_144)
    light, responses, rates = counted
    front_end = fitting.fit_front_end(light, responses.drop_vars({"lgn", "v1"} - set(recorded)))
    assert front_end.v1.spiking
    with torch.no_grad():
        found = front_end(torch.from_numpy(light.values[:, None]).float())
    chosen = stimuli.choose_validation(light.photograph.values.tolist(), 0)
    unexplained = ((found - rates) ** 2)[chosen].mean(dim=(0, 2, 3)) / rates[chosen].var(dim=(0, 2, 3))
    assert float(unexplained.median()) < 0.3, unexplained
    guess = bridge.FrontEnd(PIXELS_PER_DEGREE, front_end.station_channels, orientations=[0.0, 0.0])
    moved = [n for n, p in front_end.cone.named_parameters() if not torch.equal(p, guess.cone.get_parameter(n))]
    assert "log_gain" in moved
