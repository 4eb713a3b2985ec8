"""The mechanisms that can be removed from the circuit, by name."""

from __future__ import annotations

from biomodel.circuit import v1

#: Mechanisms that can be taken out by name.
LESIONS = (
    "cone_adaptation",
    "horizontal_feedback",
    "luminance_gain",
    "contrast_gain",
    "lgn_suppression",
    *v1.LESIONS,
)
