r"""The published sweeps of image codes, and their conversion to luminance.

Luminosity subtracts μ from every code; contrast divides deviations from the image's mean, over pixels and channels, by σ. Both
leave the range of a camera: codes are not clipped or rounded (arXiv 2202.07432).

For arms that take luminance, one affine map per sweep converts all images, training images included. It maps the range of codes
that images in [0, 1] can reach in the sweep to `DARKEST` … `LIGHTEST` cd/m², which leaves unaltered images little contrast
(`Sweep.remaining_contrast`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from biomodel.stimuli import SRGB_LUMINANCE

#: Luminance of the limits of a sweep's codes, cd/m².
DARKEST, LIGHTEST = 1.0, 200.0

#: Ranges of the μ and σ that augment training images (arXiv 2202.07432).
AUGMENTED_MU, AUGMENTED_SIGMA = (-2.0, 2.0), (-0.1, 4.0)

#: Least |σ| of the augmentation: the published range of σ includes zero. Smaller values are replaced, with their sign.
LEAST_SIGMA = 1e-3


def shift_luminosity(codes: Tensor, mu: Tensor | float) -> Tensor:
    """Subtract μ, a scalar or (n, 1, 1, 1), from codes (n, C, H, W); a negative μ brightens."""
    return codes - mu


def scale_contrast(codes: Tensor, sigma: Tensor | float) -> Tensor:
    """Divide the deviations of codes (n, C, H, W) from each image's mean by σ, a scalar or (n, 1, 1, 1)."""
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
        Values of the parameter.
    apply : callable
        (codes (n, C, H, W), level) to changed codes.
    span : tuple of float
        Range of codes that images in [0, 1] can reach, unaltered or at any level.
    """

    name: str
    parameter: str
    levels: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor]
    span: tuple[float, float]

    def luminance(self, codes: Tensor) -> Tensor:
        """Convert codes (n, 1 or 3, H, W) to luminance (n, 1, H, W) in cd/m²; colours are weighted as in sRGB luminance."""
        low, high = self.span
        weights = codes.new_tensor(SRGB_LUMINANCE if codes.shape[1] == 3 else (1.0,))
        grey = torch.einsum("nchw,c->nhw", codes, weights)[:, None]
        return DARKEST + (LIGHTEST - DARKEST) * (grey - low) / (high - low)

    @property
    def remaining_contrast(self) -> float:
        """Michelson contrast of black and white of an unaltered image after conversion to luminance."""
        black, white = self.luminance(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)).ravel().tolist()
        return (white - black) / (white + black)


def _luminosity_sweep(name: str, step: float) -> Sweep:
    levels = tuple(round(step * k, 1) for k in range(-10, 11))
    return Sweep(name, "μ", levels, shift_luminosity, (-levels[-1], 1 - levels[0]))


def _contrast_sweep(name: str, levels: tuple[float, ...]) -> Sweep:
    # A code differs from its image's mean by less than 1, and the mean itself lies in [0, 1].
    largest = 1 / min(levels)
    return Sweep(name, "σ", levels, scale_contrast, (1 - largest, largest))


#: Every sweep by name, as published.
SWEEPS = {
    sweep.name: sweep
    for sweep in (
        _luminosity_sweep("mu", 0.2),
        _contrast_sweep("sigma", tuple(round(0.1 + 0.2 * k, 1) for k in range(20))),
        _luminosity_sweep("mu_large", 1.2),
        _contrast_sweep("sigma_large", tuple(round(0.1 + 2.4 * k, 1) for k in range(19))),
    )
}


#: Groups of sweeps with the same span, and so the same affine map to luminance.
LIGHT_GROUPS = (("mu",), ("mu_large",), ("sigma", "sigma_large"))


def augment(codes: Tensor, generator: torch.Generator, margin: int = 0) -> Tensor:
    """Shift each image by a random μ, then scale its contrast by a random σ, both uniform; `LEAST_SIGMA` limits the division.

    As published, training images are changed before they are padded, but the images of the sweeps after it.

    Parameters
    ----------
    codes : Tensor, (n, C, H, W)
    generator : torch.Generator
    margin : int
        Pixels of padding on each side, which stay as they are.

    Returns
    -------
    Tensor, (n, C, H, W)
    """
    inner = codes[..., margin : codes.shape[2] - margin, margin : codes.shape[3] - margin]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((len(codes), 1, 1, 1), generator=generator).to(codes.device)

    shifted = shift_luminosity(inner, uniform(*AUGMENTED_MU))
    sigma = uniform(*AUGMENTED_SIGMA)
    sign = torch.where(sigma < 0, -1.0, 1.0)
    changed = scale_contrast(shifted, sign * sigma.abs().clamp_min(LEAST_SIGMA))
    return functional.pad(changed, (margin,) * 4)
