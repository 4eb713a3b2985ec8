r"""The differentiable twins, one class a station: feed-forward functions of an image and a background.

Each stands for the mean response over the window of one presentation, and carries its station's name. What biology makes
positive is kept as a logarithm or a root. Lengths are degrees of visual angle, luminance is in cd/m². Twins start from
the guesses written here, which were not taken from any simulation, and learn from responses.

**Cone**: :math:`r = \alpha L' / (1 + p L + q B)`, with L' = m L + (1 - m) B: what gain control saw of the image (p) and of the
background (q) by the time of the window.
**Horizontal**: a mixture of Gaussians over the cones' change, the sum of many paths through the syncytium.
**Bipolar**: :math:`x = G_\sigma * (\Delta r - k\, \Delta h)`, then :math:`\pm g x / (1 + [\pm x]_+ / s)`.
**Ganglion**: :math:`[m + g b]_+`. **LGN**: a share of it. **V1**: rows of ON and OFF relay cells,
:math:`[b + \sum w\, l]_+` with w ≥ 0, on every second pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bridge.padding import gaussians, pad, separable

#: V1 stands on every second pixel.
STRIDE = 2


def _logarithm(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values).log())


class Cone(nn.Module):
    """Suppressed photocurrent (pA) of luminance, given the field adapted to; both (B, 1, H, W) in cd/m²."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = _logarithm(1.0)
        self.log_desensitisation_image = _logarithm(0.01)
        self.log_desensitisation_background = _logarithm(0.01)
        self.onset = nn.Parameter(torch.tensor([3.0]))

    def forward(self, luminance: Tensor, background: Tensor) -> Tensor:
        arrived = torch.lerp(background, luminance, self.onset.sigmoid())
        desensitisation = (
            1
            + self.log_desensitisation_image.exp() * luminance
            + self.log_desensitisation_background.exp() * background
        )
        return self.log_gain.exp() * arrived / desensitisation


class Horizontal(nn.Module):
    """Potential (mV) of photocurrent (pA), (B, 1, H, W); linear, so that it serves changes as well as levels.

    Parameters
    ----------
    pixels_per_degree : float
    reach : float
        Degrees at which the kernel is cut.
    """

    def __init__(self, pixels_per_degree: float, reach: float = 1.5) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        self.log_radius = _logarithm(0.1, 0.2, 0.4)
        self.log_weight = _logarithm(0.3, 0.3, 0.3)

    def forward(self, photocurrent: Tensor) -> Tensor:
        sigmas = self.log_radius.exp() * self.pixels_per_degree
        pooled = separable(photocurrent, gaussians(sigmas, self.reach), "mirror")
        return (self.log_weight.exp()[:, None, None] * pooled).sum(dim=1, keepdim=True)


class Bipolar(nn.Module):
    """ON and OFF potentials about rest (mV), (B, 2, H, W), of changes in photocurrent and horizontal potential.

    Parameters
    ----------
    pixels_per_degree : float
    reach : float
        Degrees at which the centre is cut.
    """

    def __init__(self, pixels_per_degree: float, reach: float = 0.2) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        self.log_centre = _logarithm(0.04)
        self.log_feedback = _logarithm(1.0)
        self.log_gain = _logarithm(1.0, 1.0)
        self.log_saturation = _logarithm(50.0, 50.0)

    def forward(self, photocurrent_change: Tensor, potential_change: Tensor) -> Tensor:
        signal = photocurrent_change - self.log_feedback.exp() * potential_change
        centre = gaussians(self.log_centre.exp() * self.pixels_per_degree, self.reach)
        change = separable(signal, centre, "replicate")
        signed = torch.cat([change, -change], dim=1)
        saturation = self.log_saturation.exp()[:, None, None]
        return self.log_gain.exp()[:, None, None] * signed / (1 + functional.relu(signed) / saturation)


class Ganglion(nn.Module):
    """Rates (Hz) of midget ON and OFF cells, (B, 2, H, W), of bipolar potentials (mV)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_maintained = _logarithm(20.0, 20.0)
        self.log_gain = _logarithm(5.0, 5.0)

    def forward(self, bipolar: Tensor) -> Tensor:
        return functional.relu(self.log_maintained.exp()[:, None, None] + self.log_gain.exp()[:, None, None] * bipolar)


class LGN(nn.Module):
    """Rates (Hz) of relay cells, (B, 2, H, W), of ganglion rates (Hz)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_transfer = _logarithm(0.5, 0.5)

    def forward(self, ganglion: Tensor) -> Tensor:
        return self.log_transfer.exp()[:, None, None] * ganglion


class V1(nn.Module):
    """Rates (Hz) of simple cells, (B, K, ceil(H/2), ceil(W/2)), of relay rates (Hz), (B, 2, H, W).

    Parameters
    ----------
    channels : int
        Kinds of cells.
    pixels_per_degree : float
    reach : float
        Degrees from the cell within which its afferents are sought.
    """

    def __init__(self, channels: int, pixels_per_degree: float, reach: float = 0.65) -> None:
        super().__init__()
        self.reach = max(1, round(reach * pixels_per_degree))
        taps = 2 * self.reach + 1
        self.root_weight = nn.Parameter(torch.full((channels, 2, taps, taps), (1.0 / taps**2) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, lgn: Tensor) -> Tensor:
        around = pad(lgn, self.reach, "replicate")
        return functional.relu(functional.conv2d(around, self.root_weight**2, self.bias, stride=STRIDE))
