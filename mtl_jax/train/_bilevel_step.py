"""`make_bilevel_step`, a training step whose task weights are learned on validation data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._jaxpr.convolutions import canonical
from mtl_jax.balance.balancer import Stats
from mtl_jax.bilevel.method import Bilevel, Levels
from mtl_jax.engine.linearize import in_order, labelled, losses_of
from mtl_jax.objective import Objective, at_step, present_heads, report_of
from mtl_jax.terms import amounts, total
from mtl_jax.train._arguments import check_optimizer
from mtl_jax.train._finish import Found, Nonfinite, check_nonfinite, finish
from mtl_jax.train._state import TrainState
from mtl_jax.train._step import check_made_for, check_tasks


def make_bilevel_step(
  objective: Objective | Callable[..., Any],
  method: Bilevel,
  tx: optax.GradientTransformation,
  *,
  nonfinite: Nonfinite = "skip",
) -> Callable[[TrainState, tuple[Any, Any]], tuple[TrainState, dict[str, Any]]]:
  r"""One step of a bilevel method, a pure function to be jitted with its state donated.

  $$ \theta \leftarrow \theta + tx\big(\nabla (w_{train} \cdot l_{train} + w_{valid} \cdot l_{valid})\big) $$

  The method first learns from both batches, then the weights it gives make the step. Heads get weighted gradients.

  Args:
    objective: As in `make_train_step`.
    method: From `mtl.bilevel`.
    tx: The optimizer of the network; the method has its own for what it learns.
    nonfinite: As in `make_train_step`.

  Returns:
    `step(train_state, (batch, valid_batch)) -> (train_state, metrics)`, metrics as those of `make_train_step`. The
    train state is made by `init_train_state(net, tasks, method, tx, batch, key)`. The net's state (batch
    statistics) follows the training batch alone.

  Raises:
    UserError: An unknown `nonfinite`.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> tasks, batch = {"size": mtl.tasks.regression("size")}, {"x": jnp.ones((2, 3)), "size": jnp.zeros(2)}
  >>> method, tx = mtl.bilevel.auto_lambda(), optax.sgd(0.1)
  >>> state = mtl.init_train_state(net, tasks, method, tx, batch, jax.random.key(0))
  >>> step = jax.jit(make_bilevel_step(mtl.objective(net, tasks), method, tx))
  >>> state, metrics = step(state, (batch, batch))
  >>> metrics["weights"]["size"].round(3).item()
  0.1
  """
  check_optimizer(tx)
  check_nonfinite(nonfinite)
  if nonfinite == "drop":
    raise UserError("a bilevel step cannot leave tasks out: nonfinite is 'drop', expected 'skip', for example.")

  def step(state, batches):
    batch, valid_batch = batches
    now = at_step(objective, state.step)
    train_key, valid_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    if isinstance(now, Objective):
      names = now.names
    else:
      names = tuple(jax.eval_shape(now, state.params, state.state, batch, train_key)[0])
    check_tasks(names, state)
    check_made_for(state, tx, method, state.params)

    def train(params):
      by_name, aux = now(params, state.state, batch, train_key)
      return in_order(by_name, names), aux

    def valid(params):
      return losses_of(now, names, params, state.state, valid_batch, valid_key, (1.0,))

    def valid_aux():
      return now(state.params, state.state, valid_batch, valid_key)[1]

    here = labelled(now, names, batch, lambda: train(state.params)[1])
    upper_here = labelled(now, names, valid_batch, valid_aux)
    present, valid_present = (jnp.ones(len(names), bool) if found is None else found for found in (here, upper_here))
    levels = Levels(state.params, lambda params: train(params)[0], valid, present, valid_present)
    weights, valid_weights, learned = method.learn(levels, state.balancer)
    weights = jnp.where(present, weights, 0.0)
    if here is not None and valid_weights is not None:
      here = here | valid_present  # its head learns from validation data

    def weighted(params):
      losses, aux = train(params)
      upper = 0.0 if valid_weights is None else jnp.sum(valid_weights * valid(params))
      return jnp.sum(weights * losses) + upper + total(amounts(aux.get("terms", {}))), (losses, aux)

    grads, (losses, aux) = jax.grad(weighted, has_aux=True)(state.params)
    stats = Stats(losses, present=here)
    terms = {name: found.value for name, found in amounts(aux.get("terms", {})).items()}
    heads, report = present_heads(objective, batch), report_of(objective)
    found = Found(grads, names, stats, weights, aux, lambda _: learned, state.engine, terms, heads, report)
    return finish(state, tx, found, method, nonfinite)

  return canonical(step)
