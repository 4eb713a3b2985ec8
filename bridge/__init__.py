"""Differentiable kernels, fitted to the responses of a simulated (or recorded) early visual pathway."""

from bridge.fit.fitting import FitReport, fit
from bridge.model.front_end import DisplayLayer, FrontEnd
from bridge.pretrained import pretrained

__all__ = ["DisplayLayer", "FitReport", "FrontEnd", "fit", "pretrained"]
