"""Architectures: how trunk and heads are joined into one multi-task `Net`."""

from mtl_jax.arch.hard_sharing import hard_sharing as hard_sharing
from mtl_jax.arch.microbatch import microbatch as microbatch
from mtl_jax.arch.with_terms import with_terms as with_terms
