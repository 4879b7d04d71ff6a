"""The training examples that a task labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mtl_jax.data import Mixture, pad_batches
from mtl_jax.data.source.chosen import Chosen
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.stream import Stream
from mtl_jax.tasks import Task

_AT_ONCE = 1024
"""Examples that are read at once to see whether they have labels."""


def labelled(data: Any, task: Task, least: int) -> Any:
  """Training data with those examples alone that a task labels: others would only thin out its batches.

  Args:
    data: Arrays, a source, or a mixture, of whose sources each is looked at. A stream stays as it is: its examples have
      no numbers.
    task: The task.
    least: Examples are repeated where there are fewer.

  Returns:
    The data; themselves where all examples are labelled, or none is.
  """
  if task.mask is None or isinstance(data, Stream):
    return data
  if isinstance(data, Mixture):
    return dataclasses.replace(
      data, sources={name: as_source(labelled(source, task, least)) for name, source in data.sources.items()}
    )
  source = as_source(data)
  there = [_any(task.mask(batch))[valid > 0] for batch, valid in pad_batches(source, min(_AT_ONCE, len(source)))]
  rows = np.flatnonzero(np.concatenate(there))
  if len(rows) in (0, len(source)):
    return data
  chosen = Chosen(source, np.resize(rows, max(len(rows), least)))
  return dict(chosen.rows(np.arange(len(chosen)))) if isinstance(source, InMemory) else chosen


def _any(weights: Any) -> np.ndarray:
  """Whether an example counts, (B,), or one of the entries of its label."""
  found = np.asarray(weights) > 0
  return np.any(found, axis=tuple(range(1, found.ndim)))
