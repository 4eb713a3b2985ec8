r"""The retina at rate fidelity: cones, horizontal cells, ON and OFF bipolar cells, midget ganglion cells.

Equations (every constant stands in `biomodel.parameters` with its source)

**Cone** (Clark 2013, Angueyra 2022). A luminance L falls through a fixed pupil of area A and isomerises
:math:`R = k A L` pigment molecules a second. With five first-order stages y₁…y₅ of time constant τ_y and two, z₁ and z₂,
of τ_z, the suppressed photocurrent r (pA, positive for light) and the synaptic signal v follow

.. math::
    \tau_r \dot r = \alpha y_5 - (1 + \beta z)\, r, \quad z = \gamma y_5 + (1 - \gamma) z_2, \quad
    \tau_m \dot v = r - k_f h - v .

**Horizontal cell**: a syncytium, each cell coupled by gap junctions to its neighbours j,

.. math::
    C \dot h = g_L (k_h v - h) + \sum_j g_j (h_j - h) .

In a sheet of conductance g per cell spacing s the space constant is λ = s √(g/g_L), whatever the lattice. Through the
feedback the surround that a bipolar cell sees has weight w = k/(1+k) and space constant λ/√(1+k), k = k_f k_h.

**Bipolar cells** pool v over a Gaussian centre to d, and lose what stands still, a:

.. math::
    \tau_a \dot a = d - a, \quad \tau_b \dot b = \pm g\, x / (1 + [\pm x]_+ / x_{sat}) - b, \quad x = d - a .

**Midget ganglion cells**: τ_g ġ = [maintained + gain · b]₊ - g.

Lesions. `cone_adaptation` holds z at the value of `cone.reference_luminance`: the cone is linear, with the gain it has
there. `horizontal_feedback` holds the feedback to each cone at its settled value: the operating point stays, what an image
changes does not reach the cones.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from brian2 import NeuronGroup, Quantity, TimedArray, linked_var

from biomodel.parameters import Parameters
from biomodel.station import Readout, State
from biomodel.wiring import Coupling, Grid, Links, Stencil, centre_weights, coupling, pool, solve_coupled_layer

CONE_EQUATIONS = """
isomerisation : Hz
dy1/dt = (isomerisation - y1)/cascade_time : Hz
dy2/dt = (y1 - y2)/cascade_time : Hz
dy3/dt = (y2 - y3)/cascade_time : Hz
dy4/dt = (y3 - y4)/cascade_time : Hz
dy5/dt = (y4 - y5)/cascade_time : Hz
dphotocurrent/dt = (gain*y5 - (1 + desensitisation*z)*photocurrent)/response_time : amp
dsignal/dt = (photocurrent - feedback*horizontal_potential - signal)/membrane_time : amp
horizontal_potential : volt (linked)
"""

ADAPTING_CONE = """
dz1/dt = (isomerisation - z1)/adaptation_time : Hz
dz2/dt = (z1 - z2)/adaptation_time : Hz
z = fast_adaptation_share*y5 + (1 - fast_adaptation_share)*z2 : Hz
"""

UNADAPTING_CONE = """
z = isomerisation_rate*pupil_area*reference_luminance : Hz
"""

HORIZONTAL_EQUATIONS = """
dpotential/dt = (leak*(gain*drive - potential) + {currents})/capacitance : volt
drive : amp (linked)
previous : volt
settled : volt (constant)
"""

BIPOLAR_EQUATIONS = """
dadaptation/dt = (pooled - adaptation)/adaptation_time : amp
don/dt = (driven_on - on)/membrane_time : volt
doff/dt = (driven_off - off)/membrane_time : volt
pooled : amp
driven_on : volt
driven_off : volt
pooled_along_row : amp (linked)
"""

BIPOLAR_DRIVE = """
pooled = {pooled}
change = pooled - adaptation
driven_on = on_gain*change/(1 + change*int(change > 0*amp)/on_saturation)
driven_off = -off_gain*change/(1 - change*int(change < 0*amp)/off_saturation)
"""

GANGLION_EQUATIONS = """
excited_on = midget_on_maintained + midget_gain*bipolar_on : Hz
excited_off = midget_off_maintained + midget_gain*bipolar_off : Hz
dmidget_on/dt = (excited_on*int(excited_on > 0*Hz) - midget_on)/membrane_time : Hz
dmidget_off/dt = (excited_off*int(excited_off > 0*Hz) - midget_off)/membrane_time : Hz
bipolar_on : volt (linked)
bipolar_off : volt (linked)
"""

CONE_READOUT = Readout("pA", {"cone": "photocurrent"})
HORIZONTAL_READOUT = Readout("mV", {"horizontal": "potential"})
BIPOLAR_READOUT = Readout("mV", {"on": "on", "off": "off"})
GANGLION_READOUT = Readout("Hz", {"midget_on": "midget_on", "midget_off": "midget_off"})


def cone(
    parameters: Parameters,
    lesions: Collection[str],
    grid: Grid,
    dt: Quantity,
    movie: TimedArray,
    movie_step: Quantity,
) -> NeuronGroup:
    """Cones, one a pixel, driven by `movie` (luminance by time and cell); response: suppressed photocurrent in pA.

    Every `movie_step` the film is looked at: where it stands still, that need not be at every step.

    The cone group also pools its own signal along each row, the first half of the bipolar cells' separable centre.
    """
    weights = centre_weights(parameters.value("bipolar.centre_radius"), grid.pixels_per_degree)
    stencil = Stencil("signal", "amp", weights, along="row")
    group = NeuronGroup(
        grid.cells,
        CONE_EQUATIONS
        + (UNADAPTING_CONE if "cone_adaptation" in lesions else ADAPTING_CONE)
        + "pooled_along_row : amp\n"
        + stencil.equations,
        method="exponential_euler",
        dt=dt,
        order=0,
        name="cone",
        namespace={
            **parameters.quantities("cone"),
            "feedback": parameters["horizontal.feedback"].quantity,
            "movie": movie,
        },
    )
    stencil.link(group, group, grid)
    light = "isomerisation = isomerisation_rate*pupil_area*movie(t, i)"
    group.run_regularly(light, dt=movie_step, when="start", name="cone_light")
    group.run_regularly(f"pooled_along_row = {stencil.sum}", dt=dt, when="groups", order=1, name="cone_row_pool")
    return group


def horizontal(
    parameters: Parameters, lesions: Collection[str], grid: Grid, dt: Quantity, cones: NeuronGroup
) -> NeuronGroup:
    """Horizontal cells, one a pixel, coupled to their neighbours; response: potential in mV, positive for light."""
    layer = horizontal_coupling(parameters, grid.pixels_per_degree, dt)
    junctions = [
        ("previous", (hop * down, hop * right))
        for hop in layer.hops
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
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
    # A group that reads its own variable would meet cells that have already moved on.
    group.run_regularly("previous = potential", dt=dt, when="start", name="horizontal_copy")
    group.drive = linked_var(cones, "signal")
    feeding_back = "settled" if "horizontal_feedback" in lesions else "potential"
    cones.horizontal_potential = linked_var(group, feeding_back)
    return group


def bipolar(parameters: Parameters, grid: Grid, dt: Quantity, cones: NeuronGroup) -> NeuronGroup:
    """ON and OFF bipolar cells, one of each a pixel; response: potential about rest in mV."""
    weights = centre_weights(parameters.value("bipolar.centre_radius"), grid.pixels_per_degree)
    stencil = Stencil("pooled_along_row", "amp", weights, along="column")
    group = NeuronGroup(
        grid.cells,
        BIPOLAR_EQUATIONS + stencil.equations,
        method="exponential_euler",
        dt=dt,
        order=3,
        name="bipolar",
        namespace=parameters.quantities("bipolar"),
    )
    group.pooled_along_row = linked_var(cones, "pooled_along_row")
    stencil.link(group, cones, grid)
    # A statement, not a subexpression: the integrator would write it out again wherever it occurs.
    drive = BIPOLAR_DRIVE.format(pooled=stencil.sum)
    group.run_regularly(drive, dt=dt, when="groups", order=2, name="bipolar_drive")
    return group


def ganglion(parameters: Parameters, grid: Grid, dt: Quantity, bipolars: NeuronGroup) -> NeuronGroup:
    """Midget ganglion cells, ON and OFF, one of each a pixel; response: rate in Hz."""
    group = NeuronGroup(
        grid.cells,
        GANGLION_EQUATIONS,
        method="exponential_euler",
        dt=dt,
        order=4,
        name="ganglion",
        namespace=parameters.quantities("ganglion"),
    )
    group.bipolar_on = linked_var(bipolars, "on")
    group.bipolar_off = linked_var(bipolars, "off")
    return group


def horizontal_coupling(parameters: Parameters, pixels_per_degree: float, dt: Quantity) -> Coupling:
    """The coupling of the horizontal-cell lattice, relative to the leak; the sheet's space constant is kept."""
    ratio = parameters.value("horizontal.coupling") / parameters.value("horizontal.leak")
    space_constant = np.sqrt(ratio) * parameters.value("horizontal.spacing") * pixels_per_degree
    membrane_time = parameters["horizontal.capacitance"].quantity / parameters["horizontal.leak"].quantity
    # Forward Euler is stable below 2; a tenth is kept in hand.
    return coupling(float(space_constant), stability_limit=1.8 * float(membrane_time / dt) - 1 - loop_gain(parameters))


def loop_gain(parameters: Parameters) -> float:
    """Gain once around the loop cone → horizontal cell → cone, for an even field."""
    return parameters.value("horizontal.gain") * parameters.value("horizontal.feedback")


def settled(
    parameters: Parameters, lesions: Collection[str], grid: Grid, dt: Quantity, background: np.ndarray
) -> State:
    """The state that the retina reaches when `background` stands still for ever: the fixed point of its equations.

    Parameters
    ----------
    background : numpy.ndarray, (image, y, x)
        Luminance in cd/m².

    Returns
    -------
    dict of "group.variable" to numpy.ndarray, (image, y, x), SI units
    """
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    isomerisations_per_luminance = p["cone.isomerisation_rate"] * p["cone.pupil_area"]
    isomerisation = isomerisations_per_luminance * background
    adapted_to = isomerisation
    if "cone_adaptation" in lesions:
        adapted_to = np.full_like(isomerisation, isomerisations_per_luminance * p["cone.reference_luminance"])
    photocurrent = p["cone.gain"] * isomerisation / (1 + p["cone.desensitisation"] * adapted_to)
    layer = horizontal_coupling(parameters, grid.pixels_per_degree, dt)
    potential = solve_coupled_layer(layer, 1 + loop_gain(parameters), p["horizontal.gain"] * photocurrent)
    signal = photocurrent - p["horizontal.feedback"] * potential
    weights = centre_weights(parameters.value("bipolar.centre_radius"), grid.pixels_per_degree)
    along_row = pool(signal, weights, axis=-1)
    state = {f"cone.y{stage}": isomerisation for stage in range(1, 6)}
    if "cone_adaptation" not in lesions:
        state |= {"cone.z1": isomerisation, "cone.z2": isomerisation}
    rest = np.zeros_like(background)
    return state | {
        "cone.photocurrent": photocurrent,
        "cone.signal": signal,
        "cone.pooled_along_row": along_row,
        "horizontal.potential": potential,
        "horizontal.settled": potential,
        "bipolar.adaptation": pool(along_row, weights, axis=-2),
        "bipolar.on": rest,
        "bipolar.off": rest,
        "ganglion.midget_on": rest + p["ganglion.midget_on_maintained"],
        "ganglion.midget_off": rest + p["ganglion.midget_off_maintained"],
    }
