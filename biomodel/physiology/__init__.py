"""In-silico physiology: published experiments made on a pathway, their results beside the published bands."""

from biomodel.physiology.battery import Result, Results, run
from biomodel.physiology.distributions import Distance, distances
from biomodel.physiology.draws import DrawnDistances, over_draws
from biomodel.physiology.plots import population
from biomodel.physiology.plots.curves import draw
from biomodel.physiology.plots.raster import draw as draw_rasters

__all__ = [
    "Distance",
    "DrawnDistances",
    "Result",
    "Results",
    "distances",
    "draw",
    "draw_rasters",
    "over_draws",
    "population",
    "run",
]
