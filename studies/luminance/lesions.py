"""Which mechanism of the circuit protects recognition: each taken out alone, and each alone left in.

The relay's mechanisms are lesioned before the relay, V1's before V1 behind an intact relay. Settled; each light at one level
(`LEVELS`), and fewer images than elsewhere, for every image is simulated. The classifier is trained anew on what the lesioned
circuit says (*retrained*), or is the one trained on the intact circuit, which meets the lesion unprepared (*kept*).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from biomodel import Pathway
from biomodel.circuit.lesions import lesions_of
from biomodel.utils.progress import progress
from studies.common.classifiers import is_correct
from studies.common.parallel import run_parallel
from studies.common.training import Budget, Choice
from studies.data.datasets import Images
from studies.luminance.arms import Arm, simulated
from studies.luminance.cells import Condition, Right, Seen, examined, given, lit, name, prepare, trained
from studies.luminance.lights import FEW_LEVELS, LIGHTS

#: Mechanisms by the station before which they are lesioned.
MECHANISMS = {"lgn": lesions_of("retina") + lesions_of("lgn"), "v1": lesions_of("v1")}

#: Images that train, and that test.
TRAIN, TEST = 500, 500

#: The level of each light: of those that simulated arms meet the one farthest from the reference light.
LEVELS = {name: levels[-1] for name, levels in FEW_LEVELS.items()} | {"exposure": 0.01}


def variants(station: str) -> dict[str, tuple[str, ...]]:
    """Lesions by the name of what is left."""
    every = MECHANISMS[station]
    return (
        {"intact": ()}
        | {f"without {one}": (one,) for one in every}
        | {f"{one} alone": tuple(other for other in every if other != one) for one in every}
        | {"none": every}
    )


def run(
    pathway: Pathway,
    station: str,
    images: Images,
    choice: Choice,
    budget: Budget,
    seeds: Sequence[int],
    lights: Sequence[str],
    out: Path,
    workers: int,
) -> dict[tuple[str, str], Right]:
    """Simulate, train and test every variant, or what is left of them; by variant and ``retrained`` or ``kept``."""
    folder = out / "lesions"
    folder.mkdir(exist_ok=True)
    images = images.first(TRAIN, TEST)
    tests: list[Condition] = [("reference", "clean", None)]
    tests += [(light, LIGHTS[light].group, LEVELS[light]) for light in lights]
    seen = {}
    for variant, lesions in variants(station).items():
        other = Pathway(
            pathway.preset, parameters=pathway.parameters.values_by_name(), lesions=lesions, fidelity=pathway.fidelity
        )
        maps = partial(_answered, other, station, workers)
        arm = Arm(f"lesion-{station}-{variant.replace(' ', '_')}", maps, costly=True, simulated=True)
        seen[variant] = Seen(arm, "settled", out / "maps")
    paths = {
        (variant, how): folder / f"{station}-{variant.replace(' ', '_')}-{how}.npz"
        for variant in seen
        for how in ("retrained", "kept")
    }
    waiting = [one for one, path in paths.items() if not path.exists()]
    # The simulation spreads over processes itself.
    for variant in progress(dict.fromkeys(variant for variant, _ in waiting), what=f"lesions before {station}"):
        prepare(seen[variant], images, tests)
    with_what = (images, choice, budget, seeds, tests)
    tasks: list[tuple] = [
        (_retrained, paths[variant, how], seen[variant], *with_what) for variant, how in waiting if how == "retrained"
    ]
    kept = {paths[variant, how]: seen[variant] for variant, how in waiting if how == "kept"}
    if kept:
        tasks.append((_kept, kept, seen["intact"], *with_what))
    run_parallel(_alone, tasks, workers, f"classifiers of lesions before {station}")
    return {one: Right.load(path) for one, path in paths.items()}


def _answered(pathway: Pathway, station: str, workers: int, light: np.ndarray, state: str) -> np.ndarray:
    return simulated(pathway, station, light, state, workers)


def _alone(task: Callable[..., None], *given: object) -> None:
    """A task in a process of its own."""
    torch.set_num_threads(1)
    task(*given)


def _retrained(
    path: Path,
    lesioned: Seen,
    images: Images,
    choice: Choice,
    budget: Budget,
    seeds: Sequence[int],
    tests: Sequence[Condition],
) -> None:
    """Write what classifiers trained on the lesioned circuit make of it."""
    examined(lesioned, images, "lenet", choice, budget, seeds, tests).save(path)


def _kept(
    lesioned: Mapping[Path, Seen],
    intact: Seen,
    images: Images,
    choice: Choice,
    budget: Budget,
    seeds: Sequence[int],
    tests: Sequence[Condition],
) -> None:
    """Write what classifiers trained on the intact circuit make of each lesioned one."""
    networks, scaling = trained(intact, images, "lenet", choice, budget, seeds)
    labels = torch.from_numpy(images.test_labels)
    for path, seen in lesioned.items():
        told = []
        for light, _, level in tests:
            maps = seen.maps(name(light, level), partial(lit, images.test, light, level))
            told.append([is_correct(network, given(intact.arm, scaling, maps), labels).numpy() for network in networks])
        Right(tuple(tests), tuple(seeds), np.array(told)).save(path)
