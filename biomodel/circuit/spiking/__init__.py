"""Cells that fire: what stands in a spiking pathway where a rate pathway has rates.

The retina up to what excites its ganglion cells has no noise and is the rate form's, shared by all trials of an image; from there
on every trial has cells of its own. What is the same thing at both fidelities is the same equation, parameter or wiring.
"""

from biomodel.circuit.spiking import ganglion, lgn, noise, v1

__all__ = ["ganglion", "lgn", "noise", "v1"]
