"""`plan`, the train step of a run compiled for a topology with each engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from mtl_jax._core import devices
from mtl_jax._core.checks import check_compute_dtype, check_numbers
from mtl_jax._core.errors import UserError
from mtl_jax._core.frozen import Frozen
from mtl_jax._core.inputs import Inputs
from mtl_jax._core.shapes import shapes
from mtl_jax.arch.microbatch import microbatch
from mtl_jax.balance.balancer import Balancer
from mtl_jax.balance.named import as_balancer
from mtl_jax.engine import Engine, as_engine, check_serves, missing, names
from mtl_jax.net import Net
from mtl_jax.objective import objective
from mtl_jax.plan._report import Report
from mtl_jax.plan._step import check_batch, plan_step, shape_of
from mtl_jax.plan._topology import Target, open_topology
from mtl_jax.problem import of_problem
from mtl_jax.shard import AnyRules, batch_sharding, make_mesh, state_shardings
from mtl_jax.tasks import Task
from mtl_jax.train import Nonfinite, Sparse, Transform, init_train_state, make_train_step, transforming


@of_problem
def plan(
  net: Net,
  tasks: Mapping[str, Task],
  balancer: Balancer | str,
  tx: optax.GradientTransformation,
  batch: Mapping[str, Any],
  topology: str | Target,
  engines: Sequence[Engine | str] | None = None,
  *,
  inputs: Inputs = "x",
  accumulate: int = 1,
  compute_dtype: Any = None,
  nonfinite: Nonfinite = "stop",
  frozen: Frozen = (),
  sparse: Sparse | None = None,
  transform: Transform | None = None,
  mesh: str | None = None,
  rules: AnyRules = None,
) -> list[Report]:
  """Compiles the step that `fit` would run for devices that are not here, and tells what it needs of them.

  Nothing is computed and no parameter exists: the state is known by its shapes. On a machine without the devices set
  `JAX_PLATFORMS=cpu`, and plan in a process of its own.

  Args:
    net: The multi-task net.
    tasks: The tasks of the net.
    balancer: How the task gradients are combined, or a name of `mtl.balance.names()`.
    tx: The optimizer.
    batch: A batch of all devices together, arrays or `jax.ShapeDtypeStruct`s, `{key: (B, ...)}`; entries may be trees.
    topology: `"v5e:4x4"`, a slice of a TPU generation v2, v3, v4, v5e, v5p, v6e or tpu7x, such as Google rents it;
      `"h100:8"`, GPUs of one machine; `"cpu:8"`, virtual CPU devices.
    engines: The engines to compare, or their names; None: all those of the library that serve the balancer, but `auto`,
      which would be one of them.
    inputs: As in `mtl.objective`.
    accumulate: As in `fit`.
    compute_dtype: As in `fit`.
    nonfinite: As in `fit`.
    frozen: As in `fit`.
    sparse: As in `fit`.
    transform: As in `fit`.
    mesh: The axes of the topology's devices, as `mtl.make_mesh` takes them; None: all along `data`.
    rules: As in `fit`.

  Returns:
    One report an engine.

  Raises:
    UserError: An unknown topology, a compiler that is not installed, a batch that cannot be split over the devices, or
      an engine that cannot serve the balancer.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> from mtl_jax.plan import plan
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> tasks, batch = {"size": mtl.tasks.regression("size")}, {"x": jnp.ones((2, 3)), "size": jnp.zeros(2)}
  >>> reports = plan(net, tasks, mtl.balance.equal(), optax.sgd(0.1), batch, "cpu:1", [mtl.engine.losses()])
  >>> [(report.engine, report.collectives) for report in reports]
  [('losses', ())]
  """
  check_numbers({"accumulate": accumulate})
  check_compute_dtype(compute_dtype)
  balancer = as_balancer(balancer)
  if engines is None:
    known = [as_engine(name) for name in names() if name != "auto"]
    chosen = [engine for engine in known if not missing(engine, balancer)]
  else:
    chosen = [as_engine(engine) for engine in engines]
  if not chosen:
    raise UserError("plan needs at least one engine.")
  for engine in chosen:
    check_serves(engine, balancer)
  target = open_topology(topology) if isinstance(topology, str) else topology
  if mesh is not None:
    target = target._replace(mesh=make_mesh(mesh, list(target.mesh.devices.flat)))
  check_batch(batch, batch_sharding(target.mesh).mesh.shape["data"], accumulate)
  batch = jax.tree.map(shape_of, dict(batch))
  net = microbatch(net, accumulate)
  losses = objective(net, tasks, inputs, compute_dtype=compute_dtype)
  reports = []
  for engine in chosen:

    def create(key, batch, engine=engine):
      return init_train_state(net, tasks, balancer, tx, batch, key, inputs=inputs, engine=engine, frozen=frozen)

    with devices.on(target.mesh):
      state = shapes(create, jax.eval_shape(lambda: jax.random.key(0)), batch)
    step = make_train_step(losses, balancer, tx, engine, nonfinite=nonfinite, frozen=frozen, sparse=sparse, rules=rules)
    step = transforming(step, transform, batch_sharding(target.mesh))
    placed = state_shardings(state, tx, target.mesh, rules, frozen)
    reports.append(plan_step(step, state, batch, target, engine.name, shardings=placed))
  return reports
