r"""The retina at rate fidelity: cones, horizontal, bipolar, amacrine and ganglion cells, midget and parasol.

Equations (`biomodel.parameters` has every constant with its source)

**Cone** (Clark 2013, Angueyra 2022). A luminance L falls through a pupil of area A and isomerises :math:`R = k A L` pigment
molecules a second. A is constant during a presentation: that for the mean of the scene adapted to (`biomodel.pupil`), or
`cone.pupil_area` where `cone.pupil_reflex` is 0. With five first-order stages y₁…y₅ of time constant τ_y, two, z₁ and z₂,
of τ_z, and one, z_s, of seconds, the suppressed photocurrent r (pA, positive for light) and the synaptic signal v follow

.. math::
    \tau_r \dot r = \alpha y_5 - (1 + \beta z)\, r, \quad z = \gamma y_5 + (1 - \gamma - \sigma) z_2 + \sigma z_s, \quad
    \tau_m \dot v = r - k_f h - v .

**Horizontal cell**: a syncytium, each cell coupled by gap junctions to its neighbours j,

.. math::
    C \dot h = g_L (k_h v - h) + \sum_j g_j (h_j - h) .

In a sheet of conductance g per cell spacing s the space constant is λ = s √(g/g_L) on every lattice. The feedback gives bipolar
cells a surround of weight w = k/(1+k) and space constant λ/√(1+k), with the loop gain k = k_f k_h.

**Bipolar cells**, midget and diffuse, pool v over a Gaussian centre to d and adapt: they subtract its slow average a. Diffuse ON
cells have wider centres than diffuse OFF cells (Chichilnisky & Kalmar 2002). A luminance gain control divides by q, the cone
signal that the horizontal layer has pooled. It is driven by the compressed signal of the cones rather than by luminance:
otherwise the slopes of the two gain controls would add up to -2.

.. math::
    \tau_q \dot q = h / k_h - q, \quad \tau_a \dot a = d - a, \quad x = (d - a) / (1 + q / q_{half}), \quad
    \tau_b \dot b = \pm g\, x / (1 + [\pm x]_+ / x_{sat}) - b .

**Amacrine cells**: a wide coupled layer pools the diffuse cells' centre signal, the mean of ON and OFF centres, to p and
subtracts the share w of it (d becomes d - w p). A narrower layer pools the diffuse cells' rectified responses to c, the contrast
that adapts parasol cells. A layer of wide cells, one for every `REMOTE_STRIDE` pixels, pools c to c_r, the contrast far around a
place: remote gratings halve the responses of parasol cells, and leave midget cells alone (Solomon, Lee & Sun 2006).

**Ganglion cells** subtract the share w of the sustained part u of their input i. In parasol cells contrast shortens
the time constant of the high-pass filter, so that low frequencies lose gain and advance in phase while high ones keep it (Victor
1987; Benardete & Kaplan 1999, T_S = T_0 / (1 + (c + w_r c_r) / c_half)), and the contrast k of the last seconds divides the gain
(Solomon, Peirce, Dhruv & Lennie 2004); midget cells have neither, c = c_r = k = 0,

.. math::
    \tau_k \dot k = c - k, \quad \tau_i \dot i = b / (1 + k / k_{half}) - i, \quad
    \tau_u \dot u = (1 + (c + w_r c_r) / c_{half})\, (i - u), \quad e = \mathrm{gain} \cdot (i - w u) .

The excitation e changes the rate f at which a cell would fire without refractoriness. A cell that recovers for a time ρ after
each spike fires at g (mean of a renewal process with a dead time; Uzzell & Chichilnisky 2004 for parasol cells): m at e = 0, with
the slope 1, and less than 1/ρ,

.. math::
    f = \left[ \frac{m}{1 - \rho m} + \frac{e}{(1 - \rho m)^2} \right]_+, \quad \tau_g \dot g = \frac{f}{1 + \rho f} - g .

**Settled state**: saccades carry a cell over the whole scene, so that k is the mean of c over the scene when each place is looked
at after the scene's mean (`settled_contrast`). In an even field k is 0.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from brian2 import NeuronGroup, Quantity, TimedArray, linked_var, ms, second

from biomodel.adaptation import Fields
from biomodel.circuit.coupled_layer import (
    Coupling,
    Layer,
    MakeLayer,
    coupled_layer,
    coupling,
    solve_coupled_layer,
    stability_limit,
)
from biomodel.circuit.lattice import Links, centre_weights, pool, stencil
from biomodel.circuit.station import Readout, Setting, State
from biomodel.parameters import Parameters
from biomodel.pupil import pupil_area
from biomodel.utils.units import UNITS

#: From light to transduction: linear, and therefore integrated exactly at every step.
CASCADE_EQUATIONS = """
pupil_area : meter**2 (constant)
isomerisation : Hz
dy1/dt = (isomerisation - y1)/cascade_time : Hz
dy2/dt = (y1 - y2)/cascade_time : Hz
dy3/dt = (y2 - y3)/cascade_time : Hz
dy4/dt = (y3 - y4)/cascade_time : Hz
dy5/dt = (y4 - y5)/cascade_time : Hz
"""

CONE_EQUATIONS = """
y5 : Hz (linked)
dphotocurrent/dt = (gain*y5 - (1 + desensitisation*z)*photocurrent)/response_time : amp
dsignal/dt = (photocurrent - feedback*horizontal_potential - signal)/membrane_time : amp
horizontal_potential : volt (linked)
midget_row : amp
diffuse_on_row : amp
diffuse_off_row : amp
"""

#: {shown} is 1 from the onset on: states that have fields of their own are held before it.
ADAPTING_CONE = """
isomerisation : Hz (linked)
dz1/dt = {shown}(isomerisation - z1)/adaptation_time : Hz
dz2/dt = {shown}(z1 - z2)/adaptation_time : Hz
dz_slow/dt = {shown}(isomerisation - z_slow)/slow_adaptation_time : Hz
z = fast_adaptation_share*y5 + (1 - fast_adaptation_share - slow_adaptation_share)*z2 + slow_adaptation_share*z_slow : Hz
"""

UNADAPTING_CONE = """
z = isomerisation_rate*pupil_area*reference_luminance : Hz
"""

HORIZONTAL_EQUATIONS = """
dpotential/dt = (leak*(gain*drive - potential) + {currents})/capacitance : volt
drive : amp (linked)
previous : volt
steady_potential : volt (constant)
"""

#: Midget and diffuse bipolar cells.
BIPOLAR_EQUATIONS = """
dluminance_level/dt = {shown}(horizontal_potential/horizontal_gain - luminance_level)/luminance_time : amp
dmidget_adaptation/dt = (midget_pooled - midget_adaptation)/adaptation_time : amp
ddiffuse_on_adaptation/dt = (diffuse_on_pooled - diffuse_on_adaptation)/adaptation_time : amp
ddiffuse_off_adaptation/dt = (diffuse_off_pooled - diffuse_off_adaptation)/adaptation_time : amp
dmidget_on/dt = (midget_on_drive - midget_on)/membrane_time : volt
dmidget_off/dt = (midget_off_drive - midget_off)/membrane_time : volt
ddiffuse_on/dt = (diffuse_on_drive - diffuse_on)/membrane_time : volt
ddiffuse_off/dt = (diffuse_off_drive - diffuse_off)/membrane_time : volt
horizontal_potential : volt (linked)
surround : amp (linked)
diffuse_centre : amp
midget_pooled : amp
diffuse_on_pooled : amp
diffuse_off_pooled : amp
midget_on_drive : volt
midget_off_drive : volt
diffuse_on_drive : volt
diffuse_off_drive : volt
contrast : volt
"""

BIPOLAR_DRIVE = """
luminance_gain = 1/(1 + {level}/luminance_half)
midget_pooled = {midget}
diffuse_on_pooled = {diffuse_on}
diffuse_off_pooled = {diffuse_off}
diffuse_centre = 0.5*(diffuse_on_pooled + diffuse_off_pooled)
diffuse_on_pooled = diffuse_on_pooled - surround_weight*surround
diffuse_off_pooled = diffuse_off_pooled - surround_weight*surround
midget_change = luminance_gain*(midget_pooled - midget_adaptation)
diffuse_on_change = luminance_gain*(diffuse_on_pooled - diffuse_on_adaptation)
diffuse_off_change = luminance_gain*(diffuse_off_pooled - diffuse_off_adaptation)
midget_on_drive = on_gain*midget_change/(1 + midget_change*int(midget_change > 0*amp)/on_saturation)
midget_off_drive = -off_gain*midget_change/(1 - midget_change*int(midget_change < 0*amp)/off_saturation)
diffuse_on_drive = on_gain*diffuse_on_change/(1 + diffuse_on_change*int(diffuse_on_change > 0*amp)/on_saturation)
diffuse_off_drive = -off_gain*diffuse_off_change/(1 - diffuse_off_change*int(diffuse_off_change < 0*amp)/off_saturation)
contrast = diffuse_on*int(diffuse_on > 0*volt) + diffuse_off*int(diffuse_off > 0*volt)
"""

#: Excitation of one midget channel, and of one parasol channel, at either fidelity.
MIDGET_EQUATIONS = """
d{channel}_input/dt = (bipolar_{channel} - {channel}_input)/midget_integration_time : volt
d{channel}_lasting/dt = ({channel}_input - {channel}_lasting)/midget_transience_time : volt
{channel}_excitation = midget_gain*({channel}_input - midget_transience*{channel}_lasting) : Hz
bipolar_{channel} : volt (linked)
"""

PARASOL_EQUATIONS = """
d{channel}_input/dt = (bipolar_{channel}/(1 + {adapted}/adaptation_half) - {channel}_input)/{channel}_integration_time : volt
d{channel}_lasting/dt = (1 + {contrast}/contrast_half)*({channel}_input - {channel}_lasting)/{channel}_transience_time : volt
{channel}_excitation = parasol_gain*({channel}_input - parasol_transience*{channel}_lasting) : Hz
bipolar_{channel} : volt (linked)
"""

#: Contrast of the last seconds, one for the parasol cells at a place.
ADAPTATION_EQUATIONS = """
dadapted/dt = (contrast - adapted)/adaptation_time : volt
"""

#: Excitation changes the rate without refractoriness, `{channel}_free`.
FREE_RATE = """
{channel}_spared = 1 - {recovery}*{channel}_maintained : 1
{channel}_free = ({channel}_maintained + {channel}_excitation/{channel}_spared)/{channel}_spared : Hz
"""

RATE_EQUATIONS = """
{channel}_driven = {channel}_free*int({channel}_free > 0*Hz) : Hz
d{channel}/dt = ({channel}_driven/(1 + {recovery}*{channel}_driven) - {channel})/membrane_time : Hz
"""

CONE_READOUT = Readout("pA", {"cone": "photocurrent"})
HORIZONTAL_READOUT = Readout("mV", {"horizontal": "potential"})
BIPOLAR_CHANNELS = ("midget_on", "midget_off", "diffuse_on", "diffuse_off")
GANGLION_CHANNELS = ("midget_on", "midget_off", "parasol_on", "parasol_off")
BIPOLAR_READOUT = Readout("mV", {channel: channel for channel in BIPOLAR_CHANNELS})
GANGLION_READOUT = Readout("Hz", {channel: channel for channel in GANGLION_CHANNELS})

#: Pixels along a side of the square for which there is one cell that pools remote contrast.
REMOTE_STRIDE = 4

#: Steps of the retina per step of the amacrine cells.
AMACRINE_CLOCK = 2

#: Mean of the contrast signal over a fixation of .3 s that follows the scene's mean, over its steady value in `settled_contrast`:
#: it takes some 50 ms to rise. Median of simulated fixations on photographs, from .69 to .92 (tests/test_ganglion_cells.py).
FIXATION_SHARE = 0.73

#: Root mean squared departure of ganglion cells' rates over such a fixation, by class, as the share of their steady input that
#: would evoke it without transience. Fitted to simulated fixations on photographs (tests/test_ganglion_cells.py).
TRANSIENT_SHARE = {"midget": 0.158, "parasol": 0.155}


def cascade(setting: Setting, movie: TimedArray, movie_step: Quantity, lead: Quantity) -> NeuronGroup:
    """The cones' linear stages, one set per pixel.

    Parameters
    ----------
    setting : Setting
    movie : brian2.TimedArray, (frame, cell)
        Luminance, which drives the cones.
    movie_step : brian2.Quantity
        Interval at which the movie is read: longer than `dt` where frames last longer.
    lead : brian2.Quantity
        Time before the movie, in which each cell sees its constant field `before`, through the same pupil.
    """
    parameters, _, grid, dt = setting
    leading = lead > 0 * second
    # The area of the pupil is a variable of the group: that for the field adapted to.
    constants = {name: value for name, value in parameters.quantities("cone").items() if name != "pupil_area"}
    group = NeuronGroup(
        grid.cells,
        CASCADE_EQUATIONS + ("before : candle/meter**2\n" if leading else ""),
        method="exact",
        dt=dt,
        # After the cones, so that they read values as old as their own: half a step more lags nowhere.
        order=1,
        name="cascade",
        namespace={**constants, "movie": movie},
    )
    light = "isomerisation = isomerisation_rate*pupil_area*movie(t, i)"
    if leading:
        started = _from_onset(lead, dt)
        shown = f"({started}(movie(t - {float(lead / ms)!r}*ms, i) - before) + before)"
        light = f"isomerisation = isomerisation_rate*pupil_area*{shown}"
    group.run_regularly(light, dt=movie_step, when="start", name="cascade_light")
    return group


def cone(setting: Setting, cascades: NeuronGroup, lead: Quantity = 0 * second) -> NeuronGroup:
    """Cones, one per pixel, driven by their linear stages `cascades`; response: suppressed photocurrent in pA.

    The cone group also pools its own signal along each row, the first half of the bipolar cells' separable centres. Until the
    end of `lead`, the time before the movie, adaptation is held.
    """
    parameters, lesions, grid, dt = setting
    centres = bipolar_centres(parameters, grid.pixels_per_degree)
    rows = {name: stencil("signal", weights, "row") for name, weights in centres.items()}
    links = Links("amp", [(variable, offset) for terms in rows.values() for _, variable, offset in terms])
    group = NeuronGroup(
        grid.cells,
        CONE_EQUATIONS
        + (UNADAPTING_CONE if "cone_adaptation" in lesions else ADAPTING_CONE.format(shown=_from_onset(lead, dt)))
        + links.equations,
        method="exponential_euler",
        dt=dt,
        order=0,
        name="cone",
        namespace={
            **parameters.quantities("cone"),
            "feedback": parameters["horizontal.feedback"].quantity,
        },
    )
    links.link(group, group, grid.neighbour)
    for variable in ("y5",) if "cone_adaptation" in lesions else ("y5", "isomerisation"):
        setattr(group, variable, linked_var(cascades, variable))
    pools = "\n".join(f"{name}_row = {links.weighted_sum(terms)}" for name, terms in rows.items())
    group.run_regularly(pools, dt=dt, when="groups", order=1, name="cone_row_pool")
    return group


def _from_onset(lead: Quantity, dt: Quantity) -> str:
    """Factor, with its sign of multiplication, that is 0 before the end of `lead` and 1 after it; none without a lead."""
    # Half a step keeps the edge clear of rounding.
    return f"int(t > {float((lead - dt / 2) / ms)!r}*ms)*" if lead > 0 * second else ""


def bipolar_centres(parameters: Parameters, pixels_per_degree: float) -> dict[str, np.ndarray]:
    """One side of the separable centres of midget, diffuse ON and diffuse OFF bipolar cells, in cells of the lattice."""
    midget, diffuse = (parameters.value(f"bipolar.{name}_centre_radius") for name in ("midget", "diffuse"))
    half = np.sqrt(parameters.value("bipolar.diffuse_on_over_off"))
    radii = {"midget": midget, "diffuse_on": diffuse * half, "diffuse_off": diffuse / half}
    return {name: centre_weights(radius, pixels_per_degree) for name, radius in radii.items()}


def horizontal(setting: Setting, cones: NeuronGroup) -> NeuronGroup:
    """Horizontal cells, one per pixel, coupled to their neighbours; response: potential in mV, positive for light.

    `cones` drive the cells and receive their feedback.
    """
    parameters, lesions, grid, dt = setting
    layer = horizontal_coupling(parameters, grid.pixels_per_degree, dt)
    junctions = [("previous", offset) for offset in layer.offsets]
    links = Links("volt", junctions)
    neighbours = " + ".join(links.name(*junction) for junction in junctions)
    group = NeuronGroup(
        grid.cells,
        HORIZONTAL_EQUATIONS.format(currents=f"junction*({neighbours} - {len(junctions)}*previous)") + links.equations,
        method="euler",
        dt=dt,
        order=2,
        name="horizontal",
        namespace={
            **parameters.quantities("horizontal"),
            "junction": layer.strength * parameters["horizontal.leak"].quantity,
        },
    )
    links.link(group, group, grid.mirrored)
    # A group that reads its own variable would mix old values with new ones.
    group.run_regularly("previous = potential", dt=dt, when="start", name="horizontal_copy")
    group.drive = linked_var(cones, "signal")
    fed_back = "steady_potential" if "horizontal_feedback" in lesions else "potential"
    cones.horizontal_potential = linked_var(group, fed_back)
    return group


def bipolar(setting: Setting, cones: NeuronGroup, horizontals: NeuronGroup, lead: Quantity = 0 * second) -> NeuronGroup:
    """Midget and diffuse, ON and OFF bipolar cells, one of each per pixel; response: potential relative to rest in mV.

    Parameters
    ----------
    setting : Setting
    cones, horizontals : NeuronGroup
    lead : brian2.Quantity
        Time before the movie, in which the luminance gain is held.
    """
    parameters, lesions, grid, dt = setting
    centres = bipolar_centres(parameters, grid.pixels_per_degree)
    columns = {name: stencil(f"{name}_row", weights, "column") for name, weights in centres.items()}
    links = Links("amp", [(variable, offset) for terms in columns.values() for _, variable, offset in terms])
    group = NeuronGroup(
        grid.cells,
        BIPOLAR_EQUATIONS.format(shown=_from_onset(lead, dt)) + links.equations,
        method="exponential_euler",
        dt=dt,
        order=3,
        name="bipolar",
        namespace={
            **parameters.quantities("bipolar"),
            "horizontal_gain": parameters["horizontal.gain"].quantity,
            "surround_weight": parameters["amacrine.surround_weight"].quantity,
        },
    )
    links.link(group, cones, grid.neighbour)
    group.horizontal_potential = linked_var(horizontals, "potential")
    level = "luminance_level"
    if "luminance_gain" in lesions:
        level = f"{float(_reference_signal(parameters, lesions)[0, 0, 0])!r}*amp"
    # Statements, not subexpressions: the integrator would repeat those wherever they occur.
    drive = BIPOLAR_DRIVE.format(level=level, **{name: links.weighted_sum(terms) for name, terms in columns.items()})
    group.run_regularly(drive, dt=dt, when="groups", order=2, name="bipolar_drive")
    return group


def wide_amacrine(setting: Setting, bipolars: NeuronGroup, make_layer: MakeLayer = coupled_layer) -> NeuronGroup:
    """The amacrine layer that pools the diffuse bipolar cells' centres and is their surround."""
    parameters, _, grid, dt = setting
    dt = AMACRINE_CLOCK * dt
    lattice = wide_amacrine_coupling(parameters, grid.pixels_per_degree, dt)
    layer = Layer("wide_amacrine", "amp", lattice, parameters["amacrine.surround_time"].quantity, dt, order=4)
    group = make_layer(layer, bipolars, "diffuse_centre", grid)
    bipolars.surround = linked_var(group, "pooled")
    return group


def wide_amacrine_coupling(parameters: Parameters, pixels_per_degree: float, dt: Quantity) -> Coupling:
    """The coupling of the wide amacrine layer."""
    space_constant = parameters.value("amacrine.surround_space_constant") * pixels_per_degree
    return coupling(space_constant, stability_limit(parameters["amacrine.surround_time"].quantity, dt, AMACRINE_CLOCK))


def contrast_amacrine(setting: Setting, bipolars: NeuronGroup, make_layer: MakeLayer = coupled_layer) -> NeuronGroup:
    """The amacrine layer that pools contrast, which divides the responses of parasol cells."""
    parameters, _, grid, dt = setting
    dt = AMACRINE_CLOCK * dt
    time = parameters["amacrine.contrast_time"].quantity
    space_constant = parameters.value("amacrine.contrast_space_constant") * grid.pixels_per_degree
    lattice = coupling(space_constant, stability_limit(time, dt, AMACRINE_CLOCK))
    return make_layer(Layer("contrast_amacrine", "volt", lattice, time, dt, order=4), bipolars, "contrast", grid)


def remote_amacrine(setting: Setting, contrast: NeuronGroup) -> NeuronGroup:
    """The layer of wide amacrine cells that pools the contrast far around a place, on a coarse lattice."""
    parameters, _, grid, dt = setting
    dt = AMACRINE_CLOCK * dt
    coarse, middles, _ = grid.coarser(REMOTE_STRIDE)
    time = parameters["amacrine.remote_time"].quantity
    space_constant = parameters.value("amacrine.remote_space_constant") * coarse.pixels_per_degree
    lattice = coupling(space_constant, stability_limit(time, dt, AMACRINE_CLOCK))
    layer = Layer("remote_amacrine", "volt", lattice, time, dt, order=5)
    return coupled_layer(layer, contrast, "pooled", coarse, middles)


def ganglion(
    setting: Setting,
    bipolars: NeuronGroup,
    contrast: NeuronGroup,
    remote: NeuronGroup,
    output: str = RATE_EQUATIONS,
    name: str = "ganglion",
) -> NeuronGroup:
    """Midget and parasol ganglion cells, ON and OFF, one of each per pixel; response: rate in Hz.

    Parameters
    ----------
    setting : Setting
    bipolars, contrast, remote : NeuronGroup
        Bipolar cells and the amacrine layers that pool contrast, near a place and far around it.
    output : str
        Equations of each channel's response to its excitation.
    name : str
        Of the group.
    """
    parameters, lesions, grid, dt = setting
    is_remote = not {"contrast_gain", "remote_suppression"} & {*lesions}
    near = "(contrast + remote_weight*remote)" if is_remote else "contrast"
    terms = {
        "contrast": "0*volt" if "contrast_gain" in lesions else near,
        "adapted": "0*volt" if "contrast_adaptation" in lesions else "adapted",
    }
    adaptation = "" if "contrast_adaptation" in lesions else ADAPTATION_EQUATIONS
    linked = "" if {"contrast_gain", "contrast_adaptation"} <= {*lesions} else "contrast : volt (linked)\n"
    cells = {"midget": MIDGET_EQUATIONS, "parasol": PARASOL_EQUATIONS}
    group = NeuronGroup(
        grid.cells,
        "".join(
            (cells[cell_class(channel)] + FREE_RATE + output).format(
                channel=channel, recovery=f"{cell_class(channel)}_recovery_time", **terms
            )
            for channel in GANGLION_CHANNELS
        )
        + adaptation
        + linked
        + ("remote : volt (linked)\n" if is_remote else ""),
        method="exponential_euler",
        dt=dt,
        order=5,
        name=name,
        namespace=parameters.quantities("ganglion"),
    )
    for channel, source in zip(GANGLION_CHANNELS, BIPOLAR_CHANNELS, strict=True):
        setattr(group, f"bipolar_{channel}", linked_var(bipolars, source))
    if linked:
        group.contrast = linked_var(contrast, "pooled")
    if is_remote:
        group.remote = linked_var(remote, "pooled", index=grid.coarser(REMOTE_STRIDE)[2])
    return group


def cell_class(channel: str) -> str:
    """The class of a channel's cells, "midget" or "parasol"."""
    return channel.split("_")[0]


def horizontal_coupling(parameters: Parameters, pixels_per_degree: float, dt: Quantity) -> Coupling:
    """The coupling of the horizontal-cell lattice relative to the leak, with the sheet's space constant on every lattice."""
    ratio = parameters.value("horizontal.coupling") / parameters.value("horizontal.leak")
    space_constant = np.sqrt(ratio) * parameters.value("horizontal.spacing") * pixels_per_degree
    membrane_time = parameters["horizontal.capacitance"].quantity / parameters["horizontal.leak"].quantity
    return coupling(float(space_constant), stability_limit(membrane_time, dt) - loop_gain(parameters))


def loop_gain(parameters: Parameters) -> float:
    """Gain of the loop cone → horizontal cell → cone in a uniform field."""
    return parameters.value("horizontal.gain") * parameters.value("horizontal.feedback")


def memories(parameters: Parameters) -> dict[str, float]:
    """Seconds over which each state that adapts averages: mean ages of what it remembers."""
    cone, bipolar = parameters.quantities("cone"), parameters.quantities("bipolar")
    return {
        "cone.z1": float(cone["adaptation_time"]),
        "cone.z2": 2 * float(cone["adaptation_time"]),
        "cone.z_slow": float(cone["slow_adaptation_time"]),
        "bipolar.luminance_level": float(bipolar["luminance_time"]),
        "bipolar.adaptation": float(bipolar["adaptation_time"]),
    }


def steady_state(setting: Setting, fields: Fields) -> State:
    """The state of the retina after adaptation to static fields.

    Where all states see the same field it is the fixed point of the equations. Otherwise the states that adapt have their own
    fields' values, and everything else is at its steady state for the field `start` with these states held fixed.

    Parameters
    ----------
    setting : Setting
    fields : Fields
        Luminance in cd/m², (image, y, x).

    Returns
    -------
    dict of "group.variable" to numpy.ndarray, (image, y, x), SI units
    """
    parameters, lesions, grid, dt = setting
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    background = fields.start
    area = pupil_areas(parameters, fields.scene)
    photocurrent, isomerisation = _cone_steady_state(parameters, lesions, background, area, fields)
    layer = horizontal_coupling(parameters, grid.pixels_per_degree, dt)

    def horizontal_potential(current: np.ndarray) -> np.ndarray:
        return solve_coupled_layer(layer, 1 + loop_gain(parameters), p["horizontal.gain"] * current)

    potential = level = horizontal_potential(photocurrent)
    remembered = fields.of("bipolar.luminance_level")
    if remembered is not background:
        level = horizontal_potential(_cone_steady_state(parameters, lesions, remembered, area, fields)[0])
    signal = photocurrent - p["horizontal.feedback"] * potential
    pools = _steady_pools(setting, signal)
    rest, coarse = np.zeros_like(background), grid.coarser(REMOTE_STRIDE)[0]
    state = {"cascade.pupil_area": rest + area}
    state |= {f"cascade.y{stage}": isomerisation for stage in range(1, 6)}
    if "cone_adaptation" not in lesions:
        state |= {
            name: _isomerisations(parameters, fields.of(name), area) for name in ("cone.z1", "cone.z2", "cone.z_slow")
        }
    state |= {
        "cone.photocurrent": photocurrent,
        "cone.signal": signal,
        **{f"cone.{name}_row": values for name, values in pools.rows.items()},
        "horizontal.potential": potential,
        "horizontal.steady_potential": potential,
        "bipolar.luminance_level": level / p["horizontal.gain"],
        **{f"bipolar.{name}_adaptation": values for name, values in pools.inputs.items()},
        "bipolar.diffuse_centre": pools.diffuse_centre,
        "wide_amacrine.pooled": pools.surround,
        "contrast_amacrine.pooled": rest,
        "remote_amacrine.pooled": np.zeros((len(rest), coarse.height, coarse.width)),
    }
    state |= {f"bipolar.{channel}": rest for channel in BIPOLAR_CHANNELS}
    if "contrast_adaptation" not in lesions:
        state["ganglion.adapted"] = rest + settled_contrast(setting, fields.scene)[:, None, None]
    for channel in GANGLION_CHANNELS:
        state[f"ganglion.{channel}"] = rest + p[f"ganglion.{channel}_maintained"]
        state[f"ganglion.{channel}_lasting"] = state[f"ganglion.{channel}_input"] = rest
    return state


class _SteadyPools(NamedTuple):
    """Steady pools of one signal of the cones, each (image, y, x)."""

    rows: dict[str, np.ndarray]  # of the centres by bipolar cell, pooled along x only
    inputs: dict[str, np.ndarray]  # of each bipolar cell: its centre, in diffuse cells less the surround's share
    diffuse_centre: np.ndarray  # mean of diffuse ON and OFF centres
    surround: np.ndarray  # of the wide amacrine layer


def _steady_pools(setting: Setting, signal: np.ndarray) -> _SteadyPools:
    """Pools of bipolar and wide amacrine cells of a static signal of the cones, (image, y, x)."""
    parameters, _, grid, dt = setting
    weights = bipolar_centres(parameters, grid.pixels_per_degree)
    rows = {name: pool(signal, side, axis=-1) for name, side in weights.items()}
    inputs = {name: pool(rows[name], side, axis=-2) for name, side in weights.items()}
    centre = (inputs["diffuse_on"] + inputs["diffuse_off"]) / 2
    wide = wide_amacrine_coupling(parameters, grid.pixels_per_degree, AMACRINE_CLOCK * dt)
    surround = solve_coupled_layer(wide, 1.0, centre)
    for name in ("diffuse_on", "diffuse_off"):
        inputs[name] = inputs[name] - parameters.value("amacrine.surround_weight") * surround
    return _SteadyPools(rows, inputs, centre, surround)


def settled_contrast(setting: Setting, scene: np.ndarray) -> np.ndarray:
    """Mean over scenes of the contrast signal that the eye's movements over them evoke.

    The contrast signal is the sum of the rectified responses of diffuse ON and OFF cells; its mean over the scene is that of
    the amacrine pools.

    Parameters
    ----------
    setting : Setting
    scene : numpy.ndarray, (image, y, x)
        Luminance in cd/m².

    Returns
    -------
    numpy.ndarray, (image,), volt
    """
    return _mean_contrast(fixation_potentials(setting, scene))


def _mean_contrast(potentials: dict[str, np.ndarray]) -> np.ndarray:
    """Mean contrast signal (image,) in volts, of the steady potentials of bipolar cells in fixations."""
    contrast = sum(np.maximum(potentials[f"diffuse_{side}"], 0) for side in ("on", "off"))
    return FIXATION_SHARE * np.mean(contrast, axis=(1, 2))


def settled_variance(setting: Setting, scene: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over scenes of the squared departures of ganglion cells' rates that the eye's movements evoke, ON plus OFF.

    Ganglion cells lose most of a steady input: they respond as to the share `TRANSIENT_SHARE` of it. A shorter time constant of
    the high-pass filter of parasol cells leaves the root of it, since the square of a transient lasts half the time constant.

    Parameters
    ----------
    setting : Setting
    scene : numpy.ndarray, (image, y, x)
        Luminance in cd/m².

    Returns
    -------
    dict of str to numpy.ndarray, (image, 1, 1), Hz²
        By class, "midget" and "parasol".
    """
    parameters, lesions, *_ = setting
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    potentials = fixation_potentials(setting, scene)
    contrast = _mean_contrast(potentials)[:, None, None]
    loss = np.ones_like(contrast)
    if "contrast_adaptation" not in lesions:
        loss = loss + contrast / p["ganglion.adaptation_half"]
    if "contrast_gain" not in lesions:
        pools = 1 if "remote_suppression" in lesions else 1 + p["ganglion.remote_weight"]
        loss = loss * np.sqrt(1 + pools * contrast / p["ganglion.contrast_half"])
    variance = {}
    for name, bipolar in (("midget", "midget"), ("parasol", "diffuse")):
        squares = np.zeros(scene.shape)
        for side in ("on", "off"):
            potential = potentials[f"{bipolar}_{side}"] / (loss if name == "parasol" else 1)
            excitation = TRANSIENT_SHARE[name] * p[f"ganglion.{name}_gain"] * potential
            maintained, recovery = p[f"ganglion.{name}_{side}_maintained"], p[f"ganglion.{name}_recovery_time"]
            spared = 1 - recovery * maintained
            free = np.maximum((maintained + excitation / spared) / spared, 0)
            squares += (free / (1 + recovery * free) - maintained) ** 2
        variance[name] = squares.mean(axis=(1, 2), keepdims=True)
    return variance


def fixation_potentials(setting: Setting, scene: np.ndarray) -> dict[str, np.ndarray]:
    """Steady potentials of bipolar cells in fixations of a scene, relative to those for its mean.

    A saccade brings each cell from the scene's mean to one of its places. Cones and horizontal cells follow within a fixation;
    states that adapt over more than a fixation stay at their values for the mean.

    Parameters
    ----------
    setting : Setting
    scene : numpy.ndarray, (image, y, x)
        Luminance in cd/m².

    Returns
    -------
    dict of str to numpy.ndarray, (image, y, x), volt
        By channel, `BIPOLAR_CHANNELS`.
    """
    parameters, lesions, grid, dt = setting
    area = pupil_areas(parameters, scene)
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    mean = np.broadcast_to(scene.mean(axis=(1, 2), keepdims=True), scene.shape)
    before = Fields(scene, dict.fromkeys(("cone.z1", "cone.z2", "cone.z_slow"), mean))
    layer = horizontal_coupling(parameters, grid.pixels_per_degree, dt)
    at_mean = _uniform_field_signal(parameters, lesions, mean[:, :1, :1], area)
    level = _reference_signal(parameters, lesions) if "luminance_gain" in lesions else at_mean
    photocurrent = _cone_steady_state(parameters, lesions, scene, area, before)[0]
    potential = p["horizontal.gain"] * at_mean
    if "horizontal_feedback" not in lesions:
        potential = solve_coupled_layer(layer, 1 + loop_gain(parameters), p["horizontal.gain"] * photocurrent)
    change = photocurrent - p["horizontal.feedback"] * potential - at_mean
    inputs = _steady_pools(setting, change).inputs
    potentials = {}
    for channel in BIPOLAR_CHANNELS:
        name, side = channel.split("_")
        centre = inputs[name if name == "midget" else channel]
        drive = (centre if side == "on" else -centre) / (1 + level / p["bipolar.luminance_half"])
        saturating = 1 + np.maximum(drive, 0) / p[f"bipolar.{side}_saturation"]
        potentials[channel] = p[f"bipolar.{side}_gain"] * drive / saturating
    return potentials


def pupil_areas(parameters: Parameters, field: np.ndarray) -> np.ndarray:
    """Area of the pupil of an eye that is adapted to static fields.

    Parameters
    ----------
    parameters : Parameters
    field : numpy.ndarray, (image, y, x)
        Luminance in cd/m².

    Returns
    -------
    numpy.ndarray, (image, 1, 1)
        m²: that for the mean of each field, or `cone.pupil_area` where `cone.pupil_reflex` is 0.
    """
    means = field.mean(axis=(1, 2), keepdims=True)
    if not parameters.value("cone.pupil_reflex"):
        return np.full_like(means, _fixed_area(parameters))
    return float(UNITS["mm²"]) * pupil_area(means)


def _fixed_area(parameters: Parameters) -> float:
    """Area of the artificial pupil in m²."""
    return float(parameters["cone.pupil_area"].quantity)


def _isomerisations(parameters: Parameters, field: np.ndarray, area: np.ndarray | float) -> np.ndarray:
    """Isomerisations (Hz) of cones in static fields of these luminances, through a pupil of this area in m²."""
    return float(parameters["cone.isomerisation_rate"].quantity) * area * field


def _cone_steady_state(
    parameters: Parameters,
    lesions: Collection[str],
    background: np.ndarray,
    area: np.ndarray | float,
    fields: Fields | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Steady photocurrent (A) and isomerisations (Hz) of cones in static fields, by default adapted to the same fields."""
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    isomerisation = _isomerisations(parameters, background, area)
    adapted_to = isomerisation
    if "cone_adaptation" in lesions:
        reference = np.full_like(background, p["cone.reference_luminance"])
        adapted_to = _isomerisations(parameters, reference, _fixed_area(parameters))
    elif fields is not None and fields.states:
        fast, slow = p["cone.fast_adaptation_share"], p["cone.slow_adaptation_share"]
        adapted_to = fast * isomerisation
        adapted_to = adapted_to + (1 - fast - slow) * _isomerisations(parameters, fields.of("cone.z2"), area)
        adapted_to = adapted_to + slow * _isomerisations(parameters, fields.of("cone.z_slow"), area)
    return p["cone.gain"] * isomerisation / (1 + p["cone.desensitisation"] * adapted_to), isomerisation


def _uniform_field_signal(
    parameters: Parameters, lesions: Collection[str], background: np.ndarray, area: np.ndarray | float
) -> np.ndarray:
    """Steady cone signal (A) in uniform fields of these luminances, through a pupil of this area in m²."""
    return _cone_steady_state(parameters, lesions, background, area)[0] / (1 + loop_gain(parameters))


def _reference_signal(parameters: Parameters, lesions: Collection[str]) -> np.ndarray:
    """Steady cone signal (A), (1, 1, 1), in a uniform field of `cone.reference_luminance` through the artificial pupil."""
    reference = np.full((1, 1, 1), parameters.value("cone.reference_luminance"))
    return _uniform_field_signal(parameters, lesions, reference, _fixed_area(parameters))
