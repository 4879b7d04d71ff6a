"""Terms: what training makes small beside the tasks' losses, without a row in G and without a weight of a balancer.

A net takes them by `mtl.arch.with_terms(net, {name: term})`.

- `l1`: absolute values of parameters, to make them sparse.
- `penalty`: any function of the parameters.
- `of_features`: any function of what the trunk gives, such as load balancing of experts.
- `of_gates`: any function of the parameters and of what the trunk gives, such as the entropy of gates in the heads.
- `of_predictions`: any function of several tasks' predictions, such as their consistency.
- `Term`, `Amount`: their type, and a term's value and strength in a step.
- `Strength`: a number, or a function of the step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.paths import matching
from mtl_jax._core.schedule import at_step

__all__ = ["Amount", "Strength", "Term", "l1", "of_features", "of_gates", "of_predictions", "penalty"]

Strength = float | Callable[[jax.Array], Any]
"""A number, or a function of the steps taken, such as a schedule of optax."""


@dataclasses.dataclass(frozen=True)
class Term:
  r"""One term $R$ of what training minimises, $\sum_t w_t l_t + s R$: no task, so no balancer sees it.

  Its gradient with respect to all parameters, times its strength, joins that of the weighted tasks on the way through
  the trunk; G, the weights and Delta_m are those without it. The step's metrics show R by name.

  Attributes:
    value: `value(what, batch)`, a scalar, or one value per example, (B,), of which the mean counts. Any scale and sign.
    of: What it reads: the `"params"` of the net, the `"features"` that its trunk gives, both as a pair for `"gates"`
      (these two need a net with a cut), or the `"predictions"`, `{task: prediction}`.
    strength: s.
  """

  value: Callable[[Any, Any], Any]
  of: Literal["params", "features", "gates", "predictions"]
  strength: Strength = 1.0


class Amount(NamedTuple):
  """A term in a step.

  Attributes:
    value: R, a scalar.
    strength: s, a scalar.
  """

  value: jax.Array
  strength: jax.Array


def penalty(value: Callable[[Any], Any], strength: Strength = 1.0) -> Term:
  r"""A penalty of the parameters.

  Args:
    value: `value(params) -> scalar`.
    strength: As in `Term`.

  Returns:
    The term.

  >>> import mtl_jax as mtl
  >>> term = penalty(lambda params: jnp.sum(params["shared"]["w"] ** 2), strength=0.1)
  >>> float(term.value({"shared": {"w": jnp.array([1.0, 2.0])}}, {}))
  5.0
  """
  return Term(lambda params, batch: value(params), "params", strength)


def of_features(value: Callable[[Any], Any], strength: Strength = 1.0) -> Term:
  """A loss of the trunk's features, such as load balancing of experts, or sparse activations.

  With `accumulate` and microbatches it sees the features of the whole batch, under `jax.jit` on a mesh those of all
  devices. In a program for each device (`shard_map`, `pmap`) it sees the device's own, and the mean over devices
  counts. Where tasks have inputs of their own, the mean over the inputs counts; where a method cuts the batch into
  parts, the mean over the parts.

  Args:
    value: `value(features)`, a scalar or (B,).
    strength: As in `Term`.

  Returns:
    The term.
  """
  return Term(lambda features, batch: value(features), "features", strength)


def of_gates(value: Callable[[Any, Any], Any], strength: Strength = 1.0) -> Term:
  """A loss of what heads make of the trunk's features before they predict, such as the entropy of their gates.

  Over batches, pieces and devices it counts as `of_features` does.

  Args:
    value: `value(params, features)`, a scalar or (B,), with the parameters of the whole net.
    strength: As in `Term`.

  Returns:
    The term.
  """
  return Term(lambda both, batch: value(*both), "gates", strength)


def of_predictions(value: Callable[[Any, Any], Any], strength: Strength = 1.0) -> Term:
  """A loss of several tasks' predictions, such as their consistency.

  Args:
    value: `value({task: prediction}, batch)`, a scalar or (B,).
    strength: As in `Term`.

  Returns:
    The term.
  """
  return Term(value, "predictions", strength)


def l1(pattern: str | None = None, strength: Strength = 1.0, smoothing: float = 1e-3) -> Term:
  r"""The smoothed absolute values of parameters, $\sum_i \sqrt{\theta_i^2 + \epsilon^2} - \epsilon$.

  Args:
    pattern: A regular expression, searched for in paths such as `shared/Dense_0/kernel`; None: all parameters.
    strength: As in `Term`.
    smoothing: $\epsilon$, above 0: values far below it count by their squares, so that the gradient has no jump at 0.

  Returns:
    The term.

  Raises:
    UserError: `smoothing` is not positive; when it is applied, nothing matches.

  >>> float(l1(smoothing=1e-6).value({"w": jnp.array([3.0, -4.0])}, {}))
  7.0
  """
  if smoothing <= 0:
    raise UserError(f"l1: smoothing is {smoothing}, expected above 0.")

  def value(params):
    return sum(jnp.sum(jnp.sqrt(x * x + smoothing**2) - smoothing) for x in matching(params, pattern).values())

  return penalty(value, strength)


def amount(name: str, value: Any, strength: Strength, step: Any) -> Amount:
  """The value of a term, its mean where it has one value per example, and the strength at a step.

  Raises:
    UserError: A value of another shape, or a strength that follows a step which is not given.
  """
  value = jnp.asarray(value)
  if value.ndim > 1:
    raise UserError(f"term {name!r} has shape {value.shape}, expected a scalar, or one value per example, (B,).")
  if callable(strength) and step is None:
    raise UserError(f"term {name!r} has a strength that follows the step: take the objective at one, at_step(n).")
  return Amount(jnp.mean(value, dtype=jnp.float32), jnp.asarray(at_step(strength, step), jnp.float32))


def amounts(given: Mapping[str, Any]) -> dict[str, Amount]:
  """Terms as a function of one's own gives them in its aux, numbers of strength 1 or amounts."""
  return {name: found if isinstance(found, Amount) else amount(name, found, 1.0, None) for name, found in given.items()}


def total(amounts: Mapping[str, Amount]) -> jax.Array:
  """What all terms add to the objective, a scalar."""
  return sum((amount.strength * amount.value for amount in amounts.values()), jnp.zeros((), jnp.float32))
