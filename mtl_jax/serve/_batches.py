"""Examples of several requests computed together: a queue of bounded length, and the one who empties it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import numpy as np


class Full(Exception):
  """There is no room for more."""


class Room:
  """How much of something may be held at once."""

  def __init__(self, most: int) -> None:
    self.most, self.held = most, 0

  def check(self, count: int) -> None:
    """Raises `Full` where so much more does not fit."""
    if self.held + count > self.most:
      raise Full

  @contextlib.contextmanager
  def holding(self, count: int) -> Iterator[None]:
    """Holds so much meanwhile."""
    self.check(count)
    self.held += count
    try:
      yield
    finally:
      self.held -= count


@dataclasses.dataclass(eq=False)
class _Waiting:
  """Examples of a request: how many of them have been taken, and what is said of those that have been computed."""

  arrays: Any
  count: int
  since: float
  done: asyncio.Future[Any]
  taken: int = 0
  parts: list[Any] = dataclasses.field(default_factory=list)


class Batches:
  """A queue of examples, and a function that is run on batches of them.

  Everything here runs in the thread of the event loop, but for the function.
  """

  def __init__(
    self, run: Callable[[Any], Any], sizes: Sequence[int], wait: float, queue: int, worker: Executor
  ) -> None:
    """Begins with an empty queue.

    Args:
      run: What is done to a batch, a tree of arrays (B, ...), with one of `sizes` for B.
      sizes: The sizes of batches, rising.
      wait: How many seconds an example waits for others.
      queue: How many examples may wait.
      worker: Runs the function.
    """
    self.run, self._sizes, self._wait, self._worker = run, sizes, wait, worker
    self.room = Room(queue)
    self._queue: collections.deque[_Waiting] = collections.deque()
    self._news = asyncio.Event()
    self._closed = False

  @contextlib.contextmanager
  def asked(self, arrays: Any, count: int) -> Iterator[asyncio.Future[Any]]:
    """What the function says of some examples, to be waited for inside; outside nobody wants it any more.

    Args:
      arrays: A tree of arrays (count, ...).
      count: How many.

    Returns:
      A context with the future of a tree of arrays (count, ...).

    Raises:
      Full: They do not fit into the queue.
    """
    self.room.check(count)
    loop = asyncio.get_running_loop()
    waiting = _Waiting(arrays, count, loop.time(), loop.create_future())
    self._queue.append(waiting)
    self.room.held += count
    self._news.set()
    try:
      yield waiting.done
    finally:
      if waiting.taken < count:
        self.room.held -= count - waiting.taken
        self._queue.remove(waiting)

  async def work(self) -> None:
    """Empties the queue until it is closed and empty."""
    while await self._some():
      pieces = self._take()
      try:
        found = await asyncio.get_running_loop().run_in_executor(
          self._worker, self._compute, [_part(one.arrays, start, one.taken) for one, start in pieces]
        )
      except Exception as error:
        for one, _ in pieces:
          if not one.done.done():
            one.done.set_exception(error)
        continue
      for (one, _), outputs in zip(pieces, found, strict=True):
        one.parts.append(outputs)
        if one.taken == one.count and not one.done.done():
          one.done.set_result(_joined(one.parts))

  def close(self) -> None:
    """Nothing more comes; what waits is still computed."""
    self._closed = True
    self._news.set()

  async def _some(self) -> bool:
    """Waits for a batch that is full or has waited long enough; False: there will be none."""
    loop, full = asyncio.get_running_loop(), min(self._sizes[-1], self.room.most)
    while True:
      self._news.clear()
      if self._closed or self.room.held >= full:
        return bool(self._queue)
      left = self._queue[0].since + self._wait - loop.time() if self._queue else None
      if left is not None and left <= 0:
        return True
      with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(left):
          await self._news.wait()

  def _take(self) -> list[tuple[_Waiting, int]]:
    """The first examples that wait, up to a full batch: of each request from which one on."""
    pieces, free = [], self._sizes[-1]
    while self._queue and free:
      one = self._queue[0]
      count = min(one.count - one.taken, free)
      pieces.append((one, one.taken))
      one.taken += count
      free -= count
      self.room.held -= count
      if one.taken == one.count:
        self._queue.popleft()
    return pieces

  def _compute(self, parts: Sequence[Any]) -> list[Any]:
    """What the function says of each part; in the worker's thread."""
    ends = np.cumsum([len(jax.tree.leaves(part)[0]) for part in parts]).tolist()
    size = next(size for size in self._sizes if size >= ends[-1])
    outputs = self.run(jax.tree.map(lambda *leaves: _filled(leaves, size), *parts))
    return [_part(outputs, start, end) for start, end in zip([0, *ends], ends, strict=False)]


def sizes_up_to(most: int) -> list[int]:
  """Powers of two, and the most itself.

  >>> sizes_up_to(12)
  [1, 2, 4, 8, 12]
  """
  return [*(2**i for i in range((most - 1).bit_length())), most]


def _part(tree: Any, start: int, end: int) -> Any:
  return jax.tree.map(lambda leaf: leaf[start:end], tree)


def _joined(parts: Sequence[Any]) -> Any:
  return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _filled(leaves: Sequence[np.ndarray], size: int) -> np.ndarray:
  """The leaves one after the other, and zeros."""
  count = sum(map(len, leaves))
  rest = np.zeros((size - count, *leaves[0].shape[1:]), leaves[0].dtype)
  return np.concatenate([*leaves, rest])
