"""SDMGrad: least-norm weights near the mean, from independent halves of the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.balance import solvers
from mtl_jax.balance.balancer import Balancer, cross_gram_balancer
from mtl_jax.balance.solvers.solution import full_precision
from mtl_jax.balance.toolkit.present import mean, on_simplex


def sdmgrad(
  lam: float = 0.3, learning_rate: float = 5.0, momentum: float = 0.5, steps: int = 20, third: bool = False
) -> Balancer:
  r"""Stochastic direction-oriented descent: projected SGD towards the least norm, regularised to the mean (mean scale).

  $$ v \leftarrow \mu v + \hat G (w + \lambda p), \qquad w \leftarrow \Pi_\Delta(w - \eta v), \qquad
  update = J^T \frac{w + \lambda p}{1 + \lambda} $$

  with p = 1 / T and $\hat G = J_1 J_2^T / s^2$, the gradients on one half of the batch against those on the other,
  whose expectation is $G$ without the variance of the gradients; s is the mean of the roots of its diagonal. w is kept
  between steps, v begins at 0 in each.

  Args:
    lam: $\lambda$, at least 0: 0 is the least norm, large is the mean gradient.
    learning_rate: $\eta$, above 0. Above about $2 / T$ the inner steps may jump between vertices of the simplex; the
      default is that of the paper's code.
    momentum: $\mu$, from 0 to below 1.
    steps: Inner steps, at least 1.
    third: Cut the batch into three parts, the last for the update alone, as in the paper; False: two, the update is
      on both.

  Returns:
    The balancer; its state is w.

  Raises:
    UserError: An option is out of range.

  >>> from mtl_jax.balance import Stats
  >>> balancer, gram = sdmgrad(learning_rate=0.5), jnp.diag(jnp.array([1.0, 4.0]))
  >>> balancer.weigh(Stats(jnp.ones(2), gram, gram), balancer.init(2))[0].round(2).tolist()
  [0.8, 0.2]

  References:
    Xiao, Ban, Ji, *Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms*, NeurIPS
    2023. Deviation: $s^2$ is at least $10^{-6}$ of the largest entry of $J_1 J_2^T$, in place of an added $10^{-8}$:
    halves that disagree may leave the diagonal negative.
  """
  if lam < 0 or learning_rate <= 0 or not 0 <= momentum < 1 or steps < 1:
    raise UserError(
      f"sdmgrad: lam is {lam}, learning_rate {learning_rate}, momentum {momentum} and steps {steps}, expected lam of "
      "at least 0, learning_rate above 0, momentum from 0 to below 1 and steps of at least 1."
    )

  @full_precision
  def weigh(stats, w):
    gram, present = stats.cross_gram, stats.present
    mean_share = jnp.where(present, 1.0 / stats.num_present.astype(gram.dtype), 0.0)
    size = jnp.max(jnp.abs(gram))
    gram = gram / jnp.where(size > 0, size, 1.0)
    scale = mean(jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)), present)
    gram = gram / jnp.square(jnp.maximum(scale, 1e-3))

    def step(_, carry):
      w, velocity = carry
      velocity = momentum * velocity + gram @ (w + lam * mean_share)
      return solvers.project_simplex(w - learning_rate * velocity, present), velocity

    def steps_from(w):
      return jax.lax.fori_loop(0, steps, step, (w, jnp.zeros_like(w)))[0]

    after, kept = on_simplex(w, present, steps_from)
    return (after + lam * mean_share) / (1.0 + lam), kept

  return cross_gram_balancer(
    lambda num_tasks: jnp.full(num_tasks, 1.0 / num_tasks, jnp.float32), weigh, third=third, scale="mean"
  )
