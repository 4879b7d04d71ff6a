"""`check`: each kind of unusable data set is refused in one line that names it."""

import ml_dtypes
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, data

TASKS = {"kind": mtl.tasks.classification("kind", 3), "size": mtl.tasks.regression("size", mask="has_size")}


def _arrays(**changes):
  arrays = {
    "x": np.ones((4, 2), np.float32),
    "kind": np.array([0, 1, 2, 0]),
    "size": np.array([1.0, np.nan, 2.0, 3.0], np.float32),
    "has_size": np.array([1, 0, 1, 1], np.float32),
  }
  return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, ml_dtypes.bfloat16, bool])
def test_accepts_usable_data(dtype):
  data.check(_arrays(x=np.ones((4, 2), dtype)), TASKS)


def test_inputs_of_each_task_are_checked():
  arrays = _arrays(image=np.array([[0.0], [1.0], [np.inf], [np.nan]]))
  data.check(arrays, TASKS)  # Not an input here.
  with pytest.raises(UserError, match="input 'image' has 2 NaN or infinite values, the first in example 2"):
    data.check(arrays, TASKS, inputs={"kind": "x", "size": "image"})


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"x": np.ones((3, 2))}, "array 'kind' has 4 examples, expected 3 as in 'x'"),
    ({"x": None, "X": np.ones((4, 2))}, "no input 'x', only 'kind', 'size', 'has_size', 'X'"),
    ({"x": None, "xs": np.ones((4, 2))}, r"did you mean 'xs'\?"),
    ({"x": np.array([[0, 1], [np.nan, 1], [np.inf, np.nan], [0, 0]])}, "'x' has 3 NaN .* first in example 1"),
    ({"x": np.full((4, 2), np.nan, ml_dtypes.bfloat16)}, "'x' has 8 NaN .* first in example 0"),
    ({"note": np.array(["a", None, 1, 2], object)}, "array 'note' has dtype object, expected numbers"),
    ({"note": np.array(["a", "b", "c", "d"])}, "array 'note' has dtype <U1, expected numbers"),
    ({"scale": np.float32(3)}, "array 'scale' is a scalar"),
    ({"kind": np.array([0, 1, 2, 3])}, r"task 'kind': label 'kind' ranges over \[0, 3\], expected \[0, 2\]"),
    ({"has_size": np.ones(4)}, "task 'size': label 'size' has 1 NaN"),
    ({"kind": None}, "task 'kind': the data has no label 'kind'"),
  ],
)
def test_refuses(changes, message):
  with pytest.raises(UserError, match=message) as error:
    data.check(_arrays(**changes), TASKS)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(("arrays", "message"), [({}, "no arrays"), ({"x": np.ones((0, 2))}, "the data set is empty")])
def test_refuses_nothing(arrays, message):
  with pytest.raises(UserError, match=message):
    data.check(arrays, {})
