"""What `check` looks at in sources that are not in memory, and the batches that a probe looks at."""

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data.sample import few, sample


def source(x):
  return mtl.data.source.mapped({"x": x}, lambda example, rng: example)


def test_examples_are_spread_evenly():
  found, told = sample(source(np.arange(3000)))
  assert len(found["x"]) == 1000 and found["x"][:2].tolist() == [0, 3] and "every 3th example" in told
  assert sample(source(np.arange(1024))).told == ""


def test_mistakes_say_that_they_are_of_a_sample():
  x = np.zeros(3000)
  x[6] = np.nan
  with pytest.raises(
    mtl.UserError, match=r"the first in example 2: fill .* \(counted in a sample, every 3th example\)\.$"
  ):
    mtl.data.check(source(x), {})
  with pytest.raises(mtl.UserError, match="the first in example 6: fill them in or drop those examples.$"):
    mtl.data.check({"x": x}, {})


@pytest.mark.parametrize(
  ("lengths", "batch_size", "sizes"),
  [
    ((1000,), 100, [100, 100]),  # 256 examples are enough
    ((1000,), 512, [256]),
    ((1000,), 4, [4] * 8),  # and eight batches
    ((3,), 100, [3]),
    ((50, 7), 12, [6]),
    ((50, 20), 12, [6, 6, 6]),
    ((9, 9, 9), 2, [1] * 8),  # at least one of each source
  ],
)
def test_few_batches_are_no_larger_than_those_of_training(lengths, batch_size, sizes):
  arrays = [{"x": np.arange(length) + 1000 * i} for i, length in enumerate(lengths)]
  data = mtl.data.mixture({str(i): own for i, own in enumerate(arrays)}) if len(arrays) > 1 else arrays[0]
  found = few(data, batch_size)
  for i, own in enumerate(arrays):
    seen = [batch[f"{i}/x" if len(arrays) > 1 else "x"] for batch in found]
    assert list(map(len, seen)) == sizes
    np.testing.assert_array_equal(np.concatenate(seen), own["x"][: sum(sizes)])
