"""Ordinal labels: the loss against a loop, levels and probabilities that agree, and what users are told."""

import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl

GRADES = np.array([0, 3, 1, 2, 2], np.int32)
PREDICTION = np.random.default_rng(0).normal(scale=2, size=(5, 3)).astype(np.float32)


def logits(row):
  found = [row[0]]
  for step in row[1:]:
    found.append(found[-1] - np.log1p(np.exp(step)))
  return np.array(found)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_loss_is_the_sum_of_binary_cross_entropies():
  want = [
    -sum(np.log(sigmoid(eta if grade > k else -eta)) for k, eta in enumerate(logits(row)))
    for row, grade in zip(PREDICTION, GRADES, strict=True)
  ]
  found = mtl.tasks.ordinal("grade", 4).loss(PREDICTION, {"grade": GRADES})
  np.testing.assert_allclose(found, want, rtol=1e-4)


def test_levels_and_probabilities():
  outputs = mtl.tasks.ordinal("grade", 4).output(PREDICTION)
  assert outputs["level"].tolist() == [int((logits(row) > 0).sum()) for row in PREDICTION]
  assert (outputs["probability"] >= 0).all()  # the order holds by construction
  np.testing.assert_allclose(outputs["probability"].sum(axis=1), 1, rtol=1e-5)
  np.testing.assert_allclose(outputs["probability"][:, 0], [1 - sigmoid(row[0]) for row in PREDICTION], rtol=1e-4)


def test_metrics():
  task = mtl.tasks.ordinal("grade", 3)
  prediction = jnp.array([[-1.0, 0], [5.0, -1], [0.1, 2], [9.0, 0]])  # levels 0, 2, 1 and 2
  found = {
    name: float(metric.compute(metric.update(prediction, jnp.array([0, 0, 1, 1]), jnp.array([1, 1, 1, 0]))))
    for name, metric in task.metrics.items()
  }
  assert found == {"mae": pytest.approx(2 / 3), "accuracy": pytest.approx(2 / 3)}


def test_what_users_are_told():
  task = mtl.tasks.ordinal("grade", 3, mask="seen")
  with pytest.raises(mtl.UserError, match=r"task 't': label 'grade' holds level 3 in example 1, expected \[0, 2\]"):
    task.check("t", {"grade": np.array([0, 3]), "seen": np.ones(2)})
  task.check("t", {"grade": np.array([0, 3]), "seen": np.array([1, 0])})
  with pytest.raises(mtl.UserError, match="expected integers"):
    task.check("t", {"grade": np.array([0.5, 1]), "seen": np.ones(2)})
  with pytest.raises(mtl.UserError, match="num_levels is 1"):
    mtl.tasks.ordinal("grade", 1)
  with pytest.raises(mtl.UserError, match=r"prediction \(5, 4\), expected \(B,\) and \(B, 3\)"):
    mtl.tasks.ordinal("grade", 4).loss(jnp.zeros((5, 4)), {"grade": GRADES})
