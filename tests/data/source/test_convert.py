"""`as_source`: what it takes, and the one line for everything else, damaged sources included."""

import grain
import jax
import numpy as np
import pytest

import mtl_jax as mtl
from tests.data.source._files import ARRAYS, assert_reads

SPEC = {"x": jax.ShapeDtypeStruct((3,), np.float32)}


class Own:
  """A source of a user's own."""

  def __init__(self, size=4, spec=SPEC, rows=None):
    self.spec, self.size = spec, size
    self.given = rows or (lambda numbers: {"x": np.zeros((len(numbers), 3), np.float32)})

  def __len__(self):
    return self.size

  def rows(self, numbers):
    return self.given(numbers)


def examples(count=20):
  return [{key: values[i] for key, values in ARRAYS.items()} for i in range(count)]


class Records:
  """A source of Grain's, which reads several at once."""

  def __len__(self):
    return 20

  def __getitem__(self, number):
    return examples()[number]

  def __getitems__(self, numbers):
    return [examples()[number] for number in numbers]


@pytest.mark.parametrize(
  "data",
  [ARRAYS, examples(), Records(), grain.MapDataset.range(20).map(examples().__getitem__)],
  ids=["arrays", "list", "random access", "grain"],
)
def test_everything_is_read_by_number(data):
  assert_reads(mtl.data.as_source(data))


def test_a_source_is_taken_as_it_is():
  own = Own()
  assert mtl.data.as_source(own) is own and isinstance(own, mtl.data.Source)
  assert next(iter(mtl.data.batches(own, 2)))["x"].shape == (2, 3)


def test_grain_draws_anew_in_each_epoch():
  draws = grain.MapDataset.range(4).seed(0).random_map(lambda i, rng: {"x": np.float32(rng.random())})
  found = mtl.data.as_source(draws).rows(np.array([1, 5, 1]))["x"]
  assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (3, "train is a int, expected a dictionary of arrays"),
    ([[1.0], [2.0]], "train is a list, expected a dictionary of arrays"),
    (np.zeros(3), "train is a ndarray, expected"),
    ([], "train .list. is empty"),
    (mtl.data.source.stream(lambda: iter(())), "train is a stream, whose examples have no numbers"),
    (Own(size=0), "train .Own. is empty"),
    (Own(spec={}), "the spec of train .Own. is {}, expected"),
    (Own(spec={"x": 3}), "'x' in the spec of train .Own. is 3, expected a jax.ShapeDtypeStruct"),
    (Own(rows=lambda numbers: [1]), "Own gives a list, expected a dictionary"),
    (Own(rows=lambda n: {"x": np.zeros((len(n), 3))}), r"gives 'x' as float64\[1, 3\], expected float32\[1, 3\]"),
    (Own(rows=lambda n: {"x": np.zeros((7, 3), np.float32)}), r"'x' as float32\[7, 3\], expected float32\[1, 3\]"),
    (Own(rows=lambda n: {"x": [0.0] * len(n)}), "gives 'x/0', which is not|gives no 'x'"),
    (Own(rows=lambda n: {"y": np.zeros((len(n), 3))}), "Own gives no 'x', 'y', which is not in its spec"),
    (Own(rows=lambda n: {"x": np.zeros((4, 3), np.float32)[n]}), "no number 4, which is example 0 in its second epoch"),
    ([{"x": "word"}], "entry 'x' of train .list. holds no numbers"),
    (grain.MapDataset.range(4), "train is a RangeMapDataset|example 0 of train .RangeMapDataset. is int"),
  ],
)
def test_mistakes_are_told_in_one_line(data, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.data.as_source(data, "train")
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("last", "message"),
  [
    ({"x": np.zeros(4)}, r"example 2 of data .list. gives 'x' as float64\[1, 4\], expected float64\[1, 3\]"),
    (None, "example 2 of data .list. is NoneType, expected a dictionary"),
  ],
)
def test_examples_that_differ_are_named(last, message):
  source = mtl.data.as_source([{"x": np.zeros(3)}, {"x": np.zeros(3)}, last])
  with pytest.raises(mtl.UserError, match=message):
    source.rows(np.array([1, 2]))


def test_rows_that_differ_later_are_told_by_the_batches():
  odd = Own(rows=lambda numbers: {"x": np.zeros((len(numbers), 3), np.float64 if 3 in numbers else np.float32)})
  iterator = iter(mtl.data.batches(odd, 2, shuffle=False, sharding=jax.devices()[0]))
  next(iterator)
  with pytest.raises(mtl.UserError, match="Own gives 'x' as float64"):
    next(iterator)
  iterator.close()
