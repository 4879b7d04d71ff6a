"""`Problem`, a net with its tasks and their inputs as one value."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload, runtime_checkable

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Inputs
from mtl_jax._core.named import described
from mtl_jax.net import Net, check_net
from mtl_jax.tasks import Task

Options = ParamSpec("Options")
Result_co = TypeVar("Result_co", covariant=True)


@dataclasses.dataclass(frozen=True)
class Problem:
  """What is to be learned: in place of `net, tasks` and `inputs=` in every function that takes them.

  Attributes:
    net: The multi-task net.
    tasks: Its tasks, in the order of all vectors over tasks.
    inputs: As in `mtl.objective`.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> problem = Problem(net, {"size": mtl.tasks.regression("size")}, inputs="image")
  >>> mtl.objective(problem, train=False).names
  ('size',)
  """

  net: Net
  tasks: Mapping[str, Task]
  inputs: Inputs = "x"

  def only(self, names: Sequence[str]) -> Problem:
    """The problem with some of its tasks.

    Args:
      names: The tasks, in their new order.

    Returns:
      The problem, for the parameters of the whole net, see `Net.only`.

    Raises:
      UserError: No names, or one that is no task.
    """
    for name in names:
      if name not in self.tasks:
        known = ", ".join(self.tasks)
        raise UserError(f"only: there is no task {name!r}{nearest(name, self.tasks)}: choose from {known}.")
    inputs = self.inputs
    own = {name: inputs[name] for name in names} if isinstance(inputs, Mapping) else inputs
    return Problem(self.net.only(names), {name: self.tasks[name] for name in names}, own)


@runtime_checkable
class ForProblem(Protocol[Options, Result_co]):
  """A function of a net and its tasks, or of a problem."""

  @overload
  def __call__(
    self, net: Net, tasks: Mapping[str, Task], /, *args: Options.args, **options: Options.kwargs
  ) -> Result_co: ...

  @overload
  def __call__(self, problem: Problem, /, *args: Options.args, **options: Options.kwargs) -> Result_co: ...


def of_problem(
  function: Callable[Concatenate[Net, Mapping[str, Task], Options], Result_co],
) -> ForProblem[Options, Result_co]:
  """`function(net, tasks, ..., inputs=)` so that it may be called as `function(problem, ...)` too."""

  @functools.wraps(function)
  def either(*args: Any, **options: Any) -> Any:
    if args and isinstance(args[0], Problem):
      problem, *rest = args
      args, options = (problem.net, problem.tasks, *rest), {"inputs": problem.inputs, **options}
    given = dict(zip(("net", "tasks"), args, strict=False)) | options
    if "net" in given:
      check_net("net", given["net"])
    if "tasks" in given:
      check_task_types(given["tasks"])
    return cast(Any, function)(*args, **options)

  return cast(Any, either)


def check_task_types(tasks: Any) -> None:
  """Raises a `UserError` for tasks that are no dictionary of `Task`s.

  >>> check_task_types({"size": "regression"})
  Traceback (most recent call last):
  ...
  mtl_jax.UserError: task 'size' is 'regression', expected a Task, such as mtl.tasks.regression('size').
  """
  if not isinstance(tasks, Mapping):
    raise UserError(f"tasks is {described(tasks)}, expected a dictionary {{name: task}}.")
  for name, task in tasks.items():
    if not isinstance(task, Task):
      raise UserError(f"task {name!r} is {described(task)}, expected a Task, such as mtl.tasks.regression({name!r}).")
