"""`load`: the best model of a run directory, for whoever has the net, without the data and without the optimizer."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Inputs, initial_input, input_keys
from mtl_jax._core.shapes import shapes
from mtl_jax.data import Description
from mtl_jax.data.views import entries_of
from mtl_jax.net import Net
from mtl_jax.problem import Problem
from mtl_jax.tasks import Task
from mtl_jax.train._calibrate import calibrated
from mtl_jax.train._evaluate import Metrics, evaluation_size, make_evaluate, predict_all, predictor
from mtl_jax.train._weights import best_model
from mtl_jax.train.kept import CALIBRATION, read_calibration, read_test
from mtl_jax.train.run_dir import DATA, read_config, read_data, read_model, tasks_of

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Kept(NamedTuple):
  """What a run keeps beside its best model.

  Attributes:
    config: Its configuration.
    calibration: What calibrates the outputs of tasks, `{task: {name: value}}`.
    test: What the model reaches on the test data, `{task: {metric: value}}`.
  """

  config: Mapping[str, Any] = _NOTHING
  calibration: Mapping[str, Mapping[str, float]] = _NOTHING
  test: Mapping[str, Mapping[str, float]] = _NOTHING


class Trained(NamedTuple):
  """The best model of a run.

  Attributes:
    problem: The net, its tasks and their inputs; where the run has a calibration, the tasks' outputs are calibrated.
    params: The parameters that were best on the validation data; the last ones without such data.
    state: The net's state that goes with them.
    step: The step they are from.
    data: The description of the data that it is trained on.
    kept: What else the run says of it; nothing where it is of no run.
  """

  problem: Problem
  params: Any
  state: Any
  step: int
  data: Description
  kept: Kept = Kept()

  def predict(self, arrays: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """What each task's `output` says of every example: `{task: {name: (N, ...)}}`.

    Args:
      arrays: The inputs, `{key: (N, ...)}`, as those trained on.

    Returns:
      The outputs.

    Raises:
      UserError: As `mtl.train.predict_all`.
    """
    return predict_all(self.problem, self.params, self.state, arrays, batch_size=self.at_once)

  @property
  def at_once(self) -> int:
    """How many examples `predict` and `evaluate` take at a time: as many as the run's own evaluations."""
    match self.kept.config.get("fit"):
      case {"batch_size": int(size), "accumulate": int(pieces)} if size > 0 and pieces > 0:
        return evaluation_size(size, pieces)
    return evaluation_size(None)  # of no run, or of one whose configuration has been changed

  def predictor(self) -> Callable[[Mapping[str, Any]], dict[str, dict[str, np.ndarray]]]:
    """`predict` for a program that predicts often: it compiles once for each number of examples, and checks nothing.

    Returns:
      `run({key: (N, ...)}) -> {task: {name: (N, ...)}}`.
    """
    return predictor(self.problem, self.params, self.state)

  def only(self, names: Sequence[str]) -> Trained:
    """The model with some of its tasks.

    Args:
      names: The tasks, in their new order.

    Returns:
      The model.

    Raises:
      UserError: No names, or one that is no task.
    """
    return self._replace(problem=self.problem.only(names))

  def reading(self, arrays: Mapping[str, Any]) -> Trained:
    """The model with those of its tasks alone whose inputs are there, as of sounds where others read texts.

    Args:
      arrays: The inputs, `{key: (N, ...)}`.

    Returns:
      The model; the same where no task has all of its inputs, which `predict` then tells.
    """
    keys = input_keys(self.problem.tasks, self.problem.inputs)
    names = [name for name, own in keys.items() if (own in arrays if isinstance(own, str) else {*own} <= {*arrays})]
    return self.only(names) if 0 < len(names) < len(self.problem.tasks) else self

  def entries(self) -> dict[str, Any]:
    """What the tasks see of the data trained on: the shape and dtype of one example of each entry.

    Returns:
      `{key: tree of jax.ShapeDtypeStruct}`.
    """
    known: dict[str, Any] = {}
    for task in self.problem.tasks:
      known = entries_of(self.data.arrays, task) | known
    return known

  def evaluate(self, splits: Mapping[str, Any]) -> dict[str, Metrics]:
    """Every metric of every task on every set of examples, `{split: {task: {metric: value}}}`.

    Args:
      splits: Inputs and labels, `{split: {key: (N, ...)}}`, as those trained on; or sources, or mixtures.

    Returns:
      The metrics.
    """
    evaluate = make_evaluate(self.problem, batch_size=self.at_once)
    return {name: evaluate(self.params, self.state, arrays) for name, arrays in splits.items()}


def load(
  run_dir: str | Path,
  net: Net | Problem,
  tasks: Mapping[str, Task] | None = None,
  *,
  inputs: Inputs = "x",
  warn: Callable[[str], None] = warnings.warn,
) -> Trained:
  """The best parameters of a run, finished or not, on the first device of this process, wherever it is trained.

  The shapes come from the description of the data that the run keeps, and from `net.init`, which is not run; of the
  newest checkpoint, just the best model is read. The training data and the optimizer are not needed.

  Args:
    run_dir: The `run_dir` of `mtl.fit`, or of `mtl-jax train`, or the directory of a model that was exported as
      safetensors, with all of its tasks or some; nothing in it is changed.
    net: The net that was trained, or the problem in place of net, tasks and inputs.
    tasks: Its tasks, which tell what `predict` and `evaluate` make of its outputs. None: the parameters are all that
      is wanted.
    inputs: As in `mtl.objective`.
    warn: Is told of checkpoints that are damaged and left out.

  Returns:
    The model.

  Raises:
    UserError: The directory holds no run, no checkpoint yet, or no description of its data; the run has other tasks,
      or the net parameters of other names, shapes or dtypes.

  >>> import tempfile, flax.linen as nn, optax, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> tasks, data = {"size": mtl.tasks.regression("size")}, {"x": np.ones((8, 3), np.float32), "size": np.ones(8)}
  >>> data["size"] = data["size"].astype(np.float32)
  >>> with tempfile.TemporaryDirectory() as run_dir:
  ...   options = {"steps": 2, "batch_size": 4, "run_dir": run_dir, "progress": False}
  ...   done = mtl.fit(net, tasks, mtl.balance.equal(), optax.sgd(0.1), data, **options)
  ...   trained = mtl.load(run_dir, net, tasks)
  >>> trained.step, trained.predict({"x": data["x"]})["size"]["value"].shape
  (2, (8,))
  """
  run_dir = Path(run_dir)
  problem = net if isinstance(net, Problem) else Problem(net, tasks or {}, inputs)
  trained_on, model = tasks_of(run_dir), read_model(run_dir)
  kept = trained_on if model is None else list(model.tasks)
  if problem.tasks and set(problem.tasks) not in (set(trained_on), set(kept)):
    raise UserError(f"the run in {run_dir} has the tasks {_listed(trained_on)}, found {_listed(problem.tasks)}.")
  data = read_data(run_dir)
  with making_of(run_dir):
    keys = input_keys([name for name in trained_on if name in (problem.tasks or trained_on)], problem.inputs)
    example = initial_input(keys, lambda task: entries_of(data.arrays, task))
    _, heads = shapes(lambda: _model(problem.net, example))
  for name in kept:
    if name not in heads:
      known = _listed(heads)
      raise UserError(f"the run in {run_dir} has the task {name!r}{nearest(name, heads)}, the net only {known}.")
  if set(kept) < set(heads).intersection(trained_on):
    problem = problem.only(kept) if problem.tasks else Problem(problem.net.only(kept), {}, problem.inputs)
  step, params, state = best_model(run_dir, lambda: problem.net.init(*_given(example)), warn)
  values = read_calibration(run_dir, step)
  about = Kept(read_config(run_dir), values, read_test(run_dir, step))
  try:
    problem = calibrated(problem, values)
  except UserError as error:
    raise UserError(f"{run_dir / CALIBRATION}: {error} Delete it, and outputs are not calibrated.") from error
  return Trained(problem, params, state, step, data, about)


@contextlib.contextmanager
def making_of(run_dir: Path) -> Iterator[None]:
  """Makes whatever a net or recipe raises, on data that it does not expect, one line that names the description.

  Args:
    run_dir: The run.

  Returns:
    A context.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
    raise UserError(
      f"the model cannot be made from {run_dir / DATA} ({reason}): if that file has been changed, delete "
      "it and resume the run (--resume), which writes it anew."
    ) from error


def _given(example: Any) -> tuple[jax.Array, Any]:
  """What an `init` is given, for inputs like an example."""
  return jax.random.key(0), jax.tree.map(lambda leaf: jnp.asarray(np.zeros((1, *leaf.shape), leaf.dtype)), example)


def _model(net: Net, example: Any) -> Any:
  """Parameters and state of a net, and its predictions, for inputs like an example."""
  key, x = _given(example)
  params, state = net.init(key, x)
  return (params, state), net.apply(params, state, x)[0]


def _listed(names: Any) -> str:
  return ", ".join(names)
