"""Compiles circuits with Brian2's C++ standalone device, and runs the binaries.

`biomodel.engine.cache` compiles in a process of its own, whose program is `main`.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brian2
import numpy as np

from biomodel.adaptation import Fields
from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.recording import RunSettings, plan_recordings, run_variables
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import cache, toolchain
from biomodel.engine.scratch import scratch_folder, writing_scratch
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.folders import CHOOSE_CACHE
from biomodel.utils.killed import remove
from biomodel.utils.parents import end_group_with

logger = logging.getLogger("precortical")

#: Beside Brian2's own; those that a compiler does not know are left out.
_FLAGS = (
    "-ffinite-math-only",  # the exponential is vectorised too
    "--param=vect-max-version-for-alias-checks=3000",  # and loops over many arrays
    "-mprefer-vector-width=512",  # long sums of gathered values compile and run faster than at half width
    # These passes take longer than all the rest on V1's sums, and gain little.
    "-fdisable-rtl-combine",
    "-fdisable-rtl-postreload",
    "-fno-gcse-after-reload",
    "-fno-dse",
)

#: Free bytes of a disk on which a file could not be completed because it was full.
_ALMOST_FULL = 16_384

#: Variable of the environment of a binary: the number of the process that starts it.
_PARENT = "PRECORTICAL_PARENT"

#: What runs once needs no time of the compiler's; and all the others include the same headers, read once for all.
_RULES = """
main.o objects.o run.o: OPTIMISATIONS += -O0
CXXFLAGS += -include objects.h
$(OBJS): objects.h.gch
objects.h.gch: objects.h
\t$(CXX) $(CXXFLAGS) -x c++-header objects.h -o $@
"""


def compile_and_install(specification: Specification) -> None:
    """Leave an intact build of a specification in the cache, unless another process has made it meanwhile."""
    name = cache.key(specification)
    with cache.writing_cache(), cache.locked(name):
        folder = cache.cache_folder() / name
        if cache.damaged(folder) is None:
            return
        # From builders that were killed: no other process writes here under the lock.
        remove(cache.cache_folder().glob(f"{cache.BUILDING}{name}-*"))
        with tempfile.TemporaryDirectory(dir=cache.cache_folder(), prefix=f"{cache.BUILDING}{name}-") as scratch:
            grid = specification.grid
            state = steady_state(specification, Fields(np.ones((grid.images, grid.height, grid.width))))
            finished = compile_circuit(assemble, specification, state, Path(scratch))
            if folder.exists():
                folder.rename(Path(scratch) / "damaged")
            finished.rename(folder)


def compile_circuit(
    wire: Callable[[Specification], Circuit], specification: Specification, state: State, scratch: Path
) -> Path:
    """Compile a circuit on this process's Brian2 device.

    Parameters
    ----------
    wire : callable
        Makes the circuit; it has recorders as `assemble` adds them.
    specification : Specification
    state : dict
        The state variables that are set before a run, in the sizes that the circuit has.
    scratch : pathlib.Path
        An empty folder.

    Returns
    -------
    pathlib.Path
        The finished build, in `scratch`, for `run_binary`.

    Raises
    ------
    RuntimeError
        Where Brian2 generates code in which the switches of recorders have no place.
    """
    s = specification
    options = brian2.prefs.codegen.cpp
    options.extra_compile_args_gcc = [*options.extra_compile_args_gcc, *_FLAGS]
    project = scratch / "project"
    brian2.set_device("cpp_standalone", build_on_run=False, directory=str(project))
    circuit = wire(s)
    circuit.network.run(1 * brian2.second, namespace={})
    brian2.device.build(directory=str(project), compile=False, run=False)
    manifest = _manifest(circuit, state)
    vectorised = 0
    for source in (project / "code_objects").glob("*.cpp"):
        text = source.read_text()
        source.write_text(vectorisable(text))
        vectorised += source.read_text() != text
    main = project / "main.cpp"
    monitors = [monitor.name for monitor in circuit.monitors]
    main.write_text(ending_with_parent(with_switches(monitors, main.read_text())))
    objects = project / "objects.cpp"
    files = {output["file"] for output in manifest["outputs"].values()}
    objects.write_text(stopping_at_errors(writing_only(files, objects.read_text())))
    makefile = project / "makefile"
    # Nothing is compiled a second time: dependencies need not be known.
    makefile.write_text(makefile.read_text().replace("$(OBJS) $(DEPS) makefile", "$(OBJS) makefile") + _RULES)
    sys.stdout.write(toolchain.make(project))
    finished = scratch / "build"
    finished.mkdir()
    shutil.copy2(project / "main", finished / "main")
    shutil.copytree(project / "static_arrays", finished / "static_arrays")
    manifest |= {"checksums": cache.checksums(finished), "sizes": cache.sizes(finished), "vectorised": vectorised}
    manifest["digest"] = cache.manifest_digest(manifest)
    (finished / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return finished


def with_switches(monitors: list[str], main: str) -> str:
    """Brian2's ``main.cpp`` with a duration, and with monitors that are switched on, by variables that are set first.

    Raises
    ------
    RuntimeError
        Where the code is not as Brian2 2.9 to 2.11 generates it.
    """
    arguments, monitored = "set_from_command_line(args);", "if(_array_recording_trace[0] != 0) "
    changes = [
        (rf"{re.escape(arguments)}\s*network\.run\([^,;]*,", "network.run(_array_recording_duration[0],"),
        (r"network\.clear\(\);", f"{arguments}\n        network.clear();"),
    ]
    changes += [(rf"(?=network\.add\([^;]*_run_{name}_codeobject\);)", monitored) for name in monitors]
    for pattern, text in changes:
        main, found = re.subn(pattern, text, main)
        if found != 1:
            raise RuntimeError(
                f"main.cpp as generated by Brian2 {brian2.__version__} must match {pattern!r} once, got {found} matches"
            )
    return main


#: Where the system has no such request, a binary runs to its end.
_END_WITH_PARENT = f"""
#ifdef __linux__
#include <csignal>
#include <sys/prctl.h>
#include <unistd.h>
#endif

int main(int argc, char **argv)
{{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char *_parent = std::getenv("{_PARENT}");
    if (_parent && std::atoi(_parent) != getppid())
        return 1;
#endif
"""


def ending_with_parent(main: str) -> str:
    """A `main.cpp` of Brian2's whose process ends when the process that started it does, however that ends.

    Raises
    ------
    RuntimeError
        Where the code is not as Brian2 2.9 to 2.11 generates it.
    """
    start = "int main(int argc, char **argv)\n{\n"
    if main.count(start) != 1:
        raise RuntimeError(f"main.cpp as generated by Brian2 {brian2.__version__} must have {start!r} once")
    return main.replace(start, _END_WITH_PARENT)


_LOOP = re.compile(r"^( *)for\(int _idx=0; _idx<_N; _idx\+\+\)", re.MULTILINE)
_WRITE = re.compile(r"^\s*(_ptr_array_\w+)\[(.*)\]\s*[-+*/]?=[^=]", re.MULTILINE)
_READ = re.compile(r"(_ptr_array_\w+)\[(?!_idx\]|0\])")


def vectorisable(source: str) -> str:
    """Generated code whose loop the compiler may vectorise, if no cell reads what another one writes.

    The compiler cannot know that arrays do not overlap, nor which cells an index array names. The generated code shows it:
    each cell writes at its own place only, and no array is both written and read at another place.
    """
    writes = _WRITE.findall(source)
    scattered = any(index not in ("_idx", "0") for _, index in writes)
    if scattered or set(_READ.findall(source)) & {array for array, _ in writes}:
        return source
    return _LOOP.sub(r"\1#pragma GCC ivdep\n\g<0>", source)


_WRITE_ARRAY = re.compile(
    r"    ofstream (outfile_\w+);\n    \1\.open\(results_dir \+ \"([^\"]+)\".*?\n    } else\n    {\n.*?\n    }\n",
    re.DOTALL,
)


def writing_only(files: set[str], source: str) -> str:
    """Generated code that writes only these arrays at its end, and not every index."""
    return _WRITE_ARRAY.sub(lambda found: found[0] if found[2] in files or found[2].endswith(".txt") else "", source)


_COMPLAINT = re.compile(r"std::cerr << [^;]*;")


def stopping_at_errors(source: str) -> str:
    """Generated code that ends with an exit code where it only prints an error: an input that cannot be read.

    Raises
    ------
    RuntimeError
        Where the code is not as Brian2 2.9 to 2.11 generates it.
    """
    source, found = _COMPLAINT.subn(r"{\n\g<0>\nexit(1);\n}", source)
    if found < 3:
        raise RuntimeError(
            f"objects.cpp as generated by Brian2 {brian2.__version__} must match {_COMPLAINT.pattern!r}, got {found} matches"
        )
    return source


def _manifest(circuit: Circuit, state: State) -> dict[str, Any]:
    """Inputs and outputs of a binary: the sizes of variables that are set, the files of arrays that are read."""
    s = circuit.specification
    switches = run_variables(s, plan_recordings(s), RunSettings(1.0, (0.0, 1.0), "mean"))
    outputs: dict[str, dict[str, Any]] = {}
    for name, output in circuit.outputs.items():
        variable = output.recorder.variables[output.variable]
        outputs[name] = {
            "file": brian2.device.get_array_filename(variable),
            "size": output.size,
            "type": np.dtype(variable.dtype).name,
        }
    for name, values in state.items() if s.leaves_state else ():
        group, variable = name.split(".")
        file = brian2.device.get_array_filename(circuit.stations[group].variables[variable])
        outputs[f"end.{name}"] = {"file": file, "size": values.size, "type": "float64"}
    sizes = {name: values.size for name, values in (state | switches).items()}
    return {
        "specification": s.to_json(),
        "inputs": {"movie": s.frames * s.grid.cells} | sizes,
        "outputs": outputs,
    }


def run_binary(folder: Path, inputs: State) -> dict[str, np.ndarray]:
    """Run a binary.

    Parameters
    ----------
    folder : pathlib.Path
        As `biomodel.engine.cache.build` returned it.
    inputs : dict of str to numpy.ndarray
        The movie, (frame, cell) in cd/m², and all variables that the manifest lists.

    Returns
    -------
    dict of str to numpy.ndarray
        The outputs that the manifest lists, flat, in SI units.

    Raises
    ------
    MachineError
        Where the binary cannot be started, is ended from outside, was changed meanwhile, or the temporary folder does not
        take its files.
    RuntimeError
        Where the binary fails.
    """
    with scratch_folder() as scratch:
        try:
            return _run(folder, inputs, scratch)
        except (OSError, ValueError, IndexError) as error:
            if shutil.disk_usage(scratch).free < _ALMOST_FULL:
                # The binary does not report what it could not write.
                full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(scratch.parent))
                with writing_scratch():
                    raise full from error
            raise MachineError(
                f"the compiled pathway in {folder} left nothing that can be read ({error}): was it removed, or was the "
                f"temporary folder {scratch.parent} full? TMPDIR chooses another one"
            ) from error


def _run(folder: Path, inputs: dict[str, np.ndarray], scratch: Path) -> dict[str, np.ndarray]:
    manifest = json.loads((folder / "manifest.json").read_text())
    arguments = []
    for name, size in manifest["inputs"].items():
        values = np.ascontiguousarray(inputs[name], dtype=np.float64)
        if values.size != size:
            raise RuntimeError(f"input {name} has {values.size} values where the binary takes {size}")
        given = name if name != "movie" else "movie.values"
        if (values == values.flat[0]).all() and np.isfinite(values.flat[0]):
            # A file each takes longer than all the rest.
            arguments.append(f"{given}={float(values.flat[0])!r}")
        else:
            values.tofile(scratch / name)
            arguments.append(f"{given}={scratch / name}")
    process = _start(folder, ["--results_dir", f"{scratch}/", *arguments])
    words = process.stderr.strip()[-500:]
    if process.returncode < 0:
        raise MachineError(
            f"the compiled pathway was ended by {toolchain.ended_by(process.returncode)} {words}".strip()
        )
    if process.returncode != 0:
        raise RuntimeError(f"the compiled pathway failed (exit code {process.returncode}): {words}")
    if words:
        # Libraries that are loaded with it print too.
        logger.debug("the compiled pathway printed: %s", words)
    # An interrupted binary stops early and says that all is well.
    completed = float((scratch / "last_run_info.txt").read_text().split()[1])
    if completed != 1:
        raise RuntimeError(f"the compiled pathway was interrupted after {completed:.0%} of its run")
    # Nor does it mind a static array that it cannot read.
    if any(os.stat(folder / name).st_size != size for name, size in manifest["sizes"].items()):
        raise MachineError(f"the compiled pathway in {folder} was changed while it ran: simulate again")
    out = {}
    for name, output in manifest["outputs"].items():
        out[name] = np.fromfile(scratch / output["file"], output["type"])
        if output["size"] not in (None, out[name].size):
            raise OSError(f"{out[name].size} of {output['size']} values of {name}")
    return out


def _start(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the binary in a folder to its end."""
    try:
        return subprocess.run(
            ["./main", *arguments],
            cwd=folder,
            env=os.environ | {_PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        if not (folder / "main").exists():
            raise
        raise MachineError(
            f"the compiled pathway {folder / 'main'} cannot be started ({error.strerror}): where its file system forbids "
            f"programs (noexec), {CHOOSE_CACHE}"
        ) from None


def main() -> None:
    """Compile the circuit of a specification, the first argument, into the cache.

    An error of the input or of the machine goes into a report, the second argument: others may print more. The third one is
    the number of the process that waits: when that ends, this process and its compilers do.
    """
    end_group_with(int(sys.argv[3]))
    # An eighth of the time, for a process that soon ends.
    gc.disable()
    try:
        compile_and_install(Specification.from_json(sys.argv[1]))
    except (InputError, MachineError) as error:
        Path(sys.argv[2]).write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
        sys.exit(1)
