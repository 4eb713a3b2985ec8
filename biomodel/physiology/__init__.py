"""Published physiological experiments, made on a pathway and compared with the published bands."""

from biomodel.physiology.battery import run
from biomodel.physiology.distributions import Distance, distances
from biomodel.physiology.draws import DrawDistances, distances_over_draws
from biomodel.physiology.plots.curves import draw_curves
from biomodel.physiology.plots.population import draw_population, has_population
from biomodel.physiology.plots.raster import draw_rasters
from biomodel.physiology.recording import TrialAveraged
from biomodel.physiology.results import Result, Results

__all__ = [
    "Distance",
    "DrawDistances",
    "Result",
    "Results",
    "TrialAveraged",
    "distances",
    "distances_over_draws",
    "draw_curves",
    "draw_population",
    "draw_rasters",
    "has_population",
    "run",
]
