"""Type checkers see the arguments and results of the public functions, from outside the packages."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

SCRIPT = """
import biomodel
import bridge

stimulus = biomodel.luminance([[[100.0] * 8] * 8], pixels_per_degree=16)
pathway = biomodel.Pathway()
reveal_type(pathway.simulate(stimulus))
reveal_type(pathway.simulate(stimulus, record="trace"))
reveal_type(pathway.simulate(stimulus, record="spikes"))
reveal_type(pathway.replace(dt=0.25))
reveal_type(bridge.pretrained())
pathway.simulate(stimulus, durration=1)
pathway.simulate(stimulus, record="film")
pathway.simulate()
"""


def test_simulate_is_typed_from_outside(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", str(script)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "[\w.]*?(\w+)"', ended.stdout)
    assert revealed == ["Dataset", "Dataset", "SpikeTrains", "Pathway", "FrontEnd"], ended.stdout
    wrong = {int(line) for line in re.findall(r"script\.py:(\d+): error: ", ended.stdout)}
    first = SCRIPT.splitlines().index("pathway.simulate(stimulus, durration=1)") + 1
    assert wrong == {first, first + 1, first + 2}, ended.stdout


def test_packages_say_that_they_are_typed():
    for package in ("biomodel", "bridge", "studies"):
        assert (ROOT / package / "py.typed").exists()
