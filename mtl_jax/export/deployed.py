"""A trained model as a function of arrays by name, with nothing else in its hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import input_keys, keys_read
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.views import entries_of
from mtl_jax.net import Net
from mtl_jax.train import Trained, make_outputs


class Deployed(NamedTuple):
  """A model as one function.

  Attributes:
    function: `function({path: (N, ...)}) -> {"<task>.<output>": (N, ...)}`, to be jitted or traced.
    inputs: Shape and dtype of one example of each input, by its path, `x` or `x/image`.
    outputs: The same of each output.
    tasks: The names of the tasks.
  """

  function: Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]
  inputs: dict[str, jax.ShapeDtypeStruct]
  outputs: dict[str, jax.ShapeDtypeStruct]
  tasks: tuple[str, ...]


def deployed(trained: Trained, tasks: Sequence[str] | None = None) -> Deployed:
  """The model as a function of its inputs alone, whose outputs are those of `Trained.predict`.

  Args:
    trained: The model, with its tasks.
    tasks: The tasks to keep; None: all. Heads of others are not part of it.

  Returns:
    The function, and what it takes and gives.

  Raises:
    UserError: There is no such task, or the model was opened without tasks.
  """
  problem = trained.problem
  chosen = tuple(problem.tasks) if tasks is None else tuple(tasks)
  if not chosen:
    raise UserError("export: the model was opened without its tasks, or none is named: there is nothing to give.")
  for name in chosen:
    if name not in problem.tasks:
      known = ", ".join(problem.tasks)
      raise UserError(f"export: the model has no task {name!r}{nearest(name, problem.tasks)}: choose from {known}.")
  own = {name: problem.tasks[name] for name in chosen}
  inputs = problem.inputs if isinstance(problem.inputs, str) else _read_by(own, problem.inputs)
  entries = _entries(trained, own, inputs)
  paths = list(leaves_of(entries))
  chosen_net = problem.net.only(chosen)
  outputs_of = make_outputs(Net(chosen_net.init, chosen_net.apply), own, inputs)  # no cut: one plain program
  params, state = trained.params, trained.state

  def function(arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    leaves = iter([arrays[path] for path in paths])
    batch = jax.tree.map(lambda _: next(leaves), entries)
    found = outputs_of(params, state, batch)
    return {f"{task}.{name}": value for task, named in found.items() for name, value in named.items()}

  shapes = leaves_of(entries)
  ones = {path: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype) for path, leaf in shapes.items()}
  given = jax.eval_shape(function, ones)
  outputs = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in given.items()}
  return Deployed(function, dict(shapes), outputs, chosen)


def _read_by(tasks: Mapping[str, Any], inputs: Any) -> Any:
  """`inputs=` of some of the tasks."""
  return {name: inputs[name] for name in tasks} if isinstance(inputs, Mapping) else inputs


def _entries(trained: Trained, tasks: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
  """Shapes of the entries that the tasks read, in the dtypes in which JAX holds them, in the order of their leaves."""
  known: dict[str, Any] = {}
  for task in tasks:
    known = entries_of(trained.data.arrays, task) | known
  keys = keys_read(inputs) if not isinstance(inputs, Mapping) else keys_read(input_keys(tasks, inputs))
  held = {key: known[key] for key in keys}
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(_held(leaf.dtype))), held)


def _held(dtype: Any) -> Any:
  return jax.dtypes.canonicalize_dtype(dtype)


def told(batch: int | None) -> str:
  """With what number of examples a model was to be stored, for messages."""
  return f" for {batch} examples" if batch else " for any number of examples (one number may do: batch)"
