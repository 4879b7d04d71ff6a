"""PCGrad: projecting conflicting gradients onto each other's normal planes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.toolkit.present import of_present, random_bits


def pcgrad(seed: int = 0) -> Balancer:
  r"""Gradient surgery: from each task's gradient, remove its conflict with every other task's (sum scale).

  For each task i, starting at $\tilde g_i = g_i$, over the other tasks j in random order:

  $$ \tilde g_i \leftarrow \tilde g_i - \min(0, \tilde g_i \cdot g_j) \, g_j / |g_j|^2, \; update = \sum_i \tilde g_i $$

  Projections are against the original $g_j$. In coordinates $\tilde g_i = J^T c_i$ all of it is
  $(G c_i)_j$, so only the Gram matrix is needed.

  Args:
    seed: Of the random orders, drawn anew for each task and step.

  Returns:
    The balancer; its state is the PRNG key.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> weights, _ = pcgrad().weigh(Stats(jnp.ones(2), gradients @ gradients.T), jax.random.key(0))
  >>> (weights @ gradients).round(4).tolist()
  [0.5848, 3.8012, 3.8012]

  References:
    Yu, Kumar, Gupta, Levine, Hausman, Finn, *Gradient Surgery for Multi-Task Learning*, NeurIPS 2020.
  """

  def weigh(stats, key):
    orders, key = random_orders(key, stats.present)
    return project(stats.gram, orders), key

  return gram_balancer(lambda num_tasks: jax.random.key(seed), weigh)


def random_orders(key: jax.Array, present: Bool[Array, " T"]) -> tuple[Int[Array, "T T"], jax.Array]:
  """An order of all tasks for each of them, drawn independently, and the key of the next draw."""
  key, draw = jax.random.split(key)
  bits = of_present(random_bits(draw, present.shape[0]), present)
  return jnp.argsort(of_present(bits.T, present).T, axis=1), key


def project(gram: Float[Array, "T T"], orders: Int[Array, "T T"]) -> Float[Array, " T"]:
  """The weights of PCGrad when task i meets the others in the order `orders[i]`, a permutation of all tasks."""
  tasks = gram.shape[0]

  def surgery(i, order):
    def meet(step, c):
      j = order[step]
      conflict = jnp.sum(gram[j] * c)  # not a product of matrices, which TPUs round to bfloat16
      share = conflict / jnp.where(gram[j, j] > 0, gram[j, j], 1.0)
      return c.at[j].add(jnp.where((conflict < 0) & (j != i) & (gram[j, j] > 0), -share, 0.0))

    return jax.lax.fori_loop(0, tasks, meet, jnp.zeros(tasks).at[i].set(1.0))

  return jax.vmap(surgery)(jnp.arange(tasks), orders).sum(axis=0)
