"""`pad_batches`: all examples once, in order, in batches of one size."""

import numpy as np
import pytest

from mtl_jax import UserError, data


@pytest.mark.parametrize(("size", "batch_size"), [(1, 1), (1, 4), (8, 4), (9, 4), (7, 4)])
def test_valid_rows_are_the_arrays(size, batch_size):
  arrays = {"x": np.arange(2 * size).reshape(size, 2), "y": np.arange(size)}
  found = list(data.pad_batches(arrays, batch_size))
  assert len(found) == -(-size // batch_size)
  for batch, valid in found:
    assert valid.dtype == np.float32 and valid.shape == (batch_size,)
    assert batch["x"].shape == (batch_size, 2) and batch["y"].shape == (batch_size,)
  valid = np.concatenate([valid for _, valid in found]) > 0
  for key, values in arrays.items():
    rows = np.concatenate([batch[key] for batch, _ in found])
    np.testing.assert_array_equal(rows[valid], values)
    assert (rows[~valid] == values[-1]).all()


def test_parts_of_an_entry():
  (batch, valid), (last, last_valid) = data.pad_batches({"x": {"a": np.arange(3), "b": (np.arange(3.0),)}}, 2)
  assert batch["x"]["a"].tolist() == [0, 1] and last["x"]["a"].tolist() == [2, 2] == last["x"]["b"][0].tolist()
  assert valid.tolist() == [1, 1] and last_valid.tolist() == [1, 0]


@pytest.mark.parametrize(
  ("arrays", "batch_size", "message"),
  [({"x": np.ones(3)}, 0, "batch_size is 0"), ({"x": np.ones(0)}, 2, "empty"), ({}, 2, "no arrays")],
)
def test_errors_come_at_once(arrays, batch_size, message):
  with pytest.raises(UserError, match=message):
    data.pad_batches(arrays, batch_size)
