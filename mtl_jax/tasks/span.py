"""Spans: where in a sequence something begins and ends, such as the answer to a question in a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def span(start: str, end: str, *, longest: int = 30, mask: str | None = None) -> Task:
  r"""One part of a sequence, by the softmax cross entropies of its first and its last position.

  $$ \ell = - \frac12 \log p^{start}_{s} - \frac12 \log p^{end}_{e}, \qquad
     (\hat s, \hat e) = \arg\max_{i \le j < i + longest} p^{start}_i p^{end}_j $$

  The task's loss is the mean over the labelled examples of the batch.

  Args:
    start: The key of the numbers of first positions in the batch, (B,) integers from 0; predictions are logits
      (B, L, 2), of start and end at every position, such as `mtl.nn.SpanHead` gives, low where no span may be.
    end: The key of those of last positions, (B,), which belong to the span.
    longest: The positions that a predicted span has at most.
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.

  Returns:
    The task, with the metrics f1 (main), of the positions in the predicted and the true span, and exact, the share of
    spans that are the same. Outputs are `start` and `end` (B,), and `probability` (B,), the product of both.

  Raises:
    UserError: `longest` is below 1.

  >>> task = span("start", "end")
  >>> logits = jnp.array([[[5.0, 0.0], [0.0, 0.0], [0.0, 5.0]]])
  >>> {name: value.tolist() for name, value in task.output(logits).items() if name != "probability"}
  {'start': [0], 'end': [2]}

  References:
    Rajpurkar et al., *SQuAD: 100,000+ Questions for Machine Comprehension of Text*, EMNLP 2016, for the metrics.

  Deviations: metrics compare positions, not the words at them; questions without answers are none of the labels.
  """
  if longest < 1:
    raise UserError(f"span of {start!r}: longest is {longest}, expected at least 1.")
  both = (start, end)

  def label_of(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {"start": _labels.read(batch, start, "label"), "end": _labels.read(batch, end, "label")}

  def logs(prediction: Any, label: Mapping[str, Any]) -> jax.Array:
    """The log probabilities (B, L, 2)."""
    p = jnp.asarray(prediction)
    shape = label["start"].shape
    if p.ndim != 3 or p.shape[2] != 2 or p.shape[:1] != shape or label["end"].shape != shape:
      raise UserError(
        f"labels {start!r} and {end!r} have shapes {shape} and {label['end'].shape} and their prediction {p.shape}, "
        "expected (B,), (B,) and (B, L, 2)."
      )
    return _log_softmax(p)

  def loss(prediction, batch):
    label, found = label_of(batch), logs(prediction, label_of(batch))
    weights = None if mask is None else weights_of(batch)
    places = jnp.stack([_weights.where_labelled(label[name], weights) for name in ("start", "end")], axis=1)
    places = jnp.clip(places, 0, found.shape[1] - 1).astype(jnp.int32)
    return -jnp.mean(jnp.take_along_axis(found, places[:, None], axis=1)[:, 0], axis=1)

  def weights_of(batch):
    return _labels.read(batch, mask or "", "mask").astype(jnp.float32)

  def overlap(prediction, label):
    first, last, _ = _best(logs(prediction, label), longest)
    common = jnp.minimum(last, label["end"]) - jnp.maximum(first, label["start"]) + 1
    total = (last - first + 1) + (label["end"] - label["start"] + 1)
    return 2 * jnp.maximum(common, 0).astype(jnp.float32) / jnp.maximum(total, 1).astype(jnp.float32)

  def exact(prediction, label):
    first, last, _ = _best(logs(prediction, label), longest)
    return ((first == label["start"]) & (last == label["end"])).astype(jnp.float32)

  def output(prediction):
    first, last, log = _best(_log_softmax(jnp.asarray(prediction)), longest)
    return {"start": first, "end": last, "probability": jnp.exp(log)}

  def check(name, arrays):
    values = {key: _labels.labels_of(name, arrays, key, mask, None) for key in both}
    for key, (y, counted) in values.items():
      _labels.check_integers(name, key, y)
      if (wrong := counted & (y < 0)).any():
        raise UserError(
          f"task {name!r}: label {key!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected positions "
          "from 0: where there is no span, set mask=."
        )
    (first, counted), (last, _) = values[start], values[end]
    if (wrong := counted & (last < first)).any():
      row = first_example(wrong)
      raise UserError(
        f"task {name!r}: the span of example {row} begins at {first[row]} and ends at {last[row]}, expected an end "
        "that is not before the start."
      )

  return Task(
    loss=loss,
    mask=None if mask is None else weights_of,
    metrics={
      "f1": _metrics.mean(overlap, higher_is_better=True),
      "exact": _metrics.mean(exact, higher_is_better=True),
    },
    label=label_of,
    output=output,
    check=check,
    checked=both,
    record=lambda outputs: {
      "start": int(outputs["start"]),
      "end": int(outputs["end"]),
      "probability": round(float(outputs["probability"]), 4),
    },
  )


def _log_softmax(logits: jax.Array) -> jax.Array:
  return jax.nn.log_softmax(logits.astype(jnp.float32), axis=1)


def _best(logs: jax.Array, longest: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The most probable span, its first and its last position (B,), and its log probability."""
  length = logs.shape[1]
  steps = jnp.arange(length)[None] - jnp.arange(length)[:, None]
  sums = logs[:, :, None, 0] + logs[:, None, :, 1]
  sums = jnp.where(((steps >= 0) & (steps < longest))[None], sums, -jnp.inf).reshape(len(logs), -1)
  best = jnp.argmax(sums, axis=1)
  return best // length, best % length, jnp.max(sums, axis=1)
