"""Who waits is computed with others, gets what is said of its own examples, and leaves the queue when it gives up."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mtl_jax.serve._batches import Batches, Full, sizes_up_to


class Doubling:
  """A function that tells which batches it has seen, and may be held up."""

  def __init__(self):
    self.seen, self.go, self.begun = [], threading.Event(), threading.Event()
    self.go.set()

  def __call__(self, arrays):
    self.begun.set()
    assert self.go.wait(20)
    self.seen.append(arrays["x"].tolist())
    if -1 in arrays["x"]:
      raise ValueError("a negative number")
    return {"twice": arrays["x"] * 2}


async def ask(batches, *values):
  with batches.asked({"x": np.array(values)}, len(values)) as done:
    return (await done)["twice"].tolist()


def running(scene, most=4, wait=0.0, queue=8):
  """Runs a scene with a queue in front of a function."""

  async def play():
    run = Doubling()
    with ThreadPoolExecutor(1) as worker:
      batches = Batches(run, sizes_up_to(most), wait, queue, worker)
      work = asyncio.create_task(batches.work())
      try:
        await scene(batches, run)
        assert batches.room.held == 0
      finally:
        run.go.set()
        batches.close()
        await work

  asyncio.run(play())


async def until_begun(run):
  await asyncio.to_thread(run.begun.wait, 20)


def test_who_waits_is_computed_together_and_padded():
  async def scene(batches, run):
    run.go.clear()
    first = asyncio.create_task(ask(batches, 1))
    await until_begun(run)  # and now others come
    others = [asyncio.create_task(ask(batches, i, i + 1)) for i in (10, 20, 30)]
    await asyncio.sleep(0)
    assert batches.room.held == 6
    run.go.set()
    assert await first == [2] and await asyncio.gather(*others) == [[20, 22], [40, 42], [60, 62]]
    assert run.seen == [[1], [10, 11, 20, 21], [30, 31]]

  running(scene)


def test_many_examples_are_cut_and_the_last_piece_is_filled_with_others():
  async def scene(batches, run):
    run.go.clear()
    asked = [asyncio.create_task(ask(batches, *range(6))), asyncio.create_task(ask(batches, 7))]
    await until_begun(run)
    run.go.set()
    assert await asyncio.gather(*asked) == [[0, 2, 4, 6, 8, 10], [14]]
    assert run.seen == [[0, 1, 2, 3], [4, 5, 7, 0]]

  running(scene)


def test_a_batch_that_is_not_full_waits_for_others():
  async def scene(batches, run):
    asked = [asyncio.create_task(ask(batches, i)) for i in range(3)]
    while batches.room.held < 3:
      await asyncio.sleep(0)
    assert not run.seen
    assert await asyncio.gather(*asked, ask(batches, 3)) == [[0], [2], [4], [6]]
    assert run.seen == [[0, 1, 2, 3]]

  running(scene, wait=60.0)


def test_nobody_waits_for_others_for_ever():
  async def scene(batches, run):
    assert await ask(batches, 1) == [2]

  running(scene, wait=0.01)


def test_a_full_queue_refuses_and_takes_nothing():
  async def scene(batches, run):
    run.go.clear()
    first = asyncio.create_task(ask(batches, 1))
    await until_begun(run)
    others = [asyncio.create_task(ask(batches, *range(5)))]
    await asyncio.sleep(0)
    with pytest.raises(Full):
      await ask(batches, *range(4))
    assert batches.room.held == 5
    run.go.set()
    await asyncio.gather(first, *others)

  running(scene)


def test_who_gives_up_makes_room_and_is_not_computed():
  async def scene(batches, run):
    run.go.clear()
    first = asyncio.create_task(ask(batches, 1))
    await until_begun(run)
    other = asyncio.create_task(ask(batches, 2, 3))
    await asyncio.sleep(0)
    for task in (first, other):  # one is being computed, the other waits
      task.cancel()
    await asyncio.gather(first, other, return_exceptions=True)
    assert batches.room.held == 0
    run.go.set()
    assert await ask(batches, 4) == [8] and run.seen == [[1], [4]]

  running(scene)


def test_an_error_is_told_to_those_of_its_batch():
  async def scene(batches, run):
    run.go.clear()
    first = asyncio.create_task(ask(batches, 1))
    await until_begun(run)
    bad = asyncio.create_task(ask(batches, -1, *range(5)))  # with a rest that nobody wants any more
    good = asyncio.create_task(ask(batches, 9))
    await asyncio.sleep(0)
    run.go.set()
    assert await first == [2] and await good == [18]
    with pytest.raises(ValueError, match="a negative number"):
      await bad

  running(scene)


def test_the_end_leaves_nobody_without_an_answer():
  async def play():
    run = Doubling()
    with ThreadPoolExecutor(1) as worker:
      batches = Batches(run, [1, 2, 4], 60.0, 8, worker)
      asked = [asyncio.create_task(ask(batches, *range(i))) for i in (3, 2, 2)]
      work = asyncio.create_task(batches.work())
      await asyncio.sleep(0)
      batches.close()
      assert await asyncio.gather(*asked) == [[0, 2, 4], [0, 2], [0, 2]]
      await work

  asyncio.run(play())
