"""Stems: a net of its own for each kind of input, in front of one trunk."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, check_choice, nearest
from mtl_jax._core.named import described
from mtl_jax.arch._parts import mapped
from mtl_jax.arch.chain import chain, split_key
from mtl_jax.net import Net, check_net


def stems(nets: Mapping[str, Net], trunk: Net, join: Literal["concat", "sum", "mean", "first"] = "concat") -> Net:
  r"""A trunk for several kinds of input, such as images and texts, each of which has a net of its own in front.

  $$ y = f\big(join_{m \in M}\, s_m(x_m)\big), \qquad M \text{ the inputs that are present} $$

  Args:
    nets: For each input, by its key in the batch, a net that makes of it what the trunk takes.
    trunk: Any trunk.
    join: How the outputs of several stems become one: `"concat"` along the last axis, `"sum"` or `"mean"`; `"first"`:
      they are not joined, and that of the first stem goes on, for tasks that read one input each and inputs of
      different lengths, such as sounds and texts. With one input alone, its stem's output goes on as it is. Masks and
      indices among the outputs are those of the first stem.

  Returns:
    The `Net`, a trunk for any architecture: `{key: input} -> features`, which is what `mtl.objective` gives it for
    `inputs=("image", "text")`, and for `inputs={task: ("image",)}`. Where tasks have other inputs than each other, take
    `"sum"` or `"mean"`, whose output does not become wider with their number. Its stages are the stems, then those of
    the trunk. It is to be initialised with all inputs.

  Raises:
    UserError: Something is no `Net`; no stems; an unknown `join`; when it is applied, the input is no dictionary, is
      empty, has a key without a stem or one that was not there when it was initialised, or outputs cannot be joined.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> wide, narrow = (mtl.from_linen(nn.Dense(width)) for width in (8, 4))
  >>> net = stems({"image": wide, "text": narrow}, mtl.from_linen(nn.Dense(6)))
  >>> x = {"image": jnp.ones((2, 3)), "text": jnp.ones((2, 5))}
  >>> params, state = net.init(jax.random.key(0), x)
  >>> sorted(params["stage_0"]), params["stage_1"]["kernel"].shape
  (['image', 'text'], (12, 6))
  """
  if not isinstance(nets, Mapping):
    raise UserError(f"stems: nets is {described(nets)}, expected a dictionary {{key of an input: net}}.")
  if not nets:
    raise UserError("stems needs at least one stem, found none: pass {key of an input: net}.")
  for name, net in nets.items():
    check_net(f"stems: stem {name!r}", net)
  check_net("stems: trunk", trunk)
  check_choice("stems", "join", join, ("concat", "sum", "mean", "first"))

  def present(x):
    if not isinstance(x, Mapping) or not x:
      found = "an empty dictionary" if isinstance(x, Mapping) else described(x)
      raise UserError(f"stems: the input is {found}, expected {{key: input}}: several keys, such as inputs=('image',).")
    for name in x:
      if name not in nets:
        raise UserError(f"stems: no stem for the input {name!r}{nearest(name, nets)}: there are {', '.join(nets)}.")
    return [name for name in nets if name in x]

  def init(key, x):
    params, state, found = {}, {}, present(x)
    keys = dict(zip(nets, jax.random.split(key, len(nets)), strict=True))
    for name in found:
      params[name], state[name] = nets[name].init(keys[name], x[name])
    return params, state

  def apply(params, state, x, *, key: Any = None, **mode):
    outputs, after = {}, dict(state)
    keys = dict(zip(nets, split_key(key, len(nets)), strict=True))
    for name in present(x):
      if name not in params:
        raise UserError(
          f"stems: the stem {name!r} has no parameters: initialise with all inputs, here with {', '.join(params)} and "
          f"{name}."
        )
      outputs[name], after[name] = nets[name].apply(params[name], state[name], x[name], key=keys[name], **mode)
    return _joined(outputs, join), after

  stem = Net(init, apply)
  return dataclasses.replace(chain(stem, trunk), stages=(stem, *(trunk.stages or (trunk,))))


def _joined(outputs: Mapping[str, Any], join: str) -> Any:
  names, trees = list(outputs), list(outputs.values())
  if len(trees) == 1 or join == "first":
    return trees[0]

  def kind(tree):
    leaves, structure = jax.tree.flatten(tree)
    return structure, [leaf.shape[:-1] if join == "concat" else leaf.shape for leaf in leaves]

  for name, tree in zip(names, trees, strict=True):
    if kind(tree) != kind(trees[0]):
      shapes = [jax.tree.map(lambda leaf: str(leaf.shape), found) for found in (trees[0], tree)]
      raise UserError(
        f"stems: {names[0]!r} gives {shapes[0]} and {name!r} {shapes[1]}, which {join!r} cannot join: let them differ "
        f"{'only in the last axis' if join == 'concat' else 'in nothing'}."
      )

  def one(*leaves):
    if join == "concat":
      return jnp.concatenate(leaves, axis=-1)
    total = functools.reduce(jnp.add, leaves)
    return total / len(leaves) if join == "mean" else total

  return mapped(one, *trees)
