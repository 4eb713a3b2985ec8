"""All benchmarks: rows as they come on standard output, and in bench.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import simulation
from benchmarks.rows import Bench

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    simulation.run(Bench(parser.parse_args().out))
