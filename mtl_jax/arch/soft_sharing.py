"""Soft parameter sharing: one tower per task, tied by a penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import terms
from mtl_jax._core.errors import UserError
from mtl_jax.arch._parts import check_parts, is_float
from mtl_jax.arch._towers import examples_first, on_towers, towers
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.arch.proximal import Penalty, check_graph, edges_of
from mtl_jax.net import Net


def soft_sharing(
  trunk: Net,
  heads: Mapping[str, Net],
  penalty: Penalty = "l2",
  strength: terms.Strength = 1e-3,
  graph: Any = None,
  smoothing: float = 1e-3,
) -> Net:
  r"""T towers, copies of the trunk, whose parameters a penalty ties.

  $$ \hat y_t = h_t(f(x; \theta_t)), \qquad \sum_t w_t l_t + s \sum_W R(W) $$

  Each array of the trunk's parameters is a matrix W (T, n) with rows $w_t$, one per task. The penalties R:

  - `"l2"`: $\sum_{s<t} \|w_s - w_t\|^2$, the squared distances between all pairs.
  - `"laplacian"`: $\sum_{s<t} A_{st} \|w_s - w_t\|^2$, the same with the weights of a graph of tasks.
  - `"trace_norm"`: the sum of the singular values of W; towers become combinations of few.
  - `"l21"`: $\sum_j \|(w_{1j}, \ldots, w_{Tj})\|$; a parameter becomes 0 for all tasks or none (group lasso).
  - `"l1"`: $\sum_{tj} |w_{tj}|$; each parameter becomes 0 by itself.

  Args:
    trunk: What each tower is.
    heads: For each task a net from what a tower gives to its prediction.
    penalty: R.
    strength: s, a number or a function of the step. 0 where `proximal` takes the penalty's place.
    graph: A, the weights between tasks, (T, T), for `"laplacian"`.
    smoothing: $\epsilon$ above 0. The norms of the last three are $\sqrt{a^2 + \epsilon^2} - \epsilon$, so that their
      gradients have no jump at 0.

  Returns:
    The multi-task `Net`, with the term `sharing`. The towers lie stacked under shared, although each has a gradient of
    its own task only: task gradients are orthogonal there. It reports `similarity`, (T, T), the cosines between the
    parameters of towers.

  Raises:
    UserError: Something is no `Net`; no heads; an unknown penalty; `graph` is missing, or no symmetric (T, T) matrix of
      weights of at least 0; `smoothing` is not positive.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = soft_sharing(mtl.from_linen(nn.Dense(8)), heads, strength=0.01)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["kernel"].shape, list(net.terms)
  ((2, 4, 8), ['sharing'])

  When to use:
    Tasks are related, but features of one do not serve the others as they are; and T trunks fit.

  References:
    Duong et al., *Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser*, ACL
    2015, for `"l2"`. Yang, Hospedales, *Trace Norm Regularised Deep Multi-Task Learning*, ICLR 2017 workshop, here with
    the task axis against all others. Argyriou et al., *Multi-Task Feature Learning*, 2006, for `"l21"`. Evgeniou et
    al., *Learning Multiple Tasks with Kernel Methods*, 2005, for `"laplacian"`.
  """
  heads, edges = check_parts("soft_sharing", trunk, heads), check_graph("soft_sharing", penalty, graph)
  if smoothing <= 0:
    raise UserError(f"soft_sharing: smoothing is {smoothing}, expected above 0.")
  edges = edges_of("soft_sharing", edges, len(heads))
  copies = towers(trunk, len(heads))

  def apply(params, state, x, **context):
    y, state = copies.apply(params, state, x, **context)
    return examples_first(y), state

  def value(params):
    found = [_value(penalty, w, edges, smoothing) for w in _rows(params["shared"])]
    return sum(found, jnp.zeros((), jnp.float32))

  def report(params, state):
    gram = sum((w @ w.T for w in _rows(params["shared"])), jnp.zeros((len(heads),) * 2, jnp.float32))
    norm = jnp.sqrt(jnp.diag(gram))
    return {"similarity": gram / jnp.maximum(jnp.outer(norm, norm), jnp.finfo(jnp.float32).tiny)}

  net = hard_sharing(Net(copies.init, apply), on_towers(heads))
  return dataclasses.replace(net, terms={"sharing": terms.penalty(value, strength)}, report=report)


def _rows(shared: Any) -> list[jax.Array]:
  return [w.astype(jnp.float32).reshape(w.shape[0], -1) for w in jax.tree.leaves(shared) if is_float(w)]


def _value(penalty: str, w: jax.Array, edges: np.ndarray, smoothing: float) -> jax.Array:
  def norm(squares):
    return jnp.sum(jnp.sqrt(squares + smoothing**2) - smoothing)

  if penalty == "l1":
    return norm(w * w)
  if penalty == "l21":
    return norm(jnp.sum(w * w, axis=0))
  if penalty == "trace_norm":
    return norm(jnp.linalg.svd(w, compute_uv=False) ** 2)
  centred = w - jnp.mean(w, axis=0, keepdims=True)  # the same distances, with more digits
  laplacian = jnp.diag(jnp.asarray(edges.sum(axis=1))) - jnp.asarray(edges)
  return jnp.sum(centred * (laplacian @ centred))
