"""A pathway that fires, on the recording table: every stimulus is repeated, and answers are rates over the repeats."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from biomodel.circuit import SPIKING
from biomodel.parameters import Parameters
from biomodel.pathway import Pathway

#: Repeats of a stimulus where V1 is recorded, and where nothing behind the relay is, whose cells take less time.
V1_TRIALS, RELAY_TRIALS = 5, 20

#: Responses of all trials that are in memory together.
_IN_MEMORY = 20_000_000


class Repeated:
    """Trial-averaged rates of a spiking pathway: a subject for experiments.

    Trials of another stimulus have other noise.

    Parameters
    ----------
    pathway : Pathway
        Of fidelity "spiking".
    v1_trials, relay_trials : int
        Repeats of a stimulus where V1 is recorded, and where it is not.
    """

    def __init__(self, pathway: Pathway, v1_trials: int = V1_TRIALS, relay_trials: int = RELAY_TRIALS) -> None:
        self.pathway = pathway
        self.v1_trials, self.relay_trials = v1_trials, relay_trials

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
        until: str,
        record: str = "mean",
        trials: int | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """Rates in Hz, as `Pathway.simulate` at rate fidelity; `trials` of them where a number is given."""
        return self._over_images(stimulus, adapt_to, duration, window, until, record, trials, settings, averaged=True)

    def counts(
        self,
        stimulus: xr.DataArray,
        adapt_to: Sequence[float] | float,
        duration: float,
        window: tuple[float, float],
        until: str,
        trials: int,
        **settings: Any,
    ) -> xr.Dataset:
        """Counts of spikes in the window, trial by trial."""
        return self._over_images(stimulus, adapt_to, duration, window, until, "mean", trials, settings, averaged=False)

    def _over_images(
        self,
        stimulus: xr.DataArray,
        adapt_to: Sequence[float] | float,
        duration: float,
        window: tuple[float, float],
        until: str,
        record: str,
        trials: int | None,
        settings: dict[str, Any],
        averaged: bool,
    ) -> xr.Dataset:
        number = trials or (self.v1_trials if until == "v1" else self.relay_trials)
        images = stimulus.sizes["image"]
        levels = np.broadcast_to(np.asarray(adapt_to, dtype=float), images)
        samples = duration * 500 if record == "trace" else 1
        shown = 1 if "record_within" in settings else stimulus.sizes["y"] * stimulus.sizes["x"]
        together = max(1, int(_IN_MEMORY / (number * samples * shown * 16)))
        seconds = window[1] - window[0]
        parts = []
        for first in range(0, images, together):
            chosen = slice(first, first + together)
            part = stimulus.isel(image=chosen)
            found = self.pathway.simulate(
                part,
                levels[chosen].tolist(),
                duration,
                window,
                until=until,
                record=record,
                trials=number,
                seed=zlib.crc32(np.ascontiguousarray(part.values).tobytes()),
                **settings,
            )
            if averaged:
                if record == "trace":
                    seconds = float(found.time[1] - found.time[0])
                for station in SPIKING:
                    if station in found:
                        found[station] = found[station].mean("trial") / seconds
            parts.append(found)
        return xr.concat(parts, "image", data_vars="minimal") if len(parts) > 1 else parts[0]
