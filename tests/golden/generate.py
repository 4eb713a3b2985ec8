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
    """Stimuli, and a file of responses for each preset; with `missing`, only cases that the file lacks are computed."""
    light = stimuli()
    if not missing:
        write(FOLDER / "stimuli.npz", light)
    for preset in dict.fromkeys(case.preset for case in CASES):
        path = FOLDER / f"{preset}.npz"
        arrays = read(path) if missing else {}
        present = {key.split("/")[0] for key in arrays}
        for case in CASES:
            if case.preset == preset and case.name not in present:
                print(case.name, flush=True)
                found = simulate_case(case, light[case.stimulus], "numpy")
                arrays |= {f"{case.name}/{name}": values for name, values in found.items()}
        if {key.split("/")[0] for key in arrays} != present:
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
    parser.add_argument("--missing", action="store_true", help="of responses, compute only those of new cases")
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
