"""Compiled circuits in the user's cache folder: found, checked, made where they are missing, and run.

A build is a folder, named by a key of all that decides what the binary computes, with the binary, its static arrays
and `manifest.json`. It appears under its name in one step, complete, made by one process at a time
(`biomodel.engine.cpp`), and is checked against its checksums before it is used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import brian2

import biomodel
from biomodel.circuit.specification import Specification
from biomodel.engine import toolchain
from biomodel.engine.scratch import scratch_folder
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.folders import CHOOSE_CACHE, user_cache
from biomodel.utils.locks import file_lock
from biomodel.utils.paths import writing
from biomodel.utils.progress import progress

logger = logging.getLogger("precortical")

#: Modules and data that decide what a binary computes, below the package.
_SOURCES = ("circuit", "parameters", "engine/cache.py", "engine/cpp.py", "engine/toolchain.py", "utils/units.py")

#: Folders in the cache in which builds are being made.
BUILDING = "building-"


def cache_folder() -> Path:
    """Where builds are kept."""
    return user_cache() / "builds"


@functools.cache
def build_digest() -> str:
    """Digest of the modules and data that decide what a binary computes."""
    package = Path(__file__).parent.parent
    return code_digest(package / name for name in _SOURCES)


@functools.cache
def simulation_digest() -> str:
    """Digest of all that decides the responses to a stimulus: circuits, and how they are run and read."""
    package = Path(__file__).parent.parent
    names = ("circuit", "engine", "parameters", "adaptation.py", "pupil.py", "stimuli.py", "utils/units.py")
    return code_digest(package / name for name in names)


def _surroundings() -> str:
    """Everything outside the specification that decides what the binary is."""
    versions = [biomodel.__version__, brian2.__version__, platform.python_version()]
    return json.dumps([build_digest(), *versions, toolchain.identity(), _processor()])


@functools.cache
def _processor() -> str:
    """The processor's model and instruction sets: binaries are built for this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def key(specification: Specification) -> str:
    """Name of a specification's build on this machine; up to the relay, V1's parameters do not matter."""
    values = tuple(
        (name, float(value))
        for name, value in specification.values
        if "v1_input" in specification.stations or not name.startswith("v1.")
    )
    specification = replace(specification, values=values)
    return hashlib.sha256((specification.to_json() + _surroundings()).encode()).hexdigest()[:32]


def build(specification: Specification) -> Path:
    """Folder of a specification's binary, compiled first where it is not in the cache or is damaged there.

    Raises
    ------
    InputError
        For a specification that cannot be a circuit: a step that is too long for a coupled layer.
    MachineError
        Where there is no compiler, the compiler fails (with its own words), or the folder cannot be written.
    RuntimeError
        Where Brian2 does not generate the code that is expected.
    """
    folder = cache_folder() / key(specification)
    damage = damaged(folder)
    if damage is None:
        return folder
    with writing_cache():
        cache_folder().mkdir(parents=True, exist_ok=True)
    if os.path.exists(folder):
        logger.warning("the cached build %s is damaged (%s): it is compiled again", folder.name, damage)
    logger.info("compiling the %s pathway", specification.preset)
    with scratch_folder() as scratch:
        toolchain.check(scratch)
        report, start = scratch / "report.json", scratch / "start"
        start.mkdir()
        said, code = _compile(specification, start, report)
        logger.debug("the process that compiles printed:\n%s", said)
        _check_compiled(report, said, code)
    damage = damaged(folder)
    if damage is not None:
        raise MachineError(
            f"the build {folder} was removed or changed as soon as it was made ({damage}): repeat the call"
        )
    if _manifest(folder).get("vectorised") == 0:
        logger.warning(
            "Brian2 %s generates C++ code that is not recognised: loops are not vectorised", brian2.__version__
        )
    return folder


def _compile(specification: Specification, start: Path, report: Path) -> tuple[str, int]:
    """What the process that compiles printed, and its exit code."""
    process = toolchain.start([specification.to_json(), str(report)], start)
    try:
        return _wait(process), process.returncode
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _check_compiled(report: Path, said: str, code: int) -> None:
    """Raise the error that a compiling process left in its report, or that its exit code means."""
    if code == 0:
        return
    try:
        found = json.loads(report.read_text())
        error = {kind.__name__: kind for kind in (InputError, MachineError)}[found["error"]](found["message"])
    except (OSError, ValueError, KeyError):
        tail = "\n".join(said.splitlines()[-15:])
        if code < 0:
            raise MachineError(
                f"the process that compiles was ended by {toolchain.ended_by(code)}; {toolchain.CHANGE}"
            ) from None
        raise RuntimeError(f"the C++ build of the pathway failed:\n{tail}") from None
    raise error


def writing_cache() -> AbstractContextManager[None]:
    """Turn errors of the file system inside the block, in which builds are written, into one line; see `unwritable`."""
    return writing(f"the cache of compiled pathways {cache_folder()}", CHOOSE_CACHE)


def _manifest(folder: Path) -> dict:
    """What a build's manifest holds; nothing where it cannot be read."""
    try:
        found = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _wait(process: subprocess.Popen[str]) -> str:
    """What a process printed until it ended, the seconds shown meanwhile."""
    with progress(what="compiling", unit="s") as bar:
        while True:
            try:
                return process.communicate(timeout=1)[0]
            except subprocess.TimeoutExpired:
                bar.update(1)


def locked(name: str, timeout: float = -1) -> AbstractContextManager[None]:
    """While one process makes the build of this name, others wait; see `file_lock`."""
    return file_lock(cache_folder() / f"{name}.lock", CHOOSE_CACHE, timeout)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of a build but its manifest."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)}


def checksums(folder: Path) -> dict[str, str]:
    """Of every file of a build but its manifest."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Digest of all that a manifest holds but its own digest."""
    content = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged(folder: Path) -> str | None:
    """What is wrong with a build, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        found = checksums(folder)
    except (OSError, ValueError) as error:
        return str(error)
    if not isinstance(manifest, dict) or not {"inputs", "outputs", "checksums", "sizes"} <= set(manifest):
        return "its manifest is not one"
    if manifest.get("digest") != manifest_digest(manifest):
        return "its manifest is changed"
    wrong = [name for name, digest in manifest["checksums"].items() if found.get(name) != digest]
    return f"{wrong[0]} is missing or changed" if wrong else None


@dataclass(frozen=True)
class Entry:
    """One build of the cache: what it simulates, its size in bytes, when it was made, what is wrong with it."""

    name: str
    specification: Specification | None
    size: int
    made: datetime
    damage: str | None


def entries() -> list[Entry]:
    """The builds in the cache, the newest first."""
    found = []
    for folder in cache_folder().glob("*/"):
        if folder.name.startswith(BUILDING):
            continue
        try:
            made = datetime.fromtimestamp(folder.stat().st_mtime)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        except FileNotFoundError:
            # Cleared or replaced meanwhile.
            continue
        found.append(Entry(folder.name, _specification(folder), size, made, damaged(folder)))
    return sorted(found, key=lambda entry: entry.made, reverse=True)


def _specification(folder: Path) -> Specification | None:
    try:
        return Specification.from_json(json.loads((folder / "manifest.json").read_text())["specification"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear() -> int:
    """Empty the cache, but for what is being built now; returns the number of builds that were removed."""
    removed = 0
    for folder in list(cache_folder().glob("*/")):
        name = folder.name.removeprefix(BUILDING).split("-")[0]
        try:
            with locked(name, timeout=0):
                # A run that starts now finds nothing, rather than half of it.
                gone = folder.rename(folder.with_name(f"{BUILDING}{name}-cleared"))
                shutil.rmtree(gone, ignore_errors=True)
                removed += not folder.name.startswith(BUILDING)
        except (OSError, MachineError):
            # In use, removed meanwhile, or not writable.
            continue
    return removed
