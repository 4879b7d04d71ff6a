"""Error rates of texts: edits that lead from what was found to what is right, per character or word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from mtl_jax.tasks.metrics._arrays import as_array, as_weights, ratio
from mtl_jax.tasks.metrics.metric import Metric


def character_error_rate(decide: Callable[[Any, Any], tuple[Any, Any]]) -> Metric:
  r"""Edits of symbols over the symbols that are right, of the whole data set.

  $$ \sum_i w_i d(\hat y_i, y_i) \big/ \sum_i w_i |y_i| $$

  with the edit distance d: insertions, deletions and substitutions. It can be above 1.

  Args:
    decide: `decide(prediction, label) -> (found, right)`, symbols (B, T) and (B, S) int32, -1 behind the last of each
      example.

  Returns:
    The metric, NaN where nothing that counts has a symbol.
  """
  return _rate(decide, lambda found, right: (edit_distance(found, right), jnp.sum(right >= 0, axis=1)))


def word_error_rate(decide: Callable[[Any, Any], tuple[Any, Any]], space: int | None) -> Metric:
  r"""The same of words, which are what stands between spaces.

  Args:
    decide: As in `character_error_rate`.
    space: The symbol that divides words; None: each text is one word.

  Returns:
    The metric, NaN where nothing that counts has a word.
  """
  return _rate(decide, lambda found, right: (word_distance(found, right, space), num_words(right, space)))


def _rate(decide: Callable[[Any, Any], tuple[Any, Any]], count: Callable[[Any, Any], tuple[Any, Any]]) -> Metric:
  def update(prediction, label, mask):
    weight = as_weights(mask)
    edits, size = count(*decide(prediction, as_array(label)))
    return tuple(jnp.sum(values.astype(jnp.float32) * weight) for values in (edits, size))

  return Metric(update, lambda state: ratio(*state), higher_is_better=False)


def edit_distance(found: Int[Array, "B T"], right: Int[Array, "B S"]) -> Int[Array, " B"]:
  """The least number of insertions, deletions and substitutions that make one sequence of another.

  Args:
    found: Symbols, -1 behind the last.
    right: Symbols, -1 behind the last.

  Returns:
    (B,) int32.

  >>> edit_distance(jnp.array([[1, 2, 3, -1]]), jnp.array([[2, 3, 4]])).tolist()
  [2]
  """
  right = right.astype(found.dtype)

  def step(row, symbol):
    return jnp.where(symbol[:, None] >= 0, _row(row, symbol[:, None] == right), row), None

  row, _ = jax.lax.scan(step, _first(*right.shape), found.T)
  return _at(row, jnp.sum(right >= 0, axis=1))


def word_distance(found: Int[Array, "B T"], right: Int[Array, "B S"], space: int | None) -> Int[Array, " B"]:
  """The edit distance between words, each compared as a whole.

  Along the symbols of `found` it is kept, for each symbol of `right`, whether the words that both stand in are equal up
  to here. At the end of a word these are the words that it equals, and one row of the distance follows.

  Args:
    found: Symbols, -1 behind the last.
    right: Symbols, -1 behind the last.
    space: The symbol that divides words; None: all are one word.

  Returns:
    (B,) int32.

  >>> word_distance(jnp.array([[1, 0, 2, 2, -1]]), jnp.array([[1, 0, 2]]), space=0).tolist()
  [1]
  """
  right = right.astype(found.dtype)
  size, length = right.shape
  most = (length + 1) // 2
  first, last = _ends(right, space)
  places = jnp.sort(jnp.where(last, jnp.arange(length)[None], length), axis=1)[:, :most]  # ends of words, then padding

  def step(carry, now):
    row, equal = carry
    symbol, begins, ends = (values[:, None] for values in now)
    before = jnp.pad(equal[:, :-1], ((0, 0), (1, 0)))
    equal = (symbol == right) & ((begins & first) | (~begins & ~first & before))
    words = jnp.take_along_axis(equal, jnp.minimum(places, length - 1), axis=1) & (places < length)
    return (jnp.where(ends, _row(row, words), row), equal), None

  start = (_first(size, most), jnp.zeros((size, length), bool))
  (row, _), _ = jax.lax.scan(step, start, tuple(values.T for values in (found, *_ends(found, space))))
  return _at(row, num_words(right, space))


def num_words(symbols: Int[Array, "B S"], space: int | None) -> Int[Array, " B"]:
  """How many words there are."""
  return jnp.sum(_ends(symbols, space)[1], axis=1)


def _ends(symbols: Int[Array, "B S"], space: int | None) -> tuple[Bool[Array, "B S"], Bool[Array, "B S"]]:
  """Where words begin, and where they end."""
  word = (symbols >= 0) & (symbols != (-1 if space is None else space))
  before, after = jnp.pad(word[:, :-1], ((0, 0), (1, 0))), jnp.pad(word[:, 1:], ((0, 0), (0, 1)))
  return word & ~before, word & ~after


def _first(size: int, length: int) -> Int[Array, "B S1"]:
  return jnp.broadcast_to(jnp.arange(length + 1, dtype=jnp.int32)[None], (size, length + 1))


def _row(row: Int[Array, "B S1"], equal: Bool[Array, "B S"]) -> Int[Array, "B S1"]:
  """The next row of the table of distances. Insertions along it are the least of all that lies before, by one scan."""
  along = jnp.arange(row.shape[1], dtype=row.dtype)[None]
  other = jnp.minimum(row[:, :-1] + (~equal).astype(row.dtype), row[:, 1:] + 1)
  return jax.lax.cummin(jnp.concatenate([row[:, :1] + 1, other], axis=1) - along, axis=1) + along


def _at(row: jax.Array, place: jax.Array) -> jax.Array:
  return jnp.take_along_axis(row, place[:, None], axis=1)[:, 0]
