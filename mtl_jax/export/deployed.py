"""A trained model as a function of arrays by name, with nothing else in its hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mtl_jax._core.errors import UserError
from mtl_jax._core.inputs import keys_read
from mtl_jax._core.outputs import flat
from mtl_jax.data.arrays import leaves_of
from mtl_jax.net import Net
from mtl_jax.train import Trained, make_predict


class Deployed(NamedTuple):
  """A model as one function.

  Attributes:
    function: `function({path: (N, ...)}) -> {"<task>.<output>": (N, ...)}`, to be jitted or traced.
    inputs: Shape and dtype of one example of each input, by its path, `x` or `x/image`.
    outputs: The same of each output.
    tasks: The names of the tasks.
    trained: The model that it is made of, with all of its tasks.
  """

  function: Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]
  inputs: dict[str, jax.ShapeDtypeStruct]
  outputs: dict[str, jax.ShapeDtypeStruct]
  tasks: tuple[str, ...]
  trained: Trained

  def like(self, count: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of inputs of so many examples.

    Args:
      count: The number, or what stands for it.

    Returns:
      `{path: jax.ShapeDtypeStruct}`.
    """
    return {name: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype) for name, leaf in self.inputs.items()}


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
  chosen = list(trained.problem.tasks if tasks is None else tasks)
  if not chosen:
    raise UserError("export: the model was opened without its tasks, or none is named: there is nothing to give.")
  whole, trained = trained, trained.only(chosen)
  net, own, inputs = trained.problem.net, trained.problem.tasks, trained.problem.inputs
  known = trained.entries()
  held = jax.tree.map(_held, {key: known[key] for key in keys_read(inputs)})
  shapes, form = leaves_of(held), jax.tree.structure(held)
  predict = make_predict(Net(net.init, net.apply), own, inputs)  # without a cut it is one plain program

  def function(arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    batch = jax.tree.unflatten(form, [arrays[path] for path in shapes])
    predictions = predict(trained.params, trained.state, batch)
    return flat({task: own[task].output(prediction) for task, prediction in predictions.items()})

  model = Deployed(function, shapes, {}, tuple(chosen), whole)
  given = jax.eval_shape(function, model.like(1))
  outputs = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in given.items()}
  return model._replace(outputs=outputs)


def _held(leaf: Any) -> jax.ShapeDtypeStruct:
  """A leaf in the dtype in which JAX holds it."""
  return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype))
