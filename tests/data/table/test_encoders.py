"""Columns as arrays: curves agree with scikit-learn's, words with their vocabulary, and JSON holds what is learned."""

import json
import zlib

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import QuantileTransformer

from mtl_jax.data.table.columns import Found
from mtl_jax.data.table.curve import to_normal
from mtl_jax.data.table.encoders import Number, Text, Word
from mtl_jax.data.table.word import MISSING, UNKNOWN


def column(values):
  return pa.chunked_array([pa.array(values)])


def along(curve, values):
  return np.interp(values, curve.knots, curve.heights)


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_the_curve_is_the_quantile_on_the_scale_of_a_normal_distribution(draw):
  rng = np.random.default_rng(0)
  values = getattr(rng, draw)(size=5000)
  reference = QuantileTransformer(n_quantiles=5000, output_distribution="normal").fit(values[:, None])
  inner = np.sort(values)[250:-250]  # the ends, where either is a matter of taste, apart
  np.testing.assert_allclose(along(to_normal(values), inner), reference.transform(inner[:, None])[:, 0], atol=0.02)
  made = along(to_normal(values), values)
  assert abs(made.mean()) < 0.01 and abs(made.std() - 1) < 0.03


def test_ties_are_in_the_middle_of_their_ranks():
  curve = to_normal(np.array([0.0] * 90 + [1.0] * 10))
  np.testing.assert_allclose(curve.heights, [-0.1256613, 1.6448536], atol=1e-6)  # the quantiles of 0.45 and 0.95


def test_numbers():
  values = column(["1", "2", None, "x", "4", "1e39"])
  kind = Number.fit(values, Found("number"))
  assert kind.has_missing and kind.offset == 0
  made = kind.encode(column(["2", None, "1e39", "no"]))
  assert made.dtype == np.float32 and made.shape == (4, 1)
  np.testing.assert_array_equal(np.isnan(made[:, 0]), [False, True, True, True])


def test_numbers_that_float32_would_make_equal_are_told_apart():
  given = 1.7e9 + np.arange(100.0)
  kind = Number.fit(column(given), Found("number"))
  assert len(np.unique(kind.encode(column(given)))) == 100


def test_dates_have_their_place_in_year_and_week():
  given = ["2024-01-01", "2024-12-31", "2024-06-30", None]
  kind = Number.fit(column(given), Found("date", format="%Y-%m-%d"))
  made = kind.encode(column(given))
  assert made.shape == (4, 7) and np.isnan(made[3]).all()
  year = made[:3, [1, 4]]
  assert np.linalg.norm(year[0] - year[1]) < 0.05 < 1.9 < np.linalg.norm(year[0] - year[2])


def test_words():
  values = column(["b"] * 60 + ["a"] * 50 + ["rare"] + [None] * 5)
  kind = Word.fit(values, Found("word"))
  assert kind.known == ("b", "a") and kind.size == 4
  assert kind.encode(column(["a", "b", "rare", "new", None]))[:, 0].tolist() == [3, 2, UNKNOWN, UNKNOWN, MISSING]


def test_booleans_are_words():
  kind = Word.fit(column([True, False] * 10), Found("word"))
  assert kind.encode(column(["true", "false"])).tolist() == kind.encode(column([True, False])).tolist()


def test_many_words_are_hashed_always_alike():
  kind = Word.fit(column([f"w{i}" for i in range(3000)]), Found("word"))
  made = kind.encode(column([f"w{i}" for i in range(3000)] + [None]))[:, 0]
  assert kind.buckets == 8192 and made.min() >= 1 and made.max() < kind.size and made[-1] == MISSING
  assert len(np.unique(made)) > 2400  # of 3000 in 8192 places some 500 meet
  assert kind.encode(column(["w7"])).tolist() == [[int(made[7])]] and made[0] == 2 + zlib.crc32(b"w0") % 8192


def test_text():
  texts = ["The cat sat on the mat", "the dog sat", "A cat and a dog"] * 5
  kind = Text.fit(column([*texts, None]), Found("text"))
  made = kind.encode(column(["the cat", "", "zebra " * 100, None]))
  assert made.shape == (4, kind.length) and made.max() < kind.size
  assert (made[1] == 0).all() and (made[3] == 0).all() and (made[2] != 0).all()
  assert kind.encode(column(["THE CAT"])).tolist() == made[:1].tolist()


@pytest.mark.parametrize("values", [["1", "2"] * 20, ["a", "b"] * 20, ["2024-01-01", "2024-01-02"] * 20])
def test_what_is_learned_is_json(values):
  import mtl_jax.data.table as tables

  table = tables.as_table({"a": values, "y": ["u", "v"] * 20})
  made = tables.fit(table, np.arange(40), {"y": None})
  again = tables.read_preparation(json.loads(json.dumps(made.as_json())))
  assert again == made
