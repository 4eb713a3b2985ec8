"""Every biological constant of the pathway, with its unit, source and accepted range; named presets.

A parameter's `origin` says how its value was come by:

- *published*: printed in the source;
- *derived*: computed here from published values, by the formula in the source;
- *calibrated*: chosen so that the response to the stimulus named in the source has a published size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, log, pi, sqrt
from typing import Literal

from brian2 import Quantity

from biomodel.utils.errors import InputError
from biomodel.utils.units import UNITS, as_number


@dataclass(frozen=True)
class Parameter:
    """One biological constant: `value` in `unit`, where it comes from, and the range it may be set to."""

    name: str
    value: float
    unit: str
    origin: Literal["published", "derived", "calibrated"]
    source: str
    low: float = 0.0
    high: float = inf

    @property
    def quantity(self) -> Quantity | float:
        """The value as a Brian2 quantity (a plain number where the unit is dimensionless)."""
        return self.value * UNITS[self.unit]


#: Luminances within which the phototransduction model was measured; no rods stand in below.
VALID_LUMINANCE = (1.0, 10_000.0)


@dataclass(frozen=True)
class _Eccentricity:
    """What differs between the presets."""

    centre_radius: float  # deg, midget centre, 1/e
    centre_source: str
    parasol_radius: float  # deg, parasol centre, 1/e
    parasol_source: str
    widest_field: float  # deg from the middle, V1
    highest_frequency: float  # c/deg, V1


_ECCENTRICITIES = {
    "macaque_parafovea": _Eccentricity(
        0.05,
        "Croner & Kaplan 1995, Table 1: P cells, 5 to 10°",
        0.10,
        "Croner & Kaplan 1995, Table 1: M cells, 0 to 10°",
        1.0,
        5.3,
    ),
    "macaque_fovea": _Eccentricity(
        0.03,
        "Croner & Kaplan 1995, Table 1: P cells, 0 to 5°",
        0.10,
        "Croner & Kaplan 1995, Table 1: M cells, 0 to 10°",
        0.6,
        8.9,
    ),
}

#: The names that `Pathway` accepts.
PRESETS = tuple(_ECCENTRICITIES)

#: How cells behind the inner retina answer: by a rate, or by spikes.
FIDELITIES = ("rate", "spiking")

_CLARK = "Clark 2013, Angueyra 2022; values as in macaqueretina"


def _preset(where: _Eccentricity) -> tuple[Parameter, ...]:
    surround_ratio = 6.7
    surround_weight = 0.55
    loop_gain = surround_weight / (1 - surround_weight)
    # A diffusing layer of space constant λ has a kernel with the second moment of a Gaussian of σ = √2 λ.
    surround_space_constant = surround_ratio * where.centre_radius / 2
    spacing, leak = 0.05, 1.0
    coupling = leak * (surround_space_constant * sqrt(1 + loop_gain) / spacing) ** 2
    return (
        Parameter("cone.pupil_area", 9.3, "mm²", "published", "macaqueretina; fixed, 3.4 mm across", 1, 60),
        Parameter(
            "cone.isomerisation_rate", 7.8, "Hz/td", "published", "macaqueretina, at 560 nm; R* per cone", 0.1, 100
        ),
        Parameter(
            "cone.cascade_time",
            1.8,
            "ms",
            "calibrated",
            "experiment 8; Clark's cascade is longer (5 stages of 4.79 ms), its response time shorter",
            0.5,
            100,
        ),
        Parameter("cone.adaptation_time", 166, "ms", "published", f"{_CLARK}: τ_z, n_z = 1, two stages", 1, 10_000),
        Parameter(
            "cone.fast_adaptation_share",
            0.02,
            "1",
            "calibrated",
            "experiments 1 and 4: with Clark's .448 and the luminance gain behind the cone, spots fall faster than "
            "Weber's law and adaptation is instantaneous",
            0,
            1,
        ),
        Parameter(
            "cone.slow_adaptation_share",
            0.65,
            "1",
            "calibrated",
            "experiments 1 and 4: the slow phase of adaptation, beside the fast one",
            0,
            1,
        ),
        Parameter(
            "cone.slow_adaptation_time", 1500, "ms", "calibrated", "experiment 4: the slow phase takes seconds", 10, 1e5
        ),
        Parameter("cone.gain", 19.4, "pA·ms", "published", f"{_CLARK}: α", 1e-3, 1e4),
        Parameter("cone.desensitisation", 0.36, "ms", "published", f"{_CLARK}: β; half-gain at 38 cd/m²", 0, 100),
        Parameter(
            "cone.response_time",
            42,
            "ms",
            "calibrated",
            "experiment 2: a slow stage that light quickens leaves fast flicker near linear (Clark: 4.78 ms)",
            0.5,
            200,
        ),
        Parameter("cone.membrane_time", 4.0, "ms", "published", "van Hateren 2005: τ_m", 0.5, 100),
        Parameter(
            "cone.reference_luminance",
            100,
            "cd/m²",
            "calibrated",
            "operating point that the lesion cone_adaptation freezes; a bright indoor surface",
            1,
            1e4,
        ),
        Parameter(
            "horizontal.spacing", spacing, "deg", "calibrated", "spacing of H1 cells near 7°, about 11 µm", 1e-3, 1
        ),
        Parameter("horizontal.leak", leak, "nS", "calibrated", "input resistance of the order of 1 GΩ", 1e-3, 1e3),
        Parameter(
            "horizontal.capacitance",
            20 * leak,
            "pF",
            "derived",
            "van Hateren 2005: τ_h 20 ms, times the leak",
            1e-2,
            1e4,
        ),
        Parameter(
            "horizontal.coupling",
            coupling,
            "nS",
            "derived",
            "surround radius 6.7 × centre (Croner & Kaplan 1995, Table 1), through feedback: "
            "leak (1 + loop gain) (3.35 × centre radius / spacing)²",
            0,
            1e4,
        ),
        Parameter(
            "horizontal.gain", 1.0, "mV/pA", "calibrated", "a saturating light moves the cell by some 25 mV", 1e-3, 100
        ),
        Parameter(
            "horizontal.feedback",
            loop_gain,
            "pA/mV",
            "derived",
            "integrated surround/centre w = .55 (Croner & Kaplan 1995): w / (1 - w) / horizontal.gain",
            0,
            20,
        ),
        Parameter(
            "bipolar.midget_centre_radius",
            where.centre_radius,
            "deg",
            "published",
            f"{where.centre_source}, at 1/e",
            1e-3,
            5,
        ),
        Parameter(
            "bipolar.diffuse_centre_radius",
            where.parasol_radius,
            "deg",
            "published",
            f"{where.parasol_source}, at 1/e",
            1e-3,
            5,
        ),
        Parameter(
            "bipolar.luminance_half",
            8.0,
            "pA",
            "calibrated",
            "experiments 1 and 6, and a shadow: pooled cone signal that halves the gain, that of about 20 cd/m²",
            1e-2,
            1e4,
        ),
        Parameter(
            "bipolar.luminance_time",
            300,
            "ms",
            "calibrated",
            "experiments 4 and 12: the fast phase of adaptation; slower than a flash is long",
            1,
            1e5,
        ),
        Parameter(
            "bipolar.membrane_time", 3, "ms", "calibrated", "experiment 8 (Wohrer & Kornprobst 2009: 10 ms)", 0.5, 200
        ),
        Parameter(
            "bipolar.adaptation_time",
            1500,
            "ms",
            "calibrated",
            "a stabilised image fades within seconds (Riggs 1953)",
            10,
            1e5,
        ),
        Parameter("bipolar.on_gain", 5.8, "mV/pA", "calibrated", "sets the unit of the graded response", 1e-3, 1e3),
        Parameter("bipolar.off_gain", 5.8, "mV/pA", "calibrated", "sets the unit of the graded response", 1e-3, 1e3),
        Parameter(
            "bipolar.on_saturation",
            600,
            "pA",
            "calibrated",
            "experiment 4: input that halves the ON gain; a tenfold step of light must not reach it",
            0.1,
            1e6,
        ),
        Parameter(
            "bipolar.off_saturation",
            55,
            "pA",
            "calibrated",
            "experiment 12: input that halves the OFF gain; no more light can be taken away than there is",
            0.1,
            1e6,
        ),
        Parameter(
            "amacrine.surround_weight", 0.5, "1", "calibrated", "experiment 11: parasol cells and large gratings", 0, 1
        ),
        Parameter(
            "amacrine.surround_space_constant",
            4.8 * where.parasol_radius / 2,
            "deg",
            "derived",
            "surround radius 4.8 × centre (Croner & Kaplan 1995, Table 1: M cells), as for horizontal cells",
            1e-3,
            10,
        ),
        Parameter("amacrine.surround_time", 20, "ms", "calibrated", "no slower than horizontal cells", 1, 500),
        Parameter(
            "amacrine.contrast_space_constant",
            0.2 / sqrt(2),
            "deg",
            "derived",
            "Wohrer & Kornprobst 2009: σ_A .2° (primate); a coupled layer of the same second moment",
            1e-3,
            10,
        ),
        Parameter("amacrine.contrast_time", 15, "ms", "published", "Benardete & Kaplan 1999: 15 ms (Victor)", 1, 500),
        Parameter("ganglion.midget_on_maintained", 36, "Hz", "published", "macaqueretina, median", 0, 200),
        Parameter("ganglion.midget_off_maintained", 25, "Hz", "published", "macaqueretina, median", 0, 200),
        Parameter("ganglion.parasol_on_maintained", 37, "Hz", "published", "macaqueretina, median", 0, 200),
        Parameter("ganglion.parasol_off_maintained", 30, "Hz", "published", "macaqueretina, median", 0, 200),
        Parameter(
            "ganglion.midget_gain",
            12.0,
            "Hz/mV",
            "calibrated",
            "an 11.4 % spot at 100 cd/m² adds about 10 Hz (macaqueretina's threshold rate)",
            1e-3,
            1e3,
        ),
        Parameter(
            "ganglion.parasol_gain",
            165,
            "Hz/mV",
            "calibrated",
            "experiment 10: some six times the midget's gain",
            1e-3,
            1e4,
        ),
        Parameter(
            "ganglion.midget_transience",
            0.86,
            "1",
            "calibrated",
            "experiment 8 (Benardete & Kaplan 1997: HS .69, .75)",
            0,
            1,
        ),
        Parameter(
            "ganglion.midget_transience_time",
            20,
            "ms",
            "calibrated",
            "experiment 8 (Benardete 1997: T_S 29, 36 ms)",
            1,
            1000,
        ),
        Parameter("ganglion.parasol_transience", 0.98, "1", "published", "Benardete 1999: HS 1.0 and .97", 0, 1),
        Parameter(
            "ganglion.parasol_transience_time",
            32,
            "ms",
            "calibrated",
            "experiments 8, 10 and a shadow (Benardete 1999: T_0 37, 58 ms)",
            1,
            1000,
        ),
        Parameter(
            "ganglion.integration_time",
            1.5,
            "ms",
            "calibrated",
            "experiments 8 and 15: parasol cells at low contrast; they lead midget cells",
            0.5,
            500,
        ),
        Parameter(
            "ganglion.contrast_half",
            16.5,
            "mV",
            "calibrated",
            "experiment 10: pooled response of diffuse bipolar cells that halves a parasol cell's gain",
            1e-3,
            1e4,
        ),
        Parameter(
            "ganglion.membrane_time", 3, "ms", "calibrated", "experiment 8; they follow flicker to 60 Hz", 0.5, 200
        ),
        Parameter("lgn.transfer", 0.5, "1", "published", "transfer ratio .3 to .7 (physiology of the relay)", 0, 1),
        Parameter(
            "lgn.midget_suppression_space_constant",
            3 * where.centre_radius,
            "deg",
            "calibrated",
            "experiments 10 and 11, from 2 to 3 × the centre (Bonin 2005)",
            1e-3,
            10,
        ),
        Parameter(
            "lgn.parasol_suppression_space_constant",
            2.5 * where.parasol_radius / sqrt(2),
            "deg",
            "derived",
            "Bonin 2005: the suppressive field is 2 to 3 × the centre",
            1e-3,
            10,
        ),
        Parameter(
            "lgn.suppression_time", 20, "ms", "calibrated", "experiment 15: after the response has begun", 1, 500
        ),
        Parameter(
            "lgn.midget_suppression_half",
            90,
            "Hz",
            "calibrated",
            "experiment 11: local contrast that halves",
            1e-1,
            1e4,
        ),
        Parameter(
            "lgn.parasol_suppression_half",
            120,
            "Hz",
            "calibrated",
            "experiment 11: local contrast that halves",
            1e-1,
            1e4,
        ),
        Parameter(
            "lgn.membrane_time", 4, "ms", "calibrated", "experiment 8 (mozaik LSV1M, cat: relay τ_m 10 ms)", 0.5, 200
        ),
        Parameter(
            "v1.kinds", 64, "1", "calibrated", "kinds of cells, each a simple and a complex one a column", 1, 512
        ),
        Parameter("v1.draw", 0, "1", "calibrated", "seed of the draw of kinds", 0, 2**31),
        Parameter(
            "v1.widest_field",
            where.widest_field,
            "deg",
            "calibrated",
            "fields that reach farther from their middle are drawn again",
            0.05,
            20,
        ),
        Parameter(
            "v1.highest_frequency",
            where.highest_frequency,
            "c/deg",
            "calibrated",
            "cells that prefer more are drawn again: three pixels a cycle, where a centre's radius is .8 pixels",
            0.1,
            60,
        ),
        Parameter(
            "v1.afferents_per_cycle",
            4.7,
            "1",
            "calibrated",
            "some 40 relay cells converge on a simple cell (mozaik: 55 synapses)",
            2.5,
            20,
        ),
        Parameter(
            "v1.parasol_kinds",
            0.5,
            "1",
            "calibrated",
            "experiment 24: of the kinds whose frequency parasol cells pass, those that listen to them",
            0,
            1,
        ),
        Parameter(
            "v1.parasol_highest_frequency",
            sqrt(log(2)) / (pi * where.parasol_radius),
            "c/deg",
            "derived",
            "a parasol centre's Gaussian (Croner & Kaplan 1995) leaves half of this frequency's contrast",
            0.1,
            60,
        ),
        Parameter(
            "v1.parasol_gain",
            0.4,
            "1",
            "calibrated",
            "experiment 15; weight against a midget's: their gain is about 6 ×, but they saturate and run down",
            0,
            10,
        ),
        Parameter("v1.recovery_time", 500, "ms", "published", "mozaik LSV1M (cat): τ_rec of thalamic synapses", 1, 1e4),
        Parameter(
            "v1.midget_release",
            0.02,
            "1",
            "calibrated",
            "experiment 20: little, for contrast to tell (mozaik: .75 at a lower resting rate)",
            0,
            1,
        ),
        Parameter(
            "v1.parasol_release",
            0.4,
            "1",
            "calibrated",
            "experiment 24: makes these cells band-pass (mozaik: .75)",
            0,
            1,
        ),
        Parameter(
            "v1.conduction_time",
            3,
            "ms",
            "calibrated",
            "experiment 15: axons from the relay and their synapses",
            0.1,
            100,
        ),
        Parameter(
            "v1.synaptic_time", 7, "ms", "published", "mozaik LSV1M (cat): τ_E of layer 4 excitatory cells", 0.5, 200
        ),
        Parameter(
            "v1.inhibition", 0.75, "1", "calibrated", "experiment 16: push-pull, a little weaker than the push", 0, 10
        ),
        Parameter("v1.inhibitory_time", 7, "ms", "published", "mozaik LSV1M (cat): layer 4 inhibitory τ_m", 0.5, 200),
        Parameter(
            "v1.maximum_rate",
            90,
            "Hz",
            "calibrated",
            "scale of evoked rates; the median maximum is of the order of 33.8 Hz (Marques)",
            1,
            1000,
        ),
        Parameter(
            "v1.semisaturation",
            8,
            "Hz",
            "calibrated",
            "experiment 20: drive that evokes the maximum rate where no pool divides",
            0.1,
            1000,
        ),
        Parameter(
            "v1.exponent",
            2.6,
            "1",
            "calibrated",
            "experiments 16 and 20; power laws of 2 to 5 (Priebe & Ferster 2008)",
            1,
            8,
        ),
        Parameter(
            "v1.normalisation_weight",
            3.0,
            "1",
            "calibrated",
            "experiment 20: the pool against the cell's own drive",
            0,
            100,
        ),
        Parameter(
            "v1.normalisation_space_constant", 0.2, "deg", "calibrated", "of the order of a receptive field", 1e-3, 10
        ),
        Parameter(
            "v1.surround_space_constant",
            0.65,
            "deg",
            "derived",
            "surround diameter 2.6° (Cavanaugh 2002): 4 space constants",
            1e-3,
            10,
        ),
        Parameter("v1.surround_time", 20, "ms", "calibrated", "surround suppression lags by some 20 ms", 1, 500),
        Parameter(
            "v1.surround_half",
            12,
            "Hz",
            "calibrated",
            "pooled rate that halves; set beforehand for a suppression index of the order of .33 (Cavanaugh 2002)",
            0.01,
            1e4,
        ),
        Parameter(
            "v1.surround_tuning", 0.5, "1", "calibrated", "share that comes from cells of the like orientation", 0, 1
        ),
        Parameter(
            "v1.complex_gain", 2.0, "1", "calibrated", "complex cells respond as strongly as simple cells", 0, 100
        ),
        Parameter("v1.spontaneous", 0.82, "Hz", "published", "Marques 2020 data (Ringach 2002), median", 0, 50),
        Parameter("v1.membrane_time", 17, "ms", "published", "mozaik LSV1M (cat): layer 4 excitatory τ_m", 0.5, 200),
    )


_VIRTUAL_RETINA = "Virtual Retina's noisy integrate-and-fire cell (cat)"
_MOZAIK = "mozaik LSV1M (cat, where macaque values are not to be had)"
_SMITH = "Smith 2000 (cat slices), integrate-and-fire-or-burst"

#: What cells that fire spikes have beside the constants of the rate form.
_SPIKING = (
    Parameter("ganglion.leak_time", 20, "ms", "published", f"{_VIRTUAL_RETINA}: g_L 50 Hz", 1, 1000),
    Parameter(
        "ganglion.refractory_time",
        1,
        "ms",
        "calibrated",
        "experiment 8: the rate form's parasol cells come to 800 Hz, which 3 ± 1 ms (Virtual Retina, cat) holds at a third",
        0,
        20,
    ),
    Parameter(
        "ganglion.noise",
        0.35,
        "1",
        "calibrated",
        "experiments 2 and 13, and a rate that follows its drive down to 10 Hz; in thresholds (Virtual Retina, cat: .1)",
        0,
        5,
    ),
    Parameter(
        "ganglion.bias", 0.5, "1", "derived", "what a leaky integrator needs beside the rate times its leak time", 0, 2
    ),
    Parameter("lgn.leak_time", 10, "ms", "published", f"{_MOZAIK}: relay τ_m", 1, 1000),
    Parameter("lgn.threshold", -57, "mV", "published", f"{_MOZAIK}: relay V_th", -100, 0),
    Parameter("lgn.reset", -70, "mV", "published", f"{_MOZAIK}: the relay's rest", -120, 0),
    Parameter("lgn.refractory_time", 2, "ms", "published", f"{_MOZAIK}: relay", 0, 20),
    Parameter(
        "lgn.excitatory_time",
        4.5,
        "ms",
        "calibrated",
        "experiment 24: relay cells lose fast gratings, as the rate form's; of AMPA and NMDA receptors (mozaik: 1.5)",
        0.1,
        200,
    ),
    Parameter("lgn.excitatory_reversal", 0, "mV", "published", "of AMPA receptors", -50, 50),
    Parameter(
        "lgn.rest",
        -66,
        "mV",
        "calibrated",
        "transfer of .5 whatever the rate; -70 in the dark (mozaik), raised by the cortex",
        -100,
        0,
    ),
    Parameter(
        "lgn.noise", 3, "mV", "calibrated", "experiment 13, and a transfer that does not depend on the rate", 0, 50
    ),
    Parameter(
        "lgn.afferent_strength",
        1.87,
        "ms",
        "calibrated",
        "transfer of .5: conductance over the leak's that one retinal spike opens, times its time; an EPSP of 6 mV",
        0,
        100,
    ),
    Parameter(
        "lgn.tonic_efficacy",
        1.3,
        "1",
        "calibrated",
        "relay cells keep their maintained rate whatever the suppression: an even conductance excites less than pulses",
        0,
        10,
    ),
    Parameter(
        "lgn.interneuron_time",
        4,
        "ms",
        "calibrated",
        "experiment 8: the suppressive field hears fast gratings too; retinal spikes in interneurons' dendrites",
        0.5,
        500,
    ),
    Parameter(
        "lgn.interneuron_irregularity",
        1.15,
        "1",
        "calibrated",
        "no suppression before a still field: what is taken off, over the variance that Poisson trains would have",
        0,
        5,
    ),
    Parameter(
        "lgn.burst_conductance",
        0,
        "1",
        "calibrated",
        f"0, for an awake animal's relay; {_SMITH}: 2 leaks, with a reset above V_h, bring bursts",
        0,
        100,
    ),
    Parameter("lgn.burst_threshold", -60, "mV", "published", f"{_SMITH}: V_h", -100, 0),
    Parameter("lgn.burst_reversal", 120, "mV", "published", f"{_SMITH}: V_T", 0, 200),
    Parameter("lgn.burst_recovery_time", 100, "ms", "published", f"{_SMITH}: τ_h⁺", 1, 1e4),
    Parameter("lgn.burst_decay_time", 20, "ms", "published", f"{_SMITH}: τ_h⁻", 1, 1e4),
    Parameter("v1.spike_threshold", -53, "mV", "published", f"{_MOZAIK}: layer 4 excitatory, V_T", -100, 0),
    Parameter("v1.spike_reset", -55, "mV", "published", f"{_MOZAIK}: layer 4 excitatory", -120, 0),
    Parameter("v1.spike_cut", -40, "mV", "calibrated", "where a spike is under way for certain", -60, 50),
    Parameter("v1.sharpness", 0.8, "mV", "published", f"{_MOZAIK}: layer 4 excitatory, Δ_T", 0.01, 10),
    Parameter("v1.refractory_time", 2, "ms", "calibrated", "of the order of a spike", 0, 20),
    Parameter("v1.excitatory_reversal", 0, "mV", "published", "of AMPA receptors", -50, 50),
    Parameter("v1.inhibitory_reversal", -80, "mV", "published", f"{_MOZAIK}: E_I", -120, 0),
    Parameter("v1.adaptation_time", 88, "ms", "published", f"{_MOZAIK}: τ_w", 1, 1e4),
    Parameter(
        "v1.adaptation_jump",
        2,
        "mV",
        "calibrated",
        "rates of the rate form (mozaik: .08 nA over a leak of 3.5 nS, 23 mV, and stronger synapses)",
        0,
        100,
    ),
    Parameter(
        "v1.complex_adaptation_jump",
        4,
        "mV",
        "calibrated",
        "complex cells fire in proportion to simple cells (Ermentrout 1998); more makes their counts too regular (experiment 13)",
        0,
        100,
    ),
    Parameter(
        "v1.background_noise",
        4,
        "mV",
        "calibrated",
        "experiment 13; what the rest of the cortex does to a membrane",
        0.1,
        50,
    ),
    Parameter("v1.background_time", 80, "ms", "calibrated", "experiment 13", 1, 1000),
    Parameter(
        "v1.rest_margin",
        1.55,
        "1",
        "calibrated",
        "experiment 14: standard deviations of a membrane's noise between its rest and its threshold",
        0,
        10,
    ),
    Parameter(
        "v1.dendritic_time",
        22,
        "ms",
        "calibrated",
        "rates that last as the rate form's, which is slow after its power",
        0.5,
        200,
    ),
    Parameter(
        "v1.relay_irregularity",
        0.45,
        "1",
        "calibrated",
        "variance of what relay cells fire in a long while over that of Poisson trains: their Fano factor",
        0,
        5,
    ),
    Parameter(
        "v1.excitatory_strength",
        90,
        "ms",
        "calibrated",
        "rates of the rate form: conductance in leaks for each Hz of what the relay transmits, before homeostasis scales it",
        0,
        1000,
    ),
    Parameter(
        "v1.midget_set_point",
        360,
        "ms",
        "calibrated",
        "rates of the rate form: standard deviations of noise that a Hz moves simple cells by which hear midget cells, as "
        "homeostasis would have it",
        1,
        1e5,
    ),
    Parameter("v1.parasol_set_point", 460, "ms", "calibrated", "the same where parasol cells are heard", 1, 1e5),
    Parameter(
        "v1.inhibition_strength",
        25,
        "ms",
        "calibrated",
        "push-pull as strong as the rate form's: conductance in leaks for each Hz of the partner's, before homeostasis scales it",
        0,
        1000,
    ),
    Parameter(
        "v1.inhibitory_synaptic_time", 11, "ms", "published", f"{_MOZAIK}: τ_I of layer 4 excitatory cells", 0.5, 200
    ),
    Parameter("v1.inhibitory_refractory_time", 0.5, "ms", "published", f"{_MOZAIK}: layer 4 inhibitory", 0, 20),
    Parameter("v1.inhibitory_bias", 0.4, "1", "calibrated", "some spikes a second at rest; in thresholds", -5, 2),
    Parameter(
        "v1.inhibitory_spontaneous",
        8.5,
        "Hz",
        "calibrated",
        "what inhibitory cells fire before a still field, which is to divide nothing",
        0,
        100,
    ),
    Parameter(
        "v1.inhibitory_strength",
        30,
        "ms",
        "calibrated",
        "inhibitory cells, whose noise is small, tell of what a simple cell answers",
        0,
        1000,
    ),
    Parameter("v1.inhibitory_noise", 0.3, "1", "calibrated", "as ganglion cells; in thresholds", 0, 5),
    Parameter(
        "v1.midget_normalisation_half",
        12,
        "Hz",
        "calibrated",
        "rates of the rate form: rate beyond rest of inhibitory cells nearby that halves what a dendrite hears",
        0.01,
        1e4,
    ),
    Parameter(
        "v1.parasol_normalisation_half",
        6,
        "Hz",
        "calibrated",
        "the same where parasol cells are heard, whose transients are strong",
        0.01,
        1e4,
    ),
    Parameter(
        "v1.complex_strength",
        0.2,
        "1",
        "calibrated",
        "complex cells respond as strongly as simple cells: a spike of theirs over a relay cell's before homeostasis scales it",
        0,
        100,
    ),
)


class Parameters(Mapping[str, Parameter]):
    """A preset's parameters by name, with overrides: immutable, hashable into a short digest.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    overrides : mapping of str to float or brian2.Quantity, optional
        New values; plain numbers are in the documented unit.
    fidelity : str
        One of `FIDELITIES`: a spiking pathway has constants beside those of the rate form.

    Raises
    ------
    InputError
        For an unknown preset, fidelity or name, a quantity of the wrong unit, a value outside the accepted range.
    """

    def __init__(self, preset: str, overrides: Mapping[str, object] | None = None, fidelity: str = "rate") -> None:
        for given, accepted, what in ((preset, PRESETS, "preset"), (fidelity, FIDELITIES, "fidelity")):
            if given not in accepted:
                raise InputError(f"unknown {what} {given!r}: accepted are {', '.join(accepted)}")
        self.preset = preset
        self.fidelity = fidelity
        constants = _preset(_ECCENTRICITIES[preset]) + (_SPIKING if fidelity == "spiking" else ())
        self._all = {p.name: p for p in constants}
        for name, value in (overrides or {}).items():
            if name not in self._all:
                raise InputError(f"unknown parameter {name!r}: accepted are {', '.join(self._all)}")
            known = self._all[name]
            number = as_number(value, known.unit, name)
            if not known.low <= number <= known.high:
                raise InputError(
                    f"{name} = {number:g} {known.unit} is out of range: accepted is {known.low:g} to {known.high:g}"
                )
            self._all[name] = replace(known, value=number)

    def __getitem__(self, name: str) -> Parameter:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def value(self, name: str) -> float:
        """The plain number of one parameter, in its documented unit."""
        return self._all[name].value

    def quantities(self, station: str) -> dict[str, Quantity | float]:
        """One station's parameters as Brian2 quantities, the station's name taken off: a namespace."""
        start = station + "."
        return {n.removeprefix(start): p.quantity for n, p in self._all.items() if n.startswith(start)}

    def values_by_name(self) -> dict[str, float]:
        """Every plain number by name, in the documented units."""
        return {name: p.value for name, p in self._all.items()}

    @property
    def digest(self) -> str:
        """SHA-256 over names, values and units: the same for the same physiology."""
        listing = json.dumps({n: [float(p.value), p.unit] for n, p in self._all.items()}, sort_keys=True)
        return hashlib.sha256(listing.encode()).hexdigest()

    def __repr__(self) -> str:
        lines = [f"{p.name:32} {p.value:>10.5g} {p.unit:6} {p.origin:10} {p.source}" for p in self._all.values()]
        return f"{self.preset}\n" + "\n".join(lines)


def table(fidelity: str = "rate") -> str:
    """Every parameter of every preset in Markdown: value, unit, origin and source.

    What differs between presets has a line each. At spiking fidelity, what stands there beside the rate form's.
    """
    lines = ["| parameter | value | unit | origin | source |", "|---|---|---|---|---|"]
    presets = {name: Parameters(name, fidelity=fidelity) for name in PRESETS}
    usual_names = set(Parameters(PRESETS[0])) if fidelity == "spiking" else set()
    for name, usual in presets[PRESETS[0]].items():
        if name in usual_names:
            continue
        for preset, parameters in presets.items():
            one = parameters[name]
            if preset == PRESETS[0] or (one.value, one.source) != (usual.value, usual.source):
                label = f"`{name}`" if preset == PRESETS[0] else f"… in {preset}"
                lines.append(f"| {label} | {one.value:.4g} | {one.unit} | {one.origin} | {one.source} |")
    return "\n".join(lines) + "\n"
