"""Architectures: how trunk and heads are joined into one multi-task `Net`.

Every one takes a trunk and `{task: head}`, all of them `Net`s.

- `hard_sharing`: one trunk, and one head per task on its features.
- `cross_stitch`: one tower per task, whose features are mixed after each stage.
- `mmoe`: copies of the trunk as experts, mixed by a gate per task.
- `omoe`: such experts, mixed by one gate for all tasks.
- `cgc`: shared experts and experts of each task, mixed by a gate per task.
- `ple`: several layers of such experts.
- `dselect_k`: experts, of which the gate of each task learns to choose k.
- `moe_topk`: experts, of which the gate of each task mixes the best k of each example, kept busy by `balancing`.

Nets from nets:

- `chain`: nets one after the other, as a trunk in stages.
- `microbatch`: the same net, whose trunk sees the batch in pieces, to save memory.
- `with_terms`: the same net, trained with terms of `mtl.terms` beside the losses.
"""

from mtl_jax.arch import balancing
from mtl_jax.arch.cgc import cgc
from mtl_jax.arch.chain import chain
from mtl_jax.arch.cross_stitch import cross_stitch
from mtl_jax.arch.dselect_k import dselect_k
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.arch.mmoe import mmoe
from mtl_jax.arch.moe_topk import moe_topk
from mtl_jax.arch.omoe import omoe
from mtl_jax.arch.ple import ple
from mtl_jax.arch.with_terms import with_terms

__all__ = [
  "balancing",
  "cgc",
  "chain",
  "cross_stitch",
  "dselect_k",
  "hard_sharing",
  "microbatch",
  "mmoe",
  "moe_topk",
  "omoe",
  "ple",
  "with_terms",
]
