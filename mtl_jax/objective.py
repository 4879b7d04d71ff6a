"""`objective`, the pytree of task losses as one pure function of the parameters."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.checks import check_compute_dtype
from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.inputs import Inputs, input_keys, input_of, tasks_by_keys
from mtl_jax._core.packed import assembled
from mtl_jax._core.partition import joined
from mtl_jax._core.rows import values_of
from mtl_jax._jaxpr.branches import Branch, Head
from mtl_jax.net import Net, Params, State, keys_of
from mtl_jax.problem import of_problem
from mtl_jax.tasks import Task, balanced
from mtl_jax.tasks.loss import guarded_mean, masked_mean
from mtl_jax.terms import amount, total


@dataclasses.dataclass(frozen=True)
class Objective:
  """A pure function `(params, state, batch, key) -> ({task: loss}, aux)`.

  Any function of this signature can stand in its place, with `params` and `aux["state"]` of the form
  `{"shared": ..., "task": {name: ...}}`; this class adds the cut between trunk and heads that makes task
  gradients cheap.

  Attributes:
    losses: The function itself. Its aux holds `"state"`, the net's new state, and `"terms"`, `{name: Amount}`.
    names: The balanced tasks, in the order of all vectors over tasks.
    branches: The same losses cut at the shared features, or None for nets that cannot be cut.
    present: `present(batch) -> {task: bool}`, whether the batch, over all devices, has labels of the task; without
      entries for tasks that always have. The aux of any other function may hold such a dictionary as `"present"`.
    beside: For objectives with branches and terms:
      `beside(params, state, features, batch, keys) -> (total, aux)`, the sum of all terms times their strengths, from
      the features of each branch; aux holds `"terms"`, and as `"state"` what changes of the net's state.
    at_step: `at_step(n) -> Objective`, the same after n steps, for nets and terms that follow a schedule.
    guarded: `guarded() -> Objective`, the same with a gradient of zero for a task whose loss is NaN or infinite.
    report: As in `Net`.
  """

  losses: Callable[..., tuple[dict[str, jax.Array], dict[str, Any]]]
  names: tuple[str, ...]
  branches: Callable[[jax.Array | None], tuple[tuple[Branch, ...], dict[str, Any]]] | None = None
  present: Callable[[Any], dict[str, jax.Array]] = lambda batch: {}
  beside: Callable[..., tuple[jax.Array, dict[str, Any]]] | None = None
  at_step: Callable[[Any], Objective] | None = None
  guarded: Callable[[], Objective] | None = None
  report: Callable[[Params, State], Mapping[str, Any]] = lambda params, state: {}

  def __call__(self, params: Params, state: State, batch: Any, key: jax.Array | None = None):
    """The task losses, by `losses`.

    Args:
      params: `{"shared": ..., "task": {name: ...}}`.
      state: The net's state, laid out alike.
      batch: The batch.
      key: The PRNG key of dropout; None: a net that needs none.

    Returns:
      `{task: loss}`, scalars, and the aux, `{"state": new_state, "terms": {name: Amount}}`.
    """
    return self.losses(params, state, batch, key)


@of_problem
def objective(
  net: Net,
  tasks: Mapping[str, Task],
  inputs: Inputs = "x",
  *,
  train: bool = True,
  compute_dtype: Any = None,
) -> Objective:
  r"""The task losses of a multi-task net, each the weighted mean over its labelled examples.

  $$ l_t = \sum_b w_{tb} \, \ell_t(\hat y_{tb}, y_{tb}) \big/ \sum_b w_{tb}, \qquad l_t = 0 \text{ without labels} $$

  The weights $w$ are those of `Task.mask`, 1 without. Where they are given per entry, such as per label or per token,
  b runs over all entries of the batch.

  Args:
    net: A multi-task net, `x -> {task: prediction}`.
    tasks: The tasks, in the order of all vectors over tasks. Exactly the tasks of the net.
    inputs: The key of the batch that holds the input, an array or a tree of arrays. Several keys, such as
      `("image", "text")`: the net gets the dictionary `{key: entry}` of them. `{task: key or keys}` when tasks have
      inputs of their own; tasks with the same keys share one forward pass.
    train: Whether the net runs in training mode (dropout, batch statistics).
    compute_dtype: Compute in this dtype, for example `jnp.bfloat16`. Parameters, predictions, losses and
      gradients stay float32.

  Returns:
    The objective, `(params, state, batch, key) -> ({task: loss}, aux)` over the balanced tasks; the aux holds the new
    `"state"` and the `"terms"`, those of the net and the losses of auxiliary tasks.

  Raises:
    UserError: No tasks, or the tasks are not those of the net; when it is called, an input, label or mask is missing
      or has a wrong shape.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> losses = objective(net, {"size": mtl.tasks.regression(label="size")})
  >>> batch = {"x": jnp.ones((2, 3)), "size": jnp.zeros(2)}
  >>> params, state = net.init(jax.random.key(0), batch["x"])
  >>> sorted(losses(params, state, batch)[0])
  ['size']
  """
  tasks = dict(tasks)
  if not tasks:
    raise UserError("objective needs at least one task, found none: pass tasks={name: task}.")
  names = tuple(balanced(tasks))
  if not names:
    raise UserError("objective: no task is balanced: make one of them a task with balance=True.")
  for name in net.terms:
    if name in tasks:
      raise UserError(f"term {name!r} has the name of a task: metrics would not tell them apart, choose another name.")
  check_compute_dtype(compute_dtype)
  keys = input_keys(tasks, inputs)
  _check_names("inputs", keys, tasks)
  if net.cut is not None:
    _check_names("the net", net.cut.heads, tasks)

  def present(batch):
    masks = {name: task.mask(batch) for name, task in tasks.items() if task.mask is not None}
    return {name: devices.total(jnp.sum(mask, dtype=jnp.float32)) > 0 for name, mask in masks.items()}

  def lower(tree):
    return tree if compute_dtype is None else _cast(tree, compute_dtype)

  def loss(name, prediction, batch):
    return masked_mean(name, tasks[name], _cast(prediction, jnp.float32), batch)

  def guarded_loss(name, prediction, batch):
    return guarded_mean(name, tasks[name], _cast(prediction, jnp.float32), batch)

  def amounts(params, features, predictions, batch, step):
    """The terms by name, this device's share of them, from functions that give features and predictions."""
    own = values_of(params)

    def share(name, term):
      if term.of in ("features", "gates"):
        seen = [_cast(each, jnp.float32) for each in features()]
        read = [(own, each) for each in seen] if term.of == "gates" else seen
        each = [amount(name, term.value(one, batch), term.strength, step) for one in read]
        found = each[0]._replace(value=sum(one.value for one in each) / len(each))
      else:
        read = own if term.of == "params" else _cast(predictions(), jnp.float32)
        found = amount(name, term.value(read, batch), term.strength, step)
      return found._replace(value=found.value / devices.count())

    terms = {name: share(name, term) for name, term in net.terms.items()}
    for name, task in tasks.items():
      if not task.balance:
        terms[name] = amount(name, loss(name, predictions()[name], batch), task.weight, step)
    return terms

  def made(judge, step):
    found = (_cut if net.cut is not None else _whole)(net, tasks, keys, lower, judge, amounts, train, step)
    return dataclasses.replace(
      found,
      names=names,
      present=present,
      at_step=lambda step: made(judge, step),
      guarded=lambda: made(guarded_loss, step),
      report=net.report,
    )

  return made(loss, None)


def _whole(net, tasks, keys, lower, loss, amounts, train, step) -> Objective:
  """The objective of a net that is one function."""
  groups = tasks_by_keys(keys)

  def losses(params, state, batch, key):
    predictions = {}
    for input_key, names in groups.items():
      x = input_of(batch, input_key)
      found, after = net.apply(lower(params), state, lower(x), key=key, train=train, step=step)
      _check_names("the net", found, tasks)
      # A head that saw another task's input has nothing to remember of it.
      state = after if len(groups) == 1 else _of_tasks(names, after, state)
      predictions |= {name: found[name] for name in names}
    by_name = {name: loss(name, predictions[name], batch) for name in balanced(tasks)}
    terms = amounts(params, lambda: (), lambda: predictions, batch, step)
    return by_name, {"state": state, "terms": terms}

  return Objective(losses, ())


def _cut(net, tasks, keys, lower, loss, amounts, train, step) -> Objective:
  """The objective of a net that is a trunk, then independent heads."""
  cut, groups, mode = net.cut, tasks_by_keys(keys), {"train": train, "step": step}
  # An input of auxiliary tasks alone has no branch: the terms run the trunk on it.
  main = [key for key, names in groups.items() if any(tasks[name].balance for name in names)]

  def trunk(params, state, x, key):
    return cut.trunk(lower(params), state, lower(x), key=key, **mode)

  def predict(name, params, state, features, key):
    return cut.heads[name](lower(params), state, features, key=key, **mode)

  def head_of(name):
    return Head(functools.partial(predict, name), functools.partial(loss, name), cut.heads[name])

  def branches(key):
    def branch(input_key):
      heads = {name: head_of(name) for name in groups[input_key] if tasks[name].balance}
      return Branch(trunk, heads, functools.partial(input_of, keys=input_key))

    return tuple(map(branch, main)), keys_of(key, cut)

  def beside(params, state, features, batch, branch_keys):
    seen, shared = dict(zip(main, features, strict=True)), state["shared"]
    for key in groups:
      if key not in seen:
        seen[key], shared = trunk(params["shared"], shared, input_of(batch, key), branch_keys["shared"])

    @functools.cache
    def outputs():
      return {
        name: predict(name, params["task"][name], state["task"][name], seen[keys[name]], branch_keys["task"][name])
        for name in tasks
      }

    terms = amounts(
      params, lambda: [*seen.values()], lambda: {name: y for name, (y, _) in outputs().items()}, batch, step
    )
    changed = {name: outputs()[name][1] for name, task in tasks.items() if not task.balance}
    return total(terms), {"terms": terms, "state": {"shared": shared, "task": changed}}

  has_terms = bool(net.terms) or not all(task.balance for task in tasks.values())

  def losses(params, state, batch, key):
    parts, branch_keys = branches(key)
    shared, task_state, found, features = state["shared"], {}, {}, []
    for branch in parts:
      z, shared = branch.trunk(params["shared"], shared, branch.read(batch), branch_keys["shared"])
      features.append(z)
      for name, head in branch.heads.items():
        found[name], task_state[name] = head(
          params["task"][name], state["task"][name], z, batch, branch_keys["task"][name]
        )
    by_name, terms = {name: found[name] for name in tasks if name in found}, {}
    if has_terms:
      _, aux = beside(params, {"shared": shared, "task": state["task"]}, features, batch, branch_keys)
      shared, terms = aux["state"]["shared"], aux["terms"]
      task_state |= aux["state"]["task"]
    entries = assembled(state["task"], {(name,): own for name, own in task_state.items()})
    return by_name, {"state": {"shared": shared, "task": entries}, "terms": terms}

  return Objective(losses, (), branches, beside=beside if has_terms else None)


def at_step(objective: Objective | Callable[..., Any], step: Any) -> Any:
  """The objective after `step` steps; any other function gets `step=` where it asks for it."""
  if isinstance(objective, Objective):
    return objective if objective.at_step is None else objective.at_step(step)
  asks = "step" in inspect.signature(objective).parameters
  return functools.partial(objective, step=step) if asks else objective


def guarded(objective: Objective | Callable[..., Any]) -> Any:
  """The objective with a gradient of zero for losses that are not finite; any other function as it is."""
  return objective.guarded() if isinstance(objective, Objective) and objective.guarded is not None else objective


def report_of(objective: Objective | Callable[..., Any]) -> Callable[[Params, State], Mapping[str, Any]]:
  """What the net of an objective reports; nothing where it is any other function."""
  return objective.report if isinstance(objective, Objective) else Objective.report


def present_heads(objective: Objective | Callable[..., Any], batch: Any) -> dict[str, jax.Array]:
  """Whether each head, those of auxiliary tasks included, has labels; without entries for those that always have."""
  return objective.present(batch) if isinstance(objective, Objective) else {}


def holding(objective: Objective | Callable[..., Any], fixed: Any) -> Any:
  """The objective as a function of the trained parameters alone, the fixed ones held."""

  def losses(params, *rest):
    return objective(joined(params, fixed), *rest)

  if not isinstance(objective, Objective):
    return losses
  of_whole, terms, report = objective.branches, objective.beside, objective.report

  def beside(params, *rest):
    assert terms is not None
    return terms(joined(params, fixed), *rest)

  held_objective = dataclasses.replace(
    objective,
    losses=losses,
    beside=None if terms is None else beside,
    at_step=lambda step: holding(at_step(objective, step), fixed),
    guarded=lambda: holding(guarded(objective), fixed),
    report=lambda params, state: report(joined(params, fixed), state),
  )
  if of_whole is None:
    return held_objective

  def held(function, fixed):
    return lambda params, *rest: function(joined(params, fixed), *rest)

  def held_head(head, fixed):
    known = head.kind if not jax.tree.leaves(fixed) else None
    return head._replace(predict=held(head.predict, fixed), kind=known)

  def branches(key):
    parts, keys = of_whole(key)
    trunks = {id(b.trunk): held(b.trunk, fixed["shared"]) for b in parts}
    return tuple(
      b._replace(trunk=trunks[id(b.trunk)], heads={n: held_head(head, fixed["task"][n]) for n, head in b.heads.items()})
      for b in parts
    ), keys

  return dataclasses.replace(held_objective, branches=branches)


def _of_tasks(names: list[str], after: State, before: State) -> State:
  """The shared state after a forward pass, and that of the heads `names`."""
  return {"shared": after["shared"], "task": before["task"] | {name: after["task"][name] for name in names}}


def _cast(tree: Any, dtype: Any) -> Any:
  return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def _check_names(what: str, found: Mapping[str, Any], tasks: Mapping[str, Any]) -> None:
  for name in found:
    if name not in tasks:
      raise UserError(
        f"task {name!r} of {what} is not in tasks, which has {', '.join(map(repr, tasks))}{nearest(name, tasks)}: "
        "add the task or remove it there."
      )
  for name in tasks:
    if name not in found:
      raise UserError(
        f"task {name!r} is not in {what}, which has {', '.join(map(repr, found))}{nearest(name, found)}: "
        "add it there or remove the task."
      )
