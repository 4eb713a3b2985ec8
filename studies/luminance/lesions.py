"""Lesions of the circuit: the contribution of each mechanism to recognition, removed on its own, and kept as the only one.

Lesions up to the relay are tested on its responses, V1's lesions on V1's, behind an intact relay. Settled; one level per light
(`LEVELS`), and fewer images than elsewhere, because every image is simulated. The classifier is trained on the lesioned
circuit's responses (*retrained*), or is the one trained on the intact circuit (*kept*).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from biomodel import Pathway
from biomodel.circuit.lesions import lesions_of
from biomodel.engine.cluster import Workers
from biomodel.utils.progress import progress
from studies.common.files import is_intact
from studies.common.parallel import run_parallel
from studies.data.datasets import Images
from studies.luminance.arms import Arm, simulated_rates
from studies.luminance.evaluation import Correct, FeatureCache, Protocol, evaluate, train_classifiers
from studies.luminance.lights import LIGHTS, REFERENCE, Condition

#: Mechanisms by the station before which they are lesioned.
MECHANISMS = {"lgn": lesions_of("retina") + lesions_of("lgn"), "v1": lesions_of("v1") + lesions_of("v1_input")}

#: Images for training and test.
TRAIN, TEST = 500, 500

#: The level of each light: among those of simulated arms the one farthest from the reference light.
LEVELS = {name: light.few_levels[-1] for name, light in LIGHTS.items()} | {"exposure": 0.01}

#: Results of a station's lesions by (variant, ``retrained`` or ``kept``).
Results = dict[tuple[str, str], Correct]


def variants(station: str) -> dict[str, tuple[str, ...]]:
    """Lesions by the name of the variant."""
    every = MECHANISMS[station]
    return (
        {"intact": ()}
        | {f"without {one}": (one,) for one in every}
        | {f"{one} alone": tuple(other for other in every if other != one) for one in every}
        | {"none": every}
    )


def conditions(lights: Sequence[str]) -> tuple[Condition, ...]:
    """The reference light, and each light at its level."""
    return REFERENCE, *(Condition(light, LIGHTS[light].group, LEVELS[light]) for light in lights)


def run(pathway: Pathway, station: str, images: Images, protocol: Protocol, out: Path, workers: Workers) -> None:
    """Simulate, train and test every variant whose results are missing.

    Parameters
    ----------
    pathway : Pathway
        The intact circuit.
    station : str
        A key of `MECHANISMS`.
    images : Images
        Of the study; the first `TRAIN` and `TEST` are used.
    protocol : Protocol
        How the classifiers are trained and tested.
    out : pathlib.Path
        The study's folder.
    workers : int or str
        Processes, or the address of a dask scheduler.
    """
    images = images.first(TRAIN, TEST)
    features = {
        variant: FeatureCache(
            _arm(pathway.replace(lesions=lesions), station, variant, workers), "settled", out / "maps"
        )
        for variant, lesions in variants(station).items()
    }
    pending = {one: path for one, path in paths(out, station).items() if not is_intact(path)}
    # The simulation runs in several processes itself.
    for variant in progress(dict.fromkeys(variant for variant, _ in pending), what=f"lesions before {station}"):
        features[variant].fill(images, protocol.conditions)
    tasks: list[tuple] = [
        (_retrained, path, features[variant], images, protocol)
        for (variant, how), path in pending.items()
        if how == "retrained"
    ]
    kept = {path: features[variant] for (variant, how), path in pending.items() if how == "kept"}
    if kept:
        tasks.append((_kept, kept, features["intact"], images, protocol))
    run_parallel(_run_task, tasks, workers, f"classifiers of lesions before {station}", out)


def read(out: Path, station: str) -> Results:
    """Read all results of a station's lesions."""
    return {one: Correct.load(path) for one, path in paths(out, station).items()}


def paths(out: Path, station: str) -> dict[tuple[str, str], Path]:
    """Files of a station's results."""
    return {
        (variant, how): out / "lesions" / f"{station}-{variant.replace(' ', '_')}-{how}.npz"
        for variant in variants(station)
        for how in ("retrained", "kept")
    }


def _arm(pathway: Pathway, station: str, variant: str, workers: Workers) -> Arm:
    maps = partial(_maps, pathway, station, workers)
    return Arm(maps, f"lesion-{station}-{variant.replace(' ', '_')}", costly=True)


def _maps(pathway: Pathway, station: str, workers: Workers, light: np.ndarray, state: str) -> np.ndarray:
    return simulated_rates(pathway, station, light, state, workers)


def _run_task(task: Callable[..., None], *arguments: object) -> None:
    task(*arguments)


def _retrained(path: Path, lesioned: FeatureCache, images: Images, protocol: Protocol) -> None:
    """Train classifiers on the lesioned circuit, and test them on it."""
    evaluate(lesioned, images, protocol).save(path)


def _kept(lesioned: Mapping[Path, FeatureCache], intact: FeatureCache, images: Images, protocol: Protocol) -> None:
    """Train classifiers on the intact circuit, and test them on each lesioned one."""
    classifiers = train_classifiers(intact, images, protocol)
    for path, features in lesioned.items():
        classifiers.test(features, images, protocol).save(path)
