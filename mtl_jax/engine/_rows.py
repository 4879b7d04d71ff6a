"""The rows of the Jacobian: one gradient of the shared parameters a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.engine._linearize import Linearized, Pullback


def stack(trees: Any) -> Any:
  """A sequence of trees as one, leaves stacked along a new first axis."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def rows(linearized: Linearized, *, one_by_one: bool) -> tuple[list[jax.Array], Callable[[list[jax.Array]], Any]]:
  """The task gradients of the shared parameters, leaf by leaf, in the tasks' order.

  Weights are inner products over whole leaves, so they do not care how a leaf's axes are ordered. The rows therefore
  come as the backward pass leaves them, without its final transposes, each of which would copy T x leaf floats.

  Args:
    linearized: The objective after its forward pass.
    one_by_one: Pull the cotangents back in a loop rather than as one batch. Slower to compile, on CPU faster to run,
      and activations of one task live at a time instead of those of all.

  Returns:
    The rows, leaves (T, ...), and `finish`, which turns one combined row (...) into the gradient of the shared
    parameters.
  """
  parts, finish = [], None
  for pullback in linearized.pullbacks:
    part, finish = _pull_all(pullback, one_by_one)
    parts.append(part)
  assert finish is not None
  order = [task for pullback in linearized.pullbacks for task in pullback.tasks]
  if len(parts) > 1:
    back = jnp.argsort(jnp.array(order))
    parts = [[jnp.concatenate(leaves)[back] for leaves in zip(*parts, strict=True)]]
  return parts[0], finish


def _pull_all(pullback: Pullback, one_by_one: bool) -> tuple[list[jax.Array], Callable[[list[jax.Array]], Any]]:
  pull, finish = _without_transposes(pullback.pull, pullback.cotangents[0])
  if one_by_one:
    return stack([pull(cotangent) for cotangent in pullback.cotangents]), finish
  return jax.vmap(pull)(stack(pullback.cotangents)), finish


def _without_transposes(pull: Callable[[Any], Any], cotangent: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
  """`(raw, finish)` with `pull = finish . raw`, where `finish` holds the transposes at the very end of `pull`."""
  closed, shapes = jax.make_jaxpr(pull, return_shape=True)(cotangent)
  transposes = {
    eqn.outvars[0]: (eqn.invars[0], eqn.params["permutation"])
    for eqn in closed.jaxpr.eqns
    if eqn.primitive is jax.lax.transpose_p
  }
  outvars, permutations = [], []
  for var in closed.jaxpr.outvars:
    source, permutation = transposes.get(var, (var, None)) if not isinstance(var, jax.extend.core.Literal) else (var, None)
    outvars.append(source)
    permutations.append(permutation)
  raw = closed.replace(jaxpr=closed.jaxpr.replace(outvars=outvars, debug_info=None))

  def finish(leaves):
    ordered = [x if p is None else jnp.transpose(x, p) for x, p in zip(leaves, permutations, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(shapes), ordered)

  return lambda c: jax.extend.core.jaxpr_as_fun(raw)(*jax.tree.leaves(c)), finish
