"""The command `precortical`."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

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
_CORES = os.cpu_count() or 1


@study.command("luminance")
def study_luminance(
    out: Out = Path("out/luminance"),
    seed: Seed = 0,
    json_file: Json = None,
    arms: Annotated[str, typer.Option(help="Arms, separated by commas; all by default.")] = "",
    lights: Annotated[str, typer.Option(help="Lights, separated by commas; all by default.")] = "",
    repeats: Annotated[int, typer.Option(help="Classifiers trained per arm, with seeds from --seed on.")] = 3,
    train: Annotated[int, typer.Option(help="Training images.")] = 1347,
    test: Annotated[int, typer.Option(help="Test images.")] = 450,
    simulated_train: Annotated[int, typer.Option(help="Training images of simulated arms.")] = 600,
    simulated_test: Annotated[int, typer.Option(help="Test images of simulated arms.")] = 200,
    patches: Annotated[int, typer.Option(help="Patches of photographs that the front end is fitted on.")] = 208,
    epochs: Annotated[int, typer.Option(help="Training epochs.")] = 20,
    workers: Workers = _CORES,
) -> None:
    """Recognition of digits behind each arm when the light changes: table, plots and report."""
    from studies import luminance, report
    from studies.training import Budget

    if epochs < 1:
        raise ValueError(f"epochs = {epochs} is not accepted: give a whole number from 1")
    default = luminance.Settings()
    settings = luminance.Settings(
        arms=_names(arms) or default.arms,
        lights=_names(lights) or default.lights,
        seed=seed,
        repeats=repeats,
        train=train,
        test=test,
        simulated_train=simulated_train,
        simulated_test=simulated_test,
        patches=patches,
        budget=Budget(epochs=epochs),
    )
    results = luminance.run(settings, out, workers)
    report.write(settings, results, out, workers)
    _write_json(json_file, luminance.summarise(results))
    typer.echo(f"{out / 'report.html'}")


@app.command("fit")
def fit_command(
    out: Out = Path("out/fit"),
    seed: Seed = 0,
    json_file: Json = None,
    preset: Annotated[str, typer.Option(help="Preset of the pathway.")] = "macaque_parafovea",
    patches: Annotated[int, typer.Option(help="Patches of photographs.")] = 208,
    workers: Workers = _CORES,
) -> None:
    """Fit a front end to the simulated pathway; writes weights and scores on held-out photographs."""
    import bridge
    from biomodel import Pathway
    from studies.luminance import fit_stimulus

    pathway = Pathway(preset)
    stimulus = fit_stimulus(patches, seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{out} cannot be written ({error.strerror}): give a writable folder") from None
    front_end, report = bridge.fit(pathway, stimulus, seed=seed, workers=workers)
    front_end.save(out / "front_end.safetensors")
    report.save(out / "fit.json")
    _write_json(json_file, report.to_json())
    typer.echo(f"{out / 'front_end.safetensors'}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _write_json(path: Path | None, value: object) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}): give a path in a writable folder") from None


def main() -> None:
    """Run the command; bad input ends in one line on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Brian2 prints captured warnings itself; once is enough.
    logging.getLogger("py.warnings").propagate = False
    try:
        app()
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
