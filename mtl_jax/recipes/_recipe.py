"""`Recipe`, a runnable experiment: data, network and tasks, with settings that work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import optax

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Inputs
from mtl_jax.arch import Architecture, hard_sharing
from mtl_jax.data import Description
from mtl_jax.data.mixture import Mixture
from mtl_jax.net import Net
from mtl_jax.tasks import Task
from mtl_jax.train import Metrics, Transform

Arrays = dict[str, Any]  # entries are arrays or trees of arrays


class Splits(NamedTuple):
  """The examples of a recipe.

  Attributes:
    train: What to train on, `{key: (N, ...)}`, or an `mtl.data.mixture` where tasks have examples of their own.
    valid: What to tune on.
    test: What to report on.
    about: JSON that is said of the data, such as class names, units, and constants that preprocessing took from the
      training data. It is kept with the run, so that the model can be opened without the data.
  """

  train: Any
  valid: Any
  test: Any
  about: Mapping[str, Any] = MappingProxyType({})

  def only(self, tasks: Sequence[str]) -> Splits:
    """The splits for some tasks: of mixtures the sources of these tasks.

    Args:
      tasks: The tasks.

    Returns:
      The splits.
    """
    train, valid, test = (part.only(tasks) if isinstance(part, Mixture) else part for part in self[:3])
    return Splits(train, valid, test, self.about)


class Parts(NamedTuple):
  """What the network of a recipe is made of, to be joined by any architecture of `mtl.arch`.

  Attributes:
    trunk: The trunk, in stages where it has them.
    heads: For each task a net from its features to a prediction.
  """

  trunk: Net
  heads: Mapping[str, Net]


class Predicted(NamedTuple):
  """Examples of a user's, and what a model says of them.

  Attributes:
    arrays: The inputs, `{key: (N, ...)}`.
    names: What the user calls each of the N examples, such as its file.
    tasks: The tasks.
    outputs: `{task: {name: (N, ...)}}`.
  """

  arrays: Arrays
  names: Sequence[str]
  tasks: Mapping[str, Task]
  outputs: Mapping[str, Mapping[str, Any]]

  def records(self) -> Iterator[dict[str, Any]]:
    """What there is to say of each example, `{"name": ..., task: ...}`, in JSON.

    Returns:
      An iterator over the examples.
    """
    for i, name in enumerate(self.names):
      own = {task: {key: values[i] for key, values in named.items()} for task, named in self.outputs.items()}
      yield {"name": name, **{task: self.tasks[task].record(outputs) for task, outputs in own.items()}}

  def first(self, count: int) -> Predicted:
    """The first examples.

    Args:
      count: How many.

    Returns:
      They and what is predicted of them.
    """
    arrays, outputs = (jax.tree.map(lambda leaf: leaf[:count], tree) for tree in (self.arrays, dict(self.outputs)))
    return Predicted(arrays, self.names[:count], self.tasks, outputs)


class Files(NamedTuple):
  """How a recipe reads examples from files of the user's, and writes what is predicted of them.

  Attributes:
    read: `read(path, tasks) -> (arrays, names)`, the inputs, the labels of the tasks named, and what each example is
      called.
    write: `write(path, predicted)` writes a file: the whole of it, or nothing.
    suffix: Of the files that are written.
    show: `show(path, predicted)` draws a picture of examples and predictions; None: there is none.
    read_good: `read_good(path, tasks, warn)` is like `read`, but leaves out examples that cannot be read, and tells
      `warn` of each; None: examples are no files of their own.
    tell: `tell(predicted) -> str` says in words, for a terminal, what is predicted of examples, where that says more
      than a picture; None: it does not.
    records: `records(predicted)`, what there is to say of each example, anything that fits in JSON.
  """

  read: Callable[[Path, Sequence[str]], tuple[Arrays, Sequence[str]]]
  write: Callable[[Path, Predicted], None]
  suffix: str
  show: Callable[[Path, Predicted], None] | None = None
  read_good: Callable[[Path, Sequence[str], Callable[[str], None]], tuple[Arrays, Sequence[str]]] | None = None
  tell: Callable[[Predicted], str] | None = None
  records: Callable[[Predicted], Iterable[Mapping[str, Any]]] = Predicted.records


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A runnable experiment, of this package or of the user's own.

  Attributes:
    name: The name; in this package that of the recipe's module.
    summary: One line for the list of recipes.
    data: `data(seed) -> Splits`.
    net: `net(names) -> Parts`, trunk and heads for just those tasks, so that single-task baselines are the same
      network with one name, and `--arch` can join them in any way; without it they share the whole trunk. It may
      also give a multi-task `Net`, which is then the only architecture.
    tasks: `{name: Task}`.
    optimizer: `optimizer(learning_rate, steps) -> optax.GradientTransformation`.
    learning_rate: The peak learning rate.
    steps: The number of updates.
    batch_size: Examples a batch.
    eval_every: Steps between evaluations on the validation split.
    inputs: As in `mtl.objective`.
    files: How users' own files are read and written. None: as `.npz` files of the arrays, which are always understood.
    score: Which evaluation is the best, as in `mtl.fit`; None: that of the least mean log loss.
    expected: What to expect of it, for the list of recipes: examples, minutes on a known machine, test figures.
    adapt: `adapt(data) -> Recipe`, this recipe with the net and tasks that data of such a description need, for example
      as many classes as `data.about` names. Before that only the names of its tasks are read. None: they are the same
      whatever the data.
    sparse: As in `mtl.fit`: tables of which a step updates the rows of its batch alone.
    arch: Joins trunk and heads where the user names no other; None: `mtl.arch.hard_sharing`.
    transform: As in `mtl.fit`: augmentation of training batches, on the device.
  """

  name: str
  summary: str
  data: Callable[[int], Splits]
  net: Callable[[Sequence[str]], Parts | Net]
  tasks: Mapping[str, Task]
  optimizer: Callable[[float, int], optax.GradientTransformation]
  learning_rate: float
  steps: int
  batch_size: int = 128
  eval_every: int = 200
  inputs: Inputs = "x"
  files: Files | None = None
  score: Callable[[Metrics], float] | None = None
  expected: str = ""
  adapt: Callable[[Description], Recipe] | None = None
  sparse: Mapping[str, Any] | None = None
  arch: Architecture | None = None
  transform: Transform | None = None

  def network(self, names: Sequence[str], arch: Architecture | None = None) -> Net:
    """The network with heads for some tasks.

    Args:
      names: The tasks.
      arch: Joins trunk and heads; None: the recipe's own architecture.

    Returns:
      The multi-task net.

    Raises:
      UserError: An architecture for a recipe that gives a finished net.
    """
    net = self.net(names)
    if isinstance(net, Parts):
      return (arch or self.arch or hard_sharing)(net.trunk, net.heads)
    if arch is not None:
      raise UserError(
        f"recipe {self.name!r} gives a finished net, so its architecture is the recipe's own: for another its "
        "net(names) has to return mtl.recipes.Parts(trunk, heads)."
      )
    return net


def adamw_cosine(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """AdamW whose learning rate rises for a twentieth of the steps, then falls to 0 along a cosine."""
  schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps=steps // 20, decay_steps=steps)
  return optax.adamw(schedule)


def choose(heads: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
  """Those of the heads that are named.

  Raises:
    UserError: There is no head of that name.
  """
  for name in names:
    if name not in heads:
      raise UserError(f"the recipe has no task {name!r}{nearest(name, heads)}: choose from {', '.join(heads)}.")
  return {name: heads[name] for name in names}
