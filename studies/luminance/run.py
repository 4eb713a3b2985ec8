"""The light study: recognition behind each arm when the light changes.

Protocol. V1 has the first 16 of the preset's kinds of cells (`KINDS`). A front end is fitted to the pathway's responses to
photographs and noise (`bridge.fit.stimuli`). Behind each arm LeNet, and behind some a small residual network, is trained on
clean training images, once a seed; it is then tested on the test images under the reference light and every light and level.
Arms that adapt do all of it in each adaptation state. Simulated arms meet fewer images, and fewer levels of each light; what
their twins make of the same images is read by the same classifiers (`agreement`). With `search`, every arm's rate of training
and scale of maps are chosen first, on training images (`search`). Each finished cell is written at once, and a study that was
stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

import biomodel
import bridge
from biomodel import Pathway, luminance
from biomodel.engine import cache
from biomodel.images import PHOTOGRAPHS
from biomodel.utils.atomic import atomic_write
from biomodel.utils.code import code_digest
from biomodel.utils.errors import InputError
from bridge import FrontEnd, fit_pathway
from bridge.fit.stimuli import IMAGES, identification_set
from studies import common, data
from studies.common.parallel import run_parallel
from studies.common.training import Budget, Choice
from studies.data import datasets
from studies.luminance import agreement, arms, cost, lesions, spikes
from studies.luminance.arms import Arm
from studies.luminance.cells import Right, Seen, conditions, examined, prepare
from studies.luminance.lights import DEFAULT, LIGHTS, PIXELS_PER_DEGREE, scene
from studies.luminance.search import LEAST, search
from studies.luminance.statistics import interval, scored
from studies.reporting import stations_figure

logger = logging.getLogger("precortical")

#: Columns of results.csv.
COLUMNS = ("dataset", "arm", "classifier", "light", "group", "level", "adaptation", "seed", "accuracy", "n")

#: Kinds of V1 cells in the studies, the first of those drawn: they compile and fit in a few minutes.
KINDS = 16

#: What is right of circuit and twin, read by the same classifiers, and R² of responses.
Agreement = tuple[Right, Right, pd.DataFrame]

#: Modules that tell of what was found, and have no part in it.
_TELLING = ("report", "verdict")

#: Images that costs are measured on.
_TIMED = 64


class Cell(NamedTuple):
    """A classifier behind an arm in an adaptation state."""

    classifier: str
    arm: str
    state: str

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.classifier}-{self.arm}-{self.state}"


@dataclass(frozen=True)
class Settings:
    """All that determines a study's numbers, but the code: written to config.json."""

    dataset: str = "digits"
    arms: tuple[str, ...] = arms.DEFAULT
    resnet_arms: tuple[str, ...] = ()
    lights: tuple[str, ...] = DEFAULT
    seed: int = 0
    repeats: int = 3
    resnet_repeats: int = 3
    train: int = 1347
    test: int = 450
    simulated_train: int = 600
    simulated_test: int = 200
    images: int = IMAGES
    preset: str = "macaque_parafovea"
    kinds: int = KINDS
    epochs: int = 20
    search: bool = False
    lesions: bool = False

    @property
    def pathway(self) -> Pathway:
        """What is simulated, and what the front end is fitted to."""
        return Pathway(self.preset, parameters={"v1.kinds": self.kinds})

    def check(self) -> None:
        """Refuse unknown names and empty numbers.

        Raises
        ------
        InputError
        """
        if not self.arms:
            raise InputError(f"no arm is chosen: give at least one of {', '.join(arms.ARMS)}")
        arms.check_arms(self.arms + self.resnet_arms)
        for names, accepted, what in (
            ((self.dataset,), datasets.DATASETS, "dataset"),
            (self.lights, tuple(LIGHTS), "light"),
        ):
            if not names:
                raise InputError(f"no {what} is chosen: give at least one of {', '.join(accepted)}")
            for name in names:
                if name not in accepted:
                    raise InputError(f"unknown {what} {name!r}: accepted are {', '.join(accepted)}")
        sizes = ("repeats", "resnet_repeats", "epochs", "train", "test", "simulated_train", "simulated_test", "images")
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} is not accepted: give a whole number from 1")
        if self.images < len(PHOTOGRAPHS):
            raise InputError(f"images = {self.images} is not accepted: give at least {len(PHOTOGRAPHS)}")
        if "batch_norm" in self.resnet_arms:
            raise InputError("batch_norm is not accepted as a resnet arm: the residual network has it behind every arm")
        if self.search and self.train < LEAST:
            raise InputError(f"train = {self.train} is not accepted for a search: give at least {LEAST}")
        if self.seed < 0:
            raise InputError(f"seed = {self.seed} is not accepted: give a whole number from 0")

    def seeds(self, classifier: str) -> list[int]:
        """Of a classifier's trainings."""
        return [self.seed + k for k in range(self.resnet_repeats if classifier == "resnet" else self.repeats)]

    def budget(self, images: datasets.Images) -> Budget:
        """As many steps as so many epochs take on all training images, also for what meets fewer of them."""
        return Budget(self.epochs * -(-len(images.train) // Budget.batch))

    def met(self, arm: Arm, images: datasets.Images) -> datasets.Images:
        """The images that an arm meets."""
        return images.first(self.simulated_train, self.simulated_test) if arm.simulated else images


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes
    ----------
    cells : dict of Cell to Right
    compared : dict of Cell to tuple
        Of simulated cells, what `agreement.measured` found.
    lesions : dict of str to dict
        By station, what `lesions.run` found.
    costs : pandas.DataFrame
        Columns arm, images_per_second.
    """

    dataset: str
    cells: dict[Cell, Right]
    compared: dict[Cell, Agreement]
    lesions: dict[str, dict[tuple[str, str], Right]]
    costs: pd.DataFrame

    @property
    def results(self) -> pd.DataFrame:
        """The table of results.csv."""
        rows = [
            (self.dataset, cell.arm, cell.classifier, light, group, "" if level is None else f"{level:g}")
            + (cell.state, seed, round(float(images.mean()), 6), len(images))
            for cell, found in self.cells.items()
            for (light, group, level), told in zip(found.conditions, found.right, strict=True)
            for seed, images in zip(found.seeds, told, strict=True)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def agreement(self) -> pd.DataFrame:
        """The table of agreement.csv: by light and level, accuracy on the circuit's and on the twin's responses, and R²."""
        rows = []
        for cell, (simulated, learned, responses) in self.compared.items():
            r2 = responses.groupby(["light", "level"], dropna=False, sort=False).r2.agg(["median", "min"])
            for k, (light, group, level) in enumerate(simulated.conditions):
                one = r2.loc[light].iloc[0] if level is None else r2.loc[(light, level)]
                accuracies = simulated.right[k].mean(), learned.right[k].mean()
                rows.append((*cell, light, group, level, *accuracies, one["median"], one["min"]))
        columns = ["classifier", "arm", "adaptation", "light", "group", "level", "simulated", "learned", "r2", "min_r2"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def lesion_scores(self) -> pd.DataFrame:
        """The table of lesions.csv: by mechanism and group, accuracy and its interval."""
        rows = [
            (station, variant, classifier, group, *asdict(interval(scores)).values())
            for station, found in self.lesions.items()
            for (variant, classifier), right in found.items()
            for group, scores in scored(right).items()
        ]
        return pd.DataFrame(rows, columns=["station", "lesion", "classifier", "group", "mean", "low", "high"])

    @property
    def spikes(self) -> pd.DataFrame:
        """The table of spikes.csv: what it costs that the relay's cells fire, and whether pooling pays it back."""
        return spikes.answered({(cell.classifier, cell.arm, cell.state): found for cell, found in self.cells.items()})

    def summary(self) -> dict:
        """By dataset, arm, classifier and group: mean and bootstrap interval over seeds and images.

        Arms that adapt have their settled state there, and the same for their sudden state under "sudden".
        """
        found: dict = {}
        for cell, right in self.cells.items():
            for group, scores in scored(right).items():
                entry = asdict(interval(scores))
                place = found.setdefault(cell.arm, {}).setdefault(cell.classifier, {}).setdefault(group, {})
                if cell.state == "sudden":
                    place["sudden"] = entry
                else:
                    place.update(entry)
        return {self.dataset: found}

    def steady(self, classifier: str = "lenet") -> dict[str, Right]:
        """Cells by arm, settled ones of arms that adapt, without simulated arms, which meet other images."""
        return {
            cell.arm: found
            for cell, found in self.cells.items()
            if cell.classifier == classifier and cell.state != "sudden" and not cell.arm.startswith("simulated")
        }


def run(settings: Settings, out: Path, workers: int = 2, data: Path | None = None) -> Study:
    """Run a study, or what is left of it, into a folder, and write results.csv and summary.json there.

    `data` is the folder of data sets, as `datasets.load` takes it.

    Raises
    ------
    InputError
        For settings that are not accepted, a folder that cannot be written or that holds another study.
    """
    settings.check()
    pathway = settings.pathway
    images = datasets.load(settings.dataset, data).first(settings.train, settings.test)
    _claim(settings, pathway, images, out)
    _draw_stations(pathway, images, out)
    front_end = fitted_front_end(settings, pathway, out, workers)
    for folder in ("cells", "choices", "agreement"):
        (out / folder).mkdir(exist_ok=True)
    made = {name: arms.make(name, front_end, pathway, workers) for name in settings.arms + settings.resnet_arms}
    cells = _cells(settings, made)
    if settings.search:
        lesioned = [("lenet", f"front_end_{station}") for station in lesions.MECHANISMS if settings.lesions]
        searched = dict.fromkeys([*((cell.classifier, _searched_as(cell.arm)) for cell in cells), *lesioned])
        waiting = [pair for pair in searched if not _choice_path(out, *pair).exists()]
        run_parallel(_search, [(settings, out, *pair, images) for pair in waiting], workers, "searching")
    simulated = [cell for cell in cells if made[cell.arm].simulated]
    waiting_cells = [cell for cell in cells if not all(path.exists() for path in _files(out, cell, cell in simulated))]
    # The simulation spreads over processes itself.
    for cell in waiting_cells:
        if cell in simulated:
            arm = made[cell.arm]
            prepare(Seen(arm, cell.state, out / "maps"), settings.met(arm, images), conditions(settings.lights, True))
    # The longest first, that no process is left waiting for the last.
    waiting_cells.sort(key=lambda cell: made[cell.arm].front is None)
    run_parallel(_cell, [(settings, out, cell, images) for cell in waiting_cells], workers, "training")
    compared: dict[Cell, Agreement] = {}
    for cell in simulated:
        circuit, twin, responses = _files(out, cell, True)
        compared[cell] = Right.load(circuit), Right.load(twin), pd.read_csv(responses)
    found_lesions = {}
    for station in lesions.MECHANISMS if settings.lesions else ():
        choice = _choice(settings, out, Cell("lenet", f"simulated_{station}", "settled"))
        found_lesions[station] = lesions.run(
            pathway,
            station,
            images,
            choice,
            settings.budget(images),
            settings.seeds("lenet"),
            settings.lights,
            out,
            workers,
        )
    costs = out / "costs.csv"
    if not costs.exists():
        alone = [arms.make(name, front_end, pathway) for name in made]
        timed = cost.measured(alone, scene(images.test[:_TIMED]))
        _write(costs, timed.to_csv(index=False))
    found = {cell: Right.load(_files(out, cell, cell in simulated)[0]) for cell in cells}
    whole = Study(settings.dataset, found, compared, found_lesions, pd.read_csv(costs))
    _write(out / "results.csv", whole.results.to_csv(index=False))
    for name, table in (("agreement", whole.agreement), ("lesions", whole.lesion_scores), ("spikes", whole.spikes)):
        if len(table):
            _write(out / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    _write(out / "summary.json", json.dumps(whole.summary(), indent=2) + "\n")
    return whole


def _files(out: Path, cell: Cell, simulated: bool) -> list[Path]:
    """What a cell is kept in: which images were told right, and, of a simulated one, what was made of its twin."""
    path = out / "cells" / f"{cell.name}.npz"
    twin = out / "agreement" / cell.name
    return [path, twin.with_suffix(".npz"), twin.with_suffix(".csv")] if simulated else [path]


def _cells(settings: Settings, made: dict[str, Arm]) -> list[Cell]:
    pairs = [("lenet", name) for name in settings.arms] + [("resnet", name) for name in settings.resnet_arms]
    return [Cell(classifier, name, state) for classifier, name in pairs for state in made[name].adaptations]


def _searched_as(name: str) -> str:
    """The arm whose search an arm takes over: a simulated one that of its twin, of whatever fidelity, pooled or not."""
    return name.replace("simulated", "front_end").removesuffix("_pooled").removesuffix("_spiking")


def _choice_path(out: Path, classifier: str, name: str) -> Path:
    return out / "choices" / f"{classifier}-{name}.json"


def _choice(settings: Settings, out: Path, cell: Cell) -> Choice:
    if not settings.search:
        return Choice()
    return Choice(**json.loads(_choice_path(out, cell.classifier, _searched_as(cell.arm)).read_text()))


def _search(settings: Settings, out: Path, classifier: str, name: str, images: datasets.Images) -> None:
    """One arm's search, in a process of its own."""
    torch.set_num_threads(1)
    arm = _read_arm(settings, out, name)
    found = search(Seen(arm, arm.adaptations[0]), images, classifier, settings.budget(images), settings.seed)
    _write(_choice_path(out, classifier, name), json.dumps(asdict(found)) + "\n")


def _cell(settings: Settings, out: Path, cell: Cell, images: datasets.Images) -> None:
    """One cell, in a process of its own."""
    torch.set_num_threads(1)
    arm = _read_arm(settings, out, cell.arm)
    seen, seeds = Seen(arm, cell.state, out / "maps"), settings.seeds(cell.classifier)
    choice, tests = _choice(settings, out, cell), conditions(settings.lights, arm.simulated)
    met, budget = settings.met(arm, images), settings.budget(images)
    paths = _files(out, cell, arm.simulated)
    if not arm.simulated:
        examined(seen, met, cell.classifier, choice, budget, seeds, tests).save(paths[0])
        return
    # The twin's maps of fewer images are kept apart; its cells are pooled as the circuit's are.
    apart = replace(
        _read_arm(settings, out, _searched_as(cell.arm)),
        name=f"{_searched_as(cell.arm)}-{cell.arm}",
        kept_as=f"{_searched_as(cell.arm)}-simulated",
        pool=arm.pool,
    )
    twin = Seen(apart, cell.state, out / "maps")
    told, read, responses = agreement.measured(seen, twin, met, cell.classifier, choice, budget, seeds, tests)
    told.save(paths[0])
    read.save(paths[1])
    _write(paths[2], responses.to_csv(index=False))


def _read_arm(settings: Settings, out: Path, name: str) -> Arm:
    return arms.make(name, FrontEnd.load(out / "front_end.safetensors"), settings.pathway)


def _claim(settings: Settings, pathway: Pathway, images: datasets.Images, out: Path) -> None:
    """Make the folder, or find it holding this very study."""
    config = {
        **asdict(settings),
        "data": _digest(
            part.tobytes() for part in (images.train, images.train_labels, images.test, images.test_labels)
        ),
        "code": code_digest(_deciding()),
        "simulation": cache.source_digest(),
        "levels": {name: LIGHTS[name].levels for name in settings.lights},
        "parameters": pathway.parameters.digest,
        "precortical": biomodel.__version__,
    }
    text = json.dumps(config, indent=2) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path = out / "config.json"
        if path.exists():
            old, new = json.loads(path.read_text()), json.loads(text)
            differing = [key for key in new if old.get(key) != new[key]]
            if differing:
                raise InputError(f"{out} holds a study with another {', '.join(differing)}: choose another folder")
        _write(path, text)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): give a writable folder") from None


def _deciding() -> list[Path]:
    """The modules of bridge and studies that a study's numbers depend on."""
    own = [path for path in Path(__file__).parent.glob("*.py") if path.stem not in _TELLING]
    return [
        Path(str(bridge.__file__)).parent,
        *own,
        *(Path(str(package.__file__)).parent for package in (common, data)),
    ]


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:16]


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as scratch:
        scratch.write_text(text)


def _draw_stations(pathway: Pathway, images: datasets.Images, out: Path) -> None:
    """Write the first figure of a study, stations.png: the responses of every station to the first test image."""
    path = out / "stations.png"
    if path.exists():
        return
    light = scene(images.test[:1])
    figure = stations_figure.draw(light[0], pathway.simulate(luminance(light, PIXELS_PER_DEGREE)))
    with atomic_write(path) as scratch:
        figure.savefig(scratch, dpi=110)
    logger.info("%s shows one image at every station", path)


def fitted_front_end(settings: Settings, pathway: Pathway, out: Path, workers: int) -> FrontEnd:
    """The study's front end: read from its folder, or fitted and written there with its report."""
    path = out / "front_end.safetensors"
    if not (path.exists() and (out / "fit.csv").exists()):
        stimulus = identification_set(settings.images, seed=settings.seed)
        front_end, report = fit_pathway(pathway, stimulus, seed=settings.seed, workers=workers)
        _write(out / "fit.json", json.dumps(report.to_json(), indent=2) + "\n")
        _write(out / "fit.csv", report.scores.to_csv(index=False))
        front_end.save(path)
    return FrontEnd.load(path)
