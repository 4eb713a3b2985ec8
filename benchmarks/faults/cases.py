"""The commands that faults are tried on: small enough that each takes a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import inputs


@dataclass(frozen=True)
class Case:
    """A command, and what its folder holds.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        Of `precortical`; `--out` is added.
    units : str
        Pattern of files in the folder that, once written, are never computed again; "" for a command without such files.
        Files of one chunk of a store count as one.
    """

    name: str
    arguments: tuple[str, ...]
    units: str = ""

    def command(self, work: Path, out: Path) -> list[str]:
        """The command as `subprocess` takes it, for a folder of results."""
        filled = [one.format(work=work) for one in self.arguments]
        return [inputs.PYTHON, "-P", "-m", "benchmarks.faults.command", *filled, "--out", str(out)]


_STUDY = ("--workers", "2", "--dataset", "digits")

CASES = {
    case.name: case
    for case in (
        Case(
            "simulate",
            (
                *("simulate", "{work}/images.npy", "--output", "lgn", "--pixels-per-degree", "4"),
                *("--chunk", "2", "--workers", "2"),
            ),
            "responses.zarr/*/c/**/*",
        ),
        Case(
            "simulate on numpy",
            (
                *("simulate", "{work}/images.npy", "--output", "cone", "--target", "numpy", "--images", "8"),
                *("--chunk", "1", "--workers", "2", "--pixels-per-degree", "4"),
            ),
            "responses.zarr/*/c/**/*",
        ),
        Case(
            "compile",
            (
                *("simulate", "{work}/images.npy", "--output", "cone", "--images", "8", "--pixels-per-degree", "4"),
                *("--chunk", "4", "--workers", "2"),
            ),
            "responses.zarr/*/c/**/*",
        ),
        Case("fit", ("fit", "--output", "lgn", "--images", "13", "--pixels-per-degree", "2", "--workers", "2")),
        Case(
            "luminance",
            (
                *("study", "luminance", *_STUDY, "--arms", "pixels,log_pixels", "--lights", "exposure"),
                *("--repeats", "1", "--train", "20", "--test", "10", "--epochs", "1"),
            ),
            "cells/*.npz",
        ),
        Case(
            "reproduction",
            ("study", "reproduction", *_STUDY, "--budget", "smoke", "--arms", "lenet", "--seeds", "2"),
            "cells/**/*.npz",
        ),
        Case("physiology", ("physiology", "--check", "3", "--workers", "2")),
        Case(
            "draws",
            ("physiology", "--check", "16", "--draws", "2", "--parameter", "v1.kinds=2", "--workers", "2"),
            "draws/*.json",
        ),
        Case("IDX", ("simulate", "mnist", "--images", "4", "--output", "cone", "--workers", "1")),
        Case("MAT", ("simulate", "svhn", "--images", "4", "--output", "cone", "--workers", "1")),
        Case(
            "weights",
            (
                *("study", "reproduction", *_STUDY, "--budget", "smoke", "--arms", "front_end_lgn"),
                *("--seeds", "1"),
            ),
        ),
    )
}
