"""Download of published data sets: checked by digest, complete or not at all, retried when the network fails."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from biomodel.utils.checks import one_of
from biomodel.utils.errors import InputError, MachineError
from biomodel.utils.folders import user_cache
from biomodel.utils.paths import check_folder, local_path, make_folder


@dataclass(frozen=True)
class Published:
    """The published files of a data set.

    Attributes
    ----------
    address : str
        URL of the folder.
    files : mapping of str to str
        MD5 of each file.
    """

    address: str
    files: Mapping[str, str]


PUBLISHED = {
    "mnist": Published(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": Published(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "svhn": Published(
        "http://ufldl.stanford.edu/housenumbers/",
        {
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
    ),
}

#: Retries per file.
_RETRIES = 3


def cache(name: str) -> Path:
    """Folder of a data set that was downloaded by default."""
    return user_cache() / "data" / name


def download(name: str, folder: Path | None = None, address: str | None = None) -> Path:
    """Download the missing files of a data set; returns its folder.

    Parameters
    ----------
    name : str
        A key of `PUBLISHED`.
    folder : pathlib.Path, optional
        By default `cache`.
    address : str, optional
        URL of a mirror.

    Raises
    ------
    InputError
        For an unknown data set, a folder that cannot be written, and files that differ from the published ones.
    MachineError
        If the network still fails after retries.
    """
    one_of(name, PUBLISHED, "dataset")
    published, target = PUBLISHED[name], cache(name) if folder is None else local_path(folder, "folder")
    make_folder(target)
    check_folder(target)
    downloads = pooch.create(
        path=target,
        base_url=address or published.address,
        registry={file: f"md5:{digest}" for file, digest in published.files.items()},
        retry_if_failed=_RETRIES,
    )
    for file, digest in published.files.items():
        path = target / file
        if path.exists() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != digest:
            raise InputError(f"{path} differs from the published file: remove it to download it again")
        try:
            downloads.fetch(file, progressbar=not path.exists())
        except ValueError as error:
            raise InputError(f"{downloads.get_url(file)} differs from the published file: {error}") from None
        except Exception as error:
            if not isinstance(error, OSError):
                raise
            raise MachineError(
                f"{downloads.get_url(file)} cannot be downloaded ({error}); no part of it was kept"
            ) from None
    return target
