"""A trained model that answers many requests at once: its programs, compiled for a few sizes of batches."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.inputs import input_keys, keys_read, tasks_by_keys
from mtl_jax.serve._batches import Batches, sizes_up_to
from mtl_jax.serve.limits import Limits
from mtl_jax.train import Trained

log = logging.getLogger("mtl_jax.serve")


class Branch(NamedTuple):
  """The tasks that read the same inputs.

  Attributes:
    trained: The model with these tasks alone.
    keys: The inputs.
    batches: What computes them.
  """

  trained: Trained
  keys: tuple[str, ...]
  batches: Batches


class Model:
  """A trained model behind a queue for each group of tasks that read the same inputs."""

  def __init__(self, trained: Trained, limits: Limits) -> None:
    """Compiles nothing yet."""
    self.trained, self.limits = trained, limits
    self.ready = self.failed = False
    self.stop: Callable[[], None] = lambda: None  # is called where the model can never be ready
    self._sizes = sizes_up_to(limits.max_batch_size)
    self._worker = ThreadPoolExecutor(1, "mtl-serve")  # one: a device computes one batch at a time
    keys = input_keys(trained.problem.tasks, trained.problem.inputs)
    self.branches = [self._branch(names) for names in tasks_by_keys(keys).values()]

  def _branch(self, names: Sequence[str]) -> Branch:
    own = self.trained.only(names)
    batches = Batches(own.predictor(), self._sizes, self.limits.max_wait_ms / 1000, self.limits.queue, self._worker)
    return Branch(own, tuple(keys_read(own.problem.inputs)), batches)

  async def answer(self, arrays: Mapping[str, Any], count: int, tasks: Iterable[str]) -> dict[str, Any]:
    """What some tasks say of examples.

    Args:
      arrays: All inputs of these tasks, `{key: (count, ...)}`, of the shapes and dtypes trained on.
      count: The number of examples.
      tasks: The tasks.

    Returns:
      `{task: {name: (count, ...)}}`, in the order of the tasks.

    Raises:
      Full: The queue has no room for so many examples.
    """
    wanted = list(tasks)
    needed = [branch for branch in self.branches if not branch.trained.problem.tasks.keys().isdisjoint(wanted)]
    with contextlib.ExitStack() as stack:
      asked = [
        stack.enter_context(branch.batches.asked({key: arrays[key] for key in branch.keys}, count)) for branch in needed
      ]
      answers = await asyncio.gather(*asked)
    found = {task: outputs for answer in answers for task, outputs in answer.items()}
    return {task: found[task] for task in wanted}

  @contextlib.asynccontextmanager
  async def working(self) -> AsyncIterator[None]:
    """Answers meanwhile, as soon as everything is compiled; at the end what still waits is answered."""
    compiling = asyncio.create_task(self._compile())
    working = [asyncio.create_task(branch.batches.work()) for branch in self.branches]
    try:
      yield
    finally:
      self.ready = False
      compiling.cancel()
      for branch in self.branches:
        branch.batches.close()
      await asyncio.gather(compiling, *working, return_exceptions=True)
      self._worker.shutdown()

  async def _compile(self) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
      for branch in self.branches:
        known = branch.trained.entries()
        for size in self._sizes:
          zeros = jax.tree.map(functools.partial(_zeros, size), {key: known[key] for key in branch.keys})
          await loop.run_in_executor(self._worker, branch.batches.run, zeros)
    except Exception:
      self.failed = True
      log.exception("the model cannot be compiled")
      self.stop()
      return
    self.ready = True
    log.info("ready after %.1f s: %d programs", loop.time() - begun, len(self._sizes) * len(self.branches))


def _zeros(size: int, leaf: Any) -> np.ndarray:
  return np.zeros((size, *leaf.shape), jax.dtypes.canonicalize_dtype(leaf.dtype))
