"""Transformer encoders, over tokens or vectors."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.nn._attention import attend, check_heads
from mtl_jax.nn._layer_norm import LayerNorm
from mtl_jax.nn._padded import attended, check_entries, kept, opened, places, whole_or_pooled
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain


class TransformerEncoder(nn.Module):
  r"""Layers of attention between the positions of a sequence, and of dense layers at each of them.

  $$ h \leftarrow h + A(N(h)), \qquad h \leftarrow h + W_2 gelu(W_1 N(h) + b_1) + b_2 $$

  with attention A of several heads and layer normalisation N, which also comes before pooling. What stands at padding
  influences no other position, so a padded sequence, whose padding is at its end, has the features of an unpadded one.
  Computes in the dtype of its parameters and input, which must agree. What `mtl.nn.stages` gives are the embedding, the
  layers, and the pooling; between them is `{"x": (B, L, width), "mask": (B, L)}`.

  Rows may be packed with several sequences one after the other, as `mtl.data.text.pack` does it: the input then has
  `"segments"` (B, L), k at the positions of the k-th sequence, 0 at padding. Each sequence has the features that it has
  alone, the output has the segments, too, and heads take one vector of each by `mtl.nn.SegmentPool`.

  Rows of more than 512 positions compute attention for 512 of them at a time, and again in the backward pass: the same
  result, with memory that grows as L, not as L squared.

  Attributes:
    vocabulary: The number of tokens; None: the input is vectors.
    width: The width of the features.
    layers: The number of layers.
    heads: The number of heads of the attention; it divides the width.
    hidden: The width of the hidden dense layers; None: four times `width`.
    positions: What tells positions apart: `"sinusoidal"` vectors, added to the embeddings; `"learned"` ones, which
      start from these; None: nothing, the input is a set.
    max_length: The length of the longest sequence, for learned positions.
    pool: `"mean"` over the positions without padding; `"first"`, the first position; None: no pooling, the net returns
      `{"x": (B, L, width), "mask": (B, L)}`, with zeros at padding.
    dropout: The share of what embeddings, attention and dense layers give that is set to zero when training, in [0, 1).
    remat: Compute each layer again in the backward pass, rather than keep what is inside of it: less memory, more time.

  >>> import jax.numpy as jnp
  >>> trunk = TransformerEncoder(vocabulary=100, width=16, layers=2)
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((3, 7), jnp.int32))
  >>> y.shape
  (3, 16)

  References:
    Vaswani et al., *Attention Is All You Need*, 2017.
    Xiong et al., *On Layer Normalization in the Transformer Architecture*, 2020.

  Deviations: no dropout of attention weights.
  """

  vocabulary: int | None = None
  width: int = 128
  layers: int = 4
  heads: int = 4
  hidden: int | None = None
  positions: str | None = "learned"
  max_length: int = 512
  pool: str | None = "mean"
  dropout: float = 0.0
  remat: bool = False

  @property
  def num_stages(self) -> int:
    """The embedding, the layers, and the pooling."""
    return self.layers + 2

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps sequences to features; with `stage`, through that one alone.

    Args:
      x: Tokens (B, L), or vectors (B, L, D); or a mapping with these as `"tokens"` or `"x"`, and with a `"mask"`
        (B, L), False at padding, or `"segments"` (B, L). With `stage`, what the stage before gives.
      train: Whether features are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width), or what the stage gives.

    Raises:
      UserError: The input is no such sequences, or longer than `max_length`; an attribute has a wrong value.
    """
    for i in chosen(self, stage):
      if i == 0:
        x = self._embed(x, train)
      elif i <= self.layers:
        x = self._layer(i - 1, x, train)
      else:
        x = self._pool(x)
    return x

  def _embed(self, given: Any, train: bool) -> dict[str, jax.Array]:
    x, beside = opened("TransformerEncoder", given, ("tokens", "x"))
    check_entries("TransformerEncoder", x, self.vocabulary)
    if self.vocabulary is None:
      x = nn.Dense(self.width, name="embedding")(kept(x, beside["mask"]))
    else:
      x = nn.Embed(self.vocabulary, self.width, embedding_init=nn.initializers.normal(1.0), name="embedding")(
        jnp.where(beside["mask"], x, 0)
      )
    positions = self._positions(x)
    if "segments" in beside:
      positions = jnp.broadcast_to(positions, x.shape)
      positions = jnp.take_along_axis(positions, places(beside["segments"])[..., None], axis=1)
    x = constrain(x + positions)
    return {"x": nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x), **beside}

  def _positions(self, x: jax.Array) -> jax.Array:
    length = x.shape[1]
    if self.positions is None:
      return jnp.zeros((1, length, self.width), x.dtype)
    if self.positions == "sinusoidal":
      return jnp.asarray(_sinusoids(length, self.width), x.dtype)[None]
    if self.positions != "learned":
      found = repr(self.positions)
      raise UserError(f"TransformerEncoder: positions is {found}, expected 'learned', 'sinusoidal' or None.")
    if length > self.max_length:
      raise UserError(
        f"TransformerEncoder: the input has {length} positions, expected at most {self.max_length}: raise max_length, "
        "or take positions='sinusoidal'."
      )
    start = _sinusoids(self.max_length, self.width)
    return self.param("positions_learned", lambda key: jnp.asarray(start))[None, :length]

  def _layer(self, i: int, x: dict[str, jax.Array], train: bool) -> dict[str, jax.Array]:
    check_heads("TransformerEncoder", self.width, self.heads)
    layer = nn.remat(_Layer, static_argnums=(3,)) if self.remat else _Layer
    layer = layer(self.heads, self.hidden or 4 * self.width, self.dropout, name=f"layer_{i}")
    return x | {"x": layer(x["x"], attended(x), train)}

  def _pool(self, given: dict[str, jax.Array]) -> Any:
    normed = {**given, "x": LayerNorm(name="norm")(given["x"])}
    return whole_or_pooled("TransformerEncoder", self.pool, normed, ("mean", "first"))


class _Layer(nn.Module):
  heads: int
  hidden: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
    y = _Attention(self.heads, name="attention")(LayerNorm(name="norm_0")(x), mask)
    x = constrain(x + nn.Dropout(self.dropout, deterministic=not train)(y))
    y = constrain(nn.gelu(nn.Dense(self.hidden)(LayerNorm(name="norm_1")(x))))
    return constrain(x + nn.Dropout(self.dropout, deterministic=not train)(nn.Dense(x.shape[-1])(y)))


class _Attention(nn.Module):
  heads: int

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    size, length, width = x.shape
    split = (size, length, 3, self.heads, width // self.heads)
    query, key, value = jnp.unstack(nn.Dense(3 * width, name="query_key_value")(x).reshape(split), axis=2)
    return nn.Dense(width, name="out")(attend(query, key, value, mask).reshape(x.shape))


def _sinusoids(length: int, width: int) -> np.ndarray:
  """The vectors of positions of Vaswani et al.: sine and cosine of the position, at wavelengths up to 2 pi 10^4."""
  angles = np.arange(length)[:, None] / 1e4 ** (np.arange(0, width, 2) / width)[None]
  return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)[:, :width].astype(np.float32)
