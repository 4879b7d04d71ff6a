"""What columns hold is told from their values."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from mtl_jax.data.table.columns import dates, look, numbers


def column(values):
  return pa.chunked_array([pa.array(values)])


ROWS = [f"row {i}" for i in range(200)]


@pytest.mark.parametrize(
  ("values", "name", "kind", "note"),
  [
    (["1", "2.5", None], "a", "number", ""),
    (["1,200", "-3", "+4e2"], "a", "number", ""),
    (["$7.50", "$8"], "a", "number", ""),
    (["45 %", "3%"], "a", "number", ""),
    (["1", "x", *map(str, range(40))], "a", "number", "1 words such as 'x' taken as missing"),
    (["red", "blue", "red"], "a", "word", ""),
    (["1", "x", "2", "y"], "a", "word", ""),
    (["yes", "no"], "a", "word", ""),
    ([True, False], "a", "word", ""),
    ([1, 2, None], "a", "number", ""),
    ([1.0, 2.0, float("-inf")], "a", "number", "1 infinite values taken as missing"),
    (["2024-01-31", "2023-12-01"], "a", "date", ""),
    (["31.01.2024", "01.12.2023"], "a", "date", ""),
    ([datetime.date(2024, 1, 31), datetime.date(2023, 1, 31)], "a", "date", ""),
    (["x", "x"], "a", "none", "always x"),
    ([None, None], "a", "none", "nothing in it"),
    (list(range(30)), "user_id", "none", "names the row"),
    (list(range(30)), "age", "number", ""),
    ([f"u{i:x}" for i in range(200)], "key", "none", "another word in each row"),
    ([f"the {i} of a longer text" for i in range(200)], "a", "text", ""),
    ([[1], [2]], "a", "none", "of type list<item: int64>"),
  ],
)
def test_kinds(values, name, kind, note):
  found = look(column(values), name)
  assert (found.kind, found.note) == (kind, note)


def test_numbers_of_text():
  given = ["1,200", " 7", "-.5e1", "$3.25", "12 %", "x", None, "1.2.3", "--1", "inf", "nan"]
  found = numbers(pa.chunked_array([pa.compute.utf8_trim_whitespace(pa.array(given))]))
  np.testing.assert_array_equal(found, [1200, 7, -5, 3.25, 12] + [np.nan] * 6)


def test_dates_are_days():
  first = datetime.datetime(1970, 1, 2, 12)
  for values, form in (([first], None), (["1970-01-02 12:00:00"], "%Y-%m-%d %H:%M:%S")):
    assert dates(column(values), form).tolist() == [1.5]
  assert np.isnan(dates(column(["no date", None]), "%Y-%m-%d")).all()
