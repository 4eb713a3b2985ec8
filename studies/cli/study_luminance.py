"""`precortical study luminance`."""

from pathlib import Path
from typing import Annotated

from typer import Option, echo

from biomodel.utils.run_folder import exclusive
from studies.cli import options


def luminance(
    out: options.Out = Path("out/luminance"),
    seed: options.Seed = 0,
    json_file: options.Json = None,
    dataset: Annotated[str, Option(help="digits, mnist, fashion-mnist or svhn.")] = "digits",
    data: options.Data = None,
    arms: Annotated[str, Option(help="Comma-separated arms, or all. Default: seven main ones.")] = "",
    resnet_arms: Annotated[str, Option(help="Comma-separated arms to train a small residual network on, too.")] = "",
    lights: Annotated[str, Option(help="Comma-separated lights, or all. Default: two global and two local ones.")] = "",
    repeats: Annotated[int, Option(help="Classifiers per arm, with seeds from --seed on.")] = 3,
    train: Annotated[int, Option(help="Number of training images.")] = 1347,
    test: Annotated[int, Option(help="Number of test images.")] = 450,
    simulated_train: Annotated[int, Option(help="Number of training images for simulated arms.")] = 600,
    simulated_test: Annotated[int, Option(help="Number of test images for simulated arms.")] = 200,
    images: options.Presentations = options.PRESENTATIONS,
    kinds: options.Kinds = options.KINDS,
    epochs: Annotated[int, Option(help="Training epochs; arms with fewer images take as many steps.")] = 20,
    search: Annotated[
        bool, Option("--search", help="Choose learning rates and input scales on training images.")
    ] = False,
    lesions: Annotated[bool, Option("--lesions", help="Also test circuits without mechanisms.")] = False,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
) -> None:
    """Compare recognition behind each arm (front end or normalisation) when the light changes.

    Writes a table, plots and report.html. The same command continues a stopped study.
    """
    from studies.data import datasets
    from studies.luminance import report, run
    from studies.luminance.arms import ARMS
    from studies.luminance.lights import LIGHTS
    from studies.luminance.settings import Settings

    default = Settings()
    settings = Settings(
        dataset=dataset,
        arms=tuple(ARMS) if arms == "all" else options.parse_names(arms) or default.arms,
        resnet_arms=options.parse_names(resnet_arms),
        lights=tuple(LIGHTS) if lights == "all" else options.parse_names(lights) or default.lights,
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
    processes = options.choose_workers(workers, cluster)
    settings.check()
    datasets.check_present(settings.dataset, data)
    with exclusive(out):
        found = run.run(settings, out, processes, data)
        report.write(settings, found, out)
    options.write_json(found.summary(), json_file)
    echo(f"{out / 'report.html'}")
