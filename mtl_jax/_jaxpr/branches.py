"""Branches of a net, trunk and heads, which are run as one where they are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mtl_jax._core import devices
from mtl_jax._core.packed import Opened, Packed, groups_of, is_packed
from mtl_jax._jaxpr.alike import merged
from mtl_jax._jaxpr.equations import convolves


class Head(NamedTuple):
  """What one task makes of the features.

  Attributes:
    predict: `predict(task_params, task_state, features, key) -> (prediction, task_state)`.
    judge: `judge(prediction, batch)`: its loss, or what else is made of each prediction.
    kind: Equal for heads whose `predict` is the same function; None: it is not known.
  """

  predict: Callable[..., tuple[Any, Any]]
  judge: Callable[[Any, Any], Any]
  kind: Any = None

  def __call__(self, params: Any, state: Any, features: Any, batch: Any, key: jax.Array | None):
    """What is made of the prediction, and the head's new state."""
    prediction, state = self.predict(params, state, features, key)
    return self.judge(prediction, batch), state


class Branch(NamedTuple):
  """Tasks that read the same features, hence share one forward pass of the trunk.

  Attributes:
    trunk: `trunk(shared_params, shared_state, x, key) -> (features, shared_state)`; one object for all branches that
      run the same function.
    heads: For each task its head.
    read: `read(batch) -> x`, the trunk's input.
  """

  trunk: Callable[..., tuple[Any, Any]]
  heads: Mapping[str, Head]
  read: Callable[[Any], Any] = lambda batch: batch


class Alike(NamedTuple):
  """One function for several heads.

  Attributes:
    names: Their tasks.
    params: Their parameters, along a leading axis.
    state: Their states.
    function: `function(params, state, features, key, operands) -> (judged, state)`, for one of them.
    operands: What else they read: labels, and the numbers in which they differ.
    axes: For each of these the axis along which there is one for each head, or None: it is the same for all.
  """

  names: tuple[str, ...]
  params: Any
  state: Any
  function: Callable[..., tuple[Any, Any]]
  operands: list[Any]
  axes: list[int | None]

  def call(self, params: Any, features: Any, keys: Any, of_each: bool) -> tuple[Any, Any]:
    """What is judged, and the states, of all; `of_each`: each has features of its own, along a leading axis."""
    axes = (0, 0, 0 if of_each else None, None if keys is None else 0, self.axes)
    return jax.vmap(self.function, in_axes=axes)(params, self.state, features, keys, self.operands)


def heads_alike(
  names: tuple[str, ...], heads: Sequence[Head], params: Packed, state: Packed, features: Any, batch: Opened, key: Any
) -> Alike | None:
  """One function for the heads of a group of `params`, or None where they are not alike.

  Args:
    names: The group.
    heads: Their heads.
    params: The parameters of all heads.
    state: Their states, in the same groups.
    features: Shapes of the features that one of them reads.
    batch: The batch.
    key: The key of one of them.
  """
  own, own_state = (node.trees[node.groups.index(names)] for node in (params, state))
  arguments = (params[names[0]], state[names[0]], features, key)
  if not all(isinstance(head, Head) for head in heads):
    return None
  known = all(head.kind is not None and head.kind == heads[0].kind for head in heads)

  def traced(head: Head) -> tuple[Any, Any]:
    """What differs between heads: what they make of a prediction or, where that is all that is known, everything."""
    if known:
      return jax.make_jaxpr(lambda y: head.judge(y, batch.entries), return_shape=True)(prediction)
    return jax.make_jaxpr(lambda p, s, f, k: head(p, s, f, batch.entries, k), return_shape=True)(*arguments)

  prediction = jax.eval_shape(heads[0].predict, *arguments)[0] if known else None
  programs = [traced(head) for head in heads]
  structures = {jax.tree.structure(shapes) for _, shapes in programs}
  found = merged([program for program, _ in programs]) if len(structures) == 1 else None
  if found is None or not all(source.common for source in found.sources if source.kind == "input"):
    return None
  (structure,) = structures
  both = [(source.each[0], None) if source.common else batch.stack(source.each) for source in found.others]
  operands, axes = [operand for operand, _ in both], [axis for _, axis in both]

  def function(p, s, f, k, operands):
    inputs, after = heads[0].predict(p, s, f, k) if known else ((p, s, f, k), None)
    made = jax.tree.unflatten(structure, found.on(jax.tree.leaves(inputs), operands))
    return (made, after) if known else made

  return Alike(names, own, own_state, function, operands, axes)


class Branches(NamedTuple):
  """One branch, or several whose passes are alike: one head each, the same trunk, inputs of equal shapes.

  Attributes:
    branches: They.
    heads: The heads of several as one; None: there is one branch.
    inputs: The inputs of several, along a leading axis.
  """

  branches: list[Branch]
  heads: Alike | None = None
  inputs: Any = None


def alike_heads(
  branch: Branch, params: Any, state: Any, features: Any, batch: Opened, keys: Any
) -> tuple[list[Alike], dict[str, Callable[..., Any]]]:
  """The heads on the features of a branch: those that can be run as one, in groups, and all others by name."""
  found, others = [], dict(branch.heads)
  for names in _groups(params):
    if branch.heads.keys() >= set(names):
      each, key = [branch.heads[name] for name in names], keys["task"][names[0]]
      alike = heads_alike(names, each, params["task"], state["task"], features, batch, key)
      if alike is not None:
        found.append(alike)
        others = {name: head for name, head in others.items() if name not in names}
  return found, others


def alike_branches(
  branches: Sequence[Branch], params: Any, state: Any, batch: Opened, keys: Any, *, train: bool
) -> list[Branches]:
  """The branches, those that are alike together: a head each, the same trunk, inputs of equal shapes.

  Args:
    branches: The branches.
    params: The parameters of the net.
    state: Its state.
    batch: The batch.
    keys: The keys of trunk and heads.
    train: Whether there will be gradients, and state that changes from pass to pass.
  """
  one_head = {next(iter(branch.heads)): branch for branch in branches if len(branch.heads) == 1}
  found, done = [], set()
  for names in () if train and jax.tree.leaves(state["shared"]) else _groups(params):
    several = [one_head[name] for name in names if name in one_head]
    together = _together(names, several, params, state, batch, keys, train) if len(several) == len(names) else None
    if together is not None:
      found.append(together)
      done.update(map(id, several))
  return [*found, *(Branches([branch]) for branch in branches if id(branch) not in done)]


def _groups(params: Any) -> list[tuple[str, ...]]:
  """The names of heads whose parameters lie in one tree."""
  return [names for names in params["task"].groups if names[1:]] if is_packed(params["task"]) else []


def _together(
  names: tuple[str, ...], branches: list[Branch], params: Any, state: Any, batch: Opened, keys: Any, train: bool
) -> Branches | None:
  """The branches of these names as one, or None where they are not alike."""
  trunk, inputs = branches[0].trunk, [branch.read(batch.entries) for branch in branches]
  of_one_shape = len(groups_of(dict(zip(names, inputs, strict=True)), fewest=1)) == 1
  if not of_one_shape or any(branch.trunk is not trunk for branch in branches):
    return None

  def features_of(x):
    return trunk(params["shared"], state["shared"], x, keys["shared"])[0]

  program, features = jax.make_jaxpr(features_of, return_shape=True)(inputs[0])
  if train and devices.on_one_cpu() and any(map(convolves, program.eqns)):
    return None  # a batch of kernels' gradients takes 40 times as long there as they do in turn
  each = [branch.heads[name] for name, branch in zip(names, branches, strict=True)]
  heads = heads_alike(names, each, params["task"], state["task"], features, batch, keys["task"][names[0]])
  if heads is None:
    return None
  leaves = [batch.stack(each) for each in zip(*map(jax.tree.leaves, inputs), strict=True)]
  fronts = [jax.numpy.moveaxis(whole, axis, 0) for whole, axis in leaves]
  stacks = jax.tree.unflatten(jax.tree.structure(inputs[0]), fronts)
  return Branches(branches, heads, stacks)


def judged(branches: Sequence[Branch], params: Any, state: Any, batch: Any) -> dict[tuple[str, ...], Any]:
  """What is made of all predictions without training: of groups of tasks along a leading axis, of others one by one."""
  opened, found = Opened(batch), {}
  names = [name for branch in branches for name in branch.heads]
  keys = {"shared": None, "task": dict.fromkeys(names)}
  for several in alike_branches(branches, params, state, opened, keys, train=False):
    branch = several.branches[0]

    def features_of(x, branch=branch):
      return branch.trunk(params["shared"], state["shared"], x, None)[0]

    if several.heads is not None:
      features = jax.vmap(features_of)(several.inputs)
      found[several.heads.names] = several.heads.call(several.heads.params, features, None, True)[0]
      continue
    features = features_of(branch.read(opened.entries))
    groups, others = alike_heads(branch, params, state, features, opened, keys)
    for alike in groups:
      found[alike.names] = alike.call(alike.params, features, None, False)[0]
    for name, head in others.items():
      found[name,] = head(params["task"][name], state["task"][name], features, opened.entries, None)[0]
  return found
