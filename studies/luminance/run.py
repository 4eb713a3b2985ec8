"""The luminance study: recognition behind each arm when the light changes.

Protocol. V1 has the first 16 of the preset's cell types (`settings.KINDS`). A front end is fitted to the pathway's responses to
photographs and noise (`bridge.fit.stimuli`), if an arm or the lesions need it. Behind each arm LeNet, and behind some a small
residual network, is trained on clean training images, once per seed; it is then tested on the test images under the reference
light and every light and level. Arms that adapt do all of it in each adaptation state. Simulated arms get fewer images, and
fewer levels of each light; the responses of their twins to the same images are read by the same classifiers (`agreement`). With
`search`, every arm's learning rate and scale of maps are chosen first, on training images (`search`). Each finished cell is
written at once, and a study that was stopped continues from there.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import biomodel
import bridge
from biomodel import Pathway, luminance
from biomodel.engine import cache
from biomodel.engine.cluster import Workers, check_workers
from biomodel.engine.executors import available_target
from biomodel.utils.code import code_digest
from biomodel.utils.paths import replacing, write_text
from biomodel.utils.run_folder import array_digest, claim
from bridge import FrontEnd, fit_pathway
from bridge.fit.stimuli import identification_set
from studies import common, data
from studies.common.files import is_intact
from studies.common.parallel import run_parallel, shared
from studies.common.training import Choice
from studies.data import datasets
from studies.luminance import arms, costs, examples, lesions, results
from studies.luminance.agreement import compare_with_twin
from studies.luminance.arms import Arm, Models
from studies.luminance.evaluation import FeatureCache, Protocol, evaluate
from studies.luminance.lights import LIGHTS, PIXELS_PER_DEGREE, conditions_of, scene
from studies.luminance.results import Files, Study
from studies.luminance.search import search
from studies.luminance.settings import Cell, Settings
from studies.reporting import stations_figure

logger = logging.getLogger("precortical")

#: Modules that present results, and do not change them.
_PRESENTATION = ("figures", "goals", "report")

#: Images on which speed is measured.
_TIMED = 64


@dataclass(frozen=True)
class _Context:
    """Data that every task of a study needs, also in worker processes."""

    settings: Settings
    files: Files
    images: datasets.Images

    def arm(self, name: str, workers: Workers = 1) -> Arm:
        return arms.make(name, Models(self.files.front_end, self.settings.pathway, workers))

    def pending(self, made: dict[str, Arm]) -> list[Cell]:
        """Cells of some arms whose files are missing."""
        cells = self.settings.cells(made)
        return [one for one in cells if not all([is_intact(p) for p in self.files.of(one, made[one.arm].simulated)])]

    def features(self, arm: Arm, state: str) -> FeatureCache:
        return FeatureCache(arm, state, self.files.out / "maps")

    def choice(self, classifier: str, arm: str) -> Choice:
        path = self.files.choice(classifier, arm)
        return Choice(**json.loads(path.read_text())) if self.settings.search else Choice()

    def protocol(self, cell: Cell, arm: Arm) -> Protocol:
        settings = self.settings
        return Protocol(
            cell.classifier,
            self.choice(cell.classifier, arm.twin or arm.name),
            settings.budget(self.images),
            settings.seeds(cell.classifier),
            conditions_of(settings.lights, arm.simulated),
        )


def run(settings: Settings, out: Path, workers: Workers = 2, data: Path | None = None) -> Study:
    """Run a study, or the rest of it, in a folder; write its results and tables there (`results.Files`).

    Parameters
    ----------
    settings : Settings
        Everything that determines the numbers.
    out : pathlib.Path
        The folder.
    workers : int or str
        Processes, or the address of a dask scheduler.
    data : pathlib.Path, optional
        The folder of data sets, as `datasets.load` takes it.

    Raises
    ------
    InputError
        For bad settings, a folder that cannot be written or that holds another study.
    """
    settings.check()
    workers = check_workers(workers)
    out = shared(out, workers)
    pathway, files = settings.pathway, Files(out)
    images = datasets.load(settings.dataset, data).first(settings.train, settings.test)
    _claim(settings, pathway, images, out)
    files.make_folders()
    context = _Context(settings, files, images)
    # Arms of pixels alone need neither the circuit, which takes minutes to compile, nor the front end.
    front_end = None
    if settings.has_circuit:
        _draw_stations(pathway, images, files)
    with ThreadPoolExecutor(1) as pool:
        # The fit uses one core; on the others runs what needs no front end.
        others = workers - 1 if isinstance(workers, int) else workers
        if settings.has_circuit and others and available_target() == "cpp":
            beside = pool.submit(_run_without_front_end, context, others)
            try:
                front_end = _fitted_front_end(settings, pathway, files, workers)
            except Exception:
                logger.exception("the fit failed; the study ends when the tasks that run at the same time are done")
                raise
            circuit_kernels = beside.result()
        else:
            if settings.has_circuit:
                front_end = _fitted_front_end(settings, pathway, files, workers)
            circuit_kernels = _run_without_front_end(context, workers)
    models = Models(front_end, pathway, workers)
    made = {name: arms.make(name, models) for name in settings.arms + settings.resnet_arms}
    if settings.search:
        _run_searches(context, made, workers)
    _run_cells(context, made, workers)
    if settings.lesions:
        _run_lesions(context, pathway, workers)
    if not is_intact(files.costs):
        alone = [arms.make(name, replace(models, workers=1)) for name in made]
        write_text(files.costs, costs.measure_speed(alone, scene(images.test[:_TIMED])).to_csv(index=False))
    if front_end is not None:
        examples.record_kernels(pathway, front_end, circuit_kernels, files.kernels)
    if front_end is not None and not is_intact(files.examples):
        examples.record(pathway, front_end, scene(images.test[:1]), settings.lights).save(files.examples)
    study = results.read(settings, made, files)
    results.write_tables(study, out)
    return study


def _draw_stations(pathway: Pathway, images: datasets.Images, files: Files) -> None:
    """Draw the first figure of a study: the responses of every station to the first test image."""
    if files.stations.exists():
        return
    light = scene(images.test[:1])
    figure = stations_figure.draw(light[0], pathway.simulate(luminance(light, PIXELS_PER_DEGREE)))
    with replacing(files.stations) as scratch:
        figure.savefig(scratch, dpi=110)
    logger.info("%s shows one image at every station", files.stations)


def _fitted_front_end(settings: Settings, pathway: Pathway, files: Files, workers: Workers) -> FrontEnd:
    """The study's front end: read from its folder, or fitted and written there with its scores."""
    if not (is_intact(files.front_end) and is_intact(files.fit)):
        stimuli = identification_set(settings.images, seed=settings.seed)
        front_end, report = fit_pathway(pathway, stimuli, seed=settings.seed, workers=workers)
        write_text(files.fit.with_suffix(".json"), json.dumps(report.to_json(), indent=2) + "\n")
        write_text(files.fit, report.scores.to_csv(index=False))
        front_end.save(files.front_end)
    return FrontEnd.load(files.front_end)


def _run_searches(context: _Context, made: dict[str, Arm], workers: Workers) -> None:
    """Search for every arm and classifier; a simulated arm takes over its twin's choice."""
    settings = context.settings
    pairs = [(cell.classifier, made[cell.arm].twin or cell.arm) for cell in settings.cells(made)]
    if settings.lesions:
        pairs += [("lenet", f"front_end_{station}") for station in lesions.MECHANISMS]
    pending = [pair for pair in dict.fromkeys(pairs) if not is_intact(context.files.choice(*pair))]
    run_parallel(_search, [(context, *pair) for pair in pending], workers, "searching", context.files.out)


def _search(context: _Context, classifier: str, name: str) -> None:
    """Search for one arm, in a worker process."""
    arm, settings = context.arm(name), context.settings
    features = FeatureCache(arm, arm.adaptations[0])
    choice = search(features, context.images, classifier, settings.budget(context.images), settings.seed)
    write_text(context.files.choice(classifier, name), json.dumps(asdict(choice)) + "\n")


def _run_without_front_end(context: _Context, workers: Workers) -> examples.CircuitKernels:
    """Run what does not depend on the fit: maps of simulated arms, the circuit's kernels, and cells of other arms."""
    settings = context.settings
    names = [name for name in settings.arms + settings.resnet_arms if not name.startswith("front_end")]
    made = {name: context.arm(name, workers) for name in names}
    pending = context.pending(made)
    # The simulation runs in several processes itself.
    for cell in pending:
        arm = made[cell.arm]
        if arm.simulated:
            images = settings.images_for(arm, context.images)
            context.features(arm, cell.state).fill(images, conditions_of(settings.lights, few_levels=True))
    kernels: examples.CircuitKernels = {}
    if settings.has_circuit:
        kernels = examples.simulate_kernels(settings.pathway, context.files.kernels, workers)
    if not settings.search:
        others = [(context, cell) for cell in pending if not made[cell.arm].simulated]
        # Never in this process, whose random state is the fit's.
        beside = max(2, workers) if isinstance(workers, int) else workers
        run_parallel(_train_and_test, others, beside, "training", context.files.out)
    return kernels


def _run_cells(context: _Context, made: dict[str, Arm], workers: Workers) -> None:
    """Train and test every cell whose files are missing."""
    pending = context.pending(made)
    # The longest first, so that no process waits for the last.
    pending.sort(key=lambda cell: (made[cell.arm].front is None, not cell.arm.endswith("v1")))
    run_parallel(_train_and_test, [(context, cell) for cell in pending], workers, "training", context.files.out)


def _train_and_test(context: _Context, cell: Cell) -> None:
    """Train and test one cell, in a worker process."""
    arm = context.arm(cell.arm)
    features, protocol = context.features(arm, cell.state), context.protocol(cell, arm)
    images = context.settings.images_for(arm, context.images)
    if not arm.simulated:
        evaluate(features, images, protocol).save(context.files.cell(cell))
        return
    # The twin's maps of fewer images are kept apart; its cells are pooled as the circuit's are.
    twin = replace(context.arm(arm.twin), name=f"{arm.twin}-{arm.name}", kept_as=f"{arm.twin}-simulated", pool=arm.pool)
    agreement = compare_with_twin(features, context.features(twin, cell.state), images, protocol)
    simulated, learned, responses = context.files.agreement(cell)
    agreement.simulated.save(simulated)
    agreement.learned.save(learned)
    write_text(responses, agreement.responses.to_csv(index=False))


def _run_lesions(context: _Context, pathway: Pathway, workers: Workers) -> None:
    """Run the lesions of every station."""
    settings = context.settings
    for station in lesions.MECHANISMS:
        protocol = Protocol(
            "lenet",
            context.choice("lenet", f"front_end_{station}"),
            settings.budget(context.images),
            settings.seeds("lenet"),
            lesions.conditions(settings.lights),
        )
        lesions.run(pathway, station, context.images, protocol, context.files.out, workers)


def _claim(settings: Settings, pathway: Pathway, images: datasets.Images, out: Path) -> None:
    """Make the folder, or check that it holds this study."""
    config = {
        **asdict(settings),
        "data": array_digest([images.train, images.train_labels, images.test, images.test_labels]),
        "code": code_digest(_sources()),
        "simulation": cache.simulation_digest(),
        "levels": {name: LIGHTS[name].levels for name in settings.lights},
        "parameters": pathway.parameters.digest,
        "precortical": biomodel.__version__,
    }
    claim(out / "config.json", config)


def _sources() -> list[Path]:
    """The modules of bridge and studies that a study's numbers depend on."""
    own = [path for path in Path(__file__).parent.glob("*.py") if path.stem not in _PRESENTATION]
    return [*(Path(str(package.__file__)).parent for package in (bridge, common, data)), *own]
