"""Calibration: temperatures of planted data, coverage of intervals, and runs that keep both."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.train import calibrate, calibrated, predict_all

IDENTITY = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: ({"task": x}, state))


def fitted(task, x, data):
  return calibrate(IDENTITY, {"task": task}, {}, {}, {"x": x.astype(np.float32), **data})["task"]


def outputs(task, x, values):
  problem = calibrated(mtl.Problem(IDENTITY, {"task": task}), {"task": values})
  return predict_all(problem, {}, {}, {"x": x.astype(np.float32)})["task"]


def drawn(count, classes, seed=0):
  """Logits, and classes drawn by their probabilities."""
  rng = np.random.default_rng(seed)
  logits = 2 * rng.normal(size=(count, classes))
  noise = rng.gumbel(size=logits.shape)
  return logits, np.argmax(logits + noise, axis=1).astype(np.int32)


@pytest.mark.parametrize("factor", [0.3, 3.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_of_overconfident_logits_is_found(factor, classes):
  logits, labels = drawn(20_000, classes)
  if classes == 2:
    task, logits = mtl.tasks.binary("y"), logits[:, 1] - logits[:, 0]
  else:
    task = mtl.tasks.classification("y", classes)
  values = fitted(task, factor * logits, {"y": labels})
  assert abs(values["temperature"] / factor - 1) < 0.05
  made = outputs(task, factor * logits, values)
  plain = task.output(jnp.asarray(logits, jnp.float32))
  np.testing.assert_array_equal(made["class"], plain["class"])
  np.testing.assert_allclose(made["probability"], plain["probability"], atol=0.02)


def test_a_few_examples_that_are_all_right_do_not_make_certainty():
  logits = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
  task = mtl.tasks.classification("y", 2)
  values = fitted(task, logits, {"y": np.array([0, 1, 0])})
  assert 0.3 < values["temperature"] < 1
  assert outputs(task, logits, values)["probability"].max() < 0.95


def test_labels_at_once_and_missing_ones():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(20_000, 3))
  labels = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int32)
  mask = rng.uniform(size=logits.shape) < 0.7
  labels = np.where(mask, labels, -1)
  task = mtl.tasks.multilabel("y", 3, mask="m")
  assert abs(fitted(task, 2 * logits, {"y": labels, "m": mask.astype(np.float32)})["temperature"] - 2) < 0.1


@pytest.mark.parametrize("noise", ["normal", "laplace"])
def test_intervals_hold_nine_of_ten(noise):
  task, held = mtl.tasks.regression("y", mean=5.0, std=2.0), []
  for seed in range(8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1000)
    y = (5 + 2 * x + getattr(rng, noise)(size=1000)).astype(np.float32)
    values = fitted(task, x[:500], {"y": y[:500]})
    made = outputs(task, x[500:], values)
    np.testing.assert_allclose(made["high"] - made["low"], 2 * values["radius"], rtol=1e-5)
    held.append(np.mean((made["low"] <= y[500:]) & (y[500:] <= made["high"])))
  assert abs(np.mean(held) - 0.9) < 0.02  # a standard error of 0.006


def test_the_radius_is_the_smallest_error_that_suffices():
  """The k-th of n, k = ceil(0.9 (n + 1)): of nineteen errors the eighteenth, of nine the ninth, of eight none."""
  task = mtl.tasks.regression("y")
  for count, radius in ((19, 18.0), (9, 9.0)):
    assert fitted(task, np.zeros(count), {"y": np.arange(1, count + 1, dtype=np.float32)}) == {"radius": radius}
  few = {"x": np.zeros(8, np.float32), "y": np.arange(8, dtype=np.float32)}
  assert calibrate(IDENTITY, {"task": task}, {}, {}, few) == {}


def test_tasks_that_cannot_be_calibrated_are_left_as_they_are():
  task = mtl.tasks.binary("y", mask="m")
  none = {"x": np.zeros(3, np.float32), "y": np.zeros(3, np.int32), "m": np.zeros(3, np.float32)}
  assert calibrate(IDENTITY, {"task": task}, {}, {}, none) == {}
  several = mtl.tasks.regression("y", size=2)
  assert several.calibration is None
  with pytest.raises(mtl.UserError, match="the task knows no calibration"):
    dataclasses.replace(several).calibrated({"radius": 1.0})


def test_a_mixture_of_tasks_of_which_some_are_calibrated():
  """Two tasks of one source, and one of another: the sources of tasks without a calibration are left out."""
  net = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (dict.fromkeys("abc", x), state))
  tasks = {
    "a": mtl.tasks.regression("y"),
    "b": mtl.Task(loss=lambda p, b: p[:, 0]),
    "c": mtl.Task(loss=lambda p, b: p[:, 0]),
  }
  x, y = np.zeros((20, 1), np.float32), np.arange(20, dtype=np.float32)
  valid = mtl.data.mixture({("a", "b"): {"x": x, "y": y}, "c": {"x": x}})
  assert calibrate(net, tasks, {}, {}, valid)["a"] == calibrate(net, {"a": tasks["a"]}, {}, {}, {"x": x, "y": y})["a"]
