"""Regression losses against hand formulas, units, metrics of a task, and what users are told."""

import jax
import numpy as np
import pytest
from sklearn import metrics as reference

import mtl_jax as mtl

RNG = np.random.default_rng(0)
LABEL = RNG.normal(size=6).astype(np.float32)
GUESS = (LABEL + 2 * RNG.normal(size=6)).astype(np.float32)


def huber(error, delta):
  inside = np.abs(error) <= delta
  return np.where(inside, 0.5 * error**2, delta * np.abs(error) - 0.5 * delta**2)


FORMULAS = {
  "squared": lambda e: e**2,
  "half_squared": lambda e: 0.5 * e**2,
  "absolute": np.abs,
  "huber": lambda e: huber(e, 0.7),
}


def test_half_the_squared_error_of_five_values():
  task = mtl.tasks.regression("y", loss="half_squared")
  prediction = np.array([1.2, 0.8, 0.9, 1.1, 0.9], np.float32)
  assert float(task.loss(prediction, {"y": np.ones(5, np.float32)}).sum()) == pytest.approx(0.055, rel=1e-5)


@pytest.mark.parametrize("loss", list(FORMULAS))
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_losses(loss, shape):
  task = mtl.tasks.regression("y", loss=loss, delta=0.7)
  np.testing.assert_allclose(task.loss(GUESS.reshape(shape), {"y": LABEL}), FORMULAS[loss](GUESS - LABEL), rtol=1e-4)


@pytest.mark.parametrize("loss", list(FORMULAS))
def test_vectors_are_averaged(loss):
  task = mtl.tasks.regression("y", loss=loss, delta=0.7, size=3)
  found = task.loss(GUESS.reshape(2, 3), {"y": LABEL.reshape(2, 3)})
  np.testing.assert_allclose(found, FORMULAS[loss](GUESS - LABEL).reshape(2, 3).mean(axis=1), rtol=1e-4)


def test_the_network_predicts_standardised_values_and_metrics_are_in_the_labels_unit():
  task = mtl.tasks.regression("y", mean=50.0, std=10.0)
  metres = 50.0 + 10.0 * LABEL
  np.testing.assert_allclose(task.loss(GUESS, {"y": metres}), (GUESS - LABEL) ** 2, rtol=1e-4)
  np.testing.assert_allclose(task.output(GUESS[:, None])["value"], 50.0 + 10.0 * GUESS, rtol=1e-6)
  weight = np.array([1, 1, 0, 1, 1, 1], np.float32)
  want = {
    "mae": reference.mean_absolute_error(metres, 50 + 10 * GUESS, sample_weight=weight),
    "rmse": reference.root_mean_squared_error(metres, 50 + 10 * GUESS, sample_weight=weight),
    "r2": reference.r2_score(metres, 50 + 10 * GUESS, sample_weight=weight),
  }
  for name, metric in task.metrics.items():
    found = metric.compute(metric.update(GUESS[:, None], task.label({"y": metres}), weight))
    assert float(found) == pytest.approx(want[name], rel=1e-5), name
  assert task.main_metric == "r2" and task.higher_is_better


def test_integer_labels_are_real_values():
  task, label = mtl.tasks.regression("y"), np.arange(6)
  np.testing.assert_allclose(task.loss(GUESS, {"y": label}), (GUESS - label) ** 2, rtol=1e-5)
  for name, want in (("mae", np.abs(GUESS - label).mean()), ("rmse", np.sqrt(((GUESS - label) ** 2).mean()))):
    metric = task.metrics[name]
    found = metric.compute(metric.update(GUESS, task.label({"y": label}), np.ones(6, np.float32)))
    assert float(found) == pytest.approx(want, rel=1e-5)


def test_masked_labels_may_be_nan():
  task = mtl.tasks.regression("y", mask="m")
  batch = {"y": np.where(LABEL > 0, LABEL, np.nan), "m": LABEL > 0}
  losses, gradient = jax.value_and_grad(lambda p: task.loss(p, batch).sum())(GUESS)
  assert np.isfinite(losses) and np.isfinite(gradient).all()
  np.testing.assert_array_equal(task.mask(batch), (LABEL > 0).astype(np.float32))
  task.check("size", batch)
  for name, metric in task.metrics.items():
    assert np.isfinite(metric.compute(metric.update(GUESS, task.label(batch), task.mask(batch)))), name


def test_masked_values_of_a_vector_may_be_nan():
  task = mtl.tasks.regression("y", size=3, mask="m", weight="w")
  mask, weight = np.array([[1, 0, 1], [0, 1, 0.5]], np.float32), np.array([2, 3], np.float32)
  label, guess = np.where(mask > 0, LABEL.reshape(2, 3), np.nan), GUESS.reshape(2, 3)
  batch = {"y": label, "m": mask, "w": weight}
  task.check("size", batch)
  losses = task.loss(guess, batch)
  assert losses.shape == (2, 3)
  np.testing.assert_allclose(losses[mask > 0], (guess - label)[mask > 0] ** 2, rtol=1e-4)
  gradient = jax.grad(lambda p: (task.loss(p, batch) * task.mask(batch)).sum())(guess)
  assert np.isfinite(gradient).all() and not gradient[mask == 0].any()


CHECKS = {
  "nan": ({}, {"y": LABEL * np.nan}, "label 'y' has 6 NaN values, the first in example 0: set mask="),
  "infinite": ({}, {"y": np.array([1.0, np.inf])}, "has 1 infinite values: clip them"),
  "dtype": ({}, {"y": np.array(["a", "b"])}, "label 'y' holds words such as 'a', expected numbers"),
  "shape": ({}, {"y": LABEL[:, None]}, r"label 'y' has shape \(6, 1\), expected \(N,\)"),
  "flat": ({"size": 3}, {"y": LABEL}, r"label 'y' has shape \(6,\), expected \(N, 3\)"),
  "columns": ({"size": 3}, {"y": LABEL.reshape(3, 2)}, "label 'y' has 2 columns, expected 3"),
  "missing": ({}, {"yy": LABEL}, r"the data has no label 'y', only 'yy' \(did you mean 'yy'\?\)"),
  "mask": ({"mask": "m"}, {"y": LABEL, "m": -(LABEL**2)}, r"mask 'm' has values outside \[0, 1\], first -"),
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_labels_that_cannot_be_used_are_told_in_one_line(name):
  options, arrays, message = CHECKS[name]
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.tasks.regression("y", **options).check("size", arrays)
  assert "\n" not in str(error.value) and str(error.value).startswith("task 'size'")


@pytest.mark.parametrize(
  ("options", "prediction", "label", "message"),
  [
    ({}, GUESS.reshape(3, 2), LABEL[:3], r"the prediction for 'y' has shape \(3, 2\), expected \(3,\)"),
    (
      {"size": 3},
      GUESS.reshape(3, 2),
      LABEL.reshape(2, 3),
      r"the prediction for 'y' has shape \(3, 2\), expected \(2, 3\)",
    ),
    ({}, GUESS, LABEL[:, None], r"label 'y' has shape \(6, 1\), expected \(6,\)"),
  ],
)
def test_shapes_that_do_not_fit_are_told_in_one_line(options, prediction, label, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.tasks.regression("y", **options).loss(prediction, {"y": label})
  assert "\n" not in str(error.value)


def test_options_out_of_range():
  with pytest.raises(mtl.UserError, match=r"delta is 0.0 and std 1.0, expected both above 0"):
    mtl.tasks.regression("y", loss="huber", delta=0.0)
  with pytest.raises(mtl.UserError, match=r"std nan"):
    mtl.tasks.regression("y", std=float("nan"))
  for options in ({"mean": float("nan")}, {"std": float("inf")}):
    with pytest.raises(mtl.UserError, match=r"mean is .* and std .*, expected finite numbers"):
      mtl.tasks.regression("y", **options)
