"""Speed of arms: images per second, in one process with one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from biomodel.utils.progress import progress
from studies.luminance.arms import Arm

#: Timed calls, after one that is not timed; the median counts.
_CALLS = 3


def measure_speed(arms: Sequence[Arm], light: np.ndarray) -> pd.DataFrame:
    """Measure images per second on luminance (n, H, W), in each arm's first adaptation state; columns arm, images_per_second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [(arm.name, len(light) / _seconds(arm, light)) for arm in progress(arms, what="costs", unit="arm")]
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(rows, columns=["arm", "images_per_second"])


def _seconds(arm: Arm, light: np.ndarray) -> float:
    front = arm.front(arm.adaptations[0]).eval() if arm.front else None
    times = []
    for _ in range(1 + _CALLS):
        start = time.perf_counter()
        maps = arm.maps(light, arm.adaptations[0])
        if front is not None:
            with torch.no_grad():
                front(torch.from_numpy(maps).float())
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
