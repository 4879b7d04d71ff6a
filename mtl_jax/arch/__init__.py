"""Architectures: how trunk and heads are joined into one multi-task `Net`.

Every one takes a trunk and `{task: head}`, all of them `Net`s.

One trunk:

- `hard_sharing`: one trunk, and one head per task on its features.
- `tree`: hard sharing in groups of tasks, which part from stage to stage.
- `ltb`: such a tree is learned; `ltb_groups` reads it.
- `mtan`: one trunk, whose stages each task sees through masks of its own.
- `adashare`: one trunk, of which each task learns what stages to skip.
- `task_routing`: one trunk, of which each task uses a fixed random part of the channels.

One tower per task:

- `soft_sharing`: one tower per task, tied by a penalty.
- `cross_stitch`: one tower per task, whose features are mixed after each stage.
- `sluice`: the same over subspaces of the features, and over stages.
- `task_attention`: one tower per task, whose features attend to those of other tasks.

Experts:

- `mmoe`: copies of the trunk as experts, mixed by a gate per task.
- `omoe`: such experts, mixed by one gate for all tasks.
- `cgc`: shared experts and experts of each task, mixed by a gate per task.
- `ple`: several layers of such experts.
- `dselect_k`: experts, of which the gate of each task learns to choose k.
- `moe_topk`: experts, of which the gate of each task mixes the best k of each example, kept busy by `balancing`.

One trunk with small parts per task:

- `film`: one trunk, whose features each task scales and shifts after each stage.
- `adapters`: one trunk, to whose features each task adds those of a small network after each stage.
- `prompt`: one trunk, before whose sequence each task puts learned tokens.
- `lora`: one trunk, to whose kernels each task adds matrices of low rank.
- `mtlora`: low-rank updates that all tasks share, and in the last stages one per task.
- `mtl_lora`: low-rank updates of shared factors, which each task transforms and mixes.

Tasks in order:

- `aitm`: towers in the order of the tasks, each of which takes over information from the one before.
- `esmm`: tasks as steps on one way, whose probabilities multiply.

In front of any trunk:

- `stems`: a net of its own for each kind of input, such as images and texts.

By name:

- `names`: the names of all architectures; `as_arch`: the one that a name stands for; `Architecture`: their type.

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

from mtl_jax.arch.adapters import adapters
from mtl_jax.arch.adashare import adashare
from mtl_jax.arch.aitm import aitm
from mtl_jax.arch.cgc import cgc
from mtl_jax.arch.chain import chain
from mtl_jax.arch.cross_stitch import cross_stitch
from mtl_jax.arch.dselect_k import dselect_k
from mtl_jax.arch.esmm import esmm
from mtl_jax.arch.film import film
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.lora import lora
from mtl_jax.arch.ltb import ltb, ltb_groups
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.arch.mmoe import mmoe
from mtl_jax.arch.moe_topk import moe_topk
from mtl_jax.arch.mtan import mtan
from mtl_jax.arch.mtl_lora import mtl_lora
from mtl_jax.arch.mtlora import mtlora
from mtl_jax.arch.named import Architecture, as_arch, names
from mtl_jax.arch.omoe import omoe
from mtl_jax.arch.ple import ple
from mtl_jax.arch.prompt import prompt
from mtl_jax.arch.proximal import prox_l21, prox_laplacian, prox_trace_norm, proximal
from mtl_jax.arch.sluice import sluice
from mtl_jax.arch.soft_sharing import soft_sharing
from mtl_jax.arch.stems import stems
from mtl_jax.arch.task_attention import task_attention
from mtl_jax.arch.task_routing import task_routing
from mtl_jax.arch.tree import tree
from mtl_jax.arch.with_terms import with_terms

__all__ = [
  "Architecture",
  "adapters",
  "adashare",
  "aitm",
  "as_arch",
  "cgc",
  "chain",
  "cross_stitch",
  "dselect_k",
  "esmm",
  "film",
  "hard_sharing",
  "lora",
  "ltb",
  "ltb_groups",
  "microbatch",
  "mmoe",
  "moe_topk",
  "mtan",
  "mtl_lora",
  "mtlora",
  "names",
  "omoe",
  "ple",
  "prompt",
  "prox_l21",
  "prox_laplacian",
  "prox_trace_norm",
  "proximal",
  "sluice",
  "soft_sharing",
  "stems",
  "task_attention",
  "task_routing",
  "tree",
  "with_terms",
]
