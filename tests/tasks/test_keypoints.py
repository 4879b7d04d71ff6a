"""Keypoints: loss and metrics by hand, invisible points that hold NaN, pictures, and what users are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.tasks.loss import masked_mean

POINTS = np.array([[[0.5, 0.5], [0.2, 0.8]], [[0.1, 0.4], [np.nan, np.nan]]], np.float32)
SEEN = np.array([[1, 1], [1, 0]], np.float32)
BATCH = {"points": POINTS, "seen": SEEN}
OFFSETS = np.array([[[0.0, 0.05], [0.3, 0.4]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
PREDICTION = (2 * (np.nan_to_num(POINTS) + OFFSETS) - 1).reshape(2, 4)


@pytest.fixture(scope="module")
def task():
  return mtl.tasks.keypoints("points", 2, visible="seen", names=("nose", "tail"))


def test_loss_and_its_mean_over_visible_points(task):
  huber = [[0.1**2 / 2, 0.6**2 / 2 + 0.8**2 / 2], [0, 0]]
  np.testing.assert_allclose(task.loss(PREDICTION, BATCH)[SEEN > 0], np.array(huber)[SEEN > 0], atol=1e-6)
  loss, gradient = jax.value_and_grad(lambda p: masked_mean("t", task, p, BATCH))(PREDICTION)
  assert float(loss) == pytest.approx(np.sum(huber) / 3, rel=1e-4)
  assert jnp.isfinite(gradient).all() and not gradient[1, 2:].any()


def test_without_visibility_the_loss_is_per_example():
  task = mtl.tasks.keypoints("points", 2)
  assert task.loss(PREDICTION, {"points": np.nan_to_num(POINTS)}).shape == (2,)


def test_metrics(task):
  found = {
    name: float(metric.compute(metric.update(PREDICTION, POINTS, SEEN))) for name, metric in task.metrics.items()
  }
  assert found == {"pck": pytest.approx(2 / 3), "error": pytest.approx((0.05 + 0.5) / 3, rel=1e-4)}


def test_records_and_pictures(task):
  outputs = {name: values[0] for name, values in task.output(PREDICTION).items()}
  assert task.record(outputs) == {"nose": [0.5, pytest.approx(0.55)], "tail": [0.5, pytest.approx(1.2)]}
  axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
  axes.imshow(np.zeros((10, 20)))
  task.draw(axes, outputs)
  np.testing.assert_allclose(axes.collections[0].get_offsets()[0], [9.5, 5.0], atol=1e-5)


def test_what_users_are_told(task):
  task.check("t", BATCH)
  with pytest.raises(mtl.UserError, match="task 't': label 'points' holds 1.5 in example 1, expected fractions"):
    task.check("t", {**BATCH, "points": np.where(POINTS == np.float32(0.4), 1.5, POINTS)})
  with pytest.raises(mtl.UserError, match="NaN values, the first in example 1"):
    task.check("t", {**BATCH, "seen": np.ones((2, 2))})
  with pytest.raises(mtl.UserError, match=r"visibility 'seen' has shape \(2,\), expected \(2, 2\)"):
    task.check("t", {**BATCH, "seen": np.ones(2)})
  with pytest.raises(mtl.UserError, match="1 names for num_points = 2"):
    mtl.tasks.keypoints("points", 2, names=("nose",))
  with pytest.raises(mtl.UserError, match=r"prediction \(2, 6\), expected \(B, 2, 2\) and \(B, 4\)"):
    task.loss(jnp.zeros((2, 6)), BATCH)
