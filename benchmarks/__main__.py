"""All benchmarks: rows as they come on standard output, and in bench.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import forward, seeds, simulation
from benchmarks.rows import Bench

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--only", choices=("simulation", "forward", "seeds"), help="a part of the rows")
    given = parser.parse_args()
    bench = Bench(given.out)
    for name, run in (("forward", forward.run), ("seeds", seeds.run), ("simulation", simulation.run)):
        if given.only in (None, name):
            run(bench)
