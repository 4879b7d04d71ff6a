"""Metrics as mergeable states: update on a batch, merge over batches and devices, compute once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata

State = Any


class Metric(NamedTuple):
  """A metric whose state over two sets of examples is the merge of the two states.

  Attributes:
    update: `update(prediction, label, mask) -> state` of one batch; `mask` (B,) weighs the examples. Pure, jitted.
    compute: `compute(state) -> scalar`; NaN when no example counted.
    merge: `merge(state, state) -> state`.
    higher_is_better: The direction.
  """

  update: Callable[[Any, Any, Any], State]
  compute: Callable[[State], Any]
  merge: Callable[[State, State], State] = lambda a, b: jax.tree.map(jnp.add, a, b)
  higher_is_better: bool = True


def _ratio(numerator: jax.Array, denominator: jax.Array, empty: float = jnp.nan) -> jax.Array:
  return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), empty)


def mean(
  value: Callable[[Any, Any], Any], *, higher_is_better: bool, final: Callable[[Any], Any] = lambda x: x
) -> Metric:
  """The masked mean over examples of `value(prediction, label) -> (B,)`, then `final` of it."""

  def update(prediction, label, mask):
    # where, not only *: a masked example may hold NaN.
    return jnp.sum(jnp.where(mask > 0, value(prediction, label), 0.0) * mask), jnp.sum(mask)

  return Metric(update, lambda state: final(_ratio(*state)), higher_is_better=higher_is_better)


def accuracy(decide: Callable[[Any], Any]) -> Metric:
  """The share of examples whose decision equals the label; for label vectors the mean over their entries."""

  def correct(prediction, label):
    same = (decide(prediction) == label).astype(jnp.float32)
    return same.reshape(same.shape[0], -1).mean(axis=1)

  return mean(correct, higher_is_better=True)


def _confusion(decide: Callable[[Any], Any], classes: int | None) -> Callable[..., State]:
  """True positives, false positives, false negatives of each class: (C,) each."""

  def update(prediction, label, mask):
    decision = decide(prediction)
    if classes is not None:  # multi-class: one indicator a class
      decision, label = (jax.nn.one_hot(a, classes, dtype=jnp.int32) for a in (decision, label))
    decision, label = (jnp.reshape(a, (mask.shape[0], -1)) for a in (decision, label))
    weight = mask[:, None].astype(jnp.float32)
    is_true, is_decided = (label == 1).astype(jnp.float32), (decision == 1).astype(jnp.float32)
    return (
      jnp.sum(weight * is_true * is_decided, axis=0),
      jnp.sum(weight * (1.0 - is_true) * is_decided, axis=0),
      jnp.sum(weight * is_true * (1.0 - is_decided), axis=0),
    )

  return update


def precision(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """TP / (TP + FP), averaged over classes or labels (macro); 0 where nothing was decided positive."""
  return Metric(_confusion(decide, classes), lambda s: jnp.mean(_ratio(s[0], s[0] + s[1], 0.0)))


def recall(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """TP / (TP + FN), averaged over classes or labels (macro); 0 where nothing is positive."""
  return Metric(_confusion(decide, classes), lambda s: jnp.mean(_ratio(s[0], s[0] + s[2], 0.0)))


def f1(decide: Callable[[Any], Any], classes: int | None = None) -> Metric:
  """2 TP / (2 TP + FP + FN), averaged over classes or labels (macro); 0 where a class never occurs."""
  return Metric(_confusion(decide, classes), lambda s: jnp.mean(_ratio(2 * s[0], 2 * s[0] + s[1] + s[2], 0.0)))


def roc_auc(score: Callable[[Any], Any] = lambda prediction: prediction) -> Metric:
  r"""The exact area under the ROC curve of a binary label, or its mean over the labels of a vector.

  $$ AUC = \frac{\sum_{i \in +} rank_i - P (P + 1) / 2}{P N} $$ with mean ranks at ties (Mann-Whitney).

  The state keeps every score, since no state of fixed size is exact; merging concatenates. Labels with one class
  only are left out of the mean, NaN when none is left.
  """

  def update(prediction, label, mask):
    s = jnp.reshape(score(prediction), (mask.shape[0], -1)).astype(jnp.float32)
    label = jnp.reshape(label, (mask.shape[0], -1))
    return s, jnp.where(mask[:, None] > 0, label, -1).astype(jnp.int32)

  def one(s, label):
    # Masked examples rank below all others, and their ranks are subtracted again.
    known = label >= 0
    ranks = rankdata(jnp.where(known, s, -jnp.inf)) - jnp.sum(~known)
    positive, negative = jnp.sum(label == 1).astype(jnp.float32), jnp.sum(label == 0).astype(jnp.float32)
    wins = jnp.sum(jnp.where(label == 1, ranks, 0.0)) - positive * (positive + 1) / 2
    return _ratio(wins, positive * negative)

  def merge(a, b):
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)

  return Metric(update, lambda state: jnp.nanmean(jax.vmap(one, in_axes=1)(*state)), merge)


def r2() -> Metric:
  r"""The coefficient of determination 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2, averaged over outputs.

  The state holds the mean and the centred sum of squares, merged by Chan's formula: no cancellation for labels far
  from zero. NaN for constant labels.
  """

  def update(prediction, label, mask):
    label = jnp.reshape(label, (mask.shape[0], -1)).astype(jnp.float32)
    prediction = jnp.reshape(prediction, label.shape)
    weight = mask[:, None].astype(jnp.float32)
    label, prediction = (jnp.where(weight > 0, a, 0.0) for a in (label, prediction))
    count = jnp.sum(weight)
    centre = _ratio(jnp.sum(weight * label, axis=0), count, 0.0)
    spread = jnp.sum(weight * jnp.square(label - centre), axis=0)
    return count, centre, spread, jnp.sum(weight * jnp.square(label - prediction), axis=0)

  def merge(a, b):
    count = a[0] + b[0]
    step = b[1] - a[1]
    share = _ratio(b[0], count, 0.0)
    return count, a[1] + step * share, a[2] + b[2] + jnp.square(step) * a[0] * share, a[3] + b[3]

  def compute(state):
    _, _, spread, residual = state
    return jnp.mean(jnp.where(spread > 0, 1.0 - _ratio(residual, spread, 0.0), jnp.nan))

  return Metric(update, compute, merge)
