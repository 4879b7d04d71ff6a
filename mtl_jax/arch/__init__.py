"""Architectures: how trunk and heads are joined into one multi-task `Net`.

Every one takes a trunk and `{task: head}`, all of them `Net`s.

- `hard_sharing`: one trunk, and one head per task on its features.
- `tree`: hard sharing in groups of tasks, which part from stage to stage.
- `ltb`: such a tree is learned; `ltb_groups` reads it.
- `soft_sharing`: one tower per task, tied by a penalty.
- `cross_stitch`: one tower per task, whose features are mixed after each stage.
- `sluice`: the same over subspaces of the features, and over stages.
- `task_attention`: one tower per task, whose features attend to those of other tasks.
- `mtan`: one trunk, whose stages each task sees through masks of its own.
- `adashare`: one trunk, of which each task learns what stages to skip.
- `task_routing`: one trunk, of which each task uses a fixed random part of the channels.
- `mmoe`: copies of the trunk as experts, mixed by a gate per task.

Nets from nets:

- `chain`: nets one after the other, as a trunk in stages.
- `microbatch`: the same net, whose trunk sees the batch in pieces, to save memory.
- `with_terms`: the same net, trained with terms of `mtl.terms` beside the losses.

Proximal steps:

- `proximal`: a penalty of `soft_sharing` applied after the optimizer's step, in place of its gradient.
- `prox_trace_norm`: the singular values fall.
- `prox_l21`: parameters become 0 for all tasks at once.
- `prox_laplacian`: tasks move to their neighbours in a graph.
"""

from mtl_jax.arch.adashare import adashare
from mtl_jax.arch.chain import chain
from mtl_jax.arch.cross_stitch import cross_stitch
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.ltb import ltb, ltb_groups
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.arch.mmoe import mmoe
from mtl_jax.arch.mtan import mtan
from mtl_jax.arch.proximal import prox_l21, prox_laplacian, prox_trace_norm, proximal
from mtl_jax.arch.sluice import sluice
from mtl_jax.arch.soft_sharing import soft_sharing
from mtl_jax.arch.task_attention import task_attention
from mtl_jax.arch.task_routing import task_routing
from mtl_jax.arch.tree import tree
from mtl_jax.arch.with_terms import with_terms

__all__ = [
  "adashare",
  "chain",
  "cross_stitch",
  "hard_sharing",
  "ltb",
  "ltb_groups",
  "microbatch",
  "mmoe",
  "mtan",
  "prox_l21",
  "prox_laplacian",
  "prox_trace_norm",
  "proximal",
  "sluice",
  "soft_sharing",
  "task_attention",
  "task_routing",
  "tree",
  "with_terms",
]
