"""Tagging: a class for every position of a sequence, such as every word of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.tasks import _entries, _labels
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def tagging(
  label: str,
  num_classes: int,
  *,
  ignore: int = -1,
  mask: str | None = None,
  weight: str | None = None,
  class_weights: Sequence[float] | None = None,
  classes: Sequence[str] | None = None,
  scheme: str | None = None,
  segments: str | tuple[str, ...] | None = None,
) -> Task:
  r"""One of `num_classes` classes for every position of a sequence, by softmax cross entropy.

  $$ \ell = -c_y \log p_y, \qquad p = softmax(\hat y) $$

  The task's loss is the mean over all labelled positions of the batch, weighted by the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B, L) integers in [0, num_classes), or `ignore`.
    num_classes: The number C of classes; predictions are logits (B, L, C).
    ignore: The label of positions that have none, such as padding.
    mask: The key of a mask in [0, 1], (B,) or (B, L); None: all are labelled but for `ignore`. Masked labels may hold
      any value.
    weight: The key of any weights at least 0, (B,) or (B, L); None: ones. Loss and metrics alike use them.
    class_weights: $c$, (C,) factors of the positions' losses by class; None: ones. They are part of the loss: it is not
      divided by them, and metrics know nothing of them.
    classes: Their names, for what is said of predictions; None: their numbers.
    scheme: `"bio"`: classes are "O", "B-type" and "I-type", which mark spans; None: they mark none.
    segments: With a scheme and several sentences in a row, the key, or the path such as `("x", "segments")`, of the
      batch entry that numbers them, (B, L) integers: spans end with their sentence.

  Returns:
    The task, with the metric accuracy, and with a scheme before it the main metric span_f1, as `metrics.span_f1`
    counts. Its output `class` (B, L) is -1 at padding, where a head such as `mtl.nn.TokenHead` gives the least number
    of its dtype as all logits.

  Raises:
    UserError: An option is out of range.

  >>> task = tagging("tags", 3, classes=["O", "B-city", "I-city"], scheme="bio")
  >>> batch = {"tags": jnp.array([[2, -1]])}
  >>> task.loss(jnp.zeros((1, 2, 3)), batch)[0, 0].round(4).item(), task.mask(batch).tolist()  # log 3
  (1.0986, [[1.0, 0.0]])
  >>> task.record({"class": np.array([0, 1, 2, -1])})
  ['O', 'B-city', 'I-city']
  """
  what = f"tagging of {label!r}"
  words = _entries.of_classes(
    what,
    label,
    num_classes,
    1,
    "each position of a sequence (B, L)",
    ignore=ignore,
    mask=mask,
    weight=weight,
    class_weights=class_weights,
    classes=classes,
  )
  if scheme is not None:
    check_choice(what, "scheme", scheme, ("bio",))
    if classes is None:
      raise UserError(f"{what}: scheme is {scheme!r} and classes None, expected the names of the tags as classes.")
  elif segments is not None:
    raise UserError(f"{what}: segments is {segments!r} without a scheme, expected None, or scheme='bio'.")

  def check(name: str, arrays: Mapping[str, Any]) -> None:
    words.check(name, arrays)
    if segments is not None:
      _labels.segments_of(name, arrays, segments, label, np.shape(arrays[label]))

  def decide(logits):
    return jnp.argmax(logits, axis=-1)

  def output(logits):
    padding = jnp.max(logits, axis=-1) <= jnp.finfo(logits.dtype).min / 2
    return {"class": jnp.where(padding, -1, decide(logits))}

  of_spans = {} if scheme is None else {"span_f1": _metrics.span_f1(decide, words.named, segments)}
  return Task(
    loss=words.loss,
    mask=words.weights,
    metrics={**of_spans, "accuracy": _metrics.accuracy(decide)},
    label=words.label,
    output=output,
    check=check,
    checked=(label,),
    record=lambda outputs: [words.named[number] for number in np.asarray(outputs["class"]) if number >= 0],
  )
