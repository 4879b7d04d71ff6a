"""Random loss weighting: weights drawn anew each step."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import check_choice
from mtl_jax.balance.balancer import Balancer, loss_weighter
from mtl_jax.balance.toolkit.present import of_present


def _bernoulli(key, present):
  drawn = of_present(jax.random.bernoulli(key, shape=present.shape), present) & present
  drawn = jnp.where(jnp.any(drawn), drawn, present).astype(jnp.float32)
  return drawn / jnp.maximum(jnp.sum(drawn), 1.0)


def _dirichlet(key, present):
  drawn = jnp.where(present, of_present(jax.random.exponential(key, present.shape, jnp.float32), present), 0.0)
  return drawn / jnp.maximum(jnp.sum(drawn), jnp.finfo(jnp.float32).tiny)


def _one(key, present):
  place = jnp.floor(jax.random.uniform(key) * jnp.sum(present, dtype=jnp.float32)).astype(jnp.int32)
  return (present & (jnp.cumsum(present) - 1 == place)).astype(jnp.float32)


def _softmax_of(draw):
  return lambda key, present: jax.nn.softmax(of_present(draw(key, present.shape, jnp.float32), present), where=present)


_DISTRIBUTIONS = {
  "normal": _softmax_of(jax.random.normal),
  "uniform": _softmax_of(jax.random.uniform),
  "dirichlet": _dirichlet,
  "bernoulli": _bernoulli,
  "one": _one,
}


def random(
  distribution: Literal["normal", "uniform", "dirichlet", "bernoulli", "one"] = "normal", seed: int = 0
) -> Balancer:
  r"""Random loss weighting (weights sum to 1).

  $$ w = softmax(z), \quad z_i \sim N(0, 1) $$

  Args:
    distribution: `"normal"`; `"uniform"`: softmax of numbers from 0 to 1; `"dirichlet"`: uniform on the simplex;
      `"bernoulli"`: each task with probability one half, those drawn weigh alike; `"one"`: one task a step (the
      paper's constrained Bernoulli).
    seed: Of the draws.

  Returns:
    The balancer; its state is the PRNG key.

  Raises:
    UserError: An unknown distribution.

  >>> from mtl_jax.balance import Stats
  >>> balancer = random()
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(3)), balancer.init(3))
  >>> weights.sum().item()
  1.0

  References:
    Lin, Ye, Zhang, Tsang, *Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning*, TMLR
    2022. Deviation: with `"bernoulli"`, a draw of no task counts as one of all.
  """
  check_choice("random", "distribution", distribution, _DISTRIBUTIONS)

  def weigh(stats, key):
    key, draw = jax.random.split(key)
    return _DISTRIBUTIONS[distribution](draw, stats.present), key

  return loss_weighter(lambda num_tasks: jax.random.key(seed), weigh, scale="mean")
