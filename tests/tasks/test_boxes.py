"""How much boxes overlap, and which of many detections are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.tasks import _boxes


def boxes_of(rng, *shape):
  low = rng.uniform(0, 0.7, (*shape, 2))
  return np.concatenate([low, low + rng.uniform(0.05, 0.3, (*shape, 2))], axis=-1).astype(np.float32)


@pytest.mark.parametrize(
  "other, iou, giou",
  [
    ((0, 0, 2, 2), 1, 1),
    ((1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),
    ((1, 0, 3, 2), 1 / 3, 1 / 3),  # the hull is the union
    ((4, 0, 6, 2), 0, -4 / 12),
    ((2, 0, 4, 2), 0, 0),  # side by side
    ((1, 1, 1, 1), 0, 0),  # a point
  ],
)
def test_overlap_by_hand(other, iou, giou):
  found = _boxes.overlap(jnp.array([0.0, 0, 2, 2]), jnp.array(other, jnp.float32))
  np.testing.assert_allclose(found, (iou, giou), atol=1e-6)


def test_derivatives_are_finite_where_boxes_are_points():
  box = jnp.zeros(4)
  assert jnp.isfinite(jax.grad(lambda one: _boxes.overlap(one, box)[1])(box)).all()


def greedy(boxes, scores, most, limit):
  """As textbooks have it, one after the other."""
  kept, boxes = [], jnp.asarray(boxes)
  places, kinds = np.unravel_index(np.argsort(-scores, axis=None, kind="stable"), scores.shape)
  for place, kind in zip(places, kinds, strict=True):
    covered = (float(_boxes.overlap(boxes[place], boxes[p])[0]) > limit and kind == k for p, k in kept)
    if not any(covered):
      kept.append((place, kind))
  return kept[:most]


@pytest.mark.slow
def test_suppression_is_that_of_the_greedy_loop():
  """In all images at once, though chains of boxes that cover each other are longer in some."""
  rngs = [np.random.default_rng(seed) for seed in range(3)]
  boxes = np.stack([boxes_of(rng, 15) for rng in rngs])
  scores = np.stack([rng.uniform(0.01, 1, (15, 2)).astype(np.float32) for rng in rngs])
  found = jax.jit(_boxes.best, static_argnums=(2, 3))(jnp.asarray(boxes), jnp.asarray(scores), 8, 0.2)
  for i, (own, score) in enumerate(zip(boxes, scores, strict=True)):
    want = greedy(own, score, 8, 0.2)
    assert len(want) == 8
    np.testing.assert_array_equal(found["class"][i], [kind for _, kind in want])
    np.testing.assert_array_equal(found["boxes"][i], [own[place] for place, _ in want])
    np.testing.assert_array_equal(found["score"][i], [score[place] for place in want])


def test_arrays_keep_their_size_where_there_is_less_to_find():
  box = jnp.tile(jnp.array([[[0, 0, 0.5, 0.5]]]), (1, 3, 1))
  found = _boxes.best(box, jnp.array([[[0.9], [0.8], [0.7]]]), 5, 0.5)
  assert {name: v.shape for name, v in found.items()} == {"boxes": (1, 5, 4), "class": (1, 5), "score": (1, 5)}
  assert found["class"].tolist() == [[0, -1, -1, -1, -1]]
  assert not found["score"][:, 1:].any() and not found["boxes"][:, 1:].any()
