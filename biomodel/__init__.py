"""A Brian2 model of the retina, LGN and V1: luminance in, responses out."""

__version__ = "0.1.0"

from biomodel.circuit import LESIONS, STATIONS
from biomodel.parameters import PRESETS
from biomodel.pathway import LuminanceRangeWarning, Pathway
from biomodel.stimuli import Display, luminance

__all__ = ["LESIONS", "PRESETS", "STATIONS", "Display", "LuminanceRangeWarning", "Pathway", "luminance"]
