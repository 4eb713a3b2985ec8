"""The command `precortical`: its subcommands, logging and exit codes."""

from __future__ import annotations

import logging
import sys

import typer

from biomodel.utils.errors import InputError, MachineError
from studies.cli import download, fit, info, physiology, simulate, study_luminance, study_reproduction

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Simulated and learned early vision under changing light.",
)
app.command("simulate")(simulate.simulate)
app.command("physiology")(physiology.physiology)
app.command("fit")(fit.fit)
app.command("download")(download.download)
app.command("info")(info.info)

study = typer.Typer(no_args_is_help=True, help="Studies of robustness to light.")
study.command("luminance")(study_luminance.luminance)
study.command("reproduction")(study_reproduction.reproduction)
app.add_typer(study, name="study")


def main() -> None:
    """Run the command line.

    Bad input, and a folder, compiler or process of the machine that fails, end with one line on standard error and exit
    code 2. Every other error is a failure of the program: it ends with a traceback and exit code 1.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("precortical").setLevel(logging.INFO)
    # Brian2 prints captured warnings itself; once is enough.
    logging.getLogger("py.warnings").propagate = False
    try:
        app()
    except (InputError, MachineError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
