"""In-silico physiology: published experiments made on a pathway, their results beside the published bands."""

from biomodel.physiology.battery import Result, Results, run
from biomodel.physiology.distributions import Distance, distances
from biomodel.physiology.page import draw

__all__ = ["Distance", "Result", "Results", "distances", "draw", "run"]
