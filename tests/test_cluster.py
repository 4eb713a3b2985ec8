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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

import biomodel
from biomodel import InputError, Pathway, Store, luminance
from biomodel.engine import cache, cluster
from biomodel.engine.cluster import Cluster, Needs, check_workers
from biomodel.engine.store import n_done
from biomodel.utils.errors import MachineError
from biomodel.utils.paths import write_text
from bridge.fit.stimuli import Simulation, identification_set
from studies.cli import main
from studies.common.parallel import run_parallel
from studies.common.shared_arrays import loads, shared_arrays
from studies.data.datasets import Images
from studies.luminance.results import Files
from studies.luminance.run import _Context
from studies.luminance.settings import Settings as LuminanceSettings
from studies.reproduction.run import run as reproduce
from studies.reproduction.settings import Settings

ROOT = Path(__file__).parent.parent
IMAGES = 8
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


def test_tasks_hold_no_large_array(tmp_path):
    random = np.random.default_rng(0)
    train, test, labels = random.random((200, 32, 32)), random.random((32, 32, 50)).T, np.arange(200) % 10
    images = Images("digits", train, labels, test, labels[:50])
    context = _Context(LuminanceSettings(), Files(tmp_path), images)
    with shared_arrays(tmp_path / "arrays") as kept:
        # An equal array in a second data set, as a view of another one, is no second file.
        again = replace(images, train=np.concatenate([train, train])[:200])
        tasks = [kept.dumps((context, again, k)) for k in range(3)]
        assert max(map(len, tasks)) < 20_000
        assert sorted(path.stat().st_size // 1000 for path in (tmp_path / "arrays").iterdir()) == [409, 1638]
        (one, same, first), (two, _, second) = (loads(tmp_path / "arrays", task) for task in tasks[:2])
        assert one.images.train is two.images.train is same.train and (first, second) == (0, 1)
        for name in ("train", "test", "train_labels", "test_labels"):
            assert np.array_equal(getattr(one.images, name), getattr(images, name)), name
        with pytest.raises(ValueError, match="read-only"):
            one.images.train[0] = 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"), shared_arrays(tmp_path / "missing" / "arrays"):
        pass


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_as_one_process(client, machines, stimulus, pathway, expected, tmp_path):
    client.wait_for_workers(2, timeout=60)
    stored = pathway.simulate(stimulus, store=Store(tmp_path, 1), workers=machines.address, **SETTINGS)
    assert stored.identical(expected)
    few = pathway.simulate(stimulus[:2], workers=client, **SETTINGS)
    assert few.identical(expected.isel(image=slice(2)))
    assert not tokens(tmp_path)


@pytest.mark.all
@pytest.mark.slow
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
    settings, sent = Settings(("digits",), ("lenet",), "smoke", 2), []
    submit = Client.submit

    def count(self, function, call, **settings):
        sent.append(len(call))
        return submit(self, function, call, **settings)

    monkeypatch.setattr(Client, "submit", count)
    # Workers have other working directories.
    there = reproduce(settings, Path("there"), machines.address).cells
    here = reproduce(settings, Path("here"), 1).cells
    cells = {path.relative_to("here") for path in Path("here").glob("cells/**/*.npz")}
    assert len(cells) == 2 and not tokens("there")
    # The images, 11 MB, are in a file.
    assert len(sent) == 2 and max(sent) < 20_000
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


def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def wait_until_idle(client):
    deadline = time.monotonic() + 30
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) or any(
        # Those that go on although they are cancelled, too.
        client.run(lambda dask_worker: len(dask_worker.state.tasks)).values()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_interrupt_cancels_the_tasks(client, machines, stimulus, pathway, tmp_path):
    with pytest.raises(KeyboardInterrupt), after_some_chunks(tmp_path, interrupt):
        pathway.simulate(stimulus, store=Store(tmp_path, 1), workers=machines.address, **SETTINGS)
    assert not tokens(tmp_path)
    # Chunks that workers were simulating are not written when they are done.
    written = n_done(tmp_path)
    wait_until_idle(client)
    assert n_done(tmp_path) == written < IMAGES


def test_a_task_that_outlives_its_run_writes_nothing(client, machines, tmp_path):
    def write_late(folder):
        (folder / "started").touch()
        while list(folder.glob(".run-*")):
            time.sleep(0.02)
        try:
            write_text(folder / "cell.csv", "of an ended run")
        except MachineError as error:
            (folder / "refused").write_text(str(error))

    def watch():
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        interrupt()

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run_parallel(write_late, [(tmp_path,)], machines.address, "cells", tmp_path)
    watcher.join()
    deadline = time.monotonic() + 30
    while not {"cell.csv", "refused"} & set(os.listdir(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert sorted(os.listdir(tmp_path)) == ["refused", "started"]
    assert f"{tmp_path} is no longer that of this run" in (tmp_path / "refused").read_text()


def test_workers_with_other_versions_or_folders_are_refused_by_name(
    client, machines, stimulus, pathway, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # In each process it is the folder in which the process was started.
    store, first = Store("/proc/self/cwd/store", 1), set(client.nthreads())
    with pytest.raises(InputError) as refused:
        pathway.simulate(stimulus, store=store, workers=machines.address, **SETTINGS)
    unseen = "workers must see the folder /proc/self/cwd/store under this path: {} does not"
    assert set(str(refused.value).split("; ")) == {unseen.format(worker) for worker in first}
    assert not (tmp_path / "store" / "responses.zarr").exists() and not tokens(tmp_path / "store")
    assert not (machines.folder / "store").exists()

    other, broken = tmp_path / "other", tmp_path / "broken"
    shutil.copytree(ROOT / "biomodel", other / "biomodel")
    module = other / "biomodel" / "__init__.py"
    module.write_text(module.read_text().replace(f'"{biomodel.__version__}"', '"0.0.9"'))
    (broken / "biomodel").mkdir(parents=True)
    (broken / "biomodel" / "__init__.py").write_text("raise ImportError('no such release')")
    before = Cluster(machines.address, Needs())
    started = [machines.start_worker(path=broken)]
    try:
        client.wait_for_workers(len(first) + 1, timeout=60)
        (unable,) = set(client.nthreads()) - first
        cannot = f"workers must be able to import precortical: {unable} raised ImportError('no such release')"
        # One that joins after the check is refused by its first task.
        with pytest.raises(InputError) as refused:
            list(before.map(time.sleep, [(0.2,)] * 40))
        assert str(refused.value) == cannot
        started.append(machines.start_worker(path=other))
        client.wait_for_workers(len(first) + 2, timeout=60)
        (old,) = set(client.nthreads()) - {*first, unable}
        with pytest.raises(InputError) as refused:
            pathway.simulate(stimulus, workers=machines.address, **SETTINGS)
        differs = (
            f"workers must have the versions of this process: {old} has precortical 0.0.9, here {biomodel.__version__}"
        )
        assert set(str(refused.value).split("; ")) == {cannot, differs}
    finally:
        for process in started:
            process.terminate()
            process.wait()


@pytest.mark.slow
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
    waiting = f"{machines.address} has no workers: waiting for workers"

    def join_when_missed():
        deadline = time.monotonic() + 60
        while waiting not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        machines.start_worker()

    later = threading.Thread(target=join_when_missed)
    later.start()
    with pytest.raises(SystemExit) as end, caplog.at_level(logging.WARNING, "precortical"):
        main.main()
    later.join()
    assert end.value.code in (0, None)
    assert waiting in caplog.text
    assert f"{IMAGES} images" in capsys.readouterr().out


def test_a_task_that_ends_every_worker_is_an_error(client, machines):
    with pytest.raises(MachineError, match=r"tcp://.* ended 1 worker.*memory"):
        list(Cluster(machines.address, Needs()).map(os._exit, [(9,)]))
