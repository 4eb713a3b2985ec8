"""Readers of the files of published data sets: IDX (gzip or not) and MATLAB's.

Every defect of a file raises an `InputError` of one line that names the file.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import scipy.io

from biomodel.utils.errors import InputError

#: Of MATLAB files of version 5: bytes of the header, and the number of the type of compressed variables.
_MATLAB_HEADER, _MATLAB_COMPRESSED = 128, 15
#: Bytes that are decompressed at a time.
_PIECE = 1 << 20

#: The magic numbers of IDX files of unsigned bytes, by the number of dimensions (http://yann.lecun.com/exdb/mnist).
_MAGIC = {1: 0x0801, 3: 0x0803}


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read the unsigned bytes of an IDX file.

    Parameters
    ----------
    path : pathlib.Path
        Compressed where its name ends in .gz.
    dimensions : {1, 3}
        1 for labels, 3 for images.

    Returns
    -------
    numpy.ndarray of uint8

    Raises
    ------
    InputError
        For a file that is missing, damaged, truncated or too long, or of another type.
    """
    content = _bytes(path)
    header = 4 + 4 * dimensions
    magic = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and magic != _MAGIC[dimensions]:
        raise InputError(f"{path} must be an IDX file that begins with {_MAGIC[dimensions]:#010x}, got {magic:#010x}")
    if len(content) < header:
        raise InputError(f"{path} is truncated: a header has {header} bytes, got {len(content)}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected, found = int(np.prod(shape, dtype=object)), len(content) - header
    if found != expected:
        problem = "is truncated" if found < expected else "is too long"
        raise InputError(f"{path} {problem}: its header gives {'×'.join(map(str, shape))} bytes, got {found}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def content_digest(path: Path) -> str:
    """MD5 of an IDX file's uncompressed content."""
    return hashlib.md5(_bytes(path), usedforsecurity=False).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except EOFError:
        raise InputError(f"{path} is truncated: its gzip stream ends early") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None


def read_matlab(path: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the images X (side, side, 3, n) and labels y (n, 1) of a MATLAB file, as (n, side, side, 3) and (n,).

    Raises
    ------
    InputError
        For a file that is missing, damaged or truncated, or of another type.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        _check_compressed(path)
        found = scipy.io.loadmat(path)
    except Exception as error:  # SciPy raises any, from IndexError to MemoryError, for a damaged file.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as a MATLAB file ({reason})") from None
    for name in ("X", "y"):
        if name not in found:
            names = ", ".join(n for n in found if not n.startswith("__")) or "nothing"
            raise InputError(f"{path} must have the variables X and y, got {names}")
    images, labels = found["X"], found["y"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (side, side, 3):
        raise InputError(f"X in {path} must be uint8 ({side}, {side}, 3, n), got {images.dtype} {images.shape}")
    if labels.size != images.shape[3] or labels.ndim != 2 or 1 not in labels.shape:
        raise InputError(
            f"y in {path} must have a label for each of {images.shape[3]} images, got shape {labels.shape}"
        )
    return np.moveaxis(images, 3, 0), labels.ravel()


def _check_compressed(path: Path) -> None:
    """Check the checksums of the compressed variables of a MATLAB file of version 5: SciPy does not read as far as them.

    Raises
    ------
    ValueError, zlib.error
        For one that differs, or an incomplete variable.
    """
    with path.open("rb") as file:
        header = file.read(_MATLAB_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[_MATLAB_HEADER - 2 :])
        if order is None:
            return
        while tag := file.read(8):
            kind, size = struct.unpack(f"{order}2I", tag)
            if kind != _MATLAB_COMPRESSED:
                file.seek(size, 1)
                continue
            stream = zlib.decompressobj()
            while size and (part := file.read(min(size, _PIECE))):
                size -= len(part)
                while part:
                    stream.decompress(part, _PIECE)
                    part = stream.unconsumed_tail
            stream.flush()
            if not stream.eof or stream.unused_data:
                raise ValueError("a compressed variable is incomplete")
