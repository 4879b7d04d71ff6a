"""Dilated convolutions over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._layer_norm import LayerNorm
from mtl_jax.nn._padded import kept, read, whole_or_pooled
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class TemporalConv(nn.Module):
  r"""Residual blocks of convolutions over time; each block sees twice as far as the one before.

  $$ h \leftarrow \phi\big(R(h) + \phi(N(C_i(\phi(N(C_i(h))))))\big) $$

  with convolutions $C_i$ of `kernel` steps that lie $2^i$ apart, layer normalisation N over the channels of each step,
  and R the identity, or a linear layer where the width changes. What stands at padding influences no other step, so a
  padded sequence, whose padding is at its end, has the features of an unpadded one. Computes in the dtype of its
  parameters and input, which must agree. What `mtl.nn.stages` gives are the blocks and the pooling; between them is
  `{"x": (B, L, width), "mask": (B, L)}`.

  Attributes:
    widths: The channels of each block.
    kernel: The number of steps that a convolution sees.
    causal: Each step sees only itself and those before it; False: also those after it.
    pool: `"mean"` over the steps without padding; `"last"`, the last of them; None: no pooling, the net returns
      `{"x": (B, L, width), "mask": (B, L)}`, with zeros at padding.
    activation: $\phi$.
    dropout: The share of what each convolution gives that is set to zero when training, in [0, 1).

  >>> import jax.numpy as jnp
  >>> trunk = TemporalConv((8, 16))
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((2, 9, 3)))
  >>> y.shape
  (2, 16)

  References:
    Bai et al., *An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling*, 2018.

  Deviations: layer normalisation in place of weight normalisation; dropout of single values, not of channels.
  """

  widths: Sequence[int] = (64, 64, 64, 64)
  kernel: int = 3
  causal: bool = False
  pool: str | None = "mean"
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The blocks, and the pooling."""
    return len(self.widths) + 1

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps sequences to features; with `stage`, through that one alone.

    Args:
      x: Vectors (B, L, D), or a mapping with these as `"x"`, and with a `"mask"` (B, L), False at padding. With
        `stage`, what the stage before gives.
      train: Whether values are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, widths[-1]), or what the stage gives.

    Raises:
      UserError: The input is no such sequences; `pool` is none of the above.
    """
    if stage in (None, 0):
      x, mask = read("TemporalConv", x, ("x",))
      if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        found = f"{x.dtype}{list(x.shape)}"
        raise UserError(f"TemporalConv: the input is {found}, expected vectors (B, L, D): one value a step is D = 1.")
      x = {"x": kept(x, mask), "mask": mask}
    for i in chosen(self, stage):
      if i < len(self.widths):
        x = self._block(i, x["x"], x["mask"], train)
      else:
        x = whole_or_pooled("TemporalConv", self.pool, x, ("mean", "last"))
    return x

  def _block(self, i: int, x: jax.Array, mask: jax.Array, train: bool) -> dict[str, jax.Array]:
    y = x
    for j in range(2):
      y = self._convolve(i, j, y)
      y = constrain(self.activation(LayerNorm(name=f"block_{i}_norm_{j}")(y)))
      # Zeros, as at both ends of a sequence without padding.
      y = kept(nn.Dropout(self.dropout, deterministic=not train, name=f"block_{i}_dropout_{j}")(y), mask)
    if x.shape[-1] != self.widths[i]:
      x = nn.Dense(self.widths[i], name=f"block_{i}_residual")(x)
    return {"x": constrain(kept(self.activation(x + y), mask)), "mask": mask}

  def _convolve(self, i: int, j: int, x: jax.Array) -> jax.Array:
    padding = "CAUSAL" if self.causal else "SAME"
    name = f"block_{i}_conv_{j}"
    return nn.Conv(self.widths[i], (self.kernel,), padding=padding, kernel_dilation=(2**i,), name=name)(x)
