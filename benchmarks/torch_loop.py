"""The rate pathway as a loop over tensors: what someone would write in PyTorch instead of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import brian2
import numpy as np
import torch
import torch.nn.functional as F
from scipy import linalg
from torch import Tensor

from biomodel import v1
from biomodel.circuit import SAMPLING, V1_CLOCK, Specification
from biomodel.retina import AMACRINE_CLOCK, BIPOLAR_CHANNELS, GANGLION_CHANNELS, bipolar_centres, horizontal_coupling
from biomodel.station import State
from biomodel.wiring import Coupling, coupling, mirrored_index, stability_limit


class Retina(NamedTuple):
    """State of retina and relay: (5, image, y, x) of the cascade, (image, y, x), or (image, channel, y, x)."""

    cascade: Tensor
    z1: Tensor
    z2: Tensor
    z_slow: Tensor
    photocurrent: Tensor
    signal: Tensor
    horizontal: Tensor
    level: Tensor
    adaptation: Tensor  # midget, diffuse
    bipolar: Tensor  # midget on, midget off, diffuse on, diffuse off
    wide: Tensor
    contrast: Tensor
    input: Tensor  # parasol on, off
    lasting: Tensor
    ganglion: Tensor
    interneuron: Tensor  # midget, parasol
    relay: Tensor


class TorchLoop:
    """Steps the equations of a specification; `compiled` has PyTorch compile the step."""

    def __init__(self, specification: Specification, compiled: bool = False) -> None:
        s = self.specification = specification
        p = self.p = {name: float(parameter.quantity) for name, parameter in s.parameters.items()}
        self.dt = s.dt / 1000
        ppd = s.grid.pixels_per_degree
        self.centres = [
            torch.tensor(np.concatenate([w[:0:-1], w])) for w in bipolar_centres(s.parameters, ppd).values()
        ]
        self.syncytium = horizontal_coupling(s.parameters, ppd, s.dt * brian2.ms)
        self.wide, self.contrast, *self.interneurons = (
            coupling(
                s.parameters.value(f"{name}_space_constant") * ppd,
                stability_limit(p[time] * brian2.second, AMACRINE_CLOCK * s.dt * brian2.ms, AMACRINE_CLOCK),
            )
            for name, time in (
                ("amacrine.surround", "amacrine.surround_time"),
                ("amacrine.contrast", "amacrine.contrast_time"),
                ("lgn.midget_suppression", "lgn.suppression_time"),
                ("lgn.parasol_suppression", "lgn.suppression_time"),
            )
        )
        self.mirrors = {
            reach: tuple(
                torch.from_numpy(mirrored_index(np.arange(-reach, size + reach), size))
                for size in (s.grid.height, s.grid.width)
            )
            for reach in (max(layer.hops) for layer in (self.syncytium, self.wide, self.contrast, *self.interneurons))
        }
        # What a step leaves in each of five like stages, in a row, of what stood in each.
        chain = (np.eye(5, k=-1) - np.eye(5)) / p["cone.cascade_time"]
        self.cascade_decay = torch.tensor(linalg.expm(self.dt * chain))
        self.gains = self._channels("bipolar.on_gain", "bipolar.off_gain")
        self.saturations = self._channels("bipolar.on_saturation", "bipolar.off_saturation")
        self.maintained = self._channels(*(f"ganglion.{channel}_maintained" for channel in GANGLION_CHANNELS))
        classes = [f"ganglion.{channel.split('_')[0]}" for channel in GANGLION_CHANNELS]
        self.ganglion_gains = self._channels(*(f"{name}_gain" for name in classes))
        self.transience = self._channels(*(f"{name}_transience" for name in classes))
        self.transience_decay = torch.exp(-self.dt / self._channels(*(f"{name}_transience_time" for name in classes)))
        self.suppression_half = self._channels("lgn.midget_suppression_half", "lgn.parasol_suppression_half")
        if s.until == "v1":
            self._afferents(v1.population(s.parameters, ppd))
        compile_: Callable = torch.compile if compiled else lambda function: function
        self.step, self.v1_step = compile_(self._step), compile_(self._v1_step)
        self.amacrine_step, self.interneuron_step = compile_(self._amacrine_step), compile_(self._interneuron_step)
        self.relay_step = compile_(self._relay_step)

    def _channels(self, *names: str) -> Tensor:
        return torch.tensor([self.p[name] for name in names], dtype=torch.float64)[:, None, None]

    def _afferents(self, cells: list[v1.SimpleCell]) -> None:
        self.radius = max(int(max(abs(c.afferents.down).max(), abs(c.afferents.right).max())) for c in cells)
        size = 2 * self.radius + 1
        kernels = np.zeros((len(cells), 2, size, size))
        for kernel, cell in zip(kernels, cells, strict=True):
            a = cell.afferents
            np.add.at(kernel, (np.where(a.on, 0, 1), a.down + self.radius, a.right + self.radius), a.weight)
        self.kernels = torch.tensor(kernels)
        self.resting = (self.kernels.sum((2, 3)) @ (self.p["lgn.transfer"] * self.maintained[:2, 0, 0]))[:, None, None]

    def _relax(self, value: Tensor, target: Tensor, time: float) -> Tensor:
        return target + (value - target) * math.exp(-self.dt / time)

    def _step(self, light: Tensor, old: Retina) -> tuple[Retina, Tensor, Tensor]:
        """Cones, horizontal and bipolar cells, and what the two amacrine layers pool."""
        p = self.p
        isomerisation = p["cone.isomerisation_rate"] * p["cone.pupil_area"] * light
        fast, slow = p["cone.fast_adaptation_share"], p["cone.slow_adaptation_share"]
        z = fast * old.cascade[4] + (1 - fast - slow) * old.z2 + slow * old.z_slow
        rate = 1 + p["cone.desensitisation"] * z
        target = p["cone.gain"] * old.cascade[4] / rate
        photocurrent = target + (old.photocurrent - target) * torch.exp(-self.dt / p["cone.response_time"] * rate)
        fed_back = old.photocurrent - p["horizontal.feedback"] * old.horizontal
        signal = self._relax(old.signal, fed_back, p["cone.membrane_time"])
        cascade = isomerisation + torch.tensordot(self.cascade_decay, old.cascade - isomerisation, 1)
        z1 = self._relax(old.z1, isomerisation, p["cone.adaptation_time"])
        z2 = self._relax(old.z2, old.z1, p["cone.adaptation_time"])
        z_slow = self._relax(old.z_slow, isomerisation, p["cone.slow_adaptation_time"])
        currents = p["horizontal.gain"] * signal - old.horizontal + self._inflow(old.horizontal, self.syncytium)
        horizontal = old.horizontal + self.dt * p["horizontal.leak"] / p["horizontal.capacitance"] * currents
        midget, diffuse_centre = (self._pool(signal, centre) for centre in self.centres)
        pooled = torch.stack([midget, diffuse_centre - p["amacrine.surround_weight"] * old.wide], 1)
        gain = 1 / (1 + old.level / p["bipolar.luminance_half"])
        change = gain[:, None] * (pooled - old.adaptation)
        signed = torch.stack([change, -change], 2)
        driven = (self.gains * signed / (1 + signed.clamp(min=0) / self.saturations)).flatten(1, 2)
        bipolar = self._relax(old.bipolar, driven, p["bipolar.membrane_time"])
        adaptation = self._relax(old.adaptation, pooled, p["bipolar.adaptation_time"])
        level = self._relax(old.level, horizontal / p["horizontal.gain"], p["bipolar.luminance_time"])
        contrast_drive = old.bipolar[:, 2:].clamp(min=0).sum(1)
        now = old._replace(
            cascade=cascade,
            z1=z1,
            z2=z2,
            z_slow=z_slow,
            photocurrent=photocurrent,
            signal=signal,
            horizontal=horizontal,
            level=level,
            adaptation=adaptation,
            bipolar=bipolar,
        )
        return now, diffuse_centre, contrast_drive

    def _amacrine_step(self, now: Retina, centre: Tensor, contrast: Tensor) -> Retina:
        p = self.p
        return now._replace(
            wide=self._layer(now.wide, centre, self.wide, p["amacrine.surround_time"]),
            contrast=self._layer(now.contrast, contrast, self.contrast, p["amacrine.contrast_time"]),
        )

    def _relay_step(self, now: Retina) -> tuple[Retina, Tensor]:
        """Ganglion and relay cells, and what the interneurons pool."""
        p = self.p
        reached = torch.cat([now.bipolar[:, :2], now.input], 1)
        excited = self.maintained + self.ganglion_gains * (reached - self.transience * now.lasting)
        lasting = reached + (now.lasting - reached) * self.transience_decay
        shunt = (1 + now.contrast / p["ganglion.contrast_half"])[:, None]
        target = now.bipolar[:, 2:] / shunt
        entered = target + (now.input - target) * torch.exp(-self.dt / p["ganglion.integration_time"] * shunt)
        ganglion = self._relax(now.ganglion, excited.clamp(min=0), p["ganglion.membrane_time"])
        squared = ((ganglion - self.maintained) ** 2).unflatten(1, (2, 2)).sum(2)
        divided = 1 + now.interneuron.clamp(min=0).sqrt() / self.suppression_half
        departing = (ganglion - self.maintained).unflatten(1, (2, 2)) / divided[:, :, None]
        target = p["lgn.transfer"] * (self.maintained + departing.flatten(1, 2))
        relay = self._relax(now.relay, target, p["lgn.membrane_time"])
        return now._replace(input=entered, lasting=lasting, ganglion=ganglion, relay=relay), squared

    def _interneuron_step(self, now: Retina, squared: Tensor) -> Retina:
        time = self.p["lgn.suppression_time"]
        pooled = [
            self._layer(now.interneuron[:, k], squared[:, k], layer, time) for k, layer in enumerate(self.interneurons)
        ]
        return now._replace(interneuron=torch.stack(pooled, 1))

    def _layer(self, pooled: Tensor, drive: Tensor, layer: Coupling, time: float) -> Tensor:
        return pooled + AMACRINE_CLOCK * self.dt / time * (drive - pooled + self._inflow(pooled, layer))

    def _pool(self, signal: Tensor, centre: Tensor) -> Tensor:
        reach = len(centre) // 2
        padded = F.pad(signal[:, None], (reach, reach, reach, reach), mode="replicate")
        along_row = F.conv2d(padded, centre[None, None, None, :])
        return F.conv2d(along_row, centre[None, None, :, None])[:, 0]

    def _inflow(self, potential: Tensor, layer: Coupling) -> Tensor:
        """What flows into each cell from its neighbours, relative to the leak; the layer is mirrored at its edges."""
        reach = max(layer.hops)
        height, width = potential.shape[-2:]
        rows, columns = self.mirrors[reach]
        tall, wide = potential.index_select(1, rows), potential.index_select(2, columns)
        total = -4 * len(layer.hops) * potential
        for hop in layer.hops:
            for start in (reach - hop, reach + hop):
                total = total + tall[:, start : start + height] + wide[:, :, start : start + width]
        return layer.strength * total

    def _v1_step(self, relay: Tensor, simple: Tensor) -> Tensor:
        p = self.p
        padded = F.pad(relay[:, :2], (self.radius,) * 4, mode="replicate")
        drive = F.conv2d(padded, self.kernels, stride=v1.STRIDE)
        excited = (p["v1.spontaneous"] + p["v1.gain"] * (drive - self.resting)).clamp(min=0)
        return excited + (simple - excited) * math.exp(-self.dt * V1_CLOCK / p["v1.membrane_time"])

    @torch.no_grad()
    def run(self, light: np.ndarray, state: State) -> dict[str, np.ndarray]:
        """Mean rates of the relay (image, channel, y, x) and of V1 (image, kind, row, column), Hz.

        Parameters
        ----------
        light : numpy.ndarray, (image, y, x)
            cd/m².
        state : dict
            As `biomodel.circuit.settled` gives it.
        """
        s = self.specification
        of = {name: torch.as_tensor(values) for name, values in state.items()}
        now = Retina(
            torch.stack([of[f"cascade.y{stage}"] for stage in range(1, 6)]),
            of["cone.z1"],
            of["cone.z2"],
            of["cone.z_slow"],
            of["cone.photocurrent"],
            of["cone.signal"],
            of["horizontal.potential"],
            of["bipolar.luminance_level"],
            _stack(of, "bipolar", ("midget_adaptation", "diffuse_adaptation")),
            _stack(of, "bipolar", BIPOLAR_CHANNELS),
            of["wide_amacrine.pooled"],
            of["contrast_amacrine.pooled"],
            _stack(of, "ganglion", ("parasol_on_input", "parasol_off_input")),
            _stack(of, "ganglion", [f"{channel}_lasting" for channel in GANGLION_CHANNELS]),
            _stack(of, "ganglion", GANGLION_CHANNELS),
            torch.stack([of["midget_interneuron.pooled"], of["parasol_interneuron.pooled"]], 1),
            _stack(of, "lgn", GANGLION_CHANNELS),
        )
        shown = torch.as_tensor(light)
        v1_names = [name for name in state if name.startswith("v1.")]
        simple = torch.stack([of[name] for name in v1_names], 1) if v1_names else torch.empty(0)
        relay_samples, simple_samples = [], []
        every = round(SAMPLING / s.dt)
        for k in range(round(s.duration / s.dt)):
            if k % every == 0 and s.window[0] <= k * s.dt < s.window[1]:
                relay_samples.append(now.relay)
            v1_tick = s.until == "v1" and k % V1_CLOCK == 0
            if v1_tick and s.window[0] - SAMPLING <= k * s.dt < s.window[1] - SAMPLING:
                simple_samples.append(simple)
            now, centre, contrast = self.step(shown, now)
            if k % AMACRINE_CLOCK == 0:
                now = self.amacrine_step(now, centre, contrast)
            now, squared = self.relay_step(now)
            if k % AMACRINE_CLOCK == 0:
                now = self.interneuron_step(now, squared)
            if v1_tick:
                simple = self.v1_step(now.relay, simple)
        out = {"lgn": torch.stack(relay_samples).mean(0).numpy()}
        if s.until == "v1":
            out["v1"] = torch.stack(simple_samples).mean(0).numpy()
        return out


def _stack(of: dict[str, Tensor], station: str, variables: Iterable[str]) -> Tensor:
    return torch.stack([of[f"{station}.{variable}"] for variable in variables], 1)
