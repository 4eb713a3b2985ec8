"""Faults at random times: each is written to a file when it is done, and the same command continues."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from benchmarks.faults import faults, inputs, table


def main() -> None:
    """Run all faults that the file of results does not hold, two at a time, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/faults"), help="folder of results and of all files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=20, help="of each kind; of slow ones, a part")
    parser.add_argument("--only", action="append", choices=tuple(faults.KINDS), help="a kind; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "INDEX"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.out.absolute()
    if given.one:
        print(faults.to_line(faults.run(work / "work", given.one[0], int(given.one[1]), given.seed)))
        return
    results, kinds = work / "faults.jsonl", given.only or list(faults.KINDS)
    if not inputs.are_current(work / "work"):
        inputs.write(work / "work")
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    known = {(one["kind"], one["index"], one["seed"]) for one in done}
    # Slow kinds are spread over the run.
    pending = [
        (kind, index // slow)
        for index in range(given.faults)
        for kind in kinds
        if index % (slow := faults.SLOW.get(kind, 1)) == 0 and (kind, index // slow, given.seed) not in known
    ]
    bench = faults.Bench(work / "work")
    for case in {faults.case_of(kind, index).name: faults.case_of(kind, index) for kind, index in pending}.values():
        print(f"{case.name}: {bench.duration(case):.1f} s of processor time undisturbed", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool, results.open("a") as file:
        running = [pool.submit(_in_process, given.out, given.seed, *one) for one in pending]
        for line in (one.result() for one in as_completed(running)):
            print(line, file=file, flush=True)
            done.append(json.loads(line))
            print(table.line(done[-1]), flush=True)
    chosen = [one for one in done if one["kind"] in kinds and one["seed"] == given.seed]
    print(table.table(chosen))
    sys.exit(any(one["problems"] for one in chosen))


def _in_process(out: Path, seed: int, kind: str, index: int) -> str:
    """Run one fault in a process that can mount file systems, where the system permits it."""
    command = [sys.executable, "-m", "benchmarks.faults", "--out", str(out), "--seed", str(seed)]
    command += ["--one", kind, str(index)]
    space = ["unshare", "--map-root-user", "--mount"] if "disk full" in kind and _can_mount() else []
    ended = subprocess.run([*space, *command], capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return ended.stdout.strip()
    return faults.to_line(faults.Found(kind, index, seed, problems=[f"the harness failed: {ended.stderr[-500:]}"]))


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode == 0


if __name__ == "__main__":
    main()
