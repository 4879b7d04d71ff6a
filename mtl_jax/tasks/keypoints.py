"""Keypoints: where the named points of an object are in an image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task

_NEAR = 0.1  # of the image's sides, for PCK


def keypoints(label: str, num_points: int, *, visible: str | None = None, names: Sequence[str] = ()) -> Task:
  r"""Points in an image, by the Huber loss of their coordinates.

  $$ \ell_{bp} = \sum_{i \in \{x, y\}} huber(\hat y_{bpi} - (2 y_{bpi} - 1)) $$

  The task's loss is $\sum_{bp} v_{bp} \ell_{bp} / \sum_{bp} v_{bp}$ over the batch.

  Args:
    label: The key of the labels in the batch, (B, P, 2), x and y as fractions of width and height from the upper left
      corner. Predictions are (B, 2 P) or (B, P, 2), from -1 at the left and upper side to 1 at the right and lower one.
    num_points: The number P of points.
    visible: The key of v, (B, P) at least 0, how much each point counts, 0 where it cannot be seen or nobody knows;
      such points may hold any value. None: all count alike.
    names: Of the points; empty: their numbers.

  Returns:
    The task, with the metrics pck (main), the share of points that are not farther than a tenth of the image's sides
    from where they should be, and error, the mean distance; distances are of fractions, $\sqrt{\Delta x^2 + \Delta
    y^2}$. Outputs are `points` (B, P, 2), in fractions.

  Raises:
    UserError: `num_points` is below 1, or not the number of names.

  >>> task = keypoints("landmarks", 1)
  >>> task.output(jnp.array([[0.0, -0.5]]))["points"].tolist()
  [[[0.5, 0.25]]]

  References:
    Yang and Ramanan, *Articulated Human Detection with Flexible Mixtures of Parts*, 2013, for PCK. Deviation: near is a
    tenth of the image, not of the person.
  """
  if num_points < 1 or (names and len(names) != num_points):
    raise UserError(f"keypoints of {label!r}: {len(names)} names for num_points = {num_points}, expected one for each.")
  called = list(names) or [str(i) for i in range(num_points)]
  label_of = functools.partial(_labels.read, key=label, kind="label")

  def weights_of(batch):
    found = _labels.read(batch, visible or "", "visibility")
    if found.shape != label_of(batch).shape[:2]:
      raise UserError(f"visibility {visible!r} has shape {found.shape}, expected {label_of(batch).shape[:2]}.")
    return found.astype(jnp.float32)

  def shaped(prediction: Any) -> jax.Array:
    return jnp.asarray(prediction).reshape(prediction.shape[0], num_points, 2)

  def points(prediction):
    return (shaped(prediction) + 1) / 2

  def loss(prediction, batch):
    y = label_of(batch)
    if y.shape[1:] != (num_points, 2) or prediction.size != y.size:
      raise UserError(
        f"label {label!r} has shape {y.shape} and its prediction {prediction.shape}, expected (B, {num_points}, 2) and "
        f"(B, {2 * num_points})."
      )
    if visible is not None:
      y = jnp.where(weights_of(batch)[..., None] > 0, y, 0.5)
    losses = jnp.sum(optax.huber_loss(shaped(prediction), 2 * y.astype(prediction.dtype) - 1), axis=-1)
    return losses if visible is not None else jnp.mean(losses, axis=1)

  def distance(prediction, y):
    found = points(prediction)
    return jnp.sqrt(jnp.sum(jnp.square(found - jnp.asarray(y).astype(found.dtype)), axis=-1))

  def check(name, arrays):
    seen = np.ones((), bool)
    if visible is not None:
      shape = np.shape(_labels.read(arrays, label, f"label of task {name!r}"))[:2]
      weights = np.asarray(_labels.read(arrays, visible, f"visibility of task {name!r}"))
      if weights.shape != shape or not (weights >= 0).all():
        raise UserError(
          f"task {name!r}: visibility {visible!r} has shape {weights.shape}, expected {shape} and values of at least 0."
        )
      seen = weights[..., None] > 0
      arrays = {label: np.where(seen, arrays[label], 0.5)}
    y, _ = _labels.labels_of(name, arrays, label, None, None, (num_points, 2))
    wrong = ~((y >= 0) & (y <= 1))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds {y[wrong][0]:.4g} in example {first_example(wrong)}, expected fractions "
        "in [0, 1]: divide by the image's width and height, or name the points that count in visible=."
      )

  def draw(axes: Any, outputs: Any) -> None:
    high, wide = axes.get_images()[0].get_size()
    x, y = np.asarray(outputs["points"]).T * np.array([[wide], [high]]) - 0.5
    axes.scatter(x, y, s=8, c=np.arange(num_points), cmap="tab20")

  return Task(
    loss=loss,
    mask=None if visible is None else weights_of,
    metrics={
      "pck": _metrics.mean(lambda p, y: (distance(p, y) <= _NEAR).astype(jnp.float32), higher_is_better=True),
      "error": _metrics.mean(distance, higher_is_better=False),
    },
    label=label_of,
    output=lambda prediction: {"points": points(prediction)},
    check=check,
    checked=(label,),
    draw=draw,
    record=lambda outputs: {
      name: [round(float(side), 4) for side in point] for name, point in zip(called, outputs["points"], strict=True)
    },
  )
