"""Figure of simulated receptive fields over fitted kernels."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bridge.evaluate.kernels import KernelPairs


def draw(stations: list[KernelPairs], columns: int = 12) -> Figure:
    """Draw the circuit's kernels over the twin's, of every channel that is not silent."""
    pairs = [
        (label, seen, fitted)
        for one in stations
        for label, seen, fitted, fires in zip(one.labels, one.circuit, one.twin, one.firing, strict=True)
        if fires
    ]
    blocks = -(-len(pairs) // columns)
    figure, axes = plt.subplots(
        2 * blocks, columns, figsize=(1.35 * columns, 3.1 * blocks), layout="constrained", squeeze=False
    )
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_frame_on(False)
    for place, (label, seen, fitted) in enumerate(pairs):
        block, column = divmod(place, columns)
        limit = np.abs(seen).max()
        axes[2 * block, column].set_title(label, fontsize=8)
        for ax, kernel in zip(axes[2 * block : 2 * block + 2, column], (seen, fitted), strict=True):
            ax.set_frame_on(True)
            ax.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for row, name in enumerate(("simulated", "fitted") * blocks):
        axes[row, 0].set_ylabel(name, fontsize=9)
    return figure
