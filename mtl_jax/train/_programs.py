"""The jitted programs of a run, compiled once for all runs that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from mtl_jax import shard
from mtl_jax._core import devices
from mtl_jax._core.checks import check_compute_dtype, check_numbers
from mtl_jax._core.frozen import Frozen
from mtl_jax._core.shapes import shapes
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.balance.balancer import Balancer
from mtl_jax.data.mixture import as_mixture
from mtl_jax.data.sample import spec_of
from mtl_jax.data.views import by_source, completing
from mtl_jax.engine import Engine
from mtl_jax.net import Net
from mtl_jax.objective import objective
from mtl_jax.problem import of_problem
from mtl_jax.tasks import Task
from mtl_jax.train._evaluate import Inputs, Metrics, evaluation_size, make_evaluate
from mtl_jax.train._finish import Nonfinite
from mtl_jax.train._rollback import slowable
from mtl_jax.train._sparse import Sparse
from mtl_jax.train._state import TrainState, init_train_state
from mtl_jax.train._step import make_train_step
from mtl_jax.train._transform import Transform, transforming


class Programs(NamedTuple):
  """The functions of a run, from `compile_programs`.

  Attributes:
    create: `create(key, model=None) -> train_state`, the state before the first step, as `init_train_state` makes it.
    step: `step(train_state, batch) -> (train_state, metrics)`, jitted, its state donated.
    evaluate: `evaluate(params, state, data) -> {task: {metric: value}}`.
  """

  create: Callable[..., TrainState]
  step: Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]
  evaluate: Callable[[Any, Any, Any], Metrics]


@of_problem
def compile_programs(
  net: Net,
  tasks: Mapping[str, Task],
  balancer: Balancer | str,
  tx: optax.GradientTransformation,
  train: Any,
  *,
  inputs: Inputs = "x",
  batch_size: int | None = None,
  engine: Engine | str | None = None,
  transform: Transform | None = None,
  accumulate: int = 1,
  compute_dtype: Any = None,
  nonfinite: Nonfinite = "stop",
  freeze_absent: bool = True,
  frozen: Frozen = (),
  sparse: Sparse | None = None,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
) -> Programs:
  """The jitted functions that `fit` runs; each compiles when first called.

  Runs that differ in `seed` alone share them: `fit(..., loop=mtl.train.Loop(programs=programs))`.

  Args:
    net: The multi-task net.
    tasks: The tasks of the net.
    balancer: As in `fit`.
    tx: As in `fit`.
    train: Data of the shapes and dtypes of the training data; one example is enough.
    inputs: As in `mtl.objective`.
    batch_size: Examples a step, by which evaluation takes no more at a time than fit where the step does: four times
      as many, 256 at most; None: 256.
    engine: As in `fit`.
    transform: As in `fit`.
    accumulate: As in `fit`.
    compute_dtype: As in `fit`.
    nonfinite: As in `fit`.
    freeze_absent: As in `fit`.
    frozen: As in `fit`.
    sparse: As in `fit`.
    mesh: As in `fit`.
    rules: As in `fit`.

  Returns:
    The functions.

  Raises:
    UserError: An option is out of range, the engine cannot serve the balancer, or the rules do not suit the parameters.
  """
  check_numbers({"accumulate": accumulate, "batch_size": batch_size})
  check_compute_dtype(compute_dtype)
  tx = slowable(tx) if nonfinite == "rollback" else tx
  evaluate = make_evaluate(net, tasks, inputs, batch_size=evaluation_size(batch_size, accumulate), mesh=mesh)
  mixture = as_mixture(train, tasks, inputs)
  if mixture is not None:
    train = mixture
    tasks, inputs = mixture.through(tasks, inputs, filled=mixture.filled)
  losses = objective(microbatch(net, accumulate), tasks, inputs, compute_dtype=compute_dtype)
  step = make_train_step(
    losses,
    balancer,
    tx,
    engine,
    nonfinite=nonfinite,
    freeze_absent=freeze_absent,
    frozen=frozen,
    sparse=sparse,
    mesh=mesh,
    rules=rules,
  )
  example = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape), leaf.dtype), dict(spec_of(train)))

  def create(key, model=None):
    options = {"inputs": inputs, "engine": engine, "frozen": frozen, "model": model}
    return init_train_state(net, tasks, balancer, tx, example, key, **options)

  batches = batch_placement(mesh)
  if mixture is not None:
    if mixture.turns:
      step = completing(step, mixture.sources, accumulate * (1 if mesh is None else mesh.shape[devices.DATA]))
    transform = transform and by_source(mixture.sources, transform)
  step = transforming(step, transform, batches)
  if mesh is None:
    placed, jitted = batches, jax.jit(step, donate_argnums=0, out_shardings=batches)
  else:
    abstract = shapes(create, jax.eval_shape(lambda: jax.random.key(0)))
    placed = shard.state_shardings(abstract, tx, mesh, rules, frozen)
    everywhere = placed.step
    jitted = jax.jit(step, donate_argnums=0, in_shardings=(placed, batches), out_shardings=(placed, everywhere))
  # In one program, so that no device ever holds the whole of a state that is spread out. It runs once: hardly
  # optimized, it is there two to four times as soon.
  hurried = {"xla_backend_optimization_level": 0}
  return Programs(jax.jit(create, out_shardings=placed, compiler_options=hurried), jitted, evaluate)


def batch_placement(mesh: jax.sharding.Mesh | None) -> Any:
  """Where batches live: on the mesh, or on the first device of this process."""
  if mesh is None:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return shard.batch_sharding(mesh)
