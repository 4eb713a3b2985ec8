"""Responses: outputs of a network sorted by station, image and trial, and labelled as an xarray Dataset."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
import xarray as xr

from biomodel.circuit.recording import Recording
from biomodel.engine.plan import Batch, Plan
from biomodel.engine.spike_trains import SpikeTrains, spike_table
from biomodel.utils.errors import InputError
from biomodel.utils.units import UNITS

#: Stations with one channel have no channel dimension.
SINGLE = ("cone", "horizontal")

#: By "station.variable", in SI units: (image, cell), with trials (image, trial, cell), of a trace (…, time, cell). Single spikes
#: by "station.channel", (spike, 4): image, trial, cell among those of the channel, and time in seconds after onset.
Recorded: TypeAlias = dict[str, np.ndarray]


def read_batch(plan: Plan, batch: Batch, out: dict[str, np.ndarray]) -> Recorded:
    """Responses of the images and trials of a batch, from the outputs of its network."""
    record, found = plan.settings.record, {}
    for station, recording in plan.recordings.items():
        if not recording.spiking:
            for variable in recording.readout.variables if record != "spikes" else ():
                values = _read_graded(plan, recording, out[f"{record}.{station}.{variable}"])[: batch.n_images]
                found[f"{station}.{variable}"] = values[:, : batch.n_trials] if recording.trials else values
            continue
        for channel, (group, first) in recording.places.items():
            key = f"{station}.{channel}"
            if record == "mean":
                counts = _by_image(plan, out[f"count.{group}"][None, first + recording.cells])[:, :, 0]
                found[key] = counts[: batch.n_images, : batch.n_trials]
                continue
            cells, times = out[f"spikes.{group}.i"] - first, out[f"spikes.{group}.t"]
            if record == "trace":
                counts = _trace_counts(plan, recording, cells, times)
                found[key] = counts[: batch.n_images, : batch.n_trials]
            else:
                spikes = _sorted_spikes(plan, recording, cells, times)
                kept = (spikes[:, 0] < batch.n_images) & (spikes[:, 1] < batch.n_trials)
                found[key] = spikes[kept] + [batch.first_image, batch.first_trial, 0, 0]
    return found


def _read_graded(plan: Plan, recording: Recording, values: np.ndarray) -> np.ndarray:
    """Values of one variable, (image, cell) or (image, time, cell), with trials after the image."""
    images = plan.specification.grid.images
    if plan.settings.record != "trace":
        return _by_image(plan, values[None])[:, :, 0] if recording.trials else values.reshape(images, -1)
    samples, cells = plan.lead_samples + plan.trace_samples, recording.cells.size
    if values.size != samples * cells:
        raise RuntimeError(
            f"a trace must have {samples * cells} values, got {values.size}: is the temporary folder full?"
        )
    if recording.trials:
        return _by_image(plan, values.reshape(samples, -1)[plan.lead_samples :])
    return np.swapaxes(values.reshape(samples, images, -1)[plan.lead_samples :], 0, 1)


def _by_image(plan: Plan, values: np.ndarray) -> np.ndarray:
    """Values (time, cell of all trials and images) as (image, trial, time, cell)."""
    s = plan.specification
    return values.reshape(len(values), s.trials, s.grid.images, -1).transpose(2, 1, 0, 3)


def _trace_counts(plan: Plan, recording: Recording, cells: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Spikes in the interval up to each sample of a trace, (image, trial, time, cell)."""
    s, samples, n_cells = plan.specification, plan.trace_samples, recording.cells.size
    place = _places(recording, cells)
    # A sample is taken at the start of its step: it counts spikes of earlier steps. A quarter of a step keeps clear of rounding.
    sample = np.floor((1000 * times + s.dt / 4) / s.trace_step).astype(int) + 1 - plan.lead_samples
    kept = (place >= 0) & (sample >= 0) & (sample < samples)
    counts = np.bincount(sample[kept] * n_cells + place[kept], minlength=samples * n_cells)
    return _by_image(plan, counts.reshape(samples, n_cells).astype(float))


def _places(recording: Recording, cells: np.ndarray) -> np.ndarray:
    """The places of cells among the recorded ones, -1 for cells that are not recorded."""
    place = np.minimum(np.searchsorted(recording.cells, cells), recording.cells.size - 1)
    return np.where(recording.cells[place] == cells, place, -1)


def _sorted_spikes(plan: Plan, recording: Recording, cells: np.ndarray, times: np.ndarray) -> np.ndarray:
    """A channel's spikes after onset by image, trial and time: (spike, 4), cells numbered within their image."""
    s = plan.specification
    kept = (times >= (s.lead - s.dt / 2) / 1000) & (_places(recording, cells) >= 0)
    cells, times = cells[kept].astype(int), times[kept] - s.lead / 1000
    rows, columns = recording.lattice
    repeat, cell = np.divmod(cells, len(rows) * len(columns))
    trial, image = np.divmod(repeat, s.grid.images)
    order = np.lexsort((cell, times, trial, image))
    return np.stack([image, trial, cell, times], axis=1)[order]


def concatenate(parts: list[Recorded]) -> Recorded:
    """Responses to consecutive images."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def concatenate_trials(plan: Plan, parts: list[Recorded]) -> Recorded:
    """Responses in consecutive trials of the same images; stations without noise respond alike in all of them."""
    axis = 0 if plan.settings.record == "spikes" else 1
    return {
        name: np.concatenate([part[name] for part in parts], axis)
        if plan.recordings[name.split(".")[0]].trials
        else values
        for name, values in parts[0].items()
    }


def station_dims(station: str, trace: bool = False, trials: bool = False) -> tuple[str, ...]:
    """Dimensions of a station's responses."""
    first = ("image", *(("trial",) if trials else ()), *(("time",) if trace else ()))
    if station in SINGLE:
        return (*first, "y", "x")
    if station == "v1":
        return (*first, "v1_channel", "v1_y", "v1_x")
    return (*first, f"{station}_channel", "y", "x")


def label(plan: Plan, recorded: Recorded, background: np.ndarray) -> xr.Dataset | SpikeTrains:
    """Label responses with their stations, channels, places and times.

    Parameters
    ----------
    plan : Plan
    recorded : dict
        As `read_batch` returns it.
    background : numpy.ndarray, (image, y, x)
        The field that each image was adapted to, cd/m².

    Returns
    -------
    xarray.Dataset or SpikeTrains
        Spike trains where single spikes are recorded.
    """
    s, stimulus, attributes = plan.specification, plan.presentations.stimulus, plan.attributes
    y, x = stimulus.y.values, stimulus.x.values
    if plan.settings.record == "spikes":
        table = spike_table(plan.recordings, recorded, y, x)
        table.attrs = attributes | {"images": len(background), "trials": plan.trials}
        return table
    trace, samples = plan.settings.record == "trace", plan.trace_samples
    rows, columns = plan.recordings["cone"].recorded
    field = background[:, rows[:, None], columns]
    variables: dict[str, tuple] = {"background": (("image", "y", "x"), field, {"units": "cd/m²"})}
    coordinates: dict[str, object] = {"y": y[rows], "x": x[columns]}
    if trace:
        coordinates["time"] = np.arange(samples) * s.trace_step / 1000
    for station, recording in plan.recordings.items():
        rows, columns = recording.recorded
        trials = (plan.trials,) if recording.trials else ()
        shape = (len(background), *trials, *((samples,) if trace else ()), len(rows), len(columns))
        unit = "spikes" if recording.spiking else recording.readout.unit
        scale = 1.0 if recording.spiking else float(UNITS[unit])
        if station == "v1":
            coordinates |= {"v1_y": y[rows], "v1_x": x[columns]}
            coordinates |= recording.coordinates
        parts = [recorded[f"{station}.{v}"].reshape(shape) / scale for v in recording.readout.variables]
        values = parts[0] if station in SINGLE else np.stack(parts, axis=-3)
        if station not in SINGLE:
            coordinates[f"{station}_channel"] = list(recording.readout.channels)
        variables[station] = (station_dims(station, trace, recording.trials), values, {"units": unit})
    if stimulus.sizes["image"] == len(background):
        coordinates |= {str(name): labels for name, labels in stimulus.coords.items() if labels.dims == ("image",)}
    return xr.Dataset(variables, coordinates, attrs=dict(attributes))


def empty_dataset(plan: Plan) -> xr.Dataset:
    """The responses to no image: variables, coordinates and attributes, for a store."""
    bare = plan.without_images()
    names = [f"{name}.{v}" for name, recording in plan.recordings.items() for v in recording.readout.variables]
    stimulus = bare.presentations.stimulus
    background = np.empty((0, stimulus.sizes["y"], stimulus.sizes["x"]))
    return cast(xr.Dataset, label(bare, dict.fromkeys(names, np.empty(0)), background))


def in_rates(responses: xr.Dataset) -> xr.Dataset:
    """Responses with spike counts turned into rates, Hz; their attribute ``counted_s`` is the duration of the window.

    Variables in other units are not changed.

    Raises
    ------
    InputError
        For counts without the attribute ``window_s``, the seconds between which they were counted.
    """
    counts = [name for name, values in responses.items() if values.attrs.get("units") == "spikes"]
    if not counts:
        return responses
    window = np.asarray(responses.attrs.get("window_s", ()))
    if (
        window.shape != (2,)
        or window.dtype.kind not in "uif"
        or not np.isfinite(window).all()
        or window[1] <= window[0]
    ):
        raise InputError(
            "counts of spikes must have the attribute window_s, start and end in seconds, "
            f"got {responses.attrs.get('window_s', 'none')!r}"
        )
    start, end = window.tolist()
    seconds = end - start
    rates = {name: (responses[name] / seconds).assign_attrs(units="Hz", counted_s=seconds) for name in counts}
    return responses.assign(rates)
