"""Arms of the reproduction: the module in front of LeNet, and the training images.

| arm | network and training |
|---|---|
| lenet, bn_lenet, in_lenet | LeNet; with batch or instance normalisation of the maps of its first two layers |
| retilenet | the published module in front of LeNet, trained with it |
| lenet_augmented, bn_lenet_augmented, retilenet_augmented | trained on images with a random shift and scale each |
| standardise | each image minus its mean, divided by its standard deviation |
| retilenet_zero_sum | the module; its first kernels sum to zero, its first padding repeats the border |
| retilenet_one_layer | a module of one layer, 11×11 |
| front_end_lgn | the relay of the front end fitted to the simulated circuit, adapted to the image under wandering gaze |

The first seven are published (arXiv 2202.07432), the others are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from studies.common import retilenet


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes
    ----------
    name : str
    make_front : callable
        Makes the module in front of LeNet, from the number of channels.
    norm : str
        LeNet's normalisation, a key of `classifiers.NORMS`.
    augmented : bool
        Whether training images are randomly shifted and scaled (`sweeps.augment`).
    takes_light : bool
        Whether images become luminance, by one affine map per sweep, and LeNet's inputs are the maps of the fitted front end.
    """

    name: str
    make_front: Callable[[int], nn.Module] = lambda channels: nn.Identity()
    norm: str = "none"
    augmented: bool = False
    takes_light: bool = False

    def network(self, channels: int, classes: int) -> nn.Sequential:
        """Make the trained network, of images or maps (n, channels, 32, 32)."""
        network = nn.Sequential(self.make_front(channels), retilenet.lenet(channels, classes, self.norm))
        # Three times as fast for a module of one channel.
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        return network

    @property
    def has_module(self) -> bool:
        """Whether the arm has a module with learned kernels."""
        return self.name.startswith("retilenet")


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
        Arm("retilenet_zero_sum", partial(retilenet.module, zero_sum=True)),
        Arm("retilenet_one_layer", partial(retilenet.module, layers=1, side=11)),
        Arm("front_end_lgn", takes_light=True),
    )
}
