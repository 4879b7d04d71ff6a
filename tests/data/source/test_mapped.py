"""`mapped`: the same results however they are read, new ones in each epoch, and what is refused."""

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data.source import mapped

ARRAYS = {"x": np.arange(20, dtype=np.float32).reshape(10, 2), "y": np.arange(10)}


def noisy(example, rng):
  return {**example, "x": example["x"] + rng.normal(size=2).astype(np.float32)}


def stream(source, count, skip=0):
  iterator = iter(mtl.data.batches(source, 4, seed=1))
  iterator.set_state({"next_index": skip})
  found = [next(iterator) for _ in range(count)]
  iterator.close()
  return found


def assert_same(found, expected):
  for one, other in zip(found, expected, strict=True):
    for key in other:
      np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("options", [{"threads": 3}, {"workers": 1}], ids=["threads", "workers"])
def test_threads_processes_and_resuming_change_nothing(options):
  expected = stream(mapped(ARRAYS, noisy), 6)
  assert_same(stream(mapped(ARRAYS, noisy, **options), 3, skip=3), expected[3:])


def test_draws_depend_on_seed_epoch_and_example_alone():
  source, other = mapped(ARRAYS, noisy), mapped(ARRAYS, noisy, seed=1)
  numbers = np.array([3, 13, 23, 3])
  noise = source.rows(numbers)["x"] - ARRAYS["x"][3]
  np.testing.assert_array_equal(noise[0], noise[3])
  assert len({tuple(row) for row in noise}) == 3
  assert (source.rows(numbers)["x"] != other.rows(numbers)["x"]).all()


def test_a_new_spec_and_sources_of_sources():
  longer = mapped(ARRAYS, lambda example, rng: {"z": np.append(example["x"], example["y"]), "n": 1})
  twice = mapped(longer, lambda example, rng: {"z": example["z"] * 2})
  assert longer.spec["z"].shape == (3,) and twice.rows(np.array([4]))["z"].tolist() == [[16.0, 18.0, 8.0]]


@pytest.mark.parametrize(
  ("function", "message"),
  [
    (lambda example, rng: None, "returned None for example 0, expected a dictionary"),
    (lambda example, rng: {"x": example["x"][: example["y"] + 1]}, r"for example 1, gives 'x' as .*\[1, 2\], expected"),
    (lambda example, rng: {"x": 0} if example["y"] else {"y": 0}, "for example 1, gives no 'y', 'x', which is not"),
  ],
)
def test_mistakes_are_told_in_one_line(function, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mapped(ARRAYS, function).rows(np.array([1]))
  assert "\n" not in str(error.value)


def test_negative_numbers_are_refused():
  with pytest.raises(mtl.UserError, match="workers of mapped is -1, expected at least 0"):
    mapped(ARRAYS, noisy, workers=-1)
