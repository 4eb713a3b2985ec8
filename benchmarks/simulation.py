"""Speed of the simulation against dense synapses and a loop in PyTorch, its scaling and its memory.

The sides of a comparison are timed in turn within one run, on the same cores: the simulation and the dense network with
one process per core, PyTorch with one thread per core at its best batch size. The simulation's time is that of
`Pathway.simulate`, with the adapted state and the labelled result; only the steps of the others are timed.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from benchmarks import dense
from benchmarks.rows import CORES, Bench, Row, ratios, rounds
from benchmarks.torch_loop import TorchLoop
from biomodel import Pathway, luminance
from biomodel.adaptation import GazeAdapted
from biomodel.circuit.recording import RunSettings, plan_recordings, run_variables
from biomodel.circuit.specification import Specification
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import cache, cpp
from biomodel.engine.plan import AdaptTo, Network, Plan, Request
from biomodel.engine.plan import make_plan as plan_simulation
from biomodel.images import photographs
from biomodel.parameters import FIDELITIES

NAMES = {"lgn": "simulate/retina_lgn", "v1": "simulate/pathway"}

#: Number of cell types that the studies simulate.
STUDIES = {"v1.kinds": 16}
ROUNDS = 5
EAGER_BATCHES = (4, 16, 64, 128)
COMPILED_BATCHES = (4, 8, 16, 32)


def run(bench: Bench) -> None:
    """Run all benchmarks of the simulation."""
    torch.set_num_threads(CORES)
    for output in NAMES:
        compare(bench, output)
    v1_cost(bench)
    spiking_cost(bench)
    second_call(bench)
    scaling(bench)
    streaming(bench)


def compare(bench: Bench, output: str) -> None:
    """Compare speed and results with the PyTorch loop and, up to the relay, with the dense circuit."""
    name, pathway = NAMES[output], Pathway(parameters=STUDIES)
    stimulus = photographs(128, seed=11)
    plan = make_plan(pathway, stimulus, output)
    responses = pathway.simulate(stimulus, output=output, workers=CORES)

    def ours() -> float:
        return _rate(128, lambda: pathway.simulate(stimulus, output=output, workers=CORES))

    eager, eager_batch = _best(TorchLoop(plan), EAGER_BATCHES)
    compiled, compiled_batch = _best(TorchLoop(plan, compiled=True), COMPILED_BATCHES)
    sides = {
        "ours": ours,
        "torch": lambda: _rate(eager_batch, eager),
        "torch.compile": lambda: _rate(compiled_batch, compiled),
    }
    goals = {"torch": "2 ×", "torch.compile": "1 ×"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dense"
        if output == "lgn":
            _build_dense(plan, folder)
            sides["dense"] = lambda: _rate(2 * CORES, lambda: _run_dense(folder, plan, 2 * CORES))
            goals["dense"] = "40 ×"
        found = rounds(ROUNDS, sides)
        value = statistics.median(found["ours"])
        for against, goal in goals.items():
            ratio, low, high = ratios(found["ours"], found[against])
            bench.add(Row(name, value, "images/s", against, ratio, goal, low, high))
        batches = {"torch": eager_batch, "torch.compile": compiled_batch}
        for against, batch in batches.items():
            bench.add(Row(f"{name}/best_batch", batch, "images", against))
        for against, loop in (("torch", eager), ("torch.compile", compiled)):
            out = loop()
            errors = [_difference(out[station], responses[station].values[: len(out[station])]) for station in out]
            bench.add(Row(f"{name}/difference", max(errors), "of maximum", against, goal="1e-6"))
        if output == "lgn":
            onset = _difference(_run_dense(folder, plan, 8)["lgn"], responses.lgn.values[:8])
            bench.add(Row(f"{name}/difference_after_onset", onset, "of maximum", "dense"))
    if output == "lgn":
        _steady_difference(bench, pathway, stimulus[:13])


def _steady_difference(bench: Bench, pathway: Pathway, stimulus: xr.DataArray) -> None:
    """Difference of the two circuits' steady states, in the fields that gaze leaves of images.

    The kernels are cut at 99 % of their mass, and for comparison at 99.9 %: the cut is the only cause of the difference. Bipolar,
    ganglion and relay cells are not compared: they adapt to static fields, and rest in both circuits.
    """
    adapted_to = make_plan(pathway, stimulus, "lgn").presentations.read(slice(None))[1]
    fields = luminance(adapted_to.start, 1 / float(stimulus.x[1] - stimulus.x[0]))
    plan = replace(
        make_plan(pathway, fields, "lgn", GazeAdapted(0.0)), settings=RunSettings(1000.0, (900.0, 1000.0), "mean")
    )
    coupled = pathway.simulate(fields, GazeAdapted(0.0), 1.0, (0.9, 1.0), output="lgn", workers=CORES)
    for mass, against in ((0.99, "dense"), (0.999, "dense, 99.9 % of the mass")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "dense"
            _build_dense(plan, folder, mass)
            out = _run_dense(folder, plan, len(fields))
        for station in ("cone", "horizontal"):
            errors = [_difference(a, b) for a, b in zip(out[station], coupled[station].values, strict=True)]
            name = f"simulate/retina_lgn/settled_{station}"
            bench.add(Row(name, max(errors), "of maximum", against, None, "1e-3", min(errors), max(errors)))


def v1_cost(bench: Bench, number: int = ROUNDS) -> None:
    """Time that V1 adds to an image of 32×32 pixels, relative to the time of retina and LGN."""
    pathway, stimulus = Pathway(parameters=STUDIES), photographs(128, seed=11)

    def cost(output: str) -> float:
        return _seconds(lambda: pathway.simulate(stimulus, output=output, workers=CORES)) / len(stimulus)

    for output in NAMES:
        cost(output)
    found = rounds(number, {output: functools.partial(cost, output) for output in NAMES})
    added = [full - front for full, front in zip(found["v1"], found["lgn"], strict=True)]
    ratio, low, high = ratios(added, found["lgn"])
    value = 1000 * statistics.median(added)
    bench.add(Row("simulate/v1_cost", value, "ms/image", "retina and LGN", ratio, "3 × at most", low, high))


def spiking_cost(bench: Bench, number: int = ROUNDS) -> None:
    """Time of one spiking trial of an image of 32×32 pixels, relative to the time of its rates."""
    stimulus = photographs(32, seed=11)
    for output, name in NAMES.items():
        pathways = {fidelity: Pathway(fidelity=fidelity, parameters=STUDIES) for fidelity in FIDELITIES}

        def cost(fidelity: str, of: dict[str, Pathway] = pathways, output: str = output) -> float:
            return _seconds(lambda: of[fidelity].simulate(stimulus, output=output, workers=CORES)) / len(stimulus)

        for fidelity in FIDELITIES:
            cost(fidelity)
        found = rounds(number, {fidelity: functools.partial(cost, fidelity) for fidelity in FIDELITIES})
        ratio, low, high = ratios(found["spiking"], found["rate"])
        value = 1000 * statistics.median(found["spiking"])
        bench.add(Row(f"{name}/spiking", value, "ms/image", "its rates", ratio, "30 × at most", low, high))


def second_call(bench: Bench) -> None:
    """Time to the first image of a second call in the same process, and the number of its builds."""
    pathway = Pathway(parameters=STUDIES)
    pathway.simulate(photographs(8, seed=21), workers=CORES)
    before = {entry.name for entry in cache.entries()}
    other = photographs(8, seed=22)
    batch = min(_seconds(lambda: pathway.simulate(other[:1])) for _ in range(3))
    first = statistics.median(_seconds(lambda: pathway.simulate(other[:1], workers=CORES)) for _ in range(5))
    compiled = len({entry.name for entry in cache.entries()} - before)
    bench.add(Row("simulate/pathway/second_call", first, "s, first image done", goal="0.5 s"))
    bench.add(Row("simulate/pathway/second_call_fastest", batch, "s, first image done"))
    bench.add(Row("simulate/pathway/second_call_builds", compiled, "builds", goal="0"))


def scaling(bench: Bench) -> None:
    """Time per image, by the size and by the number of images."""
    for output, name in NAMES.items():
        pathway = Pathway(parameters=STUDIES)

        def cost(number: int, size: int, output: str = output, pathway: Pathway = pathway) -> float:
            images = np.random.default_rng(number).uniform(10, 200, (number, size, size))
            stimulus = luminance(images, 16)
            return _seconds(lambda: pathway.simulate(stimulus, output=output, workers=CORES)) / number

        cost(16, 32), cost(8, 64)
        sizes = rounds(ROUNDS, {"32": lambda: cost(256, 32), "64": lambda: cost(64, 64)})
        ratio, low, high = ratios(sizes["64"], sizes["32"])
        value = 1000 * statistics.median(sizes["64"])
        bench.add(Row(f"{name}/64×64", value, "ms/image", "32×32", ratio, "4.6 × at most", low, high))
        numbers = rounds(3, {"200": lambda: cost(200, 32), "2000": lambda: cost(2000, 32)})
        ratio, low, high = ratios(numbers["2000"], numbers["200"])
        value = 1000 * statistics.median(numbers["2000"])
        bench.add(Row(f"{name}/2000_images", value, "ms/image", "200 images", ratio, "1.1 × at most", low, high))


_STREAM = """
import json, sys, time
import numpy as np
from biomodel import Display, Pathway
images = np.random.default_rng(0).random((int(sys.argv[1]), 32, 32))
stimulus = Display().show(images)
began = time.perf_counter()
pathway = Pathway(parameters=json.loads(sys.argv[4]))
pathway.simulate(stimulus, store=sys.argv[2], workers=int(sys.argv[3]))
print(time.perf_counter() - began)
"""


def _peaks(root: int, stop: threading.Event) -> dict[int, float]:
    """Peak resident memory in GiB of a process and its descendants, by process number, sampled while they run.

    The kernel's own count (VmHWM) is reset with each program; that of `getrusage` is inherited.
    """
    peaks: dict[int, float] = {}
    while not stop.wait(0.005):
        family = {root}
        for status in sorted(Path("/proc").glob("[0-9]*/status"), key=lambda path: int(path.parent.name)):
            try:
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            except OSError:
                continue
            process = int(status.parent.name)
            if process in family or int(fields["PPid"]) in family:
                family.add(process)
                peaks[process] = max(peaks.get(process, 0.0), int(fields.get("VmHWM", "0 kB").split()[0]) / 2**20)
    return peaks


def streaming(bench: Bench, images: int = 10_000) -> None:
    """Images per second into a store, and the largest resident memory of any process."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", _STREAM, str(images), scratch, str(CORES), json.dumps(STUDIES)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ended = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(_peaks, process.pid, ended)
            seconds = float(process.communicate()[0])
            ended.set()
            peaks = watching.result()
    if process.returncode != 0:
        raise RuntimeError(f"the streaming simulation failed with exit code {process.returncode}")
    own = peaks.pop(process.pid)
    others = max(peaks.values())
    bench.add(Row("simulate/pathway/stream", images / seconds, "images/s"))
    bench.add(Row("simulate/pathway/stream_memory", own, "GiB", "main process", goal="2 GiB"))
    bench.add(Row("simulate/pathway/stream_memory", others, "GiB", "largest other process", goal="2 GiB"))


def make_plan(pathway: Pathway, stimulus: xr.DataArray, output: str, adapt_to: AdaptTo = "gaze") -> Plan:
    """The plan that `Pathway.simulate` makes for a stimulus, in batches of 8, for the other programs to run the same."""
    network = Network(pathway.parameters, pathway.lesions, pathway.dt, "cpp")
    plan = plan_simulation(network, stimulus, Request(adapt_to, output=output))
    return replace(plan, specification=_with_images(plan.specification, 8))


def _with_images(specification: Specification, images: int) -> Specification:
    return replace(specification, grid=replace(specification.grid, images=images))


def _best(loop: TorchLoop, batches: tuple[int, ...]) -> tuple[Callable[[], dict[str, np.ndarray]], int]:
    """A run of the loop at its fastest batch size, and that size."""
    runs = {}
    for batch in batches:
        shown, fields = loop.plan.presentations.read(slice(0, batch))
        light, state = shown[:, 0], steady_state(loop.specification, fields)

        def once(light: np.ndarray = light, state: dict[str, np.ndarray] = state) -> dict[str, np.ndarray]:
            return loop.run(light, state)

        once()
        runs[batch] = (max(_rate(batch, once) for _ in range(2)), once)
    best = max(runs, key=lambda batch: runs[batch][0])
    return runs[best][1], best


def _build_dense(plan: Plan, folder: Path, mass: float = 0.99) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.dense", _with_images(plan.specification, 1).to_json(), folder, str(mass)],
        check=True,
        capture_output=True,
    )


def _run_dense(folder: Path, plan: Plan, images: int) -> dict[str, np.ndarray]:
    """Responses of the first images, by station, (image, [channel,] y, x) in the station's unit; one process per core."""
    specification = _with_images(plan.specification, 1)
    recordings = plan_recordings(specification)
    settings = run_variables(specification, recordings, plan.settings)

    def one(k: int) -> dict[str, np.ndarray]:
        shown, fields = plan.presentations.read(slice(k, k + 1))
        state = dense.initial_state(specification, fields.start)
        return cpp.run_binary(folder, {"movie": shown[0].reshape(1, -1), **state, **settings})

    with ThreadPoolExecutor(CORES) as pool:
        outs = list(pool.map(one, range(images)))

    def field(station: str, variable: str, unit: float) -> np.ndarray:
        grid = specification.grid
        flat = np.stack([out[f"mean.{station}.{variable}"] for out in outs])
        return flat.reshape(images, grid.height, grid.width) / unit

    return {
        "cone": field("cone", "photocurrent", 1e-12),
        "horizontal": field("horizontal", "potential", 1e-3),
        "lgn": np.stack([field("lgn", channel, 1.0) for channel in recordings["lgn"].readout.variables], 1),
    }


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _rate(images: int, action: Callable[[], object]) -> float:
    return images / _seconds(action)
