"""The classifiers behind every arm, on 32×32 maps: LeNet, and a small residual network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Maps are brought to this size.
SIZE = 32

#: How convolutions keep their maps: a fifth to a third faster on processors.
_LAYOUT = torch.channels_last

#: What stands after convolutions, by name: nothing, or a normalisation of so many maps.
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
        Maps that it reads.
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
    """Two 3×3 convolutions beside a shortcut (He et al. 2016), halving the maps where they become more."""

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
        Of `NORMS`, after every convolution; batch normalisation, as published, where no other is asked for.
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


#: Every classifier by name.
CLASSIFIERS: dict[str, Callable[[int, int, str], nn.Module]] = {"lenet": LeNet, "resnet": ResNet}


def to_size(maps: Tensor) -> Tensor:
    """Maps (n, C, h, w) at 32×32: V1's coarser lattice is enlarged by linear interpolation, so that one network fits all."""
    if maps.shape[-2:] == (SIZE, SIZE):
        return maps
    return functional.interpolate(maps, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


@torch.no_grad()
def right(network: nn.Module, seen: Tensor, labels: Tensor) -> Tensor:
    """Which of what a network sees, (n, C, h, w), it tells right, (n,)."""
    guesses = torch.cat([network(part).argmax(dim=1) for part in seen.split(256)])
    return guesses == labels
