"""`batches`: every example once an epoch, exact resumption, placement, clean exit, errors."""

import gc
import json
import subprocess
import sys
import textwrap
import threading

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mtl_jax import UserError, data
from mtl_jax.data import _place
from mtl_jax.data.source.in_memory import InMemory


def _arrays(size):
  rows = np.arange(size)
  return {"x": np.stack([rows, -rows], axis=1).astype(np.float32), "y": rows.astype(np.int32)}


def _stream(size, batch_size, count, **options):
  iterator = iter(data.batches(_arrays(size), batch_size, **options))
  return np.concatenate([next(iterator)["y"] for _ in range(count)])


SIZES = [(10, 5), (10, 3), (7, 7), (1, 1), (97, 32)]


@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_every_example_once_an_epoch(size, batch_size):
  stream = _stream(size, batch_size, -(-3 * size // batch_size), seed=3)
  for epoch in range(3):
    assert sorted(stream[epoch * size : (epoch + 1) * size]) == list(range(size))


@pytest.mark.parametrize(("size", "batch_size"), SIZES)
def test_without_shuffling_the_order_is_the_arrays(size, batch_size):
  count = -(-3 * size // batch_size)
  stream = _stream(size, batch_size, count, shuffle=False)
  assert stream.tolist() == [i % size for i in range(count * batch_size)]


def test_arrays_stay_aligned():
  iterator = iter(data.batches(_arrays(11), 4, seed=1))
  for _ in range(6):
    batch = next(iterator)
    assert batch["x"].shape == (4, 2) and batch["x"].dtype == np.float32 and batch["y"].dtype == np.int32
    np.testing.assert_array_equal(batch["x"][:, 0], batch["y"])


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
  size = 50
  orders = [_stream(size, size, 3, seed=seed).reshape(3, size) for seed in (0, 1)]
  # All six differ: in particular the second epoch of a seed is not the first epoch of the next seed.
  assert len({tuple(order) for order in np.concatenate(orders)}) == 6
  np.testing.assert_array_equal(orders[0].ravel(), _stream(size, size, 3, seed=0))


@pytest.mark.parametrize(
  ("size", "drop_remainder", "sizes"),
  [(10, True, [4, 4]), (10, False, [4, 4, 2]), (8, False, [4, 4]), (3, False, [3])],
)
@pytest.mark.parametrize("device", [False, True])
def test_one_epoch(size, drop_remainder, sizes, device):
  sharding = jax.devices()[0] if device else None
  ds = data.batches(_arrays(size), 4, repeat=False, drop_remainder=drop_remainder, sharding=sharding)
  found = [np.asarray(batch["y"]) for batch in ds]
  assert [len(y) for y in found] == sizes
  seen = np.concatenate(found)
  assert len(set(seen.tolist())) == len(seen) and set(seen.tolist()) <= set(range(size))


def test_a_batch_may_be_larger_than_the_data_when_the_remainder_is_kept():
  assert _stream(3, 7, 1, shuffle=False, drop_remainder=False).tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("sharding", [None, "device", "sharding"])
# Ten examples in batches of 4: at the start, within an epoch, at a batch across its end, after two epochs.
@pytest.mark.parametrize("taken", [0, 1, 2, 3, 5, 7])
def test_resumes_with_the_batch_that_would_have_followed(sharding, taken):
  device = jax.devices()[0]
  place = {None: None, "device": device, "sharding": SingleDeviceSharding(device)}[sharding]
  ds = data.batches(_arrays(10), 4, seed=5, sharding=place)
  iterator = iter(ds)
  for _ in range(taken):
    next(iterator)
  state = json.loads(json.dumps(iterator.get_state()))
  expected = [np.asarray(next(iterator)["y"]).tolist() for _ in range(6)]

  fresh = iter(data.batches(_arrays(10), 4, seed=5, sharding=place))
  next(fresh)  # Its prefetching has begun, and must be thrown away.
  for resumed in (fresh, iterator):
    resumed.set_state(state)
    assert resumed.get_state() == state
    assert [np.asarray(next(resumed)["y"]).tolist() for _ in range(6)] == expected
  fresh.close()
  iterator.close()


def test_placement():
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  sharding = NamedSharding(mesh, PartitionSpec("data"))
  iterator = iter(data.batches(_arrays(8), 4, sharding=sharding))
  batch = next(iterator)
  iterator.close()
  assert all(isinstance(value, jax.Array) and value.sharding == sharding for value in batch.values())


def test_several_processes_read_and_place_their_own_rows(monkeypatch):
  """A process that holds the second half of each batch reads no other row."""
  device = jax.devices()[0]
  sharding = SingleDeviceSharding(device)
  monkeypatch.setattr(SingleDeviceSharding, "is_fully_addressable", property(lambda self: False))
  # device_put over processes compares the batch between them.
  monkeypatch.setattr(jax, "device_put", lambda *args: pytest.fail("device_put called"))
  shapes = _place.batch_of({"y": jax.ShapeDtypeStruct((), np.int32), "x": jax.ShapeDtypeStruct((2,), np.int32)}, 4)
  assert _place.parts_of(shapes, sharding) == [(0, 4)]
  whole = {"y": np.arange(4, dtype=np.int32), "x": np.arange(8, dtype=np.int32).reshape(4, 2)}
  placed = _place.place({(0, 4): whole}, shapes, sharding)
  assert isinstance(placed["y"], jax.Array) and placed["y"].tolist() == [0, 1, 2, 3]
  assert placed["x"].tolist() == whole["x"].tolist()

  half = {device: (slice(2, 4),)}
  monkeypatch.setattr(SingleDeviceSharding, "addressable_devices_indices_map", lambda self, shape: half)
  asked = []

  class Asked(InMemory):
    def rows(self, numbers):
      asked.append(numbers.tolist())
      return super().rows(numbers)

  monkeypatch.setattr(_place.jax, "make_array_from_callback", lambda shape, sharding, own: own((slice(2, 4),)))
  iterator = iter(data.batches(Asked(_arrays(8)), 4, shuffle=False, sharding=sharding))
  assert [next(iterator)["y"].tolist() for _ in range(2)] == [[2, 3], [6, 7]]
  iterator.close()
  assert asked[:2] == [[2, 3], [6, 7]]


@pytest.mark.parametrize("device", [False, True])
def test_parts_of_an_entry_stay_aligned(device):
  rows = np.arange(11)
  arrays = {"x": {"a": rows, "b": (np.stack([-rows, rows], axis=1), None)}, "y": rows.tolist()}
  iterator = iter(data.batches(arrays, 4, seed=1, sharding=jax.devices()[0] if device else None))
  for _ in range(4):
    batch = next(iterator)
    assert batch["x"]["b"][1] is None and batch["x"]["b"][0].shape == (4, 2)
    np.testing.assert_array_equal(batch["x"]["a"], batch["y"])
    np.testing.assert_array_equal(batch["x"]["b"][0][:, 0], -batch["y"])
  with pytest.raises(UserError, match="array 'x/b/0' has 11 examples, expected 10 as in 'x/a'"):
    data.batches({"x": {"a": rows[1:], "b": (rows,)}}, 4)


def _prefetching():
  return [thread for thread in threading.enumerate() if thread.name.startswith("grain-thread-prefetch")]


def test_a_forgotten_iterator_leaves_no_thread():
  assert not _prefetching()
  iterator = iter(data.batches(_arrays(8), 4, sharding=jax.devices()[0]))
  next(iterator)
  assert _prefetching()
  del iterator
  gc.collect()
  assert not _prefetching()


@pytest.mark.slow
def test_threads_end_before_the_interpreter():
  # Exit functions run last in, first out: the one registered first sees what all others have left.
  script = """
    import atexit, threading
    atexit.register(lambda: print([t.name for t in threading.enumerate() if t.daemon]))
    import jax, numpy as np
    from mtl_jax import data
    iterator = iter(data.batches({"x": np.zeros((64, 4), np.float32)}, 8, sharding=jax.devices()[0]))
    next(iterator)
    print(any(t.daemon for t in threading.enumerate()))
    unplaced = iter(data.batches({"x": np.zeros(64)}, 8))
    next(unplaced)
  """
  command = [sys.executable, "-W", "error::ResourceWarning", "-c", textwrap.dedent(script)]
  done = subprocess.run(command, capture_output=True, text=True, timeout=120)
  assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True", "[]"], "")


@pytest.mark.parametrize(
  ("arrays", "options", "message"),
  [
    (_arrays(8), {"batch_size": 0}, "batch_size is 0, expected at least 1"),
    (_arrays(8), {"batch_size": 9}, "batch_size is 9, but the data set has 8 examples"),
    (_arrays(8), {"batch_size": 4, "seed": -1}, "seed is -1, expected at least 0"),
    (_arrays(0), {"batch_size": 4}, "the data set is empty"),
    ({}, {"batch_size": 4}, "no arrays"),
    ({"x": np.zeros(3), "y": np.zeros(2)}, {"batch_size": 1}, "array 'y' has 2 examples, expected 3 as in 'x'"),
  ],
)
def test_errors(arrays, options, message):
  with pytest.raises(UserError, match=message) as error:
    data.batches(arrays, **options)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "size"), [({"batch_size": 12}, 12), ({"batch_size": 16, "repeat": False}, 4)])
def test_batches_must_divide_over_the_devices(options, size):
  sharding = NamedSharding(AbstractMesh((8,), ("data",)), PartitionSpec("data"))
  with pytest.raises(UserError, match=f"{size} examples of 'x', .2,. each, do not divide over the 8 devices"):
    data.batches(_arrays(20), drop_remainder=False, sharding=sharding, **options)
