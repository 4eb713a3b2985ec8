"""Hartigan's dip test of unimodality (Hartigan & Hartigan 1985), its p from seeded draws of the uniform distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from biomodel.utils.errors import InputError

#: Uniform samples that a p is counted over.
DRAWS = 2000


def dip(values: ArrayLike) -> float:
    """Largest distance between the empirical distribution and the unimodal one that is nearest to it.

    The modal interval is narrowed until the greatest convex minorant on its left and the least concave majorant on its
    right are as far from the empirical distribution as they are from one another within it.

    Parameters
    ----------
    values : array_like
        At least one; in any order.

    Returns
    -------
    float
        1 / (2n) to .25.
    """
    x = np.sort(np.asarray(values, dtype=float))
    n = len(x)
    if n == 0:
        raise InputError("an empty sample is not accepted: give at least one value")
    # Equal values are set apart a little: an atom may be the mode.
    x = x + np.arange(n) * 1e-9 * (x[-1] - x[0] + 1e-9)
    after = np.arange(1, n + 1) / n  # the distribution at each value, and just before it
    before = after - 1 / n
    first, last, widest = 0, n - 1, 1 / n
    while True:
        chosen = slice(first, last + 1)
        minorant = _hull(x[chosen], before[chosen])
        majorant = _hull(x[chosen], -after[chosen])
        below = np.interp(x[chosen], x[chosen][minorant], before[chosen][minorant])
        above = np.interp(x[chosen], x[chosen][majorant], after[chosen][majorant])
        gap = above - below
        left, right = minorant[gap[minorant].argmax()], majorant[gap[majorant].argmax()]
        if gap[right] > gap[left]:
            inner, left = gap[right], minorant[minorant <= right][-1]
        else:
            inner, right = gap[left], majorant[majorant >= left][0]
        if inner <= widest:
            return float(widest / 2)
        convex = (after[chosen] - below)[: left + 1].max()
        concave = (above - before[chosen])[right:].max()
        widest = max(widest, convex, concave)
        if inner <= widest or (left == 0 and right == last - first):
            return float(widest / 2)
        first, last = first + left, first + right


def probability(values: ArrayLike, seed: int = 0, draws: int = DRAWS) -> float:
    """Share of uniform samples of the same size whose dip is as large: the p of unimodality.

    Parameters
    ----------
    values : array_like
        NaN comes back for fewer than four.
    seed : int
    draws : int

    Returns
    -------
    float
        At least 1 / (draws + 1): the sample itself is counted as one draw.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size < 4:
        return float("nan")
    found = dip(sample)
    uniform = np.random.default_rng(seed).uniform(size=(draws, sample.size))
    larger = sum(dip(one) >= found - 1e-12 for one in uniform)
    return (1 + larger) / (draws + 1)


def _hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the greatest convex minorant of points touches them: indices, growing."""
    kept: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for k in range(len(xs)):
        while len(kept) > 1:
            i, j = kept[-2:]
            if (ys[j] - ys[i]) * (xs[k] - xs[i]) < (ys[k] - ys[i]) * (xs[j] - xs[i]):
                break
            kept.pop()
        kept.append(k)
    return np.array(kept)
