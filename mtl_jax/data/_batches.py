"""`batches`, shuffled training batches of any source as a Grain pipeline that can be resumed exactly."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from mtl_jax._core.errors import UserError
from mtl_jax.data._entries import packing
from mtl_jax.data._order import Order
from mtl_jax.data._place import Part, batch_of, parts_of, place
from mtl_jax.data.arrays import leaves_of, take
from mtl_jax.data.mixed import Mixed, placed_lanes
from mtl_jax.data.mixture import Mixture
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.protocol import Reading, Source, read, reading_of
from mtl_jax.data.source.stream import Stream

if TYPE_CHECKING:
  import grain


def batches(
  data: Any,
  batch_size: int,
  *,
  seed: int = 0,
  shuffle: bool = True,
  repeat: bool = True,
  drop_remainder: bool = True,
  sharding: Any = None,
) -> grain.IterDataset:
  """Batches of a source, in an order that depends on nothing but the seed.

  Each epoch is a permutation of its own, and with `repeat` a batch may span the end of one epoch and the start of the
  next, so that every example is seen equally often. `iterator.get_state()` is a small dictionary for the checkpoint;
  after `iterator.set_state(state)` the next batch is the one that would have followed, prefetched or not.

  Args:
    data: `{key: (N, ...)}`, all of the same length, entries may be trees of arrays; or whatever else `as_source` takes.
      A `stream` has batches and an order of its own. A `mixture` gives batches `{"<source>/<key>": (b, ...)}`.
    batch_size: B, the examples of a batch, over all devices.
    seed: Of the order, at least 0.
    shuffle: Permute each epoch; False: in the order of the source.
    repeat: Go on without end; False: one epoch.
    drop_remainder: Leave out the last, smaller batch. Only matters without `repeat`, which has no last batch.
    sharding: A `jax.sharding.Sharding` or device. Batches are then placed there by a background thread, two
      ahead. With several processes each passes the same source and seed and reads its own rows. None: numpy arrays.

  Returns:
    The data set; `iter` of it gives batches `{key: (B, ...)}`.

  Raises:
    UserError: No examples, arrays of different lengths, a batch size below 1 or above N (when the remainder is
      dropped) or that does not divide over the devices, or a negative seed.

  >>> import numpy as np
  >>> ds = batches({"x": np.arange(5)}, 2, shuffle=False)
  >>> iterator = iter(ds)
  >>> [next(iterator)["x"].tolist() for _ in range(3)]
  [[0, 1], [2, 3], [4, 0]]
  """
  import grain

  from mtl_jax.data._numbered import numbered

  _check_options(batch_size, seed)
  if isinstance(data, Mixture):
    rows_from, placed = _mixed(data, data.batch_size(batch_size), seed if shuffle else None, repeat, sharding)
  else:
    rows_from, placed = _of_one(data, batch_size, seed if shuffle else None, repeat, drop_remainder, sharding)

  def start_at(number):
    iterator = iter(rows_from(number).map(placed))
    return iterator if sharding is None else grain.experimental.ThreadPrefetchDatasetIterator(iterator, 2)

  return numbered(start_at)


_Read = tuple[Callable[[int], Any], Callable[[Any], Any]]
"""What is read of the batches from a number on, as a `grain.IterDataset`, and a function that makes a batch of it."""


def _mixed(data: Mixture, batch_size: int, seed: int | None, repeat: bool, sharding: Any) -> _Read:
  """Batches of a mixture, which have no end."""
  import grain

  if not repeat:
    raise UserError("the sources of a mixture end at different times: leave out repeat=False.")
  mixed = Mixed(data, batch_size, seed)
  for lane in mixed.lanes:
    _check_divides(batch_of(dict(lane.spec), lane.size), sharding)
  parts, placed = placed_lanes(mixed, sharding)
  reading = Reading(*map(max, zip(*map(reading_of, data.sources.values()), strict=True)))

  def rows_from(start):
    return _read_ahead(grain.MapDataset.range(start, sys.maxsize).map(functools.partial(mixed, parts=parts)), reading)

  return rows_from, placed


def _of_one(data: Any, batch_size: int, seed: int | None, repeat: bool, drop_remainder: bool, sharding: Any) -> _Read:
  """Batches of a source or a stream."""
  if isinstance(data, Stream):
    sizes, rows_from = _drawn(data, batch_size, seed is not None, repeat)
  else:
    data = packing(as_source(data))
    _check_size(len(data), batch_size, drop_remainder)
    sizes, rows_from = _numbered_rows(data, Order(len(data), seed), batch_size, repeat, drop_remainder)
  shapes = {size: batch_of(data.spec, size) for size in sizes}
  for batch in shapes.values():
    _check_divides(batch, sharding)
  parts = {size: parts_of(batch, sharding) for size, batch in shapes.items()}

  def placed(element):
    size, rows = element
    return place(dict(zip(parts[size], rows, strict=True)), shapes[size], sharding)

  return lambda start: rows_from(start, parts), placed


_RowsFrom = Callable[[int, Mapping[int, Sequence[Part]]], Any]
"""The batches from a number on, as a `grain.IterDataset` of (size, rows of each part); the parts by size."""


def _numbered_rows(
  source: Source, order: Order, batch_size: int, repeat: bool, drop_remainder: bool
) -> tuple[set[int], _RowsFrom]:
  """The sizes that batches of a source have, and the batches."""
  import grain

  end = sys.maxsize if repeat else len(source)
  count = end // batch_size if drop_remainder else -(-end // batch_size)
  sizes = {min(batch_size, end - number * batch_size) for number in (0, count - 1)}

  def rows_from(start, parts):
    # Grain's shuffle and batch cost 20 us per example. Here an element is a whole batch, drawn by its number.
    ds = grain.MapDataset.range(start, count).map(_Rows(source, order, batch_size, end, parts))
    return _read_ahead(ds, reading_of(source))

  return sizes, rows_from


def _read_ahead(ds: Any, reading: Reading) -> Any:
  """The elements of a `grain.MapDataset` one after the other, read ahead by threads and processes."""
  import grain
  from absl import flags

  threads, workers = reading
  ds = ds.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
  if not workers:
    return ds
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()  # Grain's processes read flags, which have no values in programs without absl.app
  return ds.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))


class _Rows(NamedTuple):
  """The size of a batch and the rows of each of its parts, by its number; other processes get it too."""

  source: Source
  order: Order
  batch_size: int
  end: int
  parts: Mapping[int, Sequence[Part]]

  def __call__(self, number: int) -> tuple[int, list[Any]]:
    start = number * self.batch_size
    numbers = self.order(start, min(start + self.batch_size, self.end))
    return len(numbers), [read(self.source, numbers[first:last]) for first, last in self.parts[len(numbers)]]


def _drawn(stream: Stream, batch_size: int, shuffle: bool, repeat: bool) -> tuple[set[int], _RowsFrom]:
  """The size that batches of a stream have, and the batches."""
  from mtl_jax.data._drawn import Drawn

  if not (shuffle and repeat):
    raise UserError("a stream has an order of its own and no end: leave out shuffle and repeat.")

  def rows_from(start, parts):
    if start:
      told = f"a stream cannot go back: {start} batches are drawn and dropped; exact only if they are those of before."
      warnings.warn(told, stacklevel=3)
    ranges = parts[batch_size]
    ds = Drawn(stream, batch_size, start)
    return ds.map(lambda batch: (batch_size, [take(batch, slice(*part)) for part in ranges]))

  return {batch_size}, rows_from


def _check_options(batch_size: int, seed: int) -> None:
  if batch_size < 1:
    raise UserError(f"batch_size is {batch_size}, expected at least 1.")
  if seed < 0:
    raise UserError(f"seed is {seed}, expected at least 0.")


def _check_size(size: int, batch_size: int, drop_remainder: bool) -> None:
  if drop_remainder and batch_size > size:
    raise UserError(
      f"batch_size is {batch_size}, but the data set has {size} examples, less than one batch: "
      f"pass batch_size={size} or less."
    )


def _check_divides(shapes: Any, sharding: Any) -> None:
  if not isinstance(sharding, jax.sharding.Sharding):
    return
  for path, leaf in leaves_of(shapes).items():
    try:
      sharding.shard_shape(leaf.shape)
    except ValueError as error:
      raise UserError(
        f"{leaf.shape[0]} examples of {path!r}, {leaf.shape[1:]} each, do not divide over the {sharding.num_devices} "
        "devices of the sharding: choose another batch_size, and drop_remainder=True."
      ) from error
