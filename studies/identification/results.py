"""Results of the identification study, and their summaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bridge.evaluate.kernels import KernelPairs
from bridge.evaluate.scores import finite


@dataclass(frozen=True)
class Results:
    """Results of a run.

    Attributes
    ----------
    scores : pandas.DataFrame
        Columns model, parameters, station, set, channel, r2, feve, correlation.
    kernels : tuple of KernelPairs
        Simulated and fitted kernels in every state.
    """

    scores: pd.DataFrame
    kernels: tuple[KernelPairs, ...]

    def summary(self) -> dict[str, dict]:
        """Summarise scores by model, station and set, over channels; with the number of parameters of each model."""
        models: dict[str, dict] = {}
        for (model, station, name), rows in self.scores.groupby(["model", "station", "set"], sort=False):
            entry = models.setdefault(str(model), {"parameters": int(rows.parameters.iloc[0]), "scores": {}})
            entry["scores"].setdefault(str(station), {})[str(name)] = {
                "median_r2": finite(rows.r2.median()),
                "min_r2": finite(rows.r2.min()),
                "median_correlation": finite(rows.correlation.median()),
                "channels": len(rows),
            }
        return models

    def kernel_rows(self) -> list[dict[str, Any]]:
        """Correlation and gain of fitted kernels over channels that are not silent, a row per state."""
        rows = []
        for pairs in self.kernels:
            gain, correlation = pairs.gain[pairs.firing], pairs.correlation[pairs.firing]
            rows.append(
                {
                    "station": pairs.station,
                    "background": pairs.background,
                    "contrast": pairs.contrast,
                    "channels": int(pairs.firing.sum()),
                    "median_correlation": float(np.median(correlation)),
                    "min_correlation": float(correlation.min()),
                    "median_gain": float(np.median(gain)),
                    "min_gain": float(gain.min()),
                    "max_gain": float(gain.max()),
                }
            )
        return rows

    def best_baselines(self, station: str) -> dict[str, dict[str, Any]]:
        """Baseline with the largest median R² in each set, and its unexplained variance relative to the front end's.

        The front end of this ratio is the one fitted to the responses of `station` only.
        """
        medians = (
            self.scores[self.scores.station == station].groupby(["set", "model"], sort=False).r2.median().unstack()
        )
        baselines = [name for name in medians.columns if name.endswith(f", {station}")]
        best = {}
        for name, row in medians.iterrows():
            baseline = row[baselines].idxmax()
            ratio = (1 - row[baseline]) / (1 - row[f"from {station} alone"])
            best[str(name)] = {"baseline": baseline, "r2": row[baseline], "ratio": ratio}
        return best
