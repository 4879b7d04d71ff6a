"""What is known of a data set without its examples, as JSON and back."""

import collections
import json

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data import describe
from mtl_jax.data.description import differences, read

Point = collections.namedtuple("Point", "row column")
TREE = {
  "x": {"image": np.zeros((4, 2, 3), np.float32), "none": None, "dtype": {"shape": np.zeros(4, bool)}},
  "y": (np.zeros(4, np.int64), (np.zeros((4, 0), np.float16),)),
  "z": jax.numpy.zeros((4, 1), jax.numpy.bfloat16),
}


def test_json_and_back():
  written = describe(TREE, {"mean": np.float32(0.5), "classes": ("no", "yes"), "names": {3: None}})
  found = read(json.loads(json.dumps(written.as_json())))
  assert found == written and found.about == {"mean": 0.5, "classes": ["no", "yes"], "names": {"3": None}}
  expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), TREE)
  assert found.arrays == expected
  assert found.as_json()["arrays"]["x"]["image"] == {"shape": [2, 3], "dtype": "float32"}
  assert differences(found, written) == []


def test_trees_of_other_kinds_are_dictionaries_of_their_parts():
  assert describe({"x": Point(np.zeros((2, 3)), np.zeros(2))}).as_json()["arrays"]["x"] == {
    "row": {"shape": [3], "dtype": "float64"},
    "column": {"shape": [], "dtype": "float64"},
  }


def test_last_digits_of_what_is_said_may_differ():
  one, near, other = (describe({"x": np.zeros(1)}, {"mean": [1.0, value]}) for value in (0.1, 0.1 + 1e-12, 0.11))
  assert differences(one, near) == []
  assert differences(one, other) == ["'about/mean/1' was 0.1, is 0.11"]
  assert differences(one, describe({}, {})) == [
    "'x' was float64[], is missing", "'about/mean/0' was 1.0, is missing", "'about/mean/1' was 0.1, is missing",
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("about", "message"),
  [
    ({"classes": {"a"}}, r"about holds what JSON does not \(an object of type set\): say it in numbers, words"),
    ({"mean": np.float32("nan")}, "about holds what JSON does not .Out of range float"),
    ({"mean": {(1, 2): 3}}, "about holds what JSON does not .keys must be str"),
  ],
)
def test_what_json_does_not_hold_is_refused(about, message):
  with pytest.raises(mtl.UserError, match=message) as caught:
    describe({"x": np.zeros(1)}, about)
  assert "\n" not in str(caught.value)


def _of(x):
  return {"arrays": {"x": x}, "about": {}}


@pytest.mark.parametrize(
  ("stored", "message"),
  [
    ([], "expected an object of arrays and about"),
    ({"arrays": {}}, "expected an object of arrays and about"),
    ({"arrays": [], "about": {}}, r"arrays is \[\], expected an object"),
    (_of(3), "'x' is 3, expected an object with shape and dtype"),
    (_of({"a": [True]}), "'x/a/0' is True, expected"),
    (_of({"shape": [-1], "dtype": "float32"}), r"the shape of 'x' is \[-1\], expected a list of sizes"),
    (_of({"shape": [True], "dtype": "float32"}), r"the shape of 'x' is \[True\]"),
    (_of({"shape": 3, "dtype": "float32"}), "the shape of 'x' is 3"),
    (_of({"dtype": "float32"}), "the shape of 'x' is None"),
    (_of({"shape": [], "dtype": "flaot32"}), "the dtype of 'x' is 'flaot32', expected one of numbers"),
    (_of({"shape": [], "dtype": "object"}), "the dtype of 'x' is 'object'"),
    (_of({"shape": [], "dtype": "f4,i4"}), "the dtype of 'x' is 'f4,i4'"),
    (_of({"shape": [], "dtype": ""}), "the dtype of 'x' is ''"),
  ],
)
def test_damaged_descriptions_are_refused(stored, message):
  with pytest.raises(mtl.UserError, match=message) as caught:
    read(stored)
  assert "\n" not in str(caught.value)
