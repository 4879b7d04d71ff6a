"""Random loss weighting: weights drawn anew each step."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax._errors import check_choice
from mtl_jax.balance._balancer import Balancer, loss_weighter


def _bernoulli(key, tasks):
  drawn = jax.random.bernoulli(key, shape=(tasks,)).astype(jnp.float32)
  drawn = jnp.where(jnp.any(drawn > 0), drawn, 1.0)
  return drawn / jnp.sum(drawn)


_DISTRIBUTIONS = {
  "normal": lambda key, tasks: jax.nn.softmax(jax.random.normal(key, (tasks,), jnp.float32)),
  "uniform": lambda key, tasks: jax.nn.softmax(jax.random.uniform(key, (tasks,), jnp.float32)),
  "dirichlet": lambda key, tasks: jax.random.dirichlet(key, jnp.ones(tasks, jnp.float32)),
  "bernoulli": _bernoulli,
  "one": lambda key, tasks: jax.nn.one_hot(jax.random.randint(key, (), 0, tasks), tasks, dtype=jnp.float32),
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
    return _DISTRIBUTIONS[distribution](draw, stats.losses.shape[0]), key

  return loss_weighter(lambda num_tasks: jax.random.key(seed), weigh, scale="mean")
