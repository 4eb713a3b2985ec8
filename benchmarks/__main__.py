"""Run all benchmarks: each row is printed, and all rows are written to bench.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import forward, simulation
from benchmarks.rows import Bench

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--only", choices=("simulation", "forward"), help="run one part")
    given = parser.parse_args()
    bench = Bench(given.out)
    for name, run in (("forward", forward.run), ("simulation", simulation.run)):
        if given.only in (None, name):
            run(bench)
