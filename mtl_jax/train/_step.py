"""`make_train_step`, one pure training step: losses, balanced gradients, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from mtl_jax import _devices, shard
from mtl_jax._convolutions import canonical
from mtl_jax._errors import UserError
from mtl_jax.balance._balancer import Balancer
from mtl_jax.engine import Engine, auto, check_serves
from mtl_jax.engine._linearize import linearize, losses_of
from mtl_jax.objective import Objective
from mtl_jax.train._state import TrainState

Nonfinite = str  # "stop", "skip" or "ignore"
_SMALL = 4096  # numbers of a parameter whose norm takes a CPU longer to begin than to add up


def make_train_step(
  objective: Objective | Callable[..., Any],
  balancer: Balancer,
  tx: optax.GradientTransformation,
  engine: Engine | None = None,
  *,
  nonfinite: Nonfinite = "skip",
  mesh: jax.sharding.Mesh | None = None,
  rules: shard.AnyRules = None,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]:
  r"""One training step, a pure function to be jitted with its state donated.

  $$ \theta_{shared} \leftarrow \theta_{shared} + tx(J^T w), \; \theta_t \leftarrow \theta_t + tx(v_t \nabla_t l_t) $$

  The same function runs on one device and, jitted with a batch sharded over a mesh, on many.

  Args:
    objective: From `mtl.objective`, or any function `(params, state, batch, key) -> ({task: loss}, {"state": state})`
      over parameters `{"shared": ..., "task": {name: ...}}`. Tasks are ordered as in the dictionary it returns.
    balancer: How the task gradients are combined.
    tx: The optimizer.
    engine: How the combined gradient is computed; None: `mtl.engine.auto()`, the cheapest exact one.
    nonfinite: What happens when a loss or the gradient is NaN or infinite, or a loss is not in the balancer's domain
      (zero or negative where it takes logarithms). `"skip"`: the step changes nothing but
      the counters of the state. `"stop"`: so do all later steps, until somebody looks. `"ignore"`: no check.
    mesh: The devices among which `jax.jit` will divide the step, so that engines can choose by them and place what
      they keep; None: that of `jax.set_mesh`, if any.
    rules: Those by which `mtl.shard.state_shardings` places the state on the mesh; None: replicated.

  Returns:
    `step(train_state, batch) -> (train_state, metrics)` with metrics `losses` and `weights` by task, `grad_norm`,
    `skipped`, and `balancer`, what the balancer reports. All are device arrays; reading them waits for the step.

  Raises:
    UserError: The engine cannot serve the balancer, or an unknown `nonfinite`.

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
  engine = auto() if engine is None else engine
  check_serves(engine, balancer)
  check_nonfinite(nonfinite)

  def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    with _devices.on(mesh):
      if engine.per_device and _devices.shards() > 1:
        data = {_devices.DATA}
        per_device = jax.shard_map(on_devices, in_specs=(P(), P(_devices.DATA)), out_specs=P(), axis_names=data)
        return per_device(state, batch)
      return canonical(on_devices)(state, batch)

  def on_devices(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    key = jax.random.fold_in(state.key, state.step)
    linear = linearize(objective, state.params, state.state, batch, key, balancer.split)
    check_tasks(linear.names, state)
    shared, weights, balancer_state, engine_state = engine.run(linear, balancer, state.balancer, state.engine)
    heads = linear.pull_heads(balancer.head_weights(weights, balancer_state))
    grads = {"shared": shared, "task": heads}
    if _devices.shards() > 1:
      grads = shard.constrain_gradients(grads, rules)

    def observed(params):
      if balancer.observe is None:
        return balancer_state
      after = losses_of(objective, linear.names, params, state.state, batch, key, balancer.split)
      return balancer.observe(linear.losses, after, balancer_state)

    return finish(
      state,
      tx,
      grads,
      linear.names,
      linear.losses,
      weights,
      linear.aux,
      balancer,
      observed,
      engine_state,
      nonfinite,
    )

  return step


def check_nonfinite(nonfinite: str) -> None:
  """Raises a `UserError` for an unknown choice."""
  if nonfinite not in ("stop", "skip", "ignore"):
    raise UserError(f"nonfinite is {nonfinite!r}, expected 'stop', 'skip' or 'ignore'.")


def finish(
  state: TrainState,
  tx: optax.GradientTransformation,
  grads: Any,
  names: tuple[str, ...],
  losses: jax.Array,
  weights: jax.Array,
  aux: dict[str, Any],
  method: Any,
  method_state: Callable[[Any], Any],
  engine_state: Any,
  nonfinite: Nonfinite,
) -> tuple[TrainState, dict[str, Any]]:
  """What any step does once it has its gradients: the update, the guard against mishaps, the metrics.

  Args:
    state: The state before the step.
    tx: The optimizer.
    grads: The gradient of all parameters.
    names: The tasks.
    losses: (T,).
    weights: (T,), for the metrics.
    aux: The objective's aux.
    method: The balancer or bilevel method.
    method_state: `method_state(params)`, its state after the step, from the parameters after the update.
    engine_state: The engine's state after the step.
    nonfinite: As in `make_train_step`.

  Returns:
    The state after the step, and the metrics.
  """
  grad_norm = _norm(grads)

  def after(state):
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
      updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(
      params=params,
      state=aux.get("state", state.state),
      opt_state=opt_state,
      balancer=method_state(params),
      engine=engine_state,
    )

  if nonfinite == "ignore":
    new = after(state)
  else:
    bad = ~jnp.isfinite(losses) | ~(losses > jnp.asarray(method.losses_above, losses.dtype))
    new = _guard(state, after, bad, grad_norm, stop=nonfinite == "stop")
  new = new._replace(step=state.step + 1)
  metrics = {
    "losses": dict(zip(names, losses, strict=True)),
    "weights": dict(zip(names, weights, strict=True)),
    "grad_norm": grad_norm,
    "skipped": new.skipped,
    "balancer": method.report(new.balancer),
  }
  return new, metrics


def _norm(grads: Any) -> jax.Array:
  """The norm of all gradients; on CPU small ones as one, since many heads have many."""
  leaves = jax.tree.leaves(grads)
  small = [jnp.ravel(leaf) for leaf in leaves if leaf.size < _SMALL]
  if not _devices.on_one_cpu() or len({leaf.dtype for leaf in small}) != 1:
    return optax.tree.norm(grads)
  return optax.tree.norm([jnp.concatenate(small), *(leaf for leaf in leaves if leaf.size >= _SMALL)])


def check_tasks(names: tuple[str, ...], state: TrainState) -> None:
  """Raises a `UserError` where the state was made for another number of tasks."""
  expected = state.nonfinite.shape[0]
  if len(names) != expected:
    raise UserError(
      f"the objective has {len(names)} tasks ({', '.join(names)}), but the train state was made for {expected}: "
      "make a new one with init_train_state."
    )


def _guard(
  old: TrainState, after: Callable[[TrainState], TrainState], bad_losses: jax.Array, grad_norm: jax.Array, *, stop: bool
) -> TrainState:
  """`after(old)` if the step's losses and gradient are fine, else `old` with the mishap counted."""
  fine = jnp.isfinite(grad_norm) & ~jnp.any(bad_losses)
  running = (old.skipped == 0) if stop else jnp.ones((), bool)
  if _devices.on_one_cpu():
    # A branch updates the state in place; to choose between two states copies of both are made, at half the time of a
    # small step. An accelerator's queue would have to wait for the host to choose the branch.
    kept = jax.lax.cond(fine & running, after, lambda old: old, old)
  else:
    kept = jax.tree.map(lambda a, b: jnp.where(fine & running, a, b), after(old), old)
  mishap = ~fine & running
  first = jnp.where(mishap & (old.first_nonfinite < 0), old.step, old.first_nonfinite)
  return kept._replace(
    skipped=old.skipped + mishap.astype(jnp.int32),
    nonfinite=old.nonfinite + jnp.where(mishap, bad_losses, False).astype(jnp.int32),
    first_nonfinite=first,
  )
