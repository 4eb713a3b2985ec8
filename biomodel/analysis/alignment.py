"""Stimuli and responses in one order, by the names of dimensions and by labels, never by position.

A user's arrays may be transposed, have axes reversed, images permuted together with their labels, or channels in another order.
`canonical_light` and `canonical` put them in the order of `biomodel.Pathway.simulate`, or refuse them: every function that takes
such arrays calls these first, and works by position afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from brian2 import Quantity

from biomodel.circuit.retina import BIPOLAR_CHANNELS, GANGLION_CHANNELS
from biomodel.circuit.specification import STATIONS
from biomodel.circuit.v1 import STRIDE
from biomodel.engine.responses import SINGLE, station_dims
from biomodel.utils.errors import InputError
from biomodel.utils.units import as_array

#: Names of the channels of stations whose channels are the same in every circuit.
CHANNELS: Mapping[str, tuple[str, ...]] = {
    "bipolar": BIPOLAR_CHANNELS,
    "ganglion": GANGLION_CHANNELS,
    "lgn": GANGLION_CHANNELS,
    "v1_input": GANGLION_CHANNELS,
}

#: Largest distance between a cell and its pixel, in pixels: coordinates may have single precision.
_TOLERANCE = 0.01

#: Responses with one station, or with several.
Responses = TypeVar("Responses", xr.Dataset, xr.DataArray)

#: The names that `Pathway.simulate` gives to V1's channels: simple_K and complex_K of the cell type K.
_V1_NAME = re.compile(r"(simple|complex)_(\d+)")


def arrange(array: xr.DataArray, dims: Sequence[str], name: str, optional: Sequence[str] = ()) -> xr.DataArray:
    """An array of real numbers with its dimensions in this order, contiguous in memory; lazy arrays are read.

    Parameters
    ----------
    array : xarray.DataArray
    dims : sequence of str
        Dimensions that it must have, and those of `optional` that it may have.
    name : str
        What it is called in the error message.
    optional : sequence of str
        Dimensions among `dims` that may be missing.

    Raises
    ------
    InputError
        For another type, other dimensions, and values that are not real numbers.
    """
    if not isinstance(array, xr.DataArray):
        raise InputError(f"{name} must be an xarray.DataArray, got {type(array).__name__}")
    required = [d for d in dims if d not in optional]
    if not set(required) <= set(array.dims) <= set(dims):
        also = f", optionally {', '.join(optional)}" if optional else ""
        raise InputError(f"{name} must have dimensions ({', '.join(required)}){also}, got {array.dims}")
    if array.dtype.kind not in "uif":
        raise InputError(f"{name} must be real numbers, got type {array.dtype}")
    ordered = array.transpose(*(d for d in dims if d in array.dims))
    return ordered.copy(data=np.ascontiguousarray(ordered.values))


def ordered_like(array: xr.DataArray, other: xr.DataArray, name: str) -> xr.DataArray:
    """An array with the dimensions and the labels in the order of another array.

    Labels are all coordinates along one dimension that both arrays have. Dimensions without any are taken in the order that
    they have.

    Raises
    ------
    InputError
        For other dimensions, sizes or labels, and for labels that are not unique and in another order.
    """
    if set(array.dims) != set(other.dims):
        raise InputError(f"{name} must have the dimensions {other.dims}, got {array.dims}")
    orders = {}
    for dimension in other.dims:
        if array.sizes[dimension] != other.sizes[dimension]:
            raise InputError(
                f"{name} must have {other.sizes[dimension]} values along {dimension}, got {array.sizes[dimension]}"
            )
        orders[dimension] = _label_order(array, other, dimension, f"{name} along {dimension}")
    return array.isel(orders).transpose(*other.dims)


def _label_order(
    array: xr.Dataset | xr.DataArray, other: xr.Dataset | xr.DataArray, dimension: Hashable, what: str
) -> np.ndarray:
    """Indices of an array along a dimension in the order of another one, by all coordinates along it that both have."""
    both = [name for name in other.coords if name in array.coords]
    shared = sorted(
        (name for name in both if array[name].dims == other[name].dims == (dimension,)),
        key=lambda name: (name != dimension, str(name)),
    )
    for index in (array.indexes.get(dimension), other.indexes.get(dimension)):
        # Its values are tuples of its levels, which are coordinates too.
        if dimension in shared and isinstance(index, pd.MultiIndex) and set(index.names) <= set(shared):
            shared.remove(dimension)
    if not shared:
        return np.arange(other.sizes[dimension])
    found, wanted = (
        pd.MultiIndex.from_arrays([_labels(one[name]) for name in shared], names=shared) for one in (array, other)
    )
    return _order(
        found, wanted, what if shared == [dimension] else f"{what} (coordinates {', '.join(map(str, shared))})"
    )


def _labels(coordinate: xr.DataArray) -> pd.Index:
    """The values of a coordinate; those of several levels are tuples."""
    # Python's dates have no nanoseconds; NumPy's numbers of other precisions print with their type.
    values = coordinate.values if coordinate.dtype.kind in "mM" else coordinate.values.tolist()
    return pd.Index(values, tupleize_cols=False)


def _order(found: pd.Index, wanted: pd.Index, what: str) -> np.ndarray:
    """Indices of `wanted` labels among those that were found."""
    if found.equals(wanted):
        return np.arange(len(found))
    order = found.get_indexer(wanted) if found.is_unique and wanted.is_unique else None
    if order is None:
        twice = (found if not found.is_unique else wanted).duplicated()
        label = (found if not found.is_unique else wanted)[twice][:1]
        raise InputError(f"labels of {what} must be unique, or in the same order, got {_some(label)} more than once")
    if (order < 0).any():
        raise InputError(f"{what} must have the label {_some(wanted[order < 0][:1])}, got {_some(found)}")
    return order


def _some(labels: pd.Index | Sequence[object]) -> str:
    """The first few labels, for a message."""
    first = [" ".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels[:4]]
    return ", ".join(first) + (", …" if len(labels) > len(first) else "")


def canonical_light(stimulus: xr.DataArray) -> xr.DataArray:
    """A stimulus of still images as luminance (image, y, x), with growing coordinates.

    Parameters
    ----------
    stimulus : xarray.DataArray, (image, y, x) in any order, optionally with `colour`
        cd/m²; colours are summed.

    Raises
    ------
    InputError
        For another type, other dimensions, another unit, and values that are not real numbers.
    """
    if isinstance(stimulus, xr.DataArray) and "image" in stimulus.dims:
        first = stimulus.isel(image=slice(1)).data
        if isinstance(first, Quantity):
            as_array(first, "cd/m²", "luminance")
    light = arrange(stimulus, ("image", "colour", "y", "x"), "stimulus", optional=("colour",))
    if "colour" in light.dims:
        light = light.sum("colour", keep_attrs=True)
    for axis in ("y", "x"):
        if axis in light.coords:
            light = light.isel({axis: np.argsort(_places(light[axis]), kind="stable")})
    return arrange(light, ("image", "y", "x"), "stimulus")


def _places(coordinate: xr.DataArray) -> np.ndarray:
    """The values of a coordinate in degrees."""
    if coordinate.dtype.kind not in "uif":
        raise InputError(f"coordinate {coordinate.name} must be numbers of degrees, got type {coordinate.dtype}")
    return coordinate.values.astype(float)


def canonical(
    responses: xr.Dataset, light: xr.DataArray | None = None, names: Sequence[str] = ("background", *STATIONS)
) -> xr.Dataset:
    """Responses in the order of `Pathway.simulate`: dimensions, channels and, with `light`, images and places.

    Parameters
    ----------
    responses : xarray.Dataset
        With variables named after stations, and `background`; other variables are dropped. Channels have names. Lazy values
        are read.
    light : xarray.DataArray, (image, y, x), optional
        As `canonical_light` returns it. Images are matched by all coordinates along `image` that both have, without one by
        position, and cells with pixels by the coordinates y, x, v1_y and v1_x, where responses have them.
    names : sequence of str
        Variables that are kept, where responses have them.

    Raises
    ------
    InputError
        For other dimensions or types, names of channels that are unknown or not unique, and for images or places other than
        those of `light`.
    """
    if not isinstance(responses, xr.Dataset):
        raise InputError(f"responses must be an xarray.Dataset, got {type(responses).__name__}")
    found = [name for name in names if name in responses]
    chosen = responses[found]
    for name in found:
        _check_dims(chosen[name], name)
    multiple = [name for name in found if name not in ("background", *SINGLE)]
    chosen = chosen.isel({f"{name}_channel": _channel_order(chosen, name) for name in multiple})
    if light is not None and found:
        chosen = match(chosen, light)
    return chosen.assign({name: arrange(chosen[name], *_dims(name)).variable for name in found})


def match(responses: Responses, light: xr.DataArray) -> Responses:
    """Responses with images and places in the order of a stimulus.

    Parameters
    ----------
    responses : xarray.Dataset or xarray.DataArray
        With a dimension `image`, and y, x, v1_y or v1_x.
    light : xarray.DataArray, (image, y, x)
        As `canonical_light` returns it.

    Raises
    ------
    InputError
        For images or places other than those of `light`.
    """
    orders = {"image": _image_order(responses, light)}
    for axis in ("y", "x"):
        pixels = _places(light[axis])
        for name, wanted in ((axis, pixels), (f"v1_{axis}", pixels[::STRIDE])):
            if name in responses.dims:
                orders[name] = _place_order(responses, name, wanted, pixels)
    return responses.isel(orders)


def _dims(name: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Dimensions, description and optional dimensions of a variable of responses, for `arrange`."""
    if name == "background":
        return ("image", "y", "x"), "background", ()
    return station_dims(name, trials=True), f"responses of {name}", ("trial",)


def _check_dims(values: xr.DataArray, name: str) -> None:
    """Check the dimensions of a variable before its values are read."""
    dims, what, optional = _dims(name)
    required = [d for d in dims if d not in optional]
    if set(required) <= set(values.dims) <= set(dims):
        return
    hint = {
        "time": ": average over time first",
        "cell": ": a fit needs a cell at every pixel; bridge.evaluate.scores.score_cells scores single cells",
    }
    also = f", optionally {', '.join(optional)}" if optional else ""
    raise InputError(
        f"{what} must have dimensions ({', '.join(required)}){also}, got {values.dims}"
        + next((text for name, text in hint.items() if name in values.dims), "")
    )


def _channel_order(responses: xr.Dataset, station: str) -> np.ndarray:
    """Indices of a station's channels in canonical order."""
    label = f"{station}_channel"
    accepted = CHANNELS.get(station)
    if label not in responses.coords:
        wanted = ", ".join(accepted) if accepted else "simple_K and complex_K for every cell type K"
        raise InputError(f"responses must have a coordinate {label} with the names of channels, {wanted}, got none")
    names = [str(name) for name in responses[label].values]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{label} must be unique, got {twice[0]!r} more than once")
    if accepted is None:
        return _v1_order(responses, names)
    unknown = [name for name in names if name not in accepted]
    if unknown:
        raise InputError(f"{label} must be among {', '.join(accepted)}, got {unknown[0]!r}")
    return np.array(sorted(range(len(names)), key=lambda k: accepted.index(names[k])), dtype=int)


def _v1_order(responses: xr.Dataset, names: list[str]) -> np.ndarray:
    """Indices of V1's channels: simple cells of every type, then the complex cells of the same types.

    Types are known by the number in the channel's name or, with other names, by orientation.
    """
    kinds = [str(kind) for kind in responses.v1_kind.values] if "v1_kind" in responses.coords else None
    matches = [_V1_NAME.fullmatch(name) for name in names]
    numbered = [(match[1], int(match[2])) for match in matches if match is not None]
    if len(numbered) == len(names):
        if kinds is not None and kinds != [kind for kind, _ in numbered]:
            raise InputError(f"v1_kind must be the kind that v1_channel names, got {_some(kinds)} for {_some(names)}")
        return np.array(
            sorted(range(len(names)), key=lambda k: (numbered[k][0] != "simple", numbered[k][1])), dtype=int
        )
    if kinds is None:
        return np.arange(len(names))
    order = sorted(range(len(names)), key=lambda k: kinds[k] != "simple")
    if "v1_orientation" in responses.coords:
        angles = responses.v1_orientation.values.tolist()
        simple = [angles[k] for k in order if kinds[k] == "simple"]
        pairs = {angle: simple.index(angle) for angle in simple}
        order = sorted(order, key=lambda k: (kinds[k] != "simple", pairs.get(angles[k], len(pairs))))
    return np.array(order, dtype=int)


def _image_order(responses: xr.Dataset | xr.DataArray, light: xr.DataArray) -> np.ndarray:
    """Indices of responses in the order of the images of the stimulus."""
    images = light.sizes["image"]
    if responses.sizes["image"] != images:
        raise InputError(f"responses must have as many images as stimulus, {images}, got {responses.sizes['image']}")
    return _label_order(responses, light, "image", "responses to images")


def _place_order(responses: xr.Dataset | xr.DataArray, axis: str, wanted: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Indices of cells along an axis in the order of the pixels that they are on."""
    which = "every second pixel" if axis.startswith("v1_") else "every pixel"
    if axis not in responses.coords:
        if responses.sizes[axis] != len(wanted):
            raise InputError(
                f"responses must have a cell at {which} of the stimulus, {len(wanted)} along {axis}, "
                f"got {responses.sizes[axis]}"
            )
        return np.arange(len(wanted))
    found = _places(responses[axis])
    order = np.argsort(found, kind="stable")
    pixel = np.ptp(pixels) / max(len(pixels) - 1, 1)
    if len(found) != len(wanted) or not (np.abs(found[order] - wanted) <= _TOLERANCE * pixel).all():
        raise InputError(
            f"responses must have a cell at {which} of the stimulus, {len(wanted)} along {axis} from {wanted[0]:g} to "
            f"{wanted[-1]:g}°, got {len(found)} from {found.min():g} to {found.max():g}°"
        )
    return order
