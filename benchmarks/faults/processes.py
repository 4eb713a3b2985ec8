"""Processes under a fault: started, stopped in several ways, and looked for afterwards."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Set in the environment of a run's processes, to find those that outlive it.
MARK = "PRECORTICAL_FAULT"

#: Ways to stop a command: the signal, and who gets it: the command alone, its process group, or all its descendants.
STOPS = (
    (signal.SIGKILL, "all"),
    (signal.SIGKILL, "all"),
    (signal.SIGKILL, "command"),
    (signal.SIGKILL, "command"),
    (signal.SIGTERM, "command"),
    (signal.SIGTERM, "group"),
    (signal.SIGINT, "group"),
)

#: Seconds between looks at a command that will be stopped.
_INTERVAL = 0.03

#: Seconds in which a command must end after a signal, and in which the processes that it started must.
_PATIENCE = 30.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, seconds of processor time, and what it wrote to standard error."""

    code: int
    seconds: float
    error: str

    @property
    def last_line(self) -> str:
        """The last line of standard error."""
        return (self.error.strip().splitlines() or [""])[-1]


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float = 600.0) -> Ended:
    """Run a command to its end."""
    start = _used_by_children()
    with log.open("wb") as error:
        found = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=error, check=False, timeout=limit
        )
    return Ended(found.returncode, _used_by_children() - start, log.read_text(errors="replace"))


def _used_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stop(
    command: Sequence[str], environment: Mapping[str, str], log: Path, after: float, how: tuple[signal.Signals, str]
) -> Ended | None:
    """Start a command and stop it after some seconds of processor time; None where it ends before.

    Time of its processors, and of all that it starts, does not depend on other work of the machine.
    """
    start = _used_by_children()
    with log.open("wb") as error:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=error, start_new_session=True
        )
    while _used(process.pid) < after:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_INTERVAL)
            return None
    sent, to = how
    if to == "group":
        os.killpg(process.pid, sent)
    else:
        for number in _descendants(process.pid) if to == "all" else [process.pid]:
            with suppress(ProcessLookupError):
                os.kill(number, sent)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise TimeoutError(f"the command did not end {_PATIENCE:.0f} s after {sent.name}") from None
    return Ended(process.returncode, _used_by_children() - start, log.read_text(errors="replace"))


def _used(number: int) -> float:
    """Seconds of processor time of a process and of all that it started."""
    ticks = 0
    for one in _descendants(number):
        with suppress(OSError, ValueError, IndexError):
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _descendants(number: int) -> list[int]:
    """A process and all processes that it started, the first one first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [number]
    for one in found:
        found += children.get(one, [])
    return found


def survivors(mark: str) -> list[int]:
    """Processes whose environment has a mark, after some patience; they are killed."""
    deadline = time.monotonic() + _PATIENCE
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for number in left:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return left


def _marked(mark: str) -> list[int]:
    text, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if text in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
