"""The jitted programs of a run, compiled once for all runs that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mtl_jax.arch.microbatch import microbatch
from mtl_jax.balance._balancer import Balancer
from mtl_jax.engine import Engine
from mtl_jax.net import Net
from mtl_jax.objective import objective
from mtl_jax.tasks._task import Task
from mtl_jax.train._evaluate import Inputs, Metrics, make_evaluate
from mtl_jax.train._state import TrainState, init_train_state
from mtl_jax.train._step import Nonfinite, make_train_step


class Programs(NamedTuple):
  """The functions of a run: `create(key)`, and jitted `step(state, batch)` and `evaluate(params, state, arrays)`."""

  create: Callable[[jax.Array], TrainState]
  step: Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]
  evaluate: Callable[[Any, Any, Mapping[str, Any]], Metrics]


def compile_programs(
  net: Net,
  tasks: Mapping[str, Task],
  balancer: Balancer,
  tx: optax.GradientTransformation,
  train: Mapping[str, Any],
  *,
  inputs: Inputs = "x",
  engine: Engine | None = None,
  accumulate: int = 1,
  compute_dtype: Any = None,
  nonfinite: Nonfinite = "stop",
  mesh: jax.sharding.Mesh | None = None,
) -> Programs:
  """The jitted functions that `fit` runs, with `fit`'s arguments; each compiles when first called."""
  replicated, _ = shardings(mesh)
  net = microbatch(net, accumulate)
  losses = objective(net, tasks, inputs, compute_dtype=compute_dtype)
  step = make_train_step(losses, balancer, tx, engine, nonfinite=nonfinite)
  example = {key: value[:accumulate] for key, value in train.items()}

  def create(key):
    # Not jitted: XLA takes longer over one program of all initialisers than over each random shape once for all nets.
    state = init_train_state(net, tasks, balancer, tx, example, key, inputs=inputs, engine=engine)
    return jax.device_put(state, replicated)

  return Programs(
    create,
    jax.jit(step, donate_argnums=0, out_shardings=replicated),
    make_evaluate(net, tasks, inputs),
  )


def shardings(mesh: jax.sharding.Mesh | None) -> tuple[Any, Any]:
  """Where the state lives, and where batches live."""
  if mesh is None:
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return device, device
  return NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
