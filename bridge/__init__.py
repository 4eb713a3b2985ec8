"""Differentiable front ends, fitted to the responses of a simulated or recorded early visual pathway."""

from bridge.evaluate.scores import FitReport
from bridge.fit.fitting import fit_pathway, fit_responses
from bridge.model.front_end import DisplayLayer, FrontEnd
from bridge.pretrained import pretrained

__all__ = ["DisplayLayer", "FitReport", "FrontEnd", "fit_pathway", "fit_responses", "pretrained"]
