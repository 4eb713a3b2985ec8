"""Write docs/parameters.md from the parameters' TOML files."""

from pathlib import Path

from biomodel.parameters import VALID_LUMINANCE, table

_HEAD = f"""# Parameters

`make docs` generates this page from `biomodel/parameters/*.toml`. *Published*: printed in the source. *Derived*: computed from
published values by the formula in the source. *Calibrated*: chosen so that the named experiment of the [battery](physiology.md)
gives a published result, or, where no experiment is named, for the reason given; no value was chosen on a held-out experiment.
Each parameter can be set by name: `Pathway(parameters={{"horizontal.coupling": 3 * nS}})`.

The model is valid from {VALID_LUMINANCE[0]:g} to {VALID_LUMINANCE[1]:,g} cd/m²: it has no rods and no bleaching.

"""

_SPIKING = """
## Spiking fidelity

Parameters that a pathway of [spiking fidelity](spikes.md) has in addition.

"""


def text() -> str:
    """The page as Markdown."""
    return _HEAD + table() + _SPIKING + table("spiking")


if __name__ == "__main__":
    Path(__file__).with_name("parameters.md").write_text(text())
