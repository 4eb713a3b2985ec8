"""The classifier behind every arm: LeNet on 32×32 maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Maps are brought to this size.
SIZE = 32


class LeNet(nn.Module):
    """LeNet with ReLU: conv 6@5×5, pool, conv 16@5×5, pool, conv 120@5×5, 84, classes (LeCun 1998; average pooling).

    Parameters
    ----------
    channels : int
        Maps that it reads.
    classes : int
    instance_norm : bool
        Instance normalisation after each of the first two convolutions (the IN-LeNet of arXiv 2202.07432).
    """

    def __init__(self, channels: int, classes: int, instance_norm: bool = False) -> None:
        super().__init__()

        def norm(width: int) -> nn.Module:
            return nn.InstanceNorm2d(width) if instance_norm else nn.Identity()

        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            norm(6),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            norm(16),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(maps)


def to_size(maps: Tensor) -> Tensor:
    """Maps (n, C, h, w) at 32×32: V1's coarser lattice is enlarged by linear interpolation, so that one LeNet fits all."""
    if maps.shape[-2:] == (SIZE, SIZE):
        return maps
    return functional.interpolate(maps, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


@torch.no_grad()
def accuracy(classifier: nn.Module, maps: Tensor, labels: Tensor) -> float:
    """Share of the maps, (n, C, h, w), that are told right."""
    guesses = torch.cat([classifier(to_size(part)).argmax(dim=1) for part in maps.split(256)])
    return float((guesses == labels).double().mean())
