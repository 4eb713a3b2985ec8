"""The rows of bench.json: measurements, their baselines and the device."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: Cores for each side of a comparison.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> str:
    """The processor's name, and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {CORES} cores"


@dataclass
class Row:
    """One measurement. `ratio` is relative to the baseline `against`, and `goal` is the ratio or value that was aimed at.

    `low` and `high` are the spread of the ratio or, without a ratio, of the value.
    """

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None
    goal: str | None = None
    low: float | None = None
    high: float | None = None
    device: str = field(default_factory=device)


@dataclass
class Bench:
    """All rows, kept in a file."""

    path: Path
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Print a row and write all rows to the file."""
        self.rows.append(row)
        self.path.write_text(json.dumps([asdict(row) for row in self.rows], indent=2) + "\n")
        ratio = "" if row.ratio is None else f"  {row.ratio:.3g} ×"
        spread = "" if row.low is None else f" ({row.low:.3g} to {row.high:.3g})"
        against = f" against {row.against}" if row.against else ""
        goal = f"  [goal {row.goal}]" if row.goal else ""
        print(f"{row.name:36} {row.value:10.4g} {row.unit:12}{ratio}{spread}{against}{goal}", flush=True)


def rounds(number: int, measured: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure every side in turn, round by round, so that a slow minute of the machine affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(number):
        for name, measure in measured.items():
            found[name].append(measure())
    return found


def ratios(ours: Iterable[float], theirs: Iterable[float]) -> tuple[float, float, float]:
    """Median, lowest and highest ratio over the rounds."""
    found = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(found), min(found), max(found)
