"""The errors that are not defects: bad input, and a machine that cannot do the work."""

from __future__ import annotations

import re


class InputError(ValueError):
    """An argument, option, file or setting that cannot be used.

    The message names the argument, what is required and the value: "trials must be a positive integer, got 0". The command
    line prints it as one line and exits with code 2, as it does for `MachineError`; every other exception is a defect and
    keeps its traceback.

    Examples
    --------
    >>> import biomodel
    >>> biomodel.Pathway("cat")
    Traceback (most recent call last):
        ...
    biomodel.utils.errors.InputError: ...
    """

    def __init__(self, message: str) -> None:
        # Arrays and other values print in several lines.
        super().__init__(re.sub(r"\s*\n\s*", " ", message))


class MachineError(RuntimeError):
    """A folder, compiler, or process of this machine that fails where the input is right.

    The message names what failed, the reason, and what the user can change. The command line prints it as one line and exits
    with code 2. A path that cannot be written is an `InputError`, and a disk that is full or fails a `MachineError`.

    Examples
    --------
    >>> import numpy as np
    >>> import biomodel
    >>> light = biomodel.luminance(np.full((1, 8, 8), 50.0), pixels_per_degree=16)
    >>> pathway = biomodel.Pathway(target="numpy")
    >>> try:
    ...     responses = pathway.simulate(light, duration=0.02, window=(0, 0.02), output="cone", store="runs/a")
    ... except biomodel.MachineError as error:
    ...     print(f"the same call continues later: {error}")
    """
