"""Hard sharing as a tree: groups of tasks that part further from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError, nearest
from mtl_jax.arch._parts import check_parts, for_each, reading, stages_of
from mtl_jax.arch._towers import examples_first, towers
from mtl_jax.arch.chain import chain, in_order, split_key
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net

Groups = Sequence[Sequence[Sequence[str]]]
"""For each stage the groups of tasks that share it."""


def tree(
  trunk: Net, heads: Mapping[str, Net], groups: Groups | None = None, depths: Mapping[str, int] | None = None
) -> Net:
  r"""At each stage every group of tasks has a copy of its own; groups part from stage to stage.

  $$ h_g^{(l)} = f^{(l)}(h_{parent(g)}^{(l-1)}; \theta_g), \qquad \hat y_t = h_t(h_{g(t)}^{(depth(t))}) $$

  Args:
    trunk: Whose stages the nodes are, at least two.
    heads: For each task a net from what its last node gives to its prediction.
    groups: For each stage the groups of tasks, such as `[[["a", "b", "c"]], [["a", "b"], ["c"]]]`. Tasks that are
      apart stay so. None: all tasks share all stages but the last, of which each has a copy.
    depths: After how many stages a task's head follows, for those that do not use all. From there on the task may be
      left out of the groups.

  Returns:
    The multi-task `Net`. Nodes of at least two tasks are shared, those of a stage stacked in the order of its groups;
    nodes of one task are parameters of that task, `{"tower": ..., "head": ...}`; `tower` is the `chain` of them.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; groups for another number of stages; a task that
      is in no group of a stage or in two, is none of the heads, or joins others after they were apart; a depth that
      the trunk does not have.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b", "c")}
  >>> groups = [[["a", "b", "c"]], [["a", "b"], ["c"]]]
  >>> params, state = tree(mtl.from_linen(mtl.nn.MLP((8, 8))), heads, groups).init(jax.random.key(0), jnp.ones((5, 4)))
  >>> list(params["shared"]), sorted(params["task"]["a"]), sorted(params["task"]["c"])
  (['stage_0', 'stage_1'], ['bias', 'kernel'], ['head', 'tower'])

  When to use:
    You know which tasks belong together, or `ltb` has found out.

  References:
    Caruana, *Multitask Learning*, Machine Learning 1997, for hard sharing. Vandenhende et al., *Branched Multi-Task
    Networks: Deciding What Layers to Share*, BMVC 2020, for trees.
  """
  heads, stages = check_parts("tree", trunk, heads), stages_of("tree", trunk)
  if groups is None:
    groups = [[list(heads)]] * (len(stages) - 1) + [[[name] for name in heads]]
  ends = _depths(depths or {}, heads, len(stages))
  shared = [[g for g in stage if len(g) > 1] for stage in _checked(groups, ends, len(stages))]
  # Of each task: the last stage that it shares, -1 for none, and its group there.
  place = dict.fromkeys(heads, (-1, 0))
  for i, stage in enumerate(shared):
    place |= {name: (i, j) for j, group in enumerate(stage) for name in group}

  own = {}
  for name in heads:
    if name not in own:
      alike = [n for n in heads if (place[n], ends[n]) == (place[name], ends[name])]
      tower = stages[place[name][0] + 1 : ends[name]]
      made = for_each({n: heads[n] for n in alike}, _reader(tower, place[name]))
      own |= made
  return hard_sharing(_nodes(stages, shared, place), {name: own[name] for name in heads})


def _nodes(stages: Sequence[Net], shared: list[list[tuple[str, ...]]], place: Mapping[str, tuple[int, int]]) -> Net:
  """The shared nodes; it gives what heads read, stages as (B, groups, ...)."""
  parts = {_name(i): towers(stages[i], len(g), own_inputs=i > 0) for i, g in enumerate(shared) if g}
  read = {_name(stage) for stage, _ in place.values()}
  parents = [np.zeros(0, int)] + [
    np.array([next(p for p, parent in enumerate(before) if group[0] in parent) for group in after], int)
    for before, after in zip(shared, shared[1:], strict=False)
  ]

  def inputs(i, x):
    return x if i == 0 else jax.tree.map(lambda leaf: leaf[parents[i]], x)

  def init(key, x):
    params, state = {}, {}
    for i, (name, part) in enumerate(parts.items()):
      x = inputs(i, x)
      params[name], state[name] = part.init(jax.random.fold_in(key, i), x)
      x, _ = part.apply(params[name], state[name], x)
    return params, state

  def apply(params, state, x, *, key: Any = None, **mode):
    found, after = {"input": x} if "input" in read else {}, {}
    for i, ((name, part), own) in enumerate(zip(parts.items(), split_key(key, len(parts)), strict=True)):
      x, after[name] = part.apply(params[name], state[name], inputs(i, x), key=own, **mode)
      if name in read:
        found[name] = examples_first(x)
    return found, after

  return Net(init, apply)


def _reader(own: tuple[Net, ...], place: tuple[int, int]) -> Any:
  """Makes of a head the net of a task on what the shared nodes give: its own stages, then the head."""
  stage, group = place

  def pick(features):
    found = features[_name(stage)]
    return found if stage < 0 else jax.tree.map(lambda leaf: leaf[:, group], found)

  return lambda head: reading(in_order({"tower": chain(*own), "head": head}) if own else head, pick)


def _name(stage: int) -> str:
  return "input" if stage < 0 else f"stage_{stage}"


def _depths(depths: Mapping[str, int], heads: Mapping[str, Net], count: int) -> dict[str, int]:
  for name, depth in depths.items():
    if name not in heads:
      raise UserError(
        f"tree: depths has {name!r}, which is no task{nearest(name, heads)}: choose from {', '.join(heads)}."
      )
    if not 1 <= depth <= count:
      raise UserError(f"tree: the depth of task {name!r} is {depth}, expected 1 to {count}, the stages of the trunk.")
  return {name: depths.get(name, count) for name in heads}


def _checked(groups: Groups, ends: Mapping[str, int], count: int) -> list[list[tuple[str, ...]]]:
  """The groups of each stage, with only those tasks that reach it."""
  if len(groups) != count:
    raise UserError(
      f"tree: groups are for {len(groups)} stages, expected {count}, one partition per stage of the trunk."
    )
  found: list[list[tuple[str, ...]]] = []
  for i, stage in enumerate(groups):
    named = [name for group in stage for name in group]
    for name in named:
      if name not in ends:
        raise UserError(f"tree: stage {i} of groups has {name!r}, which is no task{nearest(name, ends)}: remove it.")
    for name, depth in ends.items():
      times = named.count(name)
      if times > 1 or (times == 0 and depth > i):
        raise UserError(f"tree: task {name!r} is in {times} groups of stage {i}, expected 1: each task has one place.")
    kept = [tuple(name for name in group if ends[name] > i) for group in stage]
    for group in kept if i else ():
      for other in group[1:]:
        if not any(group[0] in before and other in before for before in found[-1]):
          raise UserError(
            f"tree: tasks {group[0]!r} and {other!r} are apart at stage {i - 1} and together at stage "
            f"{i}: groups may only part."
          )
    found.append([group for group in kept if group])
  return found
