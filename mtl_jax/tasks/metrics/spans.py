"""Spans of tags, such as names in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax._core.segments import columns
from mtl_jax.tasks import _labels
from mtl_jax.tasks.metrics._arrays import as_array, as_weights, ratio
from mtl_jax.tasks.metrics.metric import Metric


def span_f1(
  decide: Callable[[Any], Any], classes: Sequence[str], segments: str | tuple[str, ...] | None = None
) -> Metric:
  r"""F1 of the spans that tags mark by B-type, I-type and O, over all types together (micro).

  $$ F_1 = 2 n_{right} / (n_{decided} + n_{labelled}) $$

  A span begins with B, or with an I behind O, behind another type or at the beginning of a sentence, and goes on as
  long as I of its type follow. It is right if both its ends and its type are. That is how conlleval counts, and seqeval
  unless it is told otherwise. A span counts by the weight of its first position.

  Args:
    decide: `decide(prediction) -> (B, L)`, the numbers of the tags. Positions without a label are left out, as if the
      ones before and behind were neighbours.
    classes: The tags by their numbers: "O", "B-..." and "I-...".
    segments: The key, or the path such as `("x", "segments")`, of the batch entry that numbers the sentences of a row,
      (B, L) integers: no span goes on in the next sentence. None: a row is one sentence.

  Returns:
    The metric, 0 where there are no spans, NaN where no label counts.

  Raises:
    UserError: A tag is none of these; when it is evaluated, labels, tags and segments have different shapes.

  >>> metric = span_f1(lambda tags: tags, ["O", "B-city", "I-city"])
  >>> state = metric.update(jnp.array([[1, 2, 0, 1, 0]]), jnp.array([[1, 2, 0, 1, 2]]), jnp.ones((1, 5)))
  >>> float(metric.compute(state))  # of two spans each one is right
  0.5

  References:
    Tjong Kim Sang and Buchholz, *Introduction to the CoNLL-2000 Shared Task: Chunking*, 2000.
    Nakayama, *seqeval*, 2018.
  """
  inside, kind = _scheme(classes)
  keys = () if segments is None else ((segments,) if isinstance(segments, str) else segments)

  def update(prediction, label, mask, *entry):
    decided, y, weight = decide(prediction), as_array(label), as_weights(mask)
    sentence = _labels.at({keys[0]: entry[0]}, keys, "segments") if keys else jnp.zeros(y.shape, jnp.int32)
    if y.ndim != 2 or not decided.shape == y.shape == sentence.shape:
      raise UserError(
        f"span_f1: tags are {decided.shape}, labels {y.shape} and segments {sentence.shape}, expected one of each at "
        "every position, (B, L)."
      )
    weight = jnp.broadcast_to(behind(weight, 2), y.shape)
    counted = weight > 0
    places = columns(y)
    latest = jax.lax.cummax(jnp.where(counted, places, -1), axis=1)
    before = jnp.pad(latest, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]  # the one before that counts
    near = (before >= 0) & (_take(sentence, before) == sentence)

    def spans(tags):
      tags = jnp.clip(jnp.where(counted, tags.astype(jnp.int32), 0), 0, len(classes) - 1)
      own, last = jnp.asarray(kind)[tags], jnp.asarray(kind)[_take(tags, before)]
      goes_on = counted & near & jnp.asarray(inside)[tags] & (own == last)
      starts = counted & (own >= 0) & ~goes_on
      # Where the span that starts here is over: the next position that does not go on.
      breaks = jnp.where(counted & ~goes_on, places, y.shape[1])
      after = jax.lax.cummin(breaks, axis=1, reverse=True)
      return own, starts, jnp.pad(after, ((0, 0), (0, 1)), constant_values=y.shape[1])[:, 1:]

    (own, starts, over), (true, begins, ends) = spans(decided), spans(y)
    right = starts & begins & (own == true) & (over == ends)
    return *(jnp.sum(jnp.where(found, weight, 0.0)) for found in (right, starts, begins)), jnp.sum(weight)

  def compute(state):
    right, decided, labelled, total = state
    return jnp.where(total > 0, ratio(2 * right, decided + labelled, 0.0), jnp.nan)

  return Metric(update, compute, beside=keys[:1])


def _take(values: jax.Array, places: jax.Array) -> jax.Array:
  return jnp.take_along_axis(values, jnp.maximum(places, 0), axis=1)


def _scheme(classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Of each tag whether it is an I, and the number of its type, -1 of O."""
  for i, tag in enumerate(classes):
    if not (tag == "O" or (tag[:1] in ("B", "I") and tag[1:2] in ("", "-"))):
      raise UserError(f"span_f1: class {i} is {tag!r}, expected tags O, B-type and I-type.")
  types = {name: i for i, name in enumerate(dict.fromkeys(tag[2:] for tag in classes if tag != "O"))}
  return np.array([tag[:1] == "I" for tag in classes]), np.array(
    [-1 if tag == "O" else types[tag[2:]] for tag in classes], np.int32
  )
