"""Synthetic inputs in the formats of the published ones, always the same."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import scipy.io

PYTHON = sys.executable

#: Root of the repository: the packages are copied from here for the runs with damaged weights.
ROOT = Path(__file__).parents[2]

#: What a copy of the packages holds.
_PACKAGES = ("biomodel", "bridge", "studies", "benchmarks")

#: The file that holds the digest of the packages, written last.
_READY = "ready"

#: The file in the folder of data sets with the MD5 of each synthetic IDX file.
DIGESTS = "digests.json"


def write(work: Path, images: int = 64, size: int = 8) -> None:
    """Write images, data sets and a copy of the packages to a new folder."""
    work.mkdir(parents=True, exist_ok=True)
    # Compiled circuits know which code they belong to.
    for left in work.iterdir():
        if left.name != "home":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    random = np.random.default_rng(0)
    np.save(work / "images.npy", random.random((images, size, size)))
    write_data(work / "data", random)
    for package in _PACKAGES:
        shutil.copytree(
            ROOT / package, work / "packages" / package, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
    (work / _READY).write_text(_version())


def are_current(work: Path) -> bool:
    """Whether a folder holds all inputs, and the packages are those that are there now."""
    return (work / _READY).exists() and (work / _READY).read_text() == _version()


def _version() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def write_data(folder: Path, random: np.random.Generator) -> None:
    """Write images like MNIST's (IDX, gzip) and SVHN's (MATLAB), 64 for training and 16 for tests."""
    digests = {}
    for name in ("mnist", "svhn"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part, number in (("train", 64), ("t10k", 16)):
        pixels = random.integers(0, 256, (number, 28, 28), np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        for name, values in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">{values.ndim + 1}I", 0x0800 + values.ndim, *values.shape)
            content = header + values.tobytes()
            digests[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            (folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        scipy.io.savemat(
            folder / "svhn" / f"{'train' if part == 'train' else 'test'}_32x32.mat",
            {
                "X": random.integers(0, 256, (32, 32, 3, number), np.uint8),
                "y": (np.arange(number)[:, None] % 10 + 1).astype(np.uint8),
            },
            do_compression=True,
        )
    (folder / DIGESTS).write_text(json.dumps(digests))
