"""Results of the luminance study: the files of its folder, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from biomodel.utils.paths import write_text
from studies.common.statistics import interval
from studies.luminance import lesions, spikes
from studies.luminance.agreement import Agreement
from studies.luminance.arms import Arm
from studies.luminance.evaluation import Correct
from studies.luminance.scores import group_scores
from studies.luminance.settings import Cell, Settings

#: Columns of results.csv.
COLUMNS = ("dataset", "arm", "classifier", "light", "group", "level", "adaptation", "seed", "accuracy", "n")


class Files:
    """Files in a study's folder.

    ================================================  ==========================================================
    config.json                                       settings, and digests of code and data
    stations.png                                      one image at every station
    front_end.safetensors, fit.json, fit.csv          the fitted front end, and its scores
    choices/CLASSIFIER-ARM.json                       learning rate and scale that a search chose
    maps/                                             costly maps; may be deleted
    cells/CELL.npz                                    `Correct` of a cell
    agreement/CELL.npz, agreement/CELL.csv            `Correct` of a simulated cell's twin, and R² of responses
    lesions/                                          `Correct` of lesions (`lesions.paths`)
    kernels/STATION.npz, examples.npz                 kernels and responses to one image, for the report
    results.csv, agreement.csv, lesions.csv,          tables (`Study`)
    spikes.csv, costs.csv, summary.json
    ================================================  ==========================================================
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.stations, self.examples, self.kernels = out / "stations.png", out / "examples.npz", out / "kernels"
        self.front_end, self.fit, self.costs = out / "front_end.safetensors", out / "fit.csv", out / "costs.csv"

    def make_folders(self) -> None:
        """Make the folders of a run."""
        for name in ("cells", "choices", "agreement", "lesions", "kernels"):
            (self.out / name).mkdir(parents=True, exist_ok=True)

    def choice(self, classifier: str, arm: str) -> Path:
        """What a search chose."""
        return self.out / "choices" / f"{classifier}-{arm}.json"

    def cell(self, cell: Cell) -> Path:
        """Results of a cell."""
        return self.out / "cells" / f"{cell.name}.npz"

    def agreement(self, cell: Cell) -> tuple[Path, Path, Path]:
        """Results of a simulated cell, and of its twin: an `Agreement`'s parts."""
        twin = self.out / "agreement" / cell.name
        return self.cell(cell), twin.with_suffix(".npz"), twin.with_suffix(".csv")

    def of(self, cell: Cell, simulated: bool) -> tuple[Path, ...]:
        """All files of a cell."""
        return self.agreement(cell) if simulated else (self.cell(cell),)


@dataclass(frozen=True)
class Study:
    """Results of a study.

    Attributes
    ----------
    dataset : str
    cells : dict of Cell to Correct
    agreements : dict of Cell to Agreement
        Of simulated cells.
    lesions : dict of str to dict
        By station, what `lesions.read` returns.
    costs : pandas.DataFrame
        Columns arm, images_per_second.
    """

    dataset: str
    cells: dict[Cell, Correct]
    agreements: dict[Cell, Agreement]
    lesions: dict[str, lesions.Results]
    costs: pd.DataFrame

    @property
    def results(self) -> pd.DataFrame:
        """The table of results.csv."""
        rows = [
            (self.dataset, cell.arm, cell.classifier, light, group, "" if level is None else f"{level:g}")
            + (cell.state, seed, round(float(images.mean()), 6), len(images))
            for cell, found in self.cells.items()
            for (light, group, level), by_seed in zip(found.conditions, found.correct, strict=True)
            for seed, images in zip(found.seeds, by_seed, strict=True)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def agreement(self) -> pd.DataFrame:
        """The table of agreement.csv: by light and level, accuracy on the circuit's and on the twin's responses, and R²."""
        rows = []
        for cell, (simulated, learned, responses) in self.agreements.items():
            r2 = responses.groupby(["light", "level"], dropna=False, sort=False).r2.agg(["median", "min"])
            for k, (light, group, level) in enumerate(simulated.conditions):
                one = r2.loc[light].iloc[0] if level is None else r2.loc[(light, level)]
                accuracies = simulated.correct[k].mean(), learned.correct[k].mean()
                rows.append((*cell, light, group, level, *accuracies, one["median"], one["min"]))
        columns = ["classifier", "arm", "adaptation", "light", "group", "level", "simulated", "learned", "r2", "min_r2"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def lesion_scores(self) -> pd.DataFrame:
        """The table of lesions.csv: by mechanism and group, accuracy and its interval."""
        rows = [
            (station, variant, classifier, group, *asdict(interval(scores)).values())
            for station, found in self.lesions.items()
            for (variant, classifier), correct in found.items()
            for group, scores in group_scores(correct).items()
        ]
        return pd.DataFrame(rows, columns=["station", "lesion", "classifier", "group", "mean", "low", "high"])

    @property
    def spikes(self) -> pd.DataFrame:
        """The table of spikes.csv: the cost of spiking, and the gain from pooling."""
        return spikes.contrast_table(self.cells)

    def summary(self) -> dict:
        """Mean and bootstrap interval over seeds and images, by dataset, arm, classifier and group.

        Arms that adapt have their settled state there, and the same for their sudden state under "sudden".
        """
        summary: dict = {}
        for cell, correct in self.cells.items():
            for group, scores in group_scores(correct).items():
                entry = asdict(interval(scores))
                place = summary.setdefault(cell.arm, {}).setdefault(cell.classifier, {}).setdefault(group, {})
                if cell.state == "sudden":
                    place["sudden"] = entry
                else:
                    place.update(entry)
        return {self.dataset: summary}

    def steady(self, classifier: str = "lenet") -> dict[str, Correct]:
        """Cells by arm, settled ones of arms that adapt, without simulated arms, which get other images."""
        return {
            cell.arm: correct
            for cell, correct in self.cells.items()
            if cell.classifier == classifier and cell.state != "sudden" and not cell.arm.startswith("simulated")
        }


def read(settings: Settings, arms: Mapping[str, Arm], files: Files) -> Study:
    """Read the results of a finished study; `arms` are its arms by name."""
    cells = settings.cells(arms)
    agreements = {}
    for cell in cells:
        if arms[cell.arm].simulated:
            simulated, learned, responses = files.agreement(cell)
            agreements[cell] = Agreement(Correct.load(simulated), Correct.load(learned), pd.read_csv(responses))
    return Study(
        settings.dataset,
        {cell: Correct.load(files.cell(cell)) for cell in cells},
        agreements,
        {station: lesions.read(files.out, station) for station in (lesions.MECHANISMS if settings.lesions else ())},
        pd.read_csv(files.costs),
    )


def write_tables(study: Study, out: Path) -> None:
    """Write results.csv, summary.json, and the tables of agreement, lesions and spikes where they have rows."""
    write_text(out / "results.csv", study.results.to_csv(index=False))
    for name, table in (("agreement", study.agreement), ("lesions", study.lesion_scores), ("spikes", study.spikes)):
        if len(table):
            write_text(out / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    write_text(out / "summary.json", json.dumps(study.summary(), indent=2) + "\n")
