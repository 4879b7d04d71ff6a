"""`mixture`, several sources, each with the examples of some tasks, as the training data of one model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Literal

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Entry, Inputs, Keys, input_keys, keys_read
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.protocol import Source
from mtl_jax.data.views import name_of, path_of, seen_by
from mtl_jax.tasks import Task

Rates = Literal["equal", "proportional"] | float | Mapping[Any, float]


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Several sources; made by `mixture`.

  Attributes:
    sources: `{name: source}`.
    tasks: `{name: tasks}`, whose examples these are.
    rates: The share of each source in the examples of training.
    sizes: The examples of each in a batch, where they are given.
    turns: Whether each batch is of one source alone.
  """

  sources: Mapping[str, Source]
  tasks: Mapping[str, tuple[str, ...]]
  rates: Mapping[str, float]
  sizes: Mapping[str, int] | None = None
  turns: bool = False

  @property
  def spec(self) -> dict[str, Any]:
    """The shapes and dtypes of one example of each source, under `<source>/<key>`."""
    return {path_of(name, key): leaf for name, source in self.sources.items() for key, leaf in source.spec.items()}

  def batch_size(self, given: int | None) -> int:
    """The examples of a batch over all sources.

    Args:
      given: As in `fit`; None: the sizes of the mixture, else 128.

    Returns:
      The number.

    Raises:
      UserError: It is given twice.
    """
    if self.sizes is None:
      return 128 if given is None else given
    total = sum(self.sizes.values())
    if given not in (None, total):
      raise UserError(f"batch_size is {given}, but the mixture has sizes of its own, {total} in all: leave one out.")
    return total

  def shares(self, batch_size: int) -> dict[str, Fraction]:
    """The examples of each source in a joint batch, as fractions: a rounded 7.000000000000001 would ask for room for 8.

    Args:
      batch_size: The examples of a batch over all sources.

    Returns:
      For each source its share s, which need not be whole: batch n has `floor((n + 1) s) - floor(n s)` of its examples.
    """
    if self.sizes is not None:
      return {name: Fraction(size) for name, size in self.sizes.items()}
    return {name: Fraction(rate * batch_size).limit_denominator(10**9) for name, rate in self.rates.items()}

  @property
  def filled(self) -> bool:
    """Whether batches may hold filling, or lack sources: then their weights say what counts."""
    return self.turns or self.sizes is None

  def only(self, tasks: Iterable[str]) -> Mixture:
    """The mixture of the sources of some tasks, in the same proportions.

    Args:
      tasks: The tasks.

    Returns:
      The mixture.
    """
    names = set(tasks)
    kept = {name: tuple(task for task in some if task in names) for name, some in self.tasks.items()}
    kept = {name: some for name, some in kept.items() if some}
    total = sum(self.rates[name] for name in kept) or 1.0
    return Mixture(
      {name: self.sources[name] for name in kept},
      kept,
      {name: self.rates[name] / total for name in kept},
      None if self.sizes is None else {name: self.sizes[name] for name in kept},
      self.turns,
    )

  def sized(self, batch_size: int) -> Mixture:
    """The mixture with sizes, where its rates deal out whole numbers of examples; else as it is.

    Args:
      batch_size: The examples of a batch over all sources.

    Returns:
      The mixture.
    """
    shares = self.shares(batch_size)
    if self.filled and not self.turns and all(share >= 1 and share.denominator == 1 for share in shares.values()):
      return dataclasses.replace(self, sizes={name: round(share) for name, share in shares.items()})
    return self

  def steps(
    self, batch_size: int | None = None, *, epochs: float = 1, of: Literal["longest", "shortest"] = "longest"
  ) -> int:
    """The steps in which the source that takes the longest, or shortest, to be seen has been seen `epochs` times.

    Args:
      batch_size: As in `fit`.
      epochs: How often each of its examples is seen.
      of: Which source counts.

    Returns:
      The number of steps, for `fit(steps=)`.

    >>> import numpy as np
    >>> two = mixture({"a": {"x": np.zeros(30)}, "b": {"x": np.zeros(90)}}, sizes=10)
    >>> two.steps(), two.steps(of="shortest")
    (9, 3)
    """
    shares = self.shares(self.batch_size(batch_size))
    each = [len(source) / shares[name] for name, source in self.sources.items() if shares[name] > 0]
    return math.ceil(epochs * (max if of == "longest" else min)(each))

  def through(
    self, tasks: Mapping[str, Task], inputs: Inputs, *, filled: bool
  ) -> tuple[dict[str, Task], dict[str, Keys]]:
    """Tasks and inputs that read the batch of a mixture: each task sees the entries of its own source.

    Args:
      tasks: Tasks and inputs of one source.
      inputs: As in `mtl.objective`.
      filled: Whether batches have weights.

    Returns:
      The tasks, and the inputs of each.
    """
    source_of, keys = {task: name for name, some in self.tasks.items() for task in some}, input_keys(tasks, inputs)

    def own(name: str, key: Keys) -> Keys:
      return path_of(name, key) if isinstance(key, str) else tuple(Entry(path_of(name, part), part) for part in key)

    views = {name: seen_by(task, source_of[name], filled) for name, task in tasks.items()}
    return views, {name: own(source_of[name], keys[name]) for name in tasks}

  def parts(self, tasks: Mapping[str, Task], inputs: Inputs) -> Iterator[tuple[str, Source, dict[str, Task], Inputs]]:
    """The sources one by one.

    Args:
      tasks: Tasks of one source.
      inputs: As in `mtl.objective`.

    Returns:
      For each its name, itself, its tasks and their inputs.
    """
    keys = input_keys(tasks, inputs)
    for name, source in self.sources.items():
      some = {task: tasks[task] for task in self.tasks[name]}
      yield name, source, some, {task: keys[task] for task in some}


def mixture(
  sources: Mapping[Any, Any],
  *,
  sizes: int | Mapping[Any, int] | None = None,
  rates: Rates = "equal",
  turns: bool = False,
) -> Mixture:
  r"""Training data of several tasks that have examples of their own.

  $$ r_s \propto N_s^{1 / \tau} $$

  Every source goes through its own epochs, in an order that depends on the seed alone. A task's loss is the mean over
  the examples of its source, whose other tasks, and whose number of examples, cost it nothing.

  Args:
    sources: `{task: data}`, or `{(task, task, ...): data}` for tasks that share examples. Data are arrays
      `{key: (N, ...)}` or whatever else `as_source` takes; keys may be the same in all.
    sizes: The examples of each source in a batch, one number for all or `{source: number}`. None: `batch_size` of `fit`
      is dealt out by `rates`.
    rates: The share of each source: `"equal"`, `"proportional"` to its N, a number for the temperature $\tau$ (1:
      proportional, large: equal), or `{source: rate}`, which are normalised. With `sizes` they say nothing but, in
      turns, how often.
    turns: Each batch is of one source alone, chosen by the rates; the tasks of others are absent from that step. Each
      source has a program of its own, so this is for few sources.

  Returns:
    The mixture, for `fit(train=)`; `fit(train={task: data})` makes one with these defaults.

  Raises:
    UserError: No sources, a source without examples, a task in two sources, or rates that are all zero, negative or
      for sources that are not there.

  >>> import numpy as np
  >>> data = mixture({"a": {"x": np.zeros((30, 2))}, ("b", "c"): {"x": np.zeros((90, 3))}}, rates="proportional")
  >>> {name: float(share) for name, share in data.shares(10).items()}, data.tasks["b+c"]
  ({'a': 2.5, 'b+c': 7.5}, ('b', 'c'))
  """
  if not sources:
    raise UserError("a mixture needs at least one source, found none: pass {task: data}.")
  tasks: dict[str, tuple[str, ...]] = {}
  seen: dict[str, str] = {}
  for key in sources:
    name, some = name_of(key), (key,) if isinstance(key, str) else tuple(key)
    if name in tasks:
      raise UserError(f"two sources have the name {name!r}: rename a task.")
    if "/" in name:
      raise UserError(f"source {name!r} has a slash in its name, which separates sources and their entries: rename it.")
    tasks[name] = some
    for task in some:
      if task in seen:
        raise UserError(f"task {task!r} has two sources, {seen[task]!r} and {name!r}: join their examples first.")
      seen[task] = name
  found = {name: as_source(data, f"source {name!r}") for name, data in zip(tasks, sources.values(), strict=True)}
  shares = _rates(rates, found)
  if sizes is not None:
    given = {name_of(key): n for key, n in sizes.items()} if isinstance(sizes, Mapping) else dict.fromkeys(found, sizes)
    _check_names("sizes", given, found)
    for name in found:
      size = given.get(name)
      if not isinstance(size, Integral) or size < 1:
        raise UserError(f"sizes has {size!r} for source {name!r}, expected a whole number of at least 1.")
    return Mixture(found, tasks, shares, {name: int(given[name]) for name in found}, turns)
  return Mixture(found, tasks, shares, None, turns)


def as_mixture(data: Any, tasks: Mapping[str, Task], inputs: Inputs, what: str = "train") -> Mixture | None:
  """The mixture that data are; None: they are one source.

  A dictionary by tasks is a mixture: none of its keys is an input, and each of its values is a data set.

  Args:
    data: Whatever `fit` takes.
    tasks: The tasks.
    inputs: As in `mtl.objective`.
    what: What the data are, for messages.

  Returns:
    The mixture, or None.

  Raises:
    UserError: A task without a source or without an input, or a source without a task.
  """
  if isinstance(data, Mapping) and data and not set(keys_read(inputs)) & set(data):
    if all(isinstance(value, Mapping | Source) and not hasattr(value, "shape") for value in data.values()):
      data = mixture(data)
  if not isinstance(data, Mixture):
    return None
  known, keys = [task for some in data.tasks.values() for task in some], input_keys(tasks, inputs)
  for task in known:
    if task not in tasks:
      raise UserError(
        f"{what} has a source for {task!r}, which is no task{nearest(task, tasks)}: name it {_told(tasks)}."
      )
  for task in tasks:
    if task not in known:
      raise UserError(f"{what} has no source for task {task!r}, only for {_told(known)}: add its examples.")
    if task not in keys:
      raise UserError(f"task {task!r} is not in inputs, which has {_told(inputs)}: add it there.")
  return data


def _told(names: Any) -> str:
  return ", ".join(map(repr, names))


def _check_names(what: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
  for name in given:
    if name not in known:
      raise UserError(f"{what} has {name!r}, which is no source{nearest(name, known)}: there are {_told(known)}.")


def _rates(rates: Rates, sources: Mapping[str, Source]) -> dict[str, float]:
  if rates == "equal":
    found: dict[str, float] = dict.fromkeys(sources, 1.0)
  elif rates == "proportional":
    found = {name: float(len(source)) for name, source in sources.items()}
  elif isinstance(rates, Mapping):
    given = {name_of(key): rate for key, rate in rates.items()}
    _check_names("rates", given, sources)
    found = {name: given.get(name, 0.0) for name in sources}
  elif isinstance(rates, int | float) and rates > 0:
    found = {name: len(source) ** (1 / rates) for name, source in sources.items()}
  else:
    raise UserError(f"rates is {rates!r}, expected 'equal', 'proportional', a temperature above 0 or {{source: rate}}.")
  if not all(isinstance(rate, Real) and 0 <= rate < math.inf for rate in found.values()) or not sum(found.values()):
    raise UserError(f"rates is {found}, expected numbers of at least 0, not all of them 0.")
  total = sum(found.values())
  return {name: rate / total for name, rate in found.items()}
