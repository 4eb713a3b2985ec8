"""`precortical download`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, echo

from studies.cli import options


def download(
    dataset: Annotated[str, Argument(help="mnist, fashion-mnist or svhn.")],
    out: Annotated[Path | None, Option(help="Folder of data sets. Default: the user's cache.")] = None,
    seed: Annotated[int, Option(hidden=True)] = 0,
    json_file: options.Json = None,
) -> None:
    """Download a published data set and verify its checksums. Files that are already there are kept."""
    from studies.data import download as downloads

    folder = downloads.download(dataset, None if out is None else out / dataset)
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    options.write_json({"dataset": dataset, "folder": str(folder), "bytes": files}, json_file)
    echo(f"{folder}")
