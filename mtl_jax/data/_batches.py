"""`batches`, shuffled training batches of in-memory arrays as a Grain pipeline that can be resumed exactly."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import as_arrays, leaves_of, take
from mtl_jax.data.checking import check_lengths

if TYPE_CHECKING:
  import grain


def batches(
  arrays: Mapping[str, Any],
  batch_size: int,
  *,
  seed: int = 0,
  shuffle: bool = True,
  repeat: bool = True,
  drop_remainder: bool = True,
  sharding: Any = None,
) -> grain.IterDataset:
  """Batches of arrays that fit in memory, in an order that depends on nothing but the seed.

  Each epoch is a permutation of its own, and with `repeat` a batch may span the end of one epoch and the start of the
  next, so that every example is seen equally often. `iterator.get_state()` is a small dictionary for the checkpoint;
  after `iterator.set_state(state)` the next batch is the one that would have followed, prefetched or not.

  Args:
    arrays: `{key: (N, ...)}`, all of the same length; entries may be trees of arrays.
    batch_size: B, the examples of a batch, over all devices.
    seed: Of the order, at least 0.
    shuffle: Permute each epoch; False: in the order of the arrays.
    repeat: Go on without end; False: one epoch.
    drop_remainder: Leave out the last, smaller batch. Only matters without `repeat`, which has no last batch.
    sharding: A `jax.sharding.Sharding` or device. Batches are then placed there by a background thread, two
      ahead. With several processes each passes the same arrays and seed and copies its own rows. None: numpy arrays.

  Returns:
    The data set; `iter` of it gives batches `{key: (B, ...)}`.

  Raises:
    UserError: No examples, arrays of different lengths, a batch size below 1 or above N (when the remainder is
      dropped) or that does not divide over the devices, or a negative seed.

  >>> ds = batches({"x": np.arange(5)}, 2, shuffle=False)
  >>> iterator = iter(ds)
  >>> [next(iterator)["x"].tolist() for _ in range(3)]
  [[0, 1], [2, 3], [4, 0]]
  """
  import grain

  from mtl_jax.data._closing import closed_at_exit

  arrays = as_arrays(arrays)
  size = check_lengths(arrays)
  _check_options(size, batch_size, seed, drop_remainder)
  indices = _order(size, batch_size, seed if shuffle else None, repeat)

  # Grain's shuffle and batch cost 20 us per example. Here an element is a whole batch, drawn by its number.
  length = sys.maxsize if repeat else size // batch_size if drop_remainder else -(-size // batch_size)
  if isinstance(sharding, jax.sharding.Sharding):
    _check_divides(arrays, [indices(0).size] if repeat else {indices(0).size, indices(length - 1).size}, sharding)
  in_line = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
  ds = grain.MapDataset.range(length).map(lambda number: _gather(arrays, indices(number), sharding))
  ds = ds.to_iter_dataset(in_line)
  if sharding is None:
    return ds
  return closed_at_exit(grain.experimental.ThreadPrefetchIterDataset(ds, prefetch_buffer_size=2))


def _order(size: int, batch_size: int, seed: int | None, repeat: bool) -> Callable[[int], np.ndarray]:
  """`indices(number)`, the rows of batch `number` of the stream of epochs; without a seed in the arrays' order."""

  @functools.lru_cache(maxsize=2)
  def epoch(number: int) -> np.ndarray:
    return np.arange(size) if seed is None else np.random.default_rng([seed, number]).permutation(size)

  def indices(number: int) -> np.ndarray:
    start = number * batch_size
    stop = start + batch_size if repeat else min(start + batch_size, size)
    epochs = range(start // size, -(-stop // size))
    return np.concatenate([epoch(e)[max(start - e * size, 0) : stop - e * size] for e in epochs])

  return indices


def _gather(arrays: Mapping[str, Any], rows: np.ndarray, sharding: Any) -> dict[str, Any]:
  """Some rows of the arrays, where they belong; each process copies those of its own devices alone."""
  if not isinstance(sharding, jax.sharding.Sharding) or sharding.is_fully_addressable:
    batch = take(arrays, rows)
    return batch if sharding is None else jax.device_put(batch, sharding)

  def placed(leaf: np.ndarray) -> jax.Array:
    @functools.cache  # devices that differ in other axes than that of the examples hold the same
    def own(start: int, stop: int) -> np.ndarray:
      return leaf[rows[start:stop]]

    def part(index: Any) -> np.ndarray:
      start, stop, _ = index[0].indices(rows.size)
      return own(start, stop)[:, *index[1:]]

    # device_put would compare the batch between processes, a collective that may not run beside the step's.
    return jax.make_array_from_callback((rows.size, *leaf.shape[1:]), sharding, part)

  return {key: jax.tree.map(placed, value) for key, value in arrays.items()}


def _check_options(size: int, batch_size: int, seed: int, drop_remainder: bool) -> None:
  if batch_size < 1:
    raise UserError(f"batch_size is {batch_size}, expected at least 1.")
  if drop_remainder and batch_size > size:
    raise UserError(
      f"batch_size is {batch_size}, but the data set has {size} examples, less than one batch: "
      "choose a smaller batch_size or drop_remainder=False."
    )
  if seed < 0:
    raise UserError(f"seed is {seed}, expected at least 0.")


def _check_divides(arrays: Mapping[str, Any], sizes: Iterable[int], sharding: jax.sharding.Sharding) -> None:
  for path, value in leaves_of(arrays).items():
    for size in sizes:
      try:
        sharding.shard_shape((size, *value.shape[1:]))
      except ValueError as error:
        raise UserError(
          f"{size} examples of {path!r}, {value.shape[1:]} each, do not divide over the {sharding.num_devices} devices "
          "of the sharding: choose another batch_size, and drop_remainder=True."
        ) from error
