"""Recurrent encoders, over words or vectors in sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax.nn._padded import check_entries, kept, opened, whole_or_pooled
from mtl_jax.nn._stages import chosen
from mtl_jax.shard import constrain

_GATES = {"lstm": 4, "gru": 3}


class RecurrentEncoder(nn.Module):
  r"""Layers of LSTM or GRU cells that read a sentence in both directions.

  $$ h_t = [cell(h_{t-1}, x_t), cell'(h_{t+1}, x_t)] $$

  Rows may hold several sentences, told apart by `"segments"`: the state is zero at the beginning of each, so that
  sentences in one row have the features that they have apart. What stands at padding influences no other position.
  Words may bring their characters, of which a convolution and the maximum over the word make a vector beside that of
  the word. Computes in the dtype of its parameters and input, which must agree. What `mtl.nn.stages` gives are the
  embedding, the layers, and the pooling; between them is `{"x": (B, L, D), "mask": (B, L)}`, of packed rows with their
  segments.

  Attributes:
    vocabulary: The number of words; None: the input is vectors.
    characters: The number of characters; None: words have none.
    width: The width D of the features, of both directions together; even.
    layers: The number of layers.
    cell: `"lstm"` or `"gru"`.
    embedding: The width of the vectors of words.
    filters: That of the vectors of their characters.
    kernel: The number of characters that the convolution sees, odd.
    pool: `"mean"` over the positions without padding; `"first"` or `"last"` of them; None: no pooling, the net returns
      `{"x": (B, L, D), "mask": (B, L)}`, with zeros at padding, and with the segments of packed rows.
    dropout: The share of what the embedding and each layer give that is set to zero when training, in [0, 1).

  >>> trunk = RecurrentEncoder(vocabulary=100, characters=30, width=16, pool=None)
  >>> x = {"tokens": jnp.ones((3, 7), jnp.int32), "characters": jnp.ones((3, 7, 5), jnp.int32)}
  >>> y, _ = jax.eval_shape(trunk.init_with_output, jax.random.key(0), x)
  >>> y["x"].shape, y["mask"].shape
  ((3, 7, 16), (3, 7))

  References:
    Hochreiter and Schmidhuber, *Long Short-Term Memory*, 1997.
    Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder*, EMNLP 2014.
    Ma and Hovy, *End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF*, ACL 2016, for characters.
  """

  vocabulary: int | None = None
  characters: int | None = None
  width: int = 128
  layers: int = 1
  cell: str = "lstm"
  embedding: int = 64
  filters: int = 32
  kernel: int = 3
  pool: str | None = "mean"
  dropout: float = 0.0

  @property
  def num_stages(self) -> int:
    """The embedding, the layers, and the pooling."""
    return self.layers + 2

  @nn.compact
  def __call__(self, x: Any, train: bool = False, stage: int | None = None) -> Any:
    """Maps sequences to features; with `stage`, through that one alone.

    Args:
      x: Tokens (B, L), or vectors (B, L, D); or a mapping with these as `"tokens"` or `"x"`, where words have
        characters with `"characters"` (B, L, M), 0 behind the last of a word; with a `"mask"` (B, L), False at padding;
        and with `"segments"` (B, L), the number of its sentence at each position, 0 at padding. With `stage`, what the
        stage before gives.
      train: Whether features are dropped, as in training.
      stage: The number of the stage to run; None: all of them.

    Returns:
      Features (B, width), or what the stage gives.

    Raises:
      UserError: The input is no such sequences; an attribute has a wrong value.
    """
    if self.cell not in _GATES or self.width % 2 or not self.kernel % 2:
      raise UserError(
        f"RecurrentEncoder: cell is {self.cell!r}, width {self.width} and kernel {self.kernel}, expected 'lstm' or "
        "'gru', an even width and an odd kernel."
      )
    for i in chosen(self, stage):
      if i == 0:
        x = self._embed(x, train)
      elif i <= self.layers:
        segments = x.get("segments", x["mask"])
        y = _Layer(self.width // 2, self.cell, name=f"layer_{i - 1}")(x["x"], x["mask"], segments)
        x = {**x, "x": nn.Dropout(self.dropout, deterministic=not train, name=f"dropout_{i}")(y)}
      else:
        x = whole_or_pooled("RecurrentEncoder", self.pool, x, ("mean", "first", "last"))
    return x

  def _embed(self, given: Any, train: bool) -> dict[str, jax.Array]:
    x, beside = opened("RecurrentEncoder", given, ("tokens", "x"))
    check_entries("RecurrentEncoder", x, self.vocabulary)
    mask = beside["mask"]
    if self.vocabulary is None:
      x = kept(x, mask)
    else:
      start = nn.initializers.normal(1.0)
      x = nn.Embed(self.vocabulary, self.embedding, embedding_init=start, name="embedding")(jnp.where(mask, x, 0))
    if self.characters is not None:
      x = jnp.concatenate([x, self._spelled(given, mask)], axis=-1)
    return {"x": nn.Dropout(self.dropout, deterministic=not train, name="dropout_0")(constrain(x)), **beside}

  def _spelled(self, given: Any, mask: jax.Array) -> jax.Array:
    """A vector (B, L, filters) of the characters of each word."""
    spelled = given.get("characters") if isinstance(given, Mapping) else None
    if spelled is None or spelled.shape[:-1] != mask.shape or not jnp.issubdtype(spelled.dtype, jnp.integer):
      found = "no 'characters'" if spelled is None else f"characters {spelled.dtype}{list(spelled.shape)}"
      raise UserError(
        f"RecurrentEncoder: the input has {found}, expected integers {[*mask.shape, 'M']}: characters=None does "
        "without."
      )
    spelled = jnp.where(mask[..., None], spelled, 0)
    assert self.characters is not None
    start = nn.initializers.normal(1.0)
    x = nn.Embed(self.characters, self.filters // 2, embedding_init=start, name="characters")(spelled)
    there = spelled > 0
    x, size, half = kept(x, there), spelled.shape[-1], self.kernel // 2
    x = jnp.pad(x, ((0, 0), (0, 0), (half, half), (0, 0)))
    # A product of what stands side by side: convolutions of so few places have no fast code on CPU.
    windows = jnp.concatenate([x[:, :, i : i + size] for i in range(self.kernel)], axis=-1)
    y = nn.relu(nn.Dense(self.filters, name="spelling")(windows))
    return jnp.max(kept(y, there), axis=2)


class _Layer(nn.Module):
  """Both directions of a layer; all products with the input are taken at once, before the loop over positions."""

  width: int
  cell: str

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, segments: jax.Array) -> jax.Array:
    size, length, _ = x.shape
    gates = _GATES[self.cell] * self.width
    given = constrain(nn.Dense(2 * gates, name="input")(x)).reshape(size, length, 2, gates)
    kernel = self.param("state", _orthogonal, (2, self.width, gates), x.dtype)
    same = segments[:, 1:] == segments[:, :-1]
    goes_on = jnp.stack([jnp.pad(same, ((0, 0), (1, 0))), jnp.pad(same, ((0, 0), (0, 1)))], axis=2)

    def in_order(a):  # (B, L, 2, ...) to (L, 2, B, ...), the second direction from the end
      a = jnp.moveaxis(a, 0, 2)
      return jnp.stack([a[:, 0], a[::-1, 1]], axis=1)

    def step(state, now):
      own, keep = now
      state = jax.tree.map(lambda a: a * keep[..., None], state)
      return _CELLS[self.cell](state, own, kernel)

    zero = jnp.zeros((2, size, self.width), x.dtype)
    state = (zero, zero) if self.cell == "lstm" else (zero,)
    _, y = jax.lax.scan(step, state, (in_order(given), in_order(goes_on).astype(x.dtype)))
    y = jnp.concatenate([y[:, 0], y[::-1, 1]], axis=-1)
    return constrain(kept(jnp.moveaxis(y, 0, 1), mask))


def _lstm(state: tuple[jax.Array, ...], given: jax.Array, kernel: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
  h, c = state
  i, f, o, g = jnp.split(given + jnp.einsum("dbh,dhk->dbk", h, kernel), 4, axis=-1)
  c = nn.sigmoid(f + 1) * c + nn.sigmoid(i) * jnp.tanh(g)
  h = nn.sigmoid(o) * jnp.tanh(c)
  return (h, c), h


def _gru(state: tuple[jax.Array, ...], given: jax.Array, kernel: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
  (h,) = state
  (own_r, own_z, own_n), (r, z, n) = (jnp.split(a, 3, axis=-1) for a in (given, jnp.einsum("dbh,dhk->dbk", h, kernel)))
  r, z = nn.sigmoid(own_r + r), nn.sigmoid(own_z + z)
  h = (1 - z) * jnp.tanh(own_n + r * n) + z * h
  return (h,), h


_CELLS = {"lstm": _lstm, "gru": _gru}


def _orthogonal(key: jax.Array, shape: tuple[int, int, int], dtype: Any = jnp.float32) -> jax.Array:
  """An orthogonal matrix for each gate of each direction."""
  directions, width, gates = shape
  many = directions * (gates // width)
  found = jax.vmap(lambda k: nn.initializers.orthogonal()(k, (width, width), jnp.float32))(jax.random.split(key, many))
  return jnp.moveaxis(found.reshape(directions, -1, width, width), 1, 2).reshape(shape).astype(dtype)
