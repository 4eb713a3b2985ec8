"""What the golden data are made of; `generate` writes them and `test_golden` compares with them.

The functions `simulate_case`, `front_end_output`, `reproduction_tables` and `luminance_tables` are the only places that call the
package. A name that changes there is changed here once.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomodel import LESIONS, PRESETS, STATIONS, GazeAdapted, Pathway, Region, luminance
from bridge import pretrained
from studies.luminance.run import run as run_luminance
from studies.luminance.settings import Settings as LuminanceSettings
from studies.reproduction.run import run as run_reproduction
from studies.reproduction.settings import Settings as ReproductionSettings

FOLDER = Path(__file__).parent

#: Pixels of the images, down and across. Other than square, so that no swap of axes is missed; V1 has 6 by 7 columns.
SIZE = (12, 13)

PIXELS_PER_DEGREE = 16.0

#: Duration of a frame of the movie, s.
FRAME = 0.025

#: Of all simulations: two kinds of V1 cells, and a short presentation.
PARAMETERS = {"v1.kinds": 2}
TIMES: dict[str, Any] = {"duration": 0.1, "window": (0.05, 0.1)}

#: Settings of one simulation, by name.
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One simulation.

    Attributes
    ----------
    preset, fidelity : str
    what : str
        What is special about it.
    stimulus : str
        One of those that `stimuli` makes.
    lesions : tuple of str
    settings : mapping of str
        Arguments of `simulate`, in addition to `TIMES`.
    quick : bool
        Whether it is compared in the quick part of the test, on the numpy target.
    quick_cpp : bool
        Whether the C++ target is compared in the quick part.
    """

    preset: str
    fidelity: str
    what: str
    stimulus: str = "image"
    lesions: tuple[str, ...] = ()
    settings: Settings = field(default_factory=dict)
    quick: bool = False
    quick_cpp: bool = False

    @property
    def name(self) -> str:
        """Its key in the file of its preset, and its name in the test."""
        return f"{self.preset}-{self.fidelity}-{self.what}"

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its arrays; none for a table of spikes, whose columns are no stations."""
        if self.settings.get("record") == "spikes":
            return ()
        return ("background", *STATIONS[: STATIONS.index(self.settings.get("output", "v1")) + 1])


def stimuli() -> dict[str, np.ndarray]:
    """Luminance in cd/m²: `image`, (1, y, x), `movie`, (1, time, y, x), and `pair`, two images; edges with noise on them."""
    random = np.random.default_rng(20240)
    y, x = np.indices(SIZE)

    def edge(at: float) -> np.ndarray:
        return np.where(x + 0.5 * y > at, 250.0, 30.0) * random.uniform(0.7, 1.3, SIZE)

    return {
        "image": edge(9.2)[None],
        "movie": np.stack([edge(at) for at in (6.2, 8.2, 10.2, 12.2)])[None],
        "pair": np.stack([edge(9.2), edge(5.2) * 2]),
    }


def _cases() -> Iterator[Case]:
    first = "macaque_parafovea"
    for preset in PRESETS:
        for fidelity in ("rate", "spiking"):
            of_first = preset == first and fidelity == "rate"
            yield Case(preset, fidelity, "image", quick=True, quick_cpp=of_first)
            yield Case(preset, fidelity, "movie", "movie", quick=of_first)
            for lesion in LESIONS:
                yield Case(preset, fidelity, lesion, lesions=(lesion,), quick=of_first)
    # Traces of two rows of one column in the middle, and of the V1 column there: traces of whole fields are large.
    middle = {"record": "trace", "region": Region(record=0.04)}
    noisy = {"trials": 2, "seed": 1}
    for what, stimulus, settings in (
        ("trace", "image", middle),
        ("adapted_to_50", "image", {"adapt_to": 50.0}),
        ("adapted_to_each", "pair", {"adapt_to": [30.0, 300.0], "output": "horizontal"}),
        ("previous", "pair", {"adapt_to": "previous"}),
        ("steadier_gaze", "image", {"adapt_to": GazeAdapted(0.1), "output": "bipolar"}),
        ("up_to_lgn", "image", {"output": "lgn"}),
        ("up_to_v1_input", "image", {"output": "v1_input"}),
        ("v1_in_the_middle", "image", {"region": Region(v1=0.2)}),
    ):
        yield Case(
            first, "rate", what, stimulus, settings=settings, quick=what in ("trace", "previous", "up_to_v1_input")
        )
    for what, stimulus, settings in (
        ("trials", "image", noisy),
        ("trace", "image", noisy | middle),
        ("spikes", "image", noisy | {"record": "spikes", "region": Region(record=0.1)}),
        ("previous", "pair", {"adapt_to": "previous"}),
        ("ganglion_in_the_middle", "image", {"output": "ganglion", "region": Region(spiking=0.2)}),
        ("up_to_v1_input", "image", noisy | {"output": "v1_input", "region": Region(record=0.04, spiking=0.2)}),
    ):
        yield Case(first, "spiking", what, stimulus, settings=settings, quick=what in ("spikes", "up_to_v1_input"))


CASES = tuple(_cases())


def simulate_case(case: Case, light: np.ndarray, target: str) -> dict[str, np.ndarray]:
    """Simulate a case. Returns by name an array per station and the field adapted to, or the columns of a table of spikes.

    Parameters
    ----------
    case : Case
    light : numpy.ndarray
        The stimulus, cd/m².
    target : {"cpp", "numpy"}
    """
    pathway = Pathway(case.preset, fidelity=case.fidelity, parameters=PARAMETERS, lesions=case.lesions, target=target)
    stimulus = luminance(light, PIXELS_PER_DEGREE, FRAME if light.ndim == 4 else None)
    found = pathway.simulate(stimulus, **TIMES, **case.settings)
    if case.settings.get("record") == "spikes":
        columns = {str(name): found[name].to_numpy() for name in found}
        return {name: values.astype(str) if values.dtype.kind in "OT" else values for name, values in columns.items()}
    return {
        str(name): _counts(values.values) if values.attrs["units"] == "spikes" else values.values
        for name, values in found.data_vars.items()
    }


def _counts(values: np.ndarray) -> np.ndarray:
    """Counts of spikes as whole numbers."""
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise ValueError("counts of spikes are not whole numbers")
    return whole


#: Front ends that ship, by preset and fidelity.
FRONT_ENDS = (("macaque_parafovea", "rate"), ("macaque_fovea", "rate"), ("macaque_parafovea", "spiking"))

#: Stations at which they end, and fields that they are adapted to by name, cd/m²; None is the image blurred by gaze.
OUTPUTS = ("lgn", "v1_input", "v1")
BACKGROUNDS = {"gaze": None, "even": 100.0}


@torch.no_grad()
def front_end_output(
    preset: str, fidelity: str, output: str, background: float | None, light: np.ndarray
) -> np.ndarray:
    """Rates (image, channel, y, x) of a front end that ships with the package, for luminance (image, y, x)."""
    # In double precision the order of sums, which depends on the number of threads, does not matter.
    front_end = pretrained(preset, fidelity=fidelity, output=output).double()
    return front_end(torch.tensor(light[:, None], dtype=torch.float64), background).numpy().astype(np.float32)


def front_end_name(preset: str, fidelity: str, output: str, background: str) -> str:
    """The key of an output in the file."""
    return f"{preset}-{fidelity}-{output}-{background}"


def reproduction_tables(out: Path) -> dict[str, str]:
    """Text of the table of a small reproduction, and sums and sums of squares of the kernels learned, by file name."""
    settings = ReproductionSettings(
        arms=("lenet", "in_lenet", "retilenet_augmented", "front_end_lgn"), budget="smoke", seeds=1
    )
    with one_thread():
        study = run_reproduction(settings, out, workers=1)
    # Accuracies after so short a training are coarse; the learned kernels are not.
    kernels = {
        cell.arm: {
            name: [float(kernel.sum()), float(np.square(kernel).sum())] for name, kernel in found.kernels.items()
        }
        for cell, found in study.cells.items()
        if found.kernels
    }
    return {
        "reproduction_results.csv": study.table.to_csv(index=False),
        "reproduction_kernels.json": json.dumps(kernels, indent=2) + "\n",
    }


def luminance_tables(out: Path) -> dict[str, str]:
    """Text of the tables of a small light study, by file name: the fit's scores, accuracies, summary and agreement."""
    settings = LuminanceSettings(
        arms=("pixels", "instance_norm", "front_end_lgn", "front_end_v1", "simulated_lgn"),
        lights=("gradient", "exposure"),
        repeats=1,
        train=200,
        test=60,
        simulated_train=40,
        simulated_test=20,
        images=26,
        kinds=2,
        epochs=15,
    )
    with one_thread():
        run_luminance(settings, out, workers=1)
    kept = ("fit.csv", "results.csv", "summary.json", "agreement.csv")
    return {f"luminance_{name}": (out / name).read_text() for name in kept}


#: The small studies, and whether they are quick.
STUDIES: dict[str, tuple[Callable[[Path], dict[str, str]], bool]] = {
    "reproduction": (reproduction_tables, True),
    "luminance": (luminance_tables, False),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread, so that sums have one order; afterwards on as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name; one that is the same as an earlier one is stored as the earlier one's name.

    Parameters
    ----------
    path : pathlib.Path
    arrays : mapping of str to numpy.ndarray
    """
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    kept = {}
    for name, values in arrays.items():
        earlier = first.setdefault((values.dtype.str, values.shape, values.tobytes()), name)
        kept[name] = values if earlier == name else np.array(earlier)
    np.savez_compressed(path, **kept)  # type: ignore[arg-type]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read what `write` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return {
        name: arrays[str(values)] if values.ndim == 0 and values.dtype.kind == "U" else values
        for name, values in arrays.items()
    }


def flat(text: str, name: str) -> dict[str, float | str]:
    """Cells of a table, or leaves of a JSON text, by place; numbers as numbers."""
    if name.endswith(".json"):
        return dict(_leaves(json.loads(text), ""))
    rows = list(csv.reader(text.splitlines()))
    return {
        f"row {number}, {column}": _number(value)
        for number, row in enumerate(rows[1:])
        for column, value in zip(rows[0], row, strict=True)
    }


def _leaves(value: Any, place: str) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{place}/{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{place}/{number}")
    else:
        yield place, value if isinstance(value, int | float) else str(value)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
