"""A residual network of dense layers, for tables."""

from __future__ import annotations

import flax.linen as nn
import jax

from mtl_jax.nn._layer_norm import LayerNorm
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class TabularResNet(nn.Module):
  r"""Residual blocks of two dense layers.

  $$ h_0 = W x + b, \quad h_{i+1} = h_i + D(V_i D(\phi(U_i N(h_i) + c_i)) + d_i), \quad y = \phi(N(h_n)) $$

  with layer normalisation N and dropout D. Its stages, see `mtl.nn.stages`, are the first layer, the blocks and the
  last normalisation.

  Attributes:
    width: The width of the features.
    blocks: The number of blocks.
    factor: The width inside of a block, in widths.
    dropout: The share of units set to zero when training, in [0, 1).

  >>> import jax.numpy as jnp
  >>> y, _ = jax.eval_shape(TabularResNet(16).init_with_output, jax.random.key(0), jnp.ones((2, 5)))
  >>> y.shape
  (2, 16)

  References:
    Gorishniy et al., *Revisiting Deep Learning Models for Tabular Data*, NeurIPS 2021.

  Deviations: layer normalisation in place of batch normalisation, so that a row does not depend on others.
  """

  width: int = 128
  blocks: int = 2
  factor: int = 2
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The first layer, the blocks and the last normalisation."""
    return self.blocks + 2

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, stage: int | None = None) -> jax.Array:
    """Maps vectors to features; with `stage`, through that one alone.

    Args:
      x: Vectors (B, D); with `stage`, what the stage before gives.
      train: Whether units are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width).
    """
    for i in chosen(self, stage):
      if i == 0:
        x = constrain(nn.Dense(self.width, name="first")(x))
      elif i <= self.blocks:
        x = constrain(x + _Block(self.factor, self.dropout, name=f"block_{i - 1}")(x, train))
      else:
        x = nn.relu(LayerNorm(name="norm")(x))
    return x


class _Block(nn.Module):
  factor: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    drop = nn.Dropout(self.dropout, deterministic=not train)
    hidden = constrain(nn.relu(nn.Dense(self.factor * x.shape[-1])(LayerNorm(name="norm")(x))))
    return drop(nn.Dense(x.shape[-1])(drop(hidden)))
