"""What architectures are made of: checked trunks and heads, and nets around nets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.named import described
from mtl_jax.arch.chain import chain, split_key
from mtl_jax.net import Net, check_net


def check_parts(arch: str, trunk: Any, heads: Any) -> dict[str, Net]:
  """The heads of an architecture.

  Raises:
    UserError: No heads; a trunk or head that is no `Net`.
  """
  check_net(f"{arch}: trunk", trunk)
  if not isinstance(heads, Mapping):
    raise UserError(f"{arch}: heads is {described(heads)}, expected a dictionary {{task: net}}.")
  if not heads:
    raise UserError(f"{arch} needs at least one head, found none: pass heads={{task: net}}.")
  for name, head in heads.items():
    check_net(f"{arch}: head {name!r}", head)
  return dict(heads)


def check_count(arch: str, what: str, count: int, least: int = 1) -> None:
  """Raises a `UserError` for a number below the least."""
  if count < least:
    raise UserError(f"{arch}: {what} is {count}, expected at least {least}.")


def stages_of(arch: str, trunk: Net) -> tuple[Net, ...]:
  """The stages of a trunk, for architectures that work between them.

  Raises:
    UserError: It has fewer than two.
  """
  if len(trunk.stages) < 2:
    found = f"one of {len(trunk.stages)}" if trunk.stages else "one without stages"
    raise UserError(
      f"{arch}: works between the stages of a trunk, found {found}, expected at least 2: take a trunk of mtl.nn, or "
      "mtl.arch.chain(first, second, ...)."
    )
  return trunk.stages


def parted(arch: str, trunk: Net, first: int) -> tuple[Net | None, Net]:
  """The first stages of a trunk, None for none of them, and the rest.

  Raises:
    UserError: The trunk has not more stages than that.
  """
  if first == 0:
    return None, trunk
  check_count(arch, "shared_stages", first, 0)
  if first >= len(trunk.stages):
    raise UserError(
      f"{arch}: shared_stages is {first}, but the trunk has {len(trunk.stages)} stages, expected more: at least one is "
      "copied."
    )
  return chain(*trunk.stages[:first]), chain(*trunk.stages[first:])


def after_stem(stem: Net | None, body: Net) -> Net:
  """The net on what a stem gives, whose parameters and state, `"stem"`, join the net's own; None: the net itself."""
  if stem is None:
    return body

  def init(key, x):
    stem_key, key = jax.random.split(key)
    own, own_state = stem.init(stem_key, x)
    params, state = body.init(key, stem.apply(own, own_state, x)[0])
    return {"stem": own, **params}, {"stem": own_state, **state}

  def apply(params, state, x, *, key: Any = None, **mode):
    stem_key, key = split_key(key, 2)
    x, after = stem.apply(params["stem"], state["stem"], x, key=stem_key, **mode)
    y, state = body.apply(params, state, x, key=key, **mode)
    return y, {**state, "stem": after}

  return Net(init, apply)


def for_each(heads: Mapping[str, Net], make: Callable[[Net], Net]) -> dict[str, Net]:
  """`make(head)` for each task. Equal heads get the same net, so that it is known that they can run as one batch."""
  made: list[tuple[Net, Net]] = []
  found = {}
  for name, head in heads.items():
    same = next((net for known, net in made if (known.init, known.apply) == (head.init, head.apply)), None)
    if same is None:
      same = make(head)
      made.append((head, same))
    found[name] = same
  return found


def reading(net: Net, pick: Callable[[Any], Any]) -> Net:
  """The net on a part of its input."""

  def init(key, x):
    return net.init(key, pick(x))

  def apply(params, state, x, **context):
    return net.apply(params, state, pick(x), **context)

  return Net(init, apply)


def is_float(leaf: Any) -> bool:
  """Whether an array holds features, rather than indices or a mask."""
  return jnp.issubdtype(leaf.dtype, jnp.floating)


def flat(part: str, x: Any) -> jax.Array:
  """What a gate reads: all floats of an example as one vector, (B, D).

  Of sequences, `{"x": (B, L, ...), "mask": (B, L)}`, it reads the mean over the positions that the mask has.

  Raises:
    UserError: There are none.
  """
  mask = x.get("mask") if isinstance(x, Mapping) else None
  found = [_vectors(leaf, mask) for leaf in jax.tree.leaves(x) if is_float(leaf)]
  if not found:
    kinds = ", ".join(str(leaf.dtype) for leaf in jax.tree.leaves(x))
    raise UserError(
      f"{part}: reads features, found an input of {kinds}: let the first stages of the trunk make features of it, "
      "shared_stages=1."
    )
  return jnp.concatenate(found, axis=1)


def _vectors(leaf: jax.Array, mask: Any) -> jax.Array:
  if mask is not None and mask.ndim == 2 and leaf.shape[:2] == mask.shape:
    weights = mask.astype(leaf.dtype)
    total = jnp.maximum(weights.sum(axis=1, keepdims=True), 1)
    leaf = jnp.einsum("bl,bl...->b...", weights / total, leaf)
  return leaf.reshape(leaf.shape[0], -1)


def mapped(function: Callable[..., jax.Array], first: Any, *rest: Any) -> Any:
  """`function` on the floats of trees; indices and masks stay those of the first."""
  return jax.tree.map(lambda leaf, *others: function(leaf, *others) if is_float(leaf) else leaf, first, *rest)


def dense(key: jax.Array, width: int, out: int, *lead: int) -> dict[str, jax.Array]:
  """The parameters of linear layers, `lead` of them, with the initial values of Linen's `Dense`."""
  make = jax.nn.initializers.lecun_normal(batch_axis=tuple(range(len(lead))))
  return {"kernel": make(key, (*lead, width, out), jnp.float32), "bias": jnp.zeros((*lead, out))}


def linear(params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
  """One of them on (..., width)."""
  return x @ params["kernel"] + jnp.broadcast_to(params["bias"], (*x.shape[:-1], params["bias"].shape[-1]))
