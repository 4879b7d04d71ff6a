"""`check`: each kind of unusable data set is refused in one line that names it."""

import jax
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
    ({"x": np.ones((3, 2))}, "array 'kind' has 4 examples, expected 3 as in 'x': .*fit\\(train={task: arrays, ...}\\)"),
    ({"x": None, "X": np.ones((4, 2))}, "no input 'x', only 'kind', 'size', 'has_size', 'X'"),
    ({"x": None, "xs": np.ones((4, 2))}, r"did you mean 'xs'\?"),
    ({"x": np.array([[0, 1], [np.nan, 1], [np.inf, np.nan], [0, 0]])}, "'x' has 3 NaN .* first in example 1"),
    ({"x": np.full((4, 2), np.nan, ml_dtypes.bfloat16)}, "'x' has 8 NaN .* first in example 0"),
    ({"note": np.array(["a", None, 1, 2], object)}, "array 'note' holds None, expected numbers: fill it in"),
    (
      {"note": np.array(["a", "b", "c", "d"])},
      r"array 'note' holds words such as 'a', .*np.unique\(words, return_inverse=True\)",
    ),
    ({"scale": np.float32(3)}, "array 'scale' is a scalar"),
    ({"kind": np.array([0, 1, 2, 3])}, r"task 'kind': label 'kind' ranges over \[0, 3\], expected \[0, 2\]"),
    ({"has_size": np.ones(4)}, "task 'size': label 'size' has 1 NaN"),
    (
      {"kind": ["cat", "dog", "cat", "cow"]},
      "task 'kind': label 'kind' holds words such as 'cat', expected numbers: encode",
    ),
    ({"kind": [0, None, 1, 2]}, "task 'kind': label 'kind' holds None, .* missing, by 0 and with mask="),
    ({"kind": np.array([0, 1, np.nan, 2])}, "label 'kind' has 1 NaN values, the first in example 2: set mask="),
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


BIG = 2**32 + 1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"x": np.array([1, 2, BIG, 3])}, "input 'x' holds 4294967297 in example 2, which is 1 in JAX's int32: number ids"),
    ({"x": np.array([[1, 2], [-BIG, 0], [0, 0], [0, 0]])}, "input 'x' holds -4294967297 in example 1, which is -1 in"),
    ({"x": np.full(4, BIG, np.uint64)}, "input 'x' holds 4294967297 in example 0, which is 1 in JAX's uint32"),
    (
      {"x": np.array([0.0, -1e300, np.inf, 0.0])},
      r"input 'x' holds -1e\+300 in example 1, which is -inf in JAX's float32",
    ),
    ({"x": np.array([0, 1e300j, 0, 0])}, "input 'x' holds 1e\\+300j in example 1, which is .*inf.* in JAX's complex64"),
    ({"x": np.ones(4, np.longdouble)}, "input 'x' has dtype float128, expected numbers that JAX holds"),
    ({"x": np.ones(4, ">i4")}, "input 'x' has dtype >i4, expected numbers that JAX holds"),
    (
      {"x": np.array([2.0**24, 5, 2.0**24 + 1, 0])},
      "input 'x' holds 16777216 and, in example 2, 16777217, which are one number in JAX's float32: store ids as int",
    ),
    ({"user": np.array([1, 2, 3, BIG])}, "array 'user' holds 4294967297 in example 3"),
    ({"size": np.array([0, 0, BIG, 0])}, "task 'size': label 'size' holds 4294967297 in example 2"),
    ({"size": np.array([0, 0, 1e300, 0])}, r"task 'size': label 'size' holds 1e\+300 in example 2, which is inf"),
    ({"has_size": np.array([1, 0, -(2**40), 1])}, "array 'has_size' holds -1099511627776 in example 2"),
  ],
)
def test_numbers_that_jax_would_change_are_refused(changes, message):
  with pytest.raises(UserError, match=message) as error:
    data.check(_arrays(**changes), TASKS)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "changes",
  [
    {"x": np.array([-(2**31), 2**31 - 1, 0, 0])},
    {"x": np.array([2**32 - 1, 0, 0, 0], np.uint64)},
    {"x": np.array([3.4e38, 1e-300, -0.0, 2.0**24])},
    {"x": np.array([2.0**24 + 1, 0.5, 2.0**24, 0])},  # measured, not counted
    {"x": np.array([2.0**24 + 1, 0, 1, 2])},  # rounded, but still different
    {"x": np.zeros((4, 0))},
    {"size": np.array([1, -(2**62), 2, 3])},  # example 1 has no label
    {"size": np.array([1, 1e300, 2, 3])},
    {"user": np.array([np.nan, np.inf, 0, 0])},
  ],
)
def test_numbers_that_jax_holds_are_accepted(changes):
  data.check(_arrays(**changes), TASKS)


def test_with_64_bits_all_of_them_are_held():
  with jax.enable_x64(True):
    for x in ([1, 2, BIG, 3], [0.0, 1e300, 1.0, 2.0], [2.0**24, 5, 2.0**24 + 1, 0]):
      data.check(_arrays(x=np.array(x), user=np.full(4, BIG)), TASKS)


NESTED = {"image": np.ones((4, 2), np.float32), "text": (np.zeros(4, int), None)}


def test_accepts_trees_of_arrays_and_lists():
  data.check(_arrays(x=NESTED), TASKS)
  data.check(_arrays(x=[[1, 2], (3, 4), [5, 6], [7, 8]]), TASKS)
  data.check(_arrays(x=(1, 2, 3, 4)), TASKS)
  data.check(_arrays(x=None, image=NESTED, z=np.ones(4)), TASKS, ("image", "z"))


@pytest.mark.parametrize(
  ("x", "message"),
  [
    (NESTED | {"image": np.ones((3, 2))}, "array 'x/text/0' has 4 examples, expected 3 as in 'x/image'"),
    (NESTED | {"image": np.float32(1)}, "array 'x/image' is a scalar, expected one entry per example"),
    (NESTED | {"image": np.array([0, 1, np.nan, np.nan])}, "input 'x/image' has 2 NaN .* first in example 2"),
    (NESTED | {"text": np.array(list("abcd"))}, "input 'x/text' holds words such as 'a', expected numbers"),
    (NESTED | {"text": np.array([1, BIG, 2, 3])}, "input 'x/text' holds 4294967297 in example 1"),
    ({"text": None}, r"array 'x' is {'text': None}, which holds no array"),
    ([[1, 2], [3]], "array 'x' cannot be read as an array"),
  ],
)
def test_parts_of_inputs_are_named_by_their_paths(x, message):
  with pytest.raises(UserError, match=message) as error:
    data.check(_arrays(x=x), TASKS)
  assert "\n" not in str(error.value)
