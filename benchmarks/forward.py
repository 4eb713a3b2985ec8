"""Speed of a front end relative to the classifiers it precedes, and to the simulation that it replaces.

All sides of a row are timed in turn within one run, with one thread per core, without gradients.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.rows import CORES, Bench, Row, ratios, rounds
from biomodel import Pathway
from biomodel.images import photographs
from bridge import FrontEnd, pretrained
from studies.common.classifiers import LeNet

ROUNDS = 5

#: Number of cell types that the studies simulate.
STUDIES = {"v1.kinds": 16}


def run(bench: Bench) -> None:
    """Run all benchmarks of the front end."""
    torch.set_num_threads(CORES)
    beside(bench, "224", 8, 3, 224, ("ResNet-18", ResNet18().eval()), "0.5 × at most")
    beside(bench, "32", 64, 1, 32, ("LeNet", LeNet(1, 10).eval()), "1.5 × at most")
    beside_the_simulation(bench)


def beside(
    bench: Bench, name: str, images: int, colours: int, side: int, network: tuple[str, nn.Module], goal: str
) -> None:
    """Forward time of the relay's front end and of similar models, relative to a classifier's.

    Parameters
    ----------
    bench : Bench
    name : str
        Of the rows.
    images, colours, side : int
        Size of the input.
    network : (str, torch.nn.Module)
        The classifier, with its name.
    goal : str
        For the front end.
    """
    light = 100 * torch.rand(images, colours, side, side, generator=torch.Generator().manual_seed(0)) / colours
    against, classifier = network
    relay = pretrained(output="lgn").eval()
    models: dict[str, Callable[[Tensor], Tensor]] = {
        "front_end_lgn": relay,
        "front_end_lgn/compiled": torch.compile(relay),
        "local_contrast_norm": local_contrast_norm,
        "plenoptic_lgg": _luminance_and_contrast_gain(),
    }
    grey = light.sum(dim=1, keepdim=True)
    measured = {
        key: functools.partial(_seconds, model, light if "front" in key else grey) for key, model in models.items()
    }
    found = rounds(ROUNDS, {against: functools.partial(_seconds, classifier, light)} | measured)
    for key in models:
        ratio, low, high = ratios(found[key], found[against])
        value = 1000 * statistics.median(found[key])
        wanted = goal if "front" in key else None
        bench.add(Row(f"forward/{name}/{key}", value, "ms", against, ratio, wanted, low, high))
    torch.compiler.reset()


def beside_the_simulation(bench: Bench) -> None:
    """Images per second of the front end relative to the simulation, 32×32 pixels."""
    pathway, stimulus = Pathway(parameters=STUDIES), photographs(128, seed=11)
    whole = pretrained()
    front_ends: Mapping[str, FrontEnd] = {
        "lgn": whole.truncated("lgn"),
        "v1": FrontEnd(**whole.config() | _first_kinds(whole, STUDIES["v1.kinds"])),
    }
    light = torch.from_numpy(stimulus.values[:, None]).float()
    for output, front_end in front_ends.items():
        simulate = functools.partial(pathway.simulate, stimulus, output=output, workers=CORES)
        simulate()
        sides = {
            "ours": functools.partial(_images_per_second, functools.partial(_seconds, front_end, light), len(light)),
            "simulation": functools.partial(_images_per_second, functools.partial(_time, simulate), len(light)),
        }
        found = rounds(ROUNDS, sides)
        ratio, low, high = ratios(found["ours"], found["simulation"])
        value = statistics.median(found["ours"])
        bench.add(Row(f"forward/{output}/rate", value, "images/s", "simulation", ratio, "50 × at least", low, high))


def _first_kinds(front_end: FrontEnd, kinds: int) -> dict[str, object]:
    """Configuration of a front end with only the first cell types, as many as are simulated."""
    labels = front_end.station_channels["v1"]
    half = len(labels) // 2
    channels = front_end.station_channels | {"v1": labels[:kinds] + labels[half : half + kinds]}
    cells = front_end.config()
    return {
        "channels": channels,
        "orientations": cells["orientations"][:kinds],
        "parasol": cells["parasol"][:kinds],
    }


def local_contrast_norm(light: Tensor) -> Tensor:
    """Each pixel minus its local mean, divided by the local standard deviation (Jarrett et al. 2009), SD of 2 pixels."""
    distance = torch.arange(-6, 7, dtype=light.dtype)
    window = torch.exp(-(distance**2) / 8)
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        x = functional.conv2d(functional.pad(x, (6, 6, 0, 0), mode="replicate"), window[None, None, None])
        return functional.conv2d(functional.pad(x, (0, 0, 6, 6), mode="replicate"), window[None, None, :, None])

    centred = light - blur(light)
    deviation = blur(centred**2).sqrt()
    return centred / torch.maximum(deviation, deviation.mean(dim=(-2, -1), keepdim=True))


def _luminance_and_contrast_gain() -> nn.Module:
    from plenoptic.models import LuminanceContrastGainControl

    return LuminanceContrastGainControl(31, pretrained=True, cache_filt=True).eval()


@torch.no_grad()
def _seconds(model: Callable[[Tensor], Tensor], light: Tensor) -> float:
    """Median time of three calls, after one warm-up call."""
    model(light)
    return statistics.median(_time(functools.partial(model, light)) for _ in range(3))


def _images_per_second(seconds: Callable[[], float], images: int) -> float:
    return images / seconds()


def _time(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class ResNet18(nn.Module):
    """He et al. 2016, Table 1: 18 layers, for 224×224 pixels and 1,000 classes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 64, 128, 256, 512)
        blocks = [
            block
            for before, after in zip(widths[:-1], widths[1:], strict=True)
            for block in (_Block(before, after, 2 if before != after else 1), _Block(after, after, 1))
        ]
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class _Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.residual(x) + self.shortcut(x))
