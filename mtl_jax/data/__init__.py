"""Data: batches of arrays in memory, validation before training, and sources of known data sets.

A data set is a dictionary of arrays, `{key: (N, ...)}`, one row per example.

- `batches`: shuffled batches to train on, which can be resumed.
- `pad_batches`: all examples once and in order, to evaluate on.
- `check`: refuses data that training would fail on.
- `describe`, `Description`: what is known of a data set without its examples.
- `source`: known data sets.
"""

from mtl_jax.data import source
from mtl_jax.data._batches import batches
from mtl_jax.data._pad import pad_batches
from mtl_jax.data.checking import check
from mtl_jax.data.description import Description, describe

__all__ = ["Description", "batches", "check", "describe", "pad_batches", "source"]
