"""Learning to branch: which copy of a stage each copy of the next one reads is learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.arch._choices import chosen, temperature_of
from mtl_jax.arch._experts import mixed
from mtl_jax.arch._parts import check_count, check_parts, for_each, mapped, stages_of
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import in_order, numbered, split_key
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net
from mtl_jax.terms import Strength


def ltb(trunk: Net, heads: Mapping[str, Net], nodes: int | None = None, temperature: Strength | None = None) -> Net:
  r"""N nodes per stage; which node of the stage before each reads is learned, and which one each task.

  $$ h_j^{(l)} = f_j^{(l)}\big(\sum_i d_{ji}^{(l)} h_i^{(l-1)}\big), \qquad
     d_j^{(l)} = softmax\big((\ell_j^{(l)} + g) / \tau\big), \quad g \sim Gumbel(0, 1) $$

  The temperature $\tau$ follows the step. Without a step, as in evaluation, each d is 1 at its largest logit: a tree of
  stages, which `ltb_groups` reads and `tree` trains anew.

  Args:
    trunk: Whose stages the nodes are, at least two.
    heads: For each task a net from what the trunk gives to its prediction.
    nodes: N; None: as many as there are tasks.
    temperature: $\tau$, a number above 0 or a function of the step; None: it falls from 5 to 0.5 in 10 000 steps.

  Returns:
    The multi-task `Net`. Nodes and their logits are shared, each task has logits of its own over the last stage. It
    reports `branch/<stage>`, (N, N), and `branch/<task>`, (N,), the softmax of the logits.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; `nodes` below 1, a temperature not above 0.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> params, state = ltb(mtl.from_linen(mtl.nn.MLP((8, 8))), heads).init(jax.random.key(0), jnp.ones((5, 4)))
  >>> ltb_groups(params)
  [[['a', 'b']], [['a', 'b']]]

  Deviations: one draw per batch, and each stage has the same number of nodes.

  When to use:
    Some tasks belong together and others do not, and you do not know which. Read the tree off with `ltb_groups`, then
    train it anew as `tree`.

  References:
    Guo, Lee, Ulbricht, *Learning to Branch for Multi-Task Learning*, ICML 2020.
  """
  heads, stages = check_parts("ltb", trunk, heads), stages_of("ltb", trunk)
  count, tau = len(heads) if nodes is None else nodes, temperature_of("ltb", temperature)
  check_count("ltb", "nodes", count)
  parts = numbered([towers(stage, count, own_inputs=i > 0) for i, stage in enumerate(stages)])

  def init(key, x):
    params, state = in_order(parts).init(key, x)
    return {"nodes": params, "branch": {name: jnp.zeros((count, count)) for name in [*parts][1:]}}, state

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    after = {}
    for (name, part), own in zip(parts.items(), split_key(key, len(parts)), strict=True):
      draw, own = split_key(own, 2)
      if name in params["branch"]:
        d = chosen(params["branch"][name], tau, draw, train, step)
        x = mapped(lambda leaf, d=d: jnp.tensordot(d.astype(leaf.dtype), leaf, 1), x)
      x, after[name] = part.apply(params["nodes"][name], state[name], x, key=own, train=train, step=step)
    return examples_first(x), after

  def branching(head):
    def read(d, features):
      return mixed(jnp.broadcast_to(d[None], (len(jax.tree.leaves(features)[0]), count)), features)

    def init(key, features):
      params, state = head.init(key, read(jnp.full(count, 1 / count), features))
      return {"branch": jnp.zeros(count), "head": params}, state

    def apply(params, state, features, *, key: Any = None, train: bool = False, step: Any = None):
      draw, key = split_key(key, 2)
      x = read(chosen(params["branch"], tau, draw, train, step), features)
      return head.apply(params["head"], state, x, key=key, train=train, step=step)

    return Net(init, apply)

  def report(params, state):
    logits = params["shared"]["branch"] | {name: own["branch"] for name, own in params["task"].items()}
    return {f"branch/{name}": jax.nn.softmax(own) for name, own in logits.items()}

  return dataclasses.replace(hard_sharing(Net(init, apply), for_each(heads, branching)), report=report)


def ltb_groups(params: Any) -> list[list[list[str]]]:
  """The tree that an `ltb` net has learned, as the groups that `tree` takes.

  Args:
    params: Those of the net.

  Returns:
    For each stage the groups of tasks that read the same node.

  >>> branch = {"stage_1": np.array([[0.0, 1.0], [2.0, 0.0]])}
  >>> tasks = {"a": {"branch": np.array([1.0, 0.0])}, "b": {"branch": np.array([0.0, 1.0])}}
  >>> ltb_groups({"shared": {"branch": branch}, "task": tasks})
  [[['a'], ['b']], [['a'], ['b']]]
  """
  branch = params["shared"]["branch"]
  node = {name: int(np.argmax(own["branch"])) for name, own in params["task"].items()}
  found: list[list[list[str]]] = []
  for i in range(len(branch), -1, -1):
    by_node: dict[int, list[str]] = {}
    for name, place in node.items():
      by_node.setdefault(place, []).append(name)
    found.insert(0, list(by_node.values()))
    if i:
      parent = np.argmax(branch[f"stage_{i}"], axis=1)
      node = {name: int(parent[place]) for name, place in node.items()}
  return found
