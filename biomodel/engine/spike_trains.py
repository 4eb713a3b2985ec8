"""Recorded spikes: a table of every spike, and the same as Neo objects."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from biomodel.circuit.recording import readout
from biomodel.circuit.specification import Specification
from biomodel.utils.errors import InputError

if TYPE_CHECKING:
    import neo

#: What the columns of a cell tell, after `station`, `image` and `trial`.
PLACE = ("channel", "y", "x")


class SpikeTrains(pd.DataFrame):
    """Every spike of every trial, as `Pathway.simulate(record="spikes")` returns them.

    A row a spike, in the order of station, channel, image, trial and time; columns `station`, `image`, `trial`, `channel`,
    `y` and `x` in degrees, and `time` in seconds after onset. `attrs` tell how they were made, and of how many images and
    trials.
    """

    @property
    def _constructor(self) -> type[SpikeTrains]:
        return SpikeTrains

    def to_neo(self) -> neo.Block:
        """A Neo block: a segment a trial of an image, in it a spike train of each cell that fired in any.

        Segments are annotated with `image` and `trial`, trains with `station`, `channel`, `y` and `x`, the block with
        what stands in `attrs`.

        Raises
        ------
        InputError
            Where the extra ``neo`` isn't installed.
        """
        if importlib.util.find_spec("neo") is None:
            raise InputError("spike trains as Neo objects need the extra neo: pip install 'precortical[neo]'")
        import neo
        import quantities

        block = neo.Block(name="precortical", **{name: str(value) for name, value in self.attrs.items()})
        trials, end = self.attrs["trials"], self.attrs["duration_s"] * quantities.s
        for k in range(self.attrs["images"] * trials):
            image, trial = divmod(k, trials)
            block.segments.append(neo.Segment(name=f"image {image}, trial {trial}", image=image, trial=trial))
        for place, spikes in self.groupby(["station", *PLACE], sort=False):
            fired = dict(list(spikes.groupby(["image", "trial"]).time))
            about = dict(zip(("station", *PLACE), place, strict=True))
            for k, segment in enumerate(block.segments):
                times = fired[divmod(k, trials)].to_numpy() if divmod(k, trials) in fired else np.empty(0)
                segment.spiketrains.append(neo.SpikeTrain(times * quantities.s, t_stop=end, **about))
        return block


def table(specification: Specification, recorded: dict[str, np.ndarray], y: np.ndarray, x: np.ndarray) -> SpikeTrains:
    """The table of recorded spikes, (spike, 4) by "station.channel": image, trial, cell and time.

    Parameters
    ----------
    y, x : numpy.ndarray
        Where pixels are, degrees.
    """
    s, parts = specification, []
    for station in s.spiking:
        # Cells are counted in all that a station has, recorded or not.
        rows, columns = s.lattice(station)
        for channel in readout(s, station).channels:
            image, trial, cell, time = recorded[f"{station}.{channel}"].T
            row, column = np.divmod(cell.astype(int), len(columns))
            parts.append(
                pd.DataFrame(
                    {
                        "station": station,
                        "image": image.astype(int),
                        "trial": trial.astype(int),
                        "channel": channel,
                        "y": y[rows[row]],
                        "x": x[columns[column]],
                        "time": time,
                    }
                )
            )
    return SpikeTrains(pd.concat(parts, ignore_index=True))
