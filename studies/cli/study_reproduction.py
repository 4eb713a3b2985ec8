"""`precortical study reproduction`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option, echo

from biomodel.utils.run_folder import exclusive
from studies.cli import options


def reproduction(
    out: options.Out = Path("out/reproduction"),
    seed: options.Seed = 0,
    json_file: options.Json = None,
    dataset: Annotated[str, Option(help="Comma-separated: digits, mnist, fashion-mnist, svhn.")] = "digits",
    data: options.Data = None,
    arms: Annotated[str, Option(help="Comma-separated arms. Default: all.")] = "",
    budget: Annotated[
        str, Option(help="Training schedule: smoke, reduced, full (as published), notebook, fast or long.")
    ] = "reduced",
    seeds: Annotated[int, Option(help="Networks per arm, with seeds from --seed on.")] = 5,
    device: Annotated[str, Option(help="PyTorch device: cpu or cuda.")] = "cpu",
    workers: options.Workers = None,
    cluster: options.Cluster = None,
) -> None:
    """Reproduce arXiv 2202.07432. Tables, verdicts and report.html cover all results in --out.

    The same command continues a stopped study.
    """
    from studies.data import datasets
    from studies.reproduction import report
    from studies.reproduction.arms import ARMS
    from studies.reproduction.run import run
    from studies.reproduction.settings import Settings
    from studies.reproduction.sweeps import SWEEPS

    names = options.parse_names(arms) or Settings.arms
    settings = Settings(options.parse_names(dataset), names, budget, seeds, seed, device)
    processes = options.choose_workers(workers, cluster)
    settings.check()
    for name in settings.datasets:
        datasets.check_present(name, data)
    with exclusive(out):
        verdicts = report.write(run(settings, out, processes, data), out)
    options.write_json([asdict(one) for one in verdicts], json_file)
    if any(ARMS[name].takes_light for name in settings.arms):
        left = ", ".join(f"{sweep.remaining_contrast:.2f} ({sweep.name})" for sweep in SWEEPS.values())
        echo(f"Michelson contrast left to arms that take luminance: {left}")
    echo(f"{out / 'report.html'}")
