"""Simulations and studies on the workers of a real scheduler: the same bits, faults, and workers that are refused."""

import ast
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import biomodel
from biomodel import InputError, Pathway, Store, luminance
from biomodel.engine import cache, cluster
from biomodel.engine.cluster import Cluster, Needs, check_workers
from biomodel.engine.store import n_done
from biomodel.utils.errors import MachineError
from bridge.fit.stimuli import Simulation, identification_set
from studies.cli import main
from studies.reproduction.run import run as reproduce
from studies.reproduction.settings import Settings

ROOT = Path(__file__).parent.parent
IMAGES = 10
#: Chunks of half a second.
SETTINGS = {"output": "bipolar", "duration": 0.01, "window": (0.0, 0.01)}


class Machines:
    """A scheduler on a free port, and its workers; all are processes of their own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.processes = []

    def start(self, kind, *arguments, path=ROOT, cwd=None, allowed_failures=3):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
        settings = {
            "PYTHONPATH": str(path),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
        }
        with open(self.folder / f"{kind}.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **settings},
                cwd=cwd or self.folder,
            )
        self.processes.append(process)
        return process

    def start_scheduler(self, **settings):
        # It ends by itself where the tests are killed, and its worker with it.
        port = self.address.rsplit(":", 1)[1]
        return self.start("scheduler", "--host", "127.0.0.1", "--port", port, "--idle-timeout", "300", **settings)

    def start_worker(self, **places):
        return self.start(
            "worker",
            self.address,
            "--nthreads",
            "1",
            "--host",
            "127.0.0.1",
            "--no-nanny",
            "--death-timeout",
            "60",
            **places,
        )

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A scheduler and two workers; the tests below are in an order in which few others have to be started."""
    machines = Machines(tmp_path_factory.mktemp("machines"))
    try:
        machines.start_scheduler()
        machines.start_worker()
        machines.start_worker()
        yield machines
    finally:
        machines.stop()


@pytest.fixture
def client(machines):
    client = cluster.connect(machines.address)
    client.wait_for_workers(1, timeout=60)
    return client


@pytest.fixture(scope="module")
def stimulus():
    return luminance(np.random.default_rng(0).uniform(10, 200, (IMAGES, 12, 12)), 16)


@pytest.fixture(scope="module")
def pathway():
    return Pathway(target="numpy")


@pytest.fixture(scope="module")
def expected(pathway, stimulus, tmp_path_factory):
    """Responses that one process has simulated; chunks are of one image each."""
    return pathway.simulate(stimulus, store=Store(tmp_path_factory.mktemp("one"), 1), **SETTINGS).load()


@contextmanager
def after_some_chunks(folder, act):
    """Call a function once two chunks are stored and others are not."""
    acted = []

    def watch():
        while not ended.wait(0.02):
            if 2 <= n_done(folder) < IMAGES - 2:
                acted.append(act())
                return

    ended = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    assert acted


def tokens(folder):
    return list(Path(folder).glob(".run-*"))


def test_workers_are_a_number_an_address_or_a_client(monkeypatch, even):
    for wrong in ("four", "host", "", "tcp://host", "http://host:80/status"):
        with pytest.raises(InputError, match="workers must be a positive integer or the address of a dask scheduler"):
            Pathway(target="numpy").simulate(even, output="cone", workers=wrong)
    for wrong in (0, -1, 1.5, None, True, object()):
        with pytest.raises(InputError, match="workers must be a positive integer, got"):
            check_workers(wrong)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"workers tcp://host:8786 needs: pip install 'precortical\[cluster\]'"):
        Pathway(target="numpy").simulate(even, output="cone", workers="tcp://host:8786")


def test_a_cluster_excludes_processes(monkeypatch, capsys):
    for words in ("simulate digits", "fit", "physiology", "study luminance", "study reproduction"):
        monkeypatch.setattr(sys, "argv", ["precortical", *words.split(), "--workers=2", "--cluster=tcp://host:8786"])
        with pytest.raises(SystemExit) as end:
            main.main()
        assert end.value.code == 2
        assert capsys.readouterr().err == "error: --workers must be left out with --cluster, got 2\n"


def test_the_packages_need_no_dask():
    """No module imports it at its top: the extra may be missing."""
    for package in ("biomodel", "bridge", "studies"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert not {str(name).split(".")[0] for name in names} & {"dask", "distributed", "cloudpickle"}, path


def test_a_cluster_gives_the_same_bits_as_one_process(client, machines, stimulus, pathway, expected, tmp_path):
    client.wait_for_workers(2, timeout=60)
    stored = pathway.simulate(stimulus, store=Store(tmp_path, 1), workers=machines.address, **SETTINGS)
    assert stored.identical(expected)
    assert pathway.simulate(stimulus, workers=client, **SETTINGS).identical(expected)
    assert not tokens(tmp_path)


def test_binaries_are_built_once_for_all_workers(client, stimulus):
    compiled = Pathway(target="cpp")
    before = len(cache.entries())
    asked = {"output": "cone", "workers": client}
    few = stimulus[:, :8, :8].assign_coords(
        y=stimulus.y[:8] - stimulus.y[:8].mean(), x=stimulus.x[:8] - stimulus.x[:8].mean()
    )
    many = few.isel(image=np.arange(4 * 128) % IMAGES)
    responses = compiled.simulate(many, **asked)
    assert len(cache.entries()) == before + 1
    assert responses.identical(compiled.simulate(many, output="cone"))
    assert len(cache.entries()) == before + 1


def test_a_worker_is_killed(client, machines, stimulus, pathway, expected, tmp_path):
    process, _ = client.run(os.getpid).values()
    with after_some_chunks(tmp_path, lambda: os.kill(process, signal.SIGKILL)):
        responses = pathway.simulate(stimulus, store=Store(tmp_path, 1), workers=machines.address, **SETTINGS)
    assert responses.identical(expected) and len(client.nthreads()) == 1


def test_the_simulations_of_a_fit_run_on_a_cluster(client, machines):
    stimuli, fast = identification_set(13, pixels=8), Pathway(target="numpy", dt=2.0)
    _, here = stimuli.simulate(fast, Simulation("cone"))
    light, there = stimuli.simulate(fast, Simulation("cone", machines.address))
    assert there.identical(here) and light.sizes["image"] == 13


def test_the_cells_of_a_study_run_on_a_cluster(client, machines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(("digits",), ("lenet",), "smoke", 2)
    # Workers have other working directories.
    there = reproduce(settings, Path("there"), machines.address).cells
    here = reproduce(settings, Path("here"), 1).cells
    cells = {path.relative_to("here") for path in Path("here").glob("cells/**/*.npz")}
    assert len(cells) == 2 and not tokens("there")
    for one in cells:
        a, b = np.load("here" / one), np.load("there" / one)
        assert set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)
    assert len(here) == len(there)


def test_errors_of_tasks_are_raised_here(client, machines):
    results = Cluster(machines.address, Needs()).map(divmod, [(7, 2), (7, 0), (7, 3)])
    assert next(results) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(Cluster(machines.address, Needs()).map(divmod, [])) == []


def test_tasks_are_read_as_workers_get_free(client, machines):
    read = []
    tasks = (read.append(k) or (k, 1) for k in range(100))
    results = Cluster(machines.address, Needs()).map(divmod, tasks)
    assert next(results) == (0, 0)
    assert len(read) < 20
    assert list(results) == [(k, 0) for k in range(1, 100)]


def test_an_interrupt_cancels_the_tasks(client, machines, stimulus, pathway, tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        after_some_chunks(tmp_path, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)),
    ):
        pathway.simulate(stimulus, store=Store(tmp_path, 1), workers=machines.address, **SETTINGS)
    assert not tokens(tmp_path)
    # Chunks that workers were simulating are not written when they are done.
    written = n_done(tmp_path)
    deadline = time.monotonic() + 30
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) or any(
        client.processing().values()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    assert n_done(tmp_path) == written < IMAGES


def test_workers_with_other_versions_or_folders_are_refused_by_name(
    client, machines, stimulus, pathway, tmp_path, monkeypatch
):
    home, elsewhere, other, broken = (tmp_path / name for name in ("home", "elsewhere", "other", "broken"))
    for folder in (home, elsewhere, broken / "biomodel"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(home)
    # In each process it is the folder in which the process was started.
    store = Store("/proc/self/cwd/store", 1)
    shutil.copytree(ROOT / "biomodel", other / "biomodel")
    module = other / "biomodel" / "__init__.py"
    module.write_text(module.read_text().replace(f'"{biomodel.__version__}"', '"0.0.9"'))
    (broken / "biomodel" / "__init__.py").write_text("raise ImportError('no such release')")
    before = Cluster(machines.address, Needs())
    present = set(client.nthreads())

    def joined(**places):
        process = machines.start_worker(**places)
        while not (new := set(client.nthreads()) - present):
            assert process.poll() is None
            time.sleep(0.05)
        present.update(new)
        return process, new.pop()

    started = [joined(path=other), joined(path=broken)]
    _, (old, unable) = zip(*started, strict=True)
    try:
        with pytest.raises(InputError) as refused:
            pathway.simulate(stimulus, workers=machines.address, **SETTINGS)
        assert f"versions of this process: {old} has precortical 0.0.9, here {biomodel.__version__}" in str(
            refused.value
        )
        assert f"able to import precortical: {unable} raised ImportError('no such release')" in str(refused.value)
        # One that joins after the check is refused by its first task.
        with pytest.raises((InputError, ImportError), match=r"versions of this process|no such release"):
            list(before.map(time.sleep, [(0.2,)] * 40))
        for process, _ in started:
            process.terminate()
            process.wait()
        process, away = joined(cwd=elsewhere)
        started.append((process, away))
        with pytest.raises(InputError) as refused:
            pathway.simulate(stimulus, store=store, workers=machines.address, **SETTINGS)
        # The first workers have a working directory of their own, too.
        assert f"workers must see the folder /proc/self/cwd/store under this path: {away} does not" in str(
            refused.value
        )
        assert not (home / "store" / "responses.zarr").exists() and not tokens(home / "store")
        assert list(elsewhere.iterdir()) == []
    finally:
        for process, _ in started:
            process.terminate()
            process.wait()


def test_the_scheduler_is_killed_and_the_same_command_resumes(
    client, machines, stimulus, expected, tmp_path, monkeypatch, capsys, caplog
):
    light, out = tmp_path / "light.npy", tmp_path / "out"
    np.save(light, stimulus.values)
    command = (
        f"precortical simulate {light} --in-luminance --target numpy --output bipolar --duration .01 --window 0 .01"
    )
    monkeypatch.setattr(sys, "argv", [*command.split(), "--chunk=1", f"--out={out}", f"--cluster={machines.address}"])
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    monkeypatch.setattr(cluster, "_CONNECT", 1.0)
    with (
        after_some_chunks(out, machines.processes[0].kill),
        pytest.raises(SystemExit) as end,
    ):
        main.main()
    lost = f"error: the connection to the scheduler at {machines.address} was lost"
    assert end.value.code == 2 and lost in capsys.readouterr().err
    assert 2 <= n_done(out) < IMAGES and not tokens(out)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2 and "--cluster must be the address of a dask scheduler" in capsys.readouterr().err
    machines.start_scheduler(allowed_failures=0)
    monkeypatch.setattr(cluster, "_CONNECT", 60.0)
    later = threading.Timer(3, machines.start_worker)
    later.start()
    with pytest.raises(SystemExit) as end, caplog.at_level(logging.WARNING, "precortical"):
        main.main()
    later.join()
    assert end.value.code in (0, None)
    assert f"{machines.address} has no workers: waiting for workers" in caplog.text
    assert f"{IMAGES} images" in capsys.readouterr().out


def test_a_task_that_ends_every_worker_is_an_error(client, machines):
    with pytest.raises(MachineError, match=r"tcp://.* ended 1 worker.*memory"):
        list(Cluster(machines.address, Needs()).map(os._exit, [(9,)]))
