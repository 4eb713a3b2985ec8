"""The command `precortical`."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from biomodel.utils.errors import InputError

if TYPE_CHECKING:
    from biomodel import Pathway
    from biomodel.circuit.specification import Specification

logger = logging.getLogger("precortical")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Simulated and learned early vision under changing light.",
)
study = typer.Typer(no_args_is_help=True, help="Studies of robustness.")
app.add_typer(study, name="study")

Out = Annotated[Path, typer.Option(help="Folder for what is written.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the summary to this file.")]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]
Kinds = Annotated[int, typer.Option(help="Kinds of V1 cells, the first of the preset's; 64 are all.", min=1)]
Data = Annotated[
    Path | None, typer.Option(help="Folder of data sets; else PRECORTICAL_DATA, else what was downloaded.")
]
_CORES = os.cpu_count() or 1
#: Of V1 in the studies, as `studies.luminance.run` says; it is not imported here, for it takes seconds.
_KINDS = 16

#: Presentations that a front end is fitted to, as in `bridge.fit.fitting`.
_IMAGES = 416


@app.command("simulate")
def simulate_command(
    source: Annotated[str, typer.Argument(help="A folder of images, an .npy or .npz file, or a data set's name.")],
    out: Out = Path("out/simulate"),
    seed: Seed = 0,
    json_file: Json = None,
    preset: Annotated[str, typer.Option(help="Preset of the pathway.")] = "macaque_parafovea",
    parameter: Annotated[list[str], typer.Option(help="A new value, name=value; may be given again.")] = [],  # noqa: B006
    lesion: Annotated[list[str], typer.Option(help="A mechanism to take out; may be given again.")] = [],  # noqa: B006
    fidelity: Annotated[str, typer.Option(help="rate, or spiking.")] = "rate",
    trials: Annotated[int, typer.Option(help="Repeats of every image at spiking fidelity.", min=1)] = 1,
    output: Annotated[str, typer.Option(help="The last station.")] = "v1",
    peak: Annotated[float, typer.Option(help="Luminance of white, cd/m².")] = 200.0,
    black: Annotated[float, typer.Option(help="Luminance of black, cd/m².")] = 6.0,
    pixels_per_degree: Annotated[float, typer.Option(help="Pixels in a degree of visual angle.")] = 16.0,
    in_luminance: Annotated[bool, typer.Option(help="The array is in cd/m² already.")] = False,
    adapt_to: Annotated[str, typer.Option(help="gaze, or a luminance in cd/m².")] = "gaze",
    gaze_sd: Annotated[float, typer.Option(help="Degrees that gaze wanders.")] = 0.5,
    duration: Annotated[float, typer.Option(help="Seconds that an image stands.")] = 0.2,
    window: Annotated[tuple[float, float], typer.Option(help="Seconds between which rates are averaged.")] = (
        0.05,
        0.2,
    ),
    images: Annotated[int, typer.Option(help="Only the first so many images; 0 for all.", min=0)] = 0,
    chunk: Annotated[int, typer.Option(help="Images that are kept together; 0 for as many as suit.", min=0)] = 0,
    workers: Workers = _CORES,
    resume: Annotated[bool, typer.Option(help="Go on with what is in --out already.")] = True,
) -> None:
    """Simulate the responses to images, into responses.zarr in --out; a stopped simulation goes on where it was.

    The studies' V1 is that of --parameter v1.kinds=16.
    """
    from biomodel import Display, Pathway, luminance
    from biomodel.engine.store import n_done
    from studies.data import sources

    changed = dict(_parameter(text) for text in parameter)
    pathway = Pathway(preset, fidelity=fidelity, parameters=changed, lesions=lesion)
    found = sources.read(source, images or None, array_only=in_luminance)
    display = Display(peak, black, pixels_per_degree)
    stimulus = luminance(found.images, pixels_per_degree) if in_luminance else display.show(found.images)
    stimulus = stimulus.assign_coords({name: ("image", values) for name, values in found.known.items()})
    kept, began = n_done(out), time.perf_counter()
    responses = pathway.simulate(
        stimulus,
        adapt_to=_adapt_to(adapt_to),
        duration=duration,
        window=window,
        seed=seed,
        trials=trials,
        output=output,
        gaze_sd=gaze_sd,
        workers=workers,
        store=out,
        resume=resume,
        chunk=chunk or None,
    )
    seconds = time.perf_counter() - began
    total = responses.sizes["image"]
    summary = {
        "responses": str(out / "responses.zarr"),
        "images": total,
        "simulated": total - kept,
        "seconds": seconds,
        "images_per_second": (total - kept) / seconds,
        "workers": workers,
    }
    _write_json(json_file, summary)
    rate = f"{total - kept} of them now, {summary['images_per_second']:.3g} images/s"
    typer.echo(f"{summary['responses']}: {total} images, {rate}")


def _parameter(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise InputError(f"parameter {text!r} is not accepted: give name=value, the value a number") from None


def _adapt_to(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


@app.command("physiology")
def physiology_command(
    out: Out = Path("out/physiology"),
    seed: Seed = 0,
    json_file: Json = None,
    preset: Annotated[str, typer.Option(help="Preset of the pathway.")] = "macaque_parafovea",
    fidelity: Annotated[str, typer.Option(help="Fidelity of the pathway.")] = "rate",
    parameter: Annotated[list[str], typer.Option(help="A new value, name=value; may be given again.")] = [],  # noqa: B006
    lesion: Annotated[list[str], typer.Option(help="A mechanism to take out; may be given again.")] = [],  # noqa: B006
    check: Annotated[list[int], typer.Option(help="Only this experiment; may be given again.")] = [],  # noqa: B006
    shadow: Annotated[bool, typer.Option("--shadow", help="Also measure what a shadow changes, by lesion.")] = False,
    against_rates: Annotated[
        bool,
        typer.Option(
            "--against-rates", help="Only cells that fire beside the rate form, 200 photographs, 50 trials; goes on."
        ),
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(help="Only distances to published histograms, over so many draws of V1's kinds from 0 on."),
    ] = None,
    workers: Workers = _CORES,
) -> None:
    """Published experiments on the simulated pathway, beside their bands: a table, and a page of plots."""
    from biomodel import Pathway, physiology

    changed = dict(_parameter(text) for text in parameter)
    if draws is not None:
        if shadow:
            raise InputError("--shadow is not accepted with --draws: it does not reach V1")
        _measure_draws(preset, fidelity, changed, lesion, draws, check, out, json_file, workers)
        return
    pathway = Pathway(preset, fidelity=fidelity, parameters=changed, lesions=lesion)
    if against_rates:
        if shadow or check:
            raise InputError("--shadow and --check are not accepted with --against-rates, which makes no experiment")
        _measure_fidelities(pathway, out, json_file, workers, seed)
        return
    if shadow and fidelity == "spiking":
        raise InputError("--shadow is not accepted with --fidelity spiking: it is measured in rates")
    if shadow and lesion:
        raise InputError("--shadow is not accepted with --lesion: it takes out each of the retina's mechanisms itself")
    results = physiology.run(pathway, check or None, workers=workers, seed=seed)
    _make_folder(out)
    physiology.draw(results, out / "physiology.png")
    if physiology.population.shown(results):
        with _whole(out / "population.png") as scratch:
            physiology.population.draw(results, scratch)
    # What differs between trials is experiment 13's subject.
    if 13 in results.curves:
        with _whole(out / "rasters.png") as scratch:
            physiology.draw_rasters(pathway, scratch, workers, seed)
    _write_json(out / "physiology.json", results.to_json())
    _write_json(json_file, results.to_json())
    typer.echo(str(results))
    for one in physiology.distances(results, pathway.preset):
        told = "drawn from it" if one.by_construction else "emergent"
        typer.echo(f"{one.name}: Kolmogorov-Smirnov distance {one.distance:.3g}, {one.cells} cells ({told})")
    typer.echo("seconds: " + ", ".join(f"{number} took {taken:.1f}" for number, taken in results.seconds.items()))
    # An experiment passes when all its scored statistics do.
    scored: dict[int, bool] = {}
    for row in results:
        if row.passed is not None and not row.held_out:
            scored[row.id] = scored.get(row.id, True) and row.passed
    seconds = sum(results.seconds.values())
    passed = f"{sum(scored.values())} of {len(scored)} scored experiments pass"
    typer.echo(f"{passed} ({seconds:.0f} s): {out / 'physiology.png'}")
    if physiology.population.shown(results):
        typer.echo(f"{out / 'population.png'}")
    if shadow:
        _measure_shadow(pathway, out, workers)
        typer.echo(f"{out / 'shadow.png'}")


def _measure_draws(
    preset: str,
    fidelity: str,
    parameters: dict[str, float],
    lesions: list[str],
    draws: int,
    check: list[int],
    out: Path,
    json_file: Path | None,
    workers: int,
) -> None:
    """Write draws/ and distributions.json, and print how far every published histogram is, over draws of V1's kinds."""
    from biomodel import Pathway, physiology

    if draws < 1:
        raise InputError(f"--draws {draws} is not accepted: give a whole number from 1")
    if "v1.draw" in parameters:
        raise InputError("--parameter v1.draw is not accepted with --draws: it runs over draws itself")

    def drawn(draw: int) -> Pathway:
        return Pathway(preset, fidelity=fidelity, parameters=parameters | {"v1.draw": draw}, lesions=lesions)

    found = physiology.over_draws(drawn, range(draws), check or None, workers, out / "draws")
    rows = [one.to_dict() for one in found]
    _write_json(out / "distributions.json", rows)
    _write_json(json_file, rows)
    typer.echo(f"Kolmogorov-Smirnov distances to published histograms: median [range] over {draws} draws")
    for one in found:
        typer.echo(str(one))
    typer.echo(f"{out / 'distributions.json'}")


def _measure_fidelities(pathway: Pathway, out: Path, json_file: Path | None, workers: int, seed: int) -> None:
    """Write fidelities.csv, and print how cells that fire follow the rate form, station by station."""
    from studies.physiology import fidelities

    if pathway.fidelity != "spiking":
        raise InputError("--against-rates is not accepted with --fidelity rate: it compares cells that fire with them")
    found = fidelities.compare_fidelities(pathway, workers=workers, seed=seed, store=out / "fidelities")
    with _whole(out / "fidelities.csv") as scratch:
        found.to_csv(scratch, index=False, float_format="%.6g")
    _write_json(json_file, found.to_dict("records"))
    for station, rows in found.groupby("station", sort=False):
        typer.echo(
            f"{station}: r {rows.r.median():.3f} ({rows.r.min():.3f} to {rows.r.max():.3f} by channel), "
            f"{rows.spiking.median():.3g} Hz where the rate form has {rows.rate.median():.3g}, Fano {rows.fano.median():.2f}"
        )
    typer.echo(f"{out / 'fidelities.csv'}")


def _measure_shadow(pathway: Pathway, out: Path, workers: int) -> None:
    """Write shadow.csv and shadow.png, and log how the intact circuit's settled responses change in the shadow."""
    from studies.physiology import shadow

    result = shadow.measure_shadow(pathway, workers=workers)
    with _whole(out / "shadow.csv") as scratch:
        result.to_dataframe().to_csv(scratch, float_format="%.6g")
    with _whole(out / "shadow.png") as scratch:
        shadow.draw_shadow(result, scratch)
    settled = shadow.shadow_ratio(result).sel(lesion=shadow.INTACT, adaptation="settled", start=shadow.STARTS[0])
    for channel in settled.channel.values:
        told = []
        for level in settled.light.values:
            one = settled.sel(channel=channel, light=level)
            verdict = "within" if one.within else "beyond"
            told.append(f"{float(one.ratio):.2f} at {float(one.shadow):.2g} cd/m² ({verdict} {shadow.TOLERANCE:.0%})")
        logger.info("%s in the shadow over in the light, settled: %s", channel, ", ".join(told))


@app.command("download")
def download_command(
    dataset: Annotated[str, typer.Argument(help="mnist, fashion-mnist or svhn.")],
    out: Annotated[Path | None, typer.Option(help="Folder of data sets; the user's cache by default.")] = None,
    seed: Annotated[int, typer.Option(hidden=True)] = 0,
    json_file: Json = None,
) -> None:
    """Fetch a published data set: checked, whole or not at all, and only what is not there yet."""
    from studies.data.download import download

    folder = download(dataset, None if out is None else out / dataset)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    _write_json(json_file, {"dataset": dataset, "folder": str(folder), "bytes": files})
    typer.echo(f"{folder}")


@app.command("info")
def info(
    json_file: Json = None,
    clear: Annotated[bool, typer.Option("--clear", help="Empty the cache of compiled pathways.")] = False,
) -> None:
    """Versions, the compiler, and the cache of compiled pathways."""
    import brian2
    import torch

    import biomodel
    from biomodel.engine import cache

    removed = cache.clear() if clear else 0
    entries = cache.entries()
    told = {
        "precortical": biomodel.__version__,
        "python": platform.python_version(),
        "brian2": brian2.__version__,
        "torch": torch.__version__,
        "cores": _CORES,
        "compiler": cache.compiler(),
        "cache": str(cache.cache_folder()),
        "builds": [
            {
                "name": entry.name,
                "made": entry.made.isoformat(timespec="seconds"),
                "bytes": entry.size,
                "damage": entry.damage,
                "simulates": _simulates(entry.specification),
            }
            for entry in entries
        ],
    }
    _write_json(json_file, told)
    for name in ("precortical", "python", "brian2", "torch", "cores"):
        typer.echo(f"{name:12} {told[name]}")
    typer.echo(f"{'compiler':12} {told['compiler'] or 'none: simulations run on the slower numpy target'}")
    size = sum(entry.size for entry in entries)
    emptied = f" ({removed} removed)" if clear else ""
    typer.echo(f"{'cache':12} {told['cache']}: {len(entries)} builds, {size / 1e6:.1f} MB{emptied}")
    for entry in entries:
        damage = f"  damaged: {entry.damage}" if entry.damage else ""
        line = f"{entry.made:%Y-%m-%d %H:%M}  {entry.size / 1e6:5.1f} MB  {_simulates(entry.specification)}{damage}"
        typer.echo(f"{'':12} {line}")


def _simulates(s: Specification | None) -> str:
    if s is None:
        return "unknown"
    lesions = f", without {', '.join(s.lesions)}" if s.lesions else ""
    grid = f"{s.grid.images} × {s.grid.height}×{s.grid.width} px at {s.grid.pixels_per_degree:g} px/deg"
    return f"{s.preset} {s.fidelity} up to {s.output}{lesions}, {grid}, {s.duration:g} ms, {s.record}"


@study.command("luminance")
def study_luminance(
    out: Out = Path("out/luminance"),
    seed: Seed = 0,
    json_file: Json = None,
    dataset: Annotated[str, typer.Option(help="digits, mnist, fashion-mnist or svhn.")] = "digits",
    data: Data = None,
    arms: Annotated[str, typer.Option(help="Arms, separated by commas, or all; seven by default.")] = "",
    resnet_arms: Annotated[str, typer.Option(help="Arms that a small residual network is trained behind too.")] = "",
    lights: Annotated[str, typer.Option(help="Lights, separated by commas, or all; four by default.")] = "",
    repeats: Annotated[int, typer.Option(help="Classifiers trained per arm, with seeds from --seed on.")] = 3,
    train: Annotated[int, typer.Option(help="Training images.")] = 1347,
    test: Annotated[int, typer.Option(help="Test images.")] = 450,
    simulated_train: Annotated[int, typer.Option(help="Training images of simulated arms.")] = 600,
    simulated_test: Annotated[int, typer.Option(help="Test images of simulated arms.")] = 200,
    images: Annotated[int, typer.Option(help="Presentations that the front end is fitted to.")] = _IMAGES,
    kinds: Kinds = _KINDS,
    epochs: Annotated[
        int, typer.Option(help="Epochs of all training images; what meets fewer images takes as many steps.")
    ] = 20,
    search: Annotated[
        bool, typer.Option("--search", help="Choose every arm's rate and scale on training images.")
    ] = False,
    lesions: Annotated[
        bool, typer.Option("--lesions", help="Lesion the circuit, each mechanism out and alone.")
    ] = False,
    workers: Workers = _CORES,
) -> None:
    """Recognition behind each arm when the light changes: table, plots and report."""
    from studies.luminance import report, run
    from studies.luminance.arms import ARMS
    from studies.luminance.lights import LIGHTS

    default = run.Settings()
    settings = run.Settings(
        dataset=dataset,
        arms=ARMS if arms == "all" else _names(arms) or default.arms,
        resnet_arms=_names(resnet_arms),
        lights=tuple(LIGHTS) if lights == "all" else _names(lights) or default.lights,
        seed=seed,
        repeats=repeats,
        train=train,
        test=test,
        simulated_train=simulated_train,
        simulated_test=simulated_test,
        images=images,
        kinds=kinds,
        search=search,
        lesions=lesions,
        epochs=epochs,
    )
    found = run.run(settings, out, workers, data)
    report.write(settings, found, out, workers, data)
    _write_json(json_file, found.summary())
    typer.echo(f"{out / 'report.html'}")


@study.command("reproduction")
def study_reproduction(
    out: Out = Path("out/reproduction"),
    seed: Seed = 0,
    json_file: Json = None,
    dataset: Annotated[str, typer.Option(help="digits, mnist, fashion-mnist or svhn; several by commas.")] = "digits",
    data: Data = None,
    arms: Annotated[str, typer.Option(help="Arms, separated by commas; all by default.")] = "",
    budget: Annotated[
        str, typer.Option(help="smoke, reduced, full (as published), or another schedule: notebook, fast, long.")
    ] = "reduced",
    seeds: Annotated[int, typer.Option(help="Networks trained per arm, with seeds from --seed on.")] = 5,
    device: Annotated[str, typer.Option(help="What PyTorch computes on: cpu, or cuda.")] = "cpu",
    workers: Workers = _CORES,
) -> None:
    """The published experiment, arXiv 2202.07432: tables, verdicts and report of all that --out holds."""
    from studies.reproduction import report
    from studies.reproduction.arms import ARMS
    from studies.reproduction.run import Settings, run
    from studies.reproduction.sweeps import SWEEPS

    settings = Settings(_names(dataset), _names(arms) or Settings.arms, budget, seeds, seed, device)
    found = report.write(run(settings, out, workers, data), out)
    _write_json(json_file, [asdict(one) for one in found])
    if any(ARMS[name].takes_light for name in settings.arms):
        left = ", ".join(f"{sweep.contrast_left:.2f} ({sweep.name})" for sweep in SWEEPS.values())
        typer.echo(f"Michelson contrast left to arms that take luminance: {left}")
    typer.echo(f"{out / 'report.html'}")


@app.command("fit")
def fit_command(
    out: Out = Path("out/fit"),
    seed: Seed = 0,
    json_file: Json = None,
    preset: Annotated[str, typer.Option(help="Preset of the pathway.")] = "macaque_parafovea",
    images: Annotated[int, typer.Option(help="Presentations that it is fitted to.")] = _IMAGES,
    kinds: Kinds = _KINDS,
    pixels_per_degree: Annotated[float | None, typer.Option(help="Of what is shown; 16 by default.")] = None,
    fidelity: Annotated[str, typer.Option(help="Of the pathway: rate, or spiking.")] = "rate",
    trials: Annotated[
        int | None, typer.Option(help="Repeats of every image at spiking fidelity; 20 by default.", min=1)
    ] = None,
    output: Annotated[str, typer.Option(help="The last station: lgn, or v1.")] = "v1",
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence",
            help="Fit rivals and others beside it, and write a page: hours, and the same command goes on after a stop.",
        ),
    ] = False,
    workers: Workers = _CORES,
) -> None:
    """Fit a front end to the simulated pathway; writes weights and scores on four held-out sets of stimuli.

    At spiking fidelity responses are kept, and the same command goes on after a stop.
    """
    import bridge
    from biomodel import Pathway

    pathway = Pathway(preset, fidelity=fidelity, parameters={"v1.kinds": kinds})
    if evidence:
        if pixels_per_degree is not None:
            raise InputError("--pixels-per-degree is not accepted with --evidence: it is gathered at 16")
        if (fidelity, trials, output) != ("rate", None, "v1"):
            raise InputError(
                "--fidelity, --trials and --output are not accepted with --evidence: it is gathered of V1's rates"
            )
    _make_folder(out)
    if evidence:
        from studies.identification import report as page

        _write_json(json_file, page.write(pathway, out, images, seed, workers))
        typer.echo(f"{out / 'evidence.html'}")
        return
    front_end, report = bridge.fit(
        pathway,
        images=images,
        pixels_per_degree=pixels_per_degree,
        seed=seed,
        workers=workers,
        output=output,
        trials=trials,
        # Repeats take hours.
        store=out / "responses" if fidelity == "spiking" else None,
    )
    front_end.save(out / "front_end.safetensors")
    report.save(out / "fit.json")
    _write_json(json_file, report.to_json())
    typer.echo(f"{out / 'front_end.safetensors'}")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): give a writable folder") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A scratch path that takes the place of `path` once it is written: the file is there whole or not at all."""
    from biomodel.utils.atomic import atomic_write

    try:
        with atomic_write(path) as scratch:
            yield scratch
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def _write_json(path: Path | None, value: object) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def main() -> None:
    """Run the command; bad input ends in one line on standard error and exit code 2, a failure in exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logger.setLevel(logging.INFO)
    # Brian2 prints captured warnings itself; once is enough.
    logging.getLogger("py.warnings").propagate = False
    try:
        app()
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
