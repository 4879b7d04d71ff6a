"""Auto-Lambda: task weights that lower the validation loss of the primary tasks after one step."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import without_shared
from mtl_jax.balance.toolkit.learned import descend, start
from mtl_jax.bilevel.method import Bilevel, check_rates, descent


def auto_lambda(
  learning_rate: float = 1e-4,
  inner_learning_rate: float = 0.1,
  initial: float = 0.1,
  primary: Sequence[bool] | None = None,
  optimizer: optax.GradientTransformation | None = None,
) -> Bilevel:
  r"""Weights $\lambda$ descend on the validation loss of the primary tasks after one unrolled training step.

  $$ \min_\lambda \sum_{primary} l_i^{valid}(\theta'), \qquad
  \theta' = \theta - \eta \nabla \sum_i \lambda_i l_i^{train}(\theta) $$

  whose gradient is $-\eta \nabla l_i^{train}(\theta) \cdot \nabla \sum_{primary} l_j^{valid}(\theta')$: one
  forward-mode derivative of the training losses. The network then trains with $w = \lambda$.

  Args:
    learning_rate: Of Adam on $\lambda$.
    inner_learning_rate: $\eta$, of the unrolled step; as large as the network's own.
    initial: $\lambda$ at first.
    primary: Which tasks count in validation, (T,); None: all.
    optimizer: Any optimizer of $\lambda$ in place of Adam.

  Returns:
    The method, for `make_bilevel_step`; it reports `weights`, $\lambda$.

  Raises:
    UserError: A rate is not positive, no task is primary; at initialisation, `primary` has a wrong length.

  >>> auto_lambda().init(2).value.tolist()
  [0.1, 0.1]

  References:
    Liu, James, Davison, Johns, *Auto-Lambda: Disentangling Dynamic Task Relationships*, TMLR 2022. Deviation: the
    directional derivative is exact, in place of a finite difference of two more gradients.
  """
  check_rates("auto_lambda", learning_rate=learning_rate, inner_learning_rate=inner_learning_rate)
  if primary is not None and not any(primary):
    raise UserError("auto_lambda: no task is primary, expected at least one.")
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def counted(num_tasks):
    which = (True,) * num_tasks if primary is None else tuple(primary)
    if len(which) != num_tasks:
      raise UserError(f"auto_lambda: primary has {len(which)} entries, expected {num_tasks}, one per task.")
    return jnp.array(which, jnp.float32)

  def init(num_tasks):
    counted(num_tasks)
    return start(tx, num_tasks, initial)

  def learn(levels, state):
    unrolled = descent(levels, state.value, inner_learning_rate)
    which = counted(state.value.shape[0])
    upper = jax.grad(lambda p: jnp.sum(which * levels.valid(p)))(unrolled)
    _, along = jax.jvp(levels.train, (levels.params,), (upper,))
    state = descend(tx, -inner_learning_rate * along, state, levels.present)
    return state.value, None, state

  return Bilevel(without_shared(init), learn, report=lambda state: {"weights": state.value})
