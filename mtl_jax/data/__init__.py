"""Data: sources of examples, batches of them, validation before training, descriptions."""

from mtl_jax.data import source as source
from mtl_jax.data._batches import batches as batches
from mtl_jax.data._pad import pad_batches as pad_batches
from mtl_jax.data.checking import check as check
from mtl_jax.data.description import Description as Description
from mtl_jax.data.description import describe as describe
from mtl_jax.data.join import join as join
from mtl_jax.data.source.convert import as_source as as_source
from mtl_jax.data.source.protocol import Source as Source
