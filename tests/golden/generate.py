"""Write the golden data: ``python -m tests.golden.generate``, or with names of parts, from the root of the repository."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .cases import (
    BACKGROUNDS,
    CASES,
    FOLDER,
    FRONT_ENDS,
    OUTPUTS,
    STUDIES,
    answered,
    front_end_name,
    front_end_output,
    stimuli,
    write,
)

#: What can be written alone.
PARTS = ("responses", "front_ends", *STUDIES)


def responses() -> None:
    """Stimuli, and a file of responses a preset."""
    light = stimuli()
    write(FOLDER / "stimuli.npz", light)
    for preset in dict.fromkeys(case.preset for case in CASES):
        arrays = {}
        for case in CASES:
            if case.preset == preset:
                print(case.name, flush=True)
                found = answered(case, light[case.stimulus], "numpy")
                arrays |= {f"{case.name}/{name}": values for name, values in found.items()}
        write(FOLDER / f"{preset}.npz", arrays)


def front_ends() -> None:
    """Outputs of the front ends that ship."""
    light = stimuli()["image"]
    arrays = {
        front_end_name(*pair, output, name): front_end_output(*pair, output, background, light)
        for pair in FRONT_ENDS
        for output in OUTPUTS
        for name, background in BACKGROUNDS.items()
    }
    write(FOLDER / "front_ends.npz", arrays)


def study(name: str) -> None:
    """Tables of a small study."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in STUDIES[name][0](Path(folder)).items():
            (FOLDER / file).write_text(text)


def main() -> None:
    """Write the parts that are named, or all."""
    parser = argparse.ArgumentParser(description="Write the golden data.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}; by default all")
    wanted = parser.parse_args().parts or PARTS
    for part in wanted:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: accepted are {', '.join(PARTS)}")
    for part in wanted:
        if part == "responses":
            responses()
        elif part == "front_ends":
            front_ends()
        else:
            study(part)


if __name__ == "__main__":
    main()
