"""Progress of work that takes more than two seconds: a bar on a terminal, lines in the log elsewhere."""

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
    """A progress bar that writes its state to the log: description, share done, times and speed."""

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
    """Show the progress of a loop, or of work that is counted with `update`.

    Parameters
    ----------
    iterable : iterable, optional
        Items of the loop; without it, the caller updates the bar.
    total, initial : int
        Number of items in all, and of those already done.
    what, unit : str
        Description of the work, and the name of one item.

    Returns
    -------
    tqdm.tqdm
        Iterable over the items, and a context manager.
    """
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
