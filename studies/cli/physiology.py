"""`precortical physiology`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

from biomodel.utils.errors import InputError
from biomodel.utils.paths import make_folder, replacing
from studies.cli import options

if TYPE_CHECKING:
    from biomodel import Pathway

logger = logging.getLogger("precortical")

_AGAINST_RATES = "Instead compare spiking cells with the rate model, on 200 photographs with 50 trials each."
_DRAWS = "Instead compare this number of random draws of V1's cell types with published histograms."


def physiology(
    *,
    out: options.Out = Path("out/physiology"),
    seed: options.Seed = 0,
    json_file: options.Json = None,
    preset: options.Preset = "macaque_parafovea",
    fidelity: options.Fidelity = "rate",
    parameters: options.Parameters,
    lesions: options.Lesions,
    target: options.Target = None,
    check: options.Check,
    shadow: Annotated[bool, Option("--shadow", help="Also measure responses in a shadow, by lesion.")] = False,
    against_rates: Annotated[bool, Option("--against-rates", help=_AGAINST_RATES)] = False,
    draws: Annotated[int | None, Option(help=_DRAWS)] = None,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
) -> None:
    """Run published experiments on the simulated pathway: a table of results compared with published ranges, and plots.

    With --against-rates or --draws, the same command continues a stopped run.
    """
    from biomodel import Pathway

    changes, processes = options.parse_parameters(parameters), options.choose_workers(workers, cluster)

    def pathway_of(draw: dict[str, float]) -> Pathway:
        return Pathway(preset, fidelity=fidelity, parameters=changes | draw, lesions=lesions, target=target)

    if draws is not None:
        if shadow:
            raise InputError("--shadow must be left out with --draws: it does not reach V1")
        if against_rates:
            raise InputError("--against-rates must be left out with --draws")
        if "v1.draw" in changes:
            raise InputError("--parameter v1.draw must be left out with --draws, which sets it")
        if draws < 1:
            raise InputError(f"--draws must be a positive integer, got {draws}")
        _compare_draws(lambda draw: pathway_of({"v1.draw": draw}), draws, check, out, json_file, processes)
        return
    pathway = pathway_of({})
    if against_rates:
        if shadow or check:
            raise InputError("--shadow and --check must be left out with --against-rates, which runs no experiment")
        _compare_fidelities(pathway, out, json_file, processes, seed)
        return
    if shadow and (fidelity == "spiking" or lesions):
        raise InputError("--shadow must be used at rate fidelity without --lesion: it removes each mechanism itself")
    _run_experiments(pathway, check, out, json_file, processes, seed)
    if shadow:
        _measure_shadow(pathway, out, processes)


def _run_experiments(
    pathway: Pathway, check: list[int], out: Path, json_file: Path | None, workers: int | str, seed: int
) -> None:
    """Write physiology.json and the plots, and print the table of results."""
    from biomodel import physiology

    results = physiology.run(pathway, check or None, workers=workers, seed=seed)
    make_folder(out)
    plots = [out / "physiology.png"]
    with replacing(plots[0]) as scratch:
        physiology.draw_curves(results, scratch)
    if physiology.has_population(results):
        plots.append(out / "population.png")
        with replacing(plots[-1]) as scratch:
            physiology.draw_population(results, scratch)
    # Experiment 13 measures the variability between trials.
    if 13 in results.curves:
        plots.append(out / "rasters.png")
        with replacing(plots[-1]) as scratch:
            physiology.draw_rasters(pathway, scratch, workers, seed)
    options.write_json(results.to_json(), out / "physiology.json", json_file)
    echo(str(results))
    for one in physiology.distances(results, pathway.preset):
        echo(str(one))
    echo("seconds: " + ", ".join(f"experiment {number} {time:.1f}" for number, time in results.seconds.items()))
    # An experiment passes when all its scored statistics do.
    scored: dict[int, bool] = {}
    for row in results:
        if row.passed is not None and not row.held_out:
            scored[row.id] = scored.get(row.id, True) and row.passed
    passed = f"{sum(scored.values())} of {len(scored)} scored experiments pass" if scored else "no scored experiment"
    echo(f"{passed} ({sum(results.seconds.values()):.0f} s): {', '.join(map(str, plots))}")


def _compare_draws(
    subject_of: Callable[[int], Pathway],
    draws: int,
    check: list[int],
    out: Path,
    json_file: Path | None,
    workers: int | str,
) -> None:
    """Write draws/ and distributions.json, and print the distance to each published histogram."""
    from biomodel import physiology

    found = physiology.distances_over_draws(subject_of, range(draws), check or None, workers, out / "draws")
    options.write_json([one.to_dict() for one in found], out / "distributions.json", json_file)
    echo(f"Kolmogorov-Smirnov distances to published histograms: median [range] over {draws} draws")
    for one in found:
        echo(str(one))
    echo(f"{out / 'distributions.json'}")


def _compare_fidelities(pathway: Pathway, out: Path, json_file: Path | None, workers: int | str, seed: int) -> None:
    """Write fidelities.csv, and print how closely spiking cells follow the rate model, by station."""
    from studies.physiology import fidelities

    if pathway.fidelity != "spiking":
        raise InputError("--against-rates must be used with --fidelity spiking, got rate")
    table = fidelities.compare_fidelities(pathway, workers=workers, seed=seed, store=out / "fidelities")
    with replacing(out / "fidelities.csv") as scratch:
        table.to_csv(scratch, index=False, float_format="%.6g")
    options.write_json(table.to_dict("records"), json_file)
    for station, rows in table.groupby("station", sort=False):
        inside = f" (afferents inside the image: {rows.r_inside.median():.3f})" if rows.r_inside.notna().any() else ""
        echo(
            f"{station}: r {rows.r.median():.3f} ({rows.r.min():.3f} to {rows.r.max():.3f} by channel), "
            f"without the noise of trials {rows.r_corrected.median():.3f}{inside}, "
            f"{rows.spiking.median():.3g} Hz (rate model {rows.rate.median():.3g} Hz), Fano factor {rows.fano.median():.2f}"
        )
    echo(f"{out / 'fidelities.csv'}")


def _measure_shadow(pathway: Pathway, out: Path, workers: int | str) -> None:
    """Write shadow.csv and shadow.png, and log how the settled responses of the intact circuit change in the shadow."""
    from studies.physiology import shadow

    result = shadow.measure_shadow(pathway, workers=workers)
    with replacing(out / "shadow.csv") as scratch:
        result.to_dataframe().to_csv(scratch, float_format="%.6g")
    with replacing(out / "shadow.png") as scratch:
        shadow.draw_shadow(result, scratch)
    ratios = shadow.shadow_ratio(result).sel(lesion=shadow.INTACT, adaptation="settled", start=shadow.STARTS[0])
    for channel in ratios.channel.values:
        texts = []
        for level in ratios.light.values:
            one = ratios.sel(channel=channel, light=level)
            verdict = "within" if one.within else "beyond"
            texts.append(f"{float(one.ratio):.2f} at {float(one.shadow):.2g} cd/m² ({verdict} {shadow.TOLERANCE:.0%})")
        logger.info("%s, settled: response in the shadow over that in the light: %s", channel, ", ".join(texts))
    echo(f"{out / 'shadow.png'}")
