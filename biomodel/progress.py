"""Progress bars: on a terminal only, and only for what takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, *, total: int | None = None, what: str, unit: str = "it") -> tqdm:
    """A bar over `iterable` (or updated by hand up to `total`) on standard error, silent where that is no terminal."""
    if total is None and isinstance(iterable, Sequence):
        total = len(iterable)
    return tqdm(iterable, total=total, desc=what, unit=unit, delay=2, disable=None, dynamic_ncols=True, leave=False)
