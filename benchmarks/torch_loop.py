"""The rate pathway as a loop over tensors: what someone would write in PyTorch instead of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import brian2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from biomodel import retina, v1
from biomodel.circuit import SAMPLING, V1_CLOCK, Specification
from biomodel.station import State
from biomodel.wiring import centre_weights


class Retina(NamedTuple):
    """State of the retina and the relay: (5, image, y, x), (image, y, x), or (image, on and off, y, x)."""

    cascade: Tensor
    z1: Tensor
    z2: Tensor
    photocurrent: Tensor
    signal: Tensor
    horizontal: Tensor
    adaptation: Tensor
    bipolar: Tensor
    ganglion: Tensor
    relay: Tensor


class TorchLoop:
    """Steps the equations of a specification; `compiled` has PyTorch compile the step."""

    def __init__(self, specification: Specification, compiled: bool = False) -> None:
        s = self.specification = specification
        self.p = {name: float(parameter.quantity) for name, parameter in s.parameters.items()}
        self.dt = s.dt / 1000
        ppd = s.grid.pixels_per_degree
        one_side = torch.tensor(centre_weights(s.parameters.value("bipolar.centre_radius"), ppd))
        self.centre = torch.cat([one_side.flip(0)[:-1], one_side])
        self.layer = retina.horizontal_coupling(s.parameters, ppd, s.dt * brian2.ms)
        self.maintained = self._on_and_off("ganglion.midget_on_maintained", "ganglion.midget_off_maintained")
        self.gains = self._on_and_off("bipolar.on_gain", "bipolar.off_gain")
        self.saturations = self._on_and_off("bipolar.on_saturation", "bipolar.off_saturation")
        if s.until == "v1":
            self._afferents(v1.population(s.parameters, ppd))
        compile_: Callable = torch.compile if compiled else lambda function: function
        self.step, self.v1_step = compile_(self._step), compile_(self._v1_step)

    def _on_and_off(self, on: str, off: str) -> Tensor:
        return torch.tensor([self.p[on], self.p[off]], dtype=torch.float64)[:, None, None]

    def _afferents(self, cells: list[v1.SimpleCell]) -> None:
        self.radius = max(int(max(abs(c.afferents.down).max(), abs(c.afferents.right).max())) for c in cells)
        size = 2 * self.radius + 1
        kernels = np.zeros((len(cells), 2, size, size))
        for kernel, cell in zip(kernels, cells, strict=True):
            a = cell.afferents
            np.add.at(kernel, (np.where(a.on, 0, 1), a.down + self.radius, a.right + self.radius), a.weight)
        self.kernels = torch.tensor(kernels)
        self.resting = (self.kernels.sum((2, 3)) @ (self.p["lgn.transfer"] * self.maintained[:, 0, 0]))[:, None, None]

    def _relax(self, value: Tensor, target: Tensor, time: float) -> Tensor:
        return target + (value - target) * math.exp(-self.dt / time)

    def _step(self, light: Tensor, old: Retina) -> Retina:
        p = self.p
        isomerisation = p["cone.isomerisation_rate"] * p["cone.pupil_area"] * light
        share = p["cone.fast_adaptation_share"]
        rate = 1 + p["cone.desensitisation"] * (share * old.cascade[4] + (1 - share) * old.z2)
        target = p["cone.gain"] * old.cascade[4] / rate
        photocurrent = target + (old.photocurrent - target) * torch.exp(-self.dt / p["cone.response_time"] * rate)
        fed_back = old.photocurrent - p["horizontal.feedback"] * old.horizontal
        signal = self._relax(old.signal, fed_back, p["cone.membrane_time"])
        upstream = torch.cat([isomerisation[None], old.cascade[:4]])
        cascade = self._relax(old.cascade, upstream, p["cone.cascade_time"])
        z1 = self._relax(old.z1, isomerisation, p["cone.adaptation_time"])
        z2 = self._relax(old.z2, old.z1, p["cone.adaptation_time"])
        currents = (
            p["horizontal.gain"] * signal - old.horizontal + self.layer.strength * self._junctions(old.horizontal)
        )
        horizontal = old.horizontal + self.dt * p["horizontal.leak"] / p["horizontal.capacitance"] * currents
        pooled = self._pool(signal)
        change = pooled - old.adaptation
        signed = torch.stack([change, -change], 1)
        driven = self.gains * signed / (1 + signed.clamp(min=0) / self.saturations)
        bipolar = self._relax(old.bipolar, driven, p["bipolar.membrane_time"])
        adaptation = self._relax(old.adaptation, pooled, p["bipolar.adaptation_time"])
        excited = (self.maintained + p["ganglion.midget_gain"] * bipolar).clamp(min=0)
        ganglion = self._relax(old.ganglion, excited, p["ganglion.membrane_time"])
        relay = self._relax(old.relay, p["lgn.transfer"] * ganglion, p["lgn.membrane_time"])
        return Retina(cascade, z1, z2, photocurrent, signal, horizontal, adaptation, bipolar, ganglion, relay)

    def _pool(self, signal: Tensor) -> Tensor:
        reach = len(self.centre) // 2
        padded = F.pad(signal[:, None], (reach, reach, reach, reach), mode="replicate")
        along_row = F.conv2d(padded, self.centre[None, None, None, :])
        return F.conv2d(along_row, self.centre[None, None, :, None])[:, 0]

    def _junctions(self, potential: Tensor) -> Tensor:
        reach = max(self.layer.hops)
        height, width = potential.shape[-2:]
        tall = torch.cat([potential[:, :reach].flip(1), potential, potential[:, height - reach :].flip(1)], 1)
        wide = torch.cat([potential[:, :, :reach].flip(2), potential, potential[:, :, width - reach :].flip(2)], 2)
        total = -4 * len(self.layer.hops) * potential
        for hop in self.layer.hops:
            for start in (reach - hop, reach + hop):
                total = total + tall[:, start : start + height] + wide[:, :, start : start + width]
        return total

    def _v1_step(self, relay: Tensor, simple: Tensor) -> Tensor:
        p = self.p
        padded = F.pad(relay, (self.radius,) * 4, mode="replicate")
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
            torch.stack([of[f"cone.y{stage}"] for stage in range(1, 6)]),
            of["cone.z1"],
            of["cone.z2"],
            of["cone.photocurrent"],
            of["cone.signal"],
            of["horizontal.potential"],
            of["bipolar.adaptation"],
            torch.stack([of["bipolar.on"], of["bipolar.off"]], 1),
            torch.stack([of["ganglion.midget_on"], of["ganglion.midget_off"]], 1),
            torch.stack([of["lgn.midget_on"], of["lgn.midget_off"]], 1),
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
            now = self.step(shown, now)
            if v1_tick:
                simple = self.v1_step(now.relay, simple)
        out = {"lgn": torch.stack(relay_samples).mean(0).numpy()}
        if s.until == "v1":
            out["v1"] = torch.stack(simple_samples).mean(0).numpy()
        return out
