"""The body of the process that compiles one circuit with Brian2's C++ standalone device; `biomodel.engine.cache` starts it.

Its argument is a specification as JSON; it leaves the finished build in the cache.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brian2
import numpy as np

from biomodel.circuit.assembly import Circuit, assemble
from biomodel.circuit.specification import Specification
from biomodel.circuit.station import State
from biomodel.circuit.steady_state import steady_state
from biomodel.engine import cache

#: Brian2 2.9 runs an unbounded `make -j`.
_MAKE_JOBS = "-j2"

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

#: What runs once needs no time of the compiler's; and all the others include the same headers, read once for all.
_RULES = """
main.o objects.o run.o: OPTIMISATIONS += -O0
CXXFLAGS += -include objects.h
$(OBJS): objects.h.gch
objects.h.gch: objects.h
\t$(CXX) $(CXXFLAGS) -x c++-header objects.h -o $@
"""


def compile_and_install(specification: Specification) -> None:
    """Leave an intact build of a specification in the cache, unless another process just has."""
    name, grid = cache.key(specification), specification.grid
    with cache.locked(name):
        folder = cache.cache_folder() / name
        if cache.damaged(folder) is None:
            return
        # Left by builders that were killed: nobody else writes here under the lock.
        for left in cache.cache_folder().glob(f"{cache.BUILDING}{name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache.cache_folder(), prefix=f"{cache.BUILDING}{name}-") as scratch:
            states = steady_state(specification, np.ones((grid.images, grid.height, grid.width)))
            finished = compiled(assemble, specification, states, Path(scratch))
            if folder.exists():
                folder.rename(Path(scratch) / "damaged")
            finished.rename(folder)


def compiled(
    wire: Callable[[Specification], Circuit], specification: Specification, states: State, scratch: Path
) -> Path:
    """Compile a circuit on this process's Brian2 device.

    Parameters
    ----------
    wire : callable
        Makes the circuit.
    states : dict
        The state variables to start from, in the sizes that the circuit has.
    scratch : pathlib.Path
        An empty folder.

    Returns
    -------
    pathlib.Path
        The finished build, in `scratch`, for `biomodel.engine.cache.run`.
    """
    cpp = brian2.prefs.codegen.cpp
    cpp.extra_compile_args_gcc = [*cpp.extra_compile_args_gcc, *_FLAGS]
    brian2.prefs.devices.cpp_standalone.extra_make_args_unix = [_MAKE_JOBS]
    project = scratch / "project"
    brian2.set_device("cpp_standalone", build_on_run=False, directory=str(project))
    circuit = wire(specification)
    circuit.network.run((specification.lead + specification.duration) * brian2.ms, namespace={})
    brian2.device.build(directory=str(project), compile=False, run=False)
    manifest = _manifest(circuit, states)
    for source in (project / "code_objects").glob("*.cpp"):
        source.write_text(vectorisable(source.read_text()))
    objects = project / "objects.cpp"
    objects.write_text(writing_only({output["file"] for output in manifest["outputs"].values()}, objects.read_text()))
    makefile = project / "makefile"
    # Nothing is ever compiled a second time: it needn't be known what depends on what.
    makefile.write_text(makefile.read_text().replace("$(OBJS) $(DEPS) makefile", "$(OBJS) makefile") + _RULES)
    brian2.device.compile_source(str(project), "unix", debug=True, clean=False)
    finished = scratch / "build"
    finished.mkdir()
    shutil.copy2(project / "main", finished / "main")
    shutil.copytree(project / "static_arrays", finished / "static_arrays")
    manifest |= {"checksums": cache.checksums(finished), "sizes": cache.sizes(finished)}
    (finished / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return finished


_LOOP = re.compile(r"^( *)for\(int _idx=0; _idx<_N; _idx\+\+\)", re.MULTILINE)
_WRITE = re.compile(r"^\s*(_ptr_array_\w+)\[(.*)\]\s*[-+*/]?=[^=]", re.MULTILINE)
_READ = re.compile(r"(_ptr_array_\w+)\[(?!_idx\]|0\])")


def vectorisable(source: str) -> str:
    """Generated code whose loop the compiler may vectorise, if no cell reads what another one writes.

    The compiler cannot know that arrays do not overlap, nor which cells an index array names; of the generated code it
    is plain: each cell writes at its own place alone, and no array is both written and read at another place.
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
    """Generated code that writes these arrays when it ends, and not every index as well."""
    return _WRITE_ARRAY.sub(lambda found: found[0] if found[2] in files or found[2].endswith(".txt") else "", source)


def _manifest(circuit: Circuit, states: State) -> dict[str, Any]:
    """What a binary takes and gives."""
    s = circuit.specification
    outputs: dict[str, dict[str, Any]] = {}
    for name, output in circuit.outputs.items():
        variable = output.recorder.variables[output.variable]
        outputs[name] = {
            "file": brian2.device.get_array_filename(variable),
            "size": output.size,
            "type": np.dtype(variable.dtype).name,
        }
    for name, values in states.items() if s.leaves_state else ():
        group, variable = name.split(".")
        left = circuit.stations[group].variables[variable]
        file = brian2.device.get_array_filename(left)
        outputs[f"end.{name}"] = {"file": file, "size": values.size, "type": "float64"}
    return {
        "specification": s.to_json(),
        "inputs": {"movie": s.frames * s.grid.cells} | {name: values.size for name, values in states.items()},
        "outputs": outputs,
    }


if __name__ == "__main__":
    # An eighth of the time, for a process that soon ends.
    gc.disable()
    compile_and_install(Specification.from_json(sys.argv[1]))
