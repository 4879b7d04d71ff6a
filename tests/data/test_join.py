"""`join`: partly labelled data sets as one, by a key in common."""

import numpy as np
import pytest

import mtl_jax as mtl

DEPTH = {"id": ["c", "a", "d"], "x": np.array([[3.0], [1.0], [4.0]]), "depth": np.array([0.3, 0.1, 0.4], np.float32)}
KIND = {
  "id": ["a", "b"],
  "x": np.array([[1.0], [2.0]]),
  "kind": {"main": np.array([1, 2]), "sub": np.array([True, True])},
}


def test_every_example_once_with_masks():
  found = mtl.data.join({"depth": DEPTH, "kind": KIND}, on="id")
  assert found["x"].ravel().tolist() == [3, 1, 4, 2]  # in order of first appearance
  np.testing.assert_array_equal(found["depth"], np.array([0.3, 0.1, 0.4, np.nan], np.float32))
  assert found["kind"]["main"].tolist() == [0, 1, 0, 2] and found["kind"]["sub"].tolist() == [False, True, False, True]
  assert found["has_depth"].tolist() == [1, 1, 1, 0] and found["has_kind"].tolist() == [0, 1, 0, 1]
  assert list(found) == ["x", "depth", "kind", "has_depth", "has_kind"]
  tasks = {"depth": mtl.tasks.regression("depth", mask="has_depth")}
  mtl.data.check({key: found[key] for key in ("x", "depth", "has_depth")}, tasks)


def test_entries_that_nobody_shares_are_filled_in_by_the_next():
  """An entry of the first set that the second completes has the values of both."""
  found = mtl.data.join({"a": {"id": [1], "x": [1.0]}, "b": {"id": [2], "x": [2.0]}}, on="id")
  assert found["x"].tolist() == [1, 2]
  nan = {"id": [1], "x": [np.nan]}
  assert np.isnan(mtl.data.join({"a": nan, "b": nan}, on="id")["x"]).all()


@pytest.mark.parametrize(
  ("sets", "message"),
  [
    ({}, "join got no data set"),
    ({"a": {"x": [1.0]}}, "data set 'a' has no 'id', only 'x'"),
    ({"a": {"id": [1, 2], "x": [1.0]}}, "data set 'a': array 'x' has 1 examples, expected 2 as in 'id'"),
    ({"a": {"id": [1, 2, 1], "x": [1.0] * 3}}, "data set 'a' has id .*1.* 2 times, expected each example once"),
    ({"a": {"id": [[1, 2]], "x": [1.0]}}, "data set 'a' has ids of several axes"),
    ({"a": DEPTH, "b": {**KIND, "x": np.array([[1], [2]])}}, r"'x' is float64\[1\] in 'a' and int64\[1\] in 'b'"),
    ({"a": DEPTH, "b": {**KIND, "x": np.array([[9.0], [2.0]])}}, "'x' of the example a is another in 'b' than before"),
    ({"a": DEPTH, "b": {**KIND, "x": {"p": np.zeros(2)}}}, "'x' has other parts in 'a' than in 'b'"),
    ({"a": DEPTH, "b": {**KIND, "has_a": np.zeros(2)}}, "data set 'b' has an entry 'has_a', which is to be a mask"),
  ],
)
def test_mistakes_are_told_in_one_line(sets, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.join(sets, on="id")
  assert "\n" not in str(error.value)
