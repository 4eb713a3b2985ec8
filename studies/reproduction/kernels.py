r"""What the module's kernels are like, and whether robustness follows it.

Balance, |Σw| / Σ|w|: 0 for a kernel that an even field leaves silent, 1 for one of a single sign (arXiv 2202.07432 asks for no
constraint, and finds it near 0 in the first layer). Over all inputs of an output, and the mean over outputs.

Centre and surround: with s the sign of the strongest weight and r the distance from it, rounded to whole taps, Σᵣ is the sum
of weights at r. C = Σ (s Σᵣ)₊ and S = Σ (−s Σᵣ)₊ are what the centre and the surround weigh once what differs between directions
has cancelled; the index is 2 min(C, S) / Σ|w|: 1 for a difference of Gaussians that sums to zero, 0 for a blob, small for an
edge. Of several inputs, of their sum: what grey light meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from studies.reproduction.arms import ARMS
from studies.reproduction.networks import STATIONS
from studies.reproduction.study import Cell, Study

#: Resamples of a bootstrap over networks.
_RESAMPLES = 4_000


class Correlation(NamedTuple):
    """Spearman's correlation and its interval of 95 % (bootstrap over networks, percentiles); how many they are."""

    rho: float
    low: float
    high: float
    networks: int


def balance(kernels: np.ndarray) -> float:
    """|Σw| / Σ|w| of kernels (out, in, h, w), the mean over outputs."""
    summed, absolute = np.abs(kernels.sum(axis=(1, 2, 3))), np.abs(kernels).sum(axis=(1, 2, 3))
    return float(np.mean(summed / np.where(absolute > 0, absolute, 1.0)))


def centre_surround(kernels: np.ndarray) -> float:
    """The index of kernels (out, in, h, w), the mean over outputs."""
    return float(np.mean([_centre_surround(kernel) for kernel in kernels.sum(axis=1)]))


def _centre_surround(kernel: np.ndarray) -> float:
    """Of one kernel (h, w)."""
    total = np.abs(kernel).sum()
    if total == 0:
        return 0.0
    y, x = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    rows, columns = np.indices(kernel.shape)
    rings = np.bincount(np.rint(np.hypot(rows - y, columns - x)).astype(int).ravel(), kernel.ravel())
    rings = rings * np.sign(kernel[y, x])
    centre, surround = rings[rings > 0].sum(), -rings[rings < 0].sum()
    return float(2 * min(centre, surround) / total)


def measured(study: Study) -> pd.DataFrame:
    """Every learned layer; columns mu and sigma are the mean accuracies of its network over the small sweeps."""
    rows = []
    for cell, found in study.cells.items():
        accuracy = {
            name: np.mean([told for (sweep, _), told in found.accuracy.items() if sweep == name])
            for name in ("mu", "sigma")
            if name in cell.sweeps
        }
        for layer, kernel in found.kernels.items():
            told = (cell.dataset, cell.budget, cell.arm, cell.seed, layer)
            rows.append((*told, balance(kernel), centre_surround(kernel), accuracy["mu"], accuracy["sigma"]))
    names = ["dataset", "budget", "arm", "seed", "layer", "balance", "centre_surround", "mu", "sigma"]
    return pd.DataFrame(rows, columns=names)


def first_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Of `measured`, the first layers of modules."""
    return table[(table.layer == STATIONS[0]) & table.arm.map(lambda name: ARMS[name].has_module)]


def correlations(table: pd.DataFrame) -> Iterator[tuple[str, str, str, str, Correlation]]:
    """By data set and budget: dataset, budget, what of the kernel, which networks, and its correlation with the mean over μ.

    Of all modules' first layers, and of the published module without augmentation alone, over its seeds.
    """
    for (dataset, budget), rows in first_layers(table).groupby(["dataset", "budget"], sort=False):
        for what in ("balance", "centre_surround"):
            for which, some in (("all modules", rows), ("retilenet", rows[rows.arm == "retilenet"])):
                if some[what].nunique() > 2 and some.mu.nunique() > 2:
                    yield str(dataset), str(budget), what, which, correlation(some[what].to_numpy(), some.mu.to_numpy())


def correlation(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Correlation:
    """Spearman's correlation of two numbers of each network, with its interval."""
    chance = np.random.default_rng([seed, 61])
    drawn = chance.integers(len(one), size=(_RESAMPLES, len(one)))
    ranks = [stats.rankdata(values[drawn], axis=1) for values in (one, other)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    resampled = (centred[0] * centred[1]).sum(axis=1)[spread > 0] / spread[spread > 0]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Correlation(float(stats.spearmanr(one, other).statistic), float(low), float(high), len(one))


def pictured(study: Study, dataset: str, budget: str) -> dict[str, list[tuple[Cell, dict[str, np.ndarray]]]]:
    """Kernels of the modules of a data set and budget, by arm, seed by seed."""
    found: dict[str, list[tuple[Cell, dict[str, np.ndarray]]]] = {}
    for cell, one in study.cells.items():
        if (cell.dataset, cell.budget) == (dataset, budget) and ARMS[cell.arm].has_module:
            found.setdefault(cell.arm, []).append((cell, one.kernels))
    return found
