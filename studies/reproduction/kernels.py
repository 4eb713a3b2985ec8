r"""What the module's kernels are like, and whether robustness follows it.

Balance, |Σw| / Σ|w|: 0 for a kernel that an even field leaves silent, 1 for one of a single sign. Over all inputs of an output,
and the mean over outputs. Of 49 weights drawn evenly about zero, as a layer begins, it is some .1 already: what is learned is
told beside what a network began with.

Centre and surround: Σᵣ is the sum of weights at the distance r, rounded to whole taps, from the centroid of |w|. With P the sum
of the rings above zero and N that of those below, the index is 2 min(P, N) over Σ|w|: 1 for a difference of Gaussians that sums
to zero, 0 for a blob and for an edge. A bar with flanks of the other sign may have .9, for it is a centre and a surround along
one axis; what is round is told by the isotropy, the share of Σw² that is left where each weight is replaced by the mean of its
ring: 1 for what depends on distance alone, 0 for an edge, the number of rings over that of taps (.1 to .2) for noise. Both of
the sum over inputs, what grey light meets, and the mean over outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from studies.common.retilenet import STATIONS
from studies.reproduction.arms import ARMS
from studies.reproduction.run import Cell, Study

#: Networks from which on a correlation has an interval, and the share within it.
_ENOUGH, _WITHIN = 8, 0.95


#: Columns of kernels.csv.
COLUMNS = (
    "dataset",
    "budget",
    "arm",
    "seed",
    "layer",
    "balance",
    "balance_before",
    "centre_surround",
    "centre_surround_before",
    "isotropy",
    "isotropy_before",
    "mu",
    "sigma",
)


class Correlation(NamedTuple):
    """Spearman's correlation, its interval of 95 % (NaN for fewer networks than eight), and how many networks there are."""

    rho: float
    low: float
    high: float
    networks: int


def balance(kernels: np.ndarray) -> float:
    """|Σw| / Σ|w| of kernels (out, in, h, w), the mean over outputs."""
    summed, absolute = np.abs(kernels.sum(axis=(1, 2, 3))), np.abs(kernels).sum(axis=(1, 2, 3))
    return float(np.mean(summed / np.where(absolute > 0, absolute, 1.0)))


def centre_surround(kernels: np.ndarray) -> float:
    """The index of kernels (out, in, h, w), the mean over outputs; 0 for one without weights."""
    return float(np.mean([_centre_surround(kernel) for kernel in kernels.sum(axis=1)]))


def isotropy(kernels: np.ndarray) -> float:
    """Of kernels (out, in, h, w), the mean over outputs; 0 for one without weights."""
    return float(np.mean([_isotropy(kernel) for kernel in kernels.sum(axis=1)]))


def _rings(kernel: np.ndarray) -> np.ndarray:
    """The distance of each tap of a kernel (h, w) from the centroid of |w|, in whole taps."""
    weight = np.abs(kernel) / np.abs(kernel).sum()
    rows, columns = np.indices(kernel.shape)
    y, x = (weight * rows).sum(), (weight * columns).sum()
    return np.rint(np.hypot(rows - y, columns - x)).astype(int)


def _centre_surround(kernel: np.ndarray) -> float:
    """Of one kernel (h, w)."""
    if not kernel.any():
        return 0.0
    sums = np.bincount(_rings(kernel).ravel(), kernel.ravel())
    return float(2 * min(sums[sums > 0].sum(), -sums[sums < 0].sum()) / np.abs(kernel).sum())


def _isotropy(kernel: np.ndarray) -> float:
    """Of one kernel (h, w)."""
    if not kernel.any():
        return 0.0
    rings = _rings(kernel).ravel()
    sums, taps = np.bincount(rings, kernel.ravel()), np.bincount(rings)
    return float((sums**2 / np.maximum(taps, 1)).sum() / (kernel**2).sum())


def measured(study: Study) -> pd.DataFrame:
    """Every learned layer, before and after training.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`: balance, centre_surround and isotropy, with ``_before`` of what the layer began with; mu and sigma, the
        mean accuracies of its network over the small sweeps.
    """
    rows = []
    for cell, found in study.cells.items():
        accuracy: dict[str, object] = {
            name: float(np.mean([told for (sweep, _), told in found.accuracy.items() if sweep == name]))
            for name in ("mu", "sigma")
            if name in cell.sweeps
        }
        for layer, kernel in found.kernels.items():
            before = found.began_with[layer]
            row: dict[str, object] = {
                "dataset": cell.dataset,
                "budget": cell.budget,
                "arm": cell.arm,
                "seed": cell.seed,
                "layer": layer,
                "balance": balance(kernel),
                "balance_before": balance(before),
                "centre_surround": centre_surround(kernel),
                "centre_surround_before": centre_surround(before),
                "isotropy": isotropy(kernel),
                "isotropy_before": isotropy(before),
                **accuracy,
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def first_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Of `measured`, the first layers of modules."""
    return table[(table.layer == STATIONS[0]) & table.arm.isin([name for name, arm in ARMS.items() if arm.has_module])]


def correlations(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str, str, str], Correlation]]:
    """Of first layers' balance, and of their centre and surround, with accuracy over μ and over σ.

    The module whose first kernels are held to a zero sum is left out: its balance is no finding. Over all other modules together,
    and within arms, where what arms differ by has no part; last, within arms, budgets and data sets, over all of them. Networks
    of one arm resemble each other: the interval across arms takes them for independent, and is too narrow where arms differ.

    Yields
    ------
    tuple
        Data set, budget, which networks, what of the kernel, and which sweep.
    Correlation
    """
    free = first_layers(table)
    free = free[free.arm != "retilenet_zero_sum"]
    for (dataset, budget), rows in free.groupby(["dataset", "budget"], sort=False):
        for what in ("balance", "centre_surround"):
            for sweep in ("mu", "sigma"):
                for which, groups in (("across arms", np.zeros(len(rows))), ("within arms", rows.arm.to_numpy())):
                    if len(rows) > len(set(groups)) + 1:
                        found = correlation(rows[what].to_numpy(), rows[sweep].to_numpy(), groups)
                        yield (str(dataset), str(budget), which, what, sweep), found
    groups = free.groupby(["dataset", "budget", "arm"]).ngroup().to_numpy()
    if len(free[["dataset", "budget"]].drop_duplicates()) > 1 and len(free) > len(set(groups)) + 1:
        for what in ("balance", "centre_surround"):
            for sweep in ("mu", "sigma"):
                found = correlation(free[what].to_numpy(), free[sweep].to_numpy(), groups)
                yield ("all", "all", "within arms", what, sweep), found


def correlation(one: np.ndarray, other: np.ndarray, groups: np.ndarray) -> Correlation:
    """Spearman's correlation of two numbers of each network, within groups, with its interval.

    Ranks are taken over all, and each group's mean taken off. The interval is Fisher's, with the standard error √((1 + ρ²/2) /
    (n − 3)) of Bonett & Wright 2000, a degree less for every group after the first.
    """
    ranks = [stats.rankdata(values).astype(float) for values in (one, other)]
    for rank in ranks:
        for group in set(groups):
            rank[groups == group] -= rank[groups == group].mean()
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    rho = float((ranks[0] * ranks[1]).sum()) / spread if spread > 0 else float("nan")
    degrees = len(one) - 3 - (len(set(groups)) - 1)
    if len(one) < _ENOUGH or degrees < 1 or not abs(rho) < 1:
        return Correlation(rho, float("nan"), float("nan"), len(one))
    wide = float(stats.norm.ppf((1 + _WITHIN) / 2)) * np.sqrt((1 + rho**2 / 2) / degrees)
    low, high = np.tanh(np.arctanh(rho) + np.array([-wide, wide]))
    return Correlation(rho, float(low), float(high), len(one))


def pictured(study: Study, dataset: str, budget: str) -> dict[str, list[tuple[Cell, dict[str, np.ndarray]]]]:
    """Kernels of the modules of a data set and budget, by arm, seed by seed."""
    found: dict[str, list[tuple[Cell, dict[str, np.ndarray]]]] = {}
    for cell, one in study.cells.items():
        if (cell.dataset, cell.budget) == (dataset, budget) and ARMS[cell.arm].has_module:
            found.setdefault(cell.arm, []).append((cell, one.kernels))
    return found
