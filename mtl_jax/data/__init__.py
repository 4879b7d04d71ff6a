"""Data: batches of in-memory arrays, validation before training, and sources of known data sets."""

from mtl_jax.data import source as source
from mtl_jax.data._batches import batches as batches
from mtl_jax.data._pad import pad_batches as pad_batches
from mtl_jax.data.checking import check as check
from mtl_jax.data.description import Description as Description
from mtl_jax.data.description import describe as describe
from mtl_jax.data.fingerprint import Fingerprint as Fingerprint
from mtl_jax.data.fingerprint import fingerprint as fingerprint
