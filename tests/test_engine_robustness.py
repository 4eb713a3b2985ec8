"""Threads, the user's preferences and environment, and faults of the machine: the same responses, or one clear line."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brian2
import numpy as np
import pytest

from biomodel import InputError, Pathway, luminance
from biomodel.engine import cache as builds
from biomodel.engine import cpp, executors, run, scratch, toolchain
from biomodel.engine.plan import Network, Request, make_plan
from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import MachineError
from biomodel.utils.folders import user_cache
from studies.cli import main as cli

ROOT = str(Path(__file__).parent.parent)


def flash(level):
    """Two images of 16×16 pixels, as `even` has: the circuit is compiled once."""
    return luminance(np.full((2, 16, 16), float(level)), 16)


BRIEF = {"duration": 0.02, "window": (0.0, 0.02)}


def cones(pathway, level):
    return pathway.simulate(flash(level), adapt_to=100.0, output="cone", **BRIEF).cone


@pytest.fixture(scope="module")
def on_numpy():
    return Pathway(target="numpy")


@pytest.fixture(scope="module")
def compiled(cache):
    """The folder of compiled cones, and their responses."""
    expected = cones(Pathway(target="cpp"), 110)
    return builds.build(specification()), expected


def specification():
    pathway = Pathway(target="cpp")
    network = Network(pathway.parameters, pathway.lesions, pathway.dt, "cpp")
    return make_plan(network, flash(110), Request(adapt_to=100.0, output="cone")).specification


# Threads


def test_threads_have_the_responses_to_their_own_stimuli(on_numpy):
    levels = [80, 110, 150]
    alone = [cones(on_numpy, level) for level in levels]
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.is_set():
            seen.add((brian2.prefs.codegen.target, brian2.get_device(), float(brian2.defaultclock.dt)))
            ended.wait(0.001)

    watcher = threading.Thread(target=watch)
    before, random = dict(brian2.prefs), np.random.get_state()[1].tolist()
    watcher.start()
    try:
        with ThreadPoolExecutor(3) as threads:
            together = list(threads.map(lambda level: cones(on_numpy, level), levels))
    finally:
        ended.set()
        watcher.join()
    assert all(a.identical(b) for a, b in zip(alone, together, strict=True))
    assert len({float(response.mean()) for response in together}) == len(levels)
    assert dict(brian2.prefs) == before and len(seen) == 1
    assert np.random.get_state()[1].tolist() == random


def test_spiking_cells_need_no_preference_either(monkeypatch):
    """Synapses are connected, and spikes sent, with NumPy, also where the user has chosen another target for other networks."""
    stimulus = luminance(np.full((1, 8, 8), 110.0), 16)
    settings = {"output": "lgn", "duration": 0.002, "window": (0.0, 0.002)}
    pathway = Pathway(fidelity="spiking", target="numpy")
    expected = pathway.simulate(stimulus, **settings)
    executors._network.cache_clear()
    refused = "codegen.target is asked for"
    monkeypatch.setattr(brian2.devices.device, "auto_target", lambda: pytest.fail(refused))
    assert brian2.prefs.codegen.target == "auto"
    assert pathway.simulate(stimulus, **settings).identical(expected)


def test_an_error_in_a_run_leaves_nothing_behind(on_numpy, monkeypatch):
    expected, before = cones(on_numpy, 110), dict(brian2.prefs)
    with monkeypatch.context() as patch:
        patch.setattr(brian2.NeuronGroup, "_check_for_invalid_states", lambda group: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cones(on_numpy, 150)
    assert dict(brian2.prefs) == before and brian2.Network._globally_running is False
    assert cones(on_numpy, 110).identical(expected)


def test_a_network_that_is_stopped_gives_no_responses(on_numpy, monkeypatch):
    """Ctrl+C ends the run of a network early, and Brian2 reports that as success."""
    expected, run = cones(on_numpy, 110), brian2.Network.run

    def interrupted(network, duration, **settings):
        run(network, duration / 2, **settings)
        brian2.Network._globally_stopped = True

    with monkeypatch.context() as patch:
        patch.setattr(brian2.Network, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cones(on_numpy, 110)
    assert cones(on_numpy, 110).identical(expected)


def test_a_fork_in_the_middle_of_a_run_can_simulate(on_numpy):
    expected = cones(on_numpy, 110)
    taken, free = threading.Event(), threading.Event()

    def hold():
        with executors.one_thread():
            taken.set()
            free.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if cones(on_numpy, 110).identical(expected) else 1)
    free.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def in_sequence(pathway, level):
    return pathway.simulate(flash(level), "previous", output="cone", **BRIEF)


def test_sequences_in_threads_follow_one_another():
    def rates(threads):
        pathway = Pathway(target="numpy")
        in_sequence(pathway, 50)
        with ThreadPoolExecutor(threads) as pool:
            return sorted(float(found.cone.mean()) for found in pool.map(lambda _: in_sequence(pathway, 300), range(3)))

    one, many = rates(1), rates(3)
    assert one == many and len(set(one)) == 3


def test_a_pathway_is_copied_with_its_state():
    pathway = Pathway(target="numpy")
    in_sequence(pathway, 50)
    copies = [pickle.loads(pickle.dumps(pathway)) for _ in range(2)]
    first, second = (in_sequence(copy, 300) for copy in copies)
    assert first.identical(second)
    assert first.identical(in_sequence(pathway, 300))
    assert not first.identical(in_sequence(Pathway(target="numpy"), 300))


def test_threads_share_a_build(compiled):
    _, expected = compiled
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: cones(Pathway(target="cpp"), 110), range(3)))
    assert all(responses.identical(expected) for responses in found)


def test_a_worker_of_a_cluster_checks_a_build_once_while_it_is_there(compiled, monkeypatch):
    folder, expected = compiled
    pathway = Pathway(target="cpp")
    network = Network(pathway.parameters, pathway.lesions, pathway.dt, "cpp")
    plan = make_plan(network, flash(110), Request(adapt_to=100.0, output="cone", **BRIEF))
    checked, damaged = [], builds.damaged
    monkeypatch.setattr(builds, "damaged", lambda folder: checked.append(folder) or damaged(folder))
    run._kept_executor.cache_clear()

    def simulated(plan):
        chunk = slice(0, 2)
        # As in a worker, where each chunk's plan is another object.
        plan = pickle.loads(pickle.dumps(plan))
        return run._simulate_chunk(
            plan, chunk, *plan.presentations.read(chunk), lambda _, *found: run.label(plan, *found).cone.values
        )

    for _ in range(3):
        assert np.array_equal(simulated(plan), expected.values)
    assert checked == [folder]
    # Another recording of the same circuit.
    shorter = Request(adapt_to=100.0, output="cone", duration=0.01, window=(0.0, 0.01))
    other = simulated(make_plan(network, flash(110), shorter))
    assert checked == [folder] and not np.array_equal(other, expected.values)
    # It was removed meanwhile.
    away = folder.rename(folder.with_name("away"))
    made = []
    monkeypatch.setattr(builds, "build", lambda specification: made.append(away.rename(folder)) or folder)
    assert np.array_equal(simulated(plan), expected.values)
    assert made == [folder]


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path):
    both = threading.Barrier(2)

    def write(text):
        with atomic_write(tmp_path / "file.txt") as part:
            part.write_text(text)
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, "ab"))
    assert [path.read_text() for path in tmp_path.iterdir()] in (["a"], ["b"])


# Preferences and environment

PREFERENCES = """
core.default_float_dtype = float32
devices.cpp_standalone.openmp_threads = 2
codegen.cpp.extra_compile_args_gcc = ['-O0', '-w']
codegen.cpp.define_macros = [('double', 'float')]
"""

IN_A_THREAD = """
import sys, threading
sys.path.insert(0, sys.argv[1])
failed = []
def simulate():
    import numpy as np
    from biomodel import Pathway, luminance
    stimulus = luminance(np.full((2, 16, 16), 110.0), 16)
    brief = {"duration": 0.02, "window": (0.0, 0.02)}
    responses = Pathway(target="cpp").simulate(stimulus, adapt_to=100.0, output="cone", **brief)
    np.save("responses.npy", responses.cone.values)
thread = threading.Thread(target=simulate)
thread.start()
thread.join()
"""


def test_a_build_does_not_depend_on_preferences_folder_home_or_environment(compiled, tmp_path):
    """Nor on the thread that imports the package; what a loader prints is no error."""
    home, here = tmp_path / "home", tmp_path / "here"
    (home / ".brian").mkdir(parents=True)
    (home / ".brian" / "user_preferences").write_text(PREFERENCES)
    here.mkdir()
    (here / "brian_preferences").write_text(PREFERENCES)
    (here / "sympy.py").write_text("raise RuntimeError('shadowed')\n")
    (here / "matplotlibrc").write_text("backend: none of them\n")
    environment = {
        **os.environ,
        "HOME": str(home),
        "PRECORTICAL_CACHE": str(tmp_path / "cache"),
        "CFLAGS": "--no-such-flag",
        "CXXFLAGS": "-O0",
        "CPPFLAGS": "-Ddouble=float",
        "CPATH": str(here),
        "CC": "false",
        "CXX": "",
        "MAKEFLAGS": "e",
        "LD_PRELOAD": "/nowhere.so",
        "PYTHONINSPECT": "1",
    }
    (here / "cmath").write_text("#error shadowed\n")
    said = subprocess.run(
        [sys.executable, "-P", "-c", IN_A_THREAD, ROOT],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (here / "responses.npy").exists(), said.stderr
    folder, expected = compiled
    assert np.array_equal(np.load(here / "responses.npy"), expected.values)
    (made,) = (path for path in (tmp_path / "cache" / "builds").iterdir() if path.is_dir())
    assert made.name == folder.name
    inputs = [json.loads((path / "manifest.json").read_text())["inputs"] for path in (made, folder)]
    assert inputs[0] == inputs[1]


def test_what_decides_the_binary_is_in_its_name(monkeypatch):
    names = [builds.key(specification())]
    for variable, value in (("CXX", "g++ -O1"), ("LIBRARY_PATH", "/opt"), ("CPLUS_INCLUDE_PATH", "/opt")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            names.append(builds.key(specification()))
    assert len(set(names)) == len(names)
    monkeypatch.setenv("CXXFLAGS", "-O0")
    assert builds.key(specification()) == names[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("core.default_float_dtype", np.float32),
        ("core.network.default_schedule", ["start", "synapses", "groups", "thresholds", "resets", "end"]),
        ("codegen.loop_invariant_optimisations", False),
    ],
)
def test_preferences_that_change_numbers_are_refused_on_the_numpy_target(on_numpy, monkeypatch, name, value):
    expected = cones(on_numpy, 110)
    with monkeypatch.context() as patch:
        patch.setitem(brian2.prefs, name, value)
        with pytest.raises(InputError, match=f"preference {name} must be .*, its default, for the numpy target, got"):
            cones(on_numpy, 150)
    assert cones(on_numpy, 110).identical(expected)


# Standard error


def test_only_the_exit_code_and_the_outputs_decide(compiled, monkeypatch, caplog):
    _, expected = compiled
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    caplog.set_level("DEBUG", logger="precortical")
    assert cones(Pathway(target="cpp"), 110).identical(expected)
    assert "/nowhere.so" in caplog.text and toolchain.compiler() is not None


def test_an_input_that_the_binary_cannot_read_ends_it(compiled, monkeypatch):
    """Brian2's code prints an error and goes on with other numbers."""
    folder, _ = compiled
    manifest = json.loads((folder / "manifest.json").read_text())
    inputs = {name: np.ones(size) for name, size in manifest["inputs"].items()}
    inputs["movie"] = np.arange(manifest["inputs"]["movie"], dtype=float)
    run, size = subprocess.run, manifest["inputs"]["movie"]

    def truncated(command, **settings):
        given = next(Path(word.partition("=")[2]) for word in command if word.startswith("movie.values="))
        os.truncate(given, 8 * (size - 1))
        return run(command, **settings)

    monkeypatch.setattr(subprocess, "run", truncated)
    with pytest.raises(RuntimeError, match=r"failed \(exit code 1\): Error reading '.*movie': file size"):
        cpp.run_binary(folder, inputs)


# Messages


def one_line(call):
    with pytest.raises(MachineError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("below", ["", "precortical"])
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, below):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / below
    monkeypatch.setenv("PRECORTICAL_CACHE", str(path))
    words = one_line(lambda: cones(Pathway(target="cpp"), 110))
    assert f"{path / 'builds'} cannot be written (Not a directory" in words
    assert "set PRECORTICAL_CACHE (or XDG_CACHE_HOME) to choose another folder" in words


def test_the_command_ends_with_one_line_and_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    np.save(tmp_path / "images.npy", np.full((1, 8, 8), 0.5))
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "file"))
    words = ["simulate", tmp_path / "images.npy", "--output", "cone", "--target", "cpp", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["precortical", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("error: the cache of compiled pathways") and said.count("\n") == 1


def test_the_cache_folder_is_chosen_by_two_variables(tmp_path, monkeypatch):
    monkeypatch.delenv("PRECORTICAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "precortical"
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "own"))
    assert user_cache() == tmp_path / "own" and builds.cache_folder() == tmp_path / "own" / "builds"
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("PRECORTICAL_CACHE", "~/own")
    assert user_cache() == Path("/home/somebody/own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRECORTICAL_CACHE", "own")
    assert user_cache() == tmp_path / "own"


def script(folder, *lines):
    path = folder / "compiler"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["echo 'boom.h: error: out of luck' >&2", "exit 3"],
            r"\(exit code 3\): boom.h: error: out of luck; free memory",
        ),
        (["kill -9 $$"], r"\(ended by SIGKILL, which the system sends where memory is full\): no message"),
        (["echo no; exit 1"], r"\(exit code 1\): no; "),
    ],
)
def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch, lines, words):
    path = script(tmp_path, 'case "$*" in *--version) echo "compiler 1.0"; exit 0;; esac', *lines)
    monkeypatch.setenv("CXX", str(path))
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MachineError, match=words) as error:
        builds.build(specification())
    assert str(path) in str(error.value) and str(tmp_path / "cache") in str(error.value)
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache" / "builds").iterdir() if path.is_dir()]


def test_a_compiler_that_fails_on_a_circuit_is_quoted(tmp_path, monkeypatch):
    """In the process that compiles."""
    path = script(
        tmp_path, 'case "$*" in *main.cpp*|*.gch*) echo "x: fatal error: disk gone" >&2; exit 4;; esac', 'exec g++ "$@"'
    )
    monkeypatch.setenv("CXX", str(path))
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path / "cache"))
    words = one_line(lambda: builds.build(specification()))
    assert "x: fatal error: disk gone; free memory and disk, set PRECORTICAL_CACHE" in words
    assert not [path for path in (tmp_path / "cache" / "builds").iterdir() if path.is_dir()]


def test_what_make_prints_is_not_what_the_compiler_said():
    output = "g++ -c a.cpp\ncc1plus: note: disable pass rtl\na.cpp:1: error: no\nmake: *** [makefile:9: a.o] Error 1\n"
    assert "(exit code 2): a.cpp:1: error: no; free" in str(toolchain.failure(output, 2))


@pytest.mark.parametrize("command", ["/nowhere/g++", "false", '"g++'])
def test_a_compiler_that_is_none_is_named(command, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", command)
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path))
    with pytest.raises((MachineError, InputError), match=command) as error:
        builds.build(specification())
    assert "\n" not in str(error.value)


def test_a_process_that_compiles_and_is_killed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PRECORTICAL_CACHE", str(tmp_path))
    monkeypatch.setattr(toolchain, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    assert "was ended by SIGKILL" in one_line(lambda: builds.build(specification()))
    monkeypatch.setattr(toolchain, "_PROGRAM", "raise ValueError('defect')")
    with pytest.raises(RuntimeError, match="ValueError: defect") as error:
        builds.build(specification())
    assert not isinstance(error.value, MachineError)


def test_a_binary_that_may_not_be_started_is_named(compiled, tmp_path, monkeypatch):
    """As on a file system without programs (noexec)."""
    folder, _ = compiled
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "main").chmod(0o644)
    monkeypatch.setattr(builds, "build", lambda specification: copy)
    words = one_line(lambda: cones(Pathway(target="cpp"), 110))
    assert f"{copy / 'main'} cannot be started (Permission denied)" in words and "PRECORTICAL_CACHE" in words
    (copy / "main").write_text("#!/bin/sh\nkill -9 $$\n")
    (copy / "main").chmod(0o755)
    assert "was ended by SIGKILL" in one_line(lambda: cones(Pathway(target="cpp"), 110))


def test_a_temporary_folder_that_cannot_be_written_is_named(compiled, tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path / "gone"))
    words = one_line(lambda: cones(Pathway(target="cpp"), 110))
    assert str(tmp_path / "gone") in words and "set TMPDIR" in words
