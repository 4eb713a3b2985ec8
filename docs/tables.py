"""Writes docs/parameters.md, from the code."""

from pathlib import Path

from biomodel.parameters import VALID_LUMINANCE, table

HEAD = f"""# Parameters

Made from the code by `make docs`. *Published*: printed in the source. *Derived*: computed from published values, as the source
says. *Calibrated*: chosen so that the named experiment of the [battery](physiology.md) gives a published result, or, where none
is named, for the reason given; none was chosen on an experiment that is held out. Each can be set by name,
`Pathway(parameters={{"horizontal.coupling": 3 * nS}})`.

The model holds from {VALID_LUMINANCE[0]:g} to {VALID_LUMINANCE[1]:,g} cd/m²: there are no rods, and bleaching is left out.

"""


SPIKING = """
## Cells that fire

What a pathway of [spiking fidelity](spikes.md) has beside these.

"""


def text() -> str:
    """The whole page."""
    return HEAD + table() + SPIKING + table("spiking")


if __name__ == "__main__":
    Path(__file__).with_name("parameters.md").write_text(text())
