"""A dense layer with the mixture of low-rank updates of HydraLoRA."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError


class HydraDense(nn.Module):
  r"""A dense layer with an update of low rank: one first factor, and several second factors that a router mixes.

  $$ y = W x + b + s \sum_{i=1}^n softmax(R x)_i B_i A x $$

  The router decides at every position of a sequence or map, or per example for inputs (B, D). A and R start at random
  and B at zero, so it is `nn.Dense` at first, with the same names for W and b. Factors are (in, r) and (n, r, out), the
  router (in, n). To train the update alone, freeze `(kernel|bias)$` of these layers.

  Attributes:
    features: The width of the output.
    rank: r, at least 0.
    ups: n, the number of second factors B, at least 1.
    scale: s, which the paper writes as $\alpha / r$.
    dropout: The share of the input of A that is set to zero when training, in [0, 1).
    use_bias: Whether there is b.

  >>> layer = HydraDense(3, rank=2, ups=4)
  >>> variables = layer.init(jax.random.key(0), jnp.ones((2, 7, 5)))
  >>> {name: leaf.shape for name, leaf in variables["params"].items()}
  {'kernel': (5, 3), 'a': (5, 2), 'b': (4, 2, 3), 'router': (5, 4), 'bias': (3,)}

  Deviations: the paper finds n by k-means on single updates, and its code has a dropout of 0.05.

  References:
    Tian et al., *HydraLoRA: An Asymmetric LoRA Architecture for Efficient Fine-Tuning*, NeurIPS 2024.
  """

  features: int
  rank: int = 4
  ups: int = 4
  scale: float = 8.0
  dropout: float = 0.0
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps (..., in) to (..., features).

    Args:
      x: The input.
      train: Whether the input of A is dropped in part, as in training.

    Returns:
      The output.

    Raises:
      UserError: `rank` is below 0 or `ups` below 1.
    """
    for name, found, least in (("rank", self.rank, 0), ("ups", self.ups, 1)):
      if found < least:
        raise UserError(f"HydraDense: {name} is {found}, expected at least {least}.")
    width = x.shape[-1]
    bound = width**-0.5

    def uniform(key, shape):
      return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    y = x @ self.param("kernel", nn.initializers.lecun_normal(), (width, self.features))
    a = self.param("a", uniform, (width, self.rank))
    b = self.param("b", nn.initializers.zeros, (self.ups, self.rank, self.features))
    weights = jax.nn.softmax(x @ self.param("router", uniform, (width, self.ups)))
    low = nn.Dropout(self.dropout, deterministic=not train)(x) @ a
    y = y + self.scale * jnp.einsum("...i,...r,iro->...o", weights, low, b)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = y + jnp.broadcast_to(bias, y.shape)
    return y
