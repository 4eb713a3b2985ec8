r"""V1 at rate fidelity: simple and complex cells, normalisation, surround suppression, thalamocortical depression.

Every kind of cell has on every second pixel column and row two simple cells, of its own and of the opposite
phase, an inhibitory partner of each, and a complex cell. With relay rates l:

**Thalamocortical synapses** run down with what they send (Tsodyks & Markram 1997): of resources x a share U is released,
and the current a that it opens lasts,

.. math:: \tau_d \dot d = l - d, \quad \tau_{rec} \dot x = 1 - x - \tau_{rec} U d x, \quad \tau_E \dot a = d x / x_0 - a ,

x₀ being what is left at the maintained rate, and d what comes out of the relay cells' axons.

**Simple cells** sum rows of ON and OFF relay cells, midget or parasol, D, with positive weights. An inhibitory partner hears
the same places with ON and OFF exchanged, A, and takes its rate away from the simple cell's drive (push-pull; Ferster 1988,
Hirsch 1998):

.. math:: \tau_i \dot i = [A - \bar A]_+ - i, \quad u = [D - \bar D - p\, i]_+ ,

D̄ and Ā being what the maintained rates give. The simple cell of the opposite phase hears A, and its partner D.

**Normalisation** (Heeger 1992, Carandini & Heeger 2012): drives are raised to a power (Priebe & Ferster 2008), and layers of
coupled inhibitory cells, one for the kinds that hear midget and one for those that hear parasol cells, as inhibition is local in
layers 4Cβ and 4Cα (Callaway 1998), pool them to n; **surround suppression**: four wider layers, each for kinds
within 22.5° of 0, 45, 90 or 135°, pool what their simple cells fire beyond rest; a cell hears its own band's, b, with share q,
and the mean of all bands', B. What a layer hears is the sum over both phases and the mean over its kinds:

.. math:: \tau \dot s = s_0 + R\, \frac{(u / \sigma)^\alpha}{1 + w\, n}\, \frac{1}{1 + (q\, b + (1 - q)\, B) / b_{half}} - s .

**Complex cells** pool the simple cells of their kind, of both phases, at two places a quarter of a cycle apart (Hubel & Wiesel
1962, Adelson & Bergen 1985): :math:`\tau \dot c = s_0 + k\, (\langle s \rangle - s_0) - c`. On the lattice of columns a
few kinds of high frequency have no place that is nearly so far away; their complex cells still tell phases apart.

Relay and simple cells excite; inhibitory partners and the six layers only inhibit (`SIGNS`); complex cells are the circuit's
output and reach no other. Parameters: U `midget_release`, `parasol_release`; p `inhibition`, σ `semisaturation`, α `exponent`,
R `maximum_rate`, w `normalisation_weight`, q `surround_tuning`, b_half `surround_half`, k `complex_gain`, s₀ `spontaneous`.

Lesions. `push_pull` takes the partners' weight away (p = 0), `normalisation` holds n and `surround_suppression` b and B at 0,
their values at rest; `thalamocortical_depression` holds x at x₀.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from brian2 import NeuronGroup, Quantity, linked_var

from biomodel.circuit import lgn
from biomodel.circuit.cell_types import Afferents, Kind, kinds
from biomodel.circuit.coupled_layer import coupled_layer, coupling_and_clock
from biomodel.circuit.lattice import Grid, Links, Offset, Term, near_middle
from biomodel.circuit.station import Readout, State
from biomodel.parameters import Parameters

#: V1 stands on every second column and row of the lattice.
STRIDE = 2

#: What a cell, or layer of cells, does to those it reaches.
SIGNS = {"relay": 1, "simple": 1, "opposite": 1, "complex": 1, "inhibitory": -1, "normalisation": -1, "surround": -1}

#: Preferred orientations in the middle of the surround's bands, degrees.
BANDS = (0, 45, 90, 135)

#: The simple cells of a kind, of its own and of the opposite phase.
_PHASES = ("simple", "opposite")

#: Kinds that are summed in one loop: Brian2 takes long over many loops, and compilers over long ones.
LOOP = 4

#: Relay channels with their opposites.
_OPPOSITE = {
    "midget_on": "midget_off",
    "midget_off": "midget_on",
    "parasol_on": "parasol_off",
    "parasol_off": "parasol_on",
}

#: Classes of relay cells that kinds listen to.
RELAYS = ("midget", "parasol")

#: Every layer that there may be.
_LAYERS = (*(f"normalisation_{relay}" for relay in RELAYS), *(f"surround_{band}" for band in BANDS))

#: A kind's cells that rest at the spontaneous rate, and those that are silent at rest.
_SPONTANEOUS, _SILENT = (*_PHASES, "complex"), ("inhibitory", "inhibitory_opposite")

SYNAPSE_EQUATIONS = """
darrived_{channel}/dt = (relay_{channel} - arrived_{channel})/conduction_time : Hz
dresource_{channel}/dt = (1 - resource_{channel})/recovery_time - {release}*arrived_{channel}*resource_{channel} : 1
dsent_{channel}/dt = ({sending} - sent_{channel})/synaptic_time : Hz
relay_{channel} : Hz (linked)
"""

#: One kind of cells, of all V1 cell columns.
KIND_EQUATIONS = """
dsimple_{k}/dt = (spontaneous + simple_target_{k} - simple_{k})/membrane_time : Hz
dopposite_{k}/dt = (spontaneous + opposite_target_{k} - opposite_{k})/membrane_time : Hz
dcomplex_{k}/dt = (complex_target_{k} - complex_{k})/membrane_time : Hz
dinhibitory_{k}/dt = (heard_opposite_{k}*int(heard_opposite_{k} > 0*Hz) - inhibitory_{k})/inhibitory_time : Hz
dinhibitory_opposite_{k}/dt = (heard_{k}*int(heard_{k} > 0*Hz) - inhibitory_opposite_{k})/inhibitory_time : Hz
simple_target_{k} : Hz
opposite_target_{k} : Hz
complex_target_{k} : Hz
heard_{k} : Hz
heard_opposite_{k} : Hz
power_{k} : 1
power_opposite_{k} : 1
"""

SUMS = """
heard_{k} = {drive} - {drive_rest!r}*Hz
heard_opposite_{k} = {opposite} - {opposite_rest!r}*Hz
excited_{k} = heard_{k}{pull}
power_{k} = (excited_{k}*int(excited_{k} > 0*Hz)/semisaturation)**exponent
excited_opposite_{k} = heard_opposite_{k}{pull_opposite}
power_opposite_{k} = (excited_opposite_{k}*int(excited_opposite_{k} > 0*Hz)/semisaturation)**exponent
share_{k} = maximum_rate/(1{pool}){surround}
simple_target_{k} = share_{k}*power_{k}
opposite_target_{k} = share_{k}*power_opposite_{k}
complex_target_{k} = spontaneous + complex_gain*({neighbours} - spontaneous)
"""


def thalamocortical(
    parameters: Parameters, lesions: Collection[str], grid: Grid, dt: Quantity, relay: NeuronGroup
) -> NeuronGroup:
    """Synapses of relay cells in V1, a group of as many; `sent_…` is what arrives, in Hz of a rested synapse at rest."""
    lesioned = "thalamocortical_depression" in lesions
    rested = resting_resources(parameters)
    group = NeuronGroup(
        grid.cells,
        "".join(
            SYNAPSE_EQUATIONS.format(
                channel=channel,
                release=release(channel),
                sending=f"arrived_{channel}" + ("" if lesioned else f"*resource_{channel}/{rested[channel]!r}"),
            )
            for channel in _OPPOSITE
        ),
        method="exponential_euler",
        dt=dt,
        order=9,
        name="thalamocortical",
        namespace=parameters.quantities("v1"),
    )
    for channel in _OPPOSITE:
        setattr(group, f"relay_{channel}", linked_var(relay, channel))
    return group


def v1(
    parameters: Parameters,
    lesions: Collection[str],
    grid: Grid,
    dt: Quantity,
    every: int,
    synapses: NeuronGroup,
    within: float | None = None,
) -> dict[str, NeuronGroup]:
    """A cell column at every second pixel, with the cells of every kind, and the layers that normalise and suppress.

    Its step is `every` steps of the circuit. Responses are the variables simple_0, …, complex_0, …, in Hz.

    Parameters
    ----------
    within : float, optional
        Degrees from the middle to which columns stand, as in `lattice`.
    """
    cells = kinds(parameters, grid.pixels_per_degree)
    columns = lattice_of(grid, within)
    rows_and_columns = (
        lattice(grid.height, grid.pixels_per_degree, within),
        lattice(grid.width, grid.pixels_per_degree, within),
    )
    afferents = Links("Hz", [(v, o) for cell in cells for terms in heard(parameters, cell) for _, v, o in terms])
    positions = [quarters(cell, columns.pixels_per_degree) for cell in cells]
    pooled = [[(f"{cell}_{k}", o) for o in offsets for cell in _PHASES] for k, offsets in enumerate(positions)]
    neighbours = Links("Hz", [read for reads in pooled for read in reads], "column")
    pools, bands = pools_of(cells, lesions), bands_of(cells, lesions)
    declared = "".join(f"{name} : {'1' if name in pools else 'Hz'} (linked)\n" for name in [*pools, *bands])
    declared += "".join(f"power_{relay} : 1\n" for relay in RELAYS) + "".join(f"fired_{band} : Hz\n" for band in BANDS)
    group = NeuronGroup(
        columns.cells,
        "".join(KIND_EQUATIONS.format(k=k) for k in range(len(cells)))
        + declared
        + afferents.equations
        + neighbours.equations,
        method="exponential_euler",
        dt=dt,
        order=11,
        name="v1",
        namespace=parameters.quantities("v1"),
    )
    afferents.link(group, synapses, lambda down, right: grid.neighbour(down, right, *rows_and_columns))
    neighbours.link(group, group, columns.neighbour)
    pull = "" if "push_pull" in lesions else " - inhibition*{partner}_{k}"
    rest = lgn.maintained(parameters)
    statements = []
    for k, (cell, reads) in enumerate(zip(cells, pooled, strict=True)):
        drive, opposite = heard(parameters, cell)
        own, others = f"surround_{band_of(cell)}", " + ".join(bands)
        statements.append(
            SUMS.format(
                k=k,
                drive=afferents.weighted_sum(drive),
                opposite=afferents.weighted_sum(opposite),
                drive_rest=sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in drive),
                opposite_rest=sum(weight * rest[name.removeprefix("sent_")] for weight, name, _ in opposite),
                pull=pull.format(k=k, partner="inhibitory"),
                pull_opposite=pull.format(k=k, partner="inhibitory_opposite"),
                pool=f" + normalisation_weight*normalisation_{cell.relay}" if pools else "",
                surround=f"/(1 + (surround_tuning*{own} + (1 - surround_tuning)*({others})/{len(bands)})/surround_half)"
                if bands
                else "",
                neighbours=neighbours.weighted_sum((1 / len(reads), *read) for read in reads),
            )
        )
    for k in range(0, len(statements), LOOP):
        together = "".join(statements[k : k + LOOP])
        group.run_regularly(together, dt=dt, when="groups", order=10, name=f"v1_sums_{k}")
    told = []
    for relay, members in kinds_of_relays(cells).items():
        if f"normalisation_{relay}" in pools:
            powers = " + ".join(f"power_{k} + power_opposite_{k}" for k in members)
            told.append(f"power_{relay} = ({powers})/{len(members)}")
    for band, members in zip(BANDS, kinds_of_bands(cells), strict=True):
        if f"surround_{band}" in bands:
            fired = " + ".join(f"{cell}_{k}" for k in members for cell in _PHASES)
            told.append(f"fired_{band} = ({fired})/{len(members)} - {len(_PHASES)}*spontaneous")
    if told:
        group.run_regularly("\n".join(told), dt=dt, when="groups", order=12, name="v1_telling")
    groups = {"v1": group}
    for name in [*pools, *bands]:
        kind, of = name.split("_")
        time = parameters["v1.inhibitory_time" if kind == "normalisation" else "v1.surround_time"].quantity
        space_constant = parameters.value(f"v1.{kind}_space_constant") * columns.pixels_per_degree
        layer, clock = coupling_and_clock(space_constant, time, dt, every)
        unit, source = ("1", f"power_{of}") if kind == "normalisation" else ("Hz", f"fired_{of}")
        groups[name] = coupled_layer(name, unit, layer, time, group, source, columns, clock, 13)
        setattr(group, name, linked_var(groups[name], "pooled"))
    return groups


def pools_of(cells: list[Kind], lesions: Collection[str]) -> list[str]:
    """Names of the layers that normalise."""
    if "normalisation" in lesions:
        return []
    return [f"normalisation_{relay}" for relay, members in kinds_of_relays(cells).items() if members]


def bands_of(cells: list[Kind], lesions: Collection[str]) -> list[str]:
    """Names of the layers that suppress from the surround."""
    if "surround_suppression" in lesions:
        return []
    return [f"surround_{band}" for band, members in zip(BANDS, kinds_of_bands(cells), strict=True) if members]


def layers(parameters: Parameters, lesions: Collection[str], pixels_per_degree: float) -> set[str]:
    """The groups that stand between the relay and V1's cells, and among them."""
    cells = kinds(parameters, pixels_per_degree)
    return {"thalamocortical", *pools_of(cells, lesions), *bands_of(cells, lesions)}


def lattice_of(grid: Grid, within: float | None = None) -> Grid:
    """The lattice of V1's cell columns over that of the retina."""
    height, width = (len(lattice(side, grid.pixels_per_degree, within)) for side in (grid.height, grid.width))
    return Grid(grid.images, height, width, grid.pixels_per_degree / STRIDE)


def resting_resources(parameters: Parameters) -> dict[str, float]:
    """What each relay channel's synapses have left at its maintained rate."""
    time = parameters.value("v1.recovery_time") / 1000
    return {
        channel: 1 / (1 + parameters.value(f"v1.{release(channel)}") * time * rate)
        for channel, rate in lgn.maintained(parameters).items()
    }


def release(channel: str) -> str:
    """Which parameter says what share of their resources a relay channel's synapses release."""
    return f"{channel.split('_')[0]}_release"


def heard(parameters: Parameters, cell: Kind) -> tuple[list[Term], list[Term]]:
    """Weights, variables and offsets of what a simple cell and its inhibitory partner hear."""
    drive = _terms(cell.afferents, cell.relay, parameters.value("v1.parasol_gain") if cell.relay == "parasol" else 1.0)
    return drive, [(w, f"sent_{_OPPOSITE[name.removeprefix('sent_')]}", o) for w, name, o in drive]


def _terms(afferents: Afferents, name: str, gain: float) -> list[Term]:
    a = afferents
    return [
        (gain * weight, f"sent_{name}_{'on' if on else 'off'}", (down, right))
        for weight, on, down, right in zip(
            a.weight.tolist(), a.on.tolist(), a.down.tolist(), a.right.tolist(), strict=True
        )
    ]


def quarters(cell: Kind, columns_per_degree: float) -> list[Offset]:
    """The column itself, and one near by where the kind's simple cells are about a quarter of a cycle away."""
    reach = max(2, int(np.ceil(columns_per_degree / cell.frequency)))
    down, right = (a.ravel() for a in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    angle = np.deg2rad(cell.orientation)
    across = (right * np.sin(angle) + down * np.cos(angle)) / columns_per_degree
    distance = np.hypot(down, right) / columns_per_degree
    cycles = across * cell.frequency
    # With cells of both phases at either place, three quarters do as well as one.
    away = np.abs(cycles % 0.5 - 0.25)
    best = int(np.argmin(np.where(distance > 0, away + 0.2 * distance * cell.frequency, np.inf)))
    return [(0, 0), (int(down[best]), int(right[best]))]


def band_of(cell: Kind) -> int:
    """The one of `BANDS` that a kind belongs to."""
    return BANDS[round(cell.orientation / 45) % 4]


def kinds_of_bands(cells: list[Kind]) -> list[list[int]]:
    """Numbers of the kinds of each of `BANDS`."""
    return [[k for k, cell in enumerate(cells) if band_of(cell) == band] for band in BANDS]


def kinds_of_relays(cells: list[Kind]) -> dict[str, list[int]]:
    """Numbers of the kinds that listen to each of `RELAYS`."""
    return {relay: [k for k, cell in enumerate(cells) if cell.relay == relay] for relay in RELAYS}


def channels(parameters: Parameters) -> list[str]:
    """Labels of the response's channels, which are also the network's variables."""
    count = round(parameters.value("v1.kinds"))
    return [f"{cell}_{k}" for cell in ("simple", "complex") for k in range(count)]


def readout(parameters: Parameters) -> Readout:
    """Every kind's simple and complex cell is a channel."""
    return Readout("Hz", {name: name for name in channels(parameters)})


def coordinates(parameters: Parameters, pixels_per_degree: float) -> dict[str, tuple[str, list]]:
    """What each channel is, and prefers by construction, as coordinates of `v1_channel`."""
    cells = kinds(parameters, pixels_per_degree) * 2
    half = len(cells) // 2
    return {
        "v1_kind": ("v1_channel", ["simple"] * half + ["complex"] * half),
        "v1_orientation": ("v1_channel", [cell.orientation for cell in cells]),
        "v1_phase": ("v1_channel", [cell.phase for cell in cells]),
        "v1_frequency": ("v1_channel", [cell.frequency for cell in cells]),
        "v1_relay": ("v1_channel", [cell.relay for cell in cells]),
    }


def lattice(pixels: int, pixels_per_degree: float, within: float | None = None) -> np.ndarray:
    """The pixel rows (or columns) on which V1 stands: every second one, as far as `within` degrees from the middle."""
    return near_middle(np.arange(0, pixels, STRIDE), pixels, pixels_per_degree, within)


def steady_state(parameters: Parameters, grid: Grid, images: int, within: float | None = None) -> State:
    """The state in which V1 rests; arrays are (image, row, column)."""
    columns = lattice_of(grid, within)
    shape = (images, columns.height, columns.width)
    rest, nothing = np.full(shape, parameters.value("v1.spontaneous")), np.zeros(shape)
    count = round(parameters.value("v1.kinds"))
    state = {f"v1.{cell}_{k}": rest for cell in _SPONTANEOUS for k in range(count)}
    state |= {f"v1.{cell}_{k}": nothing for cell in _SILENT for k in range(count)}
    full = np.ones((images, grid.height, grid.width))
    state |= {f"thalamocortical.resource_{c}": full * left for c, left in resting_resources(parameters).items()}
    state |= {
        f"thalamocortical.{what}_{c}": full * rate
        for c, rate in lgn.maintained(parameters).items()
        for what in ("arrived", "sent")
    }
    return state | {f"{name}.pooled": nothing for name in _LAYERS}
