r"""V1 at rate fidelity: simple and complex cells, normalisation, surround suppression.

On every second pixel row and column, each cell type has two simple cells, of its own and of the opposite phase, an inhibitory
partner of each, and a complex cell. Their input is what the synapses of relay cells deliver (`biomodel.circuit.v1_input`).

**Simple cells** sum rows of ON and OFF relay cells, midget or parasol, to D, with positive weights. An inhibitory partner sums
the same places with ON and OFF exchanged, A, and its rate is subtracted from the simple cell's drive (push-pull; Ferster 1988,
Hirsch 1998):

.. math:: \tau_i \dot i = [A - \bar A]_+ - i, \quad u = [D - \bar D - p\, i]_+ ,

with D̄ and Ā the sums in a static field. The simple cell of the opposite phase sums A, and its partner D.

**Normalisation** (Heeger 1992, Carandini & Heeger 2012): drives are raised to a power (Priebe & Ferster 2008). Layers
of coupled inhibitory cells pool them to n: one layer for cell types with midget afferents and one for those with
parasol afferents, as inhibition is local in layers 4Cβ and 4Cα (Callaway 1998). They build n up within some tens of
milliseconds, which makes the response to an onset transient (Müller, Metha, Krauskopf & Lennie 2001). **Surround
suppression**: wider layers pool the rates of simple cells beyond rest, of cell types within 22.5° of 0, 45, 90 or 135° each, and
in three sizes. The surround of a cell type has one of these sizes, by the published spread of diameters (Cavanaugh, Bair &
Movshon 2002). It suppresses by the pool b of the cell's own band, with share q, and by the mean B of all bands' pools. The input
of a layer is the sum over both phases and the mean over its cell types:

.. math:: \tau \dot s = s_0 + R\, \frac{(u / \sigma)^\alpha}{1 + w\, n}\, \frac{1}{1 + (q\, b + (1 - q)\, B) / b_{half}} - s .

**Complex cells** pool the simple cells of their type, of both phases, at two places a quarter of a cycle apart (Hubel & Wiesel
1962, Adelson & Bergen 1985): :math:`\tau \dot c = s_0 + k\, (\langle s \rangle - s_0) - c`. On the lattice of columns, a
few cell types of high frequency have no place at nearly that distance; their complex cells still depend on phase.

Relay and simple cells excite; inhibitory partners and layers only inhibit (`SIGNS`); complex cells are the circuit's
output and have no targets. Parameters: p `inhibition`, σ `semisaturation`, α `exponent`,
R `maximum_rate`, w `normalisation_weight`, q `surround_tuning`, b_half `surround_half`, k `complex_gain`, s₀ `spontaneous`.

Lesions: see `biomodel.circuit.lesions`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from brian2 import NeuronGroup, linked_var

from biomodel.circuit import lgn
from biomodel.circuit.cell_types import SIZES, Afferents, CellType, cell_types
from biomodel.circuit.coupled_layer import Layer, coupled_layer, coupling_and_clock
from biomodel.circuit.lattice import Grid, Links, Offset, Term, near_middle
from biomodel.circuit.station import Readout, Setting, State
from biomodel.parameters import Parameters

#: V1 has cell columns on every second row and column of pixels.
STRIDE = 2

#: The sign of the effect of a cell, or layer of cells, on its targets.
SIGNS = {"relay": 1, "simple": 1, "opposite": 1, "complex": 1, "inhibitory": -1, "normalisation": -1, "surround": -1}

#: Preferred orientations at the middle of the surround's bands, degrees.
BANDS = (0, 45, 90, 135)

#: The simple cells of a cell type, of its own and of the opposite phase.
_PHASES = ("simple", "opposite")

#: Cell types that are summed in one loop: many loops slow Brian2 down, and long loops the compiler.
LOOP = 4

#: Relay channels with their opposites.
_OPPOSITE = {
    "midget_on": "midget_off",
    "midget_off": "midget_on",
    "parasol_on": "parasol_off",
    "parasol_off": "parasol_on",
}

#: Classes of relay cells that can be a cell type's afferents.
RELAYS = ("midget", "parasol")

#: Names of all layers; a circuit has those with cell types.
_LAYERS = (
    *(f"normalisation_{relay}" for relay in RELAYS),
    *(f"{size}_surround_{band}" for size in SIZES for band in BANDS),
)

#: Cells of a type that rest at the spontaneous rate, and those that are silent at rest.
_SPONTANEOUS, _SILENT = (*_PHASES, "complex"), ("inhibitory", "inhibitory_opposite")

#: The cells of one type at a column.
CELL_TYPE_EQUATIONS = """
dsimple_{k}/dt = (spontaneous + simple_target_{k} - simple_{k})/membrane_time : Hz
dopposite_{k}/dt = (spontaneous + opposite_target_{k} - opposite_{k})/membrane_time : Hz
dcomplex_{k}/dt = (complex_target_{k} - complex_{k})/membrane_time : Hz
dinhibitory_{k}/dt = (afferents_opposite_{k}*int(afferents_opposite_{k} > 0*Hz) - inhibitory_{k})/inhibitory_time : Hz
dinhibitory_opposite_{k}/dt = (afferents_{k}*int(afferents_{k} > 0*Hz) - inhibitory_opposite_{k})/inhibitory_time : Hz
simple_target_{k} : Hz
opposite_target_{k} : Hz
complex_target_{k} : Hz
afferents_{k} : Hz
afferents_opposite_{k} : Hz
power_{k} : 1
power_opposite_{k} : 1
"""

SUMS = """
afferents_{k} = {drive} - {drive_rest!r}*Hz
afferents_opposite_{k} = {opposite} - {opposite_rest!r}*Hz
excited_{k} = afferents_{k}{pull}
power_{k} = (excited_{k}*int(excited_{k} > 0*Hz)/semisaturation)**exponent
excited_opposite_{k} = afferents_opposite_{k}{pull_opposite}
power_opposite_{k} = (excited_opposite_{k}*int(excited_opposite_{k} > 0*Hz)/semisaturation)**exponent
share_{k} = maximum_rate/(1{pool}){surround}
simple_target_{k} = share_{k}*power_{k}
opposite_target_{k} = share_{k}*power_opposite_{k}
complex_target_{k} = spontaneous + complex_gain*({neighbours} - spontaneous)
"""


def v1(setting: Setting, every: int, synapses: NeuronGroup, within: float | None = None) -> dict[str, NeuronGroup]:
    """A cell column at every second pixel, with the cells of every type, and the layers that normalise and suppress.

    Responses are the variables simple_0, …, complex_0, …, in Hz.

    Parameters
    ----------
    setting : Setting
    every : int
        Steps of the circuit per step of V1.
    synapses : NeuronGroup
        As `biomodel.circuit.v1_input.v1_input` returns it.
    within : float, optional
        Largest distance of a column from the middle in degrees, as in `lattice`.
    """
    parameters, lesions, grid, dt = setting
    dt = every * dt
    cells = cell_types(parameters, grid.pixels_per_degree)
    columns = lattice_of(grid, within)
    rows_and_columns = (
        lattice(grid.height, grid.pixels_per_degree, within),
        lattice(grid.width, grid.pixels_per_degree, within),
    )
    afferents = Links(
        "Hz", [(v, o) for cell in cells for terms in afferent_terms(parameters, cell) for _, v, o in terms]
    )
    positions = [complex_pool_offsets(cell, columns.pixels_per_degree) for cell in cells]
    pooled = [[(f"{cell}_{k}", o) for o in offsets for cell in _PHASES] for k, offsets in enumerate(positions)]
    neighbours = Links("Hz", [read for reads in pooled for read in reads], "column")
    pools, surrounds = pools_of(cells, lesions), surrounds_of(cells, lesions)
    declared = "".join(f"{name} : {'1' if name in pools else 'Hz'} (linked)\n" for name in [*pools, *surrounds])
    declared += "".join(f"power_{relay} : 1\n" for relay in RELAYS) + "".join(f"fired_{band} : Hz\n" for band in BANDS)
    group = NeuronGroup(
        columns.cells,
        "".join(CELL_TYPE_EQUATIONS.format(k=k) for k in range(len(cells)))
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
        drive, opposite = afferent_terms(parameters, cell)
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
                surround=f"/(1 + ({suppression_of(cell, surrounds)})/surround_half)" if surrounds else "",
                neighbours=neighbours.weighted_sum((1 / len(reads), *read) for read in reads),
            )
        )
    for k in range(0, len(statements), LOOP):
        group.run_regularly("".join(statements[k : k + LOOP]), dt=dt, when="groups", order=10, name=f"v1_sums_{k}")
    inputs = []
    for relay, members in types_by_relay(cells).items():
        if f"normalisation_{relay}" in pools:
            powers = " + ".join(f"power_{k} + power_opposite_{k}" for k in members)
            inputs.append(f"power_{relay} = ({powers})/{len(members)}")
    for band, members in zip(BANDS, types_by_band(cells), strict=True):
        if members and surrounds:
            fired = " + ".join(f"{cell}_{k}" for k in members for cell in _PHASES)
            inputs.append(f"fired_{band} = ({fired})/{len(members)} - {len(_PHASES)}*spontaneous")
    if inputs:
        group.run_regularly("\n".join(inputs), dt=dt, when="groups", order=12, name="v1_layer_inputs")
    groups = {"v1": group}
    for name in [*pools, *surrounds]:
        kind, pooled_types = name.rsplit("_", 1)
        time = parameters["v1.normalisation_time" if name in pools else "v1.surround_time"].quantity
        space_constant = parameters.value(f"v1.{kind}_space_constant") * columns.pixels_per_degree
        lattice_coupling, clock = coupling_and_clock(space_constant, time, dt, every)
        unit, variable = ("1", f"power_{pooled_types}") if name in pools else ("Hz", f"fired_{pooled_types}")
        layer = Layer(name, unit, lattice_coupling, time, clock, order=13)
        groups[name] = coupled_layer(layer, group, variable, columns)
        setattr(group, name, linked_var(groups[name], "pooled"))
    return groups


def pools_of(cells: list[CellType], lesions: Collection[str]) -> list[str]:
    """Names of the layers that normalise."""
    if "normalisation" in lesions:
        return []
    return [f"normalisation_{relay}" for relay, members in types_by_relay(cells).items() if members]


def surrounds_of(cells: list[CellType], lesions: Collection[str]) -> list[str]:
    """Names of the layers that suppress from the surround, of the sizes and bands that cell types have."""
    if "surround_suppression" in lesions:
        return []
    bands = [band for band, members in zip(BANDS, types_by_band(cells), strict=True) if members]
    sizes = [size for size in SIZES if any(cell.surround == size for cell in cells)]
    return [f"{size}_surround_{band}" for size in sizes for band in bands]


def suppression_of(cell: CellType, surrounds: list[str]) -> str:
    """Expression of the pooled rate that suppresses a cell type; `surrounds` are the circuit's layers."""
    own = f"{cell.surround}_surround_{band_of(cell)}"
    others = [name for name in surrounds if name.startswith(cell.surround)]
    return f"surround_tuning*{own} + (1 - surround_tuning)*({' + '.join(others)})/{len(others)}"


def layers(parameters: Parameters, lesions: Collection[str], pixels_per_degree: float) -> set[str]:
    """Names of the groups among V1's cells."""
    cells = cell_types(parameters, pixels_per_degree)
    return {*pools_of(cells, lesions), *surrounds_of(cells, lesions)}


def lattice_of(grid: Grid, within: float | None = None) -> Grid:
    """The lattice of V1's cell columns over the lattice of the retina."""
    height, width = (len(lattice(side, grid.pixels_per_degree, within)) for side in (grid.height, grid.width))
    return Grid(grid.images, height, width, grid.pixels_per_degree / STRIDE)


def afferent_terms(parameters: Parameters, cell: CellType) -> tuple[list[Term], list[Term]]:
    """Weights, variables and offsets of the afferents of a simple cell, and of its inhibitory partner."""
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


def complex_pool_offsets(cell: CellType, columns_per_degree: float) -> list[Offset]:
    """Columns whose simple cells a complex cell pools: its own, and one nearby about a quarter of a cycle away."""
    reach = max(2, int(np.ceil(columns_per_degree / cell.frequency)))
    down, right = (a.ravel() for a in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    angle = np.deg2rad(cell.orientation)
    across = (right * np.sin(angle) + down * np.cos(angle)) / columns_per_degree
    distance = np.hypot(down, right) / columns_per_degree
    cycles = across * cell.frequency
    # Three quarters of a cycle are as good as one quarter, because cells of both phases are at either place.
    away = np.abs(cycles % 0.5 - 0.25)
    best = int(np.argmin(np.where(distance > 0, away + 0.2 * distance * cell.frequency, np.inf)))
    return [(0, 0), (int(down[best]), int(right[best]))]


def band_of(cell: CellType) -> int:
    """The one of `BANDS` that a cell type belongs to."""
    return BANDS[round(cell.orientation / 45) % 4]


def types_by_band(cells: list[CellType]) -> list[list[int]]:
    """Indices of the cell types of each of `BANDS`."""
    return [[k for k, cell in enumerate(cells) if band_of(cell) == band] for band in BANDS]


def types_by_relay(cells: list[CellType]) -> dict[str, list[int]]:
    """Indices of the cell types with afferents of each of `RELAYS`."""
    return {relay: [k for k, cell in enumerate(cells) if cell.relay == relay] for relay in RELAYS}


def channels(parameters: Parameters) -> list[str]:
    """Labels of the response's channels; the network's variables have the same names."""
    count = round(parameters.value("v1.kinds"))
    return [f"{cell}_{k}" for cell in ("simple", "complex") for k in range(count)]


def readout(parameters: Parameters) -> Readout:
    """The readout: every cell type's simple and complex cell is a channel."""
    return Readout("Hz", {name: name for name in channels(parameters)})


def coordinates(parameters: Parameters, pixels_per_degree: float) -> dict[str, tuple[str, list]]:
    """Type and preferences of each channel, as coordinates of `v1_channel`."""
    cells = cell_types(parameters, pixels_per_degree) * 2
    half = len(cells) // 2
    return {
        "v1_kind": ("v1_channel", ["simple"] * half + ["complex"] * half),
        "v1_orientation": ("v1_channel", [cell.orientation for cell in cells]),
        "v1_phase": ("v1_channel", [cell.phase for cell in cells]),
        "v1_frequency": ("v1_channel", [cell.frequency for cell in cells]),
        "v1_relay": ("v1_channel", [cell.relay for cell in cells]),
    }


def lattice(pixels: int, pixels_per_degree: float, within: float | None = None) -> np.ndarray:
    """The pixel rows (or columns) with V1's columns: every second one, up to `within` degrees from the middle."""
    return near_middle(np.arange(0, pixels, STRIDE), pixels, pixels_per_degree, within)


def steady_state(parameters: Parameters, grid: Grid, images: int, within: float | None = None) -> State:
    """V1's steady state in a static field; arrays are (image, row, column).

    Parameters
    ----------
    parameters : Parameters
    grid : Grid
        Of the relay.
    images : int
    within : float, optional
        As in `v1`.
    """
    columns = lattice_of(grid, within)
    shape = (images, columns.height, columns.width)
    rest, silent = np.full(shape, parameters.value("v1.spontaneous")), np.zeros(shape)
    count = round(parameters.value("v1.kinds"))
    state = {f"v1.{cell}_{k}": rest for cell in _SPONTANEOUS for k in range(count)}
    state |= {f"v1.{cell}_{k}": silent for cell in _SILENT for k in range(count)}
    return state | {f"{name}.pooled": silent for name in _LAYERS}
