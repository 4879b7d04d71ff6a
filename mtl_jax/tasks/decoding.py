"""From the logits of connectionist temporal classification (CTC) to symbols and text.

- `greedy`: the most probable symbol of every frame, inside a step.
- `beam`: the most probable sequences, all ways to align them counted, on the host; `Beam`: one of them.
- `spelled`: symbols as text.

The blank is the last class: logit i is that of symbol i of the alphabet.

>>> import numpy as np
>>> chances = np.array([[0.4, 0.0, 0.6], [0.4, 0.0, 0.6]])
>>> greedy(jnp.log(chances)[None])[0].tolist()  # blank in both frames: an empty text, of probability 0.36
[-1, -1]
>>> best = beam(np.log(chances + 1e-30))[0]
>>> spelled(best.symbols, "ab"), round(float(np.exp(best.log_probability)), 2)  # "a" by three ways
('a', 0.64)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mtl_jax._core.errors import UserError

__all__ = ["Beam", "beam", "greedy", "spelled"]


def greedy(
  logits: Float[Array, "B T C"], mask: Bool[Array, "B T"] | None = None, space: int | None = None
) -> Int[Array, "B T"]:
  """The most probable class of every frame, repetitions once, without blanks.

  Args:
    logits: (B, T, C), the blank last.
    mask: (B, T), False at padding; None: there is none.
    space: The symbol that divides words, which is left out at both ends; None: there is none.

  Returns:
    The symbols (B, T) int32, -1 behind the last.
  """
  blank = logits.shape[-1] - 1
  found = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  if mask is not None:
    found = jnp.where(mask, found, blank)
  before = jnp.pad(found[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
  return stripped(jnp.where((found != blank) & (found != before), found, -1), space)


def stripped(symbols: Int[Array, "B T"], space: int | None) -> Int[Array, "B T"]:
  """The symbols without what is -1 between them, and without spaces at both ends; -1 behind the last.

  Args:
    symbols: (B, T), -1 where there is none.
    space: The symbol that divides words, or None.

  Returns:
    (B, T).
  """
  keep = symbols >= 0
  if space is not None:
    word = keep & (symbols != space)
    after, until = jnp.cumsum(word, axis=1) > 0, jnp.cumsum(word[:, ::-1], axis=1)[:, ::-1] > 0
    keep = keep & after & until
  order = jnp.argsort(~keep, axis=1, stable=True)
  return jnp.take_along_axis(jnp.where(keep, symbols, -1), order, axis=1)


class Beam(NamedTuple):
  """A sequence of symbols and the logarithm of its probability.

  Attributes:
    symbols: Their numbers.
    log_probability: Of all alignments that the search has kept together.
  """

  symbols: tuple[int, ...]
  log_probability: float


def beam(log_probabilities: Any, width: int = 16) -> list[Beam]:
  r"""The most probable sequences by prefix beam search: all ways to align a sequence count together.

  $$ p(y) = \sum_{\pi \to y} \prod_t p_t(\pi_t) $$

  Args:
    log_probabilities: (T, C) of one example, the blank last; frames of padding are left out, or are blank with
      probability 1.
    width: How many prefixes are kept after each frame; with as many as there are the result is exact.

  Returns:
    At most `width` sequences, the best first.

  Raises:
    UserError: `width` is below 1, or the array is not (T, C).

  References:
    Graves et al., *Connectionist Temporal Classification*, ICML 2006.
    Hannun et al., *First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs*,
    2014, for the search.
  """
  frames = np.asarray(log_probabilities, np.float64)
  if width < 1 or frames.ndim != 2:
    raise UserError(f"beam: width is {width} and the array {frames.shape}, expected at least 1 and (T, C).")
  blank = frames.shape[1] - 1
  kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}  # ending in a blank, and in a symbol
  for frame in frames:
    after: dict[tuple[int, ...], list[float]] = {}
    likely = np.flatnonzero(frame[:blank] > -np.inf).tolist()
    for prefix, (by_blank, by_symbol) in kept.items():
      whole = float(np.logaddexp(by_blank, by_symbol))
      _add(after, prefix, 0, whole + frame[blank])
      for symbol in likely:
        if prefix and prefix[-1] == symbol:
          _add(after, prefix, 1, by_symbol + frame[symbol])  # the same symbol goes on ...
          _add(after, (*prefix, symbol), 1, by_blank + frame[symbol])  # ... unless a blank came between
        else:
          _add(after, (*prefix, symbol), 1, whole + frame[symbol])
    best = sorted(after.items(), key=lambda item: -float(np.logaddexp(item[1][0], item[1][1])))[:width]
    kept = {prefix: (own[0], own[1]) for prefix, own in best}
  found = [Beam(prefix, float(np.logaddexp(*own))) for prefix, own in kept.items()]
  return sorted(found, key=lambda one: -one.log_probability)


def _add(after: dict[tuple[int, ...], list[float]], prefix: tuple[int, ...], place: int, value: float) -> None:
  if value == -np.inf:
    return
  own = after.setdefault(prefix, [-np.inf, -np.inf])
  own[place] = float(np.logaddexp(own[place], value))


def spelled(symbols: Iterable[Any], alphabet: Sequence[str]) -> str:
  """Symbols as text.

  Args:
    symbols: Their numbers, -1 where there is none.
    alphabet: The symbols.

  Returns:
    The text.

  >>> spelled([1, 0, -1], "ab")
  'ba'
  """
  return "".join(alphabet[symbol] for symbol in map(int, symbols) if symbol >= 0)


def probabilities(logits: jax.Array, mask: jax.Array) -> jax.Array:
  """The log probabilities of each frame, (B, T, C) float32; frames of padding are blank for certain."""
  found = jax.nn.log_softmax(logits.astype(jnp.float32))
  sure = jnp.where(jnp.arange(logits.shape[-1]) == logits.shape[-1] - 1, 0.0, -jnp.inf).astype(found.dtype)
  return jnp.where(mask[..., None], found, jnp.broadcast_to(sure[None, None], found.shape))
