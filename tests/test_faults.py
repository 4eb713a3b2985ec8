"""Damaged files: each is mended or refused with one line that names it, and nothing that is right is computed again."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import xarray as xr

from biomodel import InputError, Pathway, Store, luminance
from biomodel.engine import cache, cpp, run, scratch
from biomodel.engine.store import ResponseStore
from biomodel.utils import parents
from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import MachineError
from biomodel.utils.killed import process_name
from biomodel.utils.run_folder import exclusive
from bridge import io
from studies.common import files
from studies.common.parallel import run_parallel
from studies.data.readers import read_matlab
from studies.luminance.evaluation import Correct
from studies.luminance.lights import REFERENCE
from studies.reproduction.results import CellResult


def flip(path, place):
    """Flip a bit of the byte at a place."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def truncate(path, place):
    """Cut a file at a place."""
    path.write_bytes(path.read_bytes()[:place])


PATHWAY = Pathway(target="numpy")
STIMULUS = luminance(np.random.default_rng(0).uniform(10, 100, (6, 4, 4)), 16)


@pytest.fixture(scope="module")
def parts():
    """Recorded responses and backgrounds of three chunks, by first image: they are simulated once for all tests."""
    found = {}

    def note(plan, chunks, keep, workers):
        def noted(chunk, *recorded):
            found[chunk.start] = recorded
            return keep(chunk, *recorded)

        return real(plan, chunks, noted, workers)

    real = run.run_chunks
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(run, "run_chunks", note)
        PATHWAY.simulate(STIMULUS, output="cone", store=Store(folder, 2))
    return found


@pytest.fixture
def simulate(tmp_path, monkeypatch, parts):
    """Writes responses to six images in chunks of two into a folder; returns them, and the chunks that were simulated."""
    simulated = []

    def replay(plan, chunks, keep, workers):
        for chunk in chunks:
            simulated.append(chunk.start)
            yield keep(chunk, *parts[chunk.start])

    monkeypatch.setattr(run, "run_chunks", replay)

    def once():
        simulated.clear()
        found = PATHWAY.simulate(STIMULUS, output="cone", store=Store(tmp_path / "a", 2))
        return found.load(), list(simulated)

    return once


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_damaged_chunk_is_simulated_again(simulate, tmp_path, damage, share):
    expected, _ = simulate()
    chunk = tmp_path / "a/responses.zarr/cone/c/1/0/0"
    damage(chunk, int(share * chunk.stat().st_size))
    found, simulated = simulate()
    assert simulated == [2]
    xr.testing.assert_identical(found, expected)
    assert simulate()[1] == []


def test_a_chunk_that_is_a_folder_is_named(simulate, tmp_path):
    expected, _ = simulate()
    chunk = tmp_path / "a/responses.zarr/cone/c/1/0/0"
    chunk.unlink()
    chunk.mkdir()
    with pytest.raises(
        MachineError, match="cone/c/1/0/0 cannot be read .Is a directory.: make it readable, or remove it"
    ):
        simulate()
    chunk.rmdir()
    found, simulated = simulate()
    assert simulated == [2]
    xr.testing.assert_identical(found, expected)


@pytest.mark.parametrize("method", ["read_bytes", "stat"])
def test_a_chunk_without_permission_is_named(simulate, monkeypatch, method):
    """Administrators may read all files."""
    simulate()
    original = getattr(Path, method)

    def refuse(path, *args, **options):
        if path.match("cone/c/1/0/0"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return original(path, *args, **options)

    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(MachineError, match="cone/c/1/0/0 cannot be read .Permission denied.: make it readable") as one:
        simulate()
    assert "\n" not in str(one.value)


@pytest.mark.parametrize("name", ["zarr.json", "cone/zarr.json", "settings/zarr.json", "x/zarr.json", "x/c/0"])
def test_damaged_metadata_of_a_store_is_refused(simulate, tmp_path, name):
    simulate()
    path = tmp_path / "a/responses.zarr" / name
    truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"responses\.zarr"):
        simulate()


def test_changed_metadata_of_a_store_is_refused(simulate, tmp_path, monkeypatch):
    """A bit of any name or value; spaces may change. Before zarr reads it, which prints what it does not know."""
    simulate()
    opened, paths = [], sorted((tmp_path / "a/responses.zarr").rglob("zarr.json"))
    assert len(paths) > 4
    with monkeypatch.context() as patch:
        patch.setattr(ResponseStore, "read", lambda store: opened.append(store))
        for path in paths:
            whole = path.read_bytes()
            for place in {*range(0, len(whole), 97), whole.find(b"fill_value")} - {-1}:
                if whole[place : place + 1].isspace():
                    continue
                flip(path, place)
                with pytest.raises(InputError, match=r"responses\.zarr"):
                    simulate()
                path.write_bytes(whole)
    assert not opened
    assert simulate()[1] == []


def test_a_full_disk_of_temporary_files_is_named(tmp_path, monkeypatch):
    def run_binary(*_):
        raise OSError("163620 requested and 9216 written")

    monkeypatch.setattr(cpp, "_run", run_binary)
    with pytest.raises(MachineError, match="left nothing that can be read .163620 requested and 9216 written."):
        cpp.run_binary(tmp_path, {})
    monkeypatch.setattr(cpp.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(65536, 65536, 0))
    words = (
        "temporary files cannot be written .No space left on device at .*: set TMPDIR to a folder that can be written"
    )
    with pytest.raises(MachineError, match=words):
        cpp.run_binary(tmp_path, {})


def test_leftovers_of_a_killed_run_are_removed(simulate, tmp_path):
    (tmp_path / "a/.responses-999999999.zarr").mkdir(parents=True)
    simulate()
    left = tmp_path / "a/responses.zarr/cone/c/1/0/0.0123456789abcdef0123456789abcdef.partial"
    left.write_bytes(b"part")
    simulate()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".lock", "responses.zarr"]
    assert not left.exists()


def test_scratch_files_of_killed_processes_are_removed(tmp_path, monkeypatch):
    with subprocess.Popen(["true"]) as ended:
        pass
    monkeypatch.setattr("os.getpid", lambda: ended.pid)
    left = tmp_path / f".a.{process_name()}-1.part.txt"
    monkeypatch.undo()
    of_another = tmp_path / f".a.{process_name()}-1.part.txt"
    for path in (left, of_another):
        path.write_text("half")
    with atomic_write(tmp_path / "a.txt") as scratch:
        scratch.write_text("whole")
    assert sorted(tmp_path.iterdir()) == [of_another, tmp_path / "a.txt"]


def test_temporary_folders_of_killed_processes_are_removed_where_nothing_is_left_to_do(simulate, tmp_path, monkeypatch):
    simulate()
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as ended:
        pass
    for call in (simulate, lambda: run_parallel(print, [], 1, "nothing", tmp_path)):
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: ended.pid)
            left = tmp_path / f"precortical-{process_name()}-1"
        left.mkdir()
        call()
        assert not left.exists()


def weights(path):
    """A file of weights."""
    io.write(path, {"a": torch.arange(6.0)}, {"metadata": "some"})


def test_every_damage_of_a_file_of_weights_is_refused_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    weights(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(content)
            with pytest.raises(InputError, match=r"a\.safetensors"):
                io.read(path)


def matlab(path):
    """A compressed MATLAB file with four images."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)
    scipy.io.savemat(path, {"X": pixels, "y": np.arange(1, 5, dtype=np.uint8)[:, None]}, do_compression=True)


def test_damage_of_a_matlab_file_changes_nothing_or_is_refused_by_name(tmp_path):
    path = tmp_path / "a.mat"
    matlab(path)
    whole, expected = path.read_bytes(), read_matlab(path, 32)
    for place in [*range(0, 160), *range(160, len(whole), 997), *range(len(whole) - 40, len(whole))]:
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                found = read_matlab(path, 32)
            except InputError as error:
                assert str(path) in str(error)
            else:
                assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), place


def correct():
    """Results of a cell of the luminance study."""
    return Correct((REFERENCE,), (0, 1), np.random.default_rng(0).random((1, 2, 50)) < 0.5)


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_damaged_results_of_a_cell_are_removed(tmp_path, damage, share, caplog):
    path = tmp_path / "cell.npz"
    correct().save(path)
    assert files.is_intact(path)
    damage(path, int(share * path.stat().st_size))
    assert not files.is_intact(path)
    assert str(path) in caplog.text
    assert not files.is_intact(tmp_path / "none.npz")


def test_a_damaged_cell_of_another_run_is_named(tmp_path):
    path = tmp_path / "cell-0.npz"
    CellResult({("mu", 0.0): 0.5}, 10).save(path)
    truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"cell-0\.npz"):
        CellResult.load(path)


@pytest.mark.parametrize("study", ["luminance", "reproduction"])
def test_two_runs_of_a_study_do_not_share_a_folder(tmp_path, study, monkeypatch, capsys):
    from studies.cli import main

    monkeypatch.setattr(sys, "argv", ["precortical", "study", study, "--out", str(tmp_path / "a")])
    with exclusive(tmp_path / "a"), pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2
    assert "being written by another process" in capsys.readouterr().err


def test_any_damage_of_a_manifest_is_found(tmp_path):
    content = {"inputs": {"movie": 4}, "outputs": {}, "checksums": {}, "sizes": {}, "vectorised": 1}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content | {"digest": cache.manifest_digest(content)}))
    assert cache.damaged(tmp_path) is None
    whole = path.read_bytes()
    for place in range(len(whole)):
        flip(path, place)
        assert cache.damaged(tmp_path) is not None
        path.write_bytes(whole[:place])
        assert cache.damaged(tmp_path) is not None
        path.write_bytes(whole)


def check_that_it_ends_with_its_parent(*child):
    """A child, which prints a line and would sleep for a minute, ends when its parent is killed."""
    parent = (
        "import os, subprocess, sys\nenvironment = os.environ | {'PRECORTICAL_PARENT': str(os.getpid())}\n"
        "subprocess.run([*sys.argv[1:], str(os.getpid())], env=environment, start_new_session=True)"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", parent, *child], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        process.kill()
        # The pipe is closed when nobody writes to it any more.
        start = time.monotonic()
        process.stdout.read()
    assert time.monotonic() - start < 20


def test_a_worker_ends_with_its_parent():
    worker = "import sys\nprint(flush=True)\ncall_in_worker(int(sys.argv[1]), time.sleep, 60)"
    check_that_it_ends_with_its_parent(sys.executable, "-S", "-c", f"{Path(parents.__file__).read_text()}\n{worker}")


def test_a_compiler_ends_with_the_process_that_waits_for_it():
    """The process that compiles has started one more program, which ends too."""
    compiling = "import subprocess, sys\nend_group_with(int(sys.argv[1]))\nsubprocess.run('echo; sleep 60', shell=True)"
    check_that_it_ends_with_its_parent(sys.executable, "-S", "-c", f"{Path(parents.__file__).read_text()}\n{compiling}")


def test_a_compiled_pathway_ends_with_its_parent(tmp_path):
    (tmp_path / "main.cpp").write_text(
        cpp.ending_with_parent(
            '#include <iostream>\nint main(int argc, char **argv)\n{\nstd::cout << "\\n" << std::flush;\n'
        )
        + "sleep(60);\n}\n"
    )
    subprocess.run(["g++", "main.cpp", "-o", "main"], cwd=tmp_path, check=True)
    check_that_it_ends_with_its_parent(str(tmp_path / "main"))
    environment = {"PRECORTICAL_PARENT": "0"}
    assert subprocess.run([tmp_path / "main"], env=environment, check=False, timeout=20).returncode == 1
    with pytest.raises(RuntimeError, match="as generated by Brian2"):
        cpp.ending_with_parent("int main()\n{\n}\n")


def test_after_an_error_nothing_goes_on():
    """Calls that run are waited for: their threads and processes do not outlive the command."""
    ended, running = [], threading.Event()

    def call(number):
        if number == 0:
            assert running.wait(20)
            raise MachineError("the disk is full")
        running.set()
        time.sleep(0.2)
        ended.append(number)

    before = threading.active_count()
    with pytest.raises(MachineError):
        list(run._call_in_threads(call, ((k,) for k in range(9)), 2))
    assert threading.active_count() == before
    count = len(ended)
    assert count in (1, 2)
    time.sleep(0.3)
    assert len(ended) == count


@pytest.mark.parametrize("threads", [1, 3])
def test_results_of_threads_are_in_order(threads):
    def call(number):
        time.sleep(0.02 * (number % 3 == 0))
        return number

    assert list(run._call_in_threads(call, ((k,) for k in range(20)), threads)) == list(range(20))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["simulation", "study"])
def test_shared_arrays_are_in_a_folder_that_the_next_run_removes(tmp_path, module):
    """joblib keeps large arguments in files, which nothing of its own removes where all of its processes are killed."""

    def write_folder(array, name):
        (tmp_path / name).write_text(str(array.filename))

    tasks = [(np.ones((500, 500)), name) for name in ("a", "b")]
    if module == "simulation":
        list(run._call_in_processes(write_folder, iter(tasks), 2))
    else:
        run_parallel(write_folder, tasks, 2, "writing", tmp_path)
    files_of_arrays = {Path((tmp_path / name).read_text()) for _, name in tasks}
    assert all(path.parents[1].name.startswith(f"precortical-{process_name()}-") for path in files_of_arrays)
    assert not any(path.exists() for path in files_of_arrays)
