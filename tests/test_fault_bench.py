"""The harness of `make faults`: a stopped command, and a damaged file, with a small program in place of the package."""

import signal
import sys
import time

import pytest

from benchmarks.faults import contents, faults, inputs, processes, table
from benchmarks.faults.cases import Case

#: Writes twenty numbers, each in a file that is whole or absent, and leaves those that are there already.
PROGRAM = """
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[1]) / "cells"
out.mkdir(parents=True, exist_ok=True)
for number in range(20):
    path = out / f"{number}.npz"
    if REPEAT or not path.exists():
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        path.with_suffix(".part").write_text(str(number))
        os.replace(path.with_suffix(".part"), path)
"""


class Program(Case):
    """A command that is a program of its own."""

    def command(self, work, out):
        return [sys.executable, "-S", "-c", *self.arguments, str(out)]


def program(repeat):
    return Program("program", (PROGRAM.replace("REPEAT", str(repeat)),), "cells/*.npz")


@pytest.fixture
def bench(tmp_path):
    return faults.Bench(tmp_path)


@pytest.mark.parametrize("repeat", [False, True])
def test_a_stopped_command_must_continue(bench, repeat):
    """One that computes its cells again is reported."""
    case = program(repeat)
    bench.reference(case)
    trial = faults.Trial(bench, "stopped", 0, 0, case)
    seconds = bench.duration(case)
    ended = processes.stop(trial.command, trial.environment, trial.log, 0.7 * seconds, (signal.SIGKILL, "all"))
    assert ended.code == -signal.SIGKILL
    known = contents.finished(trial.out, case.units)
    assert 0 < len(known) < 20
    trial.again()
    assert len(contents.finished(trial.out, case.units)) == 20
    assert bool(trial.found.problems) == repeat


def test_leftovers_and_differences_are_reported(bench):
    case = program(False)
    bench.reference(case)
    trial = faults.Trial(bench, "stopped", 1, 0, case)
    (trial.out / "cells").mkdir(parents=True)
    (trial.out / "cells/3.npz").write_text("4")
    (trial.out / "cells/.3.part").write_text("4")
    (trial.scratch / "tmp/precortical-x").mkdir()
    trial.again()
    assert len(trial.found.problems) == 3
    assert "1" in table.table([vars(trial.found)])


def test_processes_that_outlive_a_run_are_found(bench, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_PATIENCE", 0.1)
        environment = bench.environment(tmp_path / "scratch")
        command = [sys.executable, "-S", "-c", "import subprocess; subprocess.Popen(['sleep', '60'])"]
        processes.run(command, environment, tmp_path / "log")
        assert len(processes.survivors(str(tmp_path / "scratch"))) == 1
        time.sleep(0.05)
        assert processes.survivors(str(tmp_path / "scratch")) == []


def test_synthetic_data_sets_are_always_the_same(tmp_path):
    import numpy as np

    for name in ("a", "b"):
        inputs.write_data(tmp_path / name, np.random.default_rng(0))
    assert (tmp_path / "a" / inputs.DIGESTS).read_text() == (tmp_path / "b" / inputs.DIGESTS).read_text()
