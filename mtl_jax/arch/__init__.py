"""Architectures: how trunk and heads are joined into one multi-task `Net`.

Every one takes a trunk and `{task: head}`, all of them `Net`s.

- `hard_sharing`: one trunk, and one head per task on its features.
- `cross_stitch`: one tower per task, whose features are mixed after each stage.
- `mmoe`: copies of the trunk as experts, mixed by a gate per task.

By name:

- `names`: the names of all architectures; `as_arch`: the one that a name stands for; `Architecture`: their type.

Nets from nets:

- `chain`: nets one after the other, as a trunk in stages.
- `microbatch`: the same net, whose trunk sees the batch in pieces, to save memory.
- `with_terms`: the same net, trained with terms of `mtl.terms` beside the losses.
"""

from mtl_jax.arch.chain import chain
from mtl_jax.arch.cross_stitch import cross_stitch
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.arch.mmoe import mmoe
from mtl_jax.arch.named import Architecture, as_arch, names
from mtl_jax.arch.with_terms import with_terms

__all__ = [
  "Architecture",
  "as_arch",
  "chain",
  "cross_stitch",
  "hard_sharing",
  "microbatch",
  "mmoe",
  "names",
  "with_terms",
]
