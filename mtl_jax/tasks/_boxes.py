"""Boxes (..., 4) as (x0, y0, x1, y1): how much they overlap, and which of many detections are kept."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_CANDIDATES = 400
"""So many of the best scores of an image are looked at: their overlaps are a square matrix."""


def overlap(one: Any, other: Any) -> tuple[jax.Array, jax.Array]:
  r"""The intersection over union of boxes, and its generalisation, which tells boxes apart that do not meet.

  $$ IoU = |A \cap B| / |A \cup B|, \qquad GIoU = IoU - (|H| - |A \cup B|) / |H| $$

  with H the smallest box around both (Rezatofighi et al., *Generalized Intersection over Union*, CVPR 2019).

  Args:
    one: Boxes (..., 4).
    other: Boxes whose shape broadcasts against it.

  Returns:
    Both, (...); 0 for boxes without area.
  """
  inner = _area(jnp.maximum(one[..., :2], other[..., :2]), jnp.minimum(one[..., 2:], other[..., 2:]))
  union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - inner
  hull = _area(jnp.minimum(one[..., :2], other[..., :2]), jnp.maximum(one[..., 2:], other[..., 2:]))
  iou = _ratio(inner, union)
  return iou, iou - _ratio(hull - union, hull)


def best(boxes: jax.Array, scores: jax.Array, most: int, overlap_limit: float) -> dict[str, jax.Array]:
  """The detections of each image that no better one of their class covers, best first, in arrays of fixed size.

  Greedy suppression is the fixed point of "a candidate stays if none that stays and is better covers it": iterated for
  all candidates of all images at once, it settles after as many rounds as the longest chain of candidates that cover
  each other (Zheng et al., *Enhancing Geometric Factors in Model Learning and Inference*, 2021).

  Args:
    boxes: (B, P, 4), one per place.
    scores: (B, P, C).
    most: The number k of detections to give.
    overlap_limit: The intersection over union above which one covers the other.

  Returns:
    `boxes` (B, k, 4), `class` (B, k) and `score` (B, k); class -1, and zeros, where there are no more.
  """
  num_classes, scores = scores.shape[-1], scores.reshape(scores.shape[0], -1)
  score, place = _best_first(scores, max(most, _CANDIDATES))
  row = jax.lax.div(place, num_classes)  # `//` and `%` would ask for signs, which are all the same here
  kind, candidates = place - num_classes * row, _taken(boxes, row)
  iou, _ = overlap(candidates[:, :, None], candidates[:, None])
  better = np.triu(np.ones(iou.shape[1:], bool), k=1)[None]
  covers = (iou > overlap_limit) & (kind[:, :, None] == kind[:, None]) & better

  def step(carry):
    stays, _ = carry
    after = ~jnp.any(covers & stays[:, :, None], axis=1)
    return after, jnp.any(after != stays)

  stays, _ = jax.lax.while_loop(lambda carry: carry[1], step, (place >= 0, jnp.array(True)))
  score, order = _best_first(jnp.where(stays, score, 0.0), most)
  found = score > 0
  return {
    "boxes": _filled(jnp.where(found[..., None], _taken(candidates, order), 0.0), most, 0),
    "class": _filled(jnp.where(found, _taken(kind, order), -1), most, -1),
    "score": _filled(score, most, 0),
  }


def _best_first(scores: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
  """The best of scores (B, N), best first, and where they are."""
  score, place = jax.lax.top_k(scores, min(most, scores.shape[1]))
  return score, place


def _taken(values: jax.Array, places: jax.Array) -> jax.Array:
  """Of values (B, N, ...) those at places (B, k)."""
  places = places.reshape(*places.shape, *[1] * (values.ndim - 2))
  return jnp.take_along_axis(values, places, axis=1, mode="promise_in_bounds")


def _area(low: jax.Array, high: jax.Array) -> jax.Array:
  sides = jnp.maximum(high - low, 0)
  return sides[..., 0] * sides[..., 1]


def _ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
  return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def _filled(values: jax.Array, count: int, value: int) -> jax.Array:
  """The values (B, N, ...) and as many fillings behind them as make `count`."""
  missing = (values.shape[0], count - values.shape[1], *values.shape[2:])
  return jnp.concatenate([values, jnp.full(missing, value, values.dtype)], axis=1) if missing[1] else values
