"""`make_train_step`, one pure training step: losses, balanced gradients, update."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from mtl_jax import shard
from mtl_jax._core import devices
from mtl_jax._core.errors import UserError
from mtl_jax._core.frozen import Frozen, split_frozen
from mtl_jax._jaxpr.convolutions import canonical
from mtl_jax.balance.balancer import Balancer, Stats
from mtl_jax.balance.named import as_balancer
from mtl_jax.engine import Engine, as_engine, check_serves
from mtl_jax.engine.linearize import linearize, losses_of
from mtl_jax.objective import Objective, at_step, guarded, holding, present_heads, report_of
from mtl_jax.train._arguments import check_optimizer
from mtl_jax.train._dropped import dropped
from mtl_jax.train._finish import Found, Nonfinite, check_nonfinite, finish
from mtl_jax.train._sparse import Sparse, check_rows, given_back, named_by, numbered, with_rows
from mtl_jax.train._state import TrainState


def make_train_step(
  objective: Objective | Callable[..., Any],
  balancer: Balancer | str,
  tx: optax.GradientTransformation,
  engine: Engine | str | None = None,
  *,
  nonfinite: Nonfinite = "skip",
  freeze_absent: bool = True,
  frozen: Frozen = (),
  sparse: Sparse | None = None,
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]:
  r"""One training step, a pure function to be jitted with its state donated.

  $$ \theta_{shared} \leftarrow \theta_{shared} + tx(J^T w), \; \theta_t \leftarrow \theta_t + tx(v_t \nabla_t l_t) $$

  The same function runs on one device and, jitted with a batch sharded over a mesh, on many.

  A task without labels in the whole batch is absent: it has weight 0, the balancer weighs the others as if there were
  no more, and the task's head stays as it is. A step without any label changes nothing; the state counts it.

  Args:
    objective: From `mtl.objective`, or any function `(params, state, batch, key) -> ({task: loss}, {"state": state})`
      over parameters `{"shared": ..., "task": {name: ...}}`. Tasks are ordered as in the dictionary it returns.
    balancer: How the task gradients are combined, or a name of `mtl.balance.names()`.
    tx: The optimizer.
    engine: How the combined gradient is computed, or a name of `mtl.engine.names()`; None: `auto`,
      the cheapest exact one.
    nonfinite: What happens when a loss or the gradient is NaN or infinite, or a loss is not in the balancer's domain
      (zero or negative where it takes logarithms). `"skip"`: the step changes nothing but
      the counters of the state. `"drop"`: the tasks with such a loss are absent from the step, and are counted, while
      the others learn; where the gradient itself is not finite all the same, the step changes nothing. Of a function
      that is no `mtl.Objective` the gradient of such a loss is its own, and as a rule not finite. `"stop"`: the step
      changes nothing, and so do all later ones, until somebody looks. `"rollback"`: as `"stop"`, for loops that then go
      back to an earlier state, as `mtl.fit` does. `"ignore"`: no check.
    freeze_absent: Whether the head of an absent task keeps its parameters and the optimizer's memory of them; False:
      the optimizer takes its gradient for 0, and may move it (momentum, weight decay).
    frozen: Regular expressions, searched for in paths such as `shared/Dense_0/kernel`: the parameters that stay as they
      are. They have no gradient, no optimizer state and no part in G, and no backward pass goes below the first layer
      that is trained. What a net changes without gradients, such as batch statistics, goes on to change.
    sparse: `{pattern: rows}`: large tables, (R, D) parameters that the net reads by `mtl.nn.lookup`, as
      `mtl.nn.Embeddings` does, and for each the key of the batch, or the function of it, that tells which rows the
      batch names; numbers below 0 name none. The step then works on these rows: task gradients and G are exact, since
      other rows have none, and take T x U x D for the U rows named. Other rows keep their values and the optimizer's
      memory of them, weight decay included, as in "lazy" Adam; bias corrections and schedules follow the step. By
      plain SGD and Adagrad, without momentum or decay, that is exactly the dense step. Terms of parameters see the
      rows of the batch.
    mesh: The devices among which `jax.jit` will divide the step, so that engines can choose by them and place what
      they keep; None: that of `jax.set_mesh`, if any.
    rules: Those by which `mtl.shard.state_shardings` places the state on the mesh; None: replicated.

  Returns:
    `step(train_state, batch) -> (train_state, metrics)` with metrics `losses` and `weights` by task, `present`, whether
    a task has labels, for those that may have none, `grad_norm`, `skipped`, `terms`, the values of the objective's
    terms and of the losses of auxiliary tasks, and `balancer` and `net`, what these report. All are device arrays;
    reading them waits for the step.

  Raises:
    UserError: The engine cannot serve the balancer, or an unknown `nonfinite`; when it is called, `sparse` fits no
      parameter or batch, or optimizer or balancer remember of a table what has no rows.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> tasks, batch = {"size": mtl.tasks.regression("size")}, {"x": jnp.ones((2, 3)), "size": jnp.zeros(2)}
  >>> balancer, tx = mtl.balance.pcgrad(), optax.sgd(0.1)
  >>> state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0))
  >>> step = jax.jit(make_train_step(mtl.objective(net, tasks), balancer, tx), donate_argnums=0)
  >>> state, metrics = step(state, batch)
  >>> int(state.step)
  1
  """
  check_optimizer(tx)
  method = as_balancer(balancer)
  engine = as_engine("auto" if engine is None else engine)
  check_serves(engine, method)
  check_nonfinite(nonfinite)

  def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    with devices.on(mesh):
      if not sparse:
        return divided(state, None, batch, state.params)
      check_same(_OPTIMIZER, state.opt_state, jax.eval_shape(tx.init, split_frozen(state.params, frozen)[0]))
      rows = named_by(sparse, batch, state, tx, frozen)
      after, metrics = divided(with_rows(state, rows), rows.params, batch, state.params)
      return given_back(state, after, rows), metrics

  def divided(state: TrainState, rows: Any, batch: Any, whole: Any) -> tuple[TrainState, dict[str, Any]]:
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), whole)
    run = functools.partial(on_devices, whole=shapes)
    if engine.per_device and devices.shards() > 1:
      axes = {devices.DATA}
      per_device = jax.shard_map(run, in_specs=(P(), P(), P(devices.DATA)), out_specs=P(), axis_names=axes)
      return per_device(state, rows, batch)
    return canonical(run)(state, rows, batch)

  def on_devices(state: TrainState, rows: Any, batch: Any, whole: Any) -> tuple[TrainState, dict[str, Any]]:
    key = jax.random.fold_in(state.key, state.step)
    trained, fixed = split_frozen(state.params, frozen)
    now = at_step(objective, state.step)
    if nonfinite == "drop":
      now = guarded(now)
    if sparse:
      now = holding(now, numbered(state.params, rows))
    linear = linearize(holding(now, fixed) if frozen else now, trained, state.state, batch, key, method.shares)
    check_tasks(linear.names, state)
    balancer, lost = method.for_tasks(linear.names), None
    if nonfinite == "drop":
      linear, lost = dropped(linear, balancer)
    if sparse:
      check_rows(state, tx, balancer, trained, split_frozen(whole, frozen)[0])
    check_made_for(state, tx, balancer, trained)
    shared, weights, balancer_state, engine_state = engine.run(linear, balancer, state.balancer, state.engine)
    heads = linear.pull_heads(balancer.head_weights(weights, balancer_state))
    grads = {"shared": shared, "task": heads}
    if devices.shards() > 1:
      grads = shard.constrain_gradients(grads, whole, rules)
    before = Stats(linear.losses, present=None if linear.present is None else linear.here)

    def observed(params):
      if "losses_after" not in balancer.needs:
        return balancer_state
      after = losses_of(now, linear.names, params, state.state, batch, key, balancer.shares, present=linear.present)
      return balancer.observe(before, before._replace(losses=after), balancer_state)

    found = Found(
      grads,
      linear.names,
      before,
      weights,
      linear.aux,
      observed,
      engine_state,
      terms=linear.terms,
      heads=present_heads(objective, batch),
      report=report_of(objective),
      lost=lost,
    )
    return finish(state, tx, found, balancer, nonfinite, freeze_absent=freeze_absent)

  return step


def check_tasks(names: tuple[str, ...], state: TrainState) -> None:
  """Raises a `UserError` where the state was made for another number of tasks."""
  expected = state.nonfinite.shape[0]
  if len(names) != expected:
    raise UserError(
      f"the objective has {len(names)} tasks ({', '.join(names)}), but the train state was made for {expected}: "
      "make a new one with init_train_state."
    )


def check_made_for(state: TrainState, tx: optax.GradientTransformation, method: Any, trained: Any) -> None:
  """Raises a `UserError` where the state was made for another optimizer or balancer, or other frozen parameters."""
  tasks = state.nonfinite.shape[0]
  expected = jax.eval_shape(lambda p: (tx.init(p), method.init(tasks, p["shared"])), trained)
  check_same(_OPTIMIZER, state.opt_state, expected[0])
  check_same("balancer", state.balancer, expected[1])


_OPTIMIZER = "optimizer, or other frozen parameters"


def check_same(what: str, found: Any, wanted: Any) -> None:
  """Raises a `UserError` where a part of the state has another structure or other shapes than the step expects."""
  if jax.tree.structure(found) != jax.tree.structure(wanted) or _shapes(found) != _shapes(wanted):
    raise UserError(f"the train state was made for another {what} than the step: make a new one with init_train_state.")


def _shapes(tree: Any) -> list[tuple[int, ...]]:
  return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
