"""The classifiers that read every arm's maps at 32×32: LeNet, and a small residual network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Pixels along a side of a classifier's input.
SIZE = 32

#: Memory layout of convolutions: 20 to 33 % faster on CPUs.
_LAYOUT = torch.channels_last

#: Normalisations after a convolution, by name: the number of maps to a module.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
}


class LeNet(nn.Module):
    """LeNet with ReLU: conv 6@5×5, pool, conv 16@5×5, pool, conv 120@5×5, 84, classes (LeCun 1998; average pooling).

    Parameters
    ----------
    channels : int
        Input maps.
    classes : int
    norm : str
        Of `NORMS`, after each of the first two convolutions (the BN- and IN-LeNet of arXiv 2202.07432).
    """

    def __init__(self, channels: int, classes: int, norm: str = "none") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            NORMS[norm](6),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            NORMS[norm](16),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )
        nn.utils.convert_conv2d_weight_memory_format(self, _LAYOUT)

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(to_size(maps))


class Residual(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al. 2016), with stride 2 where the number of maps grows."""

    def __init__(self, channels: int, width: int, norm: str) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.first = nn.Conv2d(channels, width, 3, stride, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        self.norms = nn.ModuleList([NORMS[norm](width), NORMS[norm](width)])
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, width, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.norms[0](self.first(maps)))
        return functional.relu(self.norms[1](self.second(inner)) + self.shortcut(maps))


class ResNet(nn.Module):
    """A residual network of seven convolutions, 16, 32 and 64 maps wide (He et al. 2016, §4.2, one block a width).

    Parameters
    ----------
    channels, classes : int
    norm : str
        Of `NORMS`, after every convolution; ``none`` means batch normalisation, as published.
    """

    def __init__(self, channels: int, classes: int, norm: str = "none") -> None:
        super().__init__()
        norm = "batch" if norm == "none" else norm
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 1, 1),
            NORMS[norm](16),
            nn.ReLU(),
            *(Residual(before, width, norm) for before, width in ((16, 16), (16, 32), (32, 64))),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, classes),
        )
        nn.utils.convert_conv2d_weight_memory_format(self, _LAYOUT)

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(to_size(maps))


#: Every classifier by name: (channels, classes, norm) to a module.
CLASSIFIERS: dict[str, Callable[[int, int, str], nn.Module]] = {"lenet": LeNet, "resnet": ResNet}


def to_size(maps: Tensor) -> Tensor:
    """Resize maps (n, C, h, w) to 32×32 by linear interpolation, so that one network reads V1's coarser lattice too."""
    if maps.shape[-2:] == (SIZE, SIZE):
        return maps
    return functional.interpolate(maps, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


@torch.no_grad()
def is_correct(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Whether the network classifies each of its inputs (n, C, h, w) correctly, (n,)."""
    classes = torch.cat([network(part).argmax(dim=1) for part in inputs.split(256)])
    return classes == labels
