"""What a folder of results holds, to compare runs with each other."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

#: Files that hold times of runs: only their names are compared.
_TIMED = ("costs.csv", "report.html")


def contents(out: Path) -> dict[str, str]:
    """Digest of every file in a folder by its path; of JSON without durations, of weights without their order."""
    return {str(path.relative_to(out)): _digest(path) for path in sorted(out.rglob("*")) if path.is_file()}


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What differs between two contents, in words."""
    words = [f"{name} is missing" for name in expected if name not in found]
    words += [f"{name} is left over" for name in found if name not in expected]
    return words + [f"{name} differs" for name in found if name in expected and found[name] != expected[name]]


def finished(out: Path, pattern: str) -> dict[str, tuple[int, int]]:
    """Files that need not be computed again: time of the last change and inode by path.

    A chunk of a store is finished when all of its arrays have it.
    """
    files = {path: path.stat() for path in out.glob(pattern) if path.is_file()} if pattern else {}
    known = {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in files.items() if path.name[0] != "."}
    if not pattern.startswith("responses.zarr"):
        return {str(path.relative_to(out)): value for path, value in known.items()}
    by_chunk: dict[str, list[Path]] = {}
    for path in known:
        chunk = chunk_of(out, path)
        if chunk is not None and path.suffix != ".partial":
            by_chunk.setdefault(chunk, []).append(path)
    arrays = sum(
        len(json.loads(path.read_text()).get("shape", ())) > 1 for path in out.glob("responses.zarr/*/zarr.json")
    )
    whole = [path for paths in by_chunk.values() if len(paths) == arrays for path in paths]
    return {str(path.relative_to(out)): known[path] for path in whole}


def chunk_of(out: Path, path: Path) -> str | None:
    """The number of the chunk of images that a file of a store belongs to; None for a coordinate."""
    parts = path.relative_to(out / "responses.zarr").parts
    return parts[2] if len(parts) > 4 else None


def _digest(path: Path) -> str:
    if path.name in _TIMED:
        return ""
    try:
        if path.suffix == ".json":
            return hashlib.sha256(json.dumps(_without_times(json.loads(path.read_text()))).encode()).hexdigest()
        if path.suffix == ".safetensors":
            return _weights(path.read_bytes())
        if path.suffix == ".npz":
            # Not all bytes of a zip file's headers matter.
            with zipfile.ZipFile(path) as file:
                return hashlib.sha256(b"".join(file.read(name) for name in sorted(file.namelist()))).hexdigest()
    except (ValueError, zipfile.BadZipFile):
        # Damaged: its bytes.
        pass
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if name != "seconds"}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def _weights(content: bytes) -> str:
    """Digest of a safetensors file: the order of names in its header varies between runs."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + content[8 + size :]).hexdigest()
