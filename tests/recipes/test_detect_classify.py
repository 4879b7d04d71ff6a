"""Digits and blood cells: canvases that hold what they say, and a recipe that learns it and draws it."""

import os

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.recipes import _canvas

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def canvases():
  digits = mtl.data.source.digits()
  return _canvas.canvases(digits["x"], digits["y"], 60, np.random.default_rng(0))


def test_boxes_are_tight_around_the_ink(canvases):
  assert canvases["x"].shape == (60, 64, 64, 1) and canvases["x"].dtype == np.uint8
  there = canvases["kinds"] >= 0
  assert set(there.sum(axis=1)) == {1, 2, 3, 4}
  for image, boxes, own in zip(canvases["x"], np.rint(64 * canvases["boxes"]).astype(int), there, strict=True):
    inside = np.zeros((64, 64), bool)
    for x0, y0, x1, y1 in boxes[own]:
      inside[y0:y1, x0:x1] = True
      ink = image[y0:y1, x0:x1, 0] > 63
      assert ink[0].any() and ink[-1].any() and ink[:, 0].any() and ink[:, -1].any()
    assert not ((image[..., 0] > 63) & ~inside).any()


def test_digits_hardly_cover_each_other(canvases):
  for boxes, own in zip(canvases["boxes"], canvases["kinds"] >= 0, strict=True):
    boxes = boxes[own]
    shares = _canvas._covered(boxes, boxes) if len(boxes) > 1 else np.zeros(0)
    for i in range(len(boxes)):
      assert _canvas._covered(boxes[i : i + 1], boxes[:i])[0] <= 0.1 + 1e-6
    assert (shares >= 0).all()


@pytest.fixture(scope="module")
def recipe():
  return recipes.load("detect_classify")


def test_facts_follow_from_the_objects_after_augmentation_too(recipe, canvases):
  batch = jax.jit(recipe.transform)(canvases, jax.random.key(0))
  kinds = np.asarray(batch["kinds"])
  np.testing.assert_array_equal(batch["count"], (kinds >= 0).sum(axis=1))
  odd = ((kinds >= 0) & (kinds % 2 == 1)).sum(axis=1)
  np.testing.assert_array_equal(batch["sign"], 2 * odd > (kinds >= 0).sum(axis=1))
  assert batch["x"].shape == canvases["x"].shape and not np.array_equal(batch["x"], canvases["x"] / 255)


@pytest.mark.slow
def test_it_learns(recipe, canvases):
  """A few steps, after which the losses are well below those of a network that says the same of every image."""
  train = {**canvases, "count": (canvases["kinds"] >= 0).sum(axis=1), "sign": canvases["kinds"][:, 0] % 2 == 1}
  net = recipe.network(list(recipe.tasks))
  mtl.data.check(train, recipe.tasks)
  tx = recipe.optimizer(5e-3, 40)
  run = mtl.fit(net, recipe.tasks, "equal", tx, train, valid=train, steps=40, batch_size=16, eval_every=10)
  first, *_, last = (line for line in run.history if line["kind"] == "valid")
  assert last["objects/loss"] < 0.7 * first["objects/loss"]
  assert last["count/loss"] < first["count/loss"]


def test_blood_cells():
  if not os.path.isfile(os.path.join(os.environ.get("MTL_JAX_DATA", ""), "bccd", "bccd_192x256.npz")):
    pytest.skip("MTL_JAX_DATA is not set to a directory that holds bccd/bccd_192x256.npz")
  recipe = recipes.load("detect_classify", data="bccd")
  splits = recipe.data(0)
  assert [len(part["x"]) for part in splits[:3]] == [205, 87, 72]
  mtl.data.check(splits.train, recipe.tasks)
  assert splits.train["count"].mean() == pytest.approx(11.6, abs=0.1)
  shapes = jax.eval_shape(recipe.network(["objects"]).init, jax.random.key(0), splits.train["x"][:2])
  assert "task" in shapes[0]
