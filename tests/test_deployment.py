"""Front ends in networks: compilers, exporters, gradients, number types and shapes."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import bridge
from biomodel import Display
from bridge import FrontEnd
from bridge.onnx import write_onnx

RELAY = ["midget_on", "midget_off", "parasol_on", "parasol_off"]


def front_end(output: str) -> FrontEnd:
    """Initial weights, with six V1 cell types of random weights; two have parasol afferents."""
    n_types = 6
    channels = {"lgn": RELAY, "v1_input": RELAY, "v1": [f"cell_{k}" for k in range(2 * n_types)]}
    made = FrontEnd(
        16.0,
        channels,
        output,
        orientations=np.linspace(0, 150, n_types).tolist(),
        parasol=[False, True, False, False, True, False],
    )
    if output == "v1":
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            made.v1.root_weight.copy_(0.15 * torch.rand(made.v1.root_weight.shape, generator=generator) ** 4)
    return made


def light(images: int = 2, height: int = 20, width: int = 24) -> torch.Tensor:
    return 10 + 90 * torch.rand(images, 1, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("output", ["lgn", "v1"])
def test_torch_export_gives_the_same_output(output):
    module = front_end(output)
    shapes = ({0: torch.export.Dim("images")},)
    exported = torch.export.export(module, (light(),), dynamic_shapes=shapes).module()
    assert torch.allclose(exported(light(3)), module(light(3)), rtol=1e-4, atol=1e-3)


@pytest.mark.all
@pytest.mark.slow
def test_torch_compile_gives_the_same_output_in_one_graph():
    module = front_end("v1")
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True)
        assert torch.allclose(compiled(light()), module(light()), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("output", ["lgn", "v1_input", "v1"])
def test_gradients_are_those_of_differences(output):
    module = front_end(output).double()
    shown = light(1, 6, 7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, 50.0), (shown,), fast_mode=True)


def test_gradients_of_parameters_are_those_of_differences():
    module = front_end("v1").double()
    shown = light(1, 6, 7).double()
    names, values = zip(*module.named_parameters(), strict=True)

    def respond(*parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (shown,))

    assert torch.autograd.gradcheck(respond, tuple(v.detach().requires_grad_() for v in values), fast_mode=True)


@pytest.mark.parametrize("output", ["lgn", "v1"])
def test_bfloat16_comes_near(output):
    module = front_end(output)
    expected = module(light())
    found = module.to(torch.bfloat16)(light().to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).detach().abs().mean()) < 0.03 * float(expected.detach().abs().max())


@pytest.mark.parametrize(("height", "width"), [(7, 30), (33, 18), (64, 5)])
def test_any_size(height, width):
    out = front_end("v1")(light(1, height, width))
    assert out.shape == (1, 12, -(-height // 2), -(-width // 2))


def test_colours_are_reduced_to_luminance():
    module, colours = front_end("lgn"), torch.rand(2, 3, 16, 16) * 30
    assert torch.allclose(module(colours), module(colours.sum(dim=1, keepdim=True)), atol=1e-3)


def test_a_network_trains_behind_and_through_a_front_end():
    display = bridge.DisplayLayer(Display(peak=200, black=6, pixels_per_degree=16))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 3))
    module = front_end("v1")
    model = nn.Sequential(display, module, head)
    loss = nn.functional.cross_entropy(model(torch.rand(4, 3, 16, 16)), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert module.cone.log_gain.grad is not None and head[2].weight.grad is not None
    module.requires_grad_(False)
    model.zero_grad()
    nn.functional.cross_entropy(model(torch.rand(4, 3, 16, 16)), torch.tensor([0, 1, 2, 0])).backward()
    assert module.cone.log_gain.grad is None and head[2].weight.grad is not None


@pytest.mark.slow
@pytest.mark.parametrize("station", ["lgn", pytest.param("v1", marks=pytest.mark.all)])
def test_onnx_gives_the_same_output(tmp_path, station):
    module = front_end(station)
    module.to_onnx(tmp_path / "x.onnx", 20, 24)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"luminance": light(5).numpy()})
    assert np.allclose(found, module(light(5)).detach(), rtol=1e-3, atol=1e-2)
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_onnx_needs_a_folder(tmp_path):
    with pytest.raises(ValueError, match="x.onnx cannot be written .*: give a path in a writable folder"):
        write_onnx(front_end("lgn"), tmp_path / "none" / "x.onnx", 16, 16)
