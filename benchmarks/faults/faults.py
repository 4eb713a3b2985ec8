"""The kinds of faults: each is done to a command, the command is given again, and its results are compared."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.faults import processes
from benchmarks.faults.cases import CASES, Case
from benchmarks.faults.contents import chunk_of, contents, differences, finished
from benchmarks.faults.processes import MARK, STOPS, Ended

#: Attempts to stop a command before it ends, or to fill a disk.
_ATTEMPTS = 4


@dataclass
class Found:
    """One fault, and what came of it.

    Attributes
    ----------
    kind, index, seed
        Of the fault; they determine all its random numbers but the times of processes.
    fault : str
        What was done.
    share : float
        When, as a share of the processor time of an undisturbed run.
    ended : str
        Last line of standard error of the disturbed run.
    problems : list of str
        Empty where nothing was lost and the results are the undisturbed run's.
    seconds : float
        Of the whole fault, with the run that mends it.
    skipped : str
        Why the fault was not tried, or "".
    """

    kind: str
    index: int
    seed: int
    fault: str = ""
    share: float = 0.0
    ended: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""


class Bench:
    """A folder with inputs, a cache of compiled circuits, and the results of undisturbed runs.

    Parameters
    ----------
    work : pathlib.Path
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def environment(self, scratch: Path, packages: Path | None = None, cache: Path | None = None) -> dict[str, str]:
        """Environment of a command: one thread, a home and temporary folders of its own."""
        (scratch / "tmp").mkdir(parents=True, exist_ok=True)
        changes = {
            "HOME": self.work / "home",
            "XDG_CACHE_HOME": cache or self.work / "home/.cache",
            "TMPDIR": scratch / "tmp",
            "JOBLIB_TEMP_FOLDER": scratch / "tmp",
            "PYTHONPATH": packages or self.work / "packages",
            "PRECORTICAL_DATA": self.work / "data",
            "OMP_NUM_THREADS": 1,
            MARK: scratch,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PRECORTICAL_", "XDG_"))}
        return kept | {name: str(value) for name, value in changes.items()}

    def reference(self, case: Case) -> Path:
        """Folder of the undisturbed run of a command, made by the first call."""
        folder = self.work / "reference" / case.name.replace(" ", "_")
        if not (folder / "seconds").exists():
            for name in ("first", "seconds"):
                # The first run compiles; the second one is measured.
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                environment = self.environment(folder)
                ended = processes.run(case.command(self.work, folder / "out"), environment, folder / "log")
                if ended.code != 0:
                    raise RuntimeError(f"the undisturbed {case.name} failed: {ended.error}")
                first = (folder.parent / f"{folder.name}.first") if name == "first" else folder / "seconds"
                first.write_text(f"{ended.seconds}")
        return folder / "out"

    def duration(self, case: Case, compiling: bool = False) -> float:
        """Seconds of processor time of an undisturbed run; `compiling`, of the first one."""
        folder = self.reference(case).parent
        return float((folder.parent / f"{folder.name}.first" if compiling else folder / "seconds").read_text())

    def cache_of(self, case: Case) -> Path:
        """The folder of the cache with the compiled circuits."""
        self.reference(case)
        return self.work / "home/.cache"


class Trial:
    """One fault in its own folder."""

    def __init__(self, bench: Bench, kind: str, index: int, seed: int, case: Case) -> None:
        self.bench, self.case = bench, case
        self.random = random.Random(f"{seed} {kind} {index}")
        self.scratch = bench.work / "trials" / f"{kind.replace(' ', '_')}-{index}"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.out, self.log = self.scratch / "out", self.scratch / "log"
        self.environment = bench.environment(self.scratch)
        self.expected = contents(bench.reference(case))
        self.found = Found(kind, index, seed)

    @property
    def command(self) -> list[str]:
        """The command with this trial's folder."""
        return self.case.command(self.bench.work, self.out)

    def problem(self, text: str) -> None:
        """Note what is wrong."""
        self.found.problems.append(text)

    def disturbed(self, ended: Ended) -> None:
        """Note how the disturbed run ended."""
        self.found.ended = ended.last_line

    def again(self) -> None:
        """Give the command again: it must succeed, with the results of the undisturbed run and without leftovers."""
        known = finished(self.out, self.case.units)
        ended = processes.run(self.command, self.environment, self.log)
        if ended.code != 0:
            self.problem(f"the same command ended with {ended.code}: {ended.last_line}")
            return
        left = processes.survivors(str(self.scratch))
        if left:
            self.problem(f"{len(left)} processes of the stopped run were left")
        self.compare(known)

    def compare(self, known: dict[str, tuple[int, int]]) -> None:
        """Compare the results with the undisturbed run's; files that were finished before must not have changed."""
        now = finished(self.out, self.case.units)
        again = [name for name, value in known.items() if now.get(name) != value]
        if again:
            self.problem(f"{len(again)} of {len(known)} finished files were written again: {again[0]}")
        self.found.problems += differences(contents(self.out), self.expected)
        self.found.problems += [f"{path} is left in the temporary folder" for path in _left(self.scratch / "tmp")]

    def must_refuse(self, damaged: Path, harmless: Callable[[], bool] = lambda: False) -> None:
        """Give the command with a damaged input: one line that names the file, exit code 2, and nothing changed."""
        before = contents(self.out) if self.out.exists() else {}
        ended = processes.run(self.command, self.environment, self.log)
        self.disturbed(ended)
        if ended.code == 0 and contents(self.out) == self.expected:
            self.found.ended = ""
            return
        lines = [line for line in ended.error.splitlines() if not line.startswith("INFO:")]
        if ended.code != 2 or len(lines) != 1 or str(damaged) not in ended.error:
            self.problem(f"exit code {ended.code}, {len(lines)} lines: {ended.last_line}")
        after = contents(self.out) if self.out.exists() else {}
        if set(after) - set(before) - {".lock"} or any(after.get(name) != value for name, value in before.items()):
            self.problem(f"the refused run changed its folder: {differences(after, before)[:2]}")


def _left(folder: Path) -> list[str]:
    # PyTorch and matplotlib keep caches there; Brian2's log of a process that is killed stays (docs/faults.md).
    kept = ("torchinductor", "matplotlib", "brian_")
    return [path.name for path in folder.iterdir() if not path.name.startswith(kept)]


def kill_compiling(trial: Trial) -> None:
    """Stop the command while it may compile: its cache is empty."""
    trial.environment |= {"XDG_CACHE_HOME": str(trial.scratch / "cache")}
    kill(trial, compiling=True)
    for path in trial.scratch.rglob("cache/precortical/builds/building-*"):
        trial.problem(f"{path.name} is left in the cache")


def kill(trial: Trial, compiling: bool = False) -> None:
    """Stop the command at a random time, in a random way."""
    how = trial.random.choice(STOPS)
    for _ in range(_ATTEMPTS):
        trial.found.share = trial.random.random()
        after = trial.found.share * trial.bench.duration(trial.case, compiling)
        trial.found.fault = f"{how[0].name} to {how[1]}"
        shutil.rmtree(trial.out, ignore_errors=True)
        if compiling:
            shutil.rmtree(trial.scratch / "cache", ignore_errors=True)
        try:
            ended = processes.stop(trial.command, trial.environment, trial.log, after, how)
        except TimeoutError as error:
            trial.problem(str(error))
            return
        if ended is not None:
            trial.disturbed(ended)
            trial.again()
            return
    trial.found.skipped = "the command always ended first"


def fill_disk(trial: Trial, places: Sequence[str] = ("out", "out", "tmp")) -> None:
    """Let the disk of the results, or of temporary files, become full at a random size, then give it more space."""
    if not mount(trial.scratch / "mounted", 64):
        trial.found.skipped = "no file system can be mounted here (unshare -rm)"
        return
    unmount(trial.scratch / "mounted")
    place = trial.random.choice(places)
    mounted = trial.scratch / place
    largest = size_of(trial.bench.reference(trial.case)) if place == "out" else 256
    for _ in range(_ATTEMPTS):
        trial.found.share = trial.random.random()
        kibibytes = max(4, int(trial.found.share * largest))
        trial.found.fault = f"{kibibytes} KiB for {place}"
        if not mount(mounted, kibibytes):
            trial.problem("the file system could not be mounted again")
            return
        ended = processes.run(trial.command, trial.environment, trial.log)
        trial.disturbed(ended)
        if ended.code != 0:
            break
        unmount(mounted)
        shutil.rmtree(trial.out, ignore_errors=True)
    else:
        trial.found.skipped = "the disk never became full"
        return
    if "space" not in ended.error:
        trial.problem(f"no word about the disk: {ended.last_line}")
    if ended.code != 2 or "Traceback" in ended.error:
        trial.problem(f"exit code {ended.code}: {ended.last_line}")
    subprocess.run(["mount", "-o", "remount,size=256m", str(mounted)], check=True)
    trial.again()
    unmount(mounted)


def mount(folder: Path, kibibytes: int) -> bool:
    """Mount an empty file system of some size."""
    folder.mkdir(parents=True, exist_ok=True)
    given = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "faults", str(folder)]
    return subprocess.run(given, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Unmount a file system, also one that is in use."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


def size_of(folder: Path) -> int:
    """KiB of all files in a folder, in whole pages."""
    return sum(4 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def damage(trial: Trial, path: Path) -> None:
    """Truncate a file at a random place, or flip a random bit of it."""
    content = bytearray(path.read_bytes())
    place = trial.random.randrange(len(content))
    trial.found.share = place / len(content)
    if trial.random.random() < 0.5:
        trial.found.fault = f"{path.name} truncated"
        content = content[:place]
    else:
        trial.found.fault = f"a bit of {path.name} flipped"
        content[place] ^= 1 << trial.random.randrange(8)
    path.write_bytes(bytes(content))


def damage_build(trial: Trial) -> None:
    """Damage a file of a compiled circuit: the circuit is compiled again."""
    cache = trial.scratch / "cache"
    shutil.copytree(trial.bench.cache_of(trial.case), cache)
    trial.environment |= {"XDG_CACHE_HOME": str(cache)}
    before = {path.name: path for path in (cache / "precortical/builds").glob("*/")}
    built = [path for path in sorted(cache.rglob("builds/*/**/*")) if path.is_file() and path.stat().st_size]
    # All builds get the same damage: the command uses one of them.
    name = trial.random.choice(
        sorted({str(path.relative_to(path.parents[len(path.relative_to(cache).parts) - 4])) for path in built})
    )
    for build in before.values():
        if (build / name).exists():
            damage(trial, build / name)
    trial.again()
    for path in cache.rglob("building-*"):
        trial.problem(f"{path.name} is left in the cache")


def damage_chunk(trial: Trial) -> None:
    """Damage a chunk of a store: it is simulated again, and nothing else."""
    shutil.copytree(trial.bench.reference(trial.case), trial.out)
    chunks = [path for path in sorted(trial.out.glob(trial.case.units)) if path.is_file() and chunk_of(trial.out, path)]
    path = trial.random.choice(chunks)
    damage(trial, path)
    number = chunk_of(trial.out, path)
    known = {
        name: value
        for name, value in finished(trial.out, trial.case.units).items()
        if chunk_of(trial.out, trial.out / name) != number
    }
    _must_mend(trial, known)


def _must_mend(trial: Trial, known: dict[str, tuple[int, int]]) -> None:
    """Give the command again: it succeeds, and computes none of the `known` chunks or cells again."""
    ended = processes.run(trial.command, trial.environment, trial.log)
    trial.disturbed(ended)
    if ended.code != 0:
        trial.problem(f"exit code {ended.code}: {ended.last_line}")
        return
    trial.compare(known)


def damage_settings(trial: Trial) -> None:
    """Damage the settings of a run folder or of a store: refused, and with the file restored as if it never was."""
    shutil.copytree(trial.bench.reference(trial.case), trial.out)
    files = sorted(trial.out.glob("config.json")) or sorted(trial.out.glob("responses.zarr/**/zarr.json"))
    path = trial.random.choice(files)
    intact = path.read_bytes()
    damage(trial, path)
    trial.must_refuse(trial.out)
    path.write_bytes(intact)
    trial.again()


def damage_cell(trial: Trial) -> None:
    """Damage a finished cell of a study: it is computed again, and nothing else."""
    shutil.copytree(trial.bench.reference(trial.case), trial.out)
    path = trial.random.choice(sorted(path for path in trial.out.glob(trial.case.units)))
    damage(trial, path)
    known = finished(trial.out, trial.case.units)
    known.pop(str(path.relative_to(trial.out)))
    _must_mend(trial, known)


def damage_data(trial: Trial) -> None:
    """Damage a file of a data set: refused, and with the file restored the command succeeds."""
    folder = trial.scratch / "data"
    shutil.copytree(trial.bench.work / "data", folder)
    trial.environment |= {"PRECORTICAL_DATA": str(folder)}
    name = "mnist" if trial.case.name == "IDX" else "svhn"
    path = trial.random.choice(sorted((folder / name).iterdir()))
    intact = path.read_bytes()
    damage(trial, path)
    trial.must_refuse(path)
    path.write_bytes(intact)
    trial.again()


def damage_weights(trial: Trial) -> None:
    """Damage the weights of the package: refused, and with the file restored the finished study is as it was."""
    shutil.copytree(trial.bench.reference(trial.case), trial.out)
    packages = trial.scratch / "packages"
    shutil.copytree(trial.bench.work / "packages", packages)
    trial.environment = trial.bench.environment(trial.scratch, packages)
    path = packages / "bridge/weights/macaque_parafovea_rate.safetensors"
    intact = path.read_bytes()
    damage(trial, path)
    trial.must_refuse(path)
    path.write_bytes(intact)
    trial.again()


#: What is done, and to which commands in turn, by the name of the kind.
KINDS: dict[str, tuple[Callable[[Trial], None], tuple[str, ...]]] = {
    "simulate stopped": (kill, ("simulate",)),
    "physiology stopped": (kill, ("physiology",)),
    "disk full": (fill_disk, ("simulate", "physiology")),
    "chunk damaged": (damage_chunk, ("simulate",)),
    "IDX damaged": (damage_data, ("IDX",)),
    "MAT damaged": (damage_data, ("MAT",)),
    "settings damaged": (damage_settings, ("simulate",)),
    "build damaged": (damage_build, ("IDX",)),
    "compiling stopped": (kill_compiling, ("compile",)),
    "fit stopped": (kill, ("fit",)),
    "study luminance stopped": (kill, ("luminance",)),
    "study reproduction stopped": (kill, ("reproduction",)),
    "simulate on numpy stopped": (kill, ("simulate on numpy",)),
    # Without a circuit, there are no temporary files.
    "disk full in a study": (functools.partial(fill_disk, places=("out",)), ("luminance", "reproduction")),
    "settings of a study damaged": (damage_settings, ("reproduction", "luminance")),
    "cell damaged": (damage_cell, ("reproduction", "luminance")),
    "weights damaged": (damage_weights, ("weights",)),
    "physiology --draws stopped": (kill, ("draws",)),
}

#: Kinds that are tried less often, every second, fourth or tenth time: stopped studies are two kinds, and the others try
#: what another kind does, with a command that takes a minute or more.
SLOW = {
    "study luminance stopped": 2,
    "study reproduction stopped": 2,
    "compiling stopped": 4,
    "simulate on numpy stopped": 4,
    "disk full in a study": 4,
    "settings of a study damaged": 4,
    "cell damaged": 4,
    "physiology --draws stopped": 10,
}


def case_of(kind: str, index: int) -> Case:
    """The command that a fault is done to."""
    names = KINDS[kind][1]
    return CASES[names[index % len(names)]]


def run(work: Path, kind: str, index: int, seed: int) -> Found:
    """Do one fault, and give the command again."""
    start = time.perf_counter()
    trial = Trial(Bench(work), kind, index, seed, case_of(kind, index))
    KINDS[kind][0](trial)
    if not trial.found.problems:
        shutil.rmtree(trial.scratch, ignore_errors=True)
    return replace(trial.found, seconds=time.perf_counter() - start, ended=trial.found.ended[:300])


def to_line(found: Found) -> str:
    """A fault as a line of JSON."""
    return json.dumps(asdict(found))
