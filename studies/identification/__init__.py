"""Identification study: how well the front end and other models predict responses that they were not fitted to.

All models get the same images and the field adapted to, and are scored on the same held-out sets (`bridge.fit.stimuli`):

- ``front end``: fitted to the responses of every station; ``from lgn alone``, ``from v1 alone``: fitted to one station. Their
  predictions of stations that were not recorded are scored too.
- ``without …``: the front end fitted with one of its mechanisms ablated (`bridge.model.ablation`): to V1 for a mechanism of V1,
  to the relay for an earlier one.
- `baselines`, fitted to the responses of the relay or of V1 only.
- ``of …``: a front end fitted to the relay of another circuit, scored on the responses of this one.
- ``fitted to a published model``: a front end fitted to the responses of `plenoptic_models`, scored on that model's own.
"""
