r"""Measures of the module's kernels, and their correlation with robustness.

Balance, |Σw| / Σ|w|: 0 for a kernel that gives no response to a uniform field, 1 for one with weights of a single sign. The
sums are over all inputs of an output; the result is the mean over outputs. It is about .1 for the 49 initial weights of a
layer, which are uniform around zero: each measure is given before and after training.

Centre-surround index: Σᵣ is the sum of weights at the distance r, rounded to whole taps, from the centroid of |w|. With P the
sum of the positive rings and N that of the negative ones, the index is 2 min(P, N) / Σ|w|: 1 for a difference of Gaussians that
sums to zero, 0 for a blob and for an edge. A bar with flanks of the other sign can reach .9, because it has a centre and a
surround along one axis. Isotropy distinguishes it: the fraction of Σw² that remains if each weight is replaced by the mean of
its ring. It is 1 for weights that depend on distance only, 0 for an edge, and the number of rings over that of taps (.1 to .2)
for noise. Both measures are of the sum over inputs, the kernel for grey light, and averaged over outputs.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from studies.common.retilenet import STATIONS
from studies.reproduction.arms import ARMS
from studies.reproduction.results import Results
from studies.reproduction.verdicts import CONFIDENCE

#: Fewest networks for which a correlation has an interval.
_FEWEST = 8


class Correlation(NamedTuple):
    """Spearman's correlation, and its interval of 95 % (NaN for fewer networks than eight)."""

    rho: float
    low: float
    high: float


def balance(kernels: np.ndarray) -> float:
    """Balance |Σw| / Σ|w| of kernels (out, in, h, w), mean over outputs."""
    summed, absolute = np.abs(kernels.sum(axis=(1, 2, 3))), np.abs(kernels).sum(axis=(1, 2, 3))
    return float(np.mean(summed / np.where(absolute > 0, absolute, 1.0)))


def centre_surround(kernels: np.ndarray) -> float:
    """Centre-surround index of kernels (out, in, h, w), mean over outputs; 0 for one without weights."""
    return float(np.mean([_centre_surround(kernel) for kernel in kernels.sum(axis=1)]))


def isotropy(kernels: np.ndarray) -> float:
    """Isotropy of kernels (out, in, h, w), mean over outputs; 0 for one without weights."""
    return float(np.mean([_isotropy(kernel) for kernel in kernels.sum(axis=1)]))


#: Measures of kernels, by their column in kernels.csv.
MEASURES = {"balance": balance, "centre_surround": centre_surround, "isotropy": isotropy}

#: Columns of kernels.csv.
COLUMNS = (
    *("dataset", "budget", "arm", "seed", "layer"),
    *(f"{name}{when}" for name in MEASURES for when in ("", "_before")),
    *("mu", "sigma"),
)


def _rings(kernel: np.ndarray) -> np.ndarray:
    """Distance of each tap of a kernel (h, w) from the centroid of |w|, in whole taps."""
    weight = np.abs(kernel) / np.abs(kernel).sum()
    rows, columns = np.indices(kernel.shape)
    y, x = (weight * rows).sum(), (weight * columns).sum()
    return np.rint(np.hypot(rows - y, columns - x)).astype(int)


def _centre_surround(kernel: np.ndarray) -> float:
    """Centre-surround index of one kernel (h, w)."""
    if not kernel.any():
        return 0.0
    sums = np.bincount(_rings(kernel).ravel(), kernel.ravel())
    return float(2 * min(sums[sums > 0].sum(), -sums[sums < 0].sum()) / np.abs(kernel).sum())


def _isotropy(kernel: np.ndarray) -> float:
    """Isotropy of one kernel (h, w)."""
    if not kernel.any():
        return 0.0
    rings = _rings(kernel).ravel()
    sums, taps = np.bincount(rings, kernel.ravel()), np.bincount(rings)
    return float((sums**2 / np.maximum(taps, 1)).sum() / (kernel**2).sum())


def measure(results: Results) -> pd.DataFrame:
    """Measure every learned layer, before and after training.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`: the measures, with ``_before`` those of the initial kernels; mu and sigma, the mean accuracies of the
        network over the small sweeps.
    """
    rows = []
    for cell, result in results.cells.items():
        accuracy: dict[str, object] = {
            name: float(np.mean([value for (sweep, _), value in result.accuracy.items() if sweep == name]))
            for name in ("mu", "sigma")
            if name in cell.sweeps
        }
        for layer, kernel in result.kernels.items():
            row = {"dataset": cell.dataset, "budget": cell.budget, "arm": cell.arm, "seed": cell.seed, "layer": layer}
            for name, function in MEASURES.items():
                row |= {name: function(kernel), f"{name}_before": function(result.initial_kernels[layer])}
            rows.append(row | accuracy)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def first_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table of `measure` that are the first layers of modules."""
    return table[(table.layer == STATIONS[0]) & table.arm.isin([name for name, arm in ARMS.items() if arm.has_module])]


def correlation_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Correlate balance and centre-surround index of first layers with accuracy over μ and over σ.

    The module whose first kernels are held to a zero sum is excluded, because its balance is not learned. Correlations are across
    all other modules, and within arms, which removes differences between arms; the last rows are within arms, budgets and data
    sets, over all networks. Networks of one arm are similar: the interval across arms takes them as independent, and is too
    narrow where arms differ.

    Parameters
    ----------
    table : pandas.DataFrame
        As `measure` returns it.

    Returns
    -------
    list of dict
        One per data set, budget and measure of the kernel, if any of its correlations has an interval; its ``by`` has a
        `Correlation` by sweep and selection, such as ``"mu, within arms"``.
    """
    free = first_layers(table)
    free = free[free.arm != "retilenet_zero_sum"]
    selections = []
    for (dataset, budget), part in free.groupby(["dataset", "budget"], sort=False):
        selections.append((dataset, budget, "across arms", part, np.zeros(len(part))))
        selections.append((dataset, budget, "within arms", part, part.arm.to_numpy()))
    if len(free[["dataset", "budget"]].drop_duplicates()) > 1:
        groups = free.groupby(["dataset", "budget", "arm"]).ngroup().to_numpy()
        selections.append(("all", "all", "within arms", free, groups))
    rows: dict[tuple, dict[str, Any]] = {}
    for dataset, budget, which, part, groups in selections:
        for name, sweep in itertools.product(("balance", "centre_surround"), ("mu", "sigma")):
            if len(part) > len(set(groups)) + 1:
                row = {"dataset": dataset, "budget": budget, "measure": name, "networks": len(part), "by": {}}
                by = rows.setdefault((dataset, budget, name), row)["by"]
                by[f"{sweep}, {which}"] = correlate(part[name].to_numpy(), part[sweep].to_numpy(), groups)
    return [row for row in rows.values() if any(np.isfinite(one.low) for one in row["by"].values())]


def correlate(one: np.ndarray, other: np.ndarray, groups: np.ndarray) -> Correlation:
    """Spearman's correlation of two quantities (n,) of networks, within groups (n,), with its confidence interval.

    Ranks are over all networks; the mean rank of each group is subtracted. The interval is Fisher's, with the standard error
    √((1 + ρ²/2) / (n − 3)) of Bonett & Wright 2000, and one degree of freedom less for every group after the first.
    """
    ranks = [pd.Series(stats.rankdata(values)) for values in (one, other)]
    x, y = (np.asarray(rank - rank.groupby(groups).transform("mean")) for rank in ranks)
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    rho = float((x * y).sum()) / norm if norm > 0 else float("nan")
    degrees = len(one) - 3 - (len(set(groups)) - 1)
    if len(one) < _FEWEST or degrees < 1 or not abs(rho) < 1:
        return Correlation(rho, float("nan"), float("nan"))
    half_width = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * np.sqrt((1 + rho**2 / 2) / degrees)
    low, high = np.tanh(np.arctanh(rho) + np.array([-half_width, half_width]))
    return Correlation(rho, float(low), float(high))
