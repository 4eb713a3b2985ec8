r"""The differentiable twins, one class a station: feed-forward functions of an image and a background.

Each carries its station's name and stands for its mean response over the window of one presentation. Much of what the
stations do depends on when: what is transient fades, and gains fall. A twin therefore follows its response through a few
parts of the time since the onset, short ones first, one value each; what is recorded is the mean over those that lie in the
window. Whatever takes time is a first-order low-pass of what changed at the onset, :math:`\mathcal{T}_\tau`, of time
constants in windows. What biology makes positive is kept as a logarithm or a root. Lengths are degrees of visual angle,
luminance is in cd/m². Twins start from the guesses written here, which were not taken from any simulation, and learn from
responses.

**Cone**: :math:`\tau \dot r = \alpha y - (1 + \beta z)\, r` from :math:`r_0 = \alpha B / (1 + \beta B)`, with y and z on
their way from the background B to the image L: :math:`y_t = B + a_t (L - B)`, likewise z. y has come through a cascade of
low-passes; of z a share comes with y, another after the fast phase of adaptation, the rest after the slow one. Later
stations see the change :math:`\Delta r = r - r_0`.
**Horizontal**: a mixture of Gaussians over the cones' change, the sum of many paths through the syncytium; each has its
:math:`\mathcal{T}`, for what comes from far comes late. What other layers of coupled cells pool is of the same form.
**Bipolar**, midget and diffuse: :math:`d = G_\sigma * (\Delta r - k\, \Delta h)`, for diffuse cells less the share that the
wide amacrine cells pool of it; less what lasts, and divided by the luminance gain control,
:math:`x = (d - \mathcal{T} d) / (1 + q / q_{half})`, where q goes from the horizontal cells' level before the background
to that before the image; then :math:`b = \mathcal{T}\, (\pm g x / (1 + [\pm x]_+ / s))`.
**Ganglion**: i is what the bipolar cells say, for parasol cells through a low-pass whose gain and time constant are both
divided by :math:`1 + c / c_{half}`, where c is pooled from the diffuse cells' rectified responses. A share w of what lasts is
lost: :math:`\mathcal{T} [m + g (i - w \mathcal{T} i)]_+`.
**LGN**: :math:`t\, (m + \mathcal{T}\, (g - m) / (1 + s / s_{half}))`, where s² is pooled from the squared departures of
the class's ganglion cells from their maintained rates.
**V1**: synapses of relay cells run down, :math:`\tau \dot x = 1 - x - v\, l x`, and what arrives is
:math:`a = \mathcal{T}\, (l x / x_0 - m)`, conduction and synapses taken together. Each kind of cells, on every second pixel,
hears ON and OFF cells of the midget or of the parasol class with weights w ≥ 0, :math:`d = \sum w\, a`; its cell of the opposite
phase hears them exchanged, d′. Push less pull gives :math:`u = [d - p\, \mathcal{T} [d']_+]_+^\alpha`, and simple cells fire
:math:`s_0 + \mathcal{T} R\, u / ((1 + n) (1 + b))`. n is pooled from both phases' u, which is
raised to its power already, their mean over the kinds of one class; b from what both fire beyond rest, by bands of preferred
orientations, a share from the kind's own band and the rest from all; the loop is gone through a few times. Complex cells sum
neighbouring simple cells of their kind with weights ≥ 0. Of cells that spike, each channel has a rest of its own, for each hears
noise of its own, and a kind's complex cells raise their sum to a power, as noise makes of a threshold (Priebe & Ferster 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bridge.model.convolution import gaussians, pad, separable

#: V1 stands on every second pixel.
STRIDE = 2

#: How long the parts last that a response is followed through from the onset, in windows; the first lie before the window.
DURATIONS = (0.11, 0.11, 0.11, 0.1, 0.18, 0.28, 0.44)
BEFORE = 3
PARTS = len(DURATIONS)

#: From the end of each part to the start of each later one, (later, earlier).
_GAPS = [[sum(DURATIONS[earlier + 1 : later], 0.0) for earlier in range(PARTS)] for later in range(PARTS)]

#: Stages of the cones' cascade.
CASCADE = 4

#: Bands of preferred orientations, even around the circle, each with a surround of its own.
BANDS = 4

#: How often simple cells hear what their surround has made of the last time.
ROUNDS = 3

#: Hz² added to a pooled square, so that its root has a slope at 0.
_FLOOR = 1e-2

#: Hz added to a sum that is raised to a power, for the same reason.
_LEAST_SUM = 1e-3


def _logarithm(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values).log())


def _maps(parameter: Tensor) -> Tensor:
    """Logarithms, one a channel, as factors of (..., channel, y, x)."""
    return parameter.exp()[:, None, None]


def _signed_maps(parameter: Tensor) -> Tensor:
    """Logarithms, of both signs of each class, as factors of (..., class, sign, y, x)."""
    return parameter.exp().view(-1, 2, 1, 1)


class LowPass(nn.Module):
    """A first-order low-pass of what changed from rest at the onset, (PARTS, ...), means over parts to means over parts.

    Parameters
    ----------
    time : float
        Guess of the time constant, in windows.
    """

    def __init__(self, time: float) -> None:
        super().__init__()
        self.log_time = _logarithm(time)

    def matrix(self) -> Tensor:
        """The weights, (PARTS, PARTS): of the part that is told, of the part that is seen."""
        return _low_pass(self.log_time.exp())[0]

    def follow(self, x: Tensor, conductance: Tensor, start: Tensor | None = None) -> Tensor:
        """The same part by part; `conductance`, (PARTS, ...), shortens the time constant and divides what is told."""
        target = x / conductance
        rate = conductance * (_parts(DURATIONS, x) / self.log_time.exp()).view(-1, *[1] * (conductance.ndim - 1))
        kept = torch.exp(-rate)
        share = -torch.expm1(-rate) / rate
        state = torch.zeros_like(target[0]) if start is None else start
        means = []
        for part in range(PARTS):
            means.append(torch.lerp(target[part], state, share[part]))
            state = torch.lerp(target[part], state, kept[part])
        return torch.stack(means)

    def forward(self, x: Tensor) -> Tensor:
        return told(self.matrix(), x)

    def recorded(self, x: Tensor) -> Tensor:
        """The mean over the window of what it makes of (PARTS, ...)."""
        return told(_window(x) @ self.matrix(), x)

    def passed(self, share: Tensor | float = 1.0) -> Tensor:
        """The weights of what passes when a share of what lasts is lost, (PARTS, PARTS)."""
        return torch.eye(PARTS, dtype=self.log_time.dtype, device=self.log_time.device) - share * self.matrix()


def _low_pass(times: Tensor) -> Tensor:
    """First-order low-passes of time constants (K,) as weights, (K, part told, part seen)."""
    # In bfloat16 what a slow one lets through would drown in rounding.
    exact = times if times.dtype in (torch.float32, torch.float64) else times.float()
    rate = _parts(DURATIONS, exact) / exact[:, None]
    left = -torch.expm1(-rate)
    share = left / rate
    earlier = torch.exp(-_parts(_GAPS, exact) / exact[:, None, None]).tril(-1)
    return (torch.diag_embed(1 - share) + share[:, :, None] * earlier * left[:, None, :]).to(times)


def _parts(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def told(weights: Tensor, x: Tensor) -> Tensor:
    """Weighted sums over the parts of (PARTS, ...): (Q, ...) of weights (Q, PARTS), (...) of weights (PARTS,)."""
    return (weights @ x.flatten(1)).view(*weights.shape[:-1], *x.shape[1:])


def _window(like: Tensor) -> Tensor:
    """The share that each part has in the window, (PARTS,)."""
    return functional.pad(_parts(DURATIONS[BEFORE:], like), (BEFORE, 0))


def recorded(x: Tensor) -> Tensor:
    """The mean over the window of (PARTS, ...)."""
    return told(_parts(DURATIONS[BEFORE:], x), x[BEFORE:])


def _ordered(kernels: Tensor, order: Tensor | None) -> Tensor:
    return kernels if order is None else kernels[:, order]


class Pool(nn.Module):
    """What a layer of coupled cells pools: a mixture of Gaussians, each with its low-pass, for what is wide comes late.

    Parameters
    ----------
    radii : tuple of float
        Guesses of standard deviations, degrees.
    time : float
        Guess of the time constants, in windows.
    pixels_per_degree : float
    reach : float
        Degrees at which the kernel is cut.
    """

    #: The order of its taps, where it is not their own.
    order: Tensor | None = None

    def __init__(self, radii: tuple[float, ...], time: float, pixels_per_degree: float, reach: float) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        self.log_radius = _logarithm(*radii)
        self.log_weight = _logarithm(*(1 / len(radii) for _ in radii))
        self.log_time = _logarithm(*(time for _ in radii))

    def forward(self, x: Tensor) -> Tensor:
        """Of what changed from rest at the onset, (PARTS, ..., y, x)."""
        total: Tensor | None = None
        for weights, pooled in zip(self.weights(), self._components(x), strict=True):
            part = told(weights, pooled)
            total = part if total is None else total.add_(part)
        return cast(Tensor, total)

    def weights(self) -> Tensor:
        """Of each Gaussian, how it counts over time, (K, PARTS, PARTS)."""
        return self.log_weight.exp()[:, None, None] * _low_pass(self.log_time.exp())

    def settled(self, x: Tensor) -> Tensor:
        """Of what stands still, (..., y, x)."""
        each = zip(self.log_weight.exp(), self._components(x), strict=True)
        return torch.stack([weight * pooled for weight, pooled in each]).sum(dim=0)

    def _components(self, x: Tensor) -> Iterator[Tensor]:
        kernels = _ordered(gaussians(self.log_radius.exp() * self.pixels_per_degree, self.reach), self.order)
        return (separable(x, kernel, "mirror") for kernel in kernels)


class Cone(nn.Module):
    """Suppressed photocurrent (pA), (PARTS, B, H, W), of luminance, given the field adapted to; (B, H, W) in cd/m²."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = _logarithm(1.0)
        self.log_desensitisation = _logarithm(0.02)
        self.membrane = LowPass(0.1)
        self.cascade = LowPass(0.03)
        self.fast_adaptation = LowPass(1.0)
        self.slow_adaptation = LowPass(10.0)
        self.adaptation_shares = nn.Parameter(torch.tensor([-2.0, 0.0, 0.0]))

    def arrived(self) -> Tensor:
        """How much of the step from background to image has come to transduction, in each part, (PARTS,)."""
        return torch.linalg.matrix_power(self.cascade.matrix(), CASCADE).sum(dim=1)

    def adapted(self) -> Tensor:
        """How much of it has come to the gain control: at once, over some time, slowly."""
        fast = (self.fast_adaptation.matrix() @ self.fast_adaptation.matrix()).sum(dim=1)
        slow = self.slow_adaptation.matrix().sum(dim=1)
        return torch.stack([self.arrived(), fast, slow], dim=1) @ self.adaptation_shares.softmax(dim=0)

    def forward(self, luminance: Tensor, background: Tensor) -> Tensor:
        step = luminance - background
        seen = background + self.arrived()[:, None, None, None] * step
        adapted = background + self.adapted()[:, None, None, None] * step
        conductance = 1 + self.log_desensitisation.exp() * adapted
        return self.membrane.follow(self.log_gain.exp() * seen, conductance, self.settled(background))

    def settled(self, background: Tensor) -> Tensor:
        """The photocurrent before a field that stands still, (B, H, W)."""
        return self.log_gain.exp() * background / (1 + self.log_desensitisation.exp() * background)


class Horizontal(nn.Module):
    """Change of potential (mV) that a change in photocurrent (pA) makes, (PARTS, B, H, W).

    Parameters
    ----------
    pixels_per_degree : float
    """

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.pool = Pool((0.1, 0.3), 0.05, pixels_per_degree, reach=1.5)

    def forward(self, change: Tensor) -> Tensor:
        return self.pool(change)

    def settled(self, photocurrent: Tensor) -> Tensor:
        """The potential before a field that stands still, (B, H, W)."""
        return self.pool.settled(photocurrent)


class Bipolar(nn.Module):
    """Potentials about rest (mV) of midget ON and OFF, diffuse ON and OFF cells, (PARTS, B, 4, H, W).

    Parameters
    ----------
    pixels_per_degree : float
    reach : float
        Degrees at which the centres are cut.
    """

    #: The order of the centres' taps, where it is not their own.
    order: Tensor | None = None

    def __init__(self, pixels_per_degree: float, reach: float = 0.35) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        self.log_centre = _logarithm(0.04, 0.08)
        # The surround's weight over the centre's (Croner & Kaplan 1995).
        self.log_feedback = _logarithm(0.55)
        self.wide_amacrine = Pool((0.15, 0.4), 0.1, pixels_per_degree, reach=1.5)
        self.wide_amacrine.log_weight.data -= 1.0
        self.log_level_gain = _logarithm(0.1)
        self.level = LowPass(1.0)
        self.adaptation = LowPass(10.0)
        self.log_gain = _logarithm(2.0, 2.0, 2.0, 2.0)
        self.log_saturation = _logarithm(50.0, 50.0, 50.0, 50.0)
        self.membrane = LowPass(0.05)

    def forward(self, cone_change: Tensor, horizontal_change: Tensor, horizontal_settled: Tensor) -> Tensor:
        signal = cone_change - self.log_feedback.exp() * horizontal_change
        centres = _ordered(gaussians(self.log_centre.exp() * self.pixels_per_degree, self.reach), self.order)
        midget, diffuse = (separable(signal, kernel, "replicate") for kernel in centres)
        # (PARTS, B, class, H, W), and then (PARTS, B, class, sign, H, W)
        change = torch.stack([midget, diffuse - self.wide_amacrine(diffuse)], dim=2)
        divisor = 1 + self.log_level_gain.exp() * (horizontal_settled + self.level(horizontal_change))
        change = told(self.adaptation.passed(), change) / divisor.unsqueeze(2)
        signed = torch.stack([change, -change], dim=3)
        saturating = signed.clamp_min(0).div_(_signed_maps(self.log_saturation)).add_(1)
        return self.membrane((_signed_maps(self.log_gain) * signed).div_(saturating).flatten(2, 3))


class Ganglion(nn.Module):
    """Change of the rates (Hz) of midget ON and OFF, parasol ON and OFF cells, of bipolar potentials (mV), (PARTS, B, 4, H, W).

    Parameters
    ----------
    pixels_per_degree : float
    """

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.contrast_amacrine = Pool((0.05, 0.2), 0.1, pixels_per_degree, reach=1.0)
        self.log_contrast_gain = _logarithm(0.3)
        self.integration = LowPass(0.1)
        self.transience = nn.Parameter(torch.tensor([0.0, 3.0]))
        self.midget_lasting = LowPass(0.3)
        self.parasol_lasting = LowPass(0.3)
        self.log_maintained = _logarithm(30.0, 30.0, 30.0, 30.0)
        self.log_gain = _logarithm(10.0, 10.0, 50.0, 50.0)
        self.membrane = LowPass(0.05)

    @property
    def maintained(self) -> Tensor:
        """The rates before a field that stands still, (4, 1, 1)."""
        return _maps(self.log_maintained)

    def forward(self, bipolar: Tensor) -> Tensor:
        midget, diffuse = bipolar.split(2, dim=2)
        contrast = self.contrast_amacrine(diffuse.clamp_min(0).sum(dim=2))
        parasol = self.integration.follow(diffuse, 1 + self.log_contrast_gain.exp() * contrast.unsqueeze(2))
        shares = self.transience.sigmoid()
        told_midget = told(self.midget_lasting.passed(shares[0]), midget)
        told_parasol = told(self.parasol_lasting.passed(shares[1]), parasol)
        change = torch.cat([told_midget, told_parasol], dim=2).mul_(_maps(self.log_gain))
        return self.membrane(change.clamp_min_(-self.maintained))


class LGN(nn.Module):
    """What drives relay cells from their rates (Hz), of ganglion cells' change (Hz), (PARTS, B, 4, H, W).

    Parameters
    ----------
    pixels_per_degree : float
    """

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.log_transfer = _logarithm(0.5, 0.5, 0.5, 0.5)
        self.midget_suppression = Pool((0.05, 0.2), 0.1, pixels_per_degree, reach=0.8)
        self.parasol_suppression = Pool((0.05, 0.2), 0.1, pixels_per_degree, reach=0.8)
        self.log_suppression_gain = _logarithm(0.01, 0.01)
        self.membrane = LowPass(0.05)

    def forward(self, ganglion: Tensor) -> Tensor:
        pools = self.midget_suppression, self.parasol_suppression
        pairs = (cells.unbind(dim=2) for cells in ganglion.split(2, dim=2))
        squares = (on.square().addcmul_(off, off) for on, off in pairs)
        energy = torch.stack([pool(each) for pool, each in zip(pools, squares, strict=True)], dim=2)
        gain = _maps(self.log_suppression_gain)
        divisor = (gain * energy.add_(_FLOOR).sqrt_()).add_(1 - _FLOOR**0.5 * gain)
        return (ganglion.unflatten(2, (2, 2)) / divisor.unsqueeze(3)).flatten(2, 3)

    def rates(self, driven: Tensor, maintained: Tensor) -> Tensor:
        """Rates part by part, (PARTS, B, 4, H, W), given the ganglion cells' maintained ones, (4, 1, 1)."""
        return self.settled(maintained) + _maps(self.log_transfer) * self.membrane(driven)

    def recorded(self, driven: Tensor, maintained: Tensor) -> Tensor:
        """Rates over the window, (B, 4, H, W)."""
        return self.settled(maintained) + _maps(self.log_transfer) * self.membrane.recorded(driven)

    def settled(self, maintained: Tensor) -> Tensor:
        """The rates before a field that stands still, (4, 1, 1)."""
        return _maps(self.log_transfer) * maintained


class V1(nn.Module):
    """Rates (Hz) of simple and complex cells, (B, 2 K, ceil(H/2), ceil(W/2)), of relay rates (Hz), (PARTS, B, 4, H, W).

    Parameters
    ----------
    orientations : sequence of float
        Degrees that each kind of cells prefers; each is a channel of simple cells, and one of complex cells after those.
    pixels_per_degree : float
    reach : float
        Degrees from a cell, across and down, within which its afferents are sought.
    spiking : bool
        Whether it stands for cells that spike.
    """

    relays: Tensor
    bands: Tensor

    def __init__(
        self, orientations: Sequence[float], pixels_per_degree: float, reach: float = 0.9, spiking: bool = False
    ) -> None:
        super().__init__()
        kinds = len(orientations)
        self.orientations = tuple(float(angle) for angle in orientations)
        self.reach = max(1, round(reach * pixels_per_degree))
        self.complex_reach = max(1, round(reach * pixels_per_degree / STRIDE))
        taps, complex_taps = 2 * self.reach + 1, 2 * self.complex_reach + 1
        self.root_weight = nn.Parameter(torch.full((kinds, 2, taps, taps), 0.1 / taps))
        self.root_complex_weight = nn.Parameter(torch.full((kinds, 2, complex_taps, complex_taps), 1 / complex_taps))
        self.register_buffer("bands", _bands(self.orientations), persistent=False)
        self.hear([False] * kinds)
        self.spiking = spiking
        self.log_spontaneous = _logarithm(*[1.0] * (2 * kinds if spiking else 1))
        if spiking:
            self.log_complex_exponent = _logarithm(*[1.0] * kinds)
        self.recovery = LowPass(3.0)
        self.log_release = _logarithm(0.02, 0.02)
        self.midget_synapse = LowPass(0.05)
        self.parasol_synapse = LowPass(0.05)
        self.log_inhibition = _logarithm(0.7)
        self.inhibitory = LowPass(0.05)
        self.log_maximum_rate = _logarithm(50.0)
        self.log_exponent = _logarithm(2.5)
        self.normalisation = Pool((0.15, 0.4), 0.1, pixels_per_degree / STRIDE, reach=2.0)
        self.surround = Pool((0.4, 1.0), 0.2, pixels_per_degree / STRIDE, reach=3.0)
        self.surround.log_weight.data -= 3.0
        self.surround_tuning = nn.Parameter(torch.tensor(0.0))
        self.membrane = LowPass(0.1)
        self.complex_membrane = LowPass(0.1)

    def hear(self, parasol: Sequence[bool]) -> None:
        """Let each kind hear parasol, or midget cells.

        `relays`, (class, K), is each kind's share in the mean over those that hear midget, or parasol cells.
        """
        self.parasol = tuple(bool(one) for one in parasol)
        member = self.bands.new_tensor([[not one for one in self.parasol], self.parasol])
        self.register_buffer("relays", member / member.sum(dim=1, keepdim=True).clamp(min=1), persistent=False)

    @property
    def spontaneous(self) -> Tensor:
        """The rates before a field that stands still, one of all channels or of each, (1 or 2 K, 1, 1)."""
        return _maps(self.log_spontaneous)

    def forward(self, relay: Tensor, maintained: Tensor) -> Tensor:
        """Rates over the window; `maintained` are those of the relay before a field that stands still, (4, 1, 1)."""
        return self.respond(self.drives(self.arriving(relay, maintained)))

    def respond(self, drives: Tensor) -> Tensor:
        """Rates over the window, (B, 2 K, h, w), of what `drives` told."""
        fired = self.fired(self.powers(drives))
        return self.spontaneous + torch.cat([recorded(fired[0]), self.pooled(fired)], dim=1)

    def arriving(self, relay: Tensor, maintained: Tensor) -> Tensor:
        """What relay cells have sent through synapses that run down, beyond what they send at rest; of `relay`'s shape."""
        release = _maps(self.log_release.repeat_interleave(2))
        rested = (1 / (1 + release * maintained)).expand_as(relay[0])
        resource = self.recovery.follow(torch.ones_like(relay), 1 + release * relay, rested)
        midget, parasol = (relay * resource / rested - maintained).chunk(2, dim=2)
        return torch.cat([self.midget_synapse(midget), self.parasol_synapse(parasol)], dim=2)

    def drives(self, arriving: Tensor) -> Tensor:
        """What drives simple cells, (phase, PARTS, B, K, h, w): of their own phase, and of the opposite, ON and OFF exchanged."""
        weight = self.root_weight**2
        around = pad(arriving.flatten(0, 1), self.reach, "replicate").chunk(2, dim=1)
        classes = [[k for k, parasol in enumerate(self.parasol) if parasol == one] for one in (False, True)]
        heard = [
            functional.conv2d(maps, torch.cat([weight[one], weight[one].flip(1)]), stride=STRIDE).unflatten(1, (2, -1))
            for maps, one in zip(around, classes, strict=True)
            if one
        ]
        places = [k for one in classes for k in one]
        order = sorted(range(len(places)), key=places.__getitem__)
        return torch.cat(heard, dim=2)[:, :, order].unflatten(0, (PARTS, -1)).movedim(2, 0)

    def powers(self, drives: Tensor) -> Tensor:
        """Push less pull, rectified and raised to a power, of the shape of `drives`."""
        pull = torch.stack([self.inhibitory(drive) for drive in functional.relu(drives.flip(0))])
        return functional.relu(drives - self.log_inhibition.exp() * pull) ** self.log_exponent.exp()

    def fired(self, powers: Tensor) -> Tensor:
        """What simple cells of both phases fire beyond rest, (phase, PARTS, B, K, h, w)."""
        driven = self.log_maximum_rate.exp() * powers / self.divisors(powers)
        return torch.stack([self.membrane(one) for one in driven])

    def divisors(self, powers: Tensor) -> Tensor:
        """What normalisation and surround divide simple cells' powers by, (PARTS, B, K, h, w)."""
        total = powers.sum(dim=0)
        pooled = self.normalisation(torch.einsum("nk,pbkyx->pbnyx", self.relays.to(total), total))
        normalised = 1 + pooled[:, :, [int(one) for one in self.parasol]]
        driven = self.log_maximum_rate.exp() * total / normalised
        suppressed = torch.ones_like(total)
        for _ in range(ROUNDS):
            suppressed = 1 + self.suppression(self.membrane(driven / suppressed))
        return normalised * suppressed

    def suppression(self, fired: Tensor) -> Tensor:
        """What the surround divides by, less 1, for every kind."""
        bands = self.bands.to(fired)
        pooled = self.surround(torch.einsum("nk,pbkyx->pbnyx", bands / bands.sum(dim=1, keepdim=True), fired))
        own = torch.einsum("nk,pbnyx->pbkyx", bands, pooled)
        share = self.surround_tuning.sigmoid()
        return share * own + (1 - share) * pooled.mean(dim=2, keepdim=True)

    def reaching_complex(self, fired: Tensor) -> Tensor:
        """What each simple cell makes complex cells fire, weighed with 1, over the window, (B, K · phase, h, w)."""
        return torch.stack([self.complex_membrane.recorded(one) for one in fired], dim=2).flatten(1, 2)

    def pooled(self, fired: Tensor) -> Tensor:
        """What complex cells fire beyond rest, over the window, (B, K, h, w)."""
        around = pad(self.reaching_complex(fired), self.complex_reach, "replicate")
        summed = functional.conv2d(around, self.root_complex_weight**2, groups=len(self.root_complex_weight))
        return (summed + _LEAST_SUM) ** _maps(self.log_complex_exponent) if self.spiking else summed


def _bands(orientations: Sequence[float]) -> Tensor:
    """Which kinds belong to which band of preferred orientations, (band, K) of 0 and 1; bands without any are left out."""
    band = [round(angle / (180 / BANDS)) % BANDS for angle in orientations]
    return torch.tensor([[float(one == each) for each in band] for one in range(BANDS) if one in band])
