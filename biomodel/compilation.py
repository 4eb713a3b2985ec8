"""A circuit compiled by Brian2's C++ standalone device, kept in the user's cache folder and rerun with new inputs.

The binary of a specification is built once, in a process of its own, so that Brian2's global device of the caller is
never touched. A build is a folder with the binary, its static arrays and `manifest.json`; it appears under its final name
in one step, complete.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import brian2
import numpy as np
import platformdirs

import biomodel
from biomodel.circuit import Circuit, Specification, assemble, readout, recorded_variable, settled
from biomodel.progress import progress

logger = logging.getLogger("precortical")

#: Brian2 2.9 runs an unbounded `make -j`.
_MAKE_JOBS = "-j2"

#: Modules whose text decides what a binary computes.
_SOURCES = ("circuit", "compilation", "lgn", "parameters", "retina", "station", "units", "v1", "wiring")


def cache_folder() -> Path:
    """Where builds are kept."""
    return Path(platformdirs.user_cache_dir("precortical")) / "builds"


@functools.cache
def compiler() -> str | None:
    """The first line of the C++ compiler's version, or None where there is none that works with make."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None or shutil.which("make") is None:
        return None
    told = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.splitlines()[0] if told.returncode == 0 and told.stdout else None


@functools.cache
def _surroundings() -> str:
    """Everything outside the specification that decides what the binary is."""
    folder = Path(__file__).parent
    sources = hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in _SOURCES)).hexdigest()
    return json.dumps([sources, biomodel.__version__, brian2.__version__, compiler(), _processor()])


def _processor() -> str:
    """The processor's model and instruction sets: binaries are built for this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def key(specification: Specification) -> str:
    """Name of a specification's build on this machine."""
    return hashlib.sha256((specification.to_json() + _surroundings()).encode()).hexdigest()[:32]


def build(specification: Specification) -> Path:
    """Folder of a specification's binary, compiled first where it is not in the cache.

    Raises
    ------
    RuntimeError
        Where the compilation fails; the message ends with the compiler's own words.
    """
    folder = cache_folder() / key(specification)
    if (folder / "manifest.json").exists():
        return folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    logger.info("compiling the %s pathway (%s)", specification.preset, folder.name)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="building-") as scratch:
        (Path(scratch) / "specification.json").write_text(specification.to_json())
        root = str(Path(biomodel.__file__).parent.parent)
        search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", "biomodel.compilation", scratch],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        try:
            said = _wait(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode != 0:
            tail = "\n".join(said.splitlines()[-15:])
            raise RuntimeError(f"the C++ build of the pathway failed:\n{tail}")
        try:
            (Path(scratch) / "build").rename(folder)
        except OSError:
            # Another process finished the same build first.
            if not (folder / "manifest.json").exists():
                raise
    return folder


def _wait(process: subprocess.Popen[str]) -> str:
    """What a process printed until it ended, the seconds shown meanwhile."""
    with progress(what="compiling", unit="s") as bar:
        while True:
            try:
                return process.communicate(timeout=1)[0]
            except subprocess.TimeoutExpired:
                bar.update(1)


def run(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a binary from given initial values.

    Parameters
    ----------
    folder : pathlib.Path
        As `build` returned it.
    inputs : dict of str to numpy.ndarray
        State variables by "group.variable", and "movie", in SI units; all that the manifest lists are needed.

    Returns
    -------
    dict of str to numpy.ndarray
        What the manifest lists as outputs, flat, in SI units.

    Raises
    ------
    RuntimeError
        Where the binary fails.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    with tempfile.TemporaryDirectory(prefix="precortical-") as scratch:
        arguments = []
        for name, size in manifest["inputs"].items():
            values = np.ascontiguousarray(inputs[name], dtype=np.float64)
            if values.size != size:
                raise RuntimeError(f"input {name} has {values.size} values where the binary takes {size}")
            path = Path(scratch) / name
            values.tofile(path)
            arguments.append(f"{name if name != 'movie' else 'movie.values'}={path}")
        told = subprocess.run(
            ["./main", "--results_dir", f"{scratch}/", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode != 0 or told.stderr:
            raise RuntimeError(
                f"the compiled pathway failed (exit code {told.returncode}): {told.stderr.strip()[-500:]}"
            )
        return {name: np.fromfile(Path(scratch) / file) for name, file in manifest["outputs"].items()}


def _compile(scratch: Path) -> None:
    """Build the circuit of `scratch`/specification.json into `scratch`/build: the body of the building process."""
    specification = Specification.from_json((scratch / "specification.json").read_text())
    brian2.prefs.devices.cpp_standalone.extra_make_args_unix = [_MAKE_JOBS]
    project = scratch / "project"
    brian2.set_device("cpp_standalone", build_on_run=False, directory=str(project))
    circuit = assemble(specification)
    circuit.network.run(specification.duration * brian2.ms, namespace={})
    brian2.device.build(directory=str(project), compile=True, run=False)
    finished = scratch / "build"
    finished.mkdir()
    shutil.copy2(project / "main", finished / "main")
    shutil.copytree(project / "static_arrays", finished / "static_arrays")
    (finished / "manifest.json").write_text(json.dumps(_manifest(circuit)))


def _manifest(circuit: Circuit) -> dict[str, dict]:
    """What a binary takes and gives."""
    s = circuit.specification
    states = settled(s, np.ones((s.grid.images, s.grid.height, s.grid.width)))
    outputs = {}
    for station, recorder in circuit.recorders.items():
        for variable in readout(s, station).variables:
            recorded = recorder.variables[recorded_variable(s, variable)]
            outputs[f"response.{station}.{variable}"] = brian2.device.get_array_filename(recorded)
    for name in states:
        group, variable = name.split(".")
        outputs[f"end.{name}"] = brian2.device.get_array_filename(circuit.stations[group].group.variables[variable])
    inputs = {"movie": s.frames * s.grid.cells} | {name: values.size for name, values in states.items()}
    return {"inputs": inputs, "outputs": outputs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compile one pathway; called by biomodel.compilation.build.")
    parser.add_argument("scratch", type=Path)
    _compile(parser.parse_args().scratch)
