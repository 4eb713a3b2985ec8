from math import log, pi, sqrt

import pytest

from biomodel.parameters import FIDELITIES, PRESETS, Parameters
from biomodel.utils.errors import InputError
from biomodel.utils.units import UNITS

#: Digests of the parameters on which the shipped front ends and the studies' results rest.
DIGESTS = {
    ("macaque_parafovea", "rate"): "2da4382acf14c28e85ca8c54539b54bc70954c0ba9dabb09b95ee32f2b740c94",
    ("macaque_parafovea", "spiking"): "adb184d716383fdc1ff89963c517f776ffe11af3f5298c8ff87e594013befe3f",
    ("macaque_fovea", "rate"): "6a976e280bc876475f957822d4ce62447c7ccaebbf5929edcacefc6c7562b5d2",
    ("macaque_fovea", "spiking"): "55d47e5f184d577155c2266f9b77c0781c83e1131d86a912861fa295a76154dc",
}


@pytest.mark.parametrize(("preset", "fidelity"), [(p, f) for p in PRESETS for f in FIDELITIES])
def test_parameters_are_those_of_the_published_results(preset, fidelity):
    assert Parameters(preset, fidelity=fidelity).digest == DIGESTS[preset, fidelity]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_entry_is_complete_and_in_its_range(preset):
    for name, parameter in Parameters(preset, fidelity="spiking").items():
        assert parameter.unit in UNITS and parameter.source, name
        assert parameter.origin in ("published", "derived", "calibrated"), name
        assert parameter.low <= parameter.value <= parameter.high, name


@pytest.mark.parametrize("preset", PRESETS)
def test_derived_values_follow_the_formulas_of_their_sources(preset):
    p = Parameters(preset).values_by_name()
    centre, parasol = p["bipolar.midget_centre_radius"], p["bipolar.diffuse_centre_radius"]
    loop_gain = 0.55 / (1 - 0.55)
    formulas = {
        "horizontal.capacitance": 20 * p["horizontal.leak"],
        "horizontal.coupling": p["horizontal.leak"] * (1 + loop_gain) * (3.35 * centre / p["horizontal.spacing"]) ** 2,
        "horizontal.feedback": loop_gain / p["horizontal.gain"],
        "amacrine.surround_space_constant": 2.4 * parasol,
        "amacrine.contrast_space_constant": 0.2 / sqrt(2),
        "v1.parasol_highest_frequency": sqrt(log(2)) / (pi * parasol),
    }
    assert {name: p[name] for name in formulas} == pytest.approx(formulas, rel=1e-12)


def test_an_override_changes_one_value_and_the_digest():
    usual, changed = Parameters("macaque_fovea"), Parameters("macaque_fovea", {"horizontal.coupling": 3})
    assert [name for name in usual if usual[name] != changed[name]] == ["horizontal.coupling"]
    assert changed.value("horizontal.coupling") == 3 and usual.digest != changed.digest


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"cone.speed": 1}, "parameters must be among .*, got 'cone.speed'"),
        ({"horizontal.coupling": -3}, "horizontal.coupling must be 0 to 10000 nS, got -3"),
    ],
)
def test_bad_overrides_are_refused(overrides, words):
    with pytest.raises(InputError, match=words):
        Parameters("macaque_fovea", overrides)
