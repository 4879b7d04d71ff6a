"""MOML: task weights that lower the validation losses of all tasks after one step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import without_shared
from mtl_jax.balance.toolkit.learned import descend, start
from mtl_jax.balance.toolkit.present import far_off
from mtl_jax.bilevel.method import Bilevel, check_rates, descent


def moml(
  learning_rate: float = 1e-3, inner_learning_rate: float = 0.1, optimizer: optax.GradientTransformation | None = None
) -> Bilevel:
  r"""Multi-objective meta learning: the weights' logits s follow the common descent direction of all validation losses.

  $$ \min_s \big( l_1^{valid}(\theta'), \ldots, l_T^{valid}(\theta') \big), \qquad
  \theta' = \theta - \eta \nabla \, softmax(s) \cdot l^{train}(\theta) $$

  The gradients with respect to s, scaled to length 1, are combined by MGDA. The network trains with $w = softmax(s)$.

  $$ h_j = -\eta\, \partial w / \partial s \, (\nabla l_i^{train} \cdot \nabla l_j^{valid}(\theta'))_i $$

  Args:
    learning_rate: Of Adam on s.
    inner_learning_rate: $\eta$, of the unrolled step.
    optimizer: Any optimizer of s in place of Adam.

  Returns:
    The method, for `make_bilevel_step`; it reports `weights`, softmax(s).

  Raises:
    UserError: A rate is not positive.

  >>> moml().init(2).value.tolist()
  [0.0, 0.0]

  References:
    Ye, Lin, Yue, Guo, Xiao, Zhang, *Multi-Objective Meta Learning*, NeurIPS 2021, with one inner step.
  """
  check_rates("moml", learning_rate=learning_rate, inner_learning_rate=inner_learning_rate)
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def learn(levels, state):
    weights, pull = jax.vjp(lambda s: jax.nn.softmax(s, where=levels.present), state.value)
    unrolled = descent(levels, weights, inner_learning_rate)
    upper = jax.jacrev(levels.valid)(unrolled)  # one row per task
    along = jax.vmap(lambda row: jax.jvp(levels.train, (levels.params,), (row,))[1])(upper)
    rows = jax.vmap(lambda row: pull(row)[0])(-inner_learning_rate * along)
    lengths = jnp.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / jnp.where(lengths > 0, lengths, 1.0)
    products = far_off(jnp.matmul(rows, rows.T, precision="highest"), levels.valid_present)
    shares = jnp.where(levels.valid_present, solvers.simplex_qp(products).x, 0.0)
    state = descend(tx, jnp.sum(shares[:, None] * rows, axis=0), state, levels.present)
    return jax.nn.softmax(state.value, where=levels.present), None, state

  return Bilevel(
    without_shared(lambda num_tasks: start(tx, num_tasks)),
    learn,
    report=lambda state: {"weights": jax.nn.softmax(state.value)},
  )
