"""Transcription: loss and decoding against all alignments one by one, masks, and what users are told."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import mtl_jax as mtl
from mtl_jax.tasks import decoding

RNG = np.random.default_rng(0)
T, C = 5, 2
LOGITS = RNG.normal(size=(4, T, C + 1)).astype(np.float32)
LENGTHS = np.array([5, 4, 3, 0])
MASK = np.arange(T)[None] < LENGTHS[:, None]
TEXTS = ["ab", "aa", "", ""]
PADDED = {"x": jnp.asarray(LOGITS), "mask": jnp.asarray(MASK)}


def sequences(log_probabilities):
  """The probability of every text, by all ways to write it."""
  found = {}
  for path in itertools.product(range(C + 1), repeat=len(log_probabilities)):
    text = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol < C)
    found[text] = found.get(text, 0) + np.exp(sum(log_probabilities[t, s] for t, s in enumerate(path)))
  return found


ALL = [sequences(log_softmax(own.astype(np.float64), axis=-1)[:length]) for own, length in zip(LOGITS, LENGTHS)]  # noqa: B905
LABELS = mtl.data.letters(TEXTS, "ab", 3)


@pytest.mark.slow
def test_loss_counts_all_alignments():
  task = mtl.tasks.transcription("text", "ab")
  want = [-np.log(all_of[tuple("ab".index(c) for c in text)]) for all_of, text in zip(ALL, TEXTS, strict=True)]
  losses = jax.jit(task.loss)(PADDED, {"text": LABELS})
  np.testing.assert_allclose(losses, np.array(want) / [2, 2, 1, 1], rtol=1e-5, atol=1e-6)
  whole = task.loss(LOGITS[:2], {"text": LABELS[:2]})  # without a mask all frames count
  np.testing.assert_allclose(whole[0], losses[0], rtol=1e-6)


@pytest.mark.slow
def test_what_stands_at_padding_changes_nothing():
  task, other = mtl.tasks.transcription("text", "ab"), np.where(MASK[..., None], LOGITS, 7.0)
  for values in (task.loss, lambda p, b: task.output(p)["symbols"]):
    changed = values({"x": jnp.asarray(other), "mask": jnp.asarray(MASK)}, {"text": LABELS})
    np.testing.assert_array_equal(values(PADDED, {"text": LABELS}), changed)


@pytest.mark.slow
def test_texts_that_do_not_fit_have_an_infinite_loss_and_no_gradient_of_nan():
  task = mtl.tasks.transcription("text", "ab")
  y = mtl.data.letters(["ababab", "abaab", "abaaa", "abab"], "ab")  # 6, 6, 7 and 4 frames, of which there are five
  losses, gradient = jax.value_and_grad(lambda x: jnp.sum(task.loss(x, {"text": y})[3:]))(jnp.asarray(LOGITS))
  assert np.isinf(task.loss(LOGITS, {"text": y})[:3]).all() and np.isfinite(losses) and np.isfinite(gradient).all()


def test_masked_labels_may_hold_anything():
  task = mtl.tasks.transcription("text", "ab", mask="seen", weight="w")
  batch = {"text": np.where([[True]] * 2 + [[False]] * 2, LABELS, 99), "seen": np.array([1, 1, 0, 0]), "w": np.ones(4)}
  np.testing.assert_array_equal(task.mask(batch), [1, 1, 0, 0])
  plain = mtl.tasks.transcription("text", "ab").loss(PADDED, {"text": LABELS})
  np.testing.assert_allclose(task.loss(PADDED, batch)[:2], plain[:2], rtol=1e-6)
  task.check("t", batch)
  with pytest.raises(mtl.UserError, match=r"mask 'seen' of label 'text' has shape \(4, 3\), expected"):
    task.mask({**batch, "seen": np.ones((4, 3))})


def test_greedy():
  path = [[0, 0, 2, 0, 1, 1, 2], [2, 2, 2, 2, 2, 2, 2], [3, 0, 3, 3, 2, 1, 3]]
  task = mtl.tasks.transcription("text", ["a", "b", " "])
  logits = jax.nn.one_hot(jnp.array(path), 4)
  mask = jnp.arange(7)[None] < jnp.array([[6], [7], [7]])
  found = task.output({"x": logits, "mask": mask})["symbols"]
  assert found.tolist() == [[0, 2, 0, 1, -1, -1, -1], [-1] * 7, [0, 2, 1, -1, -1, -1, -1]]
  assert [task.record({"symbols": own})["text"] for own in found] == ["a ab", "", "a b"]
  no_space = mtl.tasks.transcription("text", "abc").output(logits)["symbols"]
  assert no_space.tolist()[1] == [2, -1, -1, -1, -1, -1, -1]  # spaces alone are left out at both ends


def test_a_wide_beam_finds_every_text():
  for log_probabilities, length, want in zip(decoding.probabilities(*PADDED.values()), LENGTHS, ALL, strict=True):
    found = decoding.beam(log_probabilities, width=1000)
    likely = {one.symbols: np.exp(one.log_probability) for one in found}
    assert likely.keys() == want.keys() and len(found) == len(likely)
    np.testing.assert_allclose([likely[text] for text in want], list(want.values()), rtol=1e-5)
    assert found[0].symbols == max(want, key=want.__getitem__)
    np.testing.assert_allclose(sum(likely.values()), 1, rtol=1e-5)
    assert len(decoding.beam(log_probabilities, width=2)) == min(2, 1 + 2 * int(length > 0))


def test_beam_in_the_task():
  task = mtl.tasks.transcription("text", "ab", beam=8)
  chances = jnp.log(jnp.array([[[0.4, 0.0, 0.6], [0.4, 0.0, 0.6]]]) + 1e-9)
  outputs = {name: values[0] for name, values in task.output(chances).items()}
  assert (np.asarray(outputs["symbols"]) == -1).all() and task.record(outputs) == {"text": "a"}


def test_metrics():
  task = mtl.tasks.transcription("text", "ab ")
  assert task.main_metric == "wer" and not task.higher_is_better
  batch = {"text": mtl.data.letters([" ab a ", ""], "ab ")}
  logits = jax.nn.one_hot(jnp.array([[0, 1, 2, 1, 3, 3], [3, 3, 3, 3, 3, 0]]), 4)
  ones = jnp.ones(2)
  found = {name: float(m.compute(m.update(logits, task.label(batch), ones))) for name, m in task.metrics.items()}
  assert found == {"wer": pytest.approx((1 + 1) / 2), "cer": pytest.approx((1 + 1) / 4)}


@pytest.mark.parametrize(
  ("label", "message"),
  [
    (np.array([[0, 2]]), r"task 't': label 'text' holds 2 in example 0, expected symbols in \[0, 1\]"),
    (np.array([[0, -1], [-1, 0]]), "has a symbol behind -1 in example 1, expected -1 only behind"),
    (np.array([[0.0, 1.0]]), "has dtype float64, expected integers"),
    (np.array([0, 1]), r"has shape \(2,\), expected"),
  ],
)
def test_labels_that_are_none(label, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.tasks.transcription("text", "ab").check("t", {"text": label})


def test_options_and_shapes():
  with pytest.raises(mtl.UserError, match="the alphabet is 'aba', expected symbols, each once"):
    mtl.tasks.transcription("text", "aba")
  with pytest.raises(mtl.UserError, match="beam is -1"):
    mtl.tasks.transcription("text", "ab", beam=-1)
  with pytest.raises(mtl.UserError, match="beam: width is 0"):
    decoding.beam(LOGITS[0], 0)
  task = mtl.tasks.transcription("text", "ab")
  for prediction, message in (
    (LOGITS[..., :2], r"is \(4, 5, 2\), expected logits \(B, T, 3\), the blank last"),
    ({"y": LOGITS}, r"is {'y': \(4, 5, 3\)}, expected"),
    ({"x": LOGITS, "mask": jnp.ones((4, 6), bool)}, r"has the mask \(4, 6\) for logits \(4, 5, 3\)"),
  ):
    with pytest.raises(mtl.UserError, match=message):
      task.loss(prediction, {"text": LABELS})
  with pytest.raises(mtl.UserError, match=r"label 'text' is int32\[4\], expected integers \(4, S\)"):
    task.loss(LOGITS, {"text": LABELS[:, 0]})


def test_letters():
  assert mtl.data.letters([], "ab").shape == (0, 1)
  with pytest.raises(mtl.UserError, match="text 1 has 'c', which is not in the alphabet 'ab'"):
    mtl.data.letters(["a", "bc"], "ab")
  with pytest.raises(mtl.UserError, match="text 0 has 3 letters, expected at most 2: raise length"):
    mtl.data.letters(["aba"], "ab", 2)
