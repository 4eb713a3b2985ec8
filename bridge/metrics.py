"""How near a prediction comes to a response: unclipped R² and correlation, channel by channel."""

from __future__ import annotations

import numpy as np
import pandas as pd


def r_squared(response: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the response's variance that the prediction explains, unclipped: 1 - Σ(r - p)² / Σ(r - mean r)².

    Without noise this is also the fraction of explainable variance explained (FEVe). It is -inf where a response without
    variance is missed, and NaN where it is met.
    """
    residual = float(((response - prediction) ** 2).sum())
    total = float(((response - response.mean()) ** 2).sum())
    if total == 0:
        return float("nan") if residual == 0 else float("-inf")
    return 1 - residual / total


def correlation(response: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation; NaN where either has no variance."""
    r, p = response.ravel() - response.mean(), prediction.ravel() - prediction.mean()
    norm = float(np.sqrt((r**2).sum() * (p**2).sum()))
    return float((r * p).sum()) / norm if norm > 0 else float("nan")


def score(
    response: np.ndarray, prediction: np.ndarray, channels: list[str], station: str, held_out: str
) -> pd.DataFrame:
    """R² and correlation of every channel.

    Parameters
    ----------
    response, prediction : numpy.ndarray, (image, channel, y, x)
    channels : list of str
    station, held_out : str
        The station, and the name of the set of stimuli.

    Returns
    -------
    pandas.DataFrame
        Columns station, set, channel, r2, correlation.
    """
    return pd.DataFrame(
        [
            {
                "station": station,
                "set": held_out,
                "channel": channel,
                "r2": r_squared(response[:, k], prediction[:, k]),
                "correlation": correlation(response[:, k], prediction[:, k]),
            }
            for k, channel in enumerate(channels)
        ]
    )
