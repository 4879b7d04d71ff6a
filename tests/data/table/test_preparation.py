"""From rows to arrays: learned from training rows alone, for any order of columns, with one line for mistakes."""

import inspect

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.data import table as tables

ROWS = 60


def origin(name, count=ROWS):
  return tables.origin_of(name, count)


def people(count=ROWS, seed=0):
  rng = np.random.default_rng(seed)
  age = rng.integers(18, 90, count)
  return {
    "age": [None if i % 7 == 0 else str(a) for i, a in enumerate(age)],
    "job": [f"job {a % 4}" for a in age],
    "id": [f"p{i}" for i in range(count)],
    "income": [("high" if a > 50 else "low") if i % 5 else None for i, a in enumerate(age)],
    "hours": (40 + 0.1 * age).round(1).tolist(),
  }


TARGETS = {"income": None, "hours": None}


@pytest.fixture(scope="module")
def prepared():
  return tables.fit(tables.as_table(people()), np.arange(40), TARGETS)


def test_arrays(prepared):
  made = prepared.arrays(tables.as_table(people()), origin("people.csv"))
  assert set(made) == {"x", "income", "has_income", "hours"}
  assert {key: (value.shape, value.dtype.name) for key, value in made["x"].items()} == {
    "numbers": ((ROWS, 1), "float32"),
    "missing": ((ROWS, 1), "bool"),
    "words": ((ROWS, 1), "int32"),
  }
  assert made["has_income"].tolist() == [float(i % 5 > 0) for i in range(ROWS)]
  assert made["x"]["missing"][:, 0].tolist() == [i % 7 == 0 for i in range(ROWS)]
  assert np.isfinite(made["x"]["numbers"]).all()
  assert prepared.notes == {"id": "not read: names the row"}
  assert prepared.targets["income"].classes == ("high", "low") and prepared.targets["hours"].type == "regression"


def test_only_training_rows_are_learned_from():
  """What other rows hold changes nothing but what is said of them."""
  one, other = people(), people()
  for row in range(40, ROWS):
    other["age"][row], other["job"][row], other["hours"][row] = "1000", "unheard of", 1e6
  made = [tables.fit(tables.as_table(data), np.arange(40), TARGETS) for data in (one, other)]
  assert made[0].as_json() == made[1].as_json()


def test_columns_in_another_order_and_more_of_them(prepared):
  table = people()
  other = dict(reversed(list(table.items()))) | {"more": ["x"] * ROWS}
  for key, values in prepared.inputs(tables.as_table(table), origin("a")).items():
    np.testing.assert_array_equal(prepared.inputs(tables.as_table(other), origin("a"))[key], values)


def test_unknown_words_and_rows_of_nothing(prepared):
  made = prepared.inputs(tables.as_table({"age": [None, "?"], "job": ["astronaut", None]}), origin("a"))
  assert made["words"].tolist() == [[0], [1]] and made["missing"].all() and not made["numbers"].any()


@pytest.mark.parametrize(
  ("changed", "line"),
  [
    ({"age": None}, "new.csv: there is no column 'age', only "),
    (
      {"age": ["old"] * ROWS},
      "new.csv line 2, column 'age': found 'old', and no numbers in 60 of 60 rows",
    ),
    ({"income": ["none of these"] * ROWS}, "new.csv line 2: target 'income' is 'none of these', a class that no train"),
    ({"hours": [*[1.0] * 59, None]}, "new.csv line 61: target 'hours' is missing, which it never was in training"),
    ({"hours": ["1", "many", *["2"] * 58]}, "new.csv line 3: target 'hours' is 'many', expected a finite number"),
    ({"hours": [1.0, float("inf"), *[2.0] * 58]}, "new.csv line 3: target 'hours' is inf, expected a finite number"),
  ],
)
def test_mistakes_in_new_rows(prepared, changed, line):
  data = {key: values for key, values in (people() | changed).items() if values is not None}
  with pytest.raises(UserError, match=line) as error:
    prepared.arrays(tables.as_table(data), origin("new.csv"))
  assert "\n" not in str(error.value)


def test_dates_of_another_format_are_told():
  days = [f"2024-01-{1 + i % 28:02}" for i in range(ROWS)]
  made = tables.fit(tables.as_table({"day": days, "y": ["u", "v"] * 30}), np.arange(40), {"y": None})
  other = tables.as_table({"day": ["31.01.2024", "01.02.2024"]})
  with pytest.raises(UserError, match="new.csv line 2, column 'day': found '31.01.2024', and no dates in 2 of 2 rows"):
    made.inputs(other, origin("new.csv", 2))


@pytest.mark.parametrize(
  ("changed", "targets", "line"),
  [
    ({}, {"incom": None}, r"a.csv: there is no target 'incom' \(did you mean 'income'\?\), only age, job, id"),
    (
      {"income": ["low"] * ROWS},
      {"income": None},
      "a.csv: target 'income' has one value, 'low', expected at least two",
    ),
    ({"income": [None] * ROWS}, {"income": None}, "a.csv: target 'income' has no labels"),
    (
      {"hours": ["x", *map(str, range(59))]},
      {"hours": "regression"},
      "a.csv line 2: target 'hours' is 'x', expected a",
    ),
    (
      {"hours": [*["1"] * 59, "2"]},
      {"hours": "regression"},
      "a.csv: target 'hours' has fewer than two values in the tr",
    ),
    (
      {"income": [*["low", "high"] * 29, "odd", "low"]},
      {"income": None},
      "a.csv line 60: class 'odd' of target 'income' is in no training row",
    ),
    ({"income": [f"u{i}" for i in range(ROWS)] * 3}, {"income": None}, "'income' has 180 classes in 180 rows"),
    ({key: ["same"] * ROWS for key in ("age", "job", "hours")}, {"income": None}, "a.csv: no column is left to learn"),
  ],
)
def test_tables_that_cannot_be_learned(changed, targets, line):
  data = people(len(next(iter(changed.values()), [0] * ROWS)))
  if len(data["income"]) > ROWS:
    changed = {"income": [f"u{i}" for i in range(len(data["income"]))]}
  with pytest.raises(UserError, match=line) as error:
    tables.fit(tables.as_table(data | changed), np.arange(40), targets, what=origin("a.csv", 200))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("given", "found"),
  [
    ("a:classification, b", {"a": "classification", "b": None}),
    (["a", "b:regression"], {"a": None, "b": "regression"}),
    ({"a": None}, {"a": None}),
  ],
)
def test_targets_in_words(given, found):
  assert tables.parse(given) == found


@pytest.mark.parametrize(
  ("given", "line"),
  [
    ("", "no targets"),
    ("a,a", "target 'a' is named twice"),
    ("a:class", "target 'a': unknown type 'class': choose from classification, regression"),
    ("a/b", "target 'a/b' has a slash"),
  ],
)
def test_targets_that_are_none(given, line):
  with pytest.raises(UserError, match=line):
    tables.parse(given)


@pytest.mark.parametrize(
  ("values", "kind"),
  [
    (["0", "1"] * 30, "classification"),
    ([True, False] * 30, "classification"),
    ([*range(20)] * 3, "classification"),
    (list(range(60)), "regression"),
    ([0.5, 1.5] * 30, "regression"),
    ([*range(19), *range(41)], "regression"),
    ([*range(15), *range(15), *range(15), *[0] * 15], "classification"),
    (["a", "b", "c"] * 20, "classification"),
  ],
)
def test_types_are_told_from_values(values, kind):
  table = tables.as_table({"x": list(range(60)), "y": values})
  assert tables.fit(table, np.arange(60), {"y": None}).targets["y"].type == kind


def test_classes_that_are_numbers_are_in_their_order():
  table = tables.as_table({"x": list(range(60)), "y": ["10", "9", "b"] * 20})
  assert tables.fit(table, np.arange(60), {"y": None}).targets["y"].classes == ("9", "10", "b")


def test_answers_are_in_the_words_and_units_of_the_table(prepared):
  outputs = {
    "income": {"class": np.array([0, 1]), "probability": np.array([0.1, 0.9])},
    "hours": {"value": np.array([40.0, 41.0]), "low": np.array([39.0, 40.0]), "high": np.array([41.0, 42.0])},
  }
  found = prepared.answers(outputs)
  assert list(found) == ["income", "income_probability_low", "hours", "hours_low", "hours_high"]
  assert found["income"] == ["high", "low"]


def test_numbers_of_mean_zero_and_standard_deviation_one():
  from sklearn.preprocessing import StandardScaler

  prepared = tables.fit(tables.as_table(people()), np.arange(40), TARGETS, scaling="standard")
  assert tables.read_preparation(prepared.as_json()) == prepared
  (knots,), (heights,) = prepared.curves()
  age = np.array([float(a) for a in people()["age"] if a is not None])
  train = np.array([float(a) for a in people()["age"][:40] if a is not None])
  expected = StandardScaler().fit(train[:, None]).transform(age[:, None])[:, 0]
  offset = prepared.columns["age"].offset
  np.testing.assert_allclose(np.interp(age - offset, knots, heights), expected, rtol=1e-5, atol=1e-6)
  assert np.interp(1e9, knots, heights) == 8.0
  with pytest.raises(UserError, match="unknown scaling .standart. .did you mean .standard..."):
    inspect.unwrap(tables.fit)(tables.as_table(people()), np.arange(40), TARGETS, scaling="standart")


def test_targets_that_are_rare_may_be_focused_on(prepared):
  batch = {"income": np.array([0, 1, 1]), "has_income": np.ones(3, np.float32)}
  logits = np.array([[-1.0], [0.5], [3.0]], np.float32)
  plain, focused = (prepared.targets["income"].task(focal=gamma).loss(logits, batch) for gamma in (0.0, 2.0))
  ratio = np.asarray(focused) / np.asarray(plain)
  assert ratio[2] < ratio[0] < ratio[1] < 1.0
