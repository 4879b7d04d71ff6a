"""`stream`: batches in their order, made anew at the end, drawn again when a run goes on."""

import itertools

import jax
import numpy as np
import pytest

import mtl_jax as mtl


def batches(sizes):
  return lambda: ({"x": np.full((size, 2), i, np.float32)} for i, size in enumerate(sizes))


def test_batches_are_placed_in_their_order_and_begin_anew():
  stream = mtl.data.source.stream(batches([4, 4, 4]))
  iterator = iter(mtl.data.batches(stream, 4, sharding=jax.devices()[0]))
  found = list(itertools.islice(iterator, 5))
  iterator.close()
  assert [int(batch["x"][0, 0]) for batch in found] == [0, 1, 2, 0, 1]
  assert all(isinstance(batch["x"], jax.Array) for batch in found)


def test_going_on_draws_again_and_says_so():
  iterator = iter(mtl.data.batches(mtl.data.source.stream(batches([4, 4, 4])), 4))
  iterator.set_state({"next_index": 4})
  with pytest.warns(UserWarning, match="a stream cannot go back: 4 batches are drawn and dropped"):
    assert next(iterator)["x"][0, 0] == 1
  assert iterator.get_state() == {"next_index": 5}


def test_check_and_description_take_the_first_batch():
  stream = mtl.data.source.stream(batches([4]))
  assert mtl.data.describe(stream).arrays["x"].shape == (2,)
  mtl.data.check(stream, {})
  bad = mtl.data.source.stream(lambda: iter([{"x": np.full((4, 2), np.nan)}]))
  with pytest.raises(mtl.UserError, match=r"input 'x' has 8 NaN .* \(in the first batch of the stream\)\.$"):
    mtl.data.check(bad, {})


SPEC = {"x": jax.ShapeDtypeStruct((3,), np.float32)}


@pytest.mark.parametrize(
  ("stream", "options", "message"),
  [
    (mtl.data.source.stream(batches([4, 3])), {}, r"the stream gives 'x' as float32\[3, 2\], expected float32\[4, 2\]"),
    (
      mtl.data.source.stream(batches([4]), SPEC),
      {},
      r"the stream gives 'x' as float32\[4, 2\], expected float32\[4, 3\]",
    ),
    (mtl.data.source.stream(batches([])), {}, "the stream gives no batch: make_iterator must return a new iterator"),
    (mtl.data.source.stream(lambda: iter([3])), {}, "the stream gives a int, expected a dictionary"),
    (mtl.data.source.stream(batches([4])), {"shuffle": False}, "a stream has an order of its own and no end"),
  ],
)
def test_mistakes_are_told_in_one_line(stream, options, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    list(itertools.islice(mtl.data.batches(stream, 4, **options), 2))
  assert "\n" not in str(error.value)
