"""Gradient Vaccine: raising the cosines between task gradients to targets that follow them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.pcgrad import random_orders
from mtl_jax.balance.solvers.solution import norms, scaled


class GradVacState(NamedTuple):
  """The PRNG key of the random orders, and the target cosines, (T, T): row i for the gradient of task i."""

  key: jax.Array
  target: jax.Array


def gradvac(beta: float = 0.5, seed: int = 0) -> Balancer:
  r"""Gradient vaccine: PCGrad with a target for each cosine in place of 0 (sum scale).

  For each task i, starting at $\tilde g_i = g_i$, over the other tasks j in random order, where the cosine $\phi$ of
  $\tilde g_i$ and $g_j$ is below its target $\rho_{ij}$:

  $$ \tilde g_i \leftarrow \tilde g_i + \frac{|\tilde g_i| (\rho \sqrt{1 - \phi^2} - \phi \sqrt{1 - \rho^2})}
  {|g_j| \sqrt{1 - \rho^2}} g_j, \qquad \rho_{ij} \leftarrow (1 - \beta) \rho_{ij} + \beta \phi $$

  which makes the cosine $\rho_{ij}$. The update is $\sum_i \tilde g_i$. Targets start at 0: the first step is PCGrad.

  Args:
    beta: $\beta$, from 0 to 1: how fast targets follow the cosines. The paper uses 0.01 over many steps.
    seed: Of the random orders, drawn anew for each task and step.

  Returns:
    The balancer; its state holds the PRNG key and the targets.

  Raises:
    UserError: `beta` is out of range.

  >>> from mtl_jax.balance import Stats
  >>> gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
  >>> balancer = gradvac()
  >>> weights, _ = balancer.weigh(Stats(jnp.ones(2), gradients @ gradients.T), balancer.init(2))
  >>> (weights @ gradients).round(4).tolist()
  [0.5848, 3.8012, 3.8012]

  References:
    Wang, Tsvetkov, Firat, Cao, *Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
    Multilingual Models*, ICLR 2021. Deviation: one target a pair of tasks, over all shared parameters, in place of one
    a layer.
  """
  if not 0 <= beta <= 1:
    raise UserError(f"gradvac: beta is {beta}, expected from 0 to 1.")

  def init(num_tasks):
    return GradVacState(jax.random.key(seed), jnp.zeros((num_tasks, num_tasks), jnp.float32))

  def weigh(stats, state):
    orders, key = random_orders(state.key, stats.present)
    weights, cosines, met = vaccinate(stats.gram, state.target.astype(stats.gram.dtype), orders)
    moved = state.target + beta * (cosines.astype(state.target.dtype) - state.target)
    return weights, GradVacState(key, jnp.where(met, moved, state.target))

  return gram_balancer(init, weigh)


def vaccinate(
  gram: Float[Array, "T T"], target: Float[Array, "T T"], orders: Int[Array, "T T"]
) -> tuple[Float[Array, " T"], jax.Array, jax.Array]:
  """The weights when task i meets the others in the order `orders[i]`, the cosines met, and where there were any."""
  tasks = gram.shape[0]
  lengths = norms(gram)
  has_gradient = lengths > 0
  some = jnp.where(has_gradient, lengths, 1.0)
  cosines = scaled(gram, some)
  eps = jnp.finfo(gram.dtype).eps

  def vaccinate_one(i, order, rho):
    # Coefficients c of the directions of the gradients, in units of the length of gradient i.
    def meet(step, carry):
      c, product, seen, met = carry  # product: C c, the projections on the directions
      j = order[step]
      length = jnp.sqrt(jnp.maximum(jnp.sum(c * product), 0.0))
      meets = (j != i) & has_gradient[i] & has_gradient[j] & (length > eps)
      phi = jnp.clip(product[j] / jnp.where(meets, length, 1.0), -1.0, 1.0)
      goal = jnp.clip(rho[j], -1.0 + eps, 1.0 - eps)
      slope = jnp.sqrt(1.0 - goal * goal)
      share = length * (goal * jnp.sqrt(1.0 - phi * phi) / slope - phi)
      share = jnp.where(meets & (phi < rho[j]), share, 0.0)
      return c.at[j].add(share), product + share * cosines[j], seen.at[j].set(phi), met.at[j].set(meets)

    zero = jnp.zeros(tasks, gram.dtype)
    start = (zero.at[i].set(1.0), cosines[i], zero, jnp.zeros(tasks, bool))
    c, _, seen, met = jax.lax.fori_loop(0, tasks, meet, start)
    return c * some[i] / some, seen, met

  c, seen, met = jax.vmap(vaccinate_one)(jnp.arange(tasks), orders, target)
  return jnp.sum(c, axis=0), seen, met
