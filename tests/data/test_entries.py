"""Data sets of many equal entries: few arrays to a batch, and the examples of each entry."""

import jax
import numpy as np
import pytest

from mtl_jax._core.packed import Packed
from mtl_jax.data import batches
from mtl_jax.data._entries import packing
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.protocol import read

ROWS = np.arange(11)


def arrays(count):
  labels = {f"y{i}": (100 * i + ROWS).astype(np.float32) for i in range(count)}
  return {"x": np.stack([ROWS, -ROWS], axis=1), **labels, "z": {"part": ROWS.astype(np.int32)}}


def test_few_entries_stay_as_they_are():
  source = InMemory(arrays(15))
  assert packing(source) is source
  assert type(next(iter(batches(arrays(15), 4)))) is dict


class Plain:
  """Not in memory."""

  spec = InMemory(arrays(20)).spec

  def __len__(self):
    return len(ROWS)

  def rows(self, numbers):
    return InMemory(arrays(20)).rows(numbers)


def test_sources_that_are_not_in_memory_stay_as_they_are():
  source = Plain()
  assert packing(source) is source


def test_many_entries_are_one_array_and_each_is_what_it_was():
  whole = InMemory(arrays(20))
  source = packing(whole)
  assert len(source) == 11 and list(source.spec) == list(whole.spec)
  assert sorted(leaf.shape for leaf in jax.tree.leaves(source.spec)) == [(), (2,), (20,)]
  numbers = np.array([3, 10, 11 + 4, 22])  # also of later epochs
  rows, expected = read(source, numbers), whole.rows(numbers)
  assert isinstance(rows, Packed) and sorted(leaf.shape for leaf in jax.tree.leaves(rows)) == [(4,), (4, 2), (4, 20)]
  for key, entry in expected.items():
    jax.tree.map(np.testing.assert_array_equal, rows[key], entry)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"repeat": False, "drop_remainder": False}])
def test_batches_are_those_of_the_entries_one_by_one(options):
  packed, plain = iter(batches(arrays(20), 4, seed=2, **options)), iter(batches(Plain(), 4, seed=2, **options))
  count = 3 if "repeat" in options else 7
  for _ in range(count):
    one, other = next(packed), next(plain)
    assert isinstance(one, Packed) and type(other) is dict and list(one) == list(other)
    jax.tree.map(np.testing.assert_array_equal, dict(one), other)


def test_they_go_to_devices_and_go_on_where_they_stopped():
  device = jax.devices()[0]
  ds = batches(arrays(20), 4, seed=2, sharding=device)
  iterator = iter(ds)
  next(iterator)
  state = iterator.get_state()
  expected = next(iterator)
  iterator.close()
  again = iter(ds)
  again.set_state(state)
  found = next(again)
  again.close()
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
  jax.tree.map(np.testing.assert_array_equal, dict(found), dict(expected))
  np.testing.assert_array_equal(found["y7"] - 700, found["z"]["part"])
