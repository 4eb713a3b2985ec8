r"""V1 that fires: adaptive exponential excitatory cells, fast-spiking inhibitory ones, four to one.

Kinds, columns, wiring and depression are the rate form's. A spike of a relay cell comes to the cortex after the
conduction time; its synapses release the share of their resources that `release` says, and s, their rate of transmission in Hz of
a rested synapse at rest, grows by :math:`1/\tau_s` of that and decays with :math:`\tau_s`.

Each kind has at each column three simple cells of either phase, two complex cells, and an inhibitory one of either phase. With
:math:`x = \sum w s` less its resting value, membranes in mV and conductances in leaks,

.. math::
    \tau \dot V = E_r - V + \Delta e^{(V - V_T)/\Delta} + g_E (E_E - V) + g_I (E_I - V) - a + \eta, \quad
    \tau_a \dot a = -a, \quad \tau_\eta \dot \eta = -\eta + \sigma \sqrt{2 \tau_\eta}\, \xi ,

a grows with each spike (Brette & Gerstner 2005); η is what the rest of the cortex does to a membrane.

A *simple* cell's dendrite carries what it hears to the soma, y, where it opens :math:`g_E = s k\, y`:

.. math:: \tau_d \dot y = x / d - y ;

it is slow, for the soma of the rate form is, after its power, and a cell that fires when it crosses a threshold is not. As in the
rate form, what its synapses transmit before a still field counts for nothing, for inhibition balances it, and less than that
takes excitation away. :math:`g_I = s k_I\, (r - r_0)`, with r what the inhibitory cell of the opposite phase transmits, and r₀
what inhibitory cells fire before a still field: push-pull. How strong a kind's synapses are, s, and where it rests, :math:`E_r`,
is what homeostasis would leave (`homeostasis`): simple cells that hear one class of relay cells move by as many standard
deviations of their noise for each Hz, as far as they can.
Recurrent pools shunt its dendrite: with n what inhibitory cells of its relay class fire nearby above rest, through synapses of
:math:`\tau_I`, and f what simple cells in the wider surround fire above rest, those of like orientation counting more,

.. math::
    d = (1 + [n]_+ / n_{half})\,(1 + [f]_+ / f_{half})^{1/p} ,

so that for the power p that threshold and noise make of a membrane (Priebe & Ferster 2008) the surround divides a rate as it
does in the rate form. A *complex* cell hears the simple cells of its column and of the one a quarter of a cycle away, as in the
rate form, through a dendrite of its own; strong adaptation makes its rate linear in theirs (Ermentrout 1998). *Inhibitory* cells
are leaky integrators without adaptation that hear x undivided.

Lesions are the rate form's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from brian2 import NeuronGroup, Quantity, Synapses, linked_var, ms

from biomodel.circuit import lgn
from biomodel.circuit import v1 as rate_form
from biomodel.circuit.cell_types import Kind, kinds
from biomodel.circuit.coupled_layer import coupled_layer, coupling_and_clock
from biomodel.circuit.lattice import Grid, Links
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import State
from biomodel.circuit.v1 import BANDS
from biomodel.parameters import Parameters

#: Cells of each kind at each column, of either phase for simple ones.
SIMPLE, COMPLEX = 3, 2

#: Phases: a kind's own and the opposite.
_PHASES = 2

#: Variance of noise that a simple cell hears over that of all other noise, at most.
_OWN_NOISE = 9

TERMINAL_EQUATIONS = """
dresource/dt = (1 - resource)/recovery_time : 1
dsent_{channel}/dt = -sent_{channel}/synaptic_time : Hz
"""

#: What a spike does at a terminal, with and without depression.
RELEASE = """
sent_{channel}_post += resource_post/({rested!r}*synaptic_time)
resource_post = resource_post*(1 - {release})
"""
UNDEPRESSED = "sent_{channel}_post += 1/synaptic_time"

DENDRITE_EQUATIONS = """
heard : Hz
drive : Hz
dcarried/dt = (drive - carried)/dendritic_time : Hz
"""

FIRED_EQUATIONS = """
fired : Hz
dcarried/dt = (fired - carried)/dendritic_time : Hz
"""

COLUMN_EQUATIONS = """
share_{k} : 1
sum_{k} : Hz
sum_opposite_{k} : Hz
heard_{k} : Hz (linked)
heard_opposite_{k} : Hz (linked)
drive_{k} : Hz (linked)
drive_opposite_{k} : Hz (linked)
fired_{k} : Hz (linked)
spiked_{k} : 1 (linked)
spiked_opposite_{k} : 1 (linked)
"""

SUMS = """
sum_{k} = {drive} - {drive_rest!r}*Hz
sum_opposite_{k} = {opposite} - {opposite_rest!r}*Hz
share_{k} = {unsuppressed}/(1{pool})
"""

#: Apart from the sums: a loop that writes to another group's cells is not vectorised.
PASSED_ON = """
heard_{k} = sum_{k}
heard_opposite_{k} = sum_opposite_{k}
drive_{k} = share_{k}*sum_{k}
drive_opposite_{k} = share_{k}*sum_opposite_{k}
"""

#: Of an excitatory cell; {excitation} and {inhibition} are conductances in leaks.
EXCITATORY_EQUATIONS = """
dV/dt = (rest - V + onset + excited + inhibited - adaptation + background)/membrane_time : volt (unless refractory)
onset = sharpness*exp(clip((V - spike_threshold)/sharpness, -10, 10)) : volt
excited = {excitation}*(excitatory_reversal - V) : volt
inhibited = {inhibition}*(inhibitory_reversal - V) : volt
rest : volt (constant)
dadaptation/dt = -adaptation/adaptation_time : volt
dbackground/dt = -background/background_time + background_noise*sqrt(2/(background_time*dt))*{white} : volt
dsent/dt = -sent/synaptic_time : Hz
"""

SIMPLE_INPUTS = """
carried : Hz (linked)
transmitted : Hz (linked)
scaling : 1 (constant)
"""

COMPLEX_INPUTS = """
carried_here : Hz (linked)
carried_beside : Hz (linked)
"""

INHIBITORY_EQUATIONS = """
dV/dt = (current - V)/inhibitory_time + inhibitory_noise*sqrt(2/(inhibitory_time*dt))*{white} : 1 (unless refractory)
current = inhibitory_bias + inhibitory_strength*heard : 1
heard : Hz (linked)
dsent/dt = -sent/inhibitory_synaptic_time : Hz
spiked : 1
"""

EXCITATORY_RESET = "V = spike_reset\nadaptation += {jump}\nsent += 1/synaptic_time\n"
INHIBITORY_RESET = "V = 0\nspiked += 1\nsent += 1/inhibitory_synaptic_time\n"


def v1(
    parameters: Parameters,
    lesions: Collection[str],
    trials: Trials,
    dt: Quantity,
    clock: Quantity,
    every: int,
    relays: dict[str, NeuronGroup | Synapses],
    within: float | None = None,
) -> dict[str, NeuronGroup | Synapses]:
    """Terminals of the relay, dendrites, spiking cells and pools; where a channel's cells stand is told by `place`.

    Cells are integrated at `clock`, `every` steps `dt` of the circuit long.
    """
    namespace = parameters.quantities("v1") | {"unit_noise": unit_noise}
    cells = kinds(parameters, trials.grid.pixels_per_degree)
    columns = rate_form.lattice_of(trials.grid, within)
    made = _terminals(parameters, lesions, trials, dt, relays)
    dendrites = NeuronGroup(
        _PHASES * len(cells) * columns.cells,
        DENDRITE_EQUATIONS,
        method="exponential_euler",
        dt=clock,
        order=11,
        name="v1_dendrite",
        namespace=namespace,
    )
    each = np.arange(len(dendrites))
    simple = _excitatory(
        "v1_simple",
        SIMPLE * len(dendrites),
        "scaling*excitatory_strength*carried",
        "0" if "push_pull" in lesions else "scaling*inhibition_strength*(transmitted - inhibitory_spontaneous)",
        SIMPLE_INPUTS,
        "adaptation_jump",
        trials,
        clock,
        namespace,
    )
    inhibitory = NeuronGroup(
        len(dendrites),
        INHIBITORY_EQUATIONS.format(white=UNIT_NOISE) + SEED_EQUATION + COUNT_EQUATIONS,
        threshold="V >= 1",
        reset=INHIBITORY_RESET + COUNT,
        refractory=namespace["inhibitory_refractory_time"],
        method="euler",
        dt=clock,
        order=12,
        name="v1_inhibitory",
        namespace=namespace,
    )
    # Spikes of a step are told to the pools in the next one.
    inhibitory.run_regularly("spiked = 0", dt=clock, when="groups", order=14, name="v1_inhibitory_told")
    # Those that inhibit a phase hear the opposite one.
    opposite = np.roll(each, len(each) // _PHASES)
    inhibitory.heard = linked_var(dendrites, "heard", index=opposite)
    simple.carried = linked_var(dendrites, "carried", index=np.tile(each, SIMPLE))
    simple.transmitted = linked_var(inhibitory, "sent", index=np.tile(each, SIMPLE))
    fired = _firing(len(cells) * columns.cells, simple, clock, namespace)
    complexes = _excitatory(
        "v1_complex",
        COMPLEX * len(cells) * columns.cells,
        "excitatory_strength*complex_strength*(0.5*(carried_here + carried_beside) - spontaneous)",
        "0",
        COMPLEX_INPUTS,
        "complex_adaptation_jump",
        trials,
        clock,
        namespace,
    )
    here = np.arange(len(cells) * columns.cells)
    quarters = [rate_form.quarters(cell, columns.pixels_per_degree)[1] for cell in cells]
    beside = np.concatenate([k * columns.cells + columns.neighbour(*offset) for k, offset in enumerate(quarters)])
    complexes.carried_here = linked_var(fired, "carried", index=np.tile(here, COMPLEX))
    complexes.carried_beside = linked_var(fired, "carried", index=np.tile(beside, COMPLEX).astype(int))
    made |= {one.name: one for one in (dendrites, simple, inhibitory, fired, complexes)}
    made |= _columns(parameters, lesions, trials, cells, columns, clock, every, made, within)
    return made


def _excitatory(
    name: str,
    number: int,
    excitation: str,
    inhibition: str,
    inputs: str,
    jump: str,
    trials: Trials,
    clock: Quantity,
    namespace: dict[str, Quantity | float],
) -> NeuronGroup:
    """Adaptive exponential cells, with the conductances in leaks that excite and inhibit them."""
    return NeuronGroup(
        number,
        EXCITATORY_EQUATIONS.format(excitation=excitation, inhibition=inhibition, white=UNIT_NOISE)
        + inputs
        + SEED_EQUATION
        + COUNT_EQUATIONS,
        threshold="V >= spike_cut",
        reset=EXCITATORY_RESET.format(jump=jump) + COUNT,
        refractory=namespace["refractory_time"],
        method="euler",
        dt=clock,
        order=12,
        name=name,
        namespace=namespace,
    )


def _terminals(
    parameters: Parameters,
    lesions: Collection[str],
    trials: Trials,
    dt: Quantity,
    relays: dict[str, NeuronGroup | Synapses],
) -> dict[str, NeuronGroup | Synapses]:
    """Where relay cells' axons end: a group a channel, and the synapses that bring its spikes."""
    namespace = parameters.quantities("v1")
    rested = rate_form.resting_resources(parameters)
    made: dict[str, NeuronGroup | Synapses] = {}
    for channel in GANGLION_CHANNELS:
        group = NeuronGroup(
            trials.grid.cells,
            TERMINAL_EQUATIONS.format(channel=channel),
            method="euler",
            dt=dt,
            order=10,
            name=f"thalamocortical_{channel}",
            namespace=namespace,
        )
        depressed = "thalamocortical_depression" not in lesions
        released = (RELEASE if depressed else UNDEPRESSED).format(
            channel=channel, rested=rested[channel], release=rate_form.release(channel)
        )
        synapses = Synapses(
            relays[f"lgn_{channel}"],
            group,
            on_pre=released,
            delay=namespace["conduction_time"],
            dt=dt,
            name=f"axons_{channel}",
            namespace=namespace,
        )
        synapses.connect(j="i")
        made |= {group.name: group, synapses.name: synapses}
    return made


def _firing(cells: int, simple: NeuronGroup, clock: Quantity, namespace: dict[str, Quantity | float]) -> NeuronGroup:
    """How fast the simple cells of a kind fire at each column, by what they transmit."""
    of_each = SIMPLE * _PHASES
    names = [f"sent_{k}" for k in range(of_each)]
    group = NeuronGroup(
        cells,
        FIRED_EQUATIONS + "".join(f"{name} : Hz (linked)\n" for name in names),
        method="exponential_euler",
        dt=clock,
        order=11,
        name="v1_fired",
        namespace=namespace,
    )
    group.run_regularly(f"fired = ({' + '.join(names)})/{of_each}", dt=clock, when="groups", order=9, name="v1_firing")
    for k, name in enumerate(names):
        setattr(group, name, linked_var(simple, "sent", index=k * cells + np.arange(cells)))
    return group


def _columns(
    parameters: Parameters,
    lesions: Collection[str],
    trials: Trials,
    cells: list[Kind],
    columns: Grid,
    clock: Quantity,
    every: int,
    made: dict[str, NeuronGroup | Synapses],
    within: float | None,
) -> dict[str, NeuronGroup | Synapses]:
    """The columns, which sum what each kind's dendrites hear, and the layers that normalise and suppress."""
    ppd = trials.grid.pixels_per_degree
    places = tuple(rate_form.lattice(n, ppd, within) for n in (trials.grid.height, trials.grid.width))
    terms = [rate_form.heard(parameters, cell) for cell in cells]
    afferents = Links("Hz", [(variable, offset) for both in terms for one in both for _, variable, offset in one])
    pools, bands = rate_form.pools_of(cells, lesions), rate_form.bands_of(cells, lesions)
    names = [*pools, *bands]
    group = NeuronGroup(
        columns.cells,
        "".join(COLUMN_EQUATIONS.format(k=k) for k in range(len(cells)))
        + "".join(f"{name} : Hz (linked)\ntold_{name} : Hz\n" for name in names)
        + "".join(f"{name.replace('surround', 'unsuppressed')} : 1\n" for name in bands)
        + afferents.equations,
        dt=clock,
        order=10,
        name="v1",
        namespace=parameters.quantities("v1"),
    )
    terminals = {f"sent_{channel}": made[f"thalamocortical_{channel}"] for channel in GANGLION_CHANNELS}
    afferents.link(group, terminals, lambda d, r: trials.grid.neighbour(d, r, *places))
    here = np.arange(columns.cells)
    for k in range(len(cells)):
        own, other = k * columns.cells + here, (len(cells) + k) * columns.cells + here
        for name, source, variable, index in (
            (f"heard_{k}", "v1_dendrite", "heard", own),
            (f"heard_opposite_{k}", "v1_dendrite", "heard", other),
            (f"drive_{k}", "v1_dendrite", "drive", own),
            (f"drive_opposite_{k}", "v1_dendrite", "drive", other),
            (f"fired_{k}", "v1_fired", "fired", own),
            (f"spiked_{k}", "v1_inhibitory", "spiked", own),
            (f"spiked_opposite_{k}", "v1_inhibitory", "spiked", other),
        ):
            setattr(group, name, linked_var(made[source], variable, index=index))
    rest = lgn.maintained(parameters)
    statements = []
    for k, (cell, (drive, opposite)) in enumerate(zip(cells, terms, strict=True)):
        statements.append(
            SUMS.format(
                k=k,
                drive=afferents.weighted_sum(drive),
                opposite=afferents.weighted_sum(opposite),
                drive_rest=sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in drive),
                opposite_rest=sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in opposite),
                pool=f" + clip(normalisation_{cell.relay}, 0*Hz, inf*Hz)/{cell.relay}_normalisation_half"
                if pools
                else "",
                unsuppressed=f"unsuppressed_{rate_form.band_of(cell)}" if bands else "1",
            )
        )
    if bands:
        group.run_regularly(
            "\n".join(_unsuppressed(name, bands) for name in bands),
            dt=clock,
            when="groups",
            order=9,
            name="v1_suppression",
        )
    for k in range(0, len(statements), rate_form.LOOP):
        together = "".join(statements[k : k + rate_form.LOOP])
        group.run_regularly(together, dt=clock, when="groups", order=10, name=f"v1_sums_{k}")
    passed = "".join(PASSED_ON.format(k=k) for k in range(len(cells)))
    group.run_regularly(passed, dt=clock, when="groups", order=10, name="v1_sums_told")
    told = []
    for relay, members in rate_form.kinds_of_relays(cells).items():
        if f"normalisation_{relay}" in pools:
            spiked = " + ".join(f"spiked_{k} + spiked_opposite_{k}" for k in members)
            rate = f"({spiked})/({_PHASES * len(members)}*{float(clock / ms)!r}*ms)"
            told.append(f"told_normalisation_{relay} = {rate} - inhibitory_spontaneous")
    for band, members in zip(BANDS, rate_form.kinds_of_bands(cells), strict=True):
        if f"surround_{band}" in bands:
            fired = " + ".join(f"fired_{k}" for k in members)
            told.append(f"told_surround_{band} = {_PHASES}*(({fired})/{len(members)} - spontaneous)")
    if told:
        group.run_regularly("\n".join(told), dt=clock, when="groups", order=13, name="v1_telling")
    layers: dict[str, NeuronGroup | Synapses] = {"v1": group}
    for name in names:
        kind = name.split("_")[0]
        time = parameters["v1.inhibitory_synaptic_time" if kind == "normalisation" else "v1.surround_time"].quantity
        space_constant = parameters.value(f"v1.{kind}_space_constant") * columns.pixels_per_degree
        layer, step = coupling_and_clock(space_constant, time, clock, every)
        layers[name] = coupled_layer(name, "Hz", layer, time, group, f"told_{name}", columns, step, 14)
        setattr(group, name, linked_var(layers[name], "pooled"))
    return layers


def _unsuppressed(band: str, bands: list[str]) -> str:
    """What the surround leaves of the drive of a band's cells."""
    tuned = f"(surround_tuning*{band} + (1 - surround_tuning)*({' + '.join(bands)})/{len(bands)})"
    left = band.replace("surround", "unsuppressed")
    return f"{left} = (1 + clip({tuned}, 0*Hz, inf*Hz)/surround_half)**(-1/exponent)"


def place(channel: str, columns: int) -> tuple[str, int]:
    """The group of a channel's cells, and the number there of the first that is recorded, of one for each of `columns`."""
    name, kind = channel.split("_")
    return f"v1_{name}", int(kind) * columns


@dataclass(frozen=True)
class Homeostasis:
    """What homeostasis leaves each kind with.

    Attributes
    ----------
    scaling : numpy.ndarray, (phase, kind)
        Of what excites and inhibits simple cells, 1 at most.
    simple_rest : numpy.ndarray, (phase, kind)
        Where simple cells rest, volt.
    complex_rest : float
        Where complex cells do.
    """

    scaling: np.ndarray
    simple_rest: np.ndarray
    complex_rest: float


def homeostasis(parameters: Parameters, cells: list[Kind]) -> Homeostasis:
    r"""How strong each kind's synapses are, and where it rests, by the noise that it hears before a still field.

    A Hz that the relay transmits moves a simple cell's membrane by :math:`s k (E_E - V_T)`; its noise has the variance
    :math:`s^2 h + b`. In h are the relay's trains, of maintained rates and `v1.relay_irregularity` times as variable as Poisson
    trains, through synapse, dendrite and membrane, and Poisson trains of what inhibits it; in b is what the rest of the cortex
    does. Homeostasis seeks the set point g, standard deviations of noise a Hz, in the manner of synaptic scaling (Turrigiano
    2008, there of rates), but not by synapses so strong that nearly all noise is their own, for they gain nothing more:

    .. math:: s^2 = \min\left(\frac{b}{(k (E_E - V_T) / g)^2 - h},\ \frac{9 b}{h},\ 1\right),

    the first where it is positive. Where :math:`s^2 h = 9 b` a membrane has .95 of the greatest sensitivity that there is. All
    cells rest `v1.rest_margin` standard deviations below threshold. Lesions leave what homeostasis left.
    """
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    rest = lgn.maintained(parameters)
    trains = np.array(
        [
            [sum(weight**2 * rest[name.removeprefix("sent_")] for weight, name, _ in heard) for heard in both]
            for both in zip(*(rate_form.heard(parameters, cell) for cell in cells), strict=True)
        ]
    )
    # At most: as if the three simple cells of one phase at one place, which hear the same trains, always fired together.
    simple_trains = p["v1.complex_strength"] ** 2 * p["v1.spontaneous"] / (2 * _PHASES)
    threshold = p["v1.spike_threshold"]
    excitation = p["v1.excitatory_strength"] * (p["v1.excitatory_reversal"] - threshold)
    inhibition = p["v1.inhibition_strength"] * (p["v1.inhibitory_reversal"] - threshold)

    synapse, dendrite, membrane = (p[f"v1.{name}_time"] for name in ("synaptic", "dendritic", "membrane"))
    # Variance of a train of 1 Hz behind three filters, one after the other, and behind two.
    through_three = (synapse * dendrite + dendrite * membrane + membrane * synapse) / 2
    through_three /= (synapse + dendrite) * (dendrite + membrane) * (membrane + synapse)
    through_two = 1 / (2 * (p["v1.inhibitory_synaptic_time"] + membrane))

    background = p["v1.background_noise"] ** 2 * p["v1.background_time"] / (p["v1.background_time"] + membrane)
    heard = excitation**2 * through_three * p["v1.relay_irregularity"] * trains
    heard = heard + inhibition**2 * through_two * p["v1.inhibitory_spontaneous"]
    set_point = np.array([p[f"v1.{cell.relay}_set_point"] for cell in cells])
    most = np.maximum(heard / _OWN_NOISE, background)
    scaling = np.sqrt(background / np.maximum((excitation / set_point) ** 2 - heard, most))

    def rested(variance: np.ndarray | float) -> np.ndarray:
        return threshold - p["v1.rest_margin"] * np.sqrt(np.asarray(variance) + background)

    complex_noise = excitation**2 * through_three * simple_trains
    return Homeostasis(scaling, rested(scaling**2 * heard), float(rested(complex_noise)))


def initial_state(
    parameters: Parameters, lesions: Collection[str], trials: Trials, random: np.random.Generator, within: float | None
) -> State:
    """A state to begin in, as `biomodel.circuit.spiking.ganglion.begun`: membranes below threshold, transmission at its mean."""
    grid, columns = trials.grid, rate_form.lattice_of(trials.grid, within)
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    cells = kinds(parameters, grid.pixels_per_degree)
    one = (columns.images, columns.height, columns.width)
    full = np.ones((grid.images, grid.height, grid.width))
    kept = homeostasis(parameters, cells)
    rest = {
        "simple": np.tile(kept.simple_rest, (SIMPLE, 1)),
        "complex": np.full((COMPLEX, len(cells)), kept.complex_rest),
    }
    state: State = {}
    for channel, rate in lgn.maintained(parameters).items():
        state[f"thalamocortical_{channel}.sent_{channel}"] = full * rate
        state[f"thalamocortical_{channel}.resource"] = full * rate_form.resting_resources(parameters)[channel]
    for name, number in (("simple", SIMPLE * _PHASES), ("complex", COMPLEX)):
        shape = (number * len(cells), *one)
        low, high = p["v1.spike_reset"], p["v1.spike_threshold"]
        state |= {
            f"v1_{name}.V": random.uniform(low - (high - low), high, shape),
            f"v1_{name}.adaptation": np.zeros(shape),
            f"v1_{name}.background": p["v1.background_noise"] * random.standard_normal(shape),
            f"v1_{name}.sent": np.full(shape, p["v1.spontaneous"]),
            f"v1_{name}.rest": np.broadcast_to(rest[name].reshape(-1, 1, 1, 1), shape),
        }
    scaling = np.tile(kept.scaling, (SIMPLE, 1)).reshape(-1, 1, 1, 1)
    state |= {"v1_simple.scaling": np.broadcast_to(scaling, (len(scaling), *one))}
    shape = (_PHASES * len(cells), *one)
    state |= {
        "v1_inhibitory.V": random.uniform(0, 0.5, shape),
        "v1_inhibitory.sent": np.full(shape, p["v1.inhibitory_spontaneous"]),
    }
    state |= {"v1_dendrite.carried": np.zeros(shape)}
    state |= {"v1_fired.carried": np.full((len(cells), *one), p["v1.spontaneous"])}
    quiet = np.zeros(one)
    names = [*rate_form.pools_of(cells, lesions), *rate_form.bands_of(cells, lesions)]
    return state | {f"{name}.pooled": quiet for name in names}
