"""`make_train_step`, one pure training step: losses, balanced gradients, update."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from mtl_jax import _devices, shard
from mtl_jax._convolutions import canonical
from mtl_jax._errors import UserError
from mtl_jax._frozen import Frozen, holding, split_frozen
from mtl_jax._partition import joined
from mtl_jax.balance._balancer import Balancer, Stats
from mtl_jax.bilevel import Bilevel
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
  freeze_absent: bool = True,
  frozen: Frozen = (),
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
    balancer: How the task gradients are combined.
    tx: The optimizer.
    engine: How the combined gradient is computed; None: `mtl.engine.auto()`, the cheapest exact one.
    nonfinite: What happens when a loss or the gradient is NaN or infinite, or a loss is not in the balancer's domain
      (zero or negative where it takes logarithms). `"skip"`: the step changes nothing but
      the counters of the state. `"stop"`: so do all later steps, until somebody looks. `"ignore"`: no check.
    freeze_absent: Whether the head of an absent task keeps its parameters and the optimizer's memory of them; False:
      the optimizer takes its gradient for 0, and may move it (momentum, weight decay).
    frozen: Regular expressions, searched for in paths such as `shared/Dense_0/kernel`: the parameters that stay as they
      are. They have no gradient, no optimizer state and no part in G, and no backward pass goes below the first layer
      that is trained. What a net changes without gradients, such as batch statistics, goes on to change.
    mesh: The devices among which `jax.jit` will divide the step, so that engines can choose by them and place what
      they keep; None: that of `jax.set_mesh`, if any.
    rules: Those by which `mtl.shard.state_shardings` places the state on the mesh; None: replicated.

  Returns:
    `step(train_state, batch) -> (train_state, metrics)` with metrics `losses` and `weights` by task, `present`, whether
    a task has labels, for those that may have none, `grad_norm`, `skipped`, and `balancer`, what the balancer reports.
    All are device arrays; reading them waits for the step.

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
    trained, fixed = split_frozen(state.params, frozen)
    held = holding(objective, fixed) if frozen else objective
    linear = linearize(held, trained, state.state, batch, key, balancer.split)
    check_tasks(linear.names, state)
    check_made_for(state, tx, balancer, trained)
    shared, weights, balancer_state, engine_state = engine.run(linear, balancer, state.balancer, state.engine)
    heads = linear.pull_heads(balancer.head_weights(weights, balancer_state))
    grads = {"shared": shared, "task": heads}
    if _devices.shards() > 1:
      grads = shard.constrain_gradients(grads, state.params, rules)
    before = Stats(linear.losses, present=None if linear.present is None else linear.here)

    def observed(params):
      if balancer.observe is None:
        return balancer_state
      after = losses_of(
        objective, linear.names, params, state.state, batch, key, balancer.split, present=linear.present
      )
      return balancer.observe(before, before._replace(losses=after), balancer_state)

    found = Found(grads, linear.names, before, weights, linear.aux, observed, engine_state)
    return finish(state, tx, found, balancer, nonfinite, freeze_absent=freeze_absent, frozen=frozen)

  return step


def check_nonfinite(nonfinite: str) -> None:
  """Raises a `UserError` for an unknown choice."""
  if nonfinite not in ("stop", "skip", "ignore"):
    raise UserError(f"nonfinite is {nonfinite!r}, expected 'stop', 'skip' or 'ignore'.")


class Found(NamedTuple):
  """What a step has found before its update.

  Attributes:
    grads: The gradient of all parameters.
    names: The tasks.
    stats: Their losses, (T,), and which of them have labels.
    weights: (T,), for the metrics.
    aux: The objective's aux.
    method_state: `method_state(params)`, the method's state after the step, from the parameters after the update.
    engine_state: The engine's state after the step.
  """

  grads: Any
  names: tuple[str, ...]
  stats: Stats
  weights: jax.Array
  aux: dict[str, Any]
  method_state: Callable[[Any], Any]
  engine_state: Any


def finish(
  state: TrainState,
  tx: optax.GradientTransformation,
  found: Found,
  method: Balancer | Bilevel,
  nonfinite: Nonfinite,
  *,
  freeze_absent: bool = True,
  frozen: Frozen = (),
) -> tuple[TrainState, dict[str, Any]]:
  """What any step does once it has its gradients: the update, the guard against mishaps, the metrics.

  Args:
    state: The state before the step.
    tx: The optimizer.
    found: What the step has found.
    method: The balancer or bilevel method.
    nonfinite: As in `make_train_step`.
    freeze_absent: As in `make_train_step`.
    frozen: As in `make_train_step`.

  Returns:
    The state after the step, and the metrics.
  """
  grads, names, stats, weights, aux, method_state, engine_state = found
  losses, here = stats.losses, stats.filled().present
  present = {} if stats.present is None else dict(zip(names, stats.present, strict=True))
  grad_norm = _norm(grads)

  def after(state):
    value = jnp.sum(jnp.where(here, weights.astype(losses.dtype) * losses, 0.0))
    trained, fixed = split_frozen(state.params, frozen)
    updates, opt_state = _update(tx, grads, state.opt_state, trained, value)
    params = joined(optax.apply_updates(trained, updates), fixed)
    if freeze_absent and present:
      params = keep_absent_heads(present, params, state.params)
      opt_state = keep_absent_heads(present, opt_state, state.opt_state)
    return state._replace(
      params=params,
      state=aux.get("state", state.state),
      opt_state=opt_state,
      balancer=method_state(params),
      engine=engine_state,
    )

  bad = here & (~jnp.isfinite(losses) | ~(losses > jnp.asarray(method.losses_above, losses.dtype)))
  empty = ~jnp.any(here) if present else None
  if nonfinite == "ignore":
    new = after(state) if empty is None else _guard(state, after, jnp.zeros_like(bad), jnp.ones((), bool), empty)
  else:
    fine = jnp.isfinite(grad_norm) & ~jnp.any(bad)
    new = _guard(state, after, bad, fine, empty, stop=nonfinite == "stop")
  new = new._replace(step=state.step + 1)
  metrics = {
    "losses": dict(zip(names, losses, strict=True)),
    "weights": dict(zip(names, weights, strict=True)),
    "present": present,
    "grad_norm": grad_norm,
    "skipped": new.skipped,
    "balancer": method.report(new.balancer),
  }
  return new, metrics


def _update(
  tx: optax.GradientTransformation, grads: Any, opt_state: Any, params: Any, value: jax.Array
) -> tuple[optax.Updates, optax.OptState]:
  """The optimizer's update, given what optax calls `value` and `grad` too."""
  update = optax.with_extra_args_support(tx).update
  try:
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
      return update(grads, opt_state, params, value=value, grad=grads)
  except TypeError as error:
    missing = re.search(r"missing \d+ required keyword-only arguments?: (.*)", str(error))
    if missing is None:
      raise
    raise UserError(
      f"the optimizer needs {missing[1]}, which the train step does not give: it gives value, the weighted sum of the "
      "losses, and grad. Choose an optimizer without a line search."
    ) from error


def keep_absent_heads(present: Mapping[str, jax.Array], new: Any, old: Any) -> Any:
  """`new`, but for what belongs to heads of absent tasks: their parameters, or an optimizer's arrays for them.

  Args:
    present: Whether each task has labels.
    new: Parameters, or any tree that holds trees laid out like them.
    old: The same before the step.

  Returns:
    The tree, with the leaves of those heads from `old`.
  """

  def one(path, after, before):
    task = _task_of(path)
    return after if task is None or task not in present else jnp.where(present[task], after, before)

  return jax.tree_util.tree_map_with_path(one, new, old)


def _task_of(path: tuple[Any, ...]) -> str | None:
  """The task whose head a leaf belongs to, `... / "task" / name / ...`; None: it is shared, or of no parameter."""
  keys = [getattr(entry, "key", None) for entry in path]
  for first, second in zip(keys, keys[1:], strict=False):
    if first in ("shared", "task") and isinstance(second, str):
      return second if first == "task" else None
  return None


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


def check_made_for(state: TrainState, tx: optax.GradientTransformation, method: Any, trained: Any) -> None:
  """Raises a `UserError` where the state was made for another optimizer or balancer, or other frozen parameters."""
  tasks = state.nonfinite.shape[0]
  expected = jax.eval_shape(lambda p: (tx.init(p), method.init(tasks, p["shared"])), trained)
  for what, found, wanted in (
    ("optimizer, or other frozen parameters", state.opt_state, expected[0]),
    ("balancer", state.balancer, expected[1]),
  ):
    if jax.tree.structure(found) != jax.tree.structure(wanted) or _shapes(found) != _shapes(wanted):
      raise UserError(
        f"the train state was made for another {what} than the step: make a new one with init_train_state."
      )


def _shapes(tree: Any) -> list[tuple[int, ...]]:
  return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _guard(
  old: TrainState,
  after: Callable[[TrainState], TrainState],
  bad_losses: jax.Array,
  fine: jax.Array,
  empty: jax.Array | None,
  *,
  stop: bool = False,
) -> TrainState:
  """`after(old)` if the step is `fine` and not `empty` of labels, else `old` with the mishap counted."""
  running = (old.skipped == 0) if stop else jnp.ones((), bool)
  taken = fine & running if empty is None else fine & running & ~empty
  if _devices.on_one_cpu():
    # A branch updates the state in place; to choose between two states copies of both are made, at half the time of a
    # small step. An accelerator's queue would have to wait for the host to choose the branch.
    kept = jax.lax.cond(taken, after, lambda old: old, old)
  else:
    kept = jax.tree.map(lambda a, b: jnp.where(taken, a, b), after(old), old)
  mishap = ~fine & running
  first = jnp.where(mishap & (old.first_nonfinite < 0), old.step, old.first_nonfinite)
  return kept._replace(
    skipped=old.skipped + mishap.astype(jnp.int32),
    nonfinite=old.nonfinite + jnp.where(mishap, bad_losses, False).astype(jnp.int32),
    first_nonfinite=first,
    empty=old.empty if empty is None else old.empty + (empty & running).astype(jnp.int32),
  )
