"""Rows in parts: each row once, no row twice in the table, and every way to divide them."""

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.data import table as tables

N = 200
TABLE = tables.as_table(
  {
    "kind": [str(i % 3) for i in range(N)],
    "person": [f"p{i // 4}" for i in range(N)],
    "day": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(N)],
    "some": ["x" if i else None for i in range(N)],
  }
)

ORIGIN, OTHER = tables.origin_of("a.csv", N), tables.origin_of("t.csv", 5)


@pytest.mark.parametrize(
  ("how", "by"), [("random", None), ("stratified", "kind"), ("grouped", "person"), ("time", "day")]
)
def test_every_row_is_in_one_part(how, by):
  every = [tables.split(TABLE, ORIGIN, how, by), *(tables.fold(TABLE, ORIGIN, i, 4, how, by) for i in range(4))]
  for found in every[: 1 if how == "time" else 5]:
    parts = [part.tolist() for part in found[2:]]
    assert all(parts) and len({*sum(parts, [])}) == len(sum(parts, []))
    assert how == "time" or sorted(sum(parts, [])) == list(range(N))
  train, valid, test = every[0][2:]
  if how == "grouped":
    assert not {i // 4 for i in train} & {i // 4 for i in [*valid, *test]}
  if how == "stratified":
    assert all(len({i % 3 for i in part}) == 3 for part in (train, valid, test))
  if how == "time":
    day = np.asarray(TABLE["day"].to_pylist(), "datetime64[D]")
    assert day[train].max() <= day[valid].min() and day[valid].max() <= day[test].min()
  else:
    assert sorted(np.concatenate([one.test for one in every[1:]]).tolist()) == list(range(N))


def test_rows_that_are_there_again_are_left_out():
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 6, 500), rng.integers(0, 6, 500)
  words = ["xyz"[i % 3] if i else None for i in b]
  found = tables.distinct(tables.as_table({"a": a, "b": words}))
  first = {}
  for i, row in enumerate(zip(a, words, strict=True)):
    first.setdefault(row, i)
  assert found.tolist() == sorted(first.values())


def test_rows_to_test_on_from_another_table():
  test = TABLE.slice(0, 5).select(["some", "day", "person", "kind"])
  found = tables.with_test(TABLE, ORIGIN, test, OTHER)
  assert found.origin.at(N + 1) == "t.csv line 3" and found.origin.at(7) == "a.csv line 9"
  assert found.test.tolist() == list(range(N, N + 5)) and found.table.num_rows == N + 5
  assert found.table.slice(N).to_pydict() == TABLE.slice(0, 5).to_pydict()
  with pytest.raises(UserError, match="t.csv: there is no column 'kind'"):
    tables.with_test(TABLE, ORIGIN, test.drop_columns(["kind"]), OTHER)
  other = tables.as_table({**test.to_pydict(), "kind": [1] * 5})
  with pytest.raises(UserError, match="t.csv: column 'kind' is of type int64, expected large_string as in a.csv"):
    tables.with_test(TABLE, ORIGIN, other, OTHER)


@pytest.mark.parametrize(
  ("how", "by", "line"),
  [
    ("grouped", None, "a.csv: to split it grouped needs a column: name it, --by COLUMN"),
    ("grouped", "persn", "a.csv, split by 'persn': there is no column 'persn' .did you mean 'person'"),
    ("stratified", "some", "a.csv: column 'some', to split by, lacks 1 values"),
    ("time", "person", "a.csv: column 'person' holds text, 'p0', that is no time"),
  ],
)
def test_ways_to_divide_that_there_are_not(how, by, line):
  with pytest.raises(UserError, match=line):
    tables.split(TABLE, ORIGIN, how, by)


def test_folds_that_there_are_not():
  with pytest.raises(UserError, match="fold is 4 of 4 folds"):
    tables.fold(TABLE, ORIGIN, 4, 4)
  with pytest.raises(UserError):
    tables.fold(TABLE, ORIGIN, 0, N + 1)
