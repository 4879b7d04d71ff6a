"""The columns of a table as one vector: numbers along curves, and a learned vector for each word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.nn.embeddings import Embeddings


class Columns(nn.Module):
  r"""Numbers, words and text of a table's rows as vectors.

  $$ z_f = c_f(x_f), \quad y = [z, m, \phi(W_f [\cos 2 \pi \omega_f z_f, \sin 2 \pi \omega_f z_f] + b_f), E_c[w_c],
     mean_l E[t_l]] $$

  with a piecewise linear curve c for each number x, for example its quantile on the scale of a normal distribution; m,
  which is 1 where a number is missing (then z is 0), for the numbers of which some are in training; periodic features
  of learned frequencies $\omega$, where `periodic` is not 0; a vector for each word w of a column; and the mean of
  those of the tokens t of a text.

  Attributes:
    knots: Where the curves bend, (F, Q), ascending along each.
    heights: Their values there, (F, Q); beyond its ends a curve is constant.
    indicated: The numbers in [0, F) whose absence is a feature.
    counts: How many integers there are for each column of words.
    tokens: How many integers there are for the tokens of each column of text.
    width: The width of the vectors of words and tokens.
    periodic: How many features are made of the frequencies of each number; 0: none.
    frequencies: How many frequencies a number has.
    scale: The standard deviation of the frequencies at the start.

  >>> columns = Columns(np.array([[0.0, 1.0]]), np.array([[-1.0, 1.0]]), (0,), counts=(5, 3), width=4)
  >>> x = {"numbers": jnp.ones((2, 1)), "missing": jnp.zeros((2, 1), bool), "words": jnp.ones((2, 2), int)}
  >>> y, _ = jax.eval_shape(columns.init_with_output, jax.random.key(0), x)
  >>> y.shape
  (2, 10)

  References:
    Gorishniy et al., *On Embeddings for Numerical Features in Tabular Deep Learning*, NeurIPS 2022.
  """

  knots: Any
  heights: Any
  indicated: Sequence[int] = ()
  counts: Sequence[int] = ()
  tokens: Sequence[int] = ()
  width: int = 8
  periodic: int = 0
  frequencies: int = 16
  scale: float = 0.1

  @nn.compact
  def __call__(self, x: Any) -> jax.Array:
    """Maps rows to vectors.

    Args:
      x: A mapping of `"numbers"` (B, F) and `"missing"` (B, F), True where there is none; `"words"` (B, C) integers;
        and `"tokens"` (B, K, L) integers, 0 behind the end of a text. What there are no columns for is not looked at.

    Returns:
      Vectors (B, D).

    Raises:
      UserError: An entry is missing, or has another number of columns.
    """
    parts = []
    if len(self.knots):
      parts += self._numbers(*(_entry(x, key, len(self.knots)) for key in ("numbers", "missing")))
    if len(self.counts):
      vectors = Embeddings(self.counts, self.width, name="words")(_entry(x, "words", len(self.counts)))
      parts.append(vectors.reshape(len(vectors), -1))
    if len(self.tokens):
      tokens = _entry(x, "tokens", len(self.tokens))
      vectors = Embeddings(self.tokens, self.width, name="tokens")({"ids": tokens, "mask": tokens != 0})
      parts.append(vectors.reshape(len(vectors), -1))
    return jnp.concatenate(parts, axis=1)

  def _numbers(self, numbers: jax.Array, missing: jax.Array) -> list[jax.Array]:
    knots, heights = (jnp.asarray(a, jnp.float32) for a in (self.knots, self.heights))
    along = jax.vmap(jnp.interp, in_axes=(1, 0, 0), out_axes=1)(numbers.astype(jnp.float32), knots, heights)
    z = jnp.where(missing, 0.0, along).astype(numbers.dtype)
    parts = [z]
    if len(self.indicated):
      parts.append(missing[:, np.asarray(self.indicated)].astype(z.dtype))
    if self.periodic:
      count = len(self.knots)
      frequencies = self.param("frequencies", nn.initializers.normal(self.scale), (count, self.frequencies))
      start = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
      kernel = self.param("kernel", start, (count, 2 * self.frequencies, self.periodic))
      bias = self.param("bias", nn.initializers.zeros, (count, self.periodic))
      angles = 2 * math.pi * z[:, :, None] * frequencies[None]
      waves = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
      made = nn.relu(jnp.einsum("bfk,fko->bfo", waves, kernel) + bias[None])
      parts.append(made.reshape(len(made), -1))
    return parts


def _entry(x: Any, key: str, columns: int) -> jax.Array:
  if not isinstance(x, Mapping) or key not in x:
    found = f"the entries {', '.join(map(repr, x))}" if isinstance(x, Mapping) else type(x).__name__
    raise UserError(f"Columns: the input is {found}, expected a mapping with {key!r}.")
  if x[key].ndim < 2 or x[key].shape[1] != columns:
    raise UserError(f"Columns: {key!r} has shape {x[key].shape}, expected (B, {columns}, ...): one per column.")
  return x[key]
