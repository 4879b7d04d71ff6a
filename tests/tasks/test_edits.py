"""Edit distances and error rates against plain Python and jiwer on random texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.tasks.metrics import edits

ALPHABET = "ab "
SPACE = 2


def distance(found, right):
  """Levenshtein's table, cell by cell."""
  table = [[i + j if not i * j else 0 for j in range(len(right) + 1)] for i in range(len(found) + 1)]
  for i in range(1, len(found) + 1):
    for j in range(1, len(right) + 1):
      other = table[i - 1][j - 1] + (found[i - 1] != right[j - 1])
      table[i][j] = min(other, table[i - 1][j] + 1, table[i][j - 1] + 1)
  return table[-1][-1]


def pairs(count=60, longest=9):
  rng = np.random.default_rng(0)
  texts = ["".join(rng.choice(list(ALPHABET), rng.integers(0, longest))) for _ in range(2 * count)]
  return texts[:count] + ["", "ab", "", "ab b"], texts[count:] + ["", "", "a", "ab  b "]


@pytest.fixture(scope="module")
def both():
  found, right = pairs()
  return found, right, *(jnp.asarray(mtl.data.letters(*own)) for own in ((found, ALPHABET, 12), (right, ALPHABET, 9)))


def test_distances_of_symbols_and_words(both):
  found, right, *arrays = both
  want = [distance(f, r) for f, r in zip(found, right, strict=True)]
  np.testing.assert_array_equal(jax.jit(edits.edit_distance)(*arrays), want)
  want = [distance(f.split(), r.split()) for f, r in zip(found, right, strict=True)]
  np.testing.assert_array_equal(edits.word_distance(*arrays, SPACE), want)
  np.testing.assert_array_equal(edits.num_words(arrays[1], SPACE), [len(r.split()) for r in right])
  want = [distance([f] * bool(f), [r] * bool(r)) for f, r in zip(found, right, strict=True)]
  np.testing.assert_array_equal(edits.word_distance(*arrays, None), want)


def rates(found, right, alphabet, weights=None):
  metrics, space = mtl.tasks.metrics, alphabet.find(" ")
  arrays = [jnp.asarray(mtl.data.letters(texts, alphabet, 40)) for texts in (found, right)]

  def decide(prediction, label):
    return tuple(mtl.tasks.decoding.stripped(values, space) for values in (prediction, label))

  ones = jnp.ones(len(found)) if weights is None else jnp.asarray(weights)
  each = (metrics.word_error_rate(decide, space), metrics.character_error_rate(decide))
  return [float(metric.compute(metric.update(*arrays, ones))) for metric in each]


def test_error_rates_are_of_the_whole_data_set(both):
  found, right, *_ = both
  words, letters = ([distance(f(a), f(b)) for a, b in zip(found, right, strict=True)] for f in (str.split, str.strip))
  want = sum(words) / sum(len(r.split()) for r in right), sum(letters) / sum(len(r.strip()) for r in right)
  np.testing.assert_allclose(rates(found, right, ALPHABET), want, rtol=1e-6)


def test_known_figures():
  letters = "abcdefghijklmnopqrstuvwxyz "
  # The examples of jiwer's README: one of two words, 5 of 11 letters (w-o-r-l-d for d-u-c-k).
  assert rates(["hello duck"], ["hello world"], letters) == pytest.approx([0.5, 5 / 11])
  assert rates(["kitten"], ["sitting"], letters) == pytest.approx([1, 3 / 7])
  assert rates(["a b c d"], ["a"], letters)[0] == 3  # above 1: three words too many


def test_error_rates_are_those_of_jiwer():
  jiwer = pytest.importorskip("jiwer")
  rng = np.random.default_rng(1)
  words = ["a", "ab", "ba", "bb", "aab"]
  found, right = ([" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(80)] for _ in range(2))
  want = jiwer.wer(right, found), jiwer.cer(right, found)
  np.testing.assert_allclose(rates(found, right, ALPHABET), want, rtol=1e-6)


def test_texts_of_weight_zero_and_empty_ones():
  assert rates(["a b", "zz"], ["a c", "a b"], "abcz ", [1.0, 0.0])[0] == 0.5
  assert np.isnan(rates(["a"], [""], ALPHABET)).all()
  assert rates(["a", "b"], ["", "b"], ALPHABET) == [1, 1]  # a word where there is silence


def test_batches_merge_to_the_same(both):
  metric = mtl.tasks.metrics.word_error_rate(lambda prediction, label: (prediction, label), SPACE)
  arrays = both[2:]
  whole = metric.update(*arrays, jnp.ones(64))
  parts = [metric.update(*(values[i : i + 16] for values in arrays), jnp.ones(16)) for i in range(0, 64, 16)]
  assert float(metric.compute(metric.merge(parts))) == float(metric.compute(whole))
