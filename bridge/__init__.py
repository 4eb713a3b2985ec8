"""Differentiable kernels, fitted to the responses of a simulated (or recorded) early visual pathway."""

from bridge.fitting import FitReport, fit
from bridge.front_end import DisplayLayer, FrontEnd
from bridge.shipped import pretrained

__all__ = ["DisplayLayer", "FitReport", "FrontEnd", "fit", "pretrained"]
