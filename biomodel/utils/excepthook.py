"""Brian2's request to report an uncaught error, kept for errors of Brian2's."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

#: `sys.excepthook` before Brian2 replaced it. Where Brian2 was imported before, it is not known.
_before = sys.excepthook if "brian2" not in sys.modules else sys.__excepthook__

import brian2  # noqa: E402
from brian2.utils.logger import brian_excepthook  # noqa: E402

_BRIAN2 = Path(brian2.__file__).parent


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an error that passed through Brian2 as Brian2 does, and any other as Python does."""
    files = (Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(trace))
    report = brian_excepthook if any(file.is_relative_to(_BRIAN2) for file in files) else _before
    report(kind, error, trace)


def install() -> None:
    """Replace Brian2's `sys.excepthook`, which asks to report every uncaught error; another one is left alone."""
    if sys.excepthook is brian_excepthook:
        sys.excepthook = excepthook
