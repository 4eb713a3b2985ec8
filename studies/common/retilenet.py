r"""The networks of arXiv 2202.07432: LeNet with tanh and dropout, and the module in front of it.

LeNet, of images 32×32: convolution of 6 maps, 5×5, dropout, tanh, mean over 2×2; of 16, the same; of 120, 5×5, dropout, tanh;
84, tanh; 10. BN- and IN-LeNet normalise the maps of their first two convolutions. 61,706 parameters for one channel.

The module: three convolutions, 7×7, with as many maps as the image has channels, padded with 3 zeros, each with dropout and
tanh, for bipolar cells, ganglion cells and the relay. 150 parameters for one channel.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from studies.common.classifiers import NORMS

#: Dropout rate, in LeNet and in the module.
DROPOUT = 0.2

#: Stations that the module's layers represent.
STATIONS = ("bipolar", "ganglion", "lgn")


def lenet(channels: int, classes: int, norm: str = "none") -> nn.Sequential:
    """Make LeNet as published, for maps (n, channels, 32, 32); `norm` is a name in `classifiers.NORMS`."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5),
        NORMS[norm](6),
        nn.Dropout(DROPOUT),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        NORMS[norm](16),
        nn.Dropout(DROPOUT),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.Dropout(DROPOUT),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, classes),
    )


def module(channels: int, layers: int = 3, side: int = 7, zero_sum: bool = False) -> nn.Sequential:
    """Make the module in front of LeNet.

    Parameters
    ----------
    channels : int
        Channels of the image and of every layer.
    layers, side : int
        Number of convolutions, and pixels along a side of their kernels.
    zero_sum : bool
        Whether the first layer's kernels sum to zero and its padding repeats the border; then x and x − μ have equal outputs.
    """
    convolutions = [
        nn.Conv2d(
            channels, channels, side, padding=side // 2, padding_mode="replicate" if zero_sum and not k else "zeros"
        )
        for k in range(layers)
    ]
    if zero_sum:
        parametrize.register_parametrization(convolutions[0], "weight", ZeroSum())
    return nn.Sequential(*(part for one in convolutions for part in (one, nn.Dropout(DROPOUT), nn.Tanh())))


class ZeroSum(nn.Module):
    """Kernels (out, in, h, w) minus their mean: each output's weights sum to zero over all its inputs."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(dim=(1, 2, 3), keepdim=True)


class Standardise(nn.Module):
    """Subtract each image's mean and divide by its standard deviation, over pixels and channels; uniform images become zero."""

    def forward(self, codes: Tensor) -> Tensor:
        centred = codes - codes.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return centred / torch.where(deviation > 0, deviation, 1.0)


def learned_kernels(network: nn.Sequential) -> dict[str, np.ndarray]:
    """Kernels (out, in, h, w) of a network's module, by station, and of LeNet's first layer, as ``lenet``."""
    front, classifier = network
    found = [part for part in front.modules() if isinstance(part, nn.Conv2d)]
    kernels = {name: part.weight for name, part in zip(STATIONS, found, strict=False)}
    kernels["lenet"] = next(part for part in classifier.modules() if isinstance(part, nn.Conv2d)).weight
    return {name: weight.detach().cpu().numpy().copy() for name, weight in kernels.items()}
