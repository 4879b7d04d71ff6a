"""GradNorm: learned weights that make tasks train at like rates."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.solvers.solution import epsilon, norms
from mtl_jax.balance.toolkit.learned import Learned, check_learning_rate, descend, start
from mtl_jax.balance.toolkit.present import keep_absent, mean

_LEAST = 1e-3  # weights are kept above it: a step of the optimizer may cross 0
_LARGEST = 1e30  # of the ratio of two losses: means of it stay finite in float32
_TINY = 1e-30  # in place of the sum of no weights


class GradNormState(NamedTuple):
  """The learned weights and their optimizer, and each task's first positive loss, (T,)."""

  learned: Learned
  initial: jax.Array


def gradnorm(
  alpha: float = 1.5,
  learning_rate: float = 0.025,
  layer: str | None = None,
  optimizer: optax.GradientTransformation | None = None,
) -> Balancer:
  r"""Gradient normalisation: weights w > 0 are trained so that slow tasks have larger gradients (weights sum to T).

  $$ \min_w \sum_i | w_i n_i - \bar n r_i^\alpha |, \qquad \bar n = \frac1T \sum_j w_j n_j, \qquad
  r_i = \frac{l_i / l_i^{(1)}}{\tfrac1T \sum_j l_j / l_j^{(1)}} $$

  with $n_i = |g_i|$ and the target $\bar n r_i^\alpha$ held constant: one step of an optimizer of their own, without
  weight decay, then weights are rescaled to sum to T. They scale the losses, so the gradients of the heads too. Where
  some tasks have no labels the others take the step, and keep the sum that they had.

  Args:
    alpha: $\alpha$, at least 0: how strongly slow tasks are favoured; 0 makes the gradients equally long.
    learning_rate: Of Adam on w.
    layer: A regular expression for the paths of the shared parameters whose gradients are measured; None: all. The
      paper takes the last shared layer.
    optimizer: Any optimizer of w in place of Adam, for each entry by itself.

  Returns:
    The balancer.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> balancer = gradnorm()
  >>> weights, state = balancer.weigh(Stats(jnp.ones(2), jnp.diag(jnp.array([1.0, 4.0]))), balancer.init(2))
  >>> balancer.weigh(Stats(jnp.ones(2), jnp.diag(jnp.array([1.0, 4.0]))), state)[0].round(3).tolist()
  [1.025, 0.975]

  References:
    Chen, Badrinarayanan, Lee, Rabinovich, *GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
    Multitask Networks*, ICML 2018. Deviations: all shared parameters by default; before they are rescaled, weights are
    raised to 0.001; a task whose first loss is not positive is measured against its first positive one.
  """
  if alpha < 0:
    raise UserError(f"gradnorm: alpha is {alpha}, expected at least 0.")
  check_learning_rate("gradnorm", learning_rate)
  tx = optax.adam(learning_rate) if optimizer is None else optimizer

  def init(num_tasks):
    return GradNormState(start(tx, num_tasks, 1.0), jnp.zeros(num_tasks, jnp.float32))

  def weigh(stats, state):
    weights, losses = state.learned.value, jnp.maximum(stats.losses, 0.0)
    initial = jnp.where(state.initial > 0, state.initial, losses)
    ratios = jnp.where(initial > 0, losses / jnp.where(initial > 0, initial, 1.0), 1.0)
    ratios = jnp.minimum(ratios, _LARGEST)
    average = mean(ratios, stats.present)
    rates = jnp.where(average > 0, ratios / jnp.where(average > 0, average, 1.0), 1.0)
    lengths = norms(stats.gram).astype(weights.dtype)
    target = mean(weights * lengths, stats.present) * rates**alpha
    # The derivative of the sum of |w n - target| with the target held constant; what is rounding has no sign.
    gap = weights * lengths - target
    gradient = jnp.where(jnp.abs(gap) > 4 * epsilon(target) * target, jnp.sign(gap), 0.0) * lengths
    learned = descend(tx, gradient, state.learned, stats.present)
    raised = jnp.maximum(learned.value, _LEAST)
    together = jnp.sum(jnp.where(stats.present, weights, 0.0)) / jnp.sum(raised, where=stats.present, initial=_TINY)
    learned = learned._replace(value=jnp.where(stats.present, raised * together, weights))
    return weights, GradNormState(learned, keep_absent(stats.present, initial, state.initial))

  return gram_balancer(init, weigh, losses=True, layers=layer, head_weights=lambda weights, state: weights)
