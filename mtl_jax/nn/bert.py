"""BERT, the transformer encoder of pretrained models of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._attention import attend, check_heads
from mtl_jax.nn._layer_norm import LayerNorm
from mtl_jax.nn._padded import attended, opened, places, whole_or_pooled
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain

_EPSILON = 1e-12  # that of the published weights


class Bert(nn.Module):
  r"""Layers of attention and of dense layers, each followed by a layer normalisation, on embedded tokens.

  $$ h \leftarrow N(h + A(h)), \qquad h \leftarrow N(h + W_2 gelu(W_1 h + b_1) + b_2), \qquad
     h_0 = N(e_{token} + e_{position} + e_{type}) $$

  Several sentences may lie one after the other in a row, as `mtl.data.text.pack` lays them: with `"segments"` attention
  stays inside each, and positions begin anew, so a sentence has the features that it has alone. What stands at padding
  influences no other position. The defaults are those of MiniLM-L6, whose weights are `mtl.transfer.minilm()`. What
  `mtl.nn.stages` gives are the embeddings, the layers, and the pooling; between them is `{"x": (B, L, width), "mask":
  (B, L)}`, and `"segments"` where the input has them. Attention of long rows is computed in blocks, as that of
  `mtl.nn.TransformerEncoder`.

  Attributes:
    vocabulary: The number of tokens.
    width: The width of the features.
    layers: The number of layers.
    heads: The number of heads of the attention; it divides the width.
    hidden: The width of the hidden dense layers; None: four times `width`.
    max_length: The number of positions that a sentence may have.
    pool: `"mean"` over the positions without padding, as in sentence encoders; `"first"`, the first position, where
      BERT has its token for the whole; None: no pooling, as packed rows need it, the net returns `{"x": (B, L, width),
      "mask": (B, L)}`, with zeros at padding, and the segments.
    dropout: The share of what embeddings, attention and dense layers give that is set to zero when training, in [0, 1).

  >>> import jax.numpy as jnp
  >>> trunk = Bert(vocabulary=100, width=16, layers=2, heads=4)
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), jnp.ones((3, 7), jnp.int32))
  >>> y.shape
  (3, 16)

  References:
    Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, NAACL 2019.
    Wang et al., *MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers*,
    NeurIPS 2020, for the size.

  Deviations: no pooler, a dense layer behind the first position; no dropout of attention weights.
  """

  vocabulary: int = 30522
  width: int = 384
  layers: int = 6
  heads: int = 12
  hidden: int | None = None
  max_length: int = 512
  pool: str | None = "mean"
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The embeddings, the layers, and the pooling."""
    return self.layers + 2

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps sentences to features; with `stage`, through that one alone.

    Args:
      x: Tokens (B, L), integers; or a mapping with these as `"tokens"`, and `"mask"` (B, L), False at padding, or
        `"segments"` (B, L), integers: 0 at padding, k at the positions of the k-th sentence of the row; and, where they
        are not all 0, with `"types"` (B, L), the types of the tokens, 0 or 1. With `stage`, what the stage before
        gives.
      train: Whether features are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width), or what the stage gives.

    Raises:
      UserError: The input is no such sentences, or longer than `max_length` without `"segments"`; an attribute has a
        wrong value.
    """
    for i in chosen(self, stage):
      if i == 0:
        x = self._embed(x, train)
      elif i <= self.layers:
        x = self._layer(i - 1, x, train)
      else:
        x = whole_or_pooled("Bert", self.pool, x, ("mean", "first"))
    return x

  def _embed(self, given: Any, train: bool) -> dict[str, jax.Array]:
    tokens, beside = opened("Bert", given, ("tokens",))
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise UserError(f"Bert: the input is {tokens.dtype}{list(tokens.shape)}, expected tokens (B, L).")
    mask, segments = beside["mask"], beside.get("segments")
    types = given.get("types") if isinstance(given, Mapping) else None
    if types is not None and types.shape != tokens.shape:
      raise UserError(f"Bert: the types have shape {types.shape}, expected that of the tokens, {tokens.shape}.")
    length = tokens.shape[1]
    if segments is None and length > self.max_length:
      raise UserError(f"Bert: the input has {length} positions, expected at most {self.max_length}: cut it.")
    number = jnp.arange(length)[None] if segments is None else jnp.minimum(places(segments), self.max_length - 1)
    tokens = jnp.where(mask, tokens, 0)
    types = jnp.zeros_like(tokens) if types is None else jnp.where(mask, types, 0)
    x = self._embedded("tokens", self.vocabulary, tokens)
    x = x + jnp.broadcast_to(self._embedded("positions", self.max_length, number), x.shape)
    x = constrain(LayerNorm(_EPSILON, name="norm")(x + self._embedded("types", 2, types)))
    return {"x": nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x), **beside}

  def _embedded(self, name: str, count: int, numbers: jax.Array) -> jax.Array:
    return nn.Embed(count, self.width, embedding_init=nn.initializers.normal(0.02), name=name)(numbers)

  def _layer(self, i: int, given: dict[str, jax.Array], train: bool) -> dict[str, jax.Array]:
    check_heads("Bert", self.width, self.heads)
    layer = _Layer(self.heads, self.hidden or 4 * self.width, self.dropout, name=f"layer_{i}")
    return given | {"x": layer(given["x"], attended(given), train)}


class _Layer(nn.Module):
  heads: int
  hidden: int
  dropout: float

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
    y = _Attention(self.heads, name="attention")(x, mask)
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    x = constrain(LayerNorm(_EPSILON, name="norm_0")(x + y))
    y = constrain(nn.gelu(nn.Dense(self.hidden)(x), approximate=False))
    y = nn.Dropout(self.dropout, deterministic=not train)(nn.Dense(x.shape[-1])(y))
    return constrain(LayerNorm(_EPSILON, name="norm_1")(x + y))


class _Attention(nn.Module):
  heads: int

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    split = (*x.shape[:2], self.heads, x.shape[-1] // self.heads)
    query, key, value = (nn.Dense(x.shape[-1], name=name)(x).reshape(split) for name in ("query", "key", "value"))
    return nn.Dense(x.shape[-1], name="out")(attend(query, key, value, mask).reshape(x.shape))
