"""The batches of a mixture by their numbers: how many examples of each source, which, and in which arrays."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import FROM, Packed
from mtl_jax.data._order import Order
from mtl_jax.data._place import Part, batch_of, parts_of, place
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.mixture import Mixture
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.protocol import Source, read
from mtl_jax.data.views import WEIGHT, path_of

_BLOCK = 1000
"""Turns after which each source has had its share."""
_AT_ONCE = 64
"""Batches whose examples are drawn at once: of many sources each takes its time."""
_UNEVEN = 8
"""How much more examples than the mean a source may have in a batch to lie in the same arrays as others."""


class Lane(NamedTuple):
  """Sources whose examples lie in the same arrays of a batch: one, or many of one spec, along the axis behind B.

  Attributes:
    names: Their names.
    sources: They.
    size: The examples of each in a batch.
    spec: The shapes of one example of each, of many with a leading axis.
  """

  names: tuple[str, ...]
  sources: tuple[Source, ...]
  size: int
  spec: Mapping[str, Any]

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of the numbers (B, K), a column for each source: `{key: (B, K, ...)}`, (B, ...) of one source."""
    each = [read(source, own) for source, own in zip(self.sources, numbers.T, strict=True)]
    if len(each) == 1:
      return each[0]
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *each)


class Together(NamedTuple):
  """The same for many sources in memory, whose arrays lie one after the other: one look-up for all."""

  names: tuple[str, ...]
  arrays: dict[str, Any]
  starts: np.ndarray
  lengths: np.ndarray
  size: int
  spec: Mapping[str, Any]

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of the numbers (B, K), `{key: (B, K, ...)}`."""
    places = self.starts + numbers % self.lengths
    return jax.tree.map(lambda leaf: np.take(leaf, places, axis=0), self.arrays)


def evened(sources: Mapping[str, Source], sizes: Mapping[str, int]) -> dict[str, int]:
  """Room for as many examples of each of many sources of one spec, which then lie in the same arrays.

  Where some have much more than most, the others would be filling for the most part: then they stay as they are.
  """
  kinds: dict[Any, list[str]] = {}
  for name, source in sources.items():
    kinds.setdefault(_kind(source), []).append(name)
  found = dict(sizes)
  for names in kinds.values():
    own = [sizes[name] for name in names]
    if len(names) >= FROM and max(own) <= _UNEVEN * np.mean(own):
      found |= dict.fromkeys(names, max(own))
  return found


def _kind(source: Source) -> Any:
  return tuple((path, leaf.shape, str(leaf.dtype)) for path, leaf in leaves_of(source.spec).items())


def lanes_of(sources: Mapping[str, Source], sizes: Mapping[str, int], fewest: int = FROM) -> list[Lane | Together]:
  """The sources in lanes."""
  kinds: dict[Any, list[str]] = {}
  for name, source in sources.items():
    kinds.setdefault((_kind(source), sizes[name]), []).append(name)
  lanes: list[Lane | Together] = []
  for (_, size), names in kinds.items():
    if len(names) < fewest:
      lanes += [Lane((name,), (sources[name],), size, sources[name].spec) for name in names]
    else:
      lanes.append(_many(names, [sources[name] for name in names], size))
  return lanes


def _many(names: list[str], sources: list[Source], size: int) -> Lane | Together:
  spec = {key: _stacked(entry, len(names)) for key, entry in sources[0].spec.items()}
  if not all(isinstance(source, InMemory) for source in sources):
    return Lane(tuple(names), tuple(sources), size, spec)
  lengths = np.array([len(source) for source in sources])
  whole = [source.rows(np.arange(len(source))) for source in sources]
  arrays = jax.tree.map(lambda *leaves: np.concatenate(leaves), *whole)
  return Together(tuple(names), arrays, np.cumsum(lengths) - lengths, lengths, size, spec)


def _stacked(entry: Any, count: int) -> Any:
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), entry)


class Mixed:
  """`mixed(number, parts)`: what a batch of a mixture holds.

  Args:
    data: The mixture.
    batch_size: The examples of a batch over all sources.
    seed: Of the orders; None: those of the sources.
  """

  def __init__(self, data: Mixture, batch_size: int, seed: int | None):
    """Puts the sources in lanes."""
    self.data, self.filled = data, data.filled
    self.shares = data.shares(batch_size)
    if data.turns:
      self.sizes = dict(data.sizes or dict.fromkeys(data.sources, batch_size))
    else:
      rooms = {name: math.ceil(share) for name, share in self.shares.items()}
      self.sizes = evened(data.sources, rooms) if self.filled else rooms
    for name, size in self.sizes.items():
      if not size or not data.rates[name]:
        raise UserError(
          f"source {name!r} has a rate of 0, so its tasks ({', '.join(data.tasks[name])}) would never be trained: give "
          "it a rate, or leave source and tasks out."
        )
    # In turns each batch has the entries of one source, so no two share arrays.
    self.lanes = lanes_of(data.sources, self.sizes, fewest=len(data.sources) + 1 if data.turns else FROM)
    self._orders = {
      # Each source has a seed of its own, or sources of one length would go through the same permutations.
      name: Order(len(source), None if seed is None else (seed, zlib.crc32(name.encode())))
      for name, source in data.sources.items()
    }
    self._seed = seed
    self._blocks: dict[int, Any] = {}  # the last one
    self._drawn: dict[tuple[str, ...], Any] = {}  # the numbers of some batches of each lane

  def turn(self, number: int) -> tuple[str, int]:
    """The source of a turn, and how many turns it has had before."""
    block, place = divmod(number, _BLOCK)
    drawn = self._blocks.get(block)
    if drawn is None:
      names, exact = list(self.data.rates), np.array(list(self.data.rates.values())) * _BLOCK
      counts = np.floor(exact).astype(int)
      counts = np.maximum(counts, 1)
      for _ in range(_BLOCK - counts.sum()):
        counts[np.argmax(exact - counts)] += 1
      for _ in range(counts.sum() - _BLOCK):
        counts[np.argmax(counts - exact)] -= 1
      turns = np.random.default_rng([self._seed or 0, block]).permutation(np.repeat(np.arange(len(names)), counts))
      before = np.array([np.count_nonzero(turns[:i] == turns[i]) for i in range(_BLOCK)])
      self._blocks = {block: (drawn := (names, counts, turns, before))}
    names, counts, turns, before = drawn
    return names[turns[place]], int(block * counts[turns[place]] + before[place])

  def lanes_in(self, number: int) -> list[Lane | Together]:
    """The lanes of a batch."""
    if not self.data.turns:
      return self.lanes
    name, _ = self.turn(number)
    return [lane for lane in self.lanes if lane.names == (name,)]

  def spec_of(self, lane: Lane | Together) -> dict[str, Any]:
    """The shapes of one example of a lane in a batch, its weight included where some are filling."""
    many = (len(lane.names),) if lane.names[1:] else ()
    return {**lane.spec, **({WEIGHT: jax.ShapeDtypeStruct(many, np.float32)} if self.filled else {})}

  def __call__(
    self, number: int, parts: Mapping[tuple[str, ...], Sequence[Part]]
  ) -> list[tuple[tuple[str, ...], list[Any]]]:
    """The names in each lane of a batch, and the rows of each of its parts; other processes make them, too."""
    found = []
    for lane in self.lanes_in(number):
      numbers, weights = self._of_turn(lane, number) if self.data.turns else self._of_joint(lane, number)
      weight = weights if lane.names[1:] else weights[:, 0]
      each = []
      for first, last in parts[lane.names]:
        rows = lane.rows(numbers[first:last])
        each.append({**rows, WEIGHT: weight[first:last]} if self.filled else rows)
      found.append((lane.names, each))
    return found

  def _of_turn(self, lane: Lane | Together, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples of a turn, and their weights, (B, 1)."""
    (name,), (_, turn) = lane.names, self.turn(number)
    numbers = self._orders[name](turn * lane.size, (turn + 1) * lane.size)
    return numbers[:, None], np.ones((lane.size, 1), np.float32)

  def _of_joint(self, lane: Lane | Together, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples of a lane in a joint batch, filled up, and their weights, (B, K)."""
    block, place = divmod(number, _AT_ONCE)
    drawn = self._drawn.get(lane.names)
    if drawn is None or drawn[0] != block:  # another thread may do the same, to the same end
      slots = {share: slots_of(share, lane.size, block * _AT_ONCE) for share in {self.shares[n] for n in lane.names}}
      each = [(self._orders[name], slots[self.shares[name]]) for name in lane.names]
      numbers = np.stack([order(own.start, own.stop)[own.places] for order, own in each], axis=2)
      self._drawn[lane.names] = drawn = (block, numbers, np.stack([own.weights for _, own in each], axis=2))
    return drawn[1][place], drawn[2][place]


class Slots(NamedTuple):
  """Where the examples of a source lie in some batches at once, (n, B).

  Attributes:
    start: The first place in the order of the source that is read.
    stop: The place behind the last.
    places: For each slot its place, from `start` on.
    weights: 1 for an example, 0 for filling.
  """

  start: int
  stop: int
  places: np.ndarray
  weights: np.ndarray


def slots_of(share: Fraction, size: int, first: int) -> Slots:
  """Those of a source with `share` examples a batch, in `_AT_ONCE` batches with room for `size` each."""
  numbers = range(first, first + _AT_ONCE + 1)
  bounds = np.array([number * share.numerator // share.denominator for number in numbers])
  starts, stops = bounds[:-1], bounds[1:]
  places = starts[:, None] + np.arange(size)
  there = np.minimum(places, np.maximum(stops - 1, starts)[:, None])
  start, stop = int(starts[0]), int(max(stops[-1], there[-1, -1] + 1))
  return Slots(start, stop, there - start, (places < stops[:, None]).astype(np.float32))


def placed_lanes(mixed: Mixed, sharding: Any) -> tuple[Any, Any]:
  """The rows that this process reads of each lane, and a function of what is read that gives the batch."""
  shapes = {lane.names: batch_of(mixed.spec_of(lane), lane.size) for lane in mixed.lanes}
  parts = {names: parts_of(shape, sharding) for names, shape in shapes.items()}
  paths = {names: {key: tuple(path_of(name, key) for name in names) for key in shapes[names]} for names in shapes}

  def batch(found: list[tuple[tuple[str, ...], list[Any]]]) -> Any:
    entries: dict[tuple[str, ...], Any] = {}
    for names, rows in found:
      of_parts = dict(zip(parts[names], rows, strict=True))
      for key, entry in place(of_parts, shapes[names], sharding).items():
        entries[paths[names][key]] = entry
    return _joined(entries)

  return parts, batch


def _joined(entries: Mapping[tuple[str, ...], Any]) -> Any:
  """A batch of the entries of lanes."""
  groups = list(entries)
  if not any(names[1:] for names in groups):
    return {names[0]: entry for names, entry in entries.items()}
  return Packed(groups, list(entries.values()), [name for names in groups for name in names], axis=1)


def padded(data: Mixture, batch_size: int, pieces: int = 1) -> Iterator[Any]:
  """All examples of all sources once and in order, in batches of one shape; weights tell them from filling.

  Args:
    data: The mixture.
    batch_size: The examples of a batch over all sources; some more where these do not divide evenly. Shorter sources
      have fewer, so that all end together.
    pieces: What the numbers of each source are multiples of.
  """
  found = {name: len(source) for name, source in data.sources.items()}
  count = min(-(-sum(found.values()) // batch_size), max(found.values()))
  sizes = {name: -(-length // (count * pieces)) * pieces for name, length in found.items()}
  count = max(-(-length // sizes[name]) for name, length in found.items())
  lanes = lanes_of(data.sources, evened(data.sources, sizes))
  for number in range(count):
    entries: dict[tuple[str, ...], Any] = {}
    for lane in lanes:
      rows = np.arange(number * lane.size, (number + 1) * lane.size)
      lengths = [len(data.sources[name]) for name in lane.names]
      weights = [(rows < length).astype(np.float32) for length in lengths]
      found = lane.rows(np.stack([np.minimum(rows, length - 1) for length in lengths], axis=1))
      found = {**found, WEIGHT: np.stack(weights, axis=1) if lane.names[1:] else weights[0]}
      for key, entry in found.items():
        entries[tuple(path_of(name, key) for name in lane.names)] = entry
    yield _joined(entries)
