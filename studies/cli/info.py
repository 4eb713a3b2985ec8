"""`precortical info`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

from studies.cli import options

if TYPE_CHECKING:
    from biomodel.circuit.specification import Specification


def info(
    json_file: options.Json = None,
    clear: Annotated[bool, Option("--clear", help="Delete all compiled pathways first.")] = False,
) -> None:
    """Show versions, the C++ compiler, and the cache of compiled pathways.

    The cache is the folder that the environment variable PRECORTICAL_CACHE names; without it, precortical in XDG_CACHE_HOME
    (~/.cache by default). CXX names the compiler.
    """
    import brian2
    import torch

    import biomodel
    from biomodel.engine import cache, toolchain

    removed = cache.clear() if clear else 0
    entries = cache.entries()
    versions = {
        "precortical": biomodel.__version__,
        "python": platform.python_version(),
        "brian2": brian2.__version__,
        "torch": torch.__version__,
        "cores": options.CORES,
    }
    compiler, folder = toolchain.compiler(), str(cache.cache_folder())
    builds = [
        {
            "name": entry.name,
            "made": entry.made.isoformat(timespec="seconds"),
            "bytes": entry.size,
            "damage": entry.damage,
            "simulates": _describe(entry.specification),
        }
        for entry in entries
    ]
    options.write_json(versions | {"compiler": compiler, "cache": folder, "builds": builds}, json_file)
    for name, value in versions.items():
        echo(f"{name:12} {value}")
    echo(f"{'compiler':12} {compiler or 'none: simulations run on the slower numpy target'}")
    size = sum(entry.size for entry in entries)
    deleted = f" ({removed} deleted)" if clear else ""
    echo(f"{'cache':12} {folder}: {len(entries)} builds, {size / 1e6:.1f} MB{deleted}")
    for entry in entries:
        damage = f"  damaged: {entry.damage}" if entry.damage else ""
        line = f"{entry.made:%Y-%m-%d %H:%M}  {entry.size / 1e6:5.1f} MB  {_describe(entry.specification)}{damage}"
        echo(f"{'':12} {line}")


def _describe(s: Specification | None) -> str:
    if s is None:
        return "unknown"
    lesions = f", without {', '.join(s.lesions)}" if s.lesions else ""
    grid = f"{s.grid.images} × {s.grid.height}×{s.grid.width} px at {s.grid.pixels_per_degree:g} px/deg"
    return f"{s.preset} {s.fidelity} up to {s.output}{lesions}, {grid}"
