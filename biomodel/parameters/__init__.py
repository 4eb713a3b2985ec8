"""Every constant of the pathway, with its unit, source and accepted range."""

from biomodel.parameters.table import FIDELITIES, PRESETS, VALID_LUMINANCE, Parameter, Parameters, table

__all__ = ["FIDELITIES", "PRESETS", "VALID_LUMINANCE", "Parameter", "Parameters", "table"]
