"""Small files of every format, with the same examples."""

import numpy as np

ARRAYS = {
  "x": np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32),
  "y": np.arange(20, dtype=np.int32),
}


def assert_reads(source, arrays=None):
  """The source has the examples, in any order and in later epochs, with its spec."""
  arrays = ARRAYS if arrays is None else arrays
  assert len(source) == len(next(iter(arrays.values())))
  assert {key: (leaf.shape, leaf.dtype) for key, leaf in source.spec.items()} == {
    key: (values.shape[1:], values.dtype) for key, values in arrays.items()
  }
  numbers = np.array([7, 0, len(source) - 1, 7, len(source) + 2])
  found = source.rows(numbers)
  assert found.keys() == arrays.keys()
  for key, values in arrays.items():
    assert found[key].dtype == values.dtype
    np.testing.assert_array_equal(found[key], values[numbers % len(source)])
