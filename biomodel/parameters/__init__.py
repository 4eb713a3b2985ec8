"""The constants of the pathway, each with its unit, origin, source and accepted range."""

from biomodel.parameters.table import FIDELITIES, PRESETS, VALID_LUMINANCE, Parameter, Parameters, table

__all__ = ["FIDELITIES", "PRESETS", "VALID_LUMINANCE", "Parameter", "Parameters", "table"]
