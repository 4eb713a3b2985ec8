"""The rate pathway as a loop over tensors: what a PyTorch user would write instead of the network."""

from __future__ import annotations

import brian2
import torch
import torch.nn.functional as F
from torch import Tensor

from biomodel import retina, v1
from biomodel.circuit import V1_CLOCK, Specification
from biomodel.wiring import centre_weights


class TorchLoop:
    def __init__(self, s: Specification) -> None:
        self.s = s
        self.p = {name: float(parameter.quantity) for name, parameter in s.parameters.items()}
        ppd = s.grid.pixels_per_degree
        one_side = torch.tensor(centre_weights(s.parameters.value("bipolar.centre_radius"), ppd))
        self.pool = torch.cat([one_side.flip(0)[:-1], one_side])
        self.layer = retina.horizontal_coupling(s.parameters, ppd, s.dt * brian2.ms)
        self.kernels = None
        if s.until == "v1":
            cells = v1.population(s.parameters, ppd)
            self.radius = max(int(max(abs(c.afferents.down).max(), abs(c.afferents.right).max())) for c in cells)
            n = 2 * self.radius + 1
            self.kernels = torch.zeros(len(cells), 2, n, n, dtype=torch.float64)
            for k, c in enumerate(cells):
                a = c.afferents
                self.kernels[k, (~torch.tensor(a.on)).int(), a.down + self.radius, a.right + self.radius] = (
                    torch.tensor(a.weight)
                )
        self.step_fn = self.step

    def mirrored_neighbours(self, h: Tensor) -> Tensor:
        r = max(self.layer.hops)
        H, W = h.shape[-2:]
        # half-sample mirror
        up = h[:, :r].flip(1)
        down = h[:, H - r :].flip(1)
        p = torch.cat([up, h, down], 1)
        p = torch.cat([p[:, :, :r].flip(2), p, p[:, :, W - r :].flip(2)], 2)
        total = -4 * len(self.layer.hops) * h
        for k in self.layer.hops:
            total = (
                total
                + p[:, r - k : r - k + H, r : r + W]
                + p[:, r + k : r + k + H, r : r + W]
                + p[:, r : r + H, r - k : r - k + W]
                + p[:, r : r + H, r + k : r + k + W]
            )
        return total

    def step(self, light, st):
        p, dt = self.p, self.s.dt * 1e-3
        import math

        def relax(x, target, tau):
            return target + (x - target) * math.exp(-dt / tau)

        y, z1, z2, photo, sig, h, row, ada, on, off, g, l = st
        iso = p["cone.isomerisation_rate"] * p["cone.pupil_area"] * light
        z = p["cone.fast_adaptation_share"] * y[4] + (1 - p["cone.fast_adaptation_share"]) * z2
        rate = 1 + p["cone.desensitisation"] * z
        target = p["cone.gain"] * y[4] / rate
        photo_n = target + (photo - target) * torch.exp(-dt / p["cone.response_time"] * rate)
        sig_n = relax(sig, photo - p["horizontal.feedback"] * h, p["cone.membrane_time"])
        y_n = relax(y, torch.cat([iso[None], y[:4]]), p["cone.cascade_time"])
        z1_n = relax(z1, iso, p["cone.adaptation_time"])
        z2_n = relax(z2, z1, p["cone.adaptation_time"])
        h_prev = h
        # row pool
        n = len(self.pool) // 2
        padded = F.pad(sig_n[:, None], (n, n, 0, 0), mode="replicate")
        row = F.conv2d(padded, self.pool[None, None, None])[:, 0]
        h_n = h + dt / p["horizontal.capacitance"] * (
            p["horizontal.leak"] * (p["horizontal.gain"] * sig_n - h)
            + self.layer.strength * p["horizontal.leak"] * self.mirrored_neighbours(h)
        )
        padded = F.pad(row[:, None], (0, 0, n, n), mode="replicate")
        pooled = F.conv2d(padded, self.pool[None, None, :, None])[:, 0]
        change = pooled - ada
        on_n = relax(
            on,
            p["bipolar.on_gain"] * change / (1 + change.clamp(min=0) / p["bipolar.on_saturation"]),
            p["bipolar.membrane_time"],
        )
        off_n = relax(
            off,
            -p["bipolar.off_gain"] * change / (1 + (-change).clamp(min=0) / p["bipolar.off_saturation"]),
            p["bipolar.membrane_time"],
        )
        ada_n = relax(ada, pooled, p["bipolar.adaptation_time"])
        b = torch.stack([on_n, off_n], 1)
        maintained = torch.tensor(
            [p["ganglion.midget_on_maintained"], p["ganglion.midget_off_maintained"]], dtype=torch.float64
        )[:, None, None]
        g_n = relax(g, (maintained + p["ganglion.midget_gain"] * b).clamp(min=0), p["ganglion.membrane_time"])
        l_n = relax(l, p["lgn.transfer"] * g_n, p["lgn.membrane_time"])
        return y_n, z1_n, z2_n, photo_n, sig_n, h_n, row, ada_n, on_n, off_n, g_n, l_n

    def drive(self, l, simple):
        import math

        p = self.p
        padded = F.pad(l, (self.radius,) * 4, mode="replicate")
        d = F.conv2d(padded, self.kernels, stride=2)
        ex = (p["v1.spontaneous"] + p["v1.gain"] * (d - self.resting)).clamp(min=0)
        return ex + (simple - ex) * math.exp(-self.s.dt * 1e-3 * V1_CLOCK / p["v1.membrane_time"])

    @torch.no_grad()
    def run(self, light, state):
        s = self.s
        shape = light.shape
        t = {k: torch.as_tensor(v).reshape(shape) for k, v in state.items() if not k.startswith("v1")}
        light = torch.as_tensor(light)
        st = (
            torch.stack([t[f"cone.y{i}"] for i in range(1, 6)]),
            t["cone.z1"],
            t["cone.z2"],
            t["cone.photocurrent"],
            t["cone.signal"],
            t["horizontal.potential"],
            t["cone.pooled_along_row"],
            t["bipolar.adaptation"],
            t["bipolar.on"],
            t["bipolar.off"],
            torch.stack([t["ganglion.midget_on"], t["ganglion.midget_off"]], 1),
            torch.stack([t["lgn.midget_on"], t["lgn.midget_off"]], 1),
        )
        if s.until == "v1":
            simple = torch.as_tensor(state["v1.simple"])
            self.resting = torch.as_tensor(state["v1.resting_drive"])
            simple_mean = torch.zeros_like(simple)
        mean = torch.zeros_like(st[-1])
        n = m = 0
        for k in range(round(s.duration / s.dt)):
            time = k * s.dt
            if s.window[0] - 1e-9 <= time < s.window[1] - 1e-9 and k % 2 == 0:
                mean += st[-1]
                n += 1
            if s.until == "v1" and k % V1_CLOCK == 0 and s.window[0] - 1 <= time < s.window[1] - 1:
                simple_mean += simple
                m += 1
            st = self.step_fn(light, st)
            if s.until == "v1" and k % V1_CLOCK == 0:
                simple = self.drive_fn(st[-1], simple)
        return (mean / n, simple_mean / m) if s.until == "v1" else (mean / n,)
