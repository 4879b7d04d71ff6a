"""The batch of a mixture as tasks, transforms and steps see it: entries by their source, `<source>/<key>`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.data.source.protocol import Source
from mtl_jax.tasks import Task

WEIGHT = "~weight"
"""The entry of a source in a batch that tells examples, 1, from filling, 0."""

TEACHER = "~teacher"
"""The entry of what other models predict of the examples, see `mtl.compress.distilled`."""


def is_own(key: str) -> bool:
  """Whether an entry is the library's own, and no part of the data as others know them.

  >>> is_own("a/~weight"), is_own("x")
  (True, False)
  """
  return key.rpartition("/")[2].startswith("~")


def name_of(tasks: Any) -> str:
  """The name of the source of one task, or of several.

  >>> name_of("a"), name_of(("b", "c"))
  ('a', 'b+c')
  """
  return tasks if isinstance(tasks, str) else "+".join(tasks)


def path_of(source: str, key: str) -> str:
  """The name of an entry of a source in a batch."""
  return f"{source}/{key}"


def entries_of(entries: Mapping[str, Any], task: str) -> dict[str, Any]:
  """What a task sees of entries, of a mixture or of one data set, by their keys.

  >>> entries_of({"a/x": 1, "b+c/x": 2, "d": 3}, "c")
  {'x': 2, 'a/x': 1, 'b+c/x': 2, 'd': 3}
  """
  parts = [(*path.partition("/"), entry) for path, entry in entries.items()]
  own = {key: entry for source, _, key, entry in parts if key and f"+{task}+" in f"+{source}+"}
  return own | dict(entries)


class View(Mapping[str, Any]):
  """The entries of one source in the batch of a mixture."""

  def __init__(self, batch: Mapping[str, Any], source: str):
    self._batch, self._source = batch, source

  def __getitem__(self, key: str) -> Any:
    return self._batch[path_of(self._source, key)]

  def __iter__(self) -> Iterator[str]:
    start = path_of(self._source, "")
    return (key[len(start) :] for key in self._batch if key.startswith(start) and key != start + WEIGHT)

  def __len__(self) -> int:
    return sum(1 for _ in self)


def seen_by(task: Task, source: str, filled: bool) -> Task:
  """A task that reads its source's entries."""

  def mask(batch: Any) -> Any:
    weight = batch[path_of(source, WEIGHT)] if filled else None
    if task.mask is None:
      return weight
    own = jnp.asarray(task.mask(View(batch, source)))
    return own if weight is None else own * behind(weight, own.ndim).astype(own.dtype)

  return dataclasses.replace(
    task,
    loss=lambda prediction, batch: task.loss(prediction, View(batch, source)),
    label=lambda batch: task.label(View(batch, source)),
    mask=mask if filled or task.mask is not None else None,
    metrics={
      name: metric._replace(beside=tuple(path_of(source, key) for key in metric.beside))
      for name, metric in task.metrics.items()
    },
  )


def by_source(sources: Iterable[str], transform: Any) -> Any:
  """`transform(batch, key)` of `{source: {key: array}}`, for batches of a mixture."""

  def flat(batch: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    nested = {name: dict(View(batch, name)) for name in sources}
    found = transform({name: part for name, part in nested.items() if part}, key)
    if not isinstance(found, Mapping) or not all(isinstance(part, Mapping) for part in found.values()):
      raise UserError("transform returned no dictionary of batches, expected {source: {key: array}} as it was given.")
    kept = {path: value for path, value in batch.items() if path.endswith(path_of("", WEIGHT))}
    return {path_of(name, entry): value for name, part in found.items() for entry, value in part.items()} | kept

  return flat


def completing(step: Any, sources: Mapping[str, Source], count: int) -> Any:
  """The step on batches of some of the sources: the others have `count` examples of filling each."""

  def completed(state: Any, batch: Mapping[str, Any]) -> Any:
    found = dict(batch)
    for name, source in sources.items():
      if path_of(name, WEIGHT) not in batch:
        found[path_of(name, WEIGHT)] = jnp.zeros(count, jnp.float32)
        for key, entry in source.spec.items():
          found[path_of(name, key)] = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), entry)
    return step(state, found)

  return completed
