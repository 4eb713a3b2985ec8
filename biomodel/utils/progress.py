"""Progress of what takes more than two seconds: a bar on a terminal; elsewhere, now and then a line in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

logger = logging.getLogger("precortical")

#: Seconds between lines in the log.
_LOG_INTERVAL = 20.0


class _Logged(tqdm):
    """A bar that is a line in the log: what, how much of it, how long it took and takes, how fast."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is None:
            logger.info(str(self))
        return True


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    initial: int = 0,
    what: str,
    unit: str = "it",
) -> tqdm:
    """Progress over `iterable`, or updated by hand from `initial` to `total`."""
    if total is None and isinstance(iterable, Sequence):
        total = len(iterable)
    settings: dict[str, Any] = {"total": total, "initial": initial, "desc": what, "unit": unit, "leave": False}
    if sys.stderr.isatty():
        return tqdm(iterable, delay=2, dynamic_ncols=True, **settings)
    return _Logged(
        iterable,
        delay=_LOG_INTERVAL,
        mininterval=_LOG_INTERVAL,
        maxinterval=_LOG_INTERVAL,
        ncols=0,
        disable=not logger.isEnabledFor(logging.INFO),
        **settings,
    )
