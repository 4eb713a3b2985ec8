r"""What is used where there is no circuit: rivals of the front end, fitted to the same responses and given the background.

**Linear-nonlinear** models: a kernel for the image and one for the field adapted to, cut at `reach` degrees, of light as it is
(``luminance``, :math:`L, B`), of its logarithm (``log``) or of Weber contrast (``weber``, :math:`(L - B) / B`), then a static
nonlinearity of every channel,

.. math:: r = a + g\, \frac{[x - c]_+^p}{1 + ([x - c]_+ / s)^p},

with :math:`[x]_+` a softplus of its own sharpness. **With one divisive pool** (``… divisive``), x is divided by
:math:`\sqrt{1 + n}` before it, where n is a Gaussian's mean of all channels' x², weighed for each. **Energy**: of V1's
complex cells x is the root of the square sum of two kernels. **Networks**: three
convolutions with ReLUs, of log L and log B, as wide as gives them so many parameters as asked for.

Kernels start from ridge regression, whose penalty is chosen on images left aside, and all is then refined by limited-memory BFGS
on the mean over channels of the unexplained share of variance; networks are trained by Adam, at several learning rates.
Training stops, and the best state is kept, by the score on the images left aside, whole photographs.
"""

from __future__ import annotations

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bridge.padding import channelwise, gaussians, pad
from bridge.reverse_correlation import moments

logger = logging.getLogger("precortical")

#: What light is turned into, and how many maps that makes.
INPUTS = {"luminance": 2, "log": 2, "weber": 1}

#: Luminance that is added before logarithms are taken, cd/m²: about the darkest that responses tell apart.
_DARK = 1.0

#: Least field, cd/m², that a Weber contrast is taken to.
_LEAST_FIELD = 0.1

#: Share of the images that are left aside to stop by.
_ASIDE = 0.15

#: Penalties of ridge regression, relative to the inputs' mean square.
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

#: Networks' learning rates and most passes through the images; images at a time, and iterations of BFGS in a step.
_RATES, _PASSES, _TOGETHER = (3e-4, 1e-3, 3e-3), 120, 16

#: Most steps of BFGS, and images whose derivatives are taken at a time.
_STEPS, _AT_A_TIME = 20, 64

#: Training ends after so many steps without a gain of this share.
_PATIENCE, _GAIN = 6, 1e-3

#: Networks of fewer parameters have kernels of 3 in place of 9 pixels.
_SMALL = 2_000

#: Parameters of the larger network.
LARGE = 30_000


def seen(kind: str, light: Tensor, background: Tensor) -> Tensor:
    """The maps that a rival sees of light and field, (B, 1, H, W) in cd/m² each."""
    if kind == "luminance":
        return torch.cat([light, background], dim=1) / 100
    if kind == "log":
        return torch.cat([(light + _DARK).log(), (background + _DARK).log()], dim=1)
    return (light - background) / background.clamp_min(_LEAST_FIELD)


class Rival(nn.Module, ABC):
    """Light and field, (B, 1, H, W) in cd/m², to responses, (B, K, h, w); what is learned is in their deviations."""

    mean: Tensor
    deviation: Tensor
    centre: Tensor
    spread: Tensor
    kind = "log"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        self.register_buffer("centre", torch.zeros(1, 1, 1))
        self.register_buffer("spread", torch.ones(1, 1, 1))

    def forward(self, light: Tensor, background: Tensor) -> Tensor:
        return self.mean + self.deviation * self.standardised(light, background)

    def maps(self, light: Tensor, background: Tensor) -> Tensor:
        """What is seen of light and field, less its mean and over its deviation on the images fitted."""
        return (seen(self.kind, light, background) - self.centre) / self.spread

    @abstractmethod
    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        """Responses less their mean, over their deviation."""

    @abstractmethod
    def begin(self, light: Tensor, background: Tensor, target: Tensor, aside: Tensor, seed: int) -> None:
        """Guess weights; `target` is standardised, and images marked `aside` only choose among guesses."""

    @abstractmethod
    def trainings(
        self, missed: Callable[[Tensor], Tensor], fitted: Tensor, random: np.random.Generator
    ) -> Iterator[Iterator[None]]:
        """Trainings, each from the guess, a step at a time; `missed` tells what is missed of some of the images `fitted`."""


class LinearNonlinear(Rival):
    """A linear kernel and a static nonlinearity a channel, with or without a divisive pool.

    Parameters
    ----------
    kind : str
        A key of `INPUTS`.
    channels : int
    stride : int
        Pixels between the cells.
    pixels_per_degree : float
    divisive : bool
    reach : float
        Degrees at which kernels are cut.
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
        """What the kernels say, (B, K, h, w)."""
        return _correlated(pad(self.maps(light, background), self.reach, "replicate"), self.weight, self.stride)

    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        x = self.linear(light, background)
        if self.divisive:
            energy = torch.einsum("kj,bjyx->bkyx", self.pool.exp() / len(self.pool), x**2)
            x = x / (1 + _blurred(energy, self.log_radius.exp())).sqrt()
        sharpness = _maps(self.log_sharpness).exp()
        beyond = functional.softplus(sharpness * (x - _maps(self.threshold))) / sharpness
        power = _maps(self.log_power).exp()
        raised = (beyond + 1e-6) ** power
        saturation = 1 + raised * (-power * _maps(self.log_saturation)).exp()
        return _maps(self.offset) + _maps(self.gain) * raised / saturation

    @torch.no_grad()
    def begin(self, light: Tensor, background: Tensor, target: Tensor, aside: Tensor, seed: int) -> None:
        """Kernels by ridge regression, and a nonlinearity that starts nearly straight over what they say."""
        fitted = moments(self.maps(light[~aside], background[~aside]), target[~aside], self.reach, self.stride)
        found = []
        for ridge in _RIDGES:
            kernels, offsets = fitted.kernels(ridge)
            self.weight.copy_(kernels)
            said = self.linear(light[aside], background[aside]) + _maps(offsets.float())
            found.append((float(((said - target[aside]) ** 2).mean()), kernels, offsets))
        _, kernels, offsets = min(found, key=lambda one: one[0])
        # What the kernels say is brought to a deviation of 1, where the nonlinearity is of use.
        flat = kernels.flatten(1)
        scale = torch.einsum("kn,nm,km->k", flat, fitted.gram, flat).sqrt()
        self.weight.copy_(kernels / scale[:, None, None, None])
        middle = flat @ fitted.seen
        self.threshold.copy_(middle / scale - 1)
        self.gain.copy_(scale)
        self.offset.copy_(offsets + middle - scale)
        self.log_saturation.fill_(float(np.log(10.0)))

    def trainings(
        self, missed: Callable[[Tensor], Tensor], fitted: Tensor, random: np.random.Generator
    ) -> Iterator[Iterator[None]]:
        """One, by limited-memory BFGS on all images."""
        optimiser = torch.optim.LBFGS(
            self.parameters(), max_iter=_TOGETHER, history_size=30, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            optimiser.zero_grad()
            total = 0.0
            for some in fitted.split(_AT_A_TIME):
                loss = missed(some) * len(some) / len(fitted)
                loss.backward()
                total += float(loss.detach())
            return total

        def steps() -> Iterator[None]:
            for _ in range(_STEPS):
                optimiser.step(closure)
                yield

        yield steps()


class Energy(LinearNonlinear):
    """The same, of which the second half of the channels, complex cells, have two kernels and the root of their square sum.

    Adelson & Bergen 1985 (J Opt Soc Am A 2:284). Parameters as of `LinearNonlinear`; a channel of the second half belongs to one
    of the first, as kinds' complex cells to their simple ones.
    """

    def __init__(
        self, kind: str, channels: int, stride: int, pixels_per_degree: float, divisive: bool, reach: float = 0.9
    ) -> None:
        super().__init__(kind, channels, stride, pixels_per_degree, divisive, reach)
        self.quadrature = nn.Parameter(torch.zeros_like(self.weight[channels // 2 :]))

    def linear(self, light: Tensor, background: Tensor) -> Tensor:
        """What the kernels say, of complex cells the root of the square sum of two, (B, K, h, w)."""
        around = pad(self.maps(light, background), self.reach, "replicate")
        said = _correlated(around, torch.cat([self.weight, self.quadrature]), self.stride)
        simple, one, other = said.tensor_split((len(self.quadrature), len(self.weight)), dim=1)
        return torch.cat([simple, (one**2 + other**2 + 1e-6).sqrt()], dim=1)

    @torch.no_grad()
    def begin(self, light: Tensor, background: Tensor, target: Tensor, aside: Tensor, seed: int) -> None:
        """Complex cells have their simple cells' kernels, and the same a quarter of a cycle on."""
        super().begin(light, background, target, aside, seed)
        half = len(self.quadrature)
        self.weight[half:] = self.weight[:half]
        self.quadrature.copy_(_quarter_of_a_cycle_on(self.weight[:half]))
        said = self.linear(light[~aside], background[~aside])[:, half:]
        scale = said.std(dim=(0, 2, 3))
        for kernels in (self.weight[half:], self.quadrature):
            kernels /= scale[:, None, None, None]
        self.threshold[half:] = said.mean(dim=(0, 2, 3)) / scale - 1
        self.gain[half:] = 1.0
        self.offset[half:] = -1.0


def _correlated(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`functional.conv2d`; kernels that stand on every pixel go through Fourier's transform, which is faster."""
    if stride > 1:
        return functional.conv2d(x, weight, stride=stride)
    size, taps = x.shape[-2:], weight.shape[-2:]
    product = torch.einsum("bixy,kixy->bkxy", torch.fft.rfft2(x), torch.fft.rfft2(weight, s=size).conj())
    return torch.fft.irfft2(product, s=size)[..., : size[0] - taps[0] + 1, : size[1] - taps[1] + 1]


def _quarter_of_a_cycle_on(kernels: Tensor) -> Tensor:
    """Hilbert's transform of (K, input, tap, tap) across the strongest grating in each."""
    waves = torch.fft.fft2(kernels)
    down, across = (torch.fft.fftfreq(n) for n in kernels.shape[-2:])
    strongest = waves.abs().sum(dim=1).flatten(1).argmax(dim=1)
    row, column = strongest // kernels.shape[-1], strongest % kernels.shape[-1]
    along = down[row][:, None, None] * down[:, None] + across[column][:, None, None] * across
    return torch.fft.ifft2(waves * (-1j * along.sign())[:, None]).real


class Network(Rival):
    """Three convolutions with ReLUs, of log luminance and log background.

    Parameters
    ----------
    channels, stride : int
    parameters : int
        About as many as it has.
    taps : int
        Of each kernel, across and down.
    """

    def __init__(self, channels: int, stride: int, parameters: int, taps: int = 9) -> None:
        super().__init__(channels)
        self.stride, self.reach = stride, taps // 2
        # Of width w: w² + (2 + channels) w kernels, and a bias a map.
        a, b = taps**2, (2 + channels) * taps**2 + 2
        width = max(1, round((-b + np.sqrt(b**2 + 4 * a * (parameters - channels))) / (2 * a)))
        self.layers = nn.ModuleList(
            [nn.Conv2d(2, width, taps), nn.Conv2d(width, width, taps), nn.Conv2d(width, channels, taps)]
        )

    def standardised(self, light: Tensor, background: Tensor) -> Tensor:
        x = self.maps(light, background)
        for k, layer in enumerate(self.layers):
            x = layer(pad(functional.relu(x) if k else x, self.reach, "replicate"))
        return x[..., :: self.stride, :: self.stride]

    @torch.no_grad()
    def begin(self, light: Tensor, background: Tensor, target: Tensor, aside: Tensor, seed: int) -> None:
        """Weights by chance (He et al. 2015); the last layer's are small."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.layers.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
            else:
                parameter.zero_()
        cast(nn.Conv2d, self.layers[-1]).weight.mul_(0.1)

    def trainings(
        self, missed: Callable[[Tensor], Tensor], fitted: Tensor, random: np.random.Generator
    ) -> Iterator[Iterator[None]]:
        """One a learning rate, by Adam (Kingma & Ba 2015), a pass through the images at a step."""
        start = copy.deepcopy(self.state_dict())

        def steps(rate: float) -> Iterator[None]:
            self.load_state_dict(start)
            optimiser = torch.optim.Adam(self.parameters(), lr=rate)
            for _ in range(_PASSES):
                for some in fitted[torch.from_numpy(random.permutation(len(fitted)))].split(_TOGETHER):
                    optimiser.zero_grad()
                    missed(some).backward()
                    optimiser.step()
                yield

        for rate in _RATES:
            yield steps(rate)


def _maps(values: Tensor) -> Tensor:
    return values[:, None, None]


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Each channel of (B, K, h, w) under a Gaussian of its own."""
    widest = float(sigma.detach().max())
    # Where a step has gone astray there is nothing to blur: what comes out tells, and the training ends.
    reach = int(min(3 * widest + 0.5, 4 * x.shape[-1])) if math.isfinite(widest) else 1
    return channelwise(x, gaussians(sigma, max(1, reach)), "mirror")


def rivals(channels: int, stride: int, pixels_per_degree: float, parameters: int) -> dict[str, Rival]:
    """Every rival, by name; networks of as many parameters as the front end, and of 30,000."""
    found: dict[str, Rival] = {}
    for divisive in (False, True):
        for kind in INPUTS:
            name = f"{kind} divisive" if divisive else kind
            found[name] = LinearNonlinear(kind, channels, stride, pixels_per_degree, divisive)
            if stride > 1 and divisive:
                found[f"{name} energy"] = Energy(kind, channels, stride, pixels_per_degree, divisive)
    for size in sorted({parameters, LARGE}):
        # So few parameters as the relay's twin has leave room for small kernels only.
        network = Network(channels, stride, size, taps=9 if size > _SMALL else 3)
        found[f"network of {sum(p.numel() for p in network.parameters()):,} parameters"] = network
    return found


def fit_rival(
    rival: Rival,
    light: Tensor,
    background: Tensor,
    response: Tensor,
    seed: int = 0,
    together: Sequence[str] | None = None,
) -> float:
    """Fit a rival to responses, (image, K, h, w), in place; images that belong `together` are left aside together.

    Returns
    -------
    float
        The unexplained share of variance on the images left aside, mean over channels.
    """
    random = np.random.default_rng([seed, 21])
    labels = np.arange(len(light)) if together is None else np.asarray(together)
    groups = np.unique(labels)
    chosen = random.permutation(groups)[: max(1, round(_ASIDE * len(groups)))]
    aside = torch.from_numpy(np.isin(labels, chosen))
    shown = seen(rival.kind, light[~aside], background[~aside])
    rival.centre, rival.spread = (m[:, None, None] for m in (shown.mean(dim=(0, 2, 3)), shown.std(dim=(0, 2, 3))))
    rival.mean = response.mean(dim=(0, 2, 3))[:, None, None]
    rival.deviation = response.std(dim=(0, 2, 3))[:, None, None]
    target = (response - rival.mean) / rival.deviation

    def missed(chosen: Tensor) -> Tensor:
        return ((rival.standardised(light[chosen], background[chosen]) - target[chosen]) ** 2).mean()

    def on_aside() -> float:
        with torch.no_grad():
            return float(missed(aside))

    rival.begin(light, background, target, aside, seed)
    best, kept = on_aside(), copy.deepcopy(rival.state_dict())
    fitted = torch.nonzero(~aside)[:, 0]
    for steps in rival.trainings(missed, fitted, random):
        waited = 0
        for _ in steps:
            now = on_aside()
            waited += 1
            if now < best:
                if now < (1 - _GAIN) * best:
                    waited = 0
                best, kept = now, copy.deepcopy(rival.state_dict())
            if waited == _PATIENCE or not np.isfinite(now):
                break
        logger.debug("unexplained %.4f on the images left aside", best)
    rival.load_state_dict(kept)
    return best
