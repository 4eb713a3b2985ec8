"""Cells of V1: what is drawn, who excites and who inhibits, what they prefer."""

import brian2
import numpy as np
import pytest
from brian2 import ms

from biomodel import Pathway, luminance, v1
from biomodel.circuit import V1_CLOCK
from biomodel.cortical_kinds import REACH, kinds, preferences
from biomodel.parameters import Parameters
from biomodel.physiology.protocols import Screen


def test_draw_is_seeded_and_a_subset_is_the_beginning():
    few, many = (preferences(n, 3, 1.0, 5.3, "parafoveal") for n in (8, 40))
    assert few == many[:8]
    assert few != preferences(8, 4, 1.0, 5.3, "parafoveal")
    for orientation, phase, frequency, across, along, _ in many:
        assert 0 <= orientation < 180 and 0 <= phase < 360
        assert 0.35 <= frequency <= 5.3 and REACH * max(across, along) <= 1.0


def test_some_tens_of_relay_cells_converge_on_a_simple_cell():
    cells = kinds(Parameters("macaque_parafovea"), 16.0)
    assert len(cells) == 64
    afferents = [len(cell.afferents.weight) for cell in cells]
    assert 20 <= np.median(afferents) <= 90
    for cell in cells:
        assert cell.afferents.weight.min() > 0 and cell.afferents.weight.sum() == pytest.approx(1)


PRESYNAPTIC = {
    "lgn": [f"{cell}_{sign}" for cell in ("midget", "parasol") for sign in ("on", "off")],
    "v1": [f"{cell}_{k}" for cell in ("simple", "opposite", "complex", "inhibitory", "inhibitory_opposite") for k in range(3)],
    "normalisation": ["pooled"],
}


@pytest.fixture(scope="module")
def one_tick():
    """The rates of V1 one tick of its clock after a grating has come, some population's rate having been raised."""
    pathway = Pathway(target="numpy", parameters={"v1.kinds": 3})
    screen = Screen(33, 16.0)
    image = 100 * (1 + 0.9 * screen.grating(2.0, np.array([0.3]))[0])
    preferred = brian2.prefs.codegen.target
    network = pathway.network(luminance(image[None], 16.0), adapt_to=100.0)
    brian2.prefs.codegen.target = "numpy"
    network.run(60 * ms, namespace={})
    network.store("now")

    def tick(group=None, variable=None):
        network.restore("now")
        if group is not None:
            state = getattr(network[group], variable)
            setattr(network[group], variable, state[:] * 1.05)
        network.run(V1_CLOCK * pathway.dt * ms, namespace={})
        return {name: np.array(getattr(network["v1"], name)) for name in PRESYNAPTIC["v1"]}

    yield tick
    brian2.prefs.codegen.target = preferred


@pytest.mark.parametrize(
    ("group", "variable"), [(group, variable) for group, names in PRESYNAPTIC.items() for variable in names]
)
def test_no_cell_both_excites_and_inhibits(one_tick, group, variable):
    """Dale's law: raise one population's rates for a tick, and every rate it reaches moves the way its kind has to."""
    before, after = one_tick(), one_tick(group, variable)
    kind = {"lgn": "relay", "normalisation": "normalisation"}.get(group, variable.split("_")[0])
    moved = np.concatenate([(after[n] - before[n]) for n in before if (group, n) != ("v1", variable)])
    assert (v1.SIGNS[kind] * moved >= -1e-12).all()
    if kind != "complex":
        assert np.abs(moved).max() > 1e-9
