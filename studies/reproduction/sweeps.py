r"""The published sweeps of raw codes, and light for them.

Luminosity subtracts μ from every code; contrast divides what departs from the image's own mean, over pixels and channels, by σ.
Both leave what a camera could give: nothing is clipped or rounded (arXiv 2202.07432).

Arms that take luminance see the whole experiment, training included, through one affine map a sweep, from the codes that no image
in [0, 1] can leave in it to `DARKEST` … `LIGHTEST` cd/m². It leaves an unaltered image little contrast (`contrast_left`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from biomodel.stimuli import SRGB_LUMINANCE

#: Luminance between which the codes of a sweep lie, cd/m².
DARKEST, LIGHTEST = 1.0, 200.0

#: What the augmented arms' training images are drawn from: μ and σ (arXiv 2202.07432).
AUGMENTED_MU, AUGMENTED_SIGMA = (-2.0, 2.0), (-0.1, 4.0)

#: The published range of σ crosses zero; nearer to it than this, σ becomes this, its sign kept.
LEAST_SIGMA = 1e-3


def luminosity(codes: Tensor, mu: Tensor | float) -> Tensor:
    """Codes (n, C, H, W) less μ, one for all or (n, 1, 1, 1); a negative one brightens."""
    return codes - mu


def contrast(codes: Tensor, sigma: Tensor | float) -> Tensor:
    """Codes (n, C, H, W), what departs from an image's mean over pixels and channels over σ, one for all or (n, 1, 1, 1)."""
    mean = codes.mean(dim=(1, 2, 3), keepdim=True)
    return (codes - mean) / sigma + mean


@dataclass(frozen=True)
class Sweep:
    """One sweep.

    Attributes
    ----------
    name : str
    parameter : str
        Its symbol in the paper.
    levels : tuple of float
        Of that parameter.
    change : callable
        Codes (n, C, H, W) at a level.
    span : tuple of float
        Codes that no image in [0, 1] leaves at any level of it, nor without it.
    """

    name: str
    parameter: str
    levels: tuple[float, ...]
    change: Callable[[Tensor, float], Tensor]
    span: tuple[float, float]

    def luminance(self, codes: Tensor) -> Tensor:
        """Codes (n, 1 or 3, H, W) of this sweep as light (n, 1, H, W) in cd/m²; colours weigh as they do in luminance (sRGB)."""
        low, high = self.span
        weights = codes.new_tensor(SRGB_LUMINANCE if codes.shape[1] == 3 else (1.0,))
        grey = torch.einsum("nchw,c->nhw", codes, weights)[:, None]
        return DARKEST + (LIGHTEST - DARKEST) * (grey - low) / (high - low)

    @property
    def contrast_left(self) -> float:
        """Michelson contrast of black and white of an unaltered image in that light."""
        black, white = self.luminance(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)).ravel().tolist()
        return (white - black) / (white + black)


def _of_mu(name: str, step: float) -> Sweep:
    levels = tuple(round(step * k, 1) for k in range(-10, 11))
    return Sweep(name, "μ", levels, luminosity, (-levels[-1], 1 - levels[0]))


def _of_sigma(name: str, levels: tuple[float, ...]) -> Sweep:
    # A code departs from its image's mean by less than 1, and by at most what the mean leaves room for.
    most = 1 / min(levels)
    return Sweep(name, "σ", levels, contrast, (1 - most, most))


#: Every sweep by name, as published.
SWEEPS = {
    sweep.name: sweep
    for sweep in (
        _of_mu("mu", 0.2),
        _of_sigma("sigma", tuple(round(0.1 + 0.2 * k, 1) for k in range(20))),
        _of_mu("mu_large", 1.2),
        _of_sigma("sigma_large", tuple(round(0.1 + 2.4 * k, 1) for k in range(19))),
    )
}


#: Sweeps that share a span, and so one affine map to light.
MAPS = (("mu",), ("mu_large",), ("sigma", "sigma_large"))


def augmented(codes: Tensor, chance: torch.Generator, margin: int = 0) -> Tensor:
    """Codes (n, C, H, W), each image less a μ and then over a σ of its own, drawn evenly; `LEAST_SIGMA` guards the division.

    The margin that an image was padded with, so many pixels on every side, stays as it is: as published, training images are
    changed first and padded then, unlike those of the sweeps, which are changed with their margins.
    """
    inner = codes[..., margin : codes.shape[2] - margin, margin : codes.shape[3] - margin]

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((len(codes), 1, 1, 1), generator=chance).to(codes.device)

    shifted = luminosity(inner, drawn(*AUGMENTED_MU))
    sigma = drawn(*AUGMENTED_SIGMA)
    sign = torch.where(sigma < 0, -1.0, 1.0)
    changed = contrast(shifted, sign * sigma.abs().clamp_min(LEAST_SIGMA))
    return functional.pad(changed, (margin,) * 4)
