"""GradDrop: of each coordinate only the gradients of one sign, drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.balance.balancer import Balancer, row_method, without_shared
from mtl_jax.balance.toolkit.rows import check_real, column


def graddrop(
  leak: float | Sequence[float] = 0.0, seed: int = 0, f: Callable[[jax.Array], jax.Array] | None = None
) -> Balancer:
  r"""Gradient sign dropout: where gradients disagree in sign, one sign is drawn and the others dropped (sum scale).

  In each coordinate, with $U$ uniform on [0, 1):

  $$ P = \tfrac12 \Big(1 + \frac{\sum_i g_i}{\sum_i |g_i|}\Big), \qquad
  update = \sum_i (a_i + (1 - a_i) M_i)\, g_i, \qquad M_i = [g_i > 0] [f(P) > U] + [g_i < 0] [f(P) \le U] $$

  Args:
    leak: $a$, from 0 to 1, one number or (T,): the share of each task's own gradient that passes undropped.
    seed: Of the draws, anew for each coordinate and step.
    f: An increasing function from [0, 1] to [0, 1] with $f(1/2) = 1/2$; None: the identity.

  Returns:
    The balancer; its state is the PRNG key. Its update is no weighted sum of gradients; the weights reported are ones.

  Raises:
    UserError: `leak` is out of range; at initialisation, another number of leaks than of tasks.

  >>> from mtl_jax.balance import Stats
  >>> balancer = graddrop()
  >>> rows = [jnp.array([[1.0, 2.0, 0.0], [1.0, 3.0, -1.0]])]
  >>> update, _, _ = balancer.combine(Stats(jnp.ones(2), rows=rows), balancer.init(2))
  >>> update[0].tolist()  # no conflict: the sum
  [2.0, 5.0, -1.0]

  References:
    Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov, *Just Pick a Sign: Optimizing Deep Multitask Models with
    Gradient Sign Dropout*, NeurIPS 2020. Deviation: the gradients of the shared parameters, where the paper puts a
    layer on an activation and there multiplies by its sign and sums over the batch.
  """
  given = np.asarray(leak, np.float32)
  if given.ndim > 1 or not np.all((given >= 0) & (given <= 1)):
    raise UserError(f"graddrop: leak is {leak}, expected from 0 to 1, one number or one per task.")

  def leaks(num_tasks):
    if given.ndim == 1 and len(given) != num_tasks:
      raise UserError(f"graddrop: leak has {len(given)} entries, expected {num_tasks}, one per task.")
    return jnp.broadcast_to(jnp.asarray(given), (num_tasks,))

  def init(num_tasks):
    leaks(num_tasks)
    return jax.random.key(seed)

  def combine(stats, key):
    check_real("graddrop", stats.rows, "has no sign")
    passed = leaks(stats.losses.shape[0])
    key, draw = jax.random.split(key)

    def one(r, k):
      total = jnp.sum(jnp.abs(r), axis=0)
      purity = 0.5 * (1.0 + jnp.sum(r, axis=0) / jnp.where(total > 0, total, 1.0))
      chance = purity if f is None else f(purity)
      positive = jax.random.uniform(k, r.shape[1:], r.dtype) < chance
      kept = jnp.where(positive[None], r > 0, r < 0).astype(r.dtype)
      a = column(passed, r)
      return jnp.sum((a + (1.0 - a) * kept) * r, axis=0)

    leaves, structure = jax.tree.flatten(stats.rows)
    update = [one(r, k) for r, k in zip(leaves, jax.random.split(draw, len(leaves)), strict=True)]
    return jax.tree.unflatten(structure, update), jnp.ones_like(stats.losses), key

  return row_method(without_shared(init), combine)
