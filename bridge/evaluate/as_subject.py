"""`FrontEndSubject`: a front end as the subject of the physiology experiments, in place of a pathway.

Experiments choose their own stimuli, finer or coarser than those that a front end was fitted on. The weights of cone to relay
are in degrees and hold at any resolution; each weight of V1 keeps its position in degrees, and is shared among the four
nearest new taps. Experiments that need a time course (a movie or a trace) raise an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from brian2 import Quantity
from torch import Tensor

from biomodel.adaptation import uniform_levels
from biomodel.analysis.alignment import CHANNELS, canonical_light
from biomodel.circuit.specification import EVERYWHERE, Region
from biomodel.engine.cluster import Workers
from biomodel.engine.responses import SINGLE, station_dims
from biomodel.parameters import Parameters
from biomodel.stimuli import check_luminance, pixels_per_degree
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_number
from bridge.evaluate.scores import BATCH, predict, tensor
from bridge.model.front_end import STATIONS, FrontEnd
from bridge.model.stages import STRIDE, V1


class FrontEndSubject:
    """A front end with the interface of a `biomodel.Pathway`, behind an artificial pupil of `bridge.model.front_end.PUPIL_AREA`.

    Experiments give light in trolands, luminance times the area of the pupil, which is therefore the same in every field.

    Parameters
    ----------
    front_end : FrontEnd
        Its own pupil is replaced.
    preset : str
        Preset of the pathway that it was fitted to; experiments choose stimuli by its parameters.
    """

    def __init__(self, front_end: FrontEnd, preset: str = "macaque_parafovea") -> None:
        self.front_end = front_end.replace(pupil=False) if front_end.pupil else front_end
        self.parameters = Parameters(preset)
        self.fidelity = "front end"
        self._resampled: dict[float, FrontEnd] = {}

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: str | float | Quantity | Sequence[float] = "gaze",
        duration: float | Quantity | None = None,
        window: tuple[float | Quantity, float | Quantity] | None = None,
        *,
        output: str = "v1",
        record: str = "mean",
        region: Region = EVERYWHERE,
        workers: Workers = 1,
        seed: int = 0,
    ) -> xr.Dataset:
        """Responses to images, as `biomodel.Pathway.simulate` returns them.

        Parameters
        ----------
        stimulus, adapt_to, output
            As in `biomodel.Pathway.simulate`, for images and for states other than "previous".
        duration, window : float and pair of float, or brian2.Quantity, optional
            Those of the fit only, .2 and (0, .2) s.
        record : {"mean"}
        region : Region
            Cells that are returned; V1 cells that exist (pools end at their border).
        workers, seed : int
            Without effect.

        Raises
        ------
        InputError
            For a movie, a trace, another duration or window, a station that the front end does not have.
        """
        stimulus = canonical_light(stimulus)
        if record != "mean":
            raise InputError(f"record must be 'mean' for a front end, which has no traces, got {record!r}")
        for name, given, fitted in (("duration", (duration,), (0.2,)), ("window", window or (None, None), (0.0, 0.2))):
            times = tuple(as_number(t, "s", name) for t in given if t is not None)
            if times and times != fitted:
                raise InputError(f"{name} must be {', '.join(map(str, fitted))} s for a front end, got {given}")
        if output not in self.front_end.stations:
            raise InputError(f"output must be one of {', '.join(self.front_end.stations)}, got {output!r}")
        check_luminance(stimulus)
        front_end = self.at_resolution(pixels_per_degree(stimulus))
        light = stimulus.values
        if isinstance(adapt_to, str):
            if adapt_to != "gaze":
                raise InputError(f"adapt_to must be 'gaze' or luminances in cd/m², got {adapt_to!r}")
            background = front_end.background(torch.from_numpy(light[:, None])).numpy()[:, 0]
        else:
            accepted = "'gaze', a luminance of 0 cd/m² or more, or one for each image"
            levels = np.array(uniform_levels(adapt_to, len(light), accepted))
            background = np.broadcast_to(levels[:, None, None], light.shape)
        before_v1 = front_end.truncated("v1_input" if output in ("v1_input", "v1") else "lgn")
        responses = _label(before_v1, predict(before_v1, light, background), background, stimulus)
        responses = responses.drop_vars([n for n in before_v1.stations if STATIONS.index(n) > STATIONS.index(output)])
        if output == "v1":
            responses = responses.merge(_v1_responses(front_end, light, background, stimulus, region.v1))
        if region.record is None:
            return responses
        axes = [axis for axis in ("y", "x", "v1_y", "v1_x") if axis in responses.dims]
        return responses.isel({axis: np.flatnonzero(abs(responses[axis].values) <= region.record) for axis in axes})

    def at_resolution(self, pixels_per_degree: float) -> FrontEnd:
        """The front end resampled to a resolution."""
        if pixels_per_degree not in self._resampled:
            self._resampled[pixels_per_degree] = resample(self.front_end, pixels_per_degree)
        return self._resampled[pixels_per_degree]


def _label(
    front_end: FrontEnd, predictions: dict[str, np.ndarray], background: np.ndarray, stimulus: xr.DataArray
) -> xr.Dataset:
    """Responses of stations before V1 with the labels of `biomodel.Pathway.simulate`."""
    coordinates: dict[str, Any] = {"y": stimulus.y.values, "x": stimulus.x.values}
    coordinates |= {str(name): labels for name, labels in stimulus.coords.items() if labels.dims == ("image",)}
    variables: dict[str, tuple] = {"background": (("image", "y", "x"), background)}
    for station, values in predictions.items():
        if station not in SINGLE:
            coordinates[f"{station}_channel"] = list(front_end.station_channels.get(station, CHANNELS[station]))
        variables[station] = (station_dims(station), values[:, 0] if station in SINGLE else values)
    return xr.Dataset(variables, coordinates)


@torch.no_grad()
def _v1_responses(
    front_end: FrontEnd, light: np.ndarray, background: np.ndarray, stimulus: xr.DataArray, within: float | None
) -> xr.Dataset:
    """Responses of the V1 cells at most `within` degrees from the centre; pools end there."""
    v1 = cast(V1, front_end.v1)
    places = {axis: stimulus[axis].values[::STRIDE] for axis in ("y", "x")}
    near = {a: np.flatnonzero(abs(at) <= (np.inf if within is None else within)) for a, at in places.items()}
    batches = []
    for first in range(0, len(light), BATCH):
        images = slice(first, first + BATCH)
        signals = front_end.initial_signals(tensor(light[images])[:, None], tensor(background[images])[:, None])
        synaptic = front_end.advance(front_end.stations[:-1], signals)["v1_input"]
        (rows, down), (columns, right) = (
            _surroundings(near[axis], synaptic.shape[k], v1.reach) for k, axis in ((-2, "y"), (-1, "x"))
        )
        drives = v1.drives(synaptic[..., rows, columns])
        batches.append(v1.respond(drives[..., down, :][..., right]).numpy())
    return xr.Dataset(
        {"v1": (station_dims("v1"), np.concatenate(batches))},
        {"v1_channel": front_end.channels} | {f"v1_{axis}": at[near[axis]] for axis, at in places.items()},
    )


def _surroundings(cells: np.ndarray, size: int, reach: int) -> tuple[slice, np.ndarray]:
    """The pixels of an axis that are afferent to V1 cells, and the cells' indices among the columns on these pixels."""
    first = max(0, STRIDE * (cells[0] - -(-reach // STRIDE)))
    return slice(first, min(size, STRIDE * cells[-1] + reach + 1)), cells - first // STRIDE


@torch.no_grad()
def resample(front_end: FrontEnd, pixels_per_degree: float) -> FrontEnd:
    """The front end at another resolution, its kernels the same in degrees."""
    other = front_end.untrained(pixels_per_degree=pixels_per_degree)
    state = front_end.state_dict()
    for name in ("v1.root_weight", "v1.root_complex_weight") if front_end.output == "v1" else ():
        taps = other.get_parameter(name).shape[-1]
        state[name] = _resample_weights(state[name] ** 2, taps, pixels_per_degree / front_end.pixels_per_degree).sqrt()
    other.load_state_dict(state)
    return other


def _resample_weights(weight: Tensor, taps: int, scale: float) -> Tensor:
    """Weights (..., tap, tap) at a resolution `scale` times as high, each shared among the four nearest taps."""
    old = torch.arange(weight.shape[-1], dtype=torch.double) - weight.shape[-1] // 2
    place = (old * scale + taps // 2).clamp(0, taps - 1)
    low = place.floor().long().clamp(max=taps - 2)
    share = torch.zeros(taps, len(old), dtype=torch.double)
    share[low, torch.arange(len(old))] += 1 - (place - low)
    share[low + 1, torch.arange(len(old))] += place - low
    share = share.to(weight.dtype)
    return share @ weight @ share.T
