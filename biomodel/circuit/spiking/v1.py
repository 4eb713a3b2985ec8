r"""Spiking V1: adaptive exponential excitatory cells and fast-spiking inhibitory cells, four to one.

Cell types, columns and wiring are those of the rate model. The input is s, what the synapses of relay cells transmit, in Hz of
a synapse at rest (`biomodel.circuit.spiking.v1_input`).

Each cell type has at each column three simple cells of each phase, two complex cells, and one inhibitory cell of each phase. With
:math:`x = \sum w s` minus its resting value, membranes in mV and conductances in leaks,

.. math::
    \tau \dot V = E_r - V + \Delta e^{(V - V_T)/\Delta} + g_E (E_E - V) + g_I (E_I - V) - a + \eta, \quad
    \tau_a \dot a = -a, \quad \tau_\eta \dot \eta = -\eta + \sigma \sqrt{2 \tau_\eta}\, \xi ,

a grows with each spike (Brette & Gerstner 2005); η is noise from the rest of the cortex.

A *simple* cell's dendrite carries its input to the soma, y, where it opens :math:`g_E = s k\, y`:

.. math:: \tau_d \dot y = x / d - y ;

The dendrite is slow because the rate model has a slow stage after its power law, and a soma with a threshold has none.
As in the rate model, the transmission in a static field has no effect, because inhibition balances it; less
transmission reduces excitation. Push-pull is :math:`g_I = s k_I\, (r - r_0)`, with r the transmission of the inhibitory
cell of the opposite phase, and r₀ the mean rate of inhibitory cells on photographs. Homeostasis sets the strength s
of a cell's synapses and its rest :math:`E_r` (`homeostasis`): within its limits, 1 Hz moves all simple cells with
one class of afferents by the same number of standard deviations of their noise.

Contrast adaptation weakens signal and noise of the relay alike. In the rate model it leaves the resting rate as it is. With a
fixed rest, cells would fall silent with the noise; therefore :math:`E_r` keeps its distance from threshold in standard
deviations of the noise that is left. This is an assumption. Thresholds in V1 do depend on how the potential fluctuates (Azouz &
Gray 2003), but a rest that follows the noise has not been measured.

Recurrent pools shunt the dendrite. With n the rate above rest of inhibitory cells of its relay class nearby, through synapses of
:math:`\tau_I`, and f the rate above rest of simple cells in the wider surround, with more weight for similar orientations,

.. math::
    d = (1 + [n]_+ / n_{half})\,(1 + [f]_+ / f_{half})^{1/p} ,

With the power p that results from threshold and noise (Priebe & Ferster 2008), the surround divides a rate as in the
rate model. A *complex* cell pools the simple cells of its column and of the one a quarter of a cycle away, as in the
rate model, through its own dendrite; strong adaptation makes its rate linear in theirs (Ermentrout 1998). *Inhibitory*
cells are leaky integrators without adaptation. Their input is x, undivided.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from brian2 import NeuronGroup, Quantity, Synapses, linked_var, ms
from scipy import sparse

from biomodel.circuit import lgn, v1_input
from biomodel.circuit import v1 as rate_form
from biomodel.circuit.cell_types import CellType, cell_types
from biomodel.circuit.coupled_layer import Layer, coupled_layer, coupling_and_clock
from biomodel.circuit.lattice import Grid, Links
from biomodel.circuit.retina import GANGLION_CHANNELS
from biomodel.circuit.spiking.cells import COUNT, COUNT_EQUATIONS, Trials
from biomodel.circuit.spiking.noise import SEED_EQUATION, UNIT_NOISE, unit_noise
from biomodel.circuit.station import Setting, State
from biomodel.circuit.v1 import BANDS
from biomodel.parameters import Parameters

#: Cells of each type at each column; of each phase for simple cells.
SIMPLE, COMPLEX = 3, 2

#: Phases: a cell type's own and the opposite.
_PHASES = 2

#: Largest variance of a simple cell's synaptic noise relative to all other noise.
OWN_NOISE = 25

DENDRITE_EQUATIONS = """
afferents : Hz
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
afferents_{k} : Hz (linked)
afferents_opposite_{k} : Hz (linked)
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

#: Separate from the sums, because a loop that writes to another group's cells is not vectorised.
TO_DENDRITES = """
afferents_{k} = sum_{k}
afferents_opposite_{k} = sum_opposite_{k}
drive_{k} = share_{k}*sum_{k}
drive_opposite_{k} = share_{k}*sum_opposite_{k}
"""

#: An excitatory cell, without its inputs.
EXCITATORY_EQUATIONS = """
dV/dt = (rest - V + onset + excited + inhibited - adaptation + background)/membrane_time : volt (unless refractory)
onset = sharpness*exp(clip((V - spike_threshold)/sharpness, -10, 10)) : volt
rest : volt
dadaptation/dt = -adaptation/adaptation_time : volt
dbackground/dt = -background/background_time + background_noise*sqrt(2/(background_time*dt))*{white} : volt
dsent/dt = -sent/synaptic_time : Hz
"""

#: Currents of an excitatory cell; {excitation} and {inhibition} are conductances in leaks.
CURRENTS = """
excited = {excitation}*(excitatory_reversal - V) : volt
inhibited = {inhibition}*(inhibitory_reversal - V) : volt
"""

SIMPLE_INPUTS = """
carried : Hz (linked)
transmitted : Hz (linked)
scaling : 1 (constant)
"""

#: Contrast adaptation at the place of a simple cell, by class of afferents; `of_parasol` is 1 for cells with parasol afferents.
ADAPTATION_INPUTS = """
midget_loss : 1 (linked)
parasol_loss : 1 (linked)
of_parasol : 1 (constant)
relay_noise : volt**2 (constant)
other_noise : volt**2 (constant)
"""

REST = """
loss = midget_loss + of_parasol*(parasol_loss - midget_loss)
rest = spike_threshold - rest_margin*sqrt(relay_noise/loss**2 + other_noise)
"""

COMPLEX_INPUTS = """
carried_here : Hz (linked)
carried_beside : Hz (linked)
"""

INHIBITORY_EQUATIONS = """
dV/dt = (current - V)/inhibitory_time + inhibitory_noise*sqrt(2/(inhibitory_time*dt))*{white} : 1 (unless refractory)
current = inhibitory_bias + inhibitory_strength*afferents : 1
afferents : Hz (linked)
dsent/dt = -sent/inhibitory_synaptic_time : Hz
spiked : 1
"""

#: Conductances in leaks.
_SIMPLE_EXCITATION = "scaling*excitatory_strength*carried"
_PUSH_PULL = "scaling*inhibition_strength*(transmitted - inhibitory_spontaneous)"
_COMPLEX_EXCITATION = "excitatory_strength*complex_strength*(0.5*(carried_here + carried_beside) - spontaneous)"

EXCITATORY_RESET = "V = spike_reset\nadaptation += {jump}\nsent += 1/synaptic_time\n"
INHIBITORY_RESET = "V = 0\nspiked += 1\nsent += 1/inhibitory_synaptic_time\n"


@dataclass(frozen=True)
class _Layout:
    """The cells and columns of a circuit's V1."""

    setting: Setting
    trials: Trials
    every: int
    within: float | None

    @property
    def parameters(self) -> Parameters:
        return self.setting.parameters

    @property
    def clock(self) -> Quantity:
        return self.every * self.setting.dt

    @cached_property
    def cell_types(self) -> list[CellType]:
        return cell_types(self.parameters, self.trials.grid.pixels_per_degree)

    @cached_property
    def columns(self) -> Grid:
        return rate_form.lattice_of(self.trials.grid, self.within)

    @cached_property
    def namespace(self) -> dict[str, Any]:
        return self.parameters.quantities("v1") | {"unit_noise": unit_noise}


def v1(
    setting: Setting,
    trials: Trials,
    every: int,
    terminals: dict[str, NeuronGroup | Synapses],
    within: float | None = None,
) -> dict[str, NeuronGroup]:
    """Dendrites, spiking cells and pools. `group_and_first_cell` locates a channel's cells.

    Parameters
    ----------
    setting : Setting
    trials : Trials
    every : int
        Steps of the circuit per step of V1.
    terminals : dict of str to NeuronGroup or Synapses
        With the groups "v1_input_midget_on" and so on.
    within : float, optional
        Largest distance of a column from the middle in degrees.
    """
    s = _Layout(setting, trials, every, within)
    cells_of_a_phase = len(s.cell_types) * s.columns.cells
    dendrites = NeuronGroup(
        _PHASES * cells_of_a_phase,
        DENDRITE_EQUATIONS,
        method="exponential_euler",
        dt=s.clock,
        order=11,
        name="v1_dendrite",
        namespace=s.namespace,
    )
    each = np.arange(len(dendrites))
    pull = "0" if "push_pull" in setting.lesions else _PUSH_PULL
    adapts = v1_input.ADAPTATION_LESION not in setting.lesions
    simple = _excitatory(
        s,
        "v1_simple",
        SIMPLE * len(dendrites),
        "adaptation_jump",
        CURRENTS.format(excitation=_SIMPLE_EXCITATION, inhibition=pull)
        + SIMPLE_INPUTS
        + (ADAPTATION_INPUTS if adapts else ""),
    )
    if adapts:
        _follow_adaptation(s, simple, terminals)
    inhibitory = NeuronGroup(
        len(dendrites),
        INHIBITORY_EQUATIONS.format(white=UNIT_NOISE) + SEED_EQUATION + COUNT_EQUATIONS,
        threshold="V >= 1",
        reset=INHIBITORY_RESET + COUNT,
        refractory=s.namespace["inhibitory_refractory_time"],
        method="euler",
        dt=s.clock,
        # After the cells that it inhibits, which read its transmission before it decays.
        order=13,
        name="v1_inhibitory",
        namespace=s.namespace,
    )
    # The pools read the spikes of a step in the next one.
    inhibitory.run_regularly("spiked = 0", dt=s.clock, when="groups", order=14, name="v1_inhibitory_reset")
    # The cells that inhibit a phase have the afferents of the opposite one.
    opposite = np.roll(each, len(each) // _PHASES)
    inhibitory.afferents = linked_var(dendrites, "afferents", index=opposite)
    simple.carried = linked_var(dendrites, "carried", index=np.tile(each, SIMPLE))
    simple.transmitted = linked_var(inhibitory, "sent", index=np.tile(each, SIMPLE))
    fired = _mean_rate(s, simple)
    inputs = CURRENTS.format(excitation=_COMPLEX_EXCITATION, inhibition="0") + COMPLEX_INPUTS
    complexes = _excitatory(s, "v1_complex", COMPLEX * cells_of_a_phase, "complex_adaptation_jump", inputs)
    here = np.arange(cells_of_a_phase)
    beside = np.concatenate(
        [
            k * s.columns.cells
            + s.columns.neighbour(*rate_form.complex_pool_offsets(cell, s.columns.pixels_per_degree)[1])
            for k, cell in enumerate(s.cell_types)
        ]
    )
    complexes.carried_here = linked_var(fired, "carried", index=np.tile(here, COMPLEX))
    complexes.carried_beside = linked_var(fired, "carried", index=np.tile(beside, COMPLEX).astype(int))
    groups = {group.name: group for group in (dendrites, simple, inhibitory, fired, complexes)}
    return groups | _columns(s, terminals, groups)


def _excitatory(s: _Layout, name: str, number: int, jump: str, inputs: str) -> NeuronGroup:
    """Adaptive exponential cells; `jump` names the parameter by which a spike adds to adaptation, `inputs` are equations."""
    return NeuronGroup(
        number,
        EXCITATORY_EQUATIONS.format(white=UNIT_NOISE) + inputs + SEED_EQUATION + COUNT_EQUATIONS,
        threshold="V >= spike_cut",
        reset=EXCITATORY_RESET.format(jump=jump) + COUNT,
        refractory=s.namespace["refractory_time"],
        method="euler",
        dt=s.clock,
        order=12,
        name=name,
        namespace=s.namespace,
    )


def _follow_adaptation(s: _Layout, simple: NeuronGroup, terminals: dict[str, NeuronGroup | Synapses]) -> None:
    """Keep the distance of simple cells' rest from threshold in standard deviations of the noise that adaptation leaves."""
    grid = s.trials.grid
    places = (rate_form.lattice(n, grid.pixels_per_degree, s.within) for n in (grid.height, grid.width))
    columns = np.tile(grid.neighbour(0, 0, *places), len(simple) // s.columns.cells).astype(int)
    for name in lgn.CLASSES:
        # ON and OFF axons of a class adapt alike.
        loss = linked_var(terminals[f"v1_input_{name}_on"], f"{name}_loss", index=columns)
        setattr(simple, f"{name}_loss", loss)
    simple.run_regularly(REST, dt=v1_input.ADAPTATION_CLOCK * s.clock, when="groups", order=9, name="v1_simple_rest")


def _mean_rate(s: _Layout, simple: NeuronGroup) -> NeuronGroup:
    """Mean transmission of the simple cells of a type at each column, as a rate."""
    cells = len(s.cell_types) * s.columns.cells
    number = SIMPLE * _PHASES
    names = [f"sent_{k}" for k in range(number)]
    group = NeuronGroup(
        cells,
        FIRED_EQUATIONS + "".join(f"{name} : Hz (linked)\n" for name in names),
        method="exponential_euler",
        dt=s.clock,
        order=11,
        name="v1_fired",
        namespace=s.namespace,
    )
    group.run_regularly(f"fired = ({' + '.join(names)})/{number}", dt=s.clock, when="groups", order=9, name="v1_firing")
    for k, name in enumerate(names):
        setattr(group, name, linked_var(simple, "sent", index=k * cells + np.arange(cells)))
    return group


def _columns(
    s: _Layout, terminals: dict[str, NeuronGroup | Synapses], groups: dict[str, NeuronGroup]
) -> dict[str, NeuronGroup]:
    """The columns, which sum the afferents of each cell type's dendrites, and the layers that normalise and suppress."""
    cells, columns, clock, grid = s.cell_types, s.columns, s.clock, s.trials.grid
    places = tuple(rate_form.lattice(n, grid.pixels_per_degree, s.within) for n in (grid.height, grid.width))
    terms = [rate_form.afferent_terms(s.parameters, cell) for cell in cells]
    afferents = Links("Hz", [(variable, offset) for both in terms for one in both for _, variable, offset in one])
    pools, surrounds = rate_form.pools_of(cells, s.setting.lesions), rate_form.surrounds_of(cells, s.setting.lesions)
    names = [*pools, *surrounds]
    group = NeuronGroup(
        columns.cells,
        "".join(COLUMN_EQUATIONS.format(k=k) for k in range(len(cells)))
        + "".join(f"{name} : Hz (linked)\n" for name in names)
        + "".join(f"spiked_{relay} : Hz\n" for relay in rate_form.RELAYS)
        + "".join(f"fired_in_{band} : Hz\n" for band in BANDS)
        + "".join(f"{name.replace('surround', 'unsuppressed')} : 1\n" for name in surrounds)
        + afferents.equations,
        dt=clock,
        order=10,
        name="v1",
        namespace=s.parameters.quantities("v1"),
    )
    sources = {f"sent_{channel}": terminals[f"v1_input_{channel}"] for channel in GANGLION_CHANNELS}
    afferents.link(group, sources, lambda down, right: grid.neighbour(down, right, *places))
    here = np.arange(columns.cells)
    for k in range(len(cells)):
        own, other = k * columns.cells + here, (len(cells) + k) * columns.cells + here
        for name, source, variable, index in (
            (f"afferents_{k}", "v1_dendrite", "afferents", own),
            (f"afferents_opposite_{k}", "v1_dendrite", "afferents", other),
            (f"drive_{k}", "v1_dendrite", "drive", own),
            (f"drive_opposite_{k}", "v1_dendrite", "drive", other),
            (f"fired_{k}", "v1_fired", "fired", own),
            (f"spiked_{k}", "v1_inhibitory", "spiked", own),
            (f"spiked_opposite_{k}", "v1_inhibitory", "spiked", other),
        ):
            setattr(group, name, linked_var(groups[source], variable, index=index))
    rest = lgn.maintained(s.parameters)
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
                unsuppressed=f"{cell.surround}_unsuppressed_{rate_form.band_of(cell)}" if surrounds else "1",
            )
        )
    if surrounds:
        unsuppressed = {_unsuppressed(cell, surrounds) for cell in cells}
        group.run_regularly(
            "\n".join(sorted(unsuppressed)),
            dt=clock,
            when="groups",
            order=9,
            name="v1_suppression",
        )
    for k in range(0, len(statements), rate_form.LOOP):
        loop = "".join(statements[k : k + rate_form.LOOP])
        group.run_regularly(loop, dt=clock, when="groups", order=10, name=f"v1_sums_{k}")
    passed = "".join(TO_DENDRITES.format(k=k) for k in range(len(cells)))
    group.run_regularly(passed, dt=clock, when="groups", order=10, name="v1_sums_to_dendrites")
    inputs = []
    for relay, members in rate_form.types_by_relay(cells).items():
        if f"normalisation_{relay}" in pools:
            spiked = " + ".join(f"spiked_{k} + spiked_opposite_{k}" for k in members)
            rate = f"({spiked})/({_PHASES * len(members)}*{float(clock / ms)!r}*ms)"
            inputs.append(f"spiked_{relay} = {rate} - inhibitory_spontaneous")
    for band, members in zip(BANDS, rate_form.types_by_band(cells), strict=True):
        if members and surrounds:
            fired = " + ".join(f"fired_{k}" for k in members)
            inputs.append(f"fired_in_{band} = {_PHASES}*(({fired})/{len(members)} - spontaneous)")
    if inputs:
        group.run_regularly("\n".join(inputs), dt=clock, when="groups", order=13, name="v1_layer_inputs")
    layers = {"v1": group}
    for name in names:
        kind, pooled_types = name.rsplit("_", 1)
        time = s.parameters["v1.inhibitory_synaptic_time" if name in pools else "v1.surround_time"].quantity
        space_constant = s.parameters.value(f"v1.{kind}_space_constant") * columns.pixels_per_degree
        lattice_coupling, step = coupling_and_clock(space_constant, time, clock, s.every)
        layer = Layer(name, "Hz", lattice_coupling, time, step, order=14)
        variable = f"spiked_{pooled_types}" if name in pools else f"fired_in_{pooled_types}"
        layers[name] = coupled_layer(layer, group, variable, columns)
        setattr(group, name, linked_var(layers[name], "pooled"))
    return layers


def _unsuppressed(cell: CellType, surrounds: list[str]) -> str:
    """Statement of the factor by which the surround scales the drive of a cell type, and others of its size and band."""
    suppression = rate_form.suppression_of(cell, surrounds)
    factor = f"{cell.surround}_unsuppressed_{rate_form.band_of(cell)}"
    return f"{factor} = (1 + clip({suppression}, 0*Hz, inf*Hz)/surround_half)**(-1/exponent)"


def group_and_first_cell(channel: str, columns: int) -> tuple[str, int]:
    """The group of a channel's cells, and the index there of its first recorded cell; one cell per column is recorded."""
    name, kind = channel.split("_")
    return f"v1_{name}", int(kind) * columns


@dataclass(frozen=True)
class Homeostasis:
    """Strength and noise of simple and complex cells after homeostasis.

    Attributes
    ----------
    scaling : numpy.ndarray, (phase, cell type, row, column)
        Scale of excitation and inhibition of simple cells, at most 1.
    relay_noise : numpy.ndarray, (phase, cell type, row, column)
        Variance of simple cells' membranes from the trains of relay cells, without contrast adaptation, volt².
    other_noise : numpy.ndarray, (phase, cell type, row, column)
        Their variance from inhibitory cells and from the rest of the cortex, volt².
    complex_noise : float
        Variance of complex cells' membranes, volt².
    """

    scaling: np.ndarray
    relay_noise: np.ndarray
    other_noise: np.ndarray
    complex_noise: float


def homeostasis(parameters: Parameters, cells: list[CellType], grid: Grid, within: float | None = None) -> Homeostasis:
    r"""Strength of each simple cell's synapses, from its noise in a static field.

    1 Hz of transmission by the relay moves a simple cell's membrane by :math:`s k (E_E - V_T)`; its noise has the
    variance :math:`s^2 h + b`. h comes from the relay's trains, of maintained rates and more regular than Poisson trains
    (`v1.midget_irregularity`, `v1.parasol_irregularity`), through synapse, dendrite and membrane, and from Poisson trains of the
    inhibitory cells; it is larger near an edge of the image, where several of a cell's afferents are one axon (`relay_trains`).
    b comes from the rest of the cortex. Homeostasis aims at the set point g, standard deviations of noise per
    Hz, like synaptic scaling (Turrigiano 2008, for rates). Its synapses stay weaker than those at which nearly all
    noise is their own, beyond which sensitivity does not increase:

    .. math:: s^2 = \min\left(\frac{b}{(k (E_E - V_T) / g)^2 - h},\ \frac{q b}{h},\ 1\right), \quad q = 25,

    the first where it is positive. At :math:`s^2 h = q b` a membrane has .98 of the greatest possible sensitivity. All cells rest
    `v1.rest_margin` standard deviations below threshold (`resting_potential`). Lesions do not change strength; without
    contrast adaptation rests are constant.

    Parameters
    ----------
    parameters : Parameters
    cells : list of CellType
    grid : Grid
        Of the relay.
    within : float, optional
        As in `v1`.
    """
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    trains = relay_trains(parameters, cells, grid, within)
    # An upper bound: the three simple cells of one phase at one place, which share afferents, always fire together.
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
    irregularity = np.array([[[p[f"v1.{cell.relay}_irregularity"]]] for cell in cells])
    relays = excitation**2 * through_three * irregularity * trains
    partners = inhibition**2 * through_two * p["v1.inhibitory_spontaneous"]
    set_point = np.array([[[p[f"v1.{cell.relay}_set_point"]]] for cell in cells])
    limit = np.maximum((relays + partners) / OWN_NOISE, background)
    scaling = np.sqrt(background / np.maximum((excitation / set_point) ** 2 - (relays + partners), limit))
    complex_noise = excitation**2 * through_three * simple_trains + background
    return Homeostasis(scaling, scaling**2 * relays, scaling**2 * partners + background, float(complex_noise))


def relay_trains(parameters: Parameters, cells: list[CellType], grid: Grid, within: float | None = None) -> np.ndarray:
    """Variance that Poisson trains of relay cells at maintained rates bring to the sum of each simple cell's afferents.

    The squared weights of a cell's axons times their rates, Hz. Edges of the image replicate, so that an axon near one can have
    several of a cell's weights.

    Parameters
    ----------
    parameters, cells, grid, within
        As for `homeostasis`.

    Returns
    -------
    numpy.ndarray, (phase, cell type, row, column)
    """
    image = Grid(1, grid.height, grid.width, grid.pixels_per_degree)
    places = tuple(rate_form.lattice(n, grid.pixels_per_degree, within) for n in (grid.height, grid.width))
    columns = np.arange(len(places[0]) * len(places[1]))
    rest = lgn.maintained(parameters)
    variance = np.empty((_PHASES, len(cells), len(places[0]), len(places[1])))
    for k, cell in enumerate(cells):
        for phase, terms in enumerate(rate_form.afferent_terms(parameters, cell)):
            first = {name: n * image.cells for n, name in enumerate(sorted({name for _, name, _ in terms}))}
            axons = np.stack([first[name] + image.neighbour(*offset, *places) for _, name, offset in terms], axis=1)
            weights = np.tile([weight for weight, *_ in terms], len(columns))
            shape = (len(columns), len(first) * image.cells)
            entries = (weights, (np.repeat(columns, len(terms)), axons.ravel()))
            total = sparse.csr_array(entries, shape=shape)  # Sums the weights of an axon.
            rates = np.repeat([rest[name.removeprefix("sent_")] for name in first], image.cells)
            variance[phase, k] = (total.power(2) @ rates).reshape(variance.shape[2:])
    return variance


def resting_potential(parameters: Parameters, variance: np.ndarray | float) -> np.ndarray:
    """Rest in volt of membranes whose noise has a variance in volt²."""
    threshold = float(parameters["v1.spike_threshold"].quantity)
    return threshold - parameters.value("v1.rest_margin") * np.sqrt(np.asarray(variance))


def initial_state(setting: Setting, trials: Trials, random: np.random.Generator, within: float | None) -> State:
    """An initial state: membranes at random below threshold, transmission at its mean.

    Parameters
    ----------
    setting : Setting
    trials : Trials
    random : numpy.random.Generator
    within : float or None
        As in `v1`.

    Returns
    -------
    dict of "group.variable" to numpy.ndarray, SI units
    """
    parameters, lesions, *_ = setting
    grid, columns = trials.grid, rate_form.lattice_of(trials.grid, within)
    p = {name: float(parameter.quantity) for name, parameter in parameters.items()}
    cells = cell_types(parameters, grid.pixels_per_degree)
    lattice = (columns.images, columns.height, columns.width)
    balanced = homeostasis(parameters, cells, trials.grid, within)

    def of_simple_cells(values: np.ndarray) -> np.ndarray:
        number = SIMPLE * _PHASES * len(cells)
        return np.broadcast_to(
            np.tile(values, (SIMPLE, 1, 1, 1)).reshape(number, 1, *values.shape[2:]), (number, *lattice)
        )

    simple_rest = resting_potential(parameters, balanced.relay_noise + balanced.other_noise)
    complex_rest = float(resting_potential(parameters, balanced.complex_noise))
    rest = {
        "simple": of_simple_cells(simple_rest),
        "complex": np.full((COMPLEX * len(cells), *lattice), complex_rest),
    }
    state: State = {}
    for name, number in (("simple", SIMPLE * _PHASES), ("complex", COMPLEX)):
        shape = (number * len(cells), *lattice)
        low, high = p["v1.spike_reset"], p["v1.spike_threshold"]
        state |= {
            f"v1_{name}.V": random.uniform(low - (high - low), high, shape),
            f"v1_{name}.adaptation": np.zeros(shape),
            f"v1_{name}.background": p["v1.background_noise"] * random.standard_normal(shape),
            f"v1_{name}.sent": np.full(shape, p["v1.spontaneous"]),
            f"v1_{name}.rest": rest[name],
        }
    constants = {"scaling": balanced.scaling}
    if v1_input.ADAPTATION_LESION not in lesions:
        parasol = np.array([float(cell.relay == "parasol") for cell in cells]).reshape(-1, 1, 1)
        of_parasol = np.broadcast_to(parasol, balanced.scaling.shape)
        constants |= {
            "relay_noise": balanced.relay_noise,
            "other_noise": balanced.other_noise,
            "of_parasol": of_parasol,
        }
    for name, values in constants.items():
        state[f"v1_simple.{name}"] = of_simple_cells(values)
    shape = (_PHASES * len(cells), *lattice)
    state |= {
        "v1_inhibitory.V": random.uniform(0, 0.5, shape),
        "v1_inhibitory.sent": np.full(shape, p["v1.inhibitory_spontaneous"]),
    }
    state |= {"v1_dendrite.carried": np.zeros(shape)}
    state |= {"v1_fired.carried": np.full((len(cells), *lattice), p["v1.spontaneous"])}
    silent = np.zeros(lattice)
    names = [*rate_form.pools_of(cells, lesions), *rate_form.surrounds_of(cells, lesions)]
    return state | {f"{name}.pooled": silent for name in names}
