"""Similarity and contrastive pairs: losses by hand, correlations against SciPy, what users are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mtl_jax as mtl
from mtl_jax.tasks import metrics
from mtl_jax.tasks.loss import masked_mean

RNG = np.random.default_rng(0)
PAIRS = RNG.normal(size=(6, 2, 4)).astype(np.float32)
COSINES = np.sum(PAIRS[:, 0] * PAIRS[:, 1], -1) / np.prod(np.linalg.norm(PAIRS, axis=-1), -1)
ALIKE = np.array([0, 5, 2.5, 1, 4, np.nan], np.float32)
THERE = np.array([1, 1, 1, 1, 1, 0], np.float32)
BATCH = {"alike": ALIKE, "there": THERE}


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_those_of_scipy(name, ties):
  """Over batches, with examples that do not count."""
  rng = np.random.default_rng(1)
  scores, labels = rng.normal(size=(2, 60)).astype(np.float32)
  labels = labels + scores
  if ties:
    scores, labels = scores.round(), labels.round()
  metric, mask = getattr(metrics, name)(), np.arange(60) % 5 != 0
  cut = [slice(0, 17), slice(17, 60)]
  state = metric.merge([metric.update(scores[part], labels[part], mask[part]) for part in cut])
  expected = getattr(stats, f"{name}r")(scores[mask].astype(float), labels[mask].astype(float)).statistic
  assert metric.compute(state) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_equal_labels_have_no_correlation(name):
  metric = getattr(metrics, name)()
  assert np.isnan(metric.compute(metric.update(np.arange(3.0, dtype=np.float32), np.ones(3), np.ones(3))))


def test_weights_of_a_correlation_are_repeats():
  metric, scores, labels = metrics.pearson(), np.float32([1, 2, 4]), np.float32([1, 5, 2])
  found = metric.compute(metric.update(scores, labels, np.float32([1, 2, 3])))
  assert found == pytest.approx(stats.pearsonr(scores.repeat([1, 2, 3]), labels.repeat([1, 2, 3])).statistic)


def test_similarity_is_of_pairs_or_numbers():
  task = mtl.tasks.similarity("alike", 5.0, mask="there")
  expected = (COSINES - np.nan_to_num(ALIKE) / 5) ** 2
  for prediction in (PAIRS, COSINES, COSINES[:, None]):
    found = task.loss(jnp.asarray(prediction), BATCH)
    np.testing.assert_allclose(found[:5], expected[:5], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(task.output(jnp.asarray(PAIRS))["similarity"], 5 * COSINES, rtol=1e-5)
  loss, gradient = jax.value_and_grad(lambda p: masked_mean("t", task, p, BATCH))(jnp.asarray(PAIRS))
  assert float(loss) == pytest.approx(expected[:5].mean(), rel=1e-5)
  assert jnp.isfinite(gradient).all() and not gradient[5].any()
  state = task.metrics["pearson"].update(jnp.asarray(PAIRS), ALIKE, THERE)
  assert task.metrics["pearson"].compute(state) == pytest.approx(stats.pearsonr(COSINES[:5], ALIKE[:5])[0], abs=1e-6)
  assert task.main_metric == "pearson" and list(task.metrics) == ["pearson", "spearman", "mae"]


def test_no_sentence_is_like_nothing():
  """Whose mean is the zero vector: its cosine has a gradient."""
  gradient = jax.grad(lambda p: mtl.tasks.similarity("y").loss(p, {"y": jnp.ones(1)})[0])(jnp.zeros((1, 2, 3)))
  assert jnp.isfinite(gradient).all()


def test_contrastive_is_the_formula_in_both_directions():
  task = mtl.tasks.contrastive(0.5)
  u, v = (PAIRS[:, i] / np.linalg.norm(PAIRS[:, i], axis=-1, keepdims=True) for i in (0, 1))
  scores = np.exp(u @ v.T / 0.5)
  expected = -np.log(np.diag(scores) / scores.sum(1)) / 2 - np.log(np.diag(scores) / scores.sum(0)) / 2
  np.testing.assert_allclose(task.loss(jnp.asarray(PAIRS), {}), expected, rtol=1e-5)
  np.testing.assert_allclose(task.output(jnp.asarray(PAIRS))["cosine"], COSINES, rtol=1e-5)


def test_no_pair_is_told_from_masked_ones():
  task = mtl.tasks.contrastive(0.5, mask="there")
  found = task.loss(jnp.asarray(PAIRS), {"there": THERE})
  np.testing.assert_allclose(found[:5], mtl.tasks.contrastive(0.5).loss(jnp.asarray(PAIRS[:5]), {}), rtol=1e-5)
  gradient = jax.grad(lambda p: masked_mean("t", task, p, {"there": THERE}))(jnp.asarray(PAIRS))
  assert jnp.isfinite(gradient).all() and not gradient[5].any() and gradient[:5].all()


def test_top1_counts_partners_over_the_whole_data_set():
  metric = mtl.tasks.contrastive().metrics["top1"]
  parts = [metric.update(jnp.asarray(PAIRS[part]), (), np.ones(3)) for part in (slice(0, 3), slice(3, 6))]
  u, v = (PAIRS[:, i] / np.linalg.norm(PAIRS[:, i], axis=-1, keepdims=True) for i in (0, 1))
  assert metric.compute(metric.merge(parts)) == pytest.approx(np.mean((u @ v.T).argmax(1) == np.arange(6)))
  same = jnp.ones((4, 2, 3))
  assert metric.compute(metric.update(same, (), np.ones(4))) == 0  # all alike: nothing is the nearest


def test_pairs_beside_a_task_are_trained_and_not_balanced():
  tasks = {"alike": mtl.tasks.similarity("alike", 5.0, mask="there"), "pairs": mtl.tasks.contrastive()}
  tasks["pairs"] = mtl.tasks.auxiliary(tasks["pairs"], 0.1)
  assert list(mtl.tasks.balanced(tasks)) == ["alike"]
  mtl.data.check({"x": PAIRS, **BATCH}, tasks, "x")


def test_what_users_are_told():
  task = mtl.tasks.similarity("alike", 5.0, mask="there")
  task.check("t", BATCH)
  with pytest.raises(mtl.UserError, match="task 't': label 'alike' holds 5.0 in example 1, expected from 0 to"):
    mtl.tasks.similarity("alike", 4.0, mask="there").check("t", BATCH)
  with pytest.raises(mtl.UserError, match=r"prediction for 'alike' has shape \(6, 3, 4\), expected pairs of vectors"):
    task.loss(jnp.zeros((6, 3, 4)), BATCH)
  with pytest.raises(mtl.UserError, match="most is 0, expected above 0"):
    mtl.tasks.similarity("alike", 0)
  with pytest.raises(mtl.UserError, match="temperature is 0, expected above 0"):
    mtl.tasks.contrastive(0)
  with pytest.raises(mtl.UserError, match=r"contrastive: the prediction has shape \(6, 4\), expected pairs"):
    mtl.tasks.contrastive().loss(jnp.zeros((6, 4)), {})
