"""The `sketched` engine: the Gram matrix from random sketches of the task gradients."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.gram import gram
from mtl_jax._core.packed import stack
from mtl_jax._core.paths import matching
from mtl_jax.balance.serving import needs_gram
from mtl_jax.engine._engine import Engine, weigh_and_pull
from mtl_jax.engine.linearized import in_task_order


def sketched(k: int = 4096, *, seed: int = 0) -> Engine:
  r"""Weighs tasks by an unbiased estimate of G: what devices send for it does not grow with the parameters.

  $$ s_{tj} = \sum_{i \equiv j\, (k)} \sigma_i g_{ti}, \qquad \hat G = S S^T, \qquad update = \nabla_{shared} \sum_t
  w_t(\hat G)\, l_t $$

  with fresh random signs $\sigma_i$ each step, so that $E[\hat G] = G$; the error of a cosine is about $1 / \sqrt k$.
  Each device reduces its own share of the T gradients to T x k numbers, which are summed over devices, then comes one
  weighted backward pass: a ring of devices sends 2 P + 2 T k in place of the (T + 1) P of `stacked`.

  On one device it computes the same, and saves nothing over `gram`. Under a mesh each device has whole parameters while
  the step runs: those that rules divide over `data` are gathered.

  Args:
    k: The length of a sketch.
    seed: Of the signs.

  Returns:
    The engine. It serves what `gram` serves, with an estimate of G; its state counts steps.

  Raises:
    UserError: `k` is below 1.

  >>> sketched(1024).name
  'sketched(1024)'

  References:
    Alon, Matias, Szegedy, *The space complexity of approximating the frequency moments*, 1999, for the estimate.
    Charikar, Chen, Farach-Colton, *Finding frequent items in data streams*, 2002, for sums of signed coordinates.
    Positions are dealt to sums in turn in place of a random hash, which needs no gather.
  """
  if k < 1:
    raise UserError(f"sketched: k is {k}, expected at least 1.")

  def run(linearized, balancer, balancer_state, step):
    matrix = None
    if needs_gram(balancer):
      key = jax.random.fold_in(jax.random.key(seed), step)
      each = [
        sketch(matching(gradient, balancer.layers), key, k)
        for pullback in linearized.pullbacks
        for gradient in pullback.each()
      ]
      matrix = gram(devices.total(stack([each[i] for i in in_task_order(linearized.pullbacks)])))
    return *weigh_and_pull(linearized, balancer, balancer_state, matrix), step + 1

  serves = frozenset({"losses", "gram", "cross_gram"})
  return Engine(f"sketched({k})", serves, lambda num_tasks: jnp.zeros((), jnp.int32), run, per_device=True)


def sketch(leaves: dict[str, jax.Array], key: jax.Array, k: int) -> jax.Array:
  """Signed sums of every k-th entry of all leaves, (k,), float32; the same signs for the same key."""
  total = jnp.zeros(k, jnp.float32)
  for path, leaf in leaves.items():
    # Each leaf begins at a sum of its own, or the small ones would all meet in the first.
    start = zlib.crc32(path.encode())
    flat = leaf.reshape(-1)
    if jnp.issubdtype(flat.dtype, jnp.complexfloating):
      flat = jnp.concatenate([flat.real, flat.imag])
    signed = _signed(flat, jax.random.fold_in(key, start))
    blocks = jnp.pad(signed, (0, -signed.size % k)).reshape(-1, k)
    total += jnp.roll(blocks.sum(axis=0, dtype=jnp.float32), start % k)
  return total


def _signed(flat: jax.Array, key: jax.Array) -> jax.Array:
  """The entries with random signs: one random bit each."""
  words = jax.random.bits(key, (-(-flat.size // 32), 1), jnp.uint32)
  bits = (words >> jnp.arange(32, dtype=jnp.uint32)[None, :]) & 1
  return jnp.where(bits.reshape(-1)[: flat.size] == 1, flat, -flat)
