"""Scores of predictions: R², FEVe and correlation by channel, and `FitReport`, the scores of a fitted front end."""

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
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path, write_text
from bridge.model.front_end import FrontEnd

#: Images per batch where no derivatives are needed.
BATCH = 64


@dataclass(frozen=True)
class FitReport:
    """Scores of a front end on responses that it was not fitted on.

    Parameters
    ----------
    fidelity : str
        Fidelity of the responses: "rate", "spiking", or "unknown".
    scores : pandas.DataFrame
        Scores on every held-out set, as `score_front_end` returns them.
    held_out : tuple of str
        Photographs that were held out.
    seconds : float
        Duration of the fit, with the simulation if there was one.

    Examples
    --------
    >>> import pandas as pd
    >>> from bridge import FitReport
    >>> row = {"station": "lgn", "set": "photographs", "channel": "midget_on", "r2": 0.9, "feve": 0.95, "correlation": 0.97}
    >>> FitReport("rate", pd.DataFrame([row]), ("camera",), 12.0).summary()["lgn"]["photographs"]["median_r2"]
    0.9
    """

    fidelity: str
    scores: pd.DataFrame
    held_out: tuple[str, ...]
    seconds: float

    def summary(self) -> dict[str, dict[str, dict[str, float | int | None]]]:
        """By station and set: median and minimum of R² and FEVe and median correlation over channels, number of channels.

        A number that is NaN or infinite, as R² of channels that never vary, is None.
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
        """The content of the file that ``precortical fit --json`` writes."""
        return {
            "fidelity": self.fidelity,
            "scores": self.summary(),
            "seconds": round(self.seconds, 1),
            "held_out": list(self.held_out),
        }

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        write_text(local_path(path), json.dumps(self.to_json(), indent=2) + "\n")


def r_squared(response: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the response's variance that the prediction explains, unclipped: 1 - Σ(r - p)² / Σ(r - mean r)².

    For a response without variance it is NaN if the prediction is exact, and otherwise -inf.
    """
    residual = float(((response - prediction) ** 2).sum())
    total = float(((response - response.mean()) ** 2).sum())
    if total == 0:
        return float("nan") if residual == 0 else float("-inf")
    return 1 - residual / total


def feve(response: np.ndarray, prediction: np.ndarray) -> float:
    """Fraction of explainable variance explained (Cadena et al. 2019, eq. 3), unclipped.

    1 - (mean (r - p)² - σ²) / (variance of r - σ²), where σ² is the variance over repeats, averaged over stimuli.

    Parameters
    ----------
    response : numpy.ndarray, (repeat, ...)
        At least two repeats.
    prediction : numpy.ndarray, (...)

    Raises
    ------
    InputError
        For a single repeat.
    """
    if len(response) < 2:
        raise InputError(f"response must have at least 2 repeats, got {len(response)}")
    noise = float(response.var(axis=0, ddof=1).mean())
    residual = float(((response - prediction) ** 2).mean()) - noise
    explainable = float(response.var()) - noise
    return 1 - residual / explainable if explainable > 0 else float("nan")


def correlation(response: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation; NaN where either has no variance."""
    r, p = response.ravel() - response.mean(), prediction.ravel() - prediction.mean()
    norm = float(np.sqrt((r**2).sum() * (p**2).sum()))
    return float((r * p).sum()) / norm if norm > 0 else float("nan")


def finite(value: float) -> float | None:
    """A number for JSON: None in place of NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def tensor(values: np.ndarray) -> Tensor:
    """An array as a single-precision tensor."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


@torch.no_grad()
def predict(front_end: FrontEnd, light: np.ndarray, background: np.ndarray) -> dict[str, np.ndarray]:
    """Responses by station, (image, channel, y, x), to images and fields (image, y, x) in cd/m²."""
    batches = []
    for first in range(0, len(light), BATCH):
        images = slice(first, first + BATCH)
        batches.append(front_end.responses(tensor(light[images])[:, None], tensor(background[images])[:, None]))
    return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in front_end.stations}


def score_front_end(front_end: FrontEnd, name: str, light: xr.DataArray, responses: xr.Dataset) -> pd.DataFrame:
    """Score a front end on responses, by station and channel.

    Parameters
    ----------
    front_end : FrontEnd
    name : str
        Name of the stimulus set.
    light : xarray.DataArray, (image, y, x)
        cd/m².
    responses : xarray.Dataset
        Responses to `light`, with `background`; with a dimension `trial` where images were repeated.

    Returns
    -------
    pandas.DataFrame
        Columns station, set, channel, r2 and correlation (of the mean over repeats), and feve, which without repeats is r2.
    """
    return score(predict(front_end, light.values, responses.background.values), name, responses)


def score(predictions: dict[str, np.ndarray], name: str, responses: xr.Dataset) -> pd.DataFrame:
    """Score predictions by station, (image, channel, y, x); other parameters and columns as in `score_front_end`."""
    rows = []
    for station in (station for station in predictions if station in responses):
        response = responses[station]
        if station in SINGLE:
            response = response.expand_dims(channel=[station], axis=response.dims.index("image") + 1)
        label = "channel" if station in SINGLE else f"{station}_channel"
        mean = response.mean("trial") if "trial" in response.dims else response
        for k, channel in enumerate(response[label].values.tolist()):
            values, prediction = mean.isel({label: k}).values, predictions[station][:, k]
            r2 = share = r_squared(values, prediction)
            if "trial" in response.dims:
                share = feve(response.isel({label: k}).transpose("trial", ...).values, prediction)
            rows.append((station, name, channel, r2, share, correlation(values, prediction)))
    return pd.DataFrame(rows, columns=["station", "set", "channel", "r2", "feve", "correlation"])
