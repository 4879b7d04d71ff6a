"""Tables of which a step reads and updates those rows alone that its batch names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError, nearest, some
from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._core.paths import by_path, check_patterns
from mtl_jax._core.rows import Rows, named, put, take
from mtl_jax.balance.balancer import Balancer
from mtl_jax.train._state import TrainState

Sparse = Mapping[str, str | Callable[[Any], Any]]
"""`{pattern: rows}`: a regular expression, searched for in the paths of parameters, and what tells of a batch which
rows of them it names: a key of the batch, or a function of it; integers of any shape, those below 0 name none."""


class Named(NamedTuple):
  """The numbers of the rows that a batch names, as trees: (U,) in the places of tables, None in all others.

  Attributes:
    params: Like the parameters.
    opt_state: Like the optimizer's state; its arrays of a table are those that have the table's shape.
  """

  params: Any
  opt_state: Any


def named_by(sparse: Sparse, batch: Any, state: TrainState, tx: optax.GradientTransformation, frozen: Frozen) -> Named:
  """The rows that a batch names.

  Args:
    sparse: As in `make_train_step`.
    batch: The batch of all devices.
    state: The state with whole tables.
    tx: The optimizer.
    frozen: As in `make_train_step`.

  Raises:
    UserError: A pattern that is no regular expression or matches no parameter, or one without rows; the batch has no
      such key, or other than integers.
  """
  found: dict[str, Any] = {}
  leaves = by_path(state.params)
  check_patterns("sparse", sparse, leaves)
  for pattern, rows in sparse.items():
    ids = _ids(pattern, rows, batch)
    for path in (path for path in leaves if re.search(pattern, path)):
      if leaves[path].ndim < 2:
        raise UserError(f"sparse: {pattern!r} matches {path!r}, which has the shape {leaves[path].shape} and no rows.")
      found.setdefault(path, named(ids, leaves[path].shape[-2]))
  structure = jax.tree.structure(state.params)
  numbers = jax.tree.unflatten(structure, [found.get(path) for path in leaves])
  trained, _ = split_frozen(state.params, frozen)
  in_training = by_path(trained)
  of_trained = jax.tree.unflatten(structure, [found.get(path) if path in in_training else None for path in leaves])

  def of_parameter(leaf, number, param):
    return number if not isinstance(leaf, optax.MaskedNode) and leaf.shape == param.shape else None

  of_optimizer = optax.tree.map_params(
    tx,
    of_parameter,
    state.opt_state,
    of_trained,
    trained,
    transform_non_params=lambda leaf: None,
    is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
  )
  return Named(numbers, of_optimizer)


def _ids(pattern: str, rows: Any, batch: Any) -> jax.Array:
  if isinstance(rows, str) and rows not in batch:
    raise UserError(f"sparse: {pattern!r} reads {rows!r}, the batch has {some(batch)}{nearest(rows, batch)}.")
  ids = jnp.asarray(batch[rows] if isinstance(rows, str) else rows(batch))
  if not jnp.issubdtype(ids.dtype, jnp.integer):
    raise UserError(f"sparse: the rows of {pattern!r} are {ids.dtype}, expected integers: the numbers of rows.")
  return ids


def with_rows(state: TrainState, rows: Named) -> TrainState:
  """The state with those rows in place of whole tables."""
  whole, numbers = (state.params, state.opt_state), (rows.params, rows.opt_state)
  params, opt_state = jax.tree.map(lambda leaf, n: leaf if n is None else take(leaf, n), whole, numbers)
  return state._replace(params=params, opt_state=opt_state)


def given_back(state: TrainState, after: TrainState, rows: Named) -> TrainState:
  """The state after a step on rows, with these put back into the whole tables of the state before it."""
  whole, some = ((each.params, each.opt_state) for each in (state, after))
  numbers = (rows.params, rows.opt_state)
  params, opt_state = jax.tree.map(lambda old, new, n: new if n is None else put(old, n, new), whole, some, numbers)
  return after._replace(params=params, opt_state=opt_state)


def numbered(params: Any, numbers: Any) -> Any:
  """What `holding` joins to parameters with rows, so that the net knows which rows they are."""

  def one(table, numbers):
    # One set of numbers for every copy of a table, such as those of experts.
    return None if numbers is None else Rows(jnp.broadcast_to(numbers, (*table.shape[:-2], *numbers.shape)))

  return jax.tree.map(one, params, numbers)


def check_rows(
  state: TrainState, tx: optax.GradientTransformation, balancer: Balancer, trained: Any, whole: Any
) -> None:
  """Raises a `UserError` where optimizer or balancer remember of a table what cannot be cut into rows.

  Args:
    state: The state with rows in place of tables.
    tx: The optimizer.
    balancer: The balancer.
    trained: The trained parameters of that state.
    whole: The shapes of the same with whole tables.
  """
  count = state.nonfinite.shape[0]
  found, wanted = _shapes(state.opt_state), _shapes(jax.eval_shape(tx.init, trained))
  if found.keys() == wanted.keys() and found != wanted:
    path = next(path for path, shape in found.items() if shape != wanted[path])
    raise UserError(
      f"sparse: the optimizer keeps {path!r} of shape {found[path]}, which has no rows like its table: take one whose "
      "arrays have the shapes of the parameters, such as optax.adam, or optax.partition with such a one for tables."
    )
  some, all_rows = (jax.eval_shape(lambda p: balancer.init(count, p["shared"]), tree) for tree in (trained, whole))
  if _shapes(some) != _shapes(all_rows):
    raise UserError(
      "sparse: this balancer remembers gradients of every row of a table: choose another, or train without sparse=."
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  return {path: jnp.shape(leaf) for path, leaf in by_path(tree).items()}
