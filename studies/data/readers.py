"""Files of published data sets, read and checked: IDX (gzip or not) and MATLAB's.

Whatever is wrong with a file is told in one line that names it.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from biomodel.utils.errors import InputError

#: The magic numbers of IDX files of unsigned bytes, by the number of dimensions (http://yann.lecun.com/exdb/mnist).
_MAGIC = {1: 0x0801, 3: 0x0803}


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Unsigned bytes of an IDX file.

    Parameters
    ----------
    path : pathlib.Path
        Ending in .gz where it is compressed.
    dimensions : {1, 3}
        Of labels, and of images.

    Returns
    -------
    numpy.ndarray of uint8

    Raises
    ------
    InputError
        For a file that is missing, damaged, truncated or too long, or holds something else.
    """
    whole = _bytes(path)
    header = 4 + 4 * dimensions
    magic = int.from_bytes(whole[:4], "big")
    if len(whole) >= 4 and magic != _MAGIC[dimensions]:
        raise InputError(f"{path} begins with {magic:#010x}: accepted is {_MAGIC[dimensions]:#010x}, an IDX file")
    if len(whole) < header:
        raise InputError(f"{path} is truncated: {len(whole)} bytes, where a header alone has {header}")
    shape = struct.unpack(f">{dimensions}I", whole[4:header])
    expected, found = int(np.prod(shape, dtype=object)), len(whole) - header
    if found != expected:
        what = "is truncated" if found < expected else "is too long"
        raise InputError(f"{path} {what}: {found} bytes of data, where its header says {'×'.join(map(str, shape))}")
    return np.frombuffer(whole, np.uint8, offset=header).reshape(shape)


def content(path: Path) -> str:
    """MD5 of what an IDX file holds, unpacked: the same however it was compressed."""
    return hashlib.md5(_bytes(path), usedforsecurity=False).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        whole = path.read_bytes()
        return gzip.decompress(whole) if path.suffix == ".gz" else whole
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except EOFError:
        raise InputError(f"{path} is truncated: its gzip stream ends early") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None


def read_matlab(path: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images X (side, side, 3, n) and labels y (n, 1) of a MATLAB file, as (n, side, side, 3) and (n,).

    Raises
    ------
    InputError
        For a file that is missing, damaged or truncated, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        found = scipy.io.loadmat(path)
    except (
        MatReadError,
        OSError,
        ValueError,
        TypeError,
        NotImplementedError,
        zlib.error,
        struct.error,
        EOFError,
    ) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as a MATLAB file ({told})") from None
    for name in ("X", "y"):
        if name not in found:
            names = ", ".join(n for n in found if not n.startswith("__")) or "nothing"
            raise InputError(f"{path} holds {names}: accepted are files with X and y")
    images, labels = found["X"], found["y"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (side, side, 3):
        raise InputError(f"{path}: X is {images.dtype} {images.shape}: accepted is uint8 ({side}, {side}, 3, n)")
    if labels.size != images.shape[3] or labels.ndim != 2 or 1 not in labels.shape:
        raise InputError(f"{path} has {images.shape[3]} images and labels of shape {labels.shape}: give one each")
    return np.moveaxis(images, 3, 0), labels.ravel()
