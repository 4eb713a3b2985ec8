"""Spiking ganglion, relay and V1 cells, in place of the rates of a rate pathway.

The retina up to the excitation of ganglion cells has no noise: it is that of the rate pathway, shared by all trials of
an image. From the ganglion cells on, every trial has its own cells. Both fidelities share equations, parameters and
wiring wherever they can.
"""

from biomodel.circuit.spiking import ganglion, lgn, noise, v1, v1_input

__all__ = ["ganglion", "lgn", "noise", "v1", "v1_input"]
