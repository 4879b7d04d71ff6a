"""A head that says where in a sequence something begins and ends."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.nn._padded import read

_NEVER = -1e9  # at -inf the loss of a wrong label would be infinite


class SpanHead(nn.Module):
  """Two numbers for every position, how likely a span begins and ends there, for `mtl.tasks.span`.

  Attributes:
    within: Takes no position but those of these segments of the row, such as `(2,)` for a text behind its question;
      empty: any that is no padding.

  >>> head = SpanHead()
  >>> x = {"x": jnp.ones((3, 7, 16)), "mask": jnp.ones((3, 7), bool)}
  >>> jax.eval_shape(head.init_with_output, jax.random.key(0), x)[0].shape
  (3, 7, 2)
  """

  within: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, x: Any) -> jax.Array:
    """Maps features to logits.

    Args:
      x: What a trunk of text gives without pooling: `{"x": (B, L, D), "mask": (B, L)}`, and `"segments"` (B, L) where
        `within` names some; or vectors (B, L, D).

    Returns:
      Logits (B, L, 2), -10^9 where no span may be.
    """
    features, mask = read("SpanHead", x, ("x",))
    if self.within:
      mask = mask & jnp.isin(x["segments"], jnp.asarray(self.within, jnp.int32))
    return jnp.where(mask[..., None], nn.Dense(2)(features), jnp.asarray(_NEVER, features.dtype))
