"""How near a prediction comes to a response: unclipped R² and correlation, channel by channel."""

from __future__ import annotations

import numpy as np

from biomodel.utils.errors import InputError


def r_squared(response: np.ndarray, prediction: np.ndarray) -> float:
    """Share of the response's variance that the prediction explains, unclipped: 1 - Σ(r - p)² / Σ(r - mean r)².

    It is -inf where a response without
    variance is missed, and NaN where it is met.
    """
    residual = float(((response - prediction) ** 2).sum())
    total = float(((response - response.mean()) ** 2).sum())
    if total == 0:
        return float("nan") if residual == 0 else float("-inf")
    return 1 - residual / total


def explainable_share(response: np.ndarray, prediction: np.ndarray) -> float:
    """Fraction of explainable variance explained (FEVe; Cadena et al. 2019, eq. 3), unclipped.

    1 - (mean (r - p)² - σ²) / (variance of r - σ²), where the noise's variance σ² is that over repeats, averaged over stimuli.

    Parameters
    ----------
    response : numpy.ndarray, (repeat, …)
        At least two repeats.
    prediction : numpy.ndarray, (…)

    Raises
    ------
    InputError
        For a single repeat.
    """
    if len(response) < 2:
        raise InputError("one repeat is not accepted: the noise is told from two or more")
    noise = float(response.var(axis=0, ddof=1).mean())
    missed = float(((response - prediction) ** 2).mean()) - noise
    explainable = float(response.var()) - noise
    return 1 - missed / explainable if explainable > 0 else float("nan")


def correlation(response: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation; NaN where either has no variance."""
    r, p = response.ravel() - response.mean(), prediction.ravel() - prediction.mean()
    norm = float(np.sqrt((r**2).sum() * (p**2).sum()))
    return float((r * p).sum()) / norm if norm > 0 else float("nan")
