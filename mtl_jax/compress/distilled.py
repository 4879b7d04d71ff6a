"""`distilled`, tasks that learn from trained models beside their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import data
from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Inputs
from mtl_jax.compress._targets import targets_of
from mtl_jax.data.source.beside import Beside
from mtl_jax.data.views import TEACHER
from mtl_jax.problem import check_task_types
from mtl_jax.tasks import Imitation, Task
from mtl_jax.train import Trained


class Distilled(NamedTuple):
  """What a student is trained with.

  Attributes:
    tasks: All tasks in their order; the loss of those that are taught has the teacher's part.
    train: The training data, with what the teachers predict of them.
  """

  tasks: dict[str, Task]
  train: Any


def distilled(
  tasks: Mapping[str, Task],
  teachers: Trained | Sequence[Trained],
  train: Any,
  *,
  weight: float = 0.5,
  temperature: float = 2.0,
  names: Sequence[str] | None = None,
  unlabelled: bool = False,
  inputs: Inputs = "x",
) -> Distilled:
  r"""Tasks and training data with which a model learns from trained ones, its teachers, beside the labels.

  $$ \ell = (1 - w) \, \ell_{labels} + w \, T^2 \, KL(p_T \Vert q_T) $$

  with the probabilities p of the teacher and q of the student, both of logits divided by the temperature T: of a
  softmax for `classification`, of a sigmoid for `binary` and `multilabel`. For `regression` the teacher's part is
  $w (\hat y - z)^2$, in standard deviations of the labels. Other kinds of tasks cannot be taught.

  Teachers predict the training data once, here, outside of training, and without dropout. What they say becomes an
  entry of the data, one more label. So training knows nothing of teachers: every balancer, engine, mesh and kind of
  data serves, and a run that goes on with another teacher is refused like one with other data. What a source draws
  anew in each epoch, and what `transform=` of `fit` does to a batch, the teacher does not see; labels that a transform
  moves, it does not move for the teacher.

  Data without such an entry, as for validation and tests, are judged by the loss of the labels alone.

  Args:
    tasks: The tasks of the student.
    teachers: One trained model or several, as of `mtl.load`: one of many tasks, or one for each. Tasks are matched by
      name.
    train: The training data, as `mtl.fit` takes them, but for streams.
    weight: $w$, the weight of the teacher, from 0, none, to 1: no label is read but to see whether it is there.
    temperature: $T$: the higher, the more the student learns of classes that are not the likeliest.
    names: The tasks to be taught; None: all.
    unlabelled: Whether examples without a label of a task are taught, too. Their loss is the teacher's part alone.
    inputs: As in `mtl.objective`.

  Returns:
    The tasks and the data, for `mtl.fit`.

  Raises:
    UserError: A task that no teacher has, or two; or whose kind cannot be taught, or is another than the teacher's;
      data with other inputs than a teacher's; a number out of range.

  >>> import tempfile, numpy as np, optax, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((4,))), {"size": mtl.from_linen(mtl.nn.MLP((), 1))})
  >>> arrays = {"x": np.ones((8, 3), np.float32), "size": np.ones(8, np.float32)}
  >>> tasks, options = {"size": mtl.tasks.regression("size")}, {"steps": 2, "batch_size": 4, "progress": False}
  >>> with tempfile.TemporaryDirectory() as run_dir:
  ...   done = mtl.fit(net, tasks, "equal", optax.sgd(0.1), arrays, run_dir=run_dir, **options)
  ...   teacher = mtl.load(run_dir, net, tasks)
  >>> student = distilled(tasks, teacher, arrays, weight=0.9)
  >>> done = mtl.fit(net, student.tasks, "equal", optax.sgd(0.1), student.train, **options)

  References:
    Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015.
    Li and Bilen, *Knowledge Distillation for Multi-task Learning*, 2020, for single-task teachers of one student.

  Deviations: class weights, label smoothing and focal losses of a task are of its labels' part alone.
  """
  check_task_types(tasks)
  check_numbers({"weight": weight, "temperature": temperature})
  teachers = [teachers] if isinstance(teachers, Trained) else list(teachers)
  chosen = list(tasks) if names is None else list(names)
  of_task = {name: _teacher_of(name, tasks, teachers) for name in chosen}
  mixture = data.as_mixture(train, tasks, inputs)
  if mixture is None:
    places = {name: place for place, name in enumerate(chosen)}
    found = _with_targets(of_task, train)
  else:
    own = {source: [name for name in some if name in of_task] for source, some in mixture.tasks.items()}
    places = {name: place for some in own.values() for place, name in enumerate(some)}
    found = dataclasses.replace(
      mixture,
      sources={
        source: data.as_source(_with_targets({name: of_task[name] for name in own[source]}, of))
        for source, of in mixture.sources.items()
      },
    )
  taught = {name: _taught(name, tasks[name], places[name], weight, temperature, unlabelled) for name in chosen}
  return Distilled({name: taught.get(name, task) for name, task in tasks.items()}, found)


def _teacher_of(name: str, tasks: Mapping[str, Task], teachers: Sequence[Trained]) -> Trained:
  """The one teacher of a task, which is of its kind."""
  if name not in tasks:
    raise UserError(f"distilled: there is no task {name!r}{nearest(name, tasks)}: choose from {', '.join(tasks)}.")
  own = tasks[name].imitation
  if own is None:
    raise UserError(
      f"task {name!r} cannot be taught by another model, only classes, yes or no, and numbers can: name the tasks that "
      "can (names=, --taught)."
    )
  able = [teacher for teacher in teachers if name in teacher.problem.tasks]
  if len(able) != 1:
    known = ", ".join(dict.fromkeys(each for teacher in teachers for each in teacher.problem.tasks)) or "nothing"
    found = f"no teacher, they know {known}" if not able else f"{len(able)} teachers"
    raise UserError(f"task {name!r} has {found}: expected one, or name the tasks to be taught (names=, --taught).")
  theirs = able[0].problem.tasks[name].imitation
  if theirs is None or theirs.kind != own.kind:
    kind = "something else" if theirs is None else theirs.kind
    raise UserError(f"task {name!r}: its teacher predicts {kind}, expected {own.kind}.")
  return able[0]


def _with_targets(teachers: Mapping[str, Trained], train: Any) -> Any:
  """The data with what the teachers predict of them; as they are where there are none."""
  if not teachers:
    return train
  source = data.as_source(train, "train")
  entry = targets_of(teachers, source)
  return {**train, TEACHER: entry} if isinstance(train, Mapping) else Beside(source, TEACHER, entry)


def _taught(name: str, task: Task, place: int, weight: float, temperature: float, unlabelled: bool) -> Task:
  """The task with a teacher's part in its loss, where a batch has it."""
  assert task.imitation is not None
  imitation: Imitation = task.imitation

  def loss(prediction: Any, batch: Mapping[str, Any]) -> Any:
    if weight == 0 or TEACHER not in batch:
      return task.loss(prediction, batch)
    target = jax.lax.stop_gradient(batch[TEACHER][place])
    if imitation.target(prediction).shape != target.shape:
      found, expected = (array.shape[1:] for array in (target, imitation.target(prediction)))
      raise UserError(f"task {name!r}: its teacher predicts {found} for an example, expected {expected} as it does.")
    weights = None if task.mask is None else task.mask(batch)
    part = imitation.loss(prediction, target, weights, temperature)
    if weight == 1:
      return part
    own = task.loss(prediction, batch)
    mixed = (1 - weight) * own + weight * part
    return mixed if weights is None or not unlabelled else jnp.where(weights > 0, mixed, weight * part)

  def mask(batch: Mapping[str, Any]) -> Any:
    assert task.mask is not None
    weights = task.mask(batch)
    return jnp.where(weights > 0, weights, jnp.ones((), weights.dtype)) if TEACHER in batch else weights

  everywhere = unlabelled and weight > 0 and task.mask is not None
  return dataclasses.replace(task, loss=loss, mask=mask if everywhere else task.mask)
