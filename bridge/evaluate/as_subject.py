"""`Bench`: a front end where physiology's experiments expect a pathway.

Experiments choose screens of their own, finer or coarser than what a front end was fitted at. The twins of cone to relay hold
lengths in degrees, and stand on any lattice; V1's weights stand where they stood in degrees, each shared out among the four
new taps around it. What asks for a time course, a film or a trace, a front end doesn't have: it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from biomodel.engine.responses import SINGLE, station_dims
from biomodel.parameters import Parameters
from biomodel.stimuli import check_luminance, pixels_per_degree
from biomodel.utils.errors import InputError
from bridge.evaluate.scores import BATCH, predicted, tensor
from bridge.model.front_end import STATIONS, FrontEnd
from bridge.model.stages import STRIDE, V1


class Bench:
    """A front end that answers as a `biomodel.Pathway` does.

    Parameters
    ----------
    front_end : FrontEnd
    preset : str
        Of the pathway that it stands for: of its parameters an experiment reads the radius of the midget's centre, to choose
        stimuli by.
    """

    def __init__(self, front_end: FrontEnd, preset: str = "macaque_parafovea") -> None:
        self.front_end = front_end
        self.parameters = Parameters(preset)
        self.fidelity = "front end"
        self._on: dict[float, FrontEnd] = {}

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: str | float | Sequence[float] = "gaze",
        duration: float = 0.2,
        window: tuple[float, float] = (0.05, 0.2),
        *,
        output: str = "v1",
        record: str = "mean",
        record_within: float | None = None,
        v1_within: float | None = None,
        workers: int = 1,
        seed: int = 0,
    ) -> xr.Dataset:
        """Responses to images, as `biomodel.Pathway.simulate`; the front end's own duration and window are the only ones.

        Workers and seed change nothing. With `v1_within`, V1 stands in a square of so many degrees from the middle, and its
        layers end there.

        Raises
        ------
        InputError
            For a film, a trace, another duration or window, a station that the front end doesn't have.
        """
        if stimulus.dims != ("image", "y", "x") or record != "mean":
            raise InputError("a front end answers images with means: films and traces are not accepted")
        if (float(duration), *map(float, window)) != (0.2, 0.05, 0.2):
            raise InputError(f"duration = {duration} s and window = {window} s are not accepted: give .2 and (.05, .2)")
        if output not in self.front_end.stations:
            raise InputError(f"output = {output!r} is not accepted: give one of {', '.join(self.front_end.stations)}")
        check_luminance(stimulus)
        front_end = self.standing_on(pixels_per_degree(stimulus))
        light = stimulus.values
        if isinstance(adapt_to, str):
            if adapt_to != "gaze":
                raise InputError(f"adapt_to = {adapt_to!r} is not accepted: give 'gaze' or luminances in cd/m²")
            background = front_end.background(torch.from_numpy(light[:, None])).numpy()[:, 0]
        else:
            levels = np.broadcast_to(np.asarray(adapt_to, dtype=float), len(light))
            background = np.broadcast_to(levels[:, None, None], light.shape)
        relay = front_end.ending_at("lgn")
        found = _labelled(relay, predicted(relay, light, background), background, stimulus)
        found = found.drop_vars([name for name in relay.stations if STATIONS.index(name) > STATIONS.index(output)])
        if output == "v1":
            found = found.merge(_cortex(front_end, light, background, stimulus, v1_within))
        if record_within is None:
            return found
        axes = [axis for axis in ("y", "x", "v1_y", "v1_x") if axis in found.dims]
        return found.isel({axis: np.flatnonzero(abs(found[axis].values) <= record_within) for axis in axes})

    def standing_on(self, pixels: float) -> FrontEnd:
        """The front end on a lattice of so many pixels a degree."""
        if pixels not in self._on:
            self._on[pixels] = resampled(self.front_end, pixels)
        return self._on[pixels]


def _labelled(
    front_end: FrontEnd, told: dict[str, np.ndarray], background: np.ndarray, stimulus: xr.DataArray
) -> xr.Dataset:
    """Responses up to the relay as `biomodel.Pathway.simulate` labels them."""
    coordinates: dict[str, Any] = {"y": stimulus.y.values, "x": stimulus.x.values}
    variables: dict[str, tuple] = {"background": (("image", "y", "x"), background)}
    for station, values in told.items():
        if station not in SINGLE:
            labels = front_end.station_channels.get(station, list(range(values.shape[1])))
            coordinates[f"{station}_channel"] = labels
        variables[station] = (station_dims(station), values[:, 0] if station in SINGLE else values)
    return xr.Dataset(variables, coordinates)


@torch.no_grad()
def _cortex(
    front_end: FrontEnd, light: np.ndarray, background: np.ndarray, stimulus: xr.DataArray, within: float | None
) -> xr.Dataset:
    """V1's responses, of cells so many degrees from the middle at most; its layers end there."""
    v1, maintained = cast(V1, front_end.v1), front_end.lgn.settled(front_end.ganglion.maintained)
    places = {axis: stimulus[axis].values[::STRIDE] for axis in ("y", "x")}
    near = {a: np.flatnonzero(abs(at) <= (np.inf if within is None else within)) for a, at in places.items()}
    parts = []
    for first in range(0, len(light), BATCH):
        chosen = slice(first, first + BATCH)
        state = front_end.presented(tensor(light[chosen])[:, None], tensor(background[chosen])[:, None])
        for station in front_end.stations[:-1]:
            state = front_end.advance(station, state)
        relay = front_end.relay(state)
        (rows, down), (columns, right) = (
            _around(near[axis], relay.shape[k], v1.reach) for k, axis in ((-2, "y"), (-1, "x"))
        )
        drives = v1.drives(v1.arriving(relay[..., rows, columns], maintained))
        parts.append(v1.respond(drives[..., down, :][..., right]).numpy())
    return xr.Dataset(
        {"v1": (station_dims("v1"), np.concatenate(parts))},
        {"v1_channel": front_end.channels} | {f"v1_{axis}": at[near[axis]] for axis, at in places.items()},
    )


def _around(cells: np.ndarray, pixels: int, reach: int) -> tuple[slice, np.ndarray]:
    """Of an axis, the pixels that V1's cells hear, and where among the cells that stand on these they are."""
    first = max(0, STRIDE * (cells[0] - -(-reach // STRIDE)))
    return slice(first, min(pixels, STRIDE * cells[-1] + reach + 1)), cells - first // STRIDE


@torch.no_grad()
def resampled(front_end: FrontEnd, pixels: float) -> FrontEnd:
    """A front end of the same lengths in degrees, on a lattice of so many pixels a degree."""
    other = front_end.altered(pixels_per_degree=pixels)
    state = front_end.state_dict()
    for name in ("v1.root_weight", "v1.root_complex_weight") if front_end.output == "v1" else ():
        taps = other.get_parameter(name).shape[-1]
        state[name] = _shared_out(state[name] ** 2, taps, pixels / front_end.pixels_per_degree).sqrt()
    other.load_state_dict(state)
    return other


def _shared_out(weight: Tensor, taps: int, scale: float) -> Tensor:
    """Weights (…, tap, tap) on a lattice `scale` times as dense, each shared out among the four taps around it."""
    old = torch.arange(weight.shape[-1], dtype=torch.double) - weight.shape[-1] // 2
    place = (old * scale + taps // 2).clamp(0, taps - 1)
    low = place.floor().long().clamp(max=taps - 2)
    share = torch.zeros(taps, len(old), dtype=torch.double)
    share[low, torch.arange(len(old))] += 1 - (place - low)
    share[low + 1, torch.arange(len(old))] += place - low
    share = share.to(weight.dtype)
    return share @ weight @ share.T
