"""Scores of predictions: R², FEVe and correlation by channel, and `FitReport`, the scores of a fitted front end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from biomodel.analysis.alignment import CHANNELS, arrange, canonical, canonical_light, ordered_like
from biomodel.engine.responses import SINGLE
from biomodel.utils.errors import InputError
from biomodel.utils.paths import local_path, write_text
from bridge.model.front_end import FrontEnd

logger = logging.getLogger("precortical")

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

    1 - (mean (r - p)² - σ²) / (variance of r - σ²), where σ² is the variance over repeats, averaged over stimuli. Each stimulus
    counts alike, with means over its own repeats; those with a single repeat, which have no variance, are left out.

    Parameters
    ----------
    response : numpy.ndarray, (repeat, ...)
        At least two repeats of some stimuli; NaN where a stimulus was not repeated as often as others.
    prediction : numpy.ndarray, (...)

    Returns
    -------
    float
        NaN where there is no explainable variance.

    Raises
    ------
    InputError
        Where no stimulus has two repeats.
    """
    repeats = (~np.isnan(response)).sum(axis=0)
    most = int(repeats.max(initial=0))
    if most < 2:
        raise InputError(f"response must have at least 2 repeats, got {most}")
    repeated, expected = response[:, repeats > 1], prediction[repeats > 1]
    noise = float(np.nanvar(repeated, axis=0, ddof=1).mean())
    middle = np.nanmean(repeated, axis=0).mean()
    residual = float(np.nanmean((repeated - expected) ** 2, axis=0).mean()) - noise
    explainable = float(np.nanmean((repeated - middle) ** 2, axis=0).mean()) - noise
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
        Responses to `light`, with `background`, in any order; with a dimension `trial` where images were repeated, NaN where
        they were repeated less often. They may have some of the channels only.

    Returns
    -------
    pandas.DataFrame
        Columns station, set, channel, r2 and correlation (of the mean over repeats), and feve, which for responses without
        trials is r2, and NaN where no image has two repeats.

    Raises
    ------
    InputError
        For responses that do not belong to `light`, without `background`, or of channels that the front end does not have.
    """
    light = canonical_light(light)
    responses = canonical(responses, light)
    if "background" not in responses:
        raise InputError("responses must have a variable 'background', the field adapted to, (image, y, x) in cd/m²")
    predictions = predict(front_end, light.values, responses.background.values)
    return score(predictions, name, responses, front_end.station_channels)


def score(
    predictions: dict[str, np.ndarray],
    name: str,
    responses: xr.Dataset,
    channels: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Score predictions by station and channel; see `score_front_end`.

    Parameters
    ----------
    predictions : dict of str to numpy.ndarray, (image, channel, y, x)
        By station; images and places in the order of `responses`.
    name, responses
        As in `score_front_end`.
    channels : mapping of str to sequence of str, optional
        Names of the predicted channels by station; by default those of the circuit or, of V1, those of `responses` in canonical
        order.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    InputError
        For responses of channels that are not predicted.
    """
    responses = canonical(responses, names=list(predictions))
    rows = []
    for station in (station for station in predictions if station in responses):
        response = responses[station]
        repeated = "trial" in response.dims
        # (repeat, image, channel, y, x)
        values = response.transpose("trial", ...).values if repeated else response.values[None]
        found = [station] if station in SINGLE else [str(one) for one in response[f"{station}_channel"].values]
        values = values[:, :, None] if station in SINGLE else values
        predicted = [str(one) for one in (channels or {}).get(station, CHANNELS.get(station, found))]
        missing = [channel for channel in found if channel not in predicted]
        if missing:
            raise InputError(f"channels of {station} must be among {', '.join(predicted)}, got {missing[0]!r}")
        if repeated and not has_repeats(values):
            logger.warning("feve of %s in %s is NaN: no image has two repeats", station, name)
        for k, channel in enumerate(found):
            found_scores = _scores(values[:, :, k], predictions[station][:, predicted.index(channel)], repeated)
            rows.append((station, name, channel, *found_scores))
    return pd.DataFrame(rows, columns=["station", "set", "channel", "r2", "feve", "correlation"])


def has_repeats(values: np.ndarray) -> bool:
    """Whether any stimulus has two repeats, of responses (repeat, ...) with NaN for those that are missing."""
    return bool(((~np.isnan(values)).sum(axis=0) > 1).any())


def _scores(values: np.ndarray, prediction: np.ndarray, repeated: bool) -> tuple[float, float, float]:
    """R², FEVe and correlation of responses (repeat, ...), NaN where a repeat is missing."""
    present = ~np.isnan(values).all(axis=0)
    if not present.any():
        return float("nan"), float("nan"), float("nan")
    values, prediction = values[:, present], prediction[present]
    mean = np.nanmean(values, axis=0) if repeated else values[0]
    r2 = share = r_squared(mean, prediction)
    if repeated:
        share = feve(values, prediction) if has_repeats(values) else float("nan")
    return r2, share, correlation(mean, prediction)


def score_cells(responses: xr.DataArray, predictions: xr.DataArray) -> pd.DataFrame:
    """Score predictions of recorded cells, each on the images that it responded to.

    Parameters
    ----------
    responses : xarray.DataArray, (image, [trial,] [cell])
        In any order; of one cell without the dimension `cell`. NaN where an image was not shown, or not repeated as often as
        others.
    predictions : xarray.DataArray, (image, [cell])
        Matched with `responses` by all coordinates along images and along cells that both have, without one by position.

    Returns
    -------
    pandas.DataFrame
        A row per cell: cell; all labels of cells, such as positions; images, the number of images with a response; repeats,
        their mean number; r2 and correlation of the mean over repeats; feve; and note, why a score is NaN.

    Raises
    ------
    InputError
        For other dimensions, labels that do not match, values that are not real numbers, or are infinite.

    Examples
    --------
    Two cells; the second one was shown the last image once:

    >>> import numpy as np, xarray as xr
    >>> from bridge.evaluate.scores import score_cells
    >>> rates = np.array([[[3.0, 1.0], [5.0, 3.0]], [[18.0, 16.0], [16.0, 14.0]], [[1.0, 9.0], [3.0, np.nan]]])
    >>> responses = xr.DataArray(rates, dims=("image", "trial", "cell"))
    >>> predictions = xr.DataArray([[6.0, 4.0], [14.0, 12.0], [3.0, 8.0]], dims=("image", "cell"))
    >>> score_cells(responses, predictions).round(2)[["images", "repeats", "r2", "feve"]].values.tolist()
    [[3.0, 2.0, 0.89, 0.92], [3.0, 1.67, 0.83, 0.87]]
    """
    response = arrange(responses, ("trial", "image", "cell"), "responses", optional=("trial", "cell"))
    prediction = arrange(predictions, ("image", "cell"), "predictions", optional=("cell",))
    for what, array in (("responses", response), ("predictions", prediction)):
        if array.size == 0:
            raise InputError(f"{what} must have at least one image and one cell, got shape {array.shape}")
        if np.isinf(array.values).any():
            raise InputError(f"{what} must be finite, or NaN where an image was not shown, got infinity")
    repeated = "trial" in response.dims
    response = response if repeated else response.expand_dims("trial")
    prediction = ordered_like(prediction, response.isel(trial=0, drop=True), "predictions")
    if "cell" not in response.dims:
        response, prediction = response.expand_dims("cell", axis=-1), prediction.expand_dims("cell", axis=-1)
    labels = {str(n): c.values for n, c in response.coords.items() if c.dims == ("cell",)}
    labels.setdefault("cell", np.arange(response.sizes["cell"]))
    rows = []
    for k in range(response.sizes["cell"]):
        values, expected = response.values[..., k], prediction.values[:, k]
        shown = ~np.isnan(values).all(axis=0)
        if np.isnan(expected[shown]).any():
            raise InputError(f"predictions must be finite where responses are, got NaN for cell {labels['cell'][k]}")
        r2, share, r = _scores(values, expected, repeated)
        count = int(shown.sum())
        rows.append(
            {
                **{name: value[k] for name, value in labels.items()},
                "images": count,
                "repeats": float((~np.isnan(values)).sum() / count) if count else 0.0,
                "r2": r2,
                "feve": share if repeated else float("nan"),
                "correlation": r,
                "note": _note(values),
            }
        )
    return pd.DataFrame(rows)


def _note(values: np.ndarray) -> str:
    """Why a score of a cell's responses, (repeat, image), is NaN; empty where none is for want of data."""
    if np.isnan(values).all():
        return "no responses"
    mean = np.nanmean(values[:, ~np.isnan(values).all(axis=0)], axis=0)
    if np.ptp(mean) == 0:
        return "the response does not vary over images"
    if not has_repeats(values):
        return "no image has two repeats"
    return "" if np.isfinite(feve(values, np.zeros(values.shape[1]))) else "no explainable variance"
