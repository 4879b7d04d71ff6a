"""`pruned`, an optimizer that sets ever more of the smallest weights to zero while it trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import unpacked
from mtl_jax._core.paths import by_path, check_patterns, map_with_paths

_NO_KERNEL = re.compile(r"(^|/)(bias|scale)$")
"""Of copies of a net, such as experts, these have two axes, too."""


class PrunedState(NamedTuple):
  """What `pruned` remembers.

  Attributes:
    updates: How many there were so far, int32.
    kept: For each leaf that is pruned, which of its weights are not zero, booleans of its shape; `optax.MaskedNode()`
      in the places of all others.
    inner: The state of the optimizer inside.
  """

  updates: jax.Array
  kept: Any
  inner: Any


def sparsity_at(sparsity: float, begin: int, end: int, every: int = 1) -> Callable[[Any], Any]:
  r"""The share of weights that are zero after n steps: a cubic that rises from 0 fast at first, then ever slower.

  $$ s(n) = s \left(1 - \left(1 - \frac{p(n) - b}{e - b}\right)^3\right), \quad
     p(n) = b + \lfloor (n - b) / k \rfloor k $$

  with 0 before step b and s from step e on.

  Args:
    sparsity: $s$, the share in the end, in [0, 1).
    begin: $b$, the step before the first at which weights are set to zero.
    end: $e$, the step from which on the share is $s$.
    every: $k$, steps between prunings.

  Returns:
    The schedule, a function of the number of steps.

  Raises:
    UserError: A number is out of range.

  >>> schedule = sparsity_at(0.8, begin=10, end=20, every=5)
  >>> [round(float(schedule(n)), 3) for n in (0, 10, 14, 15, 20, 99)]
  [0.0, 0.0, 0.0, 0.7, 0.8, 0.8]

  References:
    Zhu and Gupta, *To prune, or not to prune: exploring the efficacy of pruning for model compression*, 2017.
  """
  check_numbers({"sparsity": sparsity, "begin": begin, "end": end, "every": every})
  if begin >= end:
    raise UserError(f"pruned: begin is {begin} and end {end}, expected that it ends after it has begun.")

  def schedule(count: Any) -> jax.Array:
    pulse = begin + (jnp.asarray(count) - begin) // every * every
    share = sparsity * (1 - (1 - jnp.clip((pulse - begin).astype(jnp.float32) / (end - begin), 0.0, 1.0)) ** 3)
    return jnp.where(jnp.asarray(count) >= end, jnp.float32(sparsity), share)

  return schedule


def pruned(
  tx: optax.GradientTransformation,
  sparsity: float,
  *,
  begin: int = 0,
  end: int,
  every: int = 1,
  parts: str | Sequence[str] = "shared/",
  but: str | Sequence[str] = (),
) -> optax.GradientTransformationExtraArgs:
  r"""The optimizer, after each update of which the smallest weights of each kernel are zero, more and more of them.

  $$ \theta \leftarrow m \odot (\theta + tx(m \odot g)), \qquad m_i = 0 \text{ for the } s(n) P \text{ smallest }
     |\theta_i| $$

  of the P weights of each leaf by itself, s(n) being `sparsity_at`. A weight that has become zero stays zero, to the
  bit, whatever decays or moves it inside `tx`, which sees gradients of zero for it. It stands outermost, or last in
  a chain: what changes updates after it would undo it.

  A model whose zeros are stored takes less room when packed, by gzip or in a compressed `.npz`. It is not faster: its
  kernels are dense arrays, and zeros are multiplied like other numbers.

  All of it is part of the jitted step. Weights are sorted when there are to be more zeros, every `every` steps between
  `begin` and `end`, at no other. The masks take a byte for each weight, are stored in checkpoints, and are divided over
  a mesh like their parameters, which are gathered to be sorted. Task gradients and G are those of all weights, zeros
  included.

  Args:
    tx: The optimizer.
    sparsity: The share of zeros in the end, in [0, 1).
    begin: Steps before the first pruning.
    end: The step with which pruning is done. Train on for some steps, and let no model before it count as the best:
      `mtl.fit(best_from=end)`.
    every: Steps between prunings.
    parts: Regular expressions, searched for in paths such as `shared/Dense_0/kernel`: the parameters that are pruned,
      by default the trunk's. Of these, leaves of two or more axes are, but for those named `bias` or `scale`.
    but: Those of them that are not, such as a first layer of few weights. Tables that a step updates by rows
      (`sparse=` of `mtl.fit`) must be among them: the step does not see their other weights.

  Returns:
    The optimizer; its state is a `PrunedState`. Steps are counted by its updates.

  Raises:
    UserError: A number is out of range; from `init`, a pattern is no regular expression or matches no parameter, or
      nothing is left to prune.

  >>> tx = pruned(optax.sgd(0.1), 0.5, end=1)
  >>> params = {"shared": {"kernel": jnp.array([[3.0, -1.0], [0.5, 2.0]])}, "task": {"a": jnp.ones((1, 2))}}
  >>> updates, state = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
  >>> optax.apply_updates(params, updates)["shared"]["kernel"].round(1).tolist()
  [[2.9, 0.0], [0.0, 1.9]]

  References:
    Zhu and Gupta, *To prune, or not to prune: exploring the efficacy of pruning for model compression*, 2017.

  Deviations: a weight that was pruned does not come back, where the paper's mask may find its old value large again.
  The initial share of zeros is 0.
  """
  schedule = sparsity_at(sparsity, begin, end, every)
  parts, but = (tuple([some] if isinstance(some, str) else some) for some in (parts, but))
  inner = optax.with_extra_args_support(tx)

  def init(params: Any) -> Any:
    chosen = _chosen(params, parts, but)
    kept = jax.tree.map(lambda leaf, own: _ones(leaf) if own.any() else optax.MaskedNode(), params, chosen)
    return PrunedState(jnp.zeros((), jnp.int32), kept, inner.init(params))

  def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
    if params is None:
      raise UserError("pruned: update got no params, which tell what is small: pass tx.update(grads, state, params).")
    count: Any = optax.safe_increment(state.updates)
    share, done = schedule(count), count >= end
    updates = jax.tree.map(_masked, updates, state.kept)
    updates, inner_state = inner.update(updates, state.inner, params, **extra)

    def more(leaf: Any, update: Any, kept: Any, own: np.ndarray) -> Any:
      if isinstance(kept, optax.MaskedNode):
        return kept
      each = leaf.size // len(own)
      wanted = jnp.where(done, round(sparsity * each), jnp.floor(share * each + 0.5).astype(jnp.int32))
      return _pruned(leaf + update.astype(leaf.dtype), kept, jnp.where(own, wanted, 0))

    def ended(leaf: Any, update: Any, kept: Any) -> Any:
      return update if isinstance(kept, optax.MaskedNode) else jnp.where(kept, update, -leaf.astype(update.dtype))

    kept = jax.tree.map(more, params, updates, state.kept, _chosen(params, parts, but))
    return jax.tree.map(ended, params, updates, kept), PrunedState(count, kept, inner_state)

  return optax.GradientTransformationExtraArgs(init, update)


def _ones(leaf: Any) -> jax.Array:
  return jnp.ones(jnp.shape(leaf), bool)


def _masked(leaf: Any, kept: Any) -> Any:
  return leaf if isinstance(kept, optax.MaskedNode) else jnp.where(kept, leaf, jnp.zeros((), leaf.dtype))


def _pruned(weights: jax.Array, kept: jax.Array, wanted: jax.Array) -> jax.Array:
  """Which weights are kept when of each of K leaves, along the first axis, at least `wanted`, (K,), are zero."""
  rows, masks = (a.reshape(len(wanted), -1) for a in (weights, kept))
  zeros = jnp.sum(~masks, axis=1, dtype=jnp.int32)

  def cut(masks: jax.Array) -> jax.Array:
    size = jnp.where(masks, jnp.abs(rows), jnp.full((), -1, rows.dtype))  # what is zero already comes first
    rank = jnp.argsort(jnp.argsort(size, axis=1), axis=1)
    return rank >= jnp.maximum(wanted, zeros)[:, None]

  return jax.lax.cond(jnp.any(zeros < wanted), cut, lambda masks: masks, masks).reshape(kept.shape)


def _chosen(params: Any, parts: Sequence[str], but: Sequence[str]) -> Any:
  """For each leaf whether it is pruned, (1,); of heads in one tree for each of them, (K,), booleans of numpy."""
  paths = list(by_path(jax.eval_shape(unpacked, params))) if jax.tree.leaves(params) else []

  def of(path: str, axes: int) -> bool:
    found, left = (any(re.search(pattern, path) for pattern in patterns) for patterns in (parts, but))
    return found and not left and axes >= 2 and not _NO_KERNEL.search(path)

  check_patterns("pruned", [*parts, *but], paths)
  chosen = map_with_paths(
    lambda paths, leaf, axis: np.array([of(path, jnp.ndim(leaf) - (axis is not None)) for path in paths]), params
  )
  if paths and not any(own.any() for own in jax.tree.leaves(chosen)):
    raise UserError(f"pruned: of {', '.join(map(repr, parts))} no leaf of two or more axes is left to prune.")
  return chosen
