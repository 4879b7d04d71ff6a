"""Proximal steps: penalties that tie towers, applied after the step of an optimizer rather than by their gradients."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax._core.paths import matching
from mtl_jax._core.schedule import at_step
from mtl_jax.terms import Strength

Penalty = Literal["l2", "trace_norm", "l1", "l21", "laplacian"]
PENALTIES = ("l2", "trace_norm", "l1", "l21", "laplacian")


class ProximalState(NamedTuple):
  """The number of updates so far, for an amount that follows it."""

  step: jax.Array


def proximal(
  penalty: Penalty = "l2", amount: Strength = 1e-3, graph: Any = None, pattern: str = "^shared/"
) -> optax.GradientTransformation:
  r"""The proximal step of a penalty on stacked towers, as the last transformation of an optax chain.

  $$ W \leftarrow \arg\min_V \tfrac12 \|V - (W + u)\|^2 + r\,R(V) $$

  u is the update so far and R a penalty of `mtl.arch.soft_sharing`, whose own term then has strength 0. Unlike
  gradient steps, this makes towers exactly alike, of low rank or sparse. Each array of parameters is a matrix W (T, n),
  one row per task.

  Args:
    penalty: R, as in `soft_sharing`.
    amount: r, the learning rate times the strength of the penalty; a number, or a function of the updates so far.
    graph: The weights between tasks, (T, T), for `"laplacian"`.
    pattern: A regular expression, searched for in paths such as `shared/Dense_0/kernel`: the parameters (T, ...) that
      it is for.

  Returns:
    The transformation.

  Raises:
    UserError: An unknown penalty; `graph` is missing, or no symmetric matrix of weights of at least 0; in `update`, no
      `params`, no parameter that matches, or one that is not stacked over the tasks of the graph.

  >>> tx = optax.chain(optax.sgd(1.0), proximal("l2", 0.5))
  >>> params = {"shared": {"w": jnp.array([[1.0], [3.0]])}}
  >>> updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
  >>> optax.apply_updates(params, updates)["shared"]["w"].round(2).tolist()
  [[1.67], [2.33]]

  Deviations: the towers have one proximal step per array of parameters, since that of a sum over several ways to read
  an array as a matrix has no closed form.

  References:
    Ji, Ye, *An Accelerated Gradient Method for Trace Norm Minimization*, ICML 2009. Liu, Ji, Ye, *Multi-Task Feature
    Learning Via Efficient L2,1-Norm Minimization*, UAI 2009.
  """
  edges = check_graph("proximal", penalty, graph)

  def update(updates, state, params=None):
    if params is None:
      raise UserError("proximal: moves parameters, found none: call tx.update(gradients, state, params).")
    chosen = set(matching(params, pattern))

    def one(path, u, w):
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      if name not in chosen:
        return u
      if w.ndim == 0:
        raise UserError(f"proximal: {name} is one number, expected an array (T, ...): choose others by pattern=.")
      moved = (w + u.astype(w.dtype)).astype(jnp.float32).reshape(w.shape[0], -1)
      return (_step(penalty, moved, r, edges, name).reshape(w.shape) - w.astype(jnp.float32)).astype(u.dtype)

    r = jnp.asarray(at_step(amount, state.step), jnp.float32)
    return jax.tree_util.tree_map_with_path(one, updates, params), ProximalState(state.step + 1)

  return optax.GradientTransformation(lambda params: ProximalState(jnp.zeros((), jnp.int32)), update)


def _step(penalty: str, w: jax.Array, r: Any, edges: np.ndarray | None, name: str) -> jax.Array:
  if penalty == "trace_norm":
    return prox_trace_norm(w, r)
  if penalty == "l21":
    return prox_l21(w, r)
  if penalty == "l1":
    return jnp.sign(w) * jnp.maximum(jnp.abs(w) - r, 0)
  return prox_laplacian(w, r, edges_of(f"proximal: {name}", edges, w.shape[0]))


def prox_trace_norm(w: Float[Array, "T n"], r: Any) -> Float[Array, "T n"]:
  r"""The proximal step of the trace norm, $U \max(S - r, 0) V^T$: all singular values fall by r.

  Args:
    w: One row per task.
    r: The amount, at least 0.

  Returns:
    The matrix, of lower rank where singular values are below r.

  >>> prox_trace_norm(jnp.array([[3.0, 1.0], [1.0, 3.0]]), 1.0).round(4).tolist()
  [[2.0, 1.0], [1.0, 2.0]]
  """
  u, s, v = jnp.linalg.svd(w, full_matrices=False)
  return (u * jnp.maximum(s - r, 0)[None]) @ v


def prox_l21(w: Float[Array, "T n"], r: Any) -> Float[Array, "T n"]:
  r"""The proximal step of the group lasso, $\max(0, 1 - r / \|w_j\|)\,w_j$ for each column.

  Args:
    w: One row per task; a column $w_j$ holds the same parameter of all tasks.
    r: The amount, at least 0.

  Returns:
    The matrix, with columns of zeros where their norm is below r.

  >>> prox_l21(jnp.array([[3.0, 0.6], [4.0, 0.8]]), 2.0).round(4).tolist()
  [[1.8, 0.0], [2.4, 0.0]]
  """
  norm = jnp.sqrt(jnp.sum(w * w, axis=0, keepdims=True))
  return w * jnp.where(norm > r, 1 - r / jnp.where(norm > r, norm, 1), 0)


def prox_laplacian(w: Float[Array, "T n"], r: Any, graph: Any) -> Float[Array, "T n"]:
  r"""The proximal step of the graph Laplacian, $(I + 2rL)^{-1} W$ with $L = D - A$: tasks move to their neighbours.

  Args:
    w: One row per task.
    r: The amount, at least 0.
    graph: A, the weights between tasks, (T, T), symmetric, a constant; D holds the sums of its rows.

  Returns:
    The matrix.

  >>> prox_laplacian(jnp.array([[1.0], [3.0]]), 0.5, jnp.array([[0.0, 1.0], [1.0, 0.0]])).round(4).tolist()
  [[1.6667], [2.3333]]
  """
  graph = np.asarray(graph, np.float64)
  # By eigenvectors, in float64, since the system is nearly singular for a large r.
  values, vectors = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
  basis, shrink = jnp.asarray(vectors, w.dtype), 1 / (1 + 2 * r * jnp.asarray(np.maximum(values, 0), w.dtype))
  return basis @ (shrink[:, None] * (basis.T @ w))


def check_graph(arch: str, penalty: str, graph: Any) -> np.ndarray | None:
  """The weights between tasks that a penalty needs, without those of a task with itself.

  Raises:
    UserError: An unknown penalty; a graph that is missing, of no use, or no symmetric matrix of numbers of at least 0.
  """
  check_choice(arch, "penalty", penalty, PENALTIES)
  if penalty != "laplacian":
    if graph is not None:
      raise UserError(f"{arch}: graph is for penalty='laplacian', found it with {penalty!r}: leave one of them out.")
    return None
  found = np.zeros(()) if graph is None else np.asarray(graph, np.float32)
  square = found.ndim == 2 and len(set(found.shape)) == 1
  if not square or not np.array_equal(found, found.T) or not (found >= 0).all():
    what = "none" if graph is None else "one that is not" if square else f"one of shape {found.shape}"
    raise UserError(f"{arch}: penalty 'laplacian' takes a graph (T, T), symmetric, of weights >= 0, found {what}.")
  return found * (1 - np.eye(len(found), dtype=np.float32))


def edges_of(part: str, edges: np.ndarray | None, count: int) -> np.ndarray:
  """The weights between `count` tasks; all 1 where no graph is given.

  Raises:
    UserError: The graph is one of another number of tasks.
  """
  if edges is None:
    return 1 - np.eye(count, dtype=np.float32)
  if len(edges) != count:
    raise UserError(f"{part}: graph is for {len(edges)} tasks, expected one for {count}.")
  return edges
