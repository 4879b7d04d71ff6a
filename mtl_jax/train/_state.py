"""`TrainState`, everything that changes in training, as one pytree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._core.inputs import Inputs, initial_input, input_keys
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.bilevel import Bilevel
from mtl_jax.data.views import entries_of
from mtl_jax.engine import Engine, as_engine
from mtl_jax.net import Net
from mtl_jax.problem import of_problem
from mtl_jax.tasks import Task, balanced
from mtl_jax.train._arguments import check_optimizer
from mtl_jax.train._packing import pack_heads


class TrainState(NamedTuple):
  """Everything that changes in training; checkpointed and restored whole.

  Attributes:
    step: Steps taken, skipped ones included, int32.
    params: `{"shared": ..., "task": {name: ...}}`. Heads of many tasks that are equal lie in one tree of arrays, which
      is read like a dictionary all the same.
    state: The net's state (batch statistics), laid out like the parameters.
    opt_state: The optimizer's state.
    balancer: The balancer's state.
    engine: The engine's state.
    key: The PRNG key; step n draws from `fold_in(key, n)`.
    skipped: Steps skipped because a loss or gradient was not finite or a loss outside the balancer's domain, int32.
    nonfinite: How many of them each task caused by such a loss, (T,) int32.
    first_nonfinite: The first such step, -1 if there was none, int32.
    empty: Steps that changed nothing since no task had labels, int32.
  """

  step: jax.Array
  params: Any
  state: Any
  opt_state: Any
  balancer: Any
  engine: Any
  key: jax.Array
  skipped: jax.Array
  nonfinite: jax.Array
  first_nonfinite: jax.Array
  empty: Any = np.int32(0)


@of_problem
def init_train_state(
  net: Net,
  tasks: Mapping[str, Task],
  balancer: Balancer | Bilevel | str,
  tx: optax.GradientTransformation,
  batch: Mapping[str, Any],
  key: jax.Array,
  *,
  inputs: Inputs = "x",
  engine: Engine | str | None = None,
  frozen: Frozen = (),
  model: tuple[Any, Any] | None = None,
) -> TrainState:
  """The state before the first step.

  Args:
    net: The multi-task net.
    tasks: The tasks, in the order of all vectors over tasks.
    balancer: The balancer, or its name, or the bilevel method.
    tx: The optimizer, of all parameters, shared and the heads' alike.
    batch: An example batch; only shapes and dtypes of its inputs matter.
    key: The PRNG key of the run.
    inputs: As in `mtl.objective`.
    engine: The engine that the step will use, or its name, if it remembers something between steps.
    frozen: As the step will have it: the optimizer has no state for these parameters.
    model: Parameters and state to begin with; None: those that the net's `init` gives.

  Returns:
    The state.

  Raises:
    UserError: No tasks, or the net is none of several tasks.
  """
  if not tasks:
    raise UserError("init_train_state needs at least one task, found none.")
  check_optimizer(tx)
  names = tuple(balanced(tasks))
  method = balancer if isinstance(balancer, Bilevel) else as_balancer(balancer).for_tasks(names)
  count = len(names)
  init_key, run_key = jax.random.split(key)
  keys = input_keys(tasks, inputs)
  x = initial_input(keys, lambda task: entries_of(batch, task))
  params, state = net.init(init_key, jax.tree.map(jnp.asarray, x)) if model is None else model
  _check_multi_task(params)
  split_frozen(params, frozen)  # mistakes are told of the parameters as the user knows them
  params, state = pack_heads(net, tasks, keys, params, state, tx, frozen)
  engine = as_engine("auto" if engine is None else engine)
  trained, _ = split_frozen(params, frozen)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    state=state,
    opt_state=tx.init(trained),
    balancer=method.init(count, trained["shared"]),
    engine=engine.init(count),
    key=run_key,
    skipped=jnp.zeros((), jnp.int32),
    nonfinite=jnp.zeros(count, jnp.int32),
    first_nonfinite=jnp.full((), -1, jnp.int32),
    empty=jnp.zeros((), jnp.int32),
  )


def _check_multi_task(params: Any) -> None:
  """Raises a `UserError` for the parameters of a trunk or head alone."""
  if not isinstance(params, Mapping) or not {"shared", "task"} <= params.keys():
    raise UserError(
      "net is no multi-task net, whose parameters are {'shared': ..., 'task': {name: ...}}: join a trunk and one head "
      "per task, mtl.arch.hard_sharing(trunk, {task: head})."
    )
