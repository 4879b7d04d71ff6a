"""Data: batches of arrays in memory, validation before training, and sources of known data sets.

A data set is a dictionary of arrays, `{key: (N, ...)}`, one row per example.

- `batches`: shuffled batches to train on, which can be resumed.
- `pad_batches`: all examples once and in order, to evaluate on.
- `check`: refuses data that training would fail on.
- `describe`, `Description`: what is known of a data set without its examples.
- `fingerprint`, `Fingerprint`: by which a resumed run knows its data again.
- `source`: known data sets.
"""

from mtl_jax.data import source
from mtl_jax.data._batches import batches
from mtl_jax.data._pad import pad_batches
from mtl_jax.data.checking import check
from mtl_jax.data.description import Description, describe
from mtl_jax.data.fingerprint import Fingerprint, fingerprint

__all__ = ["Description", "Fingerprint", "batches", "check", "describe", "fingerprint", "pad_batches", "source"]
