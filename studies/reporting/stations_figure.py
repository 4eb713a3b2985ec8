"""The responses of every station to one image, as maps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from biomodel import STATIONS
from biomodel.analysis.alignment import canonical
from biomodel.engine.responses import SINGLE

#: Maps in a row: the channels of a bipolar, ganglion or relay station.
_COLUMNS = 4


def draw(light: np.ndarray, responses: xr.Dataset, image: int = 0) -> Figure:
    """Draw an image, the field that the cones are adapted to, and the mean response of every simulated station.

    Parameters
    ----------
    light : numpy.ndarray, (y, x)
        Luminance of the image in cd/m².
    responses : xarray.Dataset
        As `Pathway.simulate` returns it at rate fidelity, without a time axis.
    image : int
        Index of the image among the responses.

    Returns
    -------
    matplotlib.figure.Figure
        One row of the image, its adaptation field, cones and horizontal cells, then one row per station. Of V1, the two simple
        and the two complex channels whose responses vary most over the image.
    """
    found = canonical(responses.isel(image=[image])).isel(image=0)
    rows = [name for name in STATIONS if name in found and name not in SINGLE]
    figure = Figure(figsize=(8.4, 2.05 * (1 + len(rows))), layout="constrained")
    axes = figure.subplots(1 + len(rows), _COLUMNS, squeeze=False)
    singles = [("image", light, "cd/m²"), ("adapted to", found.background.values, "cd/m²")]
    singles += [(name, found[name].values, found[name].attrs["units"]) for name in SINGLE if name in found]
    for ax, (title, values, unit) in zip(axes[0], singles, strict=False):
        shown = ax.imshow(values, cmap="gray" if unit == "cd/m²" else "viridis")
        ax.set_title(f"{title.replace('_', ' ')} ({unit})", fontsize=9)
        figure.colorbar(shown, ax=ax, shrink=0.85).ax.tick_params(labelsize=7)
    for row, name in zip(axes[1:], rows, strict=True):
        channels = _largest_variation(found) if name == "v1" else range(found.sizes[f"{name}_channel"])
        maps = found[name].isel({f"{name}_channel": list(channels)})
        shown = None
        for ax, values in zip(row, maps.values, strict=False):
            shown = ax.imshow(values, cmap="viridis", vmin=float(maps.min()), vmax=float(maps.max()))
        for ax, title in zip(row, _titles(name, maps), strict=False):
            ax.set_title(title, fontsize=9)
        if shown is not None:
            bar = figure.colorbar(shown, ax=list(row), shrink=0.85, pad=0.01)
            bar.set_label(maps.attrs["units"], fontsize=8)
            bar.ax.tick_params(labelsize=7)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        if not ax.images:
            ax.set_axis_off()
    return figure


def _largest_variation(found: xr.Dataset) -> list[int]:
    """Channels of V1: the two simple and the two complex ones whose responses vary most over the image."""
    spread, cells = found.v1.std(("v1_y", "v1_x")).values, found.v1_kind.values
    chosen: list[int] = []
    for cell in ("simple", "complex"):
        some = np.flatnonzero(cells == cell)
        chosen += sorted(some[np.argsort(-spread[some], kind="stable")[: _COLUMNS // 2]].tolist())
    return chosen


def _titles(name: str, maps: xr.DataArray) -> list[str]:
    """A title for each channel of a station's maps."""
    if name != "v1":
        return [f"{name}, {channel.replace('_', ' ')}" for channel in maps[f"{name}_channel"].values.tolist()]
    cells = zip(maps.v1_kind.values.tolist(), maps.v1_orientation.values.tolist(), strict=True)
    return [f"v1, {cell} {orientation:.0f}°" for cell, orientation in cells]
