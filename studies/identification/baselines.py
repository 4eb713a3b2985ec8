r"""Baselines of the front end: models without a circuit, fitted to the same responses and given the adaptation field.

**Linear-nonlinear** models: a kernel for the image and one for the adaptation field, up to `reach` degrees, on luminance
(``luminance``, :math:`L, B`), its logarithm (``log``) or Weber contrast (``weber``, :math:`(L - B) / B`), then a static
nonlinearity of each channel,

.. math:: r = a + g\, \frac{[x - c]_+^p}{1 + ([x - c]_+ / s)^p},

with :math:`[x]_+` a softplus of its own sharpness. **With a divisive pool** (``… divisive``), x is first divided by
:math:`\sqrt{1 + n}`, where n is a Gaussian mean of x² over all channels, with a weight for each. **Energy models**: for V1's
complex cells x is the square root of the sum of two squared kernel outputs. **Networks**: three convolutions with ReLUs, of log
L and log B; their width follows from the number of parameters.

Kernels are initialised by ridge regression, whose penalty is chosen on a validation set, networks at random. Then all parameters
are trained by Adam (Kingma & Ba 2015) on the unexplained variance, averaged over channels, once for each of the learning rates
`KERNEL_RATES` or `NETWORK_RATES`. Each training keeps the state with the least error on the validation set (whole photographs,
`bridge.fit.stimuli.choose_validation`), and each channel is predicted by the training with the least error there.
"""

from __future__ import annotations

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from biomodel.utils.errors import InputError
from bridge.evaluate.reverse_correlation import moments
from bridge.fit.stimuli import choose_validation
from bridge.model.convolution import channelwise, gaussians, pad

logger = logging.getLogger("precortical")

#: Encodings of light and field, and the number of maps of each.
INPUTS = {"luminance": 2, "log": 2, "weber": 1}

#: Luminance added before the logarithm, cd/m²: about the darkest that responses distinguish.
_DARK = 1.0

#: Least field of a Weber contrast, cd/m².
_LEAST_FIELD = 0.1

#: Penalties of ridge regression, relative to the mean square of the inputs.
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

#: Adam's learning rates of models with kernels, one per training: whether that of kernels is relative to their root mean square
#: (their gradients differ from those of the nonlinearity by orders of magnitude), and the rate.
KERNEL_RATES = ((False, 3e-3), (True, 1e-2), (True, 3e-2))

#: Adam's learning rates of networks, one per training.
NETWORK_RATES = (1e-3, 2e-3, 4e-3)

#: Epochs of a training.
EPOCHS = 60

#: Images per batch, and steps over which the learning rate rises before it falls along half a cosine.
_BATCH, _WARMUP = 16, 50

#: Largest norm of the gradient.
_LARGEST_GRADIENT = 0.3

#: Dimensions of kernels: channel, input, tap, tap.
KERNEL = 4

#: Networks with fewer parameters have kernels of 3×3 instead of 9×9.
_SMALL = 2_000

#: Parameters of the larger network.
LARGE = 30_000


def encode(kind: str, light: Tensor, background: Tensor) -> Tensor:
    """Encode light and field (B, 1, H, W), both in cd/m², as a key of `INPUTS`: (B, maps, H, W)."""
    if kind == "luminance":
        return torch.cat([light, background], dim=1) / 100
    if kind == "log":
        return torch.cat([(light + _DARK).log(), (background + _DARK).log()], dim=1)
    return (light - background) / background.clamp_min(_LEAST_FIELD)


class Baseline(nn.Module, ABC):
    """Maps light and field (B, 1, H, W), both in cd/m², to responses (B, K, h, w); it is trained on standardised responses."""

    response_mean: Tensor
    response_sd: Tensor
    input_mean: Tensor
    input_sd: Tensor
    kind = "log"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("response_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("response_sd", torch.ones(channels, 1, 1))
        self.register_buffer("input_mean", torch.zeros(1, 1, 1))
        self.register_buffer("input_sd", torch.ones(1, 1, 1))

    def forward(self, light: Tensor, background: Tensor) -> Tensor:
        return self.response_mean + self.response_sd * self.standardised(light, background)

    def inputs(self, light: Tensor, background: Tensor) -> Tensor:
        """Encoded light and field, standardised by the mean and standard deviation of the fitted images."""
        return (encode(self.kind, light, background) - self.input_mean) / self.input_sd

    @abstractmethod
    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        """Predict standardised responses (B, K, h, w)."""

    @abstractmethod
    def initialise(self, light: Tensor, background: Tensor, target: Tensor, validation: Tensor, seed: int) -> None:
        """Set initial weights.

        Parameters
        ----------
        light, background : Tensor, (n, 1, H, W)
        target : Tensor, (n, K, h, w)
            Standardised responses.
        validation : Tensor of bool, (n,)
            Images that only choose between candidates.
        seed : int
            Of random weights.
        """

    @abstractmethod
    def parameter_groups(self) -> list[list[dict[str, Any]]]:
        """Groups of parameters with their learning rates, as optimisers take them, for each training."""


class LinearNonlinear(Baseline):
    """A linear kernel and a static nonlinearity for each channel, with or without a divisive pool.

    Parameters
    ----------
    kind : str
        A key of `INPUTS`.
    channels : int
    stride : int
        Pixels between cells.
    pixels_per_degree : float
    divisive : bool
    reach : float
        Radius of the kernels, degrees.
    """

    def __init__(
        self, kind: str, channels: int, stride: int, pixels_per_degree: float, divisive: bool, reach: float = 0.9
    ) -> None:
        super().__init__(channels)
        self.kind, self.stride, self.divisive = kind, stride, divisive
        self.reach = max(1, round(reach * pixels_per_degree))
        taps = 2 * self.reach + 1
        self.weight = nn.Parameter(torch.zeros(channels, INPUTS[kind], taps, taps))
        self.offset, self.gain = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.ones(channels))
        self.threshold = nn.Parameter(torch.zeros(channels))
        self.log_power, self.log_saturation = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.ones(channels))
        self.log_sharpness = nn.Parameter(torch.full((channels,), float(np.log(4.0))))
        if divisive:
            self.log_radius = nn.Parameter(torch.full((channels,), np.log(0.3 * pixels_per_degree / stride)))
            self.pool = nn.Parameter(torch.full((channels, channels), -4.0))

    def linear(self, light: Tensor, background: Tensor) -> Tensor:
        """Outputs of the kernels (B, K, h, w)."""
        return _correlate(pad(self.inputs(light, background), self.reach, "replicate"), self.weight, self.stride)

    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        x = self.linear(light, background)
        if self.divisive:
            energy = torch.einsum("kj,bjyx->bkyx", self.pool.exp() / len(self.pool), x**2)
            x = x / (1 + _blur(energy, self.log_radius.exp())).sqrt()
        sharpness = _per_channel(self.log_sharpness).exp()
        rectified = functional.softplus(sharpness * (x - _per_channel(self.threshold))) / sharpness
        power = _per_channel(self.log_power).exp()
        raised = (rectified + 1e-6) ** power
        saturation = 1 + raised * (-power * _per_channel(self.log_saturation)).exp()
        return _per_channel(self.offset) + _per_channel(self.gain) * raised / saturation

    @torch.no_grad()
    def initialise(self, light: Tensor, background: Tensor, target: Tensor, validation: Tensor, seed: int) -> None:
        """Set kernels by ridge regression, and the nonlinearity nearly linear over the range of their outputs."""
        fitted = ~validation
        covariance = moments(self.inputs(light[fitted], background[fitted]), target[fitted], self.reach, self.stride)
        candidates = []
        for ridge in _RIDGES:
            kernels, offsets = covariance.kernels(ridge)
            self.weight.copy_(kernels)
            prediction = self.linear(light[validation], background[validation]) + _per_channel(offsets.float())
            candidates.append((float(((prediction - target[validation]) ** 2).mean()), kernels, offsets))
        _, kernels, offsets = min(candidates, key=lambda candidate: candidate[0])
        # Outputs of the kernels get a standard deviation of 1, the range of the nonlinearity.
        flat = kernels.flatten(1)
        scale = torch.einsum("kn,nm,km->k", flat, covariance.gram, flat).sqrt()
        self.weight.copy_(kernels / scale[:, None, None, None])
        mean_output = flat @ covariance.mean_pixels
        self.threshold.copy_(mean_output / scale - 1)
        self.gain.copy_(scale)
        self.offset.copy_(offsets + mean_output - scale)
        self.log_saturation.fill_(float(np.log(10.0)))

    def parameter_groups(self) -> list[list[dict[str, Any]]]:
        kernels = [p for p in self.parameters() if p.ndim == KERNEL]
        others = [p for p in self.parameters() if p.ndim != KERNEL]
        rms = float(torch.cat([p.detach().flatten() for p in kernels]).square().mean().sqrt())
        return [
            [{"params": kernels, "lr": rate * (rms if relative else 1.0)}, {"params": others, "lr": rate}]
            for relative, rate in KERNEL_RATES
        ]


class Energy(LinearNonlinear):
    """An energy model of complex cells, the second half of the channels: root of the sum of two squared kernel outputs.

    Adelson & Bergen 1985 (J Opt Soc Am A 2:284). Parameters as for `LinearNonlinear`. Channel K/2 + k is the complex cell of the
    simple cell k.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quadrature = nn.Parameter(torch.zeros_like(self.weight[len(self.weight) // 2 :]))

    def linear(self, light: Tensor, background: Tensor) -> Tensor:
        """Outputs of the kernels (B, K, h, w), for complex cells the root of the sum of two squares."""
        padded = pad(self.inputs(light, background), self.reach, "replicate")
        outputs = _correlate(padded, torch.cat([self.weight, self.quadrature]), self.stride)
        simple, one, other = outputs.tensor_split((len(self.quadrature), len(self.weight)), dim=1)
        return torch.cat([simple, (one**2 + other**2 + 1e-6).sqrt()], dim=1)

    @torch.no_grad()
    def initialise(self, light: Tensor, background: Tensor, target: Tensor, validation: Tensor, seed: int) -> None:
        """Give complex cells the kernels of their simple cells, and the same kernels shifted by a quarter of a cycle."""
        super().initialise(light, background, target, validation, seed)
        half = len(self.quadrature)
        self.weight[half:] = self.weight[:half]
        self.quadrature.copy_(_shift_quarter_cycle(self.weight[:half]))
        outputs = self.linear(light[~validation], background[~validation])[:, half:]
        scale = outputs.std(dim=(0, 2, 3))
        for kernels in (self.weight[half:], self.quadrature):
            kernels /= scale[:, None, None, None]
        self.threshold[half:] = outputs.mean(dim=(0, 2, 3)) / scale - 1
        self.gain[half:] = 1.0
        self.offset[half:] = -1.0


def _correlate(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`functional.conv2d`; at stride 1 by Fourier transforms, which are faster."""
    if stride > 1:
        return functional.conv2d(x, weight, stride=stride)
    size, taps = x.shape[-2:], weight.shape[-2:]
    product = torch.einsum("bixy,kixy->bkxy", torch.fft.rfft2(x), torch.fft.rfft2(weight, s=size).conj())
    return torch.fft.irfft2(product, s=size)[..., : size[0] - taps[0] + 1, : size[1] - taps[1] + 1]


def _shift_quarter_cycle(kernels: Tensor) -> Tensor:
    """Hilbert transform of kernels (K, input, tap, tap), across the strongest grating of each."""
    spectrum = torch.fft.fft2(kernels)
    down, across = (torch.fft.fftfreq(n) for n in kernels.shape[-2:])
    strongest = spectrum.abs().sum(dim=1).flatten(1).argmax(dim=1)
    row, column = strongest // kernels.shape[-1], strongest % kernels.shape[-1]
    along = down[row][:, None, None] * down[:, None] + across[column][:, None, None] * across
    return torch.fft.ifft2(spectrum * (-1j * along.sign())[:, None]).real


class Network(Baseline):
    """Three convolutions with ReLUs, of log luminance and log background.

    Parameters
    ----------
    channels, stride : int
    n_parameters : int
        Approximate number of parameters.
    taps : int
        Side of the kernels.
    """

    def __init__(self, channels: int, stride: int, n_parameters: int, taps: int = 9) -> None:
        super().__init__(channels)
        self.stride, self.reach = stride, taps // 2
        # A width w gives w² + (2 + channels) w kernels, and a bias per map.
        a, b = taps**2, (2 + channels) * taps**2 + 2
        width = max(1, round((-b + np.sqrt(b**2 + 4 * a * (n_parameters - channels))) / (2 * a)))
        self.layers = nn.ModuleList(
            [nn.Conv2d(2, width, taps), nn.Conv2d(width, width, taps), nn.Conv2d(width, channels, taps)]
        )

    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        x = self.inputs(light, background)
        for k, layer in enumerate(self.layers):
            x = layer(pad(functional.relu(x) if k else x, self.reach, "replicate"))
        return x[..., :: self.stride, :: self.stride]

    @torch.no_grad()
    def initialise(self, light: Tensor, background: Tensor, target: Tensor, validation: Tensor, seed: int) -> None:
        """Draw random weights (He et al. 2015); those of the last layer are small."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.layers.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
            else:
                parameter.zero_()
        cast(nn.Conv2d, self.layers[-1]).weight.mul_(0.1)

    def parameter_groups(self) -> list[list[dict[str, Any]]]:
        return [[{"params": list(self.parameters()), "lr": rate}] for rate in NETWORK_RATES]


class BestPerChannel(nn.Module):
    """Several trainings of a baseline, each channel predicted by the best of them; called as a baseline is.

    Attributes
    ----------
    unexplained : Tensor, (K,)
        Unexplained fraction of each channel's variance, on the validation set.
    """

    def __init__(self, trainings: Sequence[Baseline], unexplained: Tensor) -> None:
        super().__init__()
        best = unexplained.min(dim=0)
        self.unexplained = best.values
        used = best.indices.unique().tolist()
        self.trainings = nn.ModuleList([trainings[k] for k in used])
        self.training_of = [used.index(int(k)) for k in best.indices]

    def forward(self, light: Tensor, background: Tensor) -> Tensor:
        predictions = [training(light, background) for training in self.trainings]
        return torch.stack([predictions[k][:, channel] for channel, k in enumerate(self.training_of)], dim=1)


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def _blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur each channel of (B, K, h, w) by a Gaussian of its own."""
    widest = float(sigma.detach().max())
    # After a diverging step σ is not finite; the result is not either, and the training ends.
    reach = int(min(3 * widest + 0.5, 4 * x.shape[-1])) if math.isfinite(widest) else 1
    return channelwise(x, gaussians(sigma, max(1, reach)), "mirror")


def make_baselines(channels: int, stride: int, pixels_per_degree: float, n_parameters: int) -> dict[str, Baseline]:
    """Make every baseline of a station, by name.

    Parameters
    ----------
    channels, stride : int
        Of the station; energy models are only made for V1, whose stride is above 1.
    pixels_per_degree : float
    n_parameters : int
        Of the front end: one network has about the same number, another 30,000.
    """
    baselines: dict[str, Baseline] = {}
    for divisive in (False, True):
        for kind in INPUTS:
            name = f"{kind} divisive" if divisive else kind
            baselines[name] = LinearNonlinear(kind, channels, stride, pixels_per_degree, divisive)
            if stride > 1 and divisive:
                baselines[f"{name} energy"] = Energy(kind, channels, stride, pixels_per_degree, divisive)
    for size in sorted({n_parameters, LARGE}):
        # The relay's twin has too few parameters for a network of large kernels.
        network = Network(channels, stride, size, taps=9 if size > _SMALL else 3)
        baselines[f"network of {sum(p.numel() for p in network.parameters()):,} parameters"] = network
    return baselines


def fit_baseline(
    baseline: Baseline,
    light: Tensor,
    background: Tensor,
    response: Tensor,
    seed: int = 0,
    photographs: Sequence[str] | None = None,
) -> BestPerChannel:
    """Fit a baseline to responses.

    Parameters
    ----------
    baseline : Baseline
        Its weights are changed.
    light, background : Tensor, (n, 1, H, W)
        cd/m².
    response : Tensor, (n, K, h, w)
    seed : int
        Of random weights, of the validation set and of the order of images.
    photographs : sequence of str, optional
        Photograph of each image; the validation set has whole photographs. By default each image is one of its own.

    Raises
    ------
    InputError
        For fewer photographs than a validation set takes.
    """
    labels = range(len(light)) if photographs is None else photographs
    in_validation = torch.from_numpy(choose_validation(labels, seed))
    validation, fitted = torch.nonzero(in_validation)[:, 0], torch.nonzero(~in_validation)[:, 0]
    if not len(validation):
        raise InputError(f"images must be of 4 or more photographs to spare a validation set, got {len(set(labels))}")
    encoded = encode(baseline.kind, light[fitted], background[fitted])
    baseline.input_mean = _per_channel(encoded.mean(dim=(0, 2, 3)))
    baseline.input_sd = _per_channel(encoded.std(dim=(0, 2, 3)))
    baseline.response_mean = _per_channel(response.mean(dim=(0, 2, 3)))
    baseline.response_sd = _per_channel(response.std(dim=(0, 2, 3)))
    target = (response - baseline.response_mean) / baseline.response_sd
    baseline.initialise(light, background, target, in_validation, seed)

    def unexplained(images: Tensor) -> Tensor:
        prediction = baseline.standardised(light[images], background[images])
        return ((prediction - target[images]) ** 2).mean(dim=(0, 2, 3))

    @torch.no_grad()
    def validation_error() -> Tensor:
        batches = validation.split(_BATCH)
        return torch.stack([unexplained(batch) * len(batch) for batch in batches]).sum(dim=0) / len(validation)

    initial = copy.deepcopy(baseline)
    trained, errors = [initial], [validation_error()]
    steps = EPOCHS * math.ceil(len(fitted) / _BATCH)
    for k, groups in enumerate(baseline.parameter_groups()):
        baseline.load_state_dict(initial.state_dict())
        random = torch.Generator().manual_seed(seed + k)
        optimiser = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min(1.0, (step + 1) / _WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        best, least = copy.deepcopy(initial), errors[0]
        for _ in range(EPOCHS):
            for batch in fitted[torch.randperm(len(fitted), generator=random)].split(_BATCH):
                optimiser.zero_grad()
                unexplained(batch).mean().backward()
                nn.utils.clip_grad_norm_(baseline.parameters(), _LARGEST_GRADIENT)
                optimiser.step()
                schedule.step()
            error = validation_error()
            if not error.isfinite().all():
                break
            if error.mean() < least.mean():
                least = error
                best.load_state_dict(baseline.state_dict())
        trained.append(best)
        errors.append(least)
        logger.debug("unexplained %s on the validation set", least.numpy().round(3).tolist())
    return BestPerChannel(trained, torch.stack(errors))
