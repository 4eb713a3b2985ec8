"""The command `precortical`, which accepts the synthetic IDX files in place of MNIST's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.faults.inputs import DIGESTS
from studies.cli.main import main
from studies.data import datasets

if __name__ == "__main__":
    datasets._CONTENTS["mnist"] = json.loads((Path(os.environ[datasets.DATA]) / DIGESTS).read_text())
    main()
