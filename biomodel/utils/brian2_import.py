"""Imports Brian2 in any thread.

Brian2 sets a handler for Ctrl+C when it is imported, which Python allows in the main thread only. Without it, Ctrl+C
interrupts a network as it does other code.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

if "brian2" not in sys.modules and threading.current_thread() is not threading.main_thread():
    _set_handler = signal.signal

    def _in_the_main_thread(number: int, handler: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return _set_handler(number, handler)
        return signal.getsignal(number)

    signal.signal = _in_the_main_thread  # type: ignore[assignment]
    try:
        import brian2  # noqa: F401
    finally:
        signal.signal = _set_handler
