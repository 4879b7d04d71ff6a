"""A head with an output at every position of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import kept, packed
from mtl_jax.shard import constrain


class TokenHead(nn.Module):
  r"""Dense layers at every position of a sequence: what `mtl.tasks.tagging` takes.

  $$ \hat y_i = W_2 \phi(W_1 h_i + b_1) + b_2 $$

  Attributes:
    out: The number C of outputs.
    hidden: The widths of the layers before; none: it is linear.
    activation: $\phi$.
    dropout: The share of what it gets, and of what hidden layers give, that is set to zero when training, in [0, 1).

  >>> head = TokenHead(5, (8,))
  >>> x = {"x": jnp.ones((2, 3, 4)), "mask": jnp.array([[True, True, False]] * 2)}
  >>> y, _ = head.init_with_output(jax.random.key(0), x)
  >>> y.shape, bool((y[:, 2] == jnp.finfo(y.dtype).min).all())
  ((2, 3, 5), True)
  """

  out: int
  hidden: Sequence[int] = ()
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: Any, train: bool = False) -> jax.Array:
    """Maps features to outputs.

    Args:
      x: Vectors (B, L, D), or a mapping of them as `"x"` and of a `"mask"` or `"segments"`, as sequence trunks of
        `mtl.nn` with `pool=None` give it.
      train: Whether values are dropped, as in training.

    Returns:
      Outputs (B, L, C), the least number of their dtype at padding.

    Raises:
      UserError: The input is no such features.
    """
    x, mask, _ = packed("TokenHead", x, ("x",))
    if x.ndim != 3:
      raise UserError(f"TokenHead: the input has shape {x.shape}, expected vectors (B, L, D): a trunk with pool=None.")
    x = kept(x, mask)
    for width in self.hidden:
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
      x = constrain(self.activation(nn.Dense(width)(x)))
    y = nn.Dense(self.out)(nn.Dropout(self.dropout, deterministic=not train)(x))
    return jnp.where(mask[..., None], y, jnp.finfo(y.dtype).min)
