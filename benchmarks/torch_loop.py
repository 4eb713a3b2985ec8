"""The rate pathway as a loop over tensors in PyTorch: an independent implementation, and a baseline for speed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import brian2
import numpy as np
import torch
import torch.nn.functional as F
from scipy import linalg, sparse
from torch import Tensor

from biomodel.circuit import lgn, v1, v1_input
from biomodel.circuit.cell_types import SIZES, CellType, cell_types
from biomodel.circuit.coupled_layer import Coupling, coupling, stability_limit
from biomodel.circuit.lattice import Grid, mirrored_index
from biomodel.circuit.retina import (
    AMACRINE_CLOCK,
    BIPOLAR_CHANNELS,
    GANGLION_CHANNELS,
    REMOTE_STRIDE,
    bipolar_centres,
    cell_class,
    horizontal_coupling,
)
from biomodel.circuit.specification import V1_CLOCK
from biomodel.circuit.station import State
from biomodel.engine.plan import Plan


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
    adaptation: Tensor  # midget, diffuse on, diffuse off
    bipolar: Tensor  # midget on, midget off, diffuse on, diffuse off
    wide: Tensor
    contrast: Tensor
    remote: Tensor  # on a coarse lattice
    adapted: Tensor  # to contrast
    input: Tensor  # of ganglion cells: midget on, midget off, parasol on, parasol off
    lasting: Tensor
    ganglion: Tensor
    interneuron: Tensor  # midget, parasol
    relay: Tensor


class Cortex(NamedTuple):
    """State of V1: synapses (image, channel, y, x), cells (image, [phase,] type, y, x), layers (image, layer, y, x)."""

    arrived: Tensor
    resource: Tensor
    sent: Tensor
    variance: Tensor  # of the contrast adapted to: midget, parasol
    adapted: Tensor  # contrast adapted to
    loss: Tensor
    simple: Tensor  # of a cell type's own and of the opposite phase
    complex: Tensor
    inhibitory: Tensor  # their partners
    normalisation: Tensor
    surround: Tensor  # (image, size, band, y, x)


class TorchLoop:
    """A loop over the equations of a specification without lesions; with `compiled`, PyTorch compiles each step."""

    def __init__(self, plan: Plan, compiled: bool = False) -> None:
        self.plan = plan
        s = self.specification = plan.specification
        p = self.p = {name: float(parameter.quantity) for name, parameter in s.parameters.items()}
        self.dt = s.dt / 1000
        ppd = s.grid.pixels_per_degree
        self.centres = [
            torch.tensor(np.concatenate([w[:0:-1], w])) for w in bipolar_centres(s.parameters, ppd).values()
        ]
        self.syncytium = horizontal_coupling(s.parameters, ppd, s.dt * brian2.ms)
        coarse, middles, squares = replace(s.grid, images=1).coarser(REMOTE_STRIDE)
        self.middles, self.squares = torch.from_numpy(middles), torch.from_numpy(squares)
        self.wide, self.contrast, self.remote, *self.interneurons = (
            coupling(
                s.parameters.value(f"{name}_space_constant") * cells_per_degree,
                stability_limit(p[time] * brian2.second, every * s.dt * brian2.ms, every),
            )
            for name, time, every, cells_per_degree in (
                ("amacrine.surround", "amacrine.surround_time", AMACRINE_CLOCK, ppd),
                ("amacrine.contrast", "amacrine.contrast_time", AMACRINE_CLOCK, ppd),
                ("amacrine.remote", "amacrine.remote_time", AMACRINE_CLOCK, coarse.pixels_per_degree),
                ("lgn.midget_suppression", "lgn.suppression_time", 1, ppd),
                ("lgn.parasol_suppression", "lgn.suppression_time", 1, ppd),
            )
        )
        self.mirrors: dict[tuple[int, int], Tensor] = {}
        self._mirror(s.grid, self.syncytium, self.wide, self.contrast, *self.interneurons)
        self._mirror(coarse, self.remote)
        # The exact update of five equal stages in series.
        chain = (np.eye(5, k=-1) - np.eye(5)) / p["cone.cascade_time"]
        self.cascade_decay = torch.tensor(linalg.expm(self.dt * chain))
        sides = [f"bipolar.{channel.split('_')[1]}" for channel in BIPOLAR_CHANNELS]
        self.gains = self._channels(*(f"{name}_gain" for name in sides))
        self.saturations = self._channels(*(f"{name}_saturation" for name in sides))
        self.maintained = self._channels(*(f"ganglion.{channel}_maintained" for channel in GANGLION_CHANNELS))
        classes = [f"ganglion.{cell_class(channel)}" for channel in GANGLION_CHANNELS]
        self.ganglion_gains = self._channels(*(f"{name}_gain" for name in classes))
        self.transience = self._channels(*(f"{name}_transience" for name in classes))
        self.recovery = self._channels(*(f"{name}_recovery_time" for name in classes))
        # The two midget channels share their times; parasol channels have their own.
        kinds = [*classes[:2], *(f"ganglion.{channel}" for channel in GANGLION_CHANNELS[2:])]
        self.integration_decay = torch.exp(-self.dt / self._channels(*(f"{name}_integration_time" for name in kinds)))
        self.transience_rate = 1 / self._channels(*(f"{name}_transience_time" for name in kinds))
        self.suppression_half = self._channels("lgn.midget_suppression_half", "lgn.parasol_suppression_half")
        if s.output == "v1":
            self._cortex(cell_types(s.parameters, ppd))
        compile_: Callable = torch.compile if compiled else lambda function: function
        self.step = compile_(self._step)
        self.amacrine_step, self.relay_step = compile_(self._amacrine_step), compile_(self._relay_step)
        self.adaptation_step = compile_(self._adaptation_step)
        self.synapse_step, self.v1_step = compile_(self._synapse_step), compile_(self._v1_step)

    def _channels(self, *names: str) -> Tensor:
        return torch.tensor([self.p[name] for name in names], dtype=torch.float64)[:, None, None]

    def _mirror(self, grid: Grid, *layers: Coupling) -> None:
        """Store the indices of neighbours for layers of this grid, by reach and size."""
        for reach in (max(layer.hops) for layer in layers):
            for size in (grid.height, grid.width):
                folded = mirrored_index(np.arange(-reach, size + reach), size)
                self.mirrors[reach, size] = torch.from_numpy(folded)

    def _cortex(self, cells: list[CellType]) -> None:
        """Prepare V1: its connections, the afferents at rest, and the layers."""
        s, p = self.specification, self.specification.parameters
        self.columns = v1.lattice_of(replace(s.grid, images=1))
        self.afferents = self._afferents(cells)
        self.neighbours = self._neighbours(cells)
        self.rested, maintained = (
            torch.tensor([of[channel] for channel in GANGLION_CHANNELS], dtype=torch.float64)[:, None, None]
            for of in (v1_input.resting_resources(p), lgn.maintained(p))
        )
        self.resting_relay = maintained
        self.contrast_half = self._channels("v1.midget_contrast_half", "v1.parasol_contrast_half")
        self.release = self._channels(*(f"v1.{cell_class(channel)}_release" for channel in GANGLION_CHANNELS))
        self.resting = self._input(maintained.expand(1, -1, s.grid.height, s.grid.width))
        bands = [members for members in v1.types_by_band(cells) if members]
        self.members = torch.zeros((len(bands), len(cells)), dtype=torch.float64)
        for band, members in enumerate(bands):
            self.members[band, members] = 1 / len(members)
        self.band = self.members.argmax(0)
        self.sizes = [size for size in SIZES if any(cell.surround == size for cell in cells)]
        self.size = torch.tensor([self.sizes.index(cell.surround) for cell in cells])
        self.relays = torch.zeros((len(v1.RELAYS), len(cells)), dtype=torch.float64)
        for relay, members in enumerate(v1.types_by_relay(cells).values()):
            self.relays[relay, members] = 1 / max(1, len(members))
        self.relay = self.relays.argmax(0)
        self.normalisation, *self.surrounds = (
            coupling(
                p.value(f"v1.{layer}_space_constant") * self.columns.pixels_per_degree,
                stability_limit(p[time].quantity, s.clock("v1"), V1_CLOCK),
            )
            for layer, time in (
                ("normalisation", "v1.normalisation_time"),
                *((f"{size}_surround", "v1.surround_time") for size in self.sizes),
            )
        )
        self._mirror(self.columns, self.normalisation, *self.surrounds)

    def _afferents(self, cells: list[CellType]) -> Tensor:
        """Weights of simple cells, then of their partners (rows), over the relay channels' cells (columns)."""
        s, grid = self.specification, replace(self.specification.grid, images=1)
        places = [v1.lattice(size, grid.pixels_per_degree) for size in (grid.height, grid.width)]
        terms_of_types = [v1.afferent_terms(s.parameters, cell) for cell in cells]
        rows = [terms[side] for side in (0, 1) for terms in terms_of_types]
        sources = [
            [
                (
                    weight,
                    GANGLION_CHANNELS.index(name.removeprefix("sent_")) * grid.cells + grid.neighbour(*at, *places),
                )
                for weight, name, at in terms
            ]
            for terms in rows
        ]
        return _sparse(sources, self.columns.cells, len(GANGLION_CHANNELS) * grid.cells)

    def _neighbours(self, cells: list[CellType]) -> Tensor:
        """Weights of complex cells (rows) over the simple cells of their types, of both phases (columns)."""
        grid = self.columns
        sources = []
        for kind, cell in enumerate(cells):
            places = [grid.neighbour(*at) for at in v1.complex_pool_offsets(cell, grid.pixels_per_degree)]
            blocks = [block * grid.cells for block in (kind, len(cells) + kind)]
            sources.append([(0.5 / len(places), block + place) for place in places for block in blocks])
        return _sparse(sources, grid.cells, 2 * len(cells) * grid.cells)

    def _input(self, sent: Tensor) -> Tensor:
        """Input of simple cells of either phase, (image, 2, cell type, row, column)."""
        return self._product(self.afferents, sent).unflatten(1, (2, -1))

    def _product(self, weights: Tensor, sources: Tensor) -> Tensor:
        """Weighted sums over cells of an image, (image, cell type, row, column)."""
        sums = (weights @ sources.flatten(1).T.contiguous()).T
        return sums.reshape(len(sources), -1, self.columns.height, self.columns.width)

    def _relax(self, value: Tensor, target: Tensor, time: float, every: int = 1) -> Tensor:
        return target + (value - target) * math.exp(-self.dt * every / time)

    def _step(self, light: Tensor, old: Retina) -> tuple[Retina, Tensor, Tensor]:
        """Cones, horizontal and bipolar cells, and the input of the two amacrine layers."""
        p = self.p
        isomerisation = p["cone.isomerisation_rate"] * light
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
        midget, diffuse_on, diffuse_off = (self._pool(signal, centre) for centre in self.centres)
        diffuse_centre = (diffuse_on + diffuse_off) / 2
        surround = p["amacrine.surround_weight"] * old.wide
        pooled = torch.stack([midget, diffuse_on - surround, diffuse_off - surround], 1)
        gain = 1 / (1 + old.level / p["bipolar.luminance_half"])
        change = gain[:, None] * (pooled - old.adaptation)
        signed = torch.stack([change[:, 0], -change[:, 0], change[:, 1], -change[:, 2]], 1)
        driven = self.gains * signed / (1 + signed.clamp(min=0) / self.saturations)
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
        pooled = self._layer(now.contrast, contrast, self.contrast, p["amacrine.contrast_time"], AMACRINE_CLOCK)
        far = pooled.flatten(1)[:, self.middles].view_as(now.remote)
        return now._replace(
            wide=self._layer(now.wide, centre, self.wide, p["amacrine.surround_time"], AMACRINE_CLOCK),
            contrast=pooled,
            remote=self._layer(now.remote, far, self.remote, p["amacrine.remote_time"], AMACRINE_CLOCK),
        )

    def _relay_step(self, now: Retina, remote: Tensor) -> Retina:
        """Ganglion and relay cells, and the relay's interneurons; ganglion cells read `remote` before its step."""
        p = self.p
        excitation = self.ganglion_gains * (now.input - self.transience * now.lasting)
        spared = 1 - self.recovery * self.maintained
        free = ((self.maintained + excitation / spared) / spared).clamp(min=0)
        ganglion = self._relax(now.ganglion, free / (1 + self.recovery * free), p["ganglion.membrane_time"])
        weakened = now.bipolar[:, 2:] / (1 + now.adapted / p["ganglion.adaptation_half"])[:, None]
        reached = torch.cat([now.bipolar[:, :2], weakened], 1)
        entered = reached + (now.input - reached) * self.integration_decay
        far = p["ganglion.remote_weight"] * remote.flatten(1)[:, self.squares].view_as(now.contrast)
        speed = (1 + (now.contrast + far) / p["ganglion.contrast_half"])[:, None]
        rate = self.transience_rate * torch.cat([torch.ones_like(speed).expand(-1, 2, -1, -1), speed, speed], 1)
        lasting = now.input + (now.lasting - now.input) * torch.exp(-self.dt * rate)
        adapted = self._relax(now.adapted, now.contrast, p["ganglion.adaptation_time"])
        squared = ((ganglion - self.maintained) ** 2).unflatten(1, (2, 2)).sum(2)
        divided = 1 + now.interneuron.clamp(min=0).sqrt() / self.suppression_half
        departing = (ganglion - self.maintained).unflatten(1, (2, 2)) / divided[:, :, None]
        target = p["lgn.transfer"] * self.maintained + p["lgn.evoked_transfer"] * departing.flatten(1, 2)
        relay = self._relax(now.relay, target.clamp(min=0), p["lgn.membrane_time"])
        pooled = [
            self._layer(now.interneuron[:, k], squared[:, k], layer, p["lgn.suppression_time"])
            for k, layer in enumerate(self.interneurons)
        ]
        return now._replace(
            adapted=adapted,
            input=entered,
            lasting=lasting,
            ganglion=ganglion,
            interneuron=torch.stack(pooled, 1),
            relay=relay,
        )

    def _layer(self, pooled: Tensor, drive: Tensor, layer: Coupling, time: float, every: int = 1) -> Tensor:
        return pooled + every * self.dt / time * (drive - pooled + self._inflow(pooled, layer))

    def _pool(self, signal: Tensor, centre: Tensor) -> Tensor:
        reach = len(centre) // 2
        padded = F.pad(signal[:, None], (reach, reach, reach, reach), mode="replicate")
        along_row = F.conv2d(padded, centre[None, None, None, :])
        return F.conv2d(along_row, centre[None, None, :, None])[:, 0]

    def _inflow(self, potential: Tensor, layer: Coupling) -> Tensor:
        """Current from each cell's neighbours, relative to the leak; the layer is mirrored at its edges."""
        reach = max(layer.hops)
        height, width = potential.shape[-2:]
        tall = potential.index_select(1, self.mirrors[reach, height])
        wide = potential.index_select(2, self.mirrors[reach, width])
        total = -4 * len(layer.hops) * potential
        for hop in layer.hops:
            for start in (reach - hop, reach + hop):
                total = total + tall[:, start : start + height] + wide[:, :, start : start + width]
        return layer.strength * total

    def _adaptation_step(self, now: Cortex, interneuron: Tensor) -> Cortex:
        """Contrast that the thalamocortical synapses of each class are adapted to."""
        step = self.dt * V1_CLOCK * v1_input.ADAPTATION_CLOCK
        p = self.p
        fast, slow = (-math.expm1(-step / p[f"v1.{name}_time"]) for name in ("contrast", "contrast_adaptation"))
        variance = now.variance + fast * (interneuron - now.variance)
        adapted = now.adapted + slow * (variance.clamp(min=0).sqrt() - now.adapted)
        loss = (1 + adapted / self.contrast_half) ** p["v1.contrast_adaptation_exponent"]
        return now._replace(variance=variance, adapted=adapted, loss=loss)

    def _synapse_step(self, now: Cortex, relay: Tensor) -> Cortex:
        """Arriving rates, resources and output of the thalamocortical synapses."""
        p = self.p
        recovery = 1 / p["v1.recovery_time"]
        rate = recovery + self.release * now.arrived
        left = recovery / rate
        resource = left + (now.resource - left) * torch.exp(-self.dt * V1_CLOCK * rate)
        departing = now.arrived * now.resource / self.rested - self.resting_relay
        delivered = self.resting_relay + departing / now.loss.repeat_interleave(2, 1)
        sent = self._relax(now.sent, delivered, p["v1.synaptic_time"], V1_CLOCK)
        arrived = self._relax(now.arrived, relay, p["v1.conduction_time"], V1_CLOCK)
        return now._replace(arrived=arrived, resource=resource, sent=sent)

    def _v1_step(self, now: Cortex, afferents: Tensor, neighbours: Tensor) -> Cortex:
        """Cells of V1, then the layers that pool them."""
        p, spontaneous = self.p, self.p["v1.spontaneous"]
        drive = afferents - self.resting
        excited = (drive - p["v1.inhibition"] * now.inhibitory).clamp(min=0)
        power = (excited / p["v1.semisaturation"]) ** p["v1.exponent"]
        pool = 1 + p["v1.normalisation_weight"] * now.normalisation[:, self.relay]
        tuning = p["v1.surround_tuning"]
        own, mean = now.surround[:, self.size, self.band], now.surround.mean(2)[:, self.size]
        suppression = tuning * own + (1 - tuning) * mean
        share = p["v1.maximum_rate"] / pool / (1 + suppression / p["v1.surround_half"])
        evoked = share[:, None] * power
        summed = p["v1.complex_gain"] * (neighbours - spontaneous)
        simple, complex_ = (
            self._relax(rate, spontaneous + departure, p["v1.membrane_time"], V1_CLOCK)
            for rate, departure in ((now.simple, evoked), (now.complex, summed))
        )
        opposite = drive.flip(1).clamp(min=0)
        inhibitory = self._relax(now.inhibitory, opposite, p["v1.inhibitory_time"], V1_CLOCK)
        mean = torch.einsum("rk,nkyx->nryx", self.relays, power.sum(1))
        normalisation = self._layer(
            now.normalisation.flatten(0, 1),
            mean.flatten(0, 1),
            self.normalisation,
            p["v1.normalisation_time"],
            V1_CLOCK,
        ).unflatten(0, now.normalisation.shape[:2])
        fired = torch.einsum("bk,npkyx->nbyx", self.members, simple) - 2 * spontaneous
        images_and_bands = fired.shape[:2]
        pooled = [
            self._layer(old.flatten(0, 1), fired.flatten(0, 1), layer, p["v1.surround_time"], V1_CLOCK)
            for old, layer in zip(now.surround.unbind(1), self.surrounds, strict=True)
        ]
        surround = torch.stack([one.unflatten(0, images_and_bands) for one in pooled], 1)
        return now._replace(
            simple=simple, complex=complex_, inhibitory=inhibitory, normalisation=normalisation, surround=surround
        )

    @torch.no_grad()
    def run(self, light: np.ndarray, state: State) -> dict[str, np.ndarray]:
        """Mean rates of the relay (image, channel, y, x) and of V1 (image, channel, row, column), Hz.

        Parameters
        ----------
        light : numpy.ndarray, (image, y, x)
            cd/m².
        state : dict
            As `biomodel.circuit.steady_state` returns it.
        """
        s = self.specification
        of = {name: torch.as_tensor(values) for name, values in state.items()}
        now, cortex = _retina(of), _cortex(of) if s.output == "v1" else None
        # On the retina: times the area of the pupil, in SI units.
        shown = torch.as_tensor(light * state["cascade.pupil_area"])
        samples: dict[str, list[Tensor]] = {"lgn": []} if cortex is None else {"lgn": [], "v1": []}
        recordings, window = self.plan.recordings, self.plan.settings.window
        sampled = {
            name: {round(k * recordings[name].step / s.dt) for k in recordings[name].samples(window)}
            for name in samples
        }
        for k in range(round(self.plan.settings.duration / s.dt)):
            if k in sampled["lgn"]:
                samples["lgn"].append(now.relay)
            if cortex is not None and k in sampled["v1"]:
                samples["v1"].append(torch.cat([cortex.simple[:, 0], cortex.complex], 1))
            now, centre, contrast = self.step(shown, now)
            remote = now.remote
            if k % AMACRINE_CLOCK == 0:
                now = self.amacrine_step(now, centre, contrast)
            now = self.relay_step(now, remote)
            if cortex is not None and k % (V1_CLOCK * v1_input.ADAPTATION_CLOCK) == 0:
                cortex = self.adaptation_step(cortex, now.interneuron)
            if cortex is not None and k % V1_CLOCK == 0:
                cortex = self.synapse_step(cortex, now.relay)
                neighbours = self._product(self.neighbours, cortex.simple)
                cortex = self.v1_step(cortex, self._input(cortex.sent), neighbours)
        return {name: torch.stack(rates).mean(0).numpy() for name, rates in samples.items()}


def _retina(of: dict[str, Tensor]) -> Retina:
    return Retina(
        torch.stack([of[f"cascade.y{stage}"] for stage in range(1, 6)]),
        of["cone.z1"],
        of["cone.z2"],
        of["cone.z_slow"],
        of["cone.photocurrent"],
        of["cone.signal"],
        of["horizontal.potential"],
        of["bipolar.luminance_level"],
        _stack(of, "bipolar", [f"{name}_adaptation" for name in ("midget", "diffuse_on", "diffuse_off")]),
        _stack(of, "bipolar", BIPOLAR_CHANNELS),
        of["wide_amacrine.pooled"],
        of["contrast_amacrine.pooled"],
        of["remote_amacrine.pooled"],
        of["ganglion.adapted"],
        _stack(of, "ganglion", [f"{channel}_input" for channel in GANGLION_CHANNELS]),
        _stack(of, "ganglion", [f"{channel}_lasting" for channel in GANGLION_CHANNELS]),
        _stack(of, "ganglion", GANGLION_CHANNELS),
        torch.stack([of["midget_interneuron.pooled"], of["parasol_interneuron.pooled"]], 1),
        _stack(of, "lgn", GANGLION_CHANNELS),
    )


def _cortex(of: dict[str, Tensor]) -> Cortex:
    count = sum(name.startswith("v1.simple_") for name in of)
    surrounds = [[of[name] for band in v1.BANDS if (name := f"{size}_surround_{band}.pooled") in of] for size in SIZES]
    arrived, resource, sent = (
        _stack(of, "v1_input", [f"{what}_{channel}" for channel in GANGLION_CHANNELS])
        for what in ("arrived", "resource", "sent")
    )
    variance, adapted = (
        _stack(of, "v1_input", [f"{name}_{what}" for name in lgn.CLASSES]) for what in ("variance", "contrast")
    )
    simple, opposite, complex_, inhibitory, inhibitory_opposite = (
        _stack(of, "v1", [f"{cell}_{k}" for k in range(count)])
        for cell in ("simple", "opposite", "complex", "inhibitory", "inhibitory_opposite")
    )
    return Cortex(
        arrived,
        resource,
        sent,
        variance,
        adapted,
        torch.ones_like(adapted),
        torch.stack([simple, opposite], 1),
        complex_,
        torch.stack([inhibitory, inhibitory_opposite], 1),
        torch.stack(
            [of.get(f"normalisation_{relay}.pooled", torch.zeros_like(simple[:, 0])) for relay in v1.RELAYS], 1
        ),
        torch.stack([torch.stack(bands, 1) for bands in surrounds if bands], 1),
    )


def _sparse(sources: list[list[tuple[float, np.ndarray]]], targets: int, size: int) -> Tensor:
    """A sparse matrix with `targets` rows for each list of (weight, source of each row), over `size` sources."""
    blocks = []
    here = np.arange(targets)
    for terms in sources:
        weights = np.repeat([weight for weight, _ in terms], targets)
        places = np.tile(here, len(terms)), np.concatenate([taken for _, taken in terms])
        blocks.append(sparse.coo_array((weights, places), shape=(targets, size)))
    matrix = sparse.vstack(blocks, format="csr")
    row_ends, columns, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(row_ends, columns, values, matrix.shape, check_invariants=True)


def _stack(of: dict[str, Tensor], station: str, variables: Iterable[str]) -> Tensor:
    return torch.stack([of[f"{station}.{variable}"] for variable in variables], 1)
