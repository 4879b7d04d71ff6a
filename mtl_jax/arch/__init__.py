"""Architectures: how trunk and heads are joined into one multi-task `Net`.

- `hard_sharing`: one trunk, and one head per task on its features.
- `microbatch`: the same net, whose trunk sees the batch in pieces, to save memory.
- `with_terms`: the same net, trained with terms of `mtl.terms` beside the losses.
"""

from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.arch.with_terms import with_terms

__all__ = ["hard_sharing", "microbatch", "with_terms"]
