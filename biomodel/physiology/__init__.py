"""In-silico physiology: published experiments made on a pathway, their results beside the published bands."""

from biomodel.physiology import population
from biomodel.physiology.battery import Result, Results, run
from biomodel.physiology.distributions import Distance, distances
from biomodel.physiology.draws import DrawnDistances, over_draws
from biomodel.physiology.page import draw
from biomodel.physiology.raster import draw as draw_rasters

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
