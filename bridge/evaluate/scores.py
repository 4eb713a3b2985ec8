"""`FitReport`: how near a front end comes to responses that it was not fitted on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from biomodel.engine.responses import SINGLE
from bridge.evaluate.metrics import correlation, explainable_share, r_squared
from bridge.model.front_end import FrontEnd

#: Images that are followed at a time where no derivatives are needed.
BATCH = 64


@dataclass(frozen=True)
class FitReport:
    """How well a front end predicts responses that it was not fitted on.

    Attributes
    ----------
    fidelity : str
        Of the responses.
    scores : pandas.DataFrame
        As `scored` returns them, of every held-out set.
    held_out : tuple of str
        Photographs that were held out.
    seconds : float
        Time that the fit took, with the simulation if there was one.
    """

    fidelity: str
    scores: pd.DataFrame
    held_out: tuple[str, ...]
    seconds: float

    def summary(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """By station and set: median and least R² and FEVe, median correlation over channels, number of channels.

        Where no channel has a number, or half of them are infinite, as R² of channels that never vary, it is None.
        """
        out: dict[str, dict[str, dict[str, float | int | None]]] = {}
        for (station, name), rows in self.scores.groupby(["station", "set"], sort=False):
            out.setdefault(str(station), {})[str(name)] = {
                "median_r2": finite(rows.r2.median()),
                "min_r2": finite(rows.r2.min()),
                "median_feve": finite(rows.feve.median()),
                "min_feve": finite(rows.feve.min()),
                "median_correlation": finite(rows.correlation.median()),
                "channels": len(rows),
            }
        return out

    def to_json(self) -> dict[str, object]:
        """The form that `precortical fit --json` writes."""
        return {
            "fidelity": self.fidelity,
            "scores": self.summary(),
            "seconds": round(self.seconds, 1),
            "held_out": list(self.held_out),
        }

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n")


def finite(value: float) -> float | None:
    """A number as JSON knows it; None in the place of NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def tensor(values: np.ndarray) -> Tensor:
    """Single precision is what two cores can afford."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


@torch.no_grad()
def predicted(front_end: FrontEnd, light: np.ndarray, background: np.ndarray) -> dict[str, np.ndarray]:
    """Responses by station, (image, channel, y, x), to images and fields (image, y, x) in cd/m²."""
    batches = []
    for first in range(0, len(light), BATCH):
        chosen = slice(first, first + BATCH)
        batches.append(front_end.responses(tensor(light[chosen])[:, None], tensor(background[chosen])[:, None]))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in front_end.stations}


def scored(front_end: FrontEnd, name: str, light: xr.DataArray, responses: xr.Dataset) -> pd.DataFrame:
    """How near a front end comes to responses, station by station and channel by channel.

    Parameters
    ----------
    front_end : FrontEnd
    name : str
        Of the set of stimuli.
    light : xarray.DataArray, (image, y, x)
        cd/m².
    responses : xarray.Dataset
        To it, with `background`; with a dimension `trial` where images were repeated.

    Returns
    -------
    pandas.DataFrame
        Columns station, set, channel, r2 and correlation (of the mean over repeats) and feve. Without repeats nothing is
        noisy, and feve is r2.
    """
    return compared(predicted(front_end, light.values, responses.background.values), name, responses)


def compared(told: dict[str, np.ndarray], name: str, responses: xr.Dataset) -> pd.DataFrame:
    """As `scored`, of what was `told` of stations, (image, channel, y, x)."""
    rows = []
    for station in (station for station in told if station in responses):
        found = responses[station]
        if station in SINGLE:
            found = found.expand_dims(channel=[station], axis=found.dims.index("image") + 1)
        label = "channel" if station in SINGLE else f"{station}_channel"
        mean = found.mean("trial") if "trial" in found.dims else found
        for k, channel in enumerate(found[label].values.tolist()):
            one, guess = mean.isel({label: k}).values, told[station][:, k]
            r2 = r_squared(one, guess)
            feve = r2
            if "trial" in found.dims:
                feve = explainable_share(found.isel({label: k}).transpose("trial", ...).values, guess)
            rows.append((station, name, channel, r2, feve, correlation(one, guess)))
    return pd.DataFrame(rows, columns=["station", "set", "channel", "r2", "feve", "correlation"])
