"""Values, types and transforms that `DisplayLayer` and `FrontEnd` accept, and what they refuse."""

import copy
import pickle
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import bridge
from biomodel import Display, InputError, LuminanceRangeWarning
from bridge import FrontEnd
from bridge.model import time
from bridge.model.values import RangeCheck
from bridge.onnx import write_onnx

RELAY = ["midget_on", "midget_off", "parasol_on", "parasol_off"]
CODES = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
LIGHT = 10 + 90 * CODES.mean(dim=1, keepdim=True)


@pytest.fixture
def layer():
    return bridge.DisplayLayer(Display(peak=200, black=6))


@pytest.fixture
def front_end():
    return FrontEnd(8.0, {"lgn": RELAY}, "lgn")


@pytest.fixture
def cortex():
    return FrontEnd(8.0, {"lgn": RELAY, "v1": list("abcd")}, "v1", orientations=[0, 90], parasol=[False, True])


@pytest.fixture
def model(layer, front_end):
    return nn.Sequential(layer, front_end)


def test_codes_are_those_of_the_display(layer):
    codes = (255 * CODES).to(torch.uint8)
    shown = Display(peak=200, black=6).show(np.moveaxis(codes.numpy(), 1, -1)).values
    assert np.allclose(layer(codes), shown, rtol=1e-5)
    assert torch.equal(layer(codes), layer(codes / 255))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (255 * CODES, "must be in .0, 1., got 25"),
        (CODES - 0.1, "must be in .0, 1., got -0.0"),
        (CODES * torch.nan, "got nan"),
        (CODES / 0, "got inf"),
        ((255 * CODES).long(), "uint8 codes or floats in .0, 1., got torch.int64"),
        ((255 * CODES).to(torch.int8), "got torch.int8"),
        ((255 * CODES).to(torch.uint16), "got torch.uint16"),
        (CODES > 0.5, "got torch.bool"),
        (CODES.cfloat(), "got torch.complex64"),
        (CODES[0], r"shape .B, 1 or 3, H, W., got .3, 8, 10."),
        (CODES.movedim(1, -1), r"got .2, 8, 10, 3."),
        (CODES[:, :2], r"got .2, 2, 8, 10."),
    ],
)
def test_other_images_are_refused(layer, images, message):
    with pytest.raises(InputError, match=message):
        layer(images)


@pytest.mark.parametrize("form", ["layer", "show"])
def test_rounding_errors_count_as_black_and_white(layer, form):
    def shown(code):
        if form == "show":
            return Display(peak=200, black=6).show(np.full((1, 2, 2), code)).values[0, 0, 0]
        return float(layer(torch.full((1, 1, 2, 2), code))[0, 0, 0, 0])

    assert shown(-0.001) == 6 and shown(1.001) == 200
    for wrong in (-0.003, 1.003):
        with pytest.raises(InputError, match=f"in .0, 1., got {wrong}"):
            shown(wrong)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_light_has_the_type_of_the_codes(layer, dtype):
    found = layer(CODES.to(dtype))
    assert found.dtype == dtype
    assert torch.allclose(found.double(), layer(CODES).double(), rtol=0.03 if dtype == torch.bfloat16 else 5e-3)


def test_gradients_reach_black_and_white(layer):
    codes = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    layer(codes).sum().backward()
    assert torch.allclose(codes.grad.flatten(), 194 * torch.tensor([1 / 12.92, 2.4 / 1.055]), rtol=1e-5)


@pytest.mark.parametrize(
    ("light", "message"),
    [
        (LIGHT - 50, "finite and at least 0 cd/m², got -"),
        (LIGHT * torch.nan, "got nan"),
        (LIGHT / 0, "got inf"),
        (LIGHT.to(torch.uint8), "floating-point tensor in cd/m², got torch.uint8: DisplayLayer"),
        (LIGHT.long(), "got torch.int64"),
        (LIGHT.cfloat(), "got torch.complex64"),
        (LIGHT[0], "shape .B, 1 or 3, H, W., got .1, 8, 10."),
        (LIGHT[..., :0], "got .2, 1, 8, 0."),
    ],
)
def test_other_luminance_is_refused(front_end, light, message):
    with pytest.raises(InputError, match=message):
        front_end(light)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (-1.0, "background must be .* at least 0 cd/m², got -1"),
        (torch.nan, "got nan"),
        ("grey", "background must be .*'grey'"),
        (LIGHT - 50, "background must be finite and at least 0 cd/m², got -"),
        (torch.tensor(torch.nan), "background must be finite"),
        (torch.ones(2), "shape .2, 1, 8, 10., got .2,."),
        (torch.ones(2, 1, 3, 3), "shape .2, 1, 8, 10., got .2, 1, 3, 3."),
    ],
)
def test_other_backgrounds_are_refused(front_end, background, message):
    with pytest.raises(InputError, match=message):
        front_end(LIGHT, background)


def test_a_background_is_a_number_or_a_field(front_end):
    expected = front_end(LIGHT, 50.0)
    for same in (50, np.float32(50), torch.tensor(50.0), torch.full((2, 1, 1, 1), 50.0), torch.full_like(LIGHT, 50)):
        assert torch.equal(front_end(LIGHT, same), expected)


def test_luminance_outside_the_valid_range_warns_once(front_end):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front_end(LIGHT)
    with pytest.warns(LuminanceRangeWarning, match=r"1 to 10000 cd/m²; DisplayLayer converts"):
        front_end(CODES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front_end(CODES)


class Accelerated(torch.Tensor):
    """A tensor that reports another device, and counts how often a value is read."""

    reads = 0

    @property
    def device(self):
        return torch.device("cuda")

    @property
    def is_cuda(self):
        return True

    def __float__(self):
        type(self).reads += 1
        return self.as_subclass(torch.Tensor).item()

    def __bool__(self):
        raise AssertionError("waits for the device")


def outside(value):
    return InputError(f"outside: {value}")


def test_an_accelerator_is_read_for_the_first_batch_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(Accelerated, "reads", 0)
    check, x = RangeCheck(0.0, 1.0), torch.tensor([0.0, 0.5, 1.0])
    for _ in range(3):
        assert torch.equal(check(x.as_subclass(Accelerated), outside).as_subclass(torch.Tensor), x)
    assert Accelerated.reads == 2
    found = check(torch.tensor([0.5, -0.1, 1.1, torch.inf, torch.nan]).as_subclass(Accelerated), outside)
    assert Accelerated.reads == 2 and found.as_subclass(torch.Tensor).isnan().tolist() == [False] + 4 * [True]
    with pytest.raises(InputError):
        RangeCheck(0.0, 1.0)((3 * x).as_subclass(Accelerated), outside)


def test_nothing_is_read_while_a_cuda_graph_is_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(Accelerated, "reads", 0)
    found = RangeCheck(0.0, 1.0)(torch.tensor([0.5, 2.0]).as_subclass(Accelerated), outside)
    assert Accelerated.reads == 0 and found.as_subclass(torch.Tensor).isnan().tolist() == [False, True]


def test_kept_constants_can_be_used_in_training():
    with torch.inference_mode():
        kept = time._kept(((1.0, 2.0), (3.0, 4.0)), torch.float32, torch.device("cpu"))
    assert kept is time._kept(((1.0, 2.0), (3.0, 4.0)), torch.float32, torch.device("cpu"))
    weight = torch.ones(2, requires_grad=True)
    (kept @ weight).sum().backward()
    assert weight.grad.tolist() == [4, 6]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("which", ["front_end", "cortex"])
def test_autocast_does_not_change_numbers(layer, which, dtype, request):
    model = nn.Sequential(layer, request.getfixturevalue(which))
    codes = CODES.clone().requires_grad_()
    expected = model(codes)
    (gradient,) = torch.autograd.grad(expected.square().mean(), codes)
    with torch.autocast("cpu", dtype=dtype):
        found = model(codes)
        stations = model[1].responses(layer(CODES))
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found.square().mean(), codes)[0], gradient)
    assert all(torch.isfinite(each).all() for each in stations.values())
    assert torch.equal(stations[model[1].output], expected)


def test_weights_in_float16_are_refused(front_end):
    with pytest.raises(InputError, match=r"must be float32, float64 or bfloat16, got float16: use torch.autocast"):
        front_end.half()(LIGHT.half())


@pytest.mark.parametrize(
    "light",
    [
        LIGHT.double(),
        LIGHT.expand(-1, 3, -1, -1).div(3).contiguous(memory_format=torch.channels_last),
        LIGHT.transpose(2, 3).contiguous().transpose(2, 3),
        LIGHT.repeat_interleave(2, dim=3)[..., ::2],
        LIGHT.half(),
    ],
    ids=["double", "channels_last", "transposed", "strided", "half"],
)
def test_types_and_layouts(front_end, light):
    found = front_end(light)
    assert found.dtype == torch.float32
    assert torch.allclose(found, front_end(LIGHT), rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("which", ["front_end", "cortex"])
def test_an_empty_batch_gives_an_empty_batch(layer, which, request):
    model = nn.Sequential(layer, request.getfixturevalue(which))
    assert model(CODES[:0]).shape == (0, *model(CODES).shape[1:])


def test_inference_mode_then_training(model):
    with torch.inference_mode():
        expected = model(CODES)
    found = model(CODES)
    found.sum().backward()
    assert torch.equal(found.detach(), expected) and model[1].cone.log_gain.grad is not None


@pytest.mark.parametrize("which", ["front_end", "cortex"])
def test_vmap(layer, which, request):
    model = nn.Sequential(layer, request.getfixturevalue(which))
    found = torch.vmap(lambda image: model(image[None])[0])(CODES)
    assert torch.allclose(found, model(CODES), rtol=1e-4, atol=1e-3)
    levels = torch.tensor([20.0, 80.0])
    found = torch.vmap(lambda light, level: model[1](light[None], level)[0])(LIGHT, levels)
    assert torch.allclose(found, model[1](LIGHT, levels.view(2, 1, 1, 1)), rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="got 25"):
        torch.vmap(lambda image: model(image[None]))(255 * CODES)
    with pytest.raises(InputError, match="got -"):
        torch.vmap(lambda light: model[1](light[None]))(-LIGHT)


def test_derivatives_of_functions(model):
    x = CODES[:1, :1, :5, :5].double()
    model.double()
    forward = torch.func.jacfwd(lambda image: model(image)[0, :, 2, 2])(x)
    reverse = torch.func.jacrev(lambda image: model(image)[0, :, 2, 2])(x)
    assert forward.abs().max() > 1 and torch.allclose(forward, reverse)


def test_every_parameter_can_be_mapped(cortex):
    values = {name: value.detach() for name, value in cortex.named_parameters()}
    expected = cortex(LIGHT).detach()
    for name, value in values.items():
        found = torch.vmap(lambda one, name=name: torch.func.functional_call(cortex, values | {name: one}, (LIGHT,)))(
            value[None]
        )
        assert torch.allclose(found[0], expected, rtol=1e-3, atol=1e-2), name


@pytest.mark.slow
@pytest.mark.all
def test_compiled_in_one_graph_with_autocast(layer, model):
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    wrong = CODES.clone()
    wrong[1, 0, 2, 3] = 2.0
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.allclose(compiled(CODES), model(CODES), rtol=1e-4, atol=1e-3)
        assert compiled(wrong).isnan().flatten(1).all(dim=1).tolist() == [False, True]
    mapped = torch.compile(torch.vmap(lambda image: layer(image[None])[0]), fullgraph=True, backend="eager")
    assert torch.allclose(mapped(CODES), layer(CODES))


def test_exported_and_in_onnx(layer, tmp_path):
    grey = CODES[:, :1].clone()
    exported = torch.export.export(layer, (grey,)).module()
    write_onnx(layer, tmp_path / "x.onnx", 8, 10, highest=1.0)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    expected = layer(grey)
    grey[0, 0, 0, 0] = 100.0
    expected[0, 0, 0, 0] = torch.nan
    assert torch.allclose(exported(grey), expected, equal_nan=True)
    assert np.allclose(session.run(None, {"luminance": grey.numpy()})[0], expected, rtol=1e-4, equal_nan=True)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_traced(model):
    traced = torch.jit.trace(model, (CODES,), check_trace=False)
    assert torch.allclose(traced(CODES), model(CODES), rtol=1e-4, atol=1e-3)
    assert traced(2 * CODES).isnan().any()


def test_copies_and_shapes_without_values(model):
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(same(CODES), model(CODES))
    assert copy.deepcopy(model).to("meta")(CODES.to("meta")).shape == (2, 4, 8, 10)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert model(mode.from_tensor(CODES)).shape == (2, 4, 8, 10)
