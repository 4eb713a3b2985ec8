"""Options that several commands share, the reading of their values, and the writing of files."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from biomodel.utils.atomic import atomic_write
from biomodel.utils.errors import InputError

CORES = os.cpu_count() or 1

#: Defaults of the studies. The modules that define them take seconds to import; a test compares the values.
KINDS = 16
PRESENTATIONS = 416

Out = Annotated[Path, Option(help="Output folder.")]
Seed = Annotated[int, Option(help="Seed of all random numbers.")]
Json = Annotated[Path | None, Option("--json", help="Also write the results to this JSON file.")]
Workers = Annotated[int, Option(help="Number of processes.", min=1)]
Preset = Annotated[str, Option(help="Parameter preset: macaque_parafovea or macaque_fovea.")]
Fidelity = Annotated[str, Option(help="rate, or spiking.")]
#: `Pathway` checks the value.
Target = Annotated[
    Any,
    Option(parser=str, metavar="TEXT", help="Brian2's target, cpp or numpy. Default: cpp where there is a compiler."),
]
Data = Annotated[Path | None, Option(help="Folder of data sets. Default: $PRECORTICAL_DATA, or the download cache.")]
Kinds = Annotated[int, Option(help="Number of V1 cell types, the first of a fixed draw; presets have 64.", min=1)]
Presentations = Annotated[int, Option(help="Number of images that the front end is fitted to.")]


def _repeatable(name: str, help_text: str) -> object:
    return Option(name, default_factory=list, show_default=False, help=f"{help_text}; repeatable.")


Parameters = Annotated[list[str], _repeatable("--parameter", "Change a parameter: name=value, in its documented unit")]
Lesions = Annotated[list[str], _repeatable("--lesion", "Remove a mechanism from the circuit")]
Check = Annotated[list[int], _repeatable("--check", "Run only the experiment with this number")]


def parse_parameters(texts: Iterable[str]) -> dict[str, float]:
    """Parse values of parameters from texts of the form name=value."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--parameter must be name=value with a number as value, got {text!r}") from None
    return found


def parse_names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system inside the block, in which `path` is written, into `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to `path` at the end."""
    with writing(path), atomic_write(path) as scratch:
        yield scratch


def make_folder(path: Path) -> None:
    """Make an output folder and its parents."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def write_json(value: object, *paths: Path | None) -> None:
    """Write a value as JSON to each path that is not None."""
    for path in filter(None, paths):
        with writing(path):
            path.write_text(json.dumps(value, indent=2) + "\n")
