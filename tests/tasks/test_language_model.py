"""Language models: the shift, segments, perplexity of a whole data set, and what users are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import mtl_jax as mtl

V = 5
TOKENS = np.array([[1, 2, 3, 4, 0, 0], [4, 3, 1, 2, 2, 1]], np.int32)
SEGMENTS = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 2, 2, 2, 3]], np.int32)
LOGITS = np.random.default_rng(0).normal(size=(2, 6, V)).astype(np.float32)


def test_each_position_predicts_the_next_token():
  task = mtl.tasks.language_model("x", V)
  assert task.label({"x": TOKENS}).tolist() == [[2, 3, 4, -1, -1, -1], [3, 1, 2, 2, 1, -1]]
  packed = {"x": {"tokens": TOKENS, "segments": SEGMENTS}}
  assert task.label(packed).tolist() == [[2, 3, 4, -1, -1, -1], [3, -1, 2, 2, -1, -1]]
  np.testing.assert_array_equal(task.mask(packed), np.array(task.label(packed)) >= 0)


@pytest.mark.parametrize("as_tree", [False, True])
def test_loss_and_perplexity(as_tree):
  task = mtl.tasks.language_model("x", V)
  batch, prediction = {"x": TOKENS}, {"x": jnp.asarray(LOGITS)} if as_tree else jnp.asarray(LOGITS)
  logs = log_softmax(LOGITS.astype(np.float64), axis=-1)
  want = [-logs[b, i, TOKENS[b, i + 1]] for b, i in [(0, 0), (0, 1), (0, 2), *((1, i) for i in range(5))]]
  counted = np.asarray(task.mask(batch)) > 0
  np.testing.assert_allclose(np.asarray(task.loss(prediction, batch))[counted], want, rtol=1e-5)
  metric = task.metrics["perplexity"]
  states = [
    metric.update(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], prediction), task.label(own), task.mask(own))
    for i, own in enumerate([{"x": TOKENS[:1]}, {"x": TOKENS[1:]}])
  ]
  # Of all tokens of the data set, not the mean of two perplexities.
  np.testing.assert_allclose(metric.compute(metric.merge(states)), np.exp(np.mean(want)), rtol=1e-5)
  assert task.main_metric == "perplexity" and not task.higher_is_better
  assert task.output(prediction)["next"].tolist() == LOGITS.argmax(-1).tolist()


def test_weights():
  task = mtl.tasks.language_model("x", V, weight="w", mask="m")
  found = task.mask({"x": TOKENS, "w": np.array([2.0, 0.5]), "m": np.ones(TOKENS.shape)})
  assert np.asarray(found).sum() == 3 * 2 + 5 * 0.5


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (np.array([[1, 5]]), r"task 't': label 'x' holds 5 in example 0, expected tokens in \[0, 4\], 0 for padding"),
    (np.array([[1.0, 2.0]]), "has dtype float64, expected integers"),
    (np.zeros((1, 2), int), "is missing everywhere"),
    ({"words": TOKENS}, "label 'x' has the entries 'words', expected 'tokens'"),
  ],
)
def test_labels_that_are_none(x, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.tasks.language_model("x", V).check("t", {"x": x})


def test_options_and_shapes():
  with pytest.raises(mtl.UserError, match="vocabulary is 1, expected at least 2"):
    mtl.tasks.language_model("x", 1)
  task = mtl.tasks.language_model("x", V)
  for prediction in (LOGITS[:, :5], LOGITS[..., :4]):
    with pytest.raises(mtl.UserError, match=r"expected logits \(2, 6, 5\), or {'x': logits}"):
      task.loss(prediction, {"x": TOKENS})
  with pytest.raises(mtl.UserError, match=r"label 'x' is float32\[2, 6, 5\], expected tokens"):
    task.loss(LOGITS, {"x": LOGITS})
  with pytest.raises(mtl.UserError, match="the batch has no label 'x'"):
    task.label({"y": TOKENS})
