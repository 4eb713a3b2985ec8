"""The C++ compiler, and the process that compiles: independent of the folder, home and preferences of the user."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from biomodel.engine.scratch import writing_scratch
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.folders import CHOOSE_CACHE, user_cache

#: Variables of the environment that change what a compiler makes, and without which some installations have none.
_KEPT = (
    "COMPILER_PATH",
    "CPLUS_INCLUDE_PATH",
    "GCC_EXEC_PREFIX",
    "LIBRARY_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
    "SDKROOT",
)

#: Those that change it, and that no installation needs; and those that change how Python starts.
_REMOVED = (
    *("ARCHFLAGS", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LDSHARED", "CPATH", "C_INCLUDE_PATH"),
    *("MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKEFILES", "MAKELEVEL", "MAKEOVERRIDES"),
    *("CCC_OVERRIDE_OPTIONS", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES", "GCC_COMPARE_DEBUG"),
    *("PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONSTARTUP"),
)

#: Brian2 2.9 runs an unbounded `make -j`.
_MAKE_JOBS = "-j2"

#: What helps where a compiler fails.
CHANGE = f"free memory and disk, {CHOOSE_CACHE}, set CXX to another compiler, or take the numpy target"

_ERROR = re.compile(r"error|cannot|can't|unable|not found|denied|killed|no space|no such", re.IGNORECASE)
_MAKE = re.compile(r"g?make(\[\d+\])?: \*\*\*")

#: Brian2 reads preferences from the current folder and from the user's home when it is imported, and imports pylab with
#: settings from there. The compiler has the user's home again: some keep their own cache in it.
_PROGRAM = """
import os, sys
home = os.environ.get("HOME")
os.environ["HOME"] = os.getcwd()
sys.modules["pylab"] = None
import brian2
os.environ.pop("HOME") if home is None else os.environ.update(HOME=home)
from biomodel.engine.cpp import main
main()
"""


def compiler_command() -> list[str]:
    """The command that compiles C++: `CXX`, or g++.

    Raises
    ------
    InputError
        For a `CXX` that is not a command.
    """
    text = os.environ.get("CXX", "").strip() or "g++"
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"CXX must be the command of a C++ compiler, got {text!r} ({error})") from None


def compiler() -> str | None:
    """The first line of the C++ compiler's version, or None where there is none that works with make."""
    return _version(tuple(compiler_command()), os.environ.get("PATH"))


@functools.lru_cache(maxsize=8)
def _version(command: tuple[str, ...], path: str | None) -> str | None:
    if shutil.which(command[0], path=path) is None or shutil.which("make", path=path) is None:
        return None
    try:
        version = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError:
        return None
    return version.stdout.splitlines()[0] if version.returncode == 0 and version.stdout else None


def identity() -> str:
    """Everything of the compiler and of its environment that decides what it makes."""
    command = compiler_command()
    kept = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    return json.dumps([command, shutil.which(command[0]), compiler(), kept])


def check(folder: Path) -> None:
    """Check that the compiler makes a program: Brian2 leaves out every argument with which none can be made.

    Parameters
    ----------
    folder : pathlib.Path
        Takes the program.

    Raises
    ------
    MachineError
        Where there is no compiler, or it fails (with its own words), or the folder is full.
    """
    command = compiler_command()
    if compiler() is None:
        raise MachineError(
            f"no C++ compiler ({shlex.join(command)}, with make) was found: install one, set CXX to another one, or take the "
            "numpy target"
        )
    with writing_scratch():
        (folder / "check.cpp").write_text("int main() { return 0; }\n")
    made = _run([*command, "-O3", "check.cpp", "-o", "check"], folder, _environment() | {"TMPDIR": str(folder)})
    if made.returncode != 0:
        raise failure(made.stdout, made.returncode)


def failure(output: str, code: int) -> MachineError:
    """The error for a compiler that failed: what it said of errors, or its last lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "note: disable pass" not in line]
    errors = [line for line in lines if _ERROR.search(line) and not _MAKE.match(line)]
    words = "; ".join(list(dict.fromkeys(errors))[:3] or lines[-3:])[:600] or "no message"
    how = f"ended by {ended_by(code)}" if code < 0 else f"exit code {code}"
    return MachineError(
        f"the C++ compiler ({shlex.join(compiler_command())}) failed for the cache {user_cache()} ({how}): {words}; {CHANGE}"
    )


def ended_by(code: int) -> str:
    """The signal of a negative exit code, and what it often means."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, which the system sends where memory is full" if name == "SIGKILL" else name


def make(folder: Path) -> str:
    """Run make in a folder; returns what it printed.

    Raises
    ------
    MachineError
        Where it fails, with the compiler's own words.
    """
    made = _run(["make", _MAKE_JOBS], folder, dict(os.environ))
    if made.returncode != 0:
        raise failure(made.stdout, made.returncode)
    return made.stdout


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _environment() -> dict[str, str]:
    """The environment for the compiler and for the process that calls it."""
    package = str(Path(__file__).parents[2])
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    command = shlex.join(compiler_command())
    environment = {name: value for name, value in os.environ.items() if name not in _REMOVED}
    environment |= {"PYTHONPATH": os.pathsep.join([package, *given]), "PRECORTICAL_CACHE": str(user_cache())}
    # Brian2 finds out with CC which arguments the compiler takes. Messages are read: they are in English.
    return environment | {"CC": command, "CXX": command, "LC_ALL": "C"}


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start the process that compiles.

    Its output and errors are one stream. It is a process of its own, so that Brian2's global device and preferences of the
    caller are never touched.

    Parameters
    ----------
    arguments : list of str
        Of `biomodel.engine.cpp.main`, without this process's number.
    folder : pathlib.Path
        An empty one, in which the process starts.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, *arguments, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=folder,
        # Of compilers that are killed, files are left: they are removed with the folder.
        env=_environment() | {"TMPDIR": str(folder)},
        start_new_session=True,
    )
