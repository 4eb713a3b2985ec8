"""Recorded spikes: a table of every spike, and the same as Neo objects."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from biomodel.circuit.recording import Recording
from biomodel.utils.errors import InputError

if TYPE_CHECKING:
    import neo

#: Columns that identify a cell of a station.
PLACE = ("channel", "y", "x")


class SpikeTrains(pd.DataFrame):
    """Every spike of every trial, as `Pathway.simulate(record="spikes")` returns them.

    One row per spike, in the order of station, channel, image, trial and time; columns `station`, `image`, `trial`, `channel`,
    `y` and `x` in degrees, and `time` in seconds after onset. `attrs` hold how they were made, and the numbers of images and
    trials.
    """

    @property
    def _constructor(self) -> type[SpikeTrains]:
        return SpikeTrains

    def to_neo(self) -> neo.Block:
        """A Neo block: a segment a trial of an image, in it a spike train of each cell that spiked in any.

        Segments are annotated with `image` and `trial`, trains with `station`, `channel`, `y` and `x`, the block with
        `attrs`.

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
            spiked = dict(list(spikes.groupby(["image", "trial"]).time))
            about = dict(zip(("station", *PLACE), place, strict=True))
            for k, segment in enumerate(block.segments):
                times = np.sort(spiked[divmod(k, trials)].to_numpy()) if divmod(k, trials) in spiked else np.empty(0)
                segment.spiketrains.append(neo.SpikeTrain(times * quantities.s, t_stop=end, **about))
        return block


def spike_table(
    recordings: dict[str, Recording], recorded: dict[str, np.ndarray], y: np.ndarray, x: np.ndarray
) -> SpikeTrains:
    """The table of recorded spikes.

    Parameters
    ----------
    recordings : dict of str to Recording
    recorded : dict of str to numpy.ndarray
        By "station.channel", (spike, 4): image, trial, cell and time in seconds.
    y, x : numpy.ndarray
        Places of pixels, degrees.
    """
    parts = []
    for station, recording in recordings.items():
        if not recording.spiking:
            continue
        # Cells are numbered among all cells of a station, recorded or not.
        rows, columns = recording.lattice
        for channel in recording.readout.channels:
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
