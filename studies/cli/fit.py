"""`precortical fit`."""

from pathlib import Path
from typing import Annotated

from typer import Option, echo

from biomodel.utils.errors import InputError
from biomodel.utils.paths import make_folder
from biomodel.utils.run_folder import exclusive
from studies.cli import options


def fit(
    out: options.Out = Path("out/fit"),
    seed: options.Seed = 0,
    json_file: options.Json = None,
    preset: options.Preset = "macaque_parafovea",
    images: options.Presentations = options.PRESENTATIONS,
    kinds: options.Kinds = options.KINDS,
    pixels_per_degree: Annotated[float | None, Option(help="Pixels per degree of the images. Default: 16.")] = None,
    target: options.Target = None,
    fidelity: options.Fidelity = "rate",
    trials: Annotated[int | None, Option(help="Trials per image, at spiking fidelity. Default: 20.", min=1)] = None,
    output: Annotated[str, Option(help="Last station: lgn, v1_input or v1.")] = "v1",
    evidence: Annotated[bool, Option("--evidence", help="Also fit baselines, and write a page. Takes hours.")] = False,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
) -> None:
    """Fit a front end to the simulated pathway: its weights, and its scores on four held-out sets of stimuli.

    At spiking fidelity, and with --evidence, the same command continues a stopped run.
    """
    import bridge
    from biomodel import Pathway
    from biomodel.utils.checks import one_of
    from bridge.fit.stimuli import PIXELS_PER_DEGREE, identification_set
    from bridge.model.front_end import OUTPUTS

    processes = options.choose_workers(workers, cluster)
    pathway = Pathway(preset, fidelity=fidelity, parameters={"v1.kinds": kinds}, target=target)
    if evidence:
        if (pixels_per_degree, fidelity, trials, output) != (None, "rate", None, "v1"):
            raise InputError(
                "--pixels-per-degree, --fidelity, --trials and --output must be left out with --evidence, "
                "which is made for V1's rates at 16 px/deg"
            )
        from studies.identification import report as page
        from studies.identification.run import run
        from studies.identification.settings import Settings

        settings = Settings(pathway, images, seed)
        settings.check()
        with exclusive(out):
            results = run(settings, out / "evidence", processes)
            content = page.write(results, out)
        options.write_json(content, json_file)
        echo(f"{out / 'evidence.html'}")
        return
    one_of(output, OUTPUTS, "output")
    resolution = PIXELS_PER_DEGREE if pixels_per_degree is None else pixels_per_degree
    stimuli = identification_set(images, pixels_per_degree=resolution, seed=seed)
    make_folder(out)
    front_end, report = bridge.fit_pathway(
        pathway,
        stimuli,
        seed=seed,
        workers=processes,
        output=output,
        trials=trials,
        # Trials take hours.
        store=out / "responses" if fidelity == "spiking" else None,
    )
    front_end.save(out / "front_end.safetensors")
    report.save(out / "fit.json")
    options.write_json(report.to_json(), json_file)
    echo(f"{out / 'front_end.safetensors'}")
