"""Options that several commands share, the reading of their values, and the writing of files."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from biomodel.utils.errors import InputError
from biomodel.utils.paths import check_file, check_folder, local_path, write_text

CORES = os.cpu_count() or 1

#: Defaults of the studies. The modules that define them take seconds to import; a test compares the values.
KINDS = 16
PRESENTATIONS = 416


def output_folder(path: Path) -> Path:
    """The path of an output folder, checked before the command begins; the folder is made when there is something to write."""
    path = local_path(path)
    check_folder(path)
    return path


def output_file(path: Path | None) -> Path | None:
    """The path of an output file, checked before the command begins."""
    if path is not None:
        path = local_path(path)
        check_file(path)
    return path


Out = Annotated[Path, Option(help="Output folder.", callback=output_folder)]
Seed = Annotated[int, Option(help="Seed of all random numbers.")]
Json = Annotated[Path | None, Option("--json", help="Also write the results to this JSON file.", callback=output_file)]
Workers = Annotated[int | None, Option(help=f"Number of processes. Default: {CORES}, the cores.", min=1)]
Cluster = Annotated[
    str | None, Option(help="Address of a dask scheduler whose workers take the place of --workers: tcp://host:8786.")
]
Preset = Annotated[str, Option(help="Parameter preset: macaque_parafovea or macaque_fovea.")]
Fidelity = Annotated[str, Option(help="rate, or spiking.")]
#: `Pathway` checks the value.
Target = Annotated[
    Any,
    Option(parser=str, metavar="TEXT", help="Brian2's target, cpp or numpy. Default: cpp where there is a compiler."),
]
Data = Annotated[
    Path | None,
    Option(help="Folder of data sets. Default: $PRECORTICAL_DATA, or the download cache."),
]
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
        name, _, value = (part.strip() for part in text.partition("="))
        if name in found:
            raise InputError(f"--parameter must be given once for each name, got {name} twice")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"--parameter must be name=value with a number as value, got {text!r}") from None
    return found


def choose_workers(workers: int | None, cluster: str | None) -> int | str:
    """The number of processes, or the address of a scheduler that answers."""
    if cluster is None:
        return CORES if workers is None else workers
    if workers is not None:
        raise InputError(f"--workers must be left out with --cluster, got {workers}")
    from biomodel.engine.cluster import connect

    connect(cluster, "--cluster")
    return cluster


def parse_names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def write_json(value: object, *paths: Path | None) -> None:
    """Write a value as JSON to each path that is not None."""
    for path in filter(None, paths):
        write_text(path, json.dumps(value, indent=2) + "\n")
