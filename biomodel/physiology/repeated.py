"""A pathway that fires, on the recording table: every stimulus is repeated, and answers are rates over the repeats."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from biomodel.circuit.specification import SPIKING
from biomodel.parameters import Parameters
from biomodel.pathway import Pathway

#: Repeats of a stimulus where V1 is recorded, and where nothing behind the relay is, whose cells take less time.
V1_TRIALS, RELAY_TRIALS = 5, 20

#: Seconds between samples of a trace, and cells times samples times trials that are in memory together.
_TRACE_STEP, _IN_MEMORY = 0.002, 1_000_000


class Repeated:
    """Trial-averaged rates of a spiking pathway: a subject for experiments.

    Trials of another stimulus have other noise.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking".
    v1_trials, relay_trials : int
        Repeats of a stimulus where V1 is recorded, and where it is not.
    seed : int
        Of the noise, which also depends on what is shown.
    """

    def __init__(
        self, pathway: Pathway, v1_trials: int = V1_TRIALS, relay_trials: int = RELAY_TRIALS, seed: int = 0
    ) -> None:
        self.pathway = pathway
        self.v1_trials, self.relay_trials, self.seed = v1_trials, relay_trials, seed
        self.preset, self.fidelity, self.lesions, self.dt = (
            pathway.preset,
            pathway.fidelity,
            pathway.lesions,
            pathway.dt,
        )

    @property
    def parameters(self) -> Parameters:
        """The pathway's."""
        return self.pathway.parameters

    def classical_centre(self, pixels_per_degree: float) -> int:
        """The pathway's."""
        return self.pathway.classical_centre(pixels_per_degree)

    def simulate(
        self,
        stimulus: xr.DataArray,
        adapt_to: Sequence[float] | float,
        duration: float,
        window: tuple[float, float],
        output: str,
        record: str = "mean",
        trials: int | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """Rates in Hz, as `Pathway.simulate` at rate fidelity; over `trials` where a number is given."""
        number = trials or (self.v1_trials if output == "v1" else self.relay_trials)
        settings |= {"duration": duration, "window": window, "output": output, "record": record, "trials": number}
        tracing = record == "trace"
        values = number * (round(duration / _TRACE_STEP) if tracing else 1)
        if settings.get("record_within") is None:
            values *= stimulus.sizes["y"] * stimulus.sizes["x"]
        parts = []
        for found in self._in_parts(stimulus, adapt_to, max(1, _IN_MEMORY // values), settings):
            seconds = float(found.time[1] - found.time[0]) if tracing else window[1] - window[0]
            for station in set(SPIKING) & set(found):
                found[station] = (found[station].mean("trial") / seconds).assign_attrs(units="Hz")
            parts.append(found)
        return xr.concat(parts, "image", data_vars="minimal")

    def counts(self, stimulus: xr.DataArray, adapt_to: Sequence[float] | float, **settings: Any) -> xr.Dataset:
        """Counts of spikes in the window, trial by trial: what `Pathway.simulate` returns, with this subject's seeds."""
        parts = self._in_parts(stimulus, adapt_to, stimulus.sizes["image"], settings)
        return xr.concat(list(parts), "image", data_vars="minimal")

    def _in_parts(
        self, stimulus: xr.DataArray, adapt_to: Sequence[float] | float, together: int, settings: dict[str, Any]
    ) -> Iterator[xr.Dataset]:
        """So many images at a time; the seed is what is shown, that no two stimuli share their noise."""
        levels = np.broadcast_to(np.asarray(adapt_to, dtype=float), stimulus.sizes["image"])
        for first in range(0, len(levels), together):
            chosen = slice(first, first + together)
            part = stimulus.isel(image=chosen)
            seed = zlib.crc32(np.ascontiguousarray(part.values).tobytes(), self.seed)
            yield self.pathway.simulate(part, levels[chosen].tolist(), seed=seed, **settings)
