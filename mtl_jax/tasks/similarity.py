"""Similarity: how alike the two things of a pair are."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task
from mtl_jax.tasks.regression import regression


def similarity(label: str, most: float = 1.0, *, mask: str | None = None, weight: str | None = None) -> Task:
  r"""How alike two things are, such as two sentences, by the squared error of their cosine.

  $$ \ell = (s - y / y_{max})^2, \qquad s = \frac{u \cdot v}{|u| |v|} $$

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B,) in [0, `most`]. Predictions are pairs of vectors (B, 2, D), u and v,
      such as `mtl.nn.SegmentPool(most=2)` gives of rows of two sentences; or s itself, (B,) or (B, 1).
    most: $y_{max}$, the label of equal things, 5 in data sets of sentences.
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    weight: The key of any weights of the examples, (B,) at least 0; None: ones. Loss and metrics alike use them.

  Returns:
    The task, with the metrics pearson (main) and spearman, correlations with the labels, and mae, in the labels' unit.
    Outputs are `similarity` (B,), in the labels' unit.

  Raises:
    UserError: `most` is not above 0.

  >>> task = similarity("alike", most=5.0)
  >>> pair = jnp.array([[[1.0, 0.0], [1.0, 0.0]]])
  >>> task.loss(pair, {"alike": jnp.array([5.0])}).tolist(), task.output(pair)["similarity"].tolist()
  ([0.0], [5.0])

  References:
    Cer et al., *SemEval-2017 Task 1: Semantic Textual Similarity*, 2017, for the metrics.
    Reimers and Gurevych, *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*, EMNLP 2019, for the loss.
  """
  if not 0 < most < math.inf:
    raise UserError(f"similarity of {label!r}: most is {most}, expected above 0.")
  numbers = regression(label, mask=mask, weight=weight, std=most)

  def scores(prediction: Any) -> jax.Array:
    p = jnp.asarray(prediction)
    if p.ndim == 3 and p.shape[1] == 2:
      return cosine(p[:, 0], p[:, 1])
    if p.ndim == 1 or p.shape[1:] == (1,):
      return p.reshape(len(p))
    raise UserError(
      f"the prediction for {label!r} has shape {p.shape}, expected pairs of vectors (B, 2, D), or numbers (B,)."
    )

  def check(name, arrays):
    numbers.check(name, arrays)
    y, counted = _labels.labels_of(name, arrays, label, mask, weight)
    wrong = counted & ~((y >= 0) & (y <= most))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]} in example {first_example(wrong)}, expected from 0 to "
        f"{most}: say what equal things have, most=."
      )

  def in_units(prediction):
    return most * scores(prediction)

  return dataclasses.replace(
    numbers,
    loss=lambda prediction, batch: numbers.loss(scores(prediction), batch),
    metrics={
      "pearson": _metrics.pearson(scores),
      "spearman": _metrics.spearman(scores),
      "mae": _metrics.mean_absolute_error(in_units),
    },
    output=lambda prediction: {"similarity": in_units(prediction)},
    check=check,
    calibration=None,
    record=lambda outputs: {"similarity": round(float(outputs["similarity"]), 4)},
  )


def unit(x: jax.Array) -> jax.Array:
  """Vectors (..., D) of length 1, in float32; the zero vector, such as that of no sentence, stays."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def cosine(u: jax.Array, v: jax.Array) -> jax.Array:
  """The cosine of the angle between vectors (..., D)."""
  return jnp.sum(unit(u) * unit(v), axis=-1)
