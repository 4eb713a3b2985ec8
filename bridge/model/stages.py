r"""The differentiable stations, one class each: feed-forward functions of an image and of the background adapted to.

Each class models the mean response of the station of the same name over one presentation. Responses are followed over a few
intervals from the onset on (`bridge.model.time`), because transients decay and gains fall over time.
:math:`\mathcal{T}_\tau` is a first-order low-pass filter of the change since the onset. Parameters that must be positive are
stored as a logarithm or a square root. Lengths are degrees of visual angle, luminance is in cd/m². Initial values are
guesses from the literature, not from any simulation; the fit changes them.

**Cone**: :math:`\tau \dot r = \alpha y - (1 + \beta z)\, r` from :math:`r_0 = \alpha B / (1 + \beta B)`, where y and z go from
the background B to the image L: :math:`y_t = B + a_t (L - B)`, likewise z. y passes a cascade of low-pass filters; one share
of z follows y, one the fast phase of adaptation, the rest the slow phase. Later stations use :math:`\Delta r = r - r_0`.
**Horizontal**: a mixture of Gaussians over the cones' change, which approximates many paths through the syncytium; each
Gaussian has its own :math:`\mathcal{T}`, because distant signals arrive late. Pools of other coupled layers have the same form.
**Bipolar**, midget and diffuse: :math:`d = G_\sigma * (\Delta r - k_f\, \Delta h)`, with one σ for midget, one for diffuse ON and
one for diffuse OFF cells; wide amacrine cells subtract from diffuse cells what they pool of the mean of both signs' d.
Without the sustained component, and divided by the luminance gain control,
:math:`x = (d - \mathcal{T} d) / (1 + q / q_{half})`, where q goes from the horizontal cells' level for the background to
that for the image; then :math:`b = \mathcal{T}\, (\pm g x / (1 + [\pm x]_+ / s))`.
**Ganglion**: :math:`i = \mathcal{T} b`, for parasol cells :math:`\mathcal{T} b / (1 + k / k_{half})`. A share w of the sustained
component u is lost, :math:`\tau \dot u = (1 + c / c_{half})\, (i - u)`, where c is pooled from the diffuse cells' rectified
responses, near a place and far around it, and 0 for midget cells. With the excitation :math:`e = g\, (i - w u)`, the maintained
rate m and the recovery time ρ, limited from below where the rate is 0,

.. math::
    \mathcal{T}\, \frac{e}{1 + \rho (1 + \rho F)\, e}, \quad e \ge \frac{-F}{(1 + \rho F)^2}, \quad m = \frac{F}{1 + \rho F} :

cells that would fire at :math:`f = [F + (1 + \rho F)^2 e]_+` without the recovery fire at f / (1 + ρ f). F is a parameter.
**Contrast adapted to**: k is constant during a presentation. It is 0 where the background is uniform; elsewhere it is the
mean over the image of the contrast that saccades over it evoke. With M the image's mean luminance, and s₀ the share of
adaptation that follows the image at once,

.. math::
    \Delta r = \frac{\alpha L}{1 + \beta (M + s_0 (L - M))} - \frac{\alpha M}{1 + \beta M}, \quad
    k = \Big\langle \sum_\pm \frac{g\, [\pm x]_+}{1 + [\pm x]_+ / s} \Big\rangle ,

where x has the steady pools of Δr, no adaptation, and q for M. The same potentials, now of midget or diffuse cells and with
their signs, have the root mean square K_c; in parasol cells it is divided by :math:`(1 + k / k_{half}) \sqrt{1 + k / c_{half}}`,
what contrast leaves of their transients.
**LGN**: :math:`t\, m + \mathcal{T}\, \max(t_e\, (g - m) / (1 + s / s_{half}),\, -t\, m)`, where s² is pooled from the squared
deviations of the class's ganglion cells from their maintained rates.
**V1 input**: synapses of relay cells depress, :math:`\tau \dot x = 1 - x - v\, l x`, and deliver m + a,
:math:`a = \mathcal{T}\, (l x / x_0 - m) / (1 + K_c / K_{half})^p`, with conduction and synapses in one filter; l are the
relay's rates, m those for a constant field, and x₀ the resources there. The divisor is the adaptation of V1 to contrast.
**V1**: each cell type, on every second pixel, has ON and OFF afferents of the midget or of the parasol class with weights w ≥ 0,
:math:`d = \sum w\, a`; its cell of opposite phase has them exchanged, d′. Push minus pull gives
:math:`u = [d - p\, \mathcal{T} [d']_+]_+^\alpha`, and simple cells fire at
:math:`s_0 + \mathcal{T} R\, u / ((1 + n) (1 + b))`. n is pooled from both phases' u after the exponent, averaged over the cell
types of one class. b is pooled from both phases' rates above rest, by bands of preferred orientation, one share from
the type's own band and the rest from all bands; this loop is iterated a few times. Complex cells sum neighbouring simple cells
of their type with weights ≥ 0. For spiking cells, each channel has its own resting rate, because each receives its own
noise, and complex cells raise their sum to a power, as noise does with a threshold (Priebe & Ferster 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bridge.model.convolution import gaussians, pad, separable
from bridge.model.time import (
    N_INTERVALS,
    LowPass,
    combine_intervals,
    constant,
    log_parameter,
    low_pass_matrices,
    window_mean,
)

#: V1 has a column at every second pixel.
STRIDE = 2
#: Pixels along a side of the squares whose mean contrast is pooled far around a place.
REMOTE_STRIDE = 4
#: Stages of the cones' cascade.
CASCADE = 4
#: Bands of preferred orientation, evenly around the circle, each with its own surround.
BANDS = 4
#: Initial standard deviations of the surround's pools, degrees; each cell type has its own weights of them.
SURROUNDS = (0.2, 0.45, 0.9, 1.8)
#: Initial sum of a cell type's weights of them, per Hz.
_SURROUND = 0.05
#: Iterations of the loop between simple cells and their surround.
ITERATIONS = 3
#: Hz; resting rates are stored relative to it, because bfloat16 rounds logarithms near 0 less.
_REST = 30.0
#: Hz² or mV² added to a pooled square, so that its root has a finite slope at 0.
_FLOOR = 1e-2
#: Hz added to a sum that is raised to a power, for the same reason.
_LEAST_SUM = 1e-3


def _maps(parameter: Tensor) -> Tensor:
    """Logarithms, one per channel, as factors of (..., channel, y, x)."""
    return parameter.exp()[:, None, None]


def _maps_of_images(values: Tensor) -> Tensor:
    """Values of each class (B, 2) as factors of (interval, B, 4, y, x)."""
    return values.repeat_interleave(2, dim=1)[:, :, None, None]


def _ordered(kernels: Tensor, order: Tensor | None) -> Tensor:
    return kernels if order is None else kernels[:, order]


class Pools(nn.Module):
    """Pools of several sizes: Gaussians, each with its own low-pass filter.

    Parameters
    ----------
    radii : tuple of float
        Initial standard deviations, degrees.
    time : float
        Initial time constant of each, in windows.
    pixels_per_degree : float
    reach : float
        Radius at which the kernels are cut, degrees.
    """

    #: Order of the kernels' taps, for shuffled controls; None keeps it.
    order: Tensor | None = None

    def __init__(self, radii: tuple[float, ...], time: float, pixels_per_degree: float, reach: float) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        self.log_radius = log_parameter(*radii)
        self.log_time = log_parameter(*(time for _ in radii))

    def each(self, x: Tensor) -> list[Tensor]:
        """Pool a change since the onset, (interval, ..., y, x), in each size."""
        filters = low_pass_matrices(self.log_time.exp())
        return [combine_intervals(one, pooled) for one, pooled in zip(filters, self.spread(x), strict=True)]

    def spread(self, x: Tensor) -> Iterator[Tensor]:
        """Pool a constant signal, (..., y, x), in each size."""
        kernels = _ordered(gaussians(self.log_radius.exp() * self.pixels_per_degree, self.reach), self.order)
        return (separable(x, kernel, "mirror") for kernel in kernels)


class Pool(Pools):
    """The pool of a layer of coupled cells: a mixture of Gaussians, each with its own low-pass filter."""

    def __init__(self, radii: tuple[float, ...], time: float, pixels_per_degree: float, reach: float) -> None:
        super().__init__(radii, time, pixels_per_degree, reach)
        self.log_weight = log_parameter(*(1 / len(radii) for _ in radii))

    def forward(self, x: Tensor) -> Tensor:
        """Pool a change since the onset, (interval, ..., y, x)."""
        total: Tensor | None = None
        filters = self.log_weight.exp()[:, None, None] * low_pass_matrices(self.log_time.exp())
        for weights, pooled in zip(filters, self.spread(x), strict=True):
            part = combine_intervals(weights, pooled)
            total = part if total is None else total.add_(part)
        return cast(Tensor, total)

    def steady_state(self, x: Tensor) -> Tensor:
        """Pool a constant signal, (..., y, x)."""
        each = zip(self.log_weight.exp(), self.spread(x), strict=True)
        return torch.stack([weight * pooled for weight, pooled in each]).sum(dim=0)


class Cone(nn.Module):
    """Suppressed photocurrent (pA), (interval, B, H, W), of luminance and background, (B, H, W) in cd/m²."""

    def __init__(self) -> None:
        super().__init__()
        # Half of the gain is lost at some 4 cd/m² (36 td; Lee 2003: H1 cells adapt from 10 to 20 td).
        self.log_gain = log_parameter(5.0)
        self.log_desensitisation = log_parameter(0.25)
        self.membrane = LowPass(1.0)
        self.cascade = LowPass(0.02)
        self.fast_adaptation = LowPass(0.75)
        self.slow_adaptation = LowPass(7.5)
        self.adaptation_shares = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))

    def transduction_step(self) -> Tensor:
        """Share of the step from background to image that drives transduction, per interval, (interval,)."""
        return torch.linalg.matrix_power(self.cascade.matrix(), CASCADE).sum(dim=1)

    def adaptation_step(self) -> Tensor:
        """Share of the same step that drives the gain control: immediate, fast and slow components, (interval,)."""
        fast = (self.fast_adaptation.matrix() @ self.fast_adaptation.matrix()).sum(dim=1)
        slow = self.slow_adaptation.matrix().sum(dim=1)
        return torch.stack([self.transduction_step(), fast, slow], dim=1) @ self.adaptation_shares.softmax(dim=0)

    def forward(self, luminance: Tensor, background: Tensor) -> Tensor:
        step = luminance - background
        light = background + self.transduction_step()[:, None, None, None] * step
        adapted = background + self.adaptation_step()[:, None, None, None] * step
        return self.membrane.integrate(
            self._photocurrent(light, adapted), self._conductance(adapted), self.steady_state(background)
        )

    def steady_state(self, background: Tensor) -> Tensor:
        """Photocurrent for a constant field, (B, H, W)."""
        return self._photocurrent(background, background)

    def static_change(self, luminance: Tensor) -> tuple[Tensor, Tensor]:
        """Photocurrent for an image relative to that for its mean, to which all but the immediate share is adapted.

        Returns
        -------
        change : Tensor, (B, H, W)
        rest : Tensor, (B, 1, 1)
            Photocurrent for the mean.
        """
        mean = luminance.mean(dim=(-2, -1), keepdim=True)
        rest = self.steady_state(mean)
        adapted = mean + self.adaptation_shares.softmax(dim=0)[0] * (luminance - mean)
        return self._photocurrent(luminance, adapted) - rest, rest

    def _photocurrent(self, light: Tensor, adapted: Tensor) -> Tensor:
        return self.log_gain.exp() * light / self._conductance(adapted)

    def _conductance(self, adapted: Tensor) -> Tensor:
        return 1 + self.log_desensitisation.exp() * adapted


class Horizontal(nn.Module):
    """Change of potential (mV), (interval, B, H, W), of a change in photocurrent (pA)."""

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.pool = Pool((0.1, 0.3), 0.04, pixels_per_degree, reach=1.5)

    def forward(self, change: Tensor) -> Tensor:
        return self.pool(change)

    def steady_state(self, photocurrent: Tensor) -> Tensor:
        """Potential for a constant field, (B, H, W)."""
        return self.pool.steady_state(photocurrent)


class Bipolar(nn.Module):
    """Potentials relative to rest (mV) of midget ON, midget OFF, diffuse ON and diffuse OFF cells, (interval, B, 4, H, W).

    Parameters
    ----------
    pixels_per_degree : float
    reach : float
        Radius at which the centres are cut, degrees.
    """

    #: Order of the centres' taps, for shuffled controls; None keeps it.
    order: Tensor | None = None

    def __init__(self, pixels_per_degree: float, reach: float = 0.35) -> None:
        super().__init__()
        self.pixels_per_degree = pixels_per_degree
        self.reach = max(1, round(reach * pixels_per_degree))
        # Of midget, diffuse ON and diffuse OFF cells.
        self.log_centre = log_parameter(0.04, 0.08, 0.08)
        # Weight of the surround relative to the centre (Croner & Kaplan 1995).
        self.log_feedback = log_parameter(0.55)
        self.wide_amacrine = Pool((0.15, 0.4), 0.075, pixels_per_degree, reach=1.5)
        self.wide_amacrine.log_weight.data -= 1.0
        self.log_level_gain = log_parameter(0.1)
        self.level = LowPass(0.75)
        self.adaptation = LowPass(7.5)
        self.log_gain = log_parameter(10.0, 10.0, 10.0, 10.0)
        self.log_saturation = log_parameter(100.0, 100.0, 100.0, 100.0)
        self.membrane = LowPass(0.04)

    def forward(self, cone_change: Tensor, horizontal_change: Tensor, horizontal_rest: Tensor) -> Tensor:
        signal = self._signal(cone_change, horizontal_change)
        midget, on, off = (separable(signal, kernel, "replicate") for kernel in self._centres())
        surround = self.wide_amacrine((on + off) / 2)
        # (interval, B, centre, H, W)
        change = torch.stack([midget, on - surround, off - surround], dim=2)
        divisor = self._divisor(horizontal_rest + self.level(horizontal_change))
        change = combine_intervals(self.adaptation.high_pass_matrix(), change) / divisor.unsqueeze(2)
        midget, on, off = change.unbind(dim=2)
        return self.membrane(self._drives(torch.stack([midget, -midget, on, -off], dim=2)))

    def static_contrast(
        self, cone_change: Tensor, horizontal_change: Tensor, horizontal_rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contrast of an image in the steady drives of bipolar cells before they adapt.

        Parameters
        ----------
        cone_change, horizontal_change : Tensor, (B, H, W)
            Steady responses to an image, relative to those to its mean.
        horizontal_rest : Tensor, (B, 1, 1)
            Steady potential for the mean.

        Returns
        -------
        contrast : Tensor, (B,)
            Rectified drives (mV) of diffuse cells, ON plus OFF, mean over an image.
        rms : Tensor, (B, 2)
            Root mean square of the drives (mV) of midget cells, and of diffuse cells.
        """
        signal = self._signal(cone_change, horizontal_change)
        midget, on, off = (separable(signal, kernel, "replicate") for kernel in self._centres())
        surround = self.wide_amacrine.steady_state((on + off) / 2)
        change = torch.stack([midget, -midget, on - surround, surround - off], dim=1)
        drives = self._drives(change / self._divisor(horizontal_rest).unsqueeze(1))
        energy = drives.unflatten(1, (2, 2)).square().mean(dim=(2, 3, 4))
        return drives[:, 2:].clamp_min(0).sum(dim=1).mean(dim=(-2, -1)), (energy + _FLOOR).sqrt() - _FLOOR**0.5

    def _signal(self, cone_change: Tensor, horizontal_change: Tensor) -> Tensor:
        return cone_change - self.log_feedback.exp() * horizontal_change

    def _centres(self) -> Tensor:
        return _ordered(gaussians(self.log_centre.exp() * self.pixels_per_degree, self.reach), self.order)

    def _divisor(self, horizontal: Tensor) -> Tensor:
        return 1 + self.log_level_gain.exp() * horizontal

    def _drives(self, change: Tensor) -> Tensor:
        """Saturating drives of cells, of changes that excite them, both (..., channel, H, W)."""
        saturating = (change.clamp_min(0) / _maps(self.log_saturation)).add_(1)
        return _maps(self.log_gain) * change / saturating


class Ganglion(nn.Module):
    """Change of the rates (Hz) of midget ON and OFF, parasol ON and OFF cells, (interval, B, 4, H, W).

    Its input are potentials of bipolar cells (mV), same shape, and the contrast that each image is adapted to (mV), (B,).
    """

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.contrast_amacrine = Pool((0.05, 0.2), 0.075, pixels_per_degree, reach=1.0)
        self.remote_amacrine = Pool((0.3, 1.0), 0.1, pixels_per_degree / REMOTE_STRIDE, reach=2.5)
        self.remote_amacrine.log_weight.data -= 1.0
        self.log_contrast_gain = log_parameter(0.1)
        self.log_contrast_adaptation = log_parameter(0.1)
        self.midget_integration = LowPass(0.02)
        self.parasol_on_integration = LowPass(0.02)
        self.parasol_off_integration = LowPass(0.02)
        self.transience = nn.Parameter(torch.tensor([1.0, 3.0]))
        self.midget_lasting = LowPass(0.2)
        self.parasol_on_lasting = LowPass(0.2)
        self.parasol_off_lasting = LowPass(0.2)
        # F / _REST; maintained rates, which follow from it, stay below the limit.
        self.log_free_rate = log_parameter(1.0, 1.0, 1.0, 1.0)
        # Seconds.
        self.log_recovery = log_parameter(3e-3, 3e-3)
        self.log_gain = log_parameter(2.0, 2.0, 10.0, 10.0)
        self.membrane = LowPass(0.04)

    @property
    def recovery(self) -> Tensor:
        """Recovery times of the four channels in seconds, (4, 1, 1)."""
        return _maps(self.log_recovery.repeat_interleave(2))

    @property
    def free_rate(self) -> Tensor:
        """Rates (Hz) for a constant field that cells would have without the recovery, (4, 1, 1)."""
        return _REST * _maps(self.log_free_rate)

    @property
    def maintained(self) -> Tensor:
        """Maintained rates for a constant field, (4, 1, 1)."""
        free = self.free_rate
        return free / (1 + self.recovery * free)

    def forward(self, bipolar: Tensor, contrast: Tensor) -> Tensor:
        midget, diffuse = bipolar.split(2, dim=2)
        shares = self.transience.sigmoid()
        filtered = self.midget_lasting.high_pass_matrix(shares[0]) @ self.midget_integration.matrix()
        adapted = self._loss(contrast).view(-1, 1, 1)
        local = diffuse.clamp_min(0).sum(dim=2)
        pooled = self.contrast_amacrine(local) + self._remote(local)
        speed = 1 + self.log_contrast_gain.exp() * pooled
        on = self.parasol_on_integration, self.parasol_on_lasting
        off = self.parasol_off_integration, self.parasol_off_lasting
        parasol = []
        for (integration, lasting), cells in zip((on, off), diffuse.unbind(dim=2), strict=True):
            entered = integration(cells) / adapted
            parasol.append(entered - shares[1] * lasting.integrate(entered, speed))
        excitation = torch.cat([combine_intervals(filtered, midget), torch.stack(parasol, dim=2)], dim=2)
        return self.membrane(self.limit(excitation * _maps(self.log_gain)))

    def _remote(self, local: Tensor) -> Tensor:
        """Contrast far around each place, (interval, B, H, W), pooled from means over squares of pixels."""
        height, width = local.shape[-2:]
        means = functional.avg_pool2d(local.flatten(0, 1)[:, None], REMOTE_STRIDE, ceil_mode=True)[:, 0]
        pooled = self.remote_amacrine(means.unflatten(0, local.shape[:2]))
        fine = pooled.repeat_interleave(REMOTE_STRIDE, dim=-2).repeat_interleave(REMOTE_STRIDE, dim=-1)
        return fine[..., :height, :width]

    def _loss(self, contrast: Tensor) -> Tensor:
        """Divisor of the input of parasol cells that are adapted to a contrast (mV)."""
        return 1 + self.log_contrast_adaptation.exp() * contrast

    def evoked_rms(self, rms: Tensor, contrast: Tensor) -> Tensor:
        """What transients leave of the root mean square (B, 2) of steady drives (mV), in an image of some contrast (B,)."""
        weight = sum(pool.log_weight.exp().sum() for pool in (self.contrast_amacrine, self.remote_amacrine))
        transience = (1 + self.log_contrast_gain.exp() * weight * contrast).sqrt()
        midget, parasol = rms.unbind(dim=1)
        return torch.stack([midget, parasol / (self._loss(contrast) * transience)], dim=1)

    def limit(self, excitation: Tensor) -> Tensor:
        """Steady change of rates (Hz) of an excitation (Hz), (..., 4, H, W): from minus the maintained rate up to the limit."""
        free, recovery = self.free_rate, self.recovery
        # 1 / (1 - recovery · maintained rate)
        steeper = 1 + recovery * free
        # At this excitation the rate is 0; the divisor stays above 0.
        excitation = excitation.clamp_min(-free / steeper**2)
        return excitation / (1 + recovery * steeper * excitation)


class LGN(nn.Module):
    """Drive of relay cells relative to rest, (interval, B, 4, H, W), of the change of ganglion cells' rates (Hz)."""

    def __init__(self, pixels_per_degree: float) -> None:
        super().__init__()
        self.log_transfer = log_parameter(0.5, 0.5, 0.5, 0.5)
        self.log_evoked_transfer = log_parameter(0.9, 0.9, 0.9, 0.9)
        self.midget_suppression = Pool((0.1, 0.4), 0.1, pixels_per_degree, reach=1.3)
        self.parasol_suppression = Pool((0.1, 0.4), 0.1, pixels_per_degree, reach=1.3)
        self.log_suppression_gain = log_parameter(0.03, 0.03)
        self.membrane = LowPass(0.04)

    def forward(self, ganglion: Tensor) -> Tensor:
        pools = self.midget_suppression, self.parasol_suppression
        pairs = (cells.unbind(dim=2) for cells in ganglion.split(2, dim=2))
        squares = (on.square().addcmul_(off, off) for on, off in pairs)
        energy = torch.stack([pool(each) for pool, each in zip(pools, squares, strict=True)], dim=2)
        gain = _maps(self.log_suppression_gain)
        divisor = (gain * energy.add_(_FLOOR).sqrt_()).add_(1 - _FLOOR**0.5 * gain)
        return (ganglion.unflatten(2, (2, 2)) / divisor.unsqueeze(3)).flatten(2, 3)

    def rates(self, drive: Tensor, maintained: Tensor) -> Tensor:
        """Rates (Hz) per interval, (interval, B, 4, H, W); `maintained` are the ganglion cells' rates, (4, 1, 1)."""
        return self.steady_state(maintained) + self.membrane(self._departure(drive, maintained))

    def mean_rates(self, drive: Tensor, maintained: Tensor) -> Tensor:
        """Mean rates (Hz) over the window, (B, 4, H, W)."""
        return self.steady_state(maintained) + self.membrane.window_mean(self._departure(drive, maintained))

    def _departure(self, drive: Tensor, maintained: Tensor) -> Tensor:
        """Departure (Hz) from the rates for a constant field, before the membrane; rates are 0 or more."""
        return (_maps(self.log_evoked_transfer) * drive).maximum(-self.steady_state(maintained))

    def steady_state(self, maintained: Tensor) -> Tensor:
        """Rates (Hz) for a constant field, (4, 1, 1)."""
        return _maps(self.log_transfer) * maintained


class V1Input(nn.Module):
    """Change (Hz) of what depressing synapses deliver, (interval, B, 4, H, W), of rates of relay cells (Hz), same shape.

    `maintained` (4, 1, 1) are the rates of relay cells for a constant field; the synapses then deliver the same. `contrast`
    (B, 2) is the contrast that the synapses of each class are adapted to (mV).
    """

    def __init__(self) -> None:
        super().__init__()
        self.recovery = LowPass(2.5)
        self.log_release = log_parameter(0.02, 0.02)
        self.log_contrast_adaptation = log_parameter(0.1, 0.1)
        self.log_adaptation_exponent = log_parameter(0.5)
        self.midget_synapse = LowPass(0.04)
        self.parasol_synapse = LowPass(0.04)

    def forward(self, relay: Tensor, maintained: Tensor, contrast: Tensor) -> Tensor:
        release = _maps(self.log_release.repeat_interleave(2))
        rested = (1 / (1 + release * maintained)).expand_as(relay[0])
        depletion = 1 + release * relay
        resource = self.recovery.integrate(1 / depletion, depletion, rested)
        loss = (1 + self.log_contrast_adaptation.exp() * contrast) ** self.log_adaptation_exponent.exp()
        change = (relay * resource / rested - maintained) / _maps_of_images(loss)
        midget, parasol = change.chunk(2, dim=2)
        return torch.cat([self.midget_synapse(midget), self.parasol_synapse(parasol)], dim=2)


class V1(nn.Module):
    """Rates (Hz) of K types of simple and of complex cells, (B, 2 K, ceil(H/2), ceil(W/2)), of `V1Input`.

    Parameters
    ----------
    orientations : sequence of float
        Preferred orientation of each cell type, degrees. Channels are the simple cells of every type, then the complex cells.
    pixels_per_degree : float
    reach : float
        Half-width of the square that holds a cell's afferents, degrees.
    spiking : bool
        Whether it models spiking cells.
    """

    class_shares: Tensor
    bands: Tensor

    def __init__(
        self, orientations: Sequence[float], pixels_per_degree: float, reach: float = 0.9, spiking: bool = False
    ) -> None:
        super().__init__()
        n_types = len(orientations)
        self.orientations = tuple(float(angle) for angle in orientations)
        self.reach = max(1, round(reach * pixels_per_degree))
        self.complex_reach = max(1, round(reach * pixels_per_degree / STRIDE))
        taps, complex_taps = 2 * self.reach + 1, 2 * self.complex_reach + 1
        self.root_weight = nn.Parameter(torch.full((n_types, 2, taps, taps), 0.1 / taps))
        self.root_complex_weight = nn.Parameter(torch.full((n_types, 2, complex_taps, complex_taps), 1 / complex_taps))
        self.register_buffer("bands", _bands(self.orientations), persistent=False)
        self.set_relay_classes([False] * n_types)
        self.spiking = spiking
        self.log_spontaneous = log_parameter(*[1.0] * (2 * n_types if spiking else 1))
        if spiking:
            self.log_complex_exponent = log_parameter(*[1.0] * n_types)
        self.log_inhibition = log_parameter(0.7)
        self.inhibitory = LowPass(0.04)
        self.log_maximum_rate = log_parameter(50.0)
        self.log_exponent = log_parameter(2.5)
        self.normalisation = Pool((0.15, 0.4), 0.075, pixels_per_degree / STRIDE, reach=2.0)
        self.surround = Pools(SURROUNDS, 0.15, pixels_per_degree / STRIDE, reach=4.0)
        self.log_surround_weight = nn.Parameter(torch.full((n_types, len(SURROUNDS)), _SURROUND / len(SURROUNDS)).log())
        self.surround_tuning = nn.Parameter(torch.tensor(0.0))
        self.membrane = LowPass(0.075)
        self.complex_membrane = LowPass(0.075)

    def set_relay_classes(self, parasol: Sequence[bool]) -> None:
        """Set whether the afferents of each cell type are parasol cells, or midget cells.

        `class_shares`, (class, K), are the weights with which types average over those of the same class.
        """
        self.parasol = tuple(bool(one) for one in parasol)
        member = self.bands.new_tensor([[not one for one in self.parasol], self.parasol])
        self.register_buffer("class_shares", member / member.sum(dim=1, keepdim=True).clamp(min=1), persistent=False)

    @property
    def spontaneous(self) -> Tensor:
        """Rates (Hz) for a constant field, one for all channels or one each, (1 or 2 K, 1, 1)."""
        return _maps(self.log_spontaneous)

    def forward(self, synaptic: Tensor) -> Tensor:
        """Mean rates (Hz) over the window, of synaptic input relative to its resting level, (interval, B, 4, H, W)."""
        return self.respond(self.drives(synaptic))

    def respond(self, drives: Tensor) -> Tensor:
        """Mean rates (Hz) over the window, (B, 2 K, h, w), of `drives`."""
        rates = self.simple_rates(self.excitation(drives))
        return self.spontaneous + torch.cat([window_mean(rates[0]), self.complex_rates(rates)], dim=1)

    def drives(self, synaptic: Tensor) -> Tensor:
        """Drive of simple cells of both phases, ON and OFF exchanged in the second, (phase, interval, B, K, h, w)."""
        weight = self.root_weight**2
        around = pad(synaptic.flatten(0, 1), self.reach, "replicate").chunk(2, dim=1)
        classes = [[k for k, parasol in enumerate(self.parasol) if parasol == one] for one in (False, True)]
        afferent = [
            functional.conv2d(maps, torch.cat([weight[one], weight[one].flip(1)]), stride=STRIDE).unflatten(1, (2, -1))
            for maps, one in zip(around, classes, strict=True)
            if one
        ]
        places = [k for one in classes for k in one]
        order = sorted(range(len(places)), key=places.__getitem__)
        return (
            torch.cat(afferent, dim=2)[:, :, constant(order, synaptic, torch.long)]
            .unflatten(0, (N_INTERVALS, -1))
            .movedim(2, 0)
        )

    def excitation(self, drives: Tensor) -> Tensor:
        """Push minus pull, rectified and raised to a power; same shape as `drives`."""
        pull = torch.stack([self.inhibitory(drive) for drive in functional.relu(drives.flip(0))])
        return functional.relu(drives - self.log_inhibition.exp() * pull) ** self.log_exponent.exp()

    def simple_rates(self, excitation: Tensor) -> Tensor:
        """Rates (Hz) above rest of simple cells of both phases, (phase, interval, B, K, h, w)."""
        driven = self.log_maximum_rate.exp() * excitation / self.divisors(excitation)
        return torch.stack([self.membrane(one) for one in driven])

    def divisors(self, excitation: Tensor) -> Tensor:
        """Divisor of the excitation by normalisation and surround, (interval, B, K, h, w)."""
        total = excitation.sum(dim=0)
        pooled = self.normalisation(torch.einsum("nk,pbkyx->pbnyx", self.class_shares.to(total), total))
        normalised = 1 + pooled[:, :, constant(self.parasol, pooled, torch.long)]
        driven = self.log_maximum_rate.exp() * total / normalised
        suppressed = torch.ones_like(total)
        for _ in range(ITERATIONS):
            suppressed = 1 + self.suppression(self.membrane(driven / suppressed))
        return normalised * suppressed

    def suppression(self, rates: Tensor) -> Tensor:
        """Suppression of every cell type by its surround: the divisor minus 1."""
        bands, share = self.bands.to(rates), self.surround_tuning.sigmoid()
        mean = torch.einsum("nk,pbkyx->pbnyx", bands / bands.sum(dim=1, keepdim=True), rates)
        tuning = share * bands.T + (1 - share) / len(bands)
        weight = self.log_surround_weight.exp()[:, :, None] * tuning[:, None]
        return torch.einsum("kn,pbnyx->pbkyx", weight.flatten(1), torch.cat(self.surround.each(mean), dim=2))

    def complex_input(self, rates: Tensor) -> Tensor:
        """Input of complex cells from each simple cell at weight 1, mean over the window, (B, K · phase, h, w)."""
        return torch.stack([self.complex_membrane.window_mean(one) for one in rates], dim=2).flatten(1, 2)

    def complex_rates(self, rates: Tensor) -> Tensor:
        """Mean rates (Hz) above rest of complex cells over the window, (B, K, h, w), of `simple_rates`."""
        around = pad(self.complex_input(rates), self.complex_reach, "replicate")
        summed = functional.conv2d(around, self.root_complex_weight**2, groups=len(self.root_complex_weight))
        return (summed + _LEAST_SUM) ** _maps(self.log_complex_exponent) if self.spiking else summed


def _bands(orientations: Sequence[float]) -> Tensor:
    """Membership of cell types in bands of preferred orientation, (band, K) of 0 and 1; empty bands are left out."""
    band = [round(angle / (180 / BANDS)) % BANDS for angle in orientations]
    return torch.tensor([[float(one == each) for each in band] for one in range(BANDS) if one in band])
