"""The arms of the reproduction: what stands in front of LeNet, and what it is trained on.

| arm | what it is |
|---|---|
| lenet, bn_lenet, in_lenet | LeNet; with batch, or instance normalisation of its first two layers' maps |
| retilenet | the published module in front of it, trained with it |
| lenet_augmented, bn_lenet_augmented, retilenet_augmented | trained on images each shifted and scaled by chance |
| standardise | each image less its mean, over its standard deviation |
| retilenet_zero_sum | the module, its first kernels summing to zero, its first padding repeating the border |
| retilenet_one_layer | a module of one layer, 11×11 |
| front_end_lgn | the relay of the front end fitted to the simulated circuit, adapted to the image under wandering gaze |

The first seven are published (arXiv 2202.07432), the others added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from studies.common import retilenet


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes
    ----------
    name : str
    front : callable
        Makes, for so many channels, what stands in front of LeNet.
    norm : str
        LeNet's, of `classifiers.NORMS`.
    augmented : bool
        Whether training images are shifted and scaled by chance (`sweeps.augmented`).
    takes_light : bool
        Whether it is given luminance, and so one affine map a sweep, and LeNet what the shipped front end makes of it.
    """

    name: str
    front: Callable[[int], nn.Module] = lambda channels: nn.Identity()
    norm: str = "none"
    augmented: bool = False
    takes_light: bool = False

    def network(self, channels: int, classes: int) -> nn.Sequential:
        """What is trained, of images or maps (n, channels, 32, 32)."""
        whole = nn.Sequential(self.front(channels), retilenet.lenet(channels, classes, self.norm))
        # Three times as fast for a module of one channel.
        nn.utils.convert_conv2d_weight_memory_format(whole, torch.channels_last)
        return whole

    @property
    def has_module(self) -> bool:
        """Whether it has a module whose kernels are learned."""
        return self.name.startswith("retilenet")


def _one_layer(channels: int) -> nn.Module:
    return retilenet.module(channels, layers=1, side=11)


def _zero_sum(channels: int) -> nn.Module:
    return retilenet.module(channels, zero_sum=True)


#: Every arm by name, in the order of the tables.
ARMS = {
    arm.name: arm
    for arm in (
        Arm("lenet"),
        Arm("retilenet", retilenet.module),
        Arm("bn_lenet", norm="batch"),
        Arm("in_lenet", norm="instance"),
        Arm("lenet_augmented", augmented=True),
        Arm("bn_lenet_augmented", norm="batch", augmented=True),
        Arm("retilenet_augmented", retilenet.module, augmented=True),
        Arm("standardise", lambda channels: retilenet.Standardise()),
        Arm("retilenet_zero_sum", _zero_sum),
        Arm("retilenet_one_layer", _one_layer),
        Arm("front_end_lgn", takes_light=True),
    )
}
