"""The Gram matrix of task gradients, each leaf reduced and dropped before the backward pass goes on."""

from __future__ import annotations

from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from mtl_jax.balance._gram import leaf_gram
from mtl_jax.balance._layers import matching
from mtl_jax.engine._linearize import Pullback
from mtl_jax.engine._rows import stack


def leafwise_gram(pullback: Pullback, layers: str | None = None) -> jax.Array:
  r"""$G = \sum_{leaf} J_{leaf} J_{leaf}^T$ with one leaf's rows in memory at a time.

  The backward pass of all tasks at once is traced and run piece by piece. A piece ends where a leaf's rows are made:
  they are reduced to their part of G, and the cotangents that go on to earlier layers are made to depend on it.
  Without that dependence the compiler is free to keep the rows of several leaves and reduce them later, and does
  (measured: 391 MiB against 295 MiB for T = 32, four layers of 1024, batch 256).

  Inner products do not care how a leaf's axes are ordered, so a transpose that ends the way to a leaf is left out;
  it would copy T x leaf floats.

  Args:
    pullback: Tasks with the same features.
    layers: Which shared parameters count, as in `Balancer`; the backward pass ends with the last of them.

  Returns:
    G over the pullback's tasks, float32.
  """
  cotangents = stack(pullback.cotangents)
  closed = jax.make_jaxpr(jax.vmap(lambda c: matching(pullback.pull(c), layers)))(cotangents)
  jaxpr = closed.jaxpr
  untransposed = {
    eqn.outvars[0]: eqn.invars[0]
    for eqn in jaxpr.eqns
    if eqn.primitive is jax.lax.transpose_p and eqn.params["permutation"][0] == 0  # the task axis stays first
  }
  leaves = [untransposed.get(var, var) for var in jaxpr.outvars if not isinstance(var, jex.Literal)]
  skipped = {var for var in jaxpr.outvars if not isinstance(var, jex.Literal)} - set(leaves)
  eqns = [eqn for eqn in jaxpr.eqns if not skipped.intersection(eqn.outvars)]
  last_use = {var: i for i, eqn in enumerate(eqns) for var in _variables(eqn)}

  values: dict[Any, jax.Array] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
  values.update(zip(jaxpr.invars, jax.tree.leaves(cotangents), strict=True))
  made = set(jaxpr.invars)
  total = jnp.zeros((len(pullback.tasks),) * 2, jnp.float32)
  for leaf in [var for var in leaves if var in values]:  # parameters whose rows are cotangents or constants
    total += leaf_gram(values[leaf])
  start = 0
  for end, eqn in enumerate(eqns):
    here = [var for var in leaves if var in eqn.outvars]
    if not here:
      continue
    _run(jaxpr, eqns[start : end + 1], values)
    made.update(var for piece in eqns[start : end + 1] for var in piece.outvars)
    start = end + 1
    for leaf in here:
      total += leaf_gram(values[leaf])
    ahead = [v for v in made if last_use.get(v, -1) > end and jnp.issubdtype(values[v].dtype, jnp.floating)]
    # Zero unless G is NaN, but the compiler cannot know: nothing below runs before the reduction above.
    zero = jnp.minimum(jnp.abs(total[0, 0]), 0.0)
    values.update({var: values[var] + zero.astype(values[var].dtype) for var in ahead if var not in here})
  return total


def _variables(eqn: Any) -> list[Any]:
  return [var for var in eqn.invars if not isinstance(var, jex.Literal)]


def _run(jaxpr: Any, eqns: list[Any], values: dict[Any, jax.Array]) -> None:
  """Runs some equations of `jaxpr`, reading and writing `values`."""
  outvars = [var for eqn in eqns for var in eqn.outvars]
  invars = list(dict.fromkeys(var for eqn in eqns for var in _variables(eqn) if var in values))
  unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
  piece = jaxpr.replace(constvars=(), invars=invars, outvars=outvars, eqns=eqns, debug_info=unnamed)
  results = jex.jaxpr_as_fun(jex.ClosedJaxpr(piece, ()))(*(values[var] for var in invars))
  values.update(zip(outvars, results, strict=True))
