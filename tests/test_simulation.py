"""Builds, chunks, workers and stores: nothing of how a simulation is run may show in its responses."""

import ast
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from biomodel import GazeAdapted, InputError, Pathway, Store, luminance
from biomodel.engine import cache, cpp
from biomodel.engine.cpp import vectorisable, writing_only
from biomodel.engine.plan import Network, Request, make_plan
from biomodel.engine.store import n_done
from biomodel.utils.code import code_digest


@pytest.fixture(scope="module")
def noise():
    """Forty images of 32×32 pixels: even ones first, which compress well, then noise, which does not."""
    images = np.random.default_rng(0).uniform(10, 200, (40, 32, 32))
    images[:16] = np.arange(20, 36)[:, None, None]
    return luminance(images, 16).assign_coords(
        number=("image", np.arange(40)), name=("image", [f"n{k}" for k in range(40)])
    )


@pytest.fixture(scope="module")
def undisturbed(noise, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return Pathway().simulate(noise, output="lgn", store=Store(folder, 16)).load()


def python(script, *arguments, **settings):
    root = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


SIMULATE = """
import resource, sys
import xarray as xr
from biomodel import Pathway, Store
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
stimulus = xr.open_zarr(sys.argv[1], chunks=None, consolidated=False).luminance
Pathway().simulate(stimulus, output="lgn", store=Store(sys.argv[2], int(sys.argv[3])), workers=int(sys.argv[5]))
"""


UNLIMITED = resource.RLIM_INFINITY


def saved(stimulus, folder):
    path = folder / "stimulus.zarr"
    stimulus.to_dataset(name="luminance").to_zarr(path, consolidated=False, zarr_format=3)
    return path


def test_store_holds_what_memory_would(noise, undisturbed):
    assert undisturbed.identical(Pathway().simulate(noise, output="lgn"))


@pytest.mark.parametrize(("chunk", "workers"), [(5, 2), (40, 1)])
def test_responses_do_not_depend_on_chunks_and_workers(noise, undisturbed, tmp_path, chunk, workers):
    again = Pathway().simulate(noise, output="lgn", store=Store(tmp_path, chunk), workers=workers)
    for station in ("cone", "horizontal", "bipolar", "ganglion", "lgn"):
        assert np.allclose(again[station], undisturbed[station], rtol=1e-10, atol=1e-12)
    both = Pathway().simulate(noise, output="lgn", workers=workers)
    assert both.identical(undisturbed)


@pytest.mark.slow
def test_killed_simulation_goes_on_bit_for_bit(noise, tmp_path):
    many = xr.concat([noise[16:]] * 8, "image")
    stimulus = saved(many, tmp_path)
    kept = []
    for death in (signal.SIGKILL, signal.SIGINT):
        process = python(SIMULATE, stimulus, tmp_path / "a", 8, UNLIMITED, 2, start_new_session=True)
        before = n_done(tmp_path / "a")
        while n_done(tmp_path / "a") < before + 24 and process.poll() is None:
            time.sleep(0.01)
        # An interrupt reaches the compiled pathway too, as it does from a terminal.
        (os.kill if death == signal.SIGKILL else os.killpg)(process.pid, death)
        process.communicate()
        kept.append(n_done(tmp_path / "a"))
    assert 0 < kept[0] < kept[1] < len(many)
    partial = xr.open_zarr(tmp_path / "a" / "responses.zarr", chunks=None, consolidated=False).lgn
    assert (~np.isnan(partial).any(("lgn_channel", "y", "x"))).sum() >= kept[1]
    process = python(SIMULATE, stimulus, tmp_path / "a", 8, UNLIMITED, 2)
    assert process.wait() == 0, process.communicate()
    resumed = Pathway().simulate(many, output="lgn", store=Store(tmp_path / "a", 8)).load()
    assert resumed.identical(Pathway().simulate(many, output="lgn", workers=2))


def test_full_disk_is_a_clear_error_and_loses_nothing(noise, undisturbed, tmp_path):
    """A limit on the size of files stands for the disk: the even images' chunk stays under it, the noise's does not."""
    stimulus = saved(noise, tmp_path)
    process = python(SIMULATE, stimulus, tmp_path / "a", 16, 300_000, 1)
    said = process.communicate()[1]
    assert process.returncode != 0
    assert "MachineError" in said
    assert "cannot be written (File too large): the responses to 16 of 40 images are kept; repeat the call" in said
    assert n_done(tmp_path / "a") == 16
    assert Pathway().simulate(noise, output="lgn", store=Store(tmp_path / "a", 16)).identical(undisturbed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pathway": {"parameters": {"lgn.transfer": 0.4}}}, "parameter lgn.transfer = 0.5, now 0.4"),
        ({"pathway": {"lesions": ["horizontal_feedback"]}}, "lesions = , now horizontal_feedback"),
        ({"adapt_to": GazeAdapted(0.25)}, "adapt_to = drift of 30 arcmin²/s, now gaze of 0.25°"),
        ({"adapt_to": 100.0}, "adapt_to = drift of 30 arcmin²/s, now 100 cd/m²"),
        ({"labels": [4, 5]}, "coordinates = "),
        ({"seed": 1}, "seed = 0, now 1"),
        ({"chunk": 1}, "chunk = 2, now 1"),
        ({"brighter": 2}, "stimulus = 2 images with digest .*, now 2 images with digest"),
        ({"resume": False}, "give resume=True"),
    ],
)
def test_store_of_other_settings_is_refused(even, tmp_path, change, words):
    def simulate(pathway=None, brighter=1, labels=(1, 2), chunk=8, **others):
        stimulus = (even * brighter).assign_coords(label=("image", list(labels)))
        Pathway(target="numpy", **(pathway or {})).simulate(
            stimulus, output="lgn", store=Store(tmp_path, chunk), **others
        )

    simulate()
    with pytest.raises(ValueError, match=words) as error:
        simulate(**change)
    assert "\n" not in str(error.value)


def test_what_is_no_store_is_refused(even, tmp_path):
    (tmp_path / "responses.zarr").mkdir()
    with pytest.raises(ValueError, match="must be a store of simulated responses"):
        Pathway(target="numpy").simulate(even, output="lgn", store=tmp_path)
    with pytest.raises(ValueError, match="cannot be written"):
        Pathway(target="numpy").simulate(even, output="lgn", store="/proc/nowhere")
    with pytest.raises(ValueError, match="previous"):
        Pathway(target="numpy").simulate(even, output="lgn", adapt_to="previous", store=tmp_path)


def test_chunk_that_lost_a_file_is_simulated_again(noise, undisturbed, tmp_path):
    Pathway().simulate(noise, output="lgn", store=Store(tmp_path, 16))
    chunks = tmp_path / "responses.zarr" / "lgn" / "c"
    shutil.rmtree(chunks / "1")
    (chunks / "2" / "0" / "0" / "0").write_bytes(b"")
    assert n_done(tmp_path) == 16
    assert Pathway().simulate(noise, output="lgn", store=Store(tmp_path, 16)).identical(undisturbed)


def test_store_is_where_the_call_stood(even, tmp_path, monkeypatch):
    """Worker processes are kept from call to call, and with them the folder that they started in."""
    for k, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        stored = Pathway(target="numpy").simulate(even + k, output="lgn", store=Store("here", 1), workers=2)
        assert np.isfinite(stored.cone).all() and np.allclose(stored.background[0], 50 + k)


def test_build_that_is_gone_during_a_run_is_an_error(even, monkeypatch, tmp_path):
    pathway = Pathway()
    plan = make_plan(Network(pathway.parameters, (), pathway.dt, "cpp"), even, Request(output="cone"))
    broken = shutil.copytree(cache.build(plan.specification), tmp_path / "broken")
    static = max((broken / "static_arrays").iterdir(), key=lambda path: path.stat().st_size)
    static.write_bytes(static.read_bytes()[:100])
    with monkeypatch.context() as patch:
        patch.setattr(cache, "build", lambda specification: broken)
        with pytest.raises(RuntimeError, match="was changed while it ran"):
            pathway.simulate(even, output="cone")
        shutil.rmtree(broken)
        with pytest.raises(RuntimeError, match="was it removed"):
            pathway.simulate(even, output="cone")


@pytest.mark.parametrize(
    "window", [(0.05, 0.2), (0.015, 0.025), (1 / 60, 1 / 30), (0.0505, 0.0522), (0.02025, 0.03075)]
)
def test_mean_is_over_the_samples_in_the_window(even, window):
    """Rates that stand still have themselves as their mean, wherever the window lies between the samples."""
    responses = Pathway(target="numpy").simulate(even, output="lgn", window=window)
    assert np.allclose(responses.ganglion[:, 0], 36, rtol=1e-9)


def test_window_between_samples_is_refused(even):
    with pytest.raises(ValueError, match="window must hold a sample of cone, which is sampled every 0.001 s"):
        Pathway(target="numpy").simulate(even, output="lgn", window=(0.0501, 0.0504))


def test_trace_and_movie_go_to_a_store(even, tmp_path):
    movie = luminance(np.repeat(even.values[:, None], 4, axis=1), 16, frame_duration=0.05)
    settings = {"output": "lgn", "record": "trace"}
    pathway = Pathway(target="numpy")
    stored = pathway.simulate(movie, store=Store(tmp_path, 1), workers=2, **settings)
    assert stored.load().identical(pathway.simulate(movie, **settings))


def test_one_binary_serves_all_durations_windows_and_recordings(even, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pathway, reference = Pathway(target="cpp"), Pathway(target="numpy")
    for settings in (
        {"duration": 0.05, "window": (0.0, 0.05)},
        {"duration": 0.1, "window": (0.02, 0.04)},
        {"duration": 0.06, "record": "trace"},
    ):
        settings = {"adapt_to": 200.0, "output": "bipolar", "window": (0.0, 0.05)} | settings
        found, expected = pathway.simulate(even, **settings), reference.simulate(even, **settings)
        assert found.sizes == expected.sizes
        assert np.allclose(found.bipolar, expected.bipolar, rtol=1e-9, atol=1e-12)
    (entry,) = cache.entries()
    # Brian2's code is rewritten by patterns: they have to match what it really generates.
    manifest = json.loads((cache.cache_folder() / entry.name / "manifest.json").read_text())
    assert manifest["vectorised"] >= 5


def test_code_that_brian2_generates_otherwise_is_an_error():
    main = (
        "network.clear();\nnetwork.add(&lgn_trace_clock, _run_lgn_trace_codeobject);\n"
        "network.add(&clock, _run_lgn_codeobject);\nset_from_command_line(args);\nnetwork.run(1.0, NULL, 10.0);\n"
    )
    assert cpp.with_switches(["lgn_trace"], main) == (
        "set_from_command_line(args);\n        network.clear();\n"
        "if(_array_recording_trace[0] != 0) network.add(&lgn_trace_clock, _run_lgn_trace_codeobject);\n"
        "network.add(&clock, _run_lgn_codeobject);\nnetwork.run(_array_recording_duration[0], NULL, 10.0);\n"
    )
    for changed in (main.replace("network.run", "net.run"), main.replace("_trace_codeobject", "_trace"), main + main):
        with pytest.raises(RuntimeError, match="as generated by Brian2 .* must match .* once"):
            cpp.with_switches(["lgn_trace"], changed)


def imported(folder, file):
    """Files of the package that a file imports, and that those import."""
    found, left = set(), [file]
    while left:
        name = left.pop()
        found.add(name)
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "biomodel":
                parent = "/".join(node.module.split(".")[1:])
                # What is imported is a module, or stands in the one that it is imported from.
                asked = [f"{parent}.py", f"{parent}/__init__.py"] if parent else []
                asked += ["/".join(filter(None, (parent, f"{alias.name}.py"))) for alias in node.names]
                asked += ["/".join(filter(None, (parent, alias.name, "__init__.py"))) for alias in node.names]
                left += {name for name in asked if (folder / name).exists()} - found
    return sorted(found)


def test_builds_have_another_key_where_anything_that_makes_a_circuit_changed(monkeypatch, tmp_path):
    folder = tmp_path / "biomodel"
    shutil.copytree(Path(cache.__file__).parents[1], folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "__file__", str(folder / "engine" / "cache.py"))
    files = imported(folder, "circuit/assembly.py")
    assert {"circuit/v1.py", "circuit/cell_types.py", "circuit/spiking/v1.py", "parameters/table.py"} <= set(files)
    # What refuses a value does not change a circuit, nor what it is adapted to before a run.
    others = ("__init__.py", "adaptation.py", "pupil.py", "utils/errors.py", "utils/checks.py")
    made_by = [name for name in files if name not in others]
    digests = [cache.build_digest.__wrapped__()]
    for name in made_by:
        with (folder / name).open("a") as file:
            file.write("\nchanged = 1\n")
        digests.append(cache.build_digest.__wrapped__())
    table = folder / "circuit" / "v1_distributions.json"
    table.write_text(table.read_text() + "\n")
    digests.append(cache.build_digest.__wrapped__())
    assert len(set(digests)) == len(digests)


def test_builds_up_to_the_relay_do_not_depend_on_v1(even):
    """Nor on whether a number is an integer."""

    def key(output, **parameters):
        given = {f"{station}.{name}": value for station, one in parameters.items() for name, value in one.items()}
        pathway = Pathway(parameters=given)
        network = Network(pathway.parameters, pathway.lesions, pathway.dt, "cpp")
        return cache.key(make_plan(network, even, Request(output=output)).specification)

    assert key("lgn") == key("lgn", v1={"kinds": 4}) == key("lgn", lgn={"transfer": 0.5})
    assert key("lgn", bipolar={"luminance_half": 10}) == key("lgn", bipolar={"luminance_half": 10.0}) != key("lgn")
    assert key("lgn", lgn={"transfer": 0.4}) != key("lgn") != key("ganglion")
    assert key("v1_input", v1={"parasol_release": 0.3}) != key("v1_input") != key("lgn")


def test_digests_of_code_do_not_change_with_comments_or_docstrings(tmp_path):
    source = tmp_path / "module.py"
    digests = []
    for text in (
        'def f(x):\n    """Doc."""\n    return x  # why\n',
        '"""Module."""\n\n\ndef f(x):\n    # Because.\n    return (x)\n',
        "def f(x):\n    return x + 1\n",
    ):
        source.write_text(text)
        digests.append(code_digest([source]))
    assert digests[0] == digests[1] != digests[2]


def test_processes_share_a_build_and_a_damaged_one_is_compiled_again(monkeypatch, tmp_path, caplog):
    script = """
import numpy as np
from biomodel import Pathway, luminance
print(Pathway().simulate(luminance(np.full((1, 8, 8), 110.0), 16), adapt_to=100.0, output="cone").cone.values.sum())
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    processes = [python(script, env=environment) for _ in range(3)]
    said = [process.communicate() for process in processes]
    assert len({out for out, _ in said}) == 1 and float(said[0][0]) > 0, said
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (entry,) = cache.entries()
    assert entry.damage is None and entry.specification.output == "cone"
    binary = cache.cache_folder() / entry.name / "main"
    binary.write_bytes(binary.read_bytes()[:1000])
    assert cache.entries()[0].damage == "main is missing or changed"
    again = Pathway().simulate(luminance(np.full((1, 8, 8), 110.0), 16), adapt_to=100.0, output="cone")
    assert float(again.cone.values.sum()) == float(said[0][0])
    assert "is damaged (main is missing or changed): it is compiled again" in caplog.text
    assert cache.entries()[0].damage is None
    assert cache.clear() == 1 and cache.entries() == []


LOOP = """    for(int _idx=0; _idx<_N; _idx++)
    {{
        const int32_t other = _ptr_array_a_other[_idx];
        const double there = _ptr_array_{read}[other];
        _ptr_array_{written}[{place}] = there;
    }}
"""


@pytest.mark.parametrize(
    ("read", "written", "place", "vectorised"),
    [("a_x", "a_y", "_idx", True), ("a_x", "a_x", "_idx", False), ("a_x", "a_y", "other", False)],
)
def test_loops_are_vectorised_where_no_cell_reads_what_another_writes(read, written, place, vectorised):
    assert ("ivdep" in vectorisable(LOOP.format(read=read, written=written, place=place))) is vectorised


def test_binary_leaves_only_what_is_read():
    written = """    ofstream outfile_x;
    outfile_x.open(results_dir + "_array_x_1", ios::binary | ios::out);
    if(outfile_x.is_open())
    {
        outfile_x.close();
    } else
    {
        std::cout << "Error writing output file for x." << endl;
    }
"""
    both = written + written.replace("_x", "_y")
    assert writing_only({"_array_x_1"}, both) == written


@pytest.mark.parametrize("workers", [0, 1.5])
def test_workers_are_checked(even, workers):
    with pytest.raises(InputError, match=f"workers must be a positive integer, got {workers}"):
        Pathway(target="numpy").simulate(even, output="lgn", workers=workers)


def test_the_chunk_of_a_store_is_checked():
    with pytest.raises(InputError, match="chunk must be a positive integer, got 0"):
        Store("runs", chunk=0)
