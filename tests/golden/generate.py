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
    front_end_name,
    front_end_output,
    read,
    simulate_case,
    stimuli,
    write,
)

#: Parts that can be written separately.
PARTS = ("responses", "front_ends", *STUDIES)


def responses(missing: bool = False) -> None:
    """Stimuli, and a file of responses for each preset; with `missing`, only arrays that the file lacks are added."""
    light = stimuli()
    if not missing:
        write(FOLDER / "stimuli.npz", light)
    for preset in dict.fromkeys(case.preset for case in CASES):
        path = FOLDER / f"{preset}.npz"
        present = read(path) if missing else {}
        cases = {key.split("/")[0] for key in present}
        arrays = dict(present)
        for case in CASES:
            whole = case.name in cases and all(f"{case.name}/{name}" in present for name in case.variables)
            if case.preset == preset and not whole:
                print(case.name, flush=True)
                for name, values in simulate_case(case, light[case.stimulus], "numpy").items():
                    arrays.setdefault(f"{case.name}/{name}", values)
        if set(arrays) != set(present):
            write(path, arrays)


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
    parser.add_argument("--missing", action="store_true", help="of responses, add only those of new cases and stations")
    arguments = parser.parse_args()
    wanted = arguments.parts or (("responses",) if arguments.missing else PARTS)
    for part in wanted:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: accepted are {', '.join(PARTS)}")
    for part in wanted:
        if part == "responses":
            responses(arguments.missing)
        elif part == "front_ends":
            front_ends()
        else:
            study(part)


if __name__ == "__main__":
    main()
