"""How a step ends, once it has its gradients: the update, the guard against mishaps, the metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core import devices
from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import FROM, Packed, is_packed
from mtl_jax._core.partition import joined, partition
from mtl_jax._core.paths import by_path
from mtl_jax.balance.balancer import Balancer, Stats
from mtl_jax.bilevel import Bilevel
from mtl_jax.train._state import TrainState

Nonfinite = str
"""What a step does where a loss or gradient is not finite, one of `CHOICES`."""
_SMALL = 4096  # numbers of a parameter whose norm takes a CPU longer to begin than to add up


def by_name(names: tuple[str, ...], vector: jax.Array) -> Mapping[str, jax.Array]:
  """The entries of a vector over tasks; of many as one array, since each output of a program takes a call its time."""
  return dict(zip(names, vector, strict=True)) if len(names) < FROM else Packed([names], [vector], names)


CHOICES = ("stop", "skip", "drop", "rollback", "ignore")
WAITING = ("stop", "rollback")
"""Where all later steps change nothing either, until somebody looks."""


def check_nonfinite(nonfinite: str) -> None:
  """Refuses an unknown choice.

  Args:
    nonfinite: As in `mtl.make_train_step`.

  Raises:
    UserError: It is none of these.
  """
  if nonfinite not in CHOICES:
    raise UserError(f"nonfinite is {nonfinite!r}, expected {', '.join(map(repr, CHOICES[:-1]))} or {CHOICES[-1]!r}.")


def mishaps(losses: jax.Array, method: Balancer | Bilevel) -> jax.Array:
  """Which losses, (T,), are NaN, infinite, or not in the domain of the method."""
  return ~jnp.isfinite(losses) | ~(losses > jnp.asarray(method.losses_above, losses.dtype))


class Found(NamedTuple):
  """What a step has found before its update.

  Attributes:
    grads: The gradient of all parameters but the frozen ones, None in their places.
    names: The tasks.
    stats: Their losses, (T,), and which of them have labels.
    weights: (T,), for the metrics.
    aux: The objective's aux.
    method_state: `method_state(params)`, the method's state after the step, from the parameters after the update.
    engine_state: The engine's state after the step.
    terms: The values of the objective's terms.
    heads: For each head that may be without labels, those of auxiliary tasks included, whether it has some.
    report: As in `Net`.
    lost: Which tasks had labels, but a loss that left them out of the step, (T,) bool; None: none can.
  """

  grads: Any
  names: tuple[str, ...]
  stats: Stats
  weights: jax.Array
  aux: dict[str, Any]
  method_state: Callable[[Any], Any]
  engine_state: Any
  terms: Mapping[str, jax.Array] = {}
  heads: Mapping[str, jax.Array] = {}
  report: Callable[[Any, Any], Mapping[str, Any]] = lambda params, state: {}
  lost: jax.Array | None = None


def finish(
  state: TrainState,
  tx: optax.GradientTransformation,
  found: Found,
  method: Balancer | Bilevel,
  nonfinite: Nonfinite,
  *,
  freeze_absent: bool = True,
) -> tuple[TrainState, dict[str, Any]]:
  """What any step does once it has its gradients: the update, the guard against mishaps, the metrics.

  Args:
    state: The state before the step.
    tx: The optimizer.
    found: What the step has found.
    method: The balancer or bilevel method.
    nonfinite: As in `make_train_step`.
    freeze_absent: As in `make_train_step`.

  Returns:
    The state after the step, and the metrics.
  """
  grads, names, stats, weights, aux, method_state, engine_state, terms, heads, report, lost = found
  losses, here = stats.losses, stats.filled().present
  present = {} if stats.present is None else by_name(names, stats.present)
  grad_norm, with_gradient = _norm(grads), by_path(grads)

  def after(state):
    value = jnp.sum(jnp.where(here, weights.astype(losses.dtype) * losses, 0.0))
    trained, fixed = partition(state.params, lambda path, _: path in with_gradient)
    updates, opt_state = update(tx, grads, state.opt_state, trained, value)
    params = joined(optax.apply_updates(trained, updates), fixed)
    with_labels = {**heads, **present}  # a scalar for each
    if freeze_absent and with_labels:
      params = keep_absent_heads(with_labels, params, state.params)
      opt_state = keep_absent_heads(with_labels, opt_state, state.opt_state)
    return state._replace(
      params=params,
      state=aux.get("state", state.state),
      opt_state=opt_state,
      balancer=method_state(params),
      engine=engine_state,
    )

  bad = here & mishaps(losses, method)
  empty = ~jnp.any(here) if present else None
  if nonfinite == "ignore":
    new = after(state) if empty is None else _guard(state, after, jnp.zeros_like(bad), jnp.ones((), bool), empty)
  else:
    fine = jnp.isfinite(grad_norm) & ~jnp.any(bad)
    new = _guard(state, after, bad, fine, empty, stop=nonfinite in WAITING)
  if lost is not None:
    new = new._replace(**_counted(new, jnp.any(lost), lost, state.step))
  new = new._replace(step=state.step + 1)
  metrics = {
    "losses": by_name(names, losses),
    "weights": by_name(names, weights),
    "present": present,
    "grad_norm": grad_norm,
    "skipped": new.skipped,
    "terms": dict(terms),
    "balancer": method.report(new.balancer),
    "net": dict(report(new.params, new.state)),
  }
  return new, metrics


def update(
  tx: optax.GradientTransformation, grads: Any, opt_state: Any, params: Any, value: jax.Array
) -> tuple[optax.Updates, optax.OptState]:
  """The optimizer's update, given what optax calls `value` and `grad` too."""
  transform = optax.with_extra_args_support(tx).update
  try:
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
      return transform(grads, opt_state, params, value=value, grad=grads)
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
    if is_packed(after):
      return after.like(
        [group(names, a, b) for names, a, b in zip(after.groups, after.trees, before.trees, strict=True)]
      )
    task = _task_of(path)
    return after if task is None or task not in present else jnp.where(present[task], after, before)

  def group(names, after, before):
    if not any(name in present for name in names):
      return after
    here = [present.get(name, True) for name in names]
    if not names[1:]:
      return jax.tree.map(lambda a, b: jnp.where(here[0], a, b), after, before)
    here = jnp.stack([jnp.asarray(one) for one in here])

    def kept(a, b):  # what an optimizer keeps of a whole tree has no entries of tasks
      return a if a.shape[:1] != here.shape else jnp.where(behind(here, a.ndim), a, b)

    return jax.tree.map(kept, after, before)

  return jax.tree_util.tree_map_with_path(one, new, old, is_leaf=is_packed)


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
  if not devices.on_one_cpu() or len({leaf.dtype for leaf in small}) != 1:
    return optax.tree.norm(grads)
  return optax.tree.norm([jnp.concatenate(small), *(leaf for leaf in leaves if leaf.size >= _SMALL)])


def _counted(state: TrainState, happened: jax.Array, guilty: jax.Array, step: jax.Array) -> dict[str, jax.Array]:
  """The counters of the state after a mishap in a step, if it happened, by these tasks."""
  return {
    "nonfinite": state.nonfinite + jnp.where(happened, guilty, False).astype(jnp.int32),
    "first_nonfinite": jnp.where(happened & (state.first_nonfinite < 0), step, state.first_nonfinite),
  }


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
  if devices.on_one_cpu():
    # A branch updates the state in place; to choose between two states copies of both are made, at half the time of a
    # small step. An accelerator's queue would have to wait for the host to choose the branch.
    kept = jax.lax.cond(taken, after, lambda old: old, old)
  else:
    kept = jax.tree.map(lambda a, b: jnp.where(taken, a, b), after(old), old)
  mishap = ~fine & running
  return kept._replace(
    skipped=old.skipped + mishap.astype(jnp.int32),
    **_counted(old, mishap, bad_losses, old.step),
    empty=old.empty if empty is None else old.empty + (empty & running).astype(jnp.int32),
  )
