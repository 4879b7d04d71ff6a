"""Multilayer perceptron: a trunk, or with `out` a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class MLP(nn.Module):
  r"""Dense layers, each followed by an activation and dropout; with `out`, a last linear layer.

  $$ h_0 = flatten(x), \quad h_i = dropout(\phi(W_i h_{i-1} + b_i)), \quad y = W h_n + b $$

  Computes in the dtype of its parameters and input, which must agree. Its stages, see `mtl.nn.stages`, are its layers.

  Attributes:
    widths: The widths of the hidden layers; may be empty.
    out: The width of the last layer, which has no activation; None: no such layer, the net returns features.
    activation: $\phi$.
    dropout: The share of each hidden layer's units set to zero when training, in [0, 1).
    flatten: Take each example as one vector, (B, ...) -> (B, D); False: act on the last axis, at every position.

  >>> import jax.numpy as jnp, mtl_jax as mtl
  >>> head = mtl.from_linen(MLP((64,), out=10))
  >>> params, state = head.init(jax.random.key(0), jnp.ones((2, 5)))
  >>> head.apply(params, state, jnp.ones((2, 5)))[0].shape
  (2, 10)
  """

  widths: Sequence[int]
  out: int | None = None
  activation: Callable[[jax.Array], jax.Array] = nn.relu
  dropout: float = 0.0
  flatten: bool = True

  @property
  def num_stages(self) -> int:
    """The number of layers."""
    return len(self.widths) + (self.out is not None)

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, stage: int | None = None) -> jax.Array:
    """Runs the layers; with `stage`, that one alone.

    Args:
      x: The input (B, ...); with `stage`, what the layer before gives.
      train: Whether units are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, widths[-1]), or (B, out); or what the layer gives.
    """
    if self.flatten and stage in (None, 0):
      x = x.reshape(x.shape[0], -1)
    for i in chosen(self, stage):
      if i < len(self.widths):
        x = constrain(self.activation(nn.Dense(self.widths[i], name=f"Dense_{i}")(x)))
        x = nn.Dropout(self.dropout, deterministic=not train, name=f"Dropout_{i}")(x)
      else:
        x = constrain(nn.Dense(self.out or 0, name=f"Dense_{i}")(x))
    return x
