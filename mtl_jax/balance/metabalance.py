"""MetaBalance: auxiliary gradients brought to the length of the main task's."""

from __future__ import annotations

from typing import Literal, get_args

import jax.numpy as jnp

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.balance.balancer import Balancer, gram_balancer
from mtl_jax.balance.solvers.solution import norms
from mtl_jax.balance.toolkit.main import check_main
from mtl_jax.balance.toolkit.present import keep_absent

Strategy = Literal["both", "reduce", "enlarge"]


def metabalance(main: int = 0, relax: float = 0.7, beta: float = 0.9, strategy: Strategy = "both") -> Balancer:
  r"""Auxiliary tasks serve a main one: their gradients are scaled towards the length of its own (sum scale).

  $$ w_i = r \frac{m_{main}}{m_i} + (1 - r), \qquad m_i \leftarrow \beta m_i + (1 - \beta) |g_i| $$

  so $w_{main} = 1$. In a step without labels of the main task the others are measured against its average so far.

  Args:
    main: The position of the main task in the order of the tasks.
    relax: r, from 0 to 1: 0 leaves the gradients alone, 1 makes them as long as the main task's.
    beta: $\beta$, from 0 to below 1, the memory of the moving averages.
    strategy: Which auxiliary gradients are scaled: those longer than the main task's ("reduce", the paper's strategy
      A), those shorter ("enlarge", B), or both (C).

  Returns:
    The balancer; its state is the moving averages.

  Raises:
    UserError: An option is out of range; at initialisation, fewer than `main + 1` tasks.

  >>> from mtl_jax.balance import Stats
  >>> balancer = metabalance(relax=0.5)
  >>> balancer.weigh(Stats(jnp.ones(3), jnp.diag(jnp.array([1.0, 4.0, 0.25]))), balancer.init(3))[0].tolist()
  [1.0, 0.75, 1.5]

  References:
    He, Feng, Cheng, Ji, Guo, Caverlee, *MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient
    Magnitudes of Auxiliary Tasks*, WWW 2022. Deviations: one length a task, over all shared parameters, in place of
    one per parameter; a task that never had a gradient keeps weight 1.
  """
  if not 0 <= relax <= 1 or not 0 <= beta < 1:
    raise UserError(
      f"metabalance: relax is {relax} and beta {beta}, expected relax from 0 to 1 and beta from 0 to below 1."
    )
  check_choice("metabalance", "strategy", strategy, get_args(Strategy))

  def init(num_tasks):
    check_main("metabalance", main, num_tasks)
    return jnp.zeros(num_tasks, jnp.float32)

  def weigh(stats, averages):
    lengths = norms(stats.gram).astype(averages.dtype)
    averages = keep_absent(stats.present, beta * averages + (1.0 - beta) * lengths, averages)
    target = averages[main]
    known = (averages > 0) & (stats.present[main] | (target > 0))
    ratios = jnp.where(known, target / jnp.where(known, averages, 1.0), 1.0)
    ratios = jnp.minimum(ratios, jnp.finfo(ratios.dtype).max)
    if strategy == "reduce":
      ratios = jnp.minimum(ratios, 1.0)
    if strategy == "enlarge":
      ratios = jnp.maximum(ratios, 1.0)
    return (relax * ratios + (1.0 - relax)).at[main].set(1.0), averages

  return gram_balancer(init, weigh)
