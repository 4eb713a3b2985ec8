"""Closed forms of the differentiable stations, against the circuit's equations where these have a static limit."""

import numpy as np
import pytest
import torch
from brian2 import ms
from scipy import ndimage

import bridge
from biomodel.circuit import retina
from biomodel.circuit.lattice import Grid
from biomodel.circuit.station import Setting
from biomodel.parameters import Parameters
from bridge.fit.data import Cortex, Recording, Relay
from bridge.fit.optimisers import Targets
from bridge.model.stages import _FLOOR, SURROUNDS, V1, Bipolar, Cone, Ganglion, V1Input
from bridge.model.time import DURATIONS, N_INTERVALS, LowPass, window_mean

CHANNELS = retina.GANGLION_CHANNELS
#: Image of 14 × 18 pixels, mean some 60 cd/m².
IMAGE = 20 + 80 * np.random.default_rng(0).random((1, 14, 18))


def maps(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.double)[:, None, None]


@pytest.fixture
def ganglion():
    """Ganglion cells with the circuit's rates, recovery times and gains; its adaptation to contrast halves at 10 mV."""
    p = Parameters("macaque_parafovea").values_by_name()
    stage = Ganglion(16.0).double()
    recovery = torch.tensor([p[f"ganglion.{name}_recovery_time"] / 1000 for name in ("midget", "parasol")])
    maintained = torch.tensor([p[f"ganglion.{channel}_maintained"] for channel in CHANNELS])
    with torch.no_grad():
        stage.log_recovery.copy_(recovery.log())
        stage.log_free_rate.copy_((maintained / (1 - recovery.repeat_interleave(2) * maintained) / 30).log())
        stage.log_contrast_adaptation.fill_(np.log(1 / 10))
    return stage, maintained.double(), recovery.repeat_interleave(2).double()


def test_the_window_is_the_whole_presentation():
    assert sum(DURATIONS) == pytest.approx(1) and sorted(DURATIONS) == list(DURATIONS)
    x = torch.rand(N_INTERVALS, 3)
    assert torch.allclose(window_mean(x), torch.tensor(DURATIONS) @ x)
    assert torch.allclose(LowPass(0.2).window_mean(x), window_mean(LowPass(0.2)(x)))


def test_a_constant_speed_divides_the_time_constant():
    x = torch.rand(N_INTERVALS, 2, 3)
    assert torch.allclose(LowPass(0.3).integrate(x, torch.full_like(x, 4.0)), LowPass(0.075)(x), atol=1e-6)
    start = torch.ones(2, 3)
    kept = LowPass(0.3).integrate(torch.ones_like(x), 1 + x, start)
    assert torch.allclose(kept, torch.ones_like(x))


def test_the_limit_of_rates_is_the_circuits(ganglion):
    stage, maintained, recovery = ganglion
    excitation = torch.linspace(-200, 3000, 400, dtype=torch.double)[:, None, None, None].expand(-1, 4, 1, 1)
    found = (stage.maintained + stage.limit(excitation)).detach()[..., 0, 0]
    spared = 1 - recovery * maintained
    free = ((maintained + excitation[..., 0, 0] / spared) / spared).clamp_min(0)
    assert torch.allclose(found, free / (1 + recovery * free), atol=1e-6)
    assert float(found.min()) > -1e-6 and bool((found < 1 / recovery).all()) and float(found.max()) > 200
    assert torch.allclose(stage.maintained[:, 0, 0], maintained)
    zero = torch.zeros(4, 1, 1, dtype=torch.double, requires_grad=True)
    stage.limit(zero).sum().backward()
    assert torch.allclose(zero.grad, torch.ones_like(zero)) and bool((stage.limit(zero) == 0).all())


def test_maintained_rates_stay_below_the_limit_whatever_the_parameters():
    for dtype in (torch.float32, torch.bfloat16):
        stage = Ganglion(16.0).to(dtype)
        with torch.no_grad():
            stage.log_recovery.fill_(1.0)
            stage.log_free_rate.fill_(4.0)
        found = stage.limit(torch.tensor([-1e4, -1.0, 0.0, 1e-3, 1e4, 1e30], dtype=dtype)[:, None, None, None])
        rates = stage.maintained + found
        assert bool(found.isfinite().all()) and float((stage.recovery * rates).detach().max()) < 1.01
        (gradient,) = torch.autograd.grad(rates.sum(), stage.log_recovery)
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("contrast", [0.0, 25.0])
def test_static_ganglion_cells_are_the_circuits(ganglion, contrast):
    """All time constants near 0: the steady state of the circuit's equations, at two contrasts adapted to."""
    stage, maintained, recovery = ganglion
    with torch.no_grad():
        for name, parameter in stage.named_parameters():
            if name.endswith("log_time"):
                parameter.fill_(np.log(1e-6))
    bipolar = torch.tensor([8.0, -3.0, 4.0, -6.0], dtype=torch.double)
    shown = bipolar[:, None, None].expand(N_INTERVALS, 1, 4, 6, 7)
    found = window_mean(stage(shown, torch.tensor([contrast], dtype=torch.double))).detach()[0]
    divided = torch.tensor([1, 1, *[1 + contrast / 10] * 2], dtype=torch.double)
    share = stage.transience.detach().sigmoid().repeat_interleave(2)
    excitation = stage.log_gain.detach().exp() * (1 - share) * bipolar / divided
    spared = 1 - recovery * maintained
    free = (maintained / spared + excitation / spared**2).clamp_min(0)
    expected = free / (1 + recovery * free) - maintained
    assert torch.allclose(found, expected[:, None, None].expand_as(found), rtol=1e-4, atol=1e-4)


def test_contrast_shortens_the_high_pass_filter_of_parasol_cells_only():
    """A step's response ends earlier at high contrast, and begins alike; its gain for what is fast stays."""
    stage = Ganglion(16.0)
    with torch.no_grad():
        stage.log_recovery.fill_(-20.0)
        for lasting in (stage.parasol_on_lasting, stage.parasol_off_lasting):
            lasting.log_time.fill_(0.0)
    step = torch.ones(N_INTERVALS, 1, 4, 4, 4)
    weak, strong = (stage(scale * step, torch.zeros(1)).detach()[:, 0, :, 0, 0] / scale for scale in (0.01, 30.0))
    assert torch.allclose(weak[:, :2], strong[:, :2], rtol=1e-3)
    assert bool((strong[2:, 2:] < weak[2:, 2:]).all()) and bool((strong[0, 2:] > 0.8 * weak[0, 2:]).all())


def static_contrast(cone: Cone, bipolar: Bipolar, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast and root mean square for horizontal cells that pool nothing, of gain 1."""
    change, rest = cone.static_change(image)
    contrast, rms = bipolar.static_contrast(change, change, rest)
    return contrast.detach(), rms.detach()


def test_the_contrast_of_a_scene_is_the_circuits():
    """Circuit and stations with narrow horizontal cells and without the wide amacrine cells, whose pools have other forms."""
    given = {"horizontal.coupling": 1e-9, "amacrine.surround_weight": 0.0, "cone.pupil_reflex": 0}
    parameters = Parameters("macaque_parafovea", given)
    p = parameters.values_by_name()
    setting = Setting(parameters, (), Grid(1, *IMAGE.shape[1:], 16.0), 0.5 * ms)
    expected = 1000 * retina.settled_contrast(setting, IMAGE) / retina.FIXATION_SHARE
    cone, bipolar = Cone().double(), Bipolar(16.0, reach=1.0).double()
    loop = p["horizontal.gain"] * p["horizontal.feedback"]
    isomerisations = p["cone.isomerisation_rate"] * p["cone.pupil_area"] / 1000
    slow = p["cone.slow_adaptation_share"]
    shares = torch.tensor([p["cone.fast_adaptation_share"], 1 - slow - p["cone.fast_adaptation_share"], slow])
    half = np.sqrt(p["bipolar.diffuse_on_over_off"])
    radii = p["bipolar.midget_centre_radius"], *(p["bipolar.diffuse_centre_radius"] * k for k in (half, 1 / half))
    gains, saturations = ([p[f"bipolar.{side}_{name}"] for side in ("on", "off")] for name in ("gain", "saturation"))
    with torch.no_grad():
        # A horizontal cell of gain 1 here is the cone's current there.
        cone.log_gain.fill_(np.log(p["cone.gain"] * isomerisations))
        cone.log_desensitisation.fill_(np.log(p["cone.desensitisation"] * isomerisations))
        cone.adaptation_shares.copy_(shares.log())
        bipolar.log_centre.copy_((torch.tensor(radii) / np.sqrt(2)).log())
        bipolar.log_feedback.fill_(np.log(loop / (1 + loop)))
        bipolar.log_level_gain.fill_(np.log(1 / (1 + loop) / p["bipolar.luminance_half"]))
        bipolar.log_gain.copy_(torch.tensor(gains * 2).log())
        bipolar.log_saturation.copy_(torch.tensor(saturations * 2).log())
        bipolar.wide_amacrine.log_weight.fill_(-30.0)
    found, rms = static_contrast(cone, bipolar, torch.from_numpy(IMAGE))
    assert found.numpy() == pytest.approx(expected, rel=0.01) and float(found) > 3
    potentials = retina.fixation_potentials(setting, IMAGE)
    squares = [
        np.mean([np.square(1000 * potentials[f"{name}_{side}"]).mean() for side in ("on", "off")])
        for name in ("midget", "diffuse")
    ]
    # The floor under the root takes up to its own root, .1 mV.
    np.testing.assert_allclose(rms[0] + _FLOOR**0.5, np.sqrt(np.add(squares, _FLOOR)), rtol=0.01)


def test_the_contrast_of_a_scene_does_not_depend_on_the_scale_of_bright_light():
    cone, bipolar = Cone().double(), Bipolar(16.0).double()
    found = [float(static_contrast(cone, bipolar, torch.from_numpy(scale * IMAGE))[0]) for scale in (0.01, 1, 100, 1e4)]
    assert found[3] == pytest.approx(found[2], rel=1e-2) and found[0] < 0.5 * found[2]
    for even in static_contrast(cone, bipolar, torch.full((1, 9, 9), 60.0).double()):
        assert even.numpy() == pytest.approx(0, abs=1e-9)


@pytest.fixture
def front_end():
    """Behind an artificial pupil: scenes of one mean luminance are then alike for every background."""
    return bridge.FrontEnd(16.0, {}, "lgn", pupil=False)


def contrast(front_end: bridge.FrontEnd, light: torch.Tensor, background: torch.Tensor | None = None) -> torch.Tensor:
    signals = front_end.initial_signals(light, front_end.background(light, background))
    return front_end.advance(("cone", "horizontal", "bipolar"), signals)["contrast"].detach()


def test_only_settled_images_are_adapted_to_contrast(front_end):
    light = torch.from_numpy(IMAGE[:, None]).float().expand(3, -1, -1, -1)
    background = light.clone()
    background[1] = 40.0
    found = contrast(front_end, light, background)
    assert float(found[1]) == 0 and float(found[0]) > 1 and float(found[2]) == pytest.approx(float(found[0]))
    assert float(contrast(front_end, light)[0]) == pytest.approx(float(found[0]), rel=1e-5)
    assert torch.equal(contrast(front_end, light, torch.tensor(40.0)), torch.zeros(3))
    low = front_end.to(torch.bfloat16)
    again = contrast(low, light.bfloat16(), background.bfloat16())
    assert float(again[1]) == 0 and float(again[0]) == pytest.approx(float(found[0]), rel=0.05)


def test_contrast_adapted_to_divides_the_responses_of_parasol_cells(front_end):
    """Faint images, which rates neither limit nor rectify: each responds as at no contrast, over 1 + k/half."""
    bipolar = 0.01 * torch.randn(N_INTERVALS, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        half = float(front_end.ganglion.log_contrast_adaptation.exp())
        plain, adapted = (front_end.ganglion(bipolar, k) for k in (torch.zeros(2), torch.tensor([0.0, 20.0])))
    assert torch.equal(plain[:, :, :2], adapted[:, :, :2]) and torch.equal(plain[:, 0], adapted[:, 0])
    divided = plain[:, 1, 2:] / (1 + 20 * half)
    assert torch.allclose(adapted[:, 1, 2:], divided, atol=0.02 * float(divided.abs().max()))
    ablated = bridge.FrontEnd(16.0, {}, "lgn", ablations=["contrast_adaptation"])
    with torch.no_grad():
        assert torch.allclose(ablated.ganglion(bipolar, torch.full((2,), 20.0)), plain)


def test_rates_of_silent_ganglion_cells_are_not_negative(front_end):
    """Cells that an image silences at once, for several maintained rates: 0 is the sum of a rate and its negative, rounded."""
    ganglion, random = front_end.ganglion, torch.Generator().manual_seed(0)
    rates, sums = [], []
    with torch.no_grad():
        ganglion.log_gain.add_(6)
        ganglion.transience.fill_(-5)
        ganglion.membrane.log_time.fill_(-20)
    for _ in range(10):
        with torch.no_grad():
            ganglion.log_free_rate.copy_(torch.rand(4, generator=random) - 0.5)
        background = torch.full((1, 1, *IMAGE.shape[1:]), 50.0)
        initial = front_end.initial_signals(torch.from_numpy(IMAGE[:, None]).float(), background)
        signals = front_end.advance(front_end.stations[:4], initial)
        rates.append(front_end.response("ganglion", signals))
        sums.append(ganglion.maintained + window_mean(signals["ganglion"]))
    found, rounded = torch.stack(rates), torch.stack(sums)
    assert -1e-4 < float(rounded.detach().min()) < 0
    assert torch.equal(found, rounded.clamp_min(0))
    totals = (values[rounded > 0].sum() for values in (found, rounded))
    (one,), (other,) = (torch.autograd.grad(total, ganglion.log_gain, retain_graph=True) for total in totals)
    assert bool((one != 0).all()) and torch.equal(one, other)


@pytest.mark.parametrize("light", [0.0, 1e-3, 1e6])
def test_gradients_are_finite_in_any_light(front_end, light):
    image = light * torch.from_numpy(IMAGE[:, None] / 50).float().repeat(2, 1, 1, 1)
    image[1, 0, :, :9] = 0
    image.requires_grad_()
    with pytest.warns(bridge.model.front_end.LuminanceRangeWarning):
        out = front_end(image)
    out.square().mean().backward()
    assert bool(out.isfinite().all()) and bool(image.grad.isfinite().all())
    for name, parameter in front_end.named_parameters():
        assert bool(parameter.grad.isfinite().all()), name


def fast(stage: torch.nn.Module) -> torch.nn.Module:
    """A stage whose filters follow at once."""
    with torch.no_grad():
        for name, parameter in stage.named_parameters():
            if name.endswith("log_time"):
                parameter.fill_(-22.0)
    return stage.double()


def constant(values, *size: int) -> torch.Tensor:
    """A constant signal, (interval, 1, channel, y, x)."""
    return torch.tensor(values, dtype=torch.double).view(1, 1, -1, 1, 1).expand(N_INTERVALS, 1, -1, *size)


@pytest.mark.parametrize("depressed", [True, False])
def test_synapses_divide_by_the_contrast_of_their_class(depressed):
    """At rest m stays; (l x / x₀ - m) / (1 + a K)^p with x = 1 / (1 + v l), at K of each class and image."""
    stage = fast(V1Input())
    release, gains, exponent = ((0.02, 0.05) if depressed else (0.0, 0.0)), (0.3, 0.05), 0.4
    with torch.no_grad():
        stage.log_release.copy_(torch.tensor(release).log().clamp_min(-30))
        stage.log_contrast_adaptation.copy_(torch.tensor(gains).log())
        stage.log_adaptation_exponent.fill_(np.log(exponent))
    maintained, relay = np.array([18.0, 12.0, 20.0, 15.0]), np.array([40.0, 1.0, 60.0, 15.0])
    contrast = np.array([[0.0, 0.0], [2.0, 40.0], [7.0, 0.0]])
    shown = constant(relay, 3, 2).expand(-1, 3, -1, -1, -1)
    found = stage(shown, maps(maintained), torch.from_numpy(contrast)).detach()
    use = np.repeat(release, 2)
    sent = relay * (1 + use * maintained) / (1 + use * relay)
    loss = (1 + np.array(gains) * contrast) ** exponent
    expected = (sent - maintained) / np.repeat(loss, 2, axis=1)
    for interval in found:
        np.testing.assert_allclose(interval[:, :, 1, 1], expected, rtol=1e-5, atol=1e-9)
    # The last channel is at its maintained rate.
    assert np.abs(expected[:, 3]).max() < 1e-9 < 1 < np.abs(expected[:, :3]).min()


def test_contrast_that_transients_leave_is_divided_in_parasol_cells():
    """Over 1 + k / half and the root of 1 + pools · k / c_half; midget cells' contrast stays."""
    stage = Ganglion(16.0).double()
    rms, contrast = torch.tensor([[3.0, 5.0], [3.0, 5.0]]).double(), torch.tensor([0.0, 12.0]).double()
    with torch.no_grad():
        stage.log_contrast_adaptation.fill_(np.log(0.2))
        stage.log_contrast_gain.fill_(np.log(0.07))
        for pool, weights in ((stage.contrast_amacrine, (0.4, 0.5)), (stage.remote_amacrine, (0.2, 0.1))):
            pool.log_weight.copy_(torch.tensor(weights).log())
        found = stage.evoked_rms(rms, contrast)
        stage.remote_amacrine.log_weight.fill_(-30.0)
        near = stage.evoked_rms(rms, contrast)
    expected = [[3, 5], [3, 5 / (1 + 0.2 * 12) / np.sqrt(1 + 0.07 * 1.2 * 12)]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(near[1, 1], 5 / (1 + 0.2 * 12) / np.sqrt(1 + 0.07 * 0.9 * 12), rtol=1e-5)


@pytest.mark.parametrize("size", [(6, 7), (8, 4), (3, 2), (13, 5)])
def test_remote_contrast_of_an_even_signal_is_its_share(size):
    """Also where the squares of the coarse lattice are cut: the sum of the pool's weights times the signal."""
    stage = fast(Ganglion(16.0))
    with torch.no_grad():
        stage.remote_amacrine.log_weight.copy_(torch.tensor([0.3, 0.15]).log())
        found = stage._remote(torch.full((N_INTERVALS, 2, *size), 4.0).double())
    assert found.shape == (N_INTERVALS, 2, *size)
    np.testing.assert_allclose(found, 0.45 * 4.0, rtol=1e-5)


def test_remote_contrast_is_that_of_the_square_around_a_place():
    """A pool that reaches no other square gives the mean of each square, also of those that the border cuts."""
    stage = fast(Ganglion(16.0))
    random = np.random.default_rng(0).random((N_INTERVALS, 2, 6, 7))
    with torch.no_grad():
        stage.remote_amacrine.log_radius.fill_(-10.0)
        stage.remote_amacrine.log_weight.copy_(torch.tensor([0.3, 0.15]).log())
        found = stage._remote(torch.from_numpy(random)).numpy()
    for rows in (slice(0, 4), slice(4, 6)):
        for columns in (slice(0, 4), slice(4, 7)):
            mean = random[..., rows, columns].mean(axis=(2, 3), keepdims=True)
            np.testing.assert_allclose(
                found[..., rows, columns], 0.45 * np.broadcast_to(mean, found[..., rows, columns].shape), rtol=1e-5
            )


def test_remote_contrast_speeds_parasol_cells_up_and_leaves_midget_cells():
    """A small change of the speed: as if the contrast nearby were pooled with as much more weight."""
    bipolar = constant([3.0, -3.0, 6.0, -6.0], 9, 9)
    stage = Ganglion(16.0).double()

    def respond(near: float, remote: float) -> torch.Tensor:
        with torch.no_grad():
            for pool, weight in ((stage.contrast_amacrine, near), (stage.remote_amacrine, remote)):
                pool.log_weight.fill_(np.log(weight / 2))
                pool.log_time.fill_(-22.0)
            return stage(bipolar, torch.zeros(1, dtype=torch.double))

    plain, together, apart = respond(1.0, 1e-12), respond(1.7, 1e-12), respond(1.0, 0.7)
    torch.testing.assert_close(apart, together, rtol=1e-6, atol=1e-9)
    assert torch.equal(apart[:, :, :2], plain[:, :, :2])
    assert float((window_mean(apart)[:, 2] / window_mean(plain)[:, 2]).max()) < 0.95


#: Cell types and their relay classes.
ORIENTATIONS, PARASOL_TYPES = (0.0, 10.0, 45.0, 90.0), (False, True, True, False)


@pytest.mark.parametrize(
    ("ablation", "parameter"),
    [
        ("thalamocortical_adaptation", "v1_input.log_contrast_adaptation"),
        ("remote_suppression", "ganglion.remote_amacrine.log_weight"),
    ],
)
def test_ablations_remove_contrast_mechanisms(ablation, parameter):
    """A front end without one responds as one whose mechanism has no weight, and other than with weight."""
    labels = {"v1": [f"cell_{k}" for k in range(8)]}
    made = [
        bridge.FrontEnd(8.0, labels, orientations=ORIENTATIONS, parasol=PARASOL_TYPES, ablations=one).double()
        for one in ((), (ablation,))
    ]
    intact, ablated = made
    for each in made:
        with torch.no_grad():
            each.v1.root_weight.copy_(
                torch.rand(each.v1.root_weight.shape, generator=torch.Generator().manual_seed(0)) ** 4 / 3
            )
    light = torch.from_numpy(IMAGE[:, None])
    with torch.no_grad():
        before, without = intact(light), ablated(light)
        intact.get_parameter(parameter).fill_(-100.0)
        after = intact(light)
    torch.testing.assert_close(without, after, rtol=1e-6, atol=1e-9)
    assert float((before - after).abs().max()) > 1e-2
    assert not ablated.get_parameter(parameter).requires_grad and intact.get_parameter(parameter).requires_grad


def test_synapses_adapt_to_settled_images_alone():
    """Contrast adapted to is 0 before a uniform background: a front end without the mechanism responds alike."""
    intact = bridge.FrontEnd(16.0, {}, "v1_input").double()
    ablated = bridge.FrontEnd(16.0, {}, "v1_input", ablations=["thalamocortical_adaptation"]).double()
    light = torch.from_numpy(IMAGE[:, None])
    uneven = torch.from_numpy(IMAGE[:, None].repeat(2, axis=0))
    uneven[1] = 40.0
    with torch.no_grad():
        for background in (60.0, torch.tensor(60.0), torch.full_like(light, 40.0)):
            signals = intact.advance(
                intact.stations[:5], intact.initial_signals(light, intact.background(light, background))
            )
            assert torch.equal(intact.evoked_contrast(signals), torch.zeros(1, 2).double())
            assert torch.equal(intact(light, background), ablated(light, background))
        both = light.repeat(2, 1, 1, 1)
        signals = intact.advance(intact.stations[:5], intact.initial_signals(both, intact.background(both, uneven)))
        contrast = intact.evoked_contrast(signals)
        settled, plain = (each.responses(light, light)["v1_input"] for each in (intact, ablated))
    assert bool((contrast[0] > 1).all()) and bool((contrast[1] == 0).all())
    rest = intact.resting_relay_rates()
    losses = (
        1 + intact.v1_input.log_contrast_adaptation.exp() * contrast[:1]
    ) ** intact.v1_input.log_adaptation_exponent.exp()
    expected = rest + (plain - rest) / losses.repeat_interleave(2, dim=1)[:, :, None, None]
    torch.testing.assert_close(settled, expected.detach(), rtol=1e-6, atol=1e-6)


def test_v1_is_fitted_behind_the_contrast_of_each_image():
    """`Relay` and `Cortex` give a front end's responses, with settled and with sudden images, also for some of them."""
    labels = {"v1": [f"cell_{k}" for k in range(8)]}
    front_end = bridge.FrontEnd(8.0, labels, orientations=ORIENTATIONS, parasol=PARASOL_TYPES)
    with torch.no_grad():
        front_end.v1.root_weight.uniform_(0, 0.1, generator=torch.Generator().manual_seed(0))
    light = torch.from_numpy(np.concatenate([IMAGE, IMAGE[:, ::-1] ** 1.1, IMAGE])[:, None].copy()).float()
    background = front_end.background(light)
    background[2] = 50.0
    with torch.no_grad():
        expected = front_end(light, background)
    recording = Recording(light, background, Targets({"v1": expected}, np.zeros(3, dtype=bool)))
    relay, cortex = Relay.of(front_end, recording), Cortex(front_end.v1_input, front_end.v1)
    assert relay.contrast.shape == (3, 2) and bool((relay.contrast[:2] > 0).all()) and not relay.contrast[2].any()
    with torch.no_grad():
        torch.testing.assert_close(cortex(relay), expected, rtol=1e-5, atol=1e-5)
        for some in (slice(1, 3), torch.tensor([2, 0])):
            torch.testing.assert_close(cortex(relay.subset(some)), expected[some], rtol=1e-5, atol=1e-5)


def test_each_cell_type_has_its_own_weights_of_the_surrounds_sizes():
    """Where all types have the same rates, the suppression of one is a weighted sum of Gaussians of these, at any tuning."""
    cortex = V1([0.0, 45.0, 90.0, 100.0], 16.0)
    weights = torch.rand(4, len(SURROUNDS), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        cortex.surround.log_time.fill_(np.log(1e-4))
        cortex.log_surround_weight.copy_(weights.log())
        cortex.surround_tuning.fill_(0.7)
        rates = torch.zeros(N_INTERVALS, 1, 4, 24, 24)
        rates[..., 8:12, 5:20] = 20.0
        found = cortex.suppression(rates)[-1, 0].numpy()
    image = rates[-1, 0, 0].double().numpy()
    blurred = [ndimage.gaussian_filter(image, 8 * s, mode="reflect", truncate=4 / s) for s in SURROUNDS]
    expected = np.einsum("kc,cyx->kyx", weights.double().numpy(), np.stack(blurred))
    assert np.allclose(found, expected, rtol=0.02, atol=0.02 * expected.max())
