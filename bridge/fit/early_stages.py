"""Fit of the stations from cone to lgn, by Levenberg-Marquardt: a few dozen parameters, which some images determine."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from bridge.fit.data import Recording
from bridge.fit.optimisers import levenberg_marquardt
from bridge.model.front_end import STATIONS, FrontEnd

logger = logging.getLogger("precortical")


class EarlyStages:
    """Fits stations of a front end, in place; parameters that the responses do not determine stay near their initial values.

    Parameters
    ----------
    front_end : FrontEnd
        With its initial weights.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self._initial = {name: values.clone() for name, values in front_end.state_dict().items()}

    @torch.no_grad()
    def fit(
        self,
        stations: Sequence[str],
        targets: Sequence[str],
        recording: Recording,
        through: Sequence[str] = (),
        iterations: int = 60,
    ) -> None:
        """Fit consecutive stations to recorded responses.

        Parameters
        ----------
        stations : sequence of str
            Stations whose parameters are fitted, in order.
        targets : sequence of str
            Stations whose responses are fitted, among `stations` and `through`.
        recording : Recording
        through : sequence of str
            Stations after `stations`, whose parameters stay fixed.
        iterations : int
            Largest number of steps.
        """
        if not targets:
            return
        front_end, followed = self.front_end, [*stations, *through]
        fitted = [
            (station, name, parameter)
            for station in stations
            for name, parameter in getattr(front_end, station).named_parameters()
            if parameter.requires_grad
        ]
        parameters = [(station, parameter.view(-1)) for station, _, parameter in fitted]
        origin = [self._initial[f"{station}.{name}"].flatten() for station, name, _ in fitted]
        signals = front_end.initial_signals(recording.light, recording.background)
        #: Signals that each station reads.
        inputs = {stations[0]: front_end.advance(STATIONS[: STATIONS.index(stations[0])], signals)}

        def predict(first: str, keep: bool) -> list[Tensor]:
            kept = inputs if keep else dict(inputs)
            signals = kept[first]
            for station in followed[followed.index(first) :]:
                kept[station] = signals
                signals = front_end.advance([station], signals)
            return [front_end.response(station, signals) for station in targets]

        responses = [recording.targets.responses[name] for name in targets]
        unexplained = levenberg_marquardt(parameters, origin, predict, responses, iterations)
        logger.info("fitted %s: unexplained variance %.2e", ", ".join(targets), unexplained)
