"""Responses as an xarray Dataset: a variable a station, with labelled channels, and where they come from."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

import biomodel
from biomodel.circuit import v1
from biomodel.circuit.recording import readout
from biomodel.circuit.specification import Specification
from biomodel.utils.units import UNITS

#: Stations that have one channel have no channel dimension.
SINGLE = ("cone", "horizontal")


def station_dims(station: str, trace: bool = False, trials: bool = False) -> tuple[str, ...]:
    """Dimensions of a station's responses."""
    first = ("image", *(("trial",) if trials else ()), *(("time",) if trace else ()))
    if station in SINGLE:
        return (*first, "y", "x")
    if station == "v1":
        return (*first, "v1_channel", "v1_y", "v1_x")
    return (*first, f"{station}_channel", "y", "x")


def dataset(
    specification: Specification,
    recorded: dict[str, np.ndarray],
    stimulus: xr.DataArray,
    background: np.ndarray,
    attributes: dict[str, object],
    trials: int = 1,
) -> xr.Dataset:
    """Label what the recorders read.

    Parameters
    ----------
    recorded : dict of "station.variable" to numpy.ndarray
        (image, cell), or (image, time, cell) of a trace, in SI units; of cells that fire (image, trial, …), in spikes.
    stimulus : xarray.DataArray
        Whose coordinates are taken over.
    background : numpy.ndarray, (image, y, x)
        The field each presentation was adapted to, cd/m².
    attributes : dict
        How the responses were made.
    trials : int
        Of each image, where cells fire.

    Returns
    -------
    xarray.Dataset
    """
    s = specification
    trace = s.record == "trace"
    rows, columns = s.recorded_lattice("cone")
    y, x = stimulus.y.values, stimulus.x.values
    field = background[:, rows[:, None], columns]
    variables: dict[str, tuple] = {"background": (("image", "y", "x"), field, {"units": "cd/m²"})}
    coordinates: dict[str, object] = {"y": y[rows], "x": x[columns]}
    samples = s.trace_samples
    if trace:
        coordinates["time"] = np.arange(samples) * s.trace_step / 1000
    for station in s.stations:
        read = readout(s, station)
        fires = station in s.spiking
        shape = (len(background), *([trials] if fires else []), *([samples] if trace else []))
        unit = "spikes" if fires else read.unit
        scale = 1.0 if fires else float(UNITS[unit])
        rows, columns = s.recorded_lattice(station)
        if station == "v1":
            coordinates |= {"v1_y": y[rows], "v1_x": x[columns]}
            coordinates |= v1.coordinates(s.parameters, s.grid.pixels_per_degree)
        parts = [recorded[f"{station}.{v}"].reshape(*shape, len(rows), len(columns)) / scale for v in read.variables]
        values = parts[0] if station in SINGLE else np.stack(parts, axis=-3)
        if station not in SINGLE:
            coordinates[f"{station}_channel"] = list(read.channels)
        variables[station] = (station_dims(station, trace, fires), values, {"units": unit})
    for name, coordinate in stimulus.coords.items():
        if coordinate.dims == ("image",):
            coordinates[str(name)] = coordinate
    return xr.Dataset(variables, coordinates, attrs=provenance(s) | attributes)


def form(
    specification: Specification, stimulus: xr.DataArray, attributes: dict[str, object], trials: int = 1
) -> xr.Dataset:
    """The `dataset` of no image at all: variables, coordinates and attributes of the responses to a stimulus."""
    s = specification
    names = [f"{station}.{variable}" for station in s.stations for variable in readout(s, station).variables]
    none = stimulus.isel(image=slice(0, 0))
    background = np.empty((0, stimulus.sizes["y"], stimulus.sizes["x"]))
    return dataset(s, dict.fromkeys(names, np.empty(0)), none, background, attributes, trials)


def in_rates(responses: xr.Dataset) -> xr.Dataset:
    """Responses with counts of spikes turned into rates, Hz; their attribute ``counted_s`` says over how many seconds they were.

    What is in another unit is as it was.
    """
    counts = [name for name, values in responses.items() if values.attrs.get("units") == "spikes"]
    if not counts:
        return responses
    begin, end = responses.attrs["window_s"]
    seconds = end - begin
    rates = {name: (responses[name] / seconds).assign_attrs(units="Hz", counted_s=seconds) for name in counts}
    return responses.assign(rates)


def provenance(s: Specification) -> dict[str, object]:
    """What determines the responses but the stimulus, as attributes that any file format keeps."""
    return {
        "preset": s.preset,
        "fidelity": s.fidelity,
        "lesions": ",".join(s.lesions),
        "parameters": json.dumps(dict(s.values)),
        "parameters_digest": s.parameters.digest,
        "pixels_per_degree": s.grid.pixels_per_degree,
        "dt_ms": s.dt,
        "duration_s": s.duration / 1000,
        "window_s": [s.window[0] / 1000, s.window[1] / 1000],
        **({"lead_s": s.lead / 1000} if s.spiking else {}),
        "precortical": biomodel.__version__,
    }
