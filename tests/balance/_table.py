"""Every balancer and the properties it claims: a new method gets all common tests by one line here."""

from collections.abc import Callable
from typing import NamedTuple

import mtl_jax as mtl


class Method(NamedTuple):
  """How a balancer is made, and what it claims over all matrices of task gradients.

  Attributes:
    make: `make(num_tasks) -> Balancer`, deterministic but for the key in its state.
    simplex: Weights are at least 0 and sum to 1.
    total: The sum of the weights; None: it varies. `"tasks"`: the number of tasks.
    nonnegative: Weights are at least 0.
    equivariant: Reordering the tasks reorders the weights, or where these are not unique keeps the update.
    non_conflicting: The update does not point against any task's gradient, (J J^T w)_i >= 0.
    linear: The update is linear in a scaling of the rows of J.
  """

  make: Callable[[int], mtl.balance.Balancer]
  simplex: bool = False
  total: float | str | None = None
  nonnegative: bool = False
  equivariant: bool = False
  non_conflicting: bool = False
  linear: bool = False


TABLE: dict[str, Method] = {
  "aligned": Method(lambda t: mtl.balance.aligned(), equivariant=True),
  "cagrad": Method(lambda t: mtl.balance.cagrad(c=1.0), nonnegative=True, equivariant=True, non_conflicting=True),
  "config": Method(lambda t: mtl.balance.config(), equivariant=True, linear=True),
  "constant": Method(lambda t: mtl.balance.constant([1.0 + i for i in range(t)]), nonnegative=True, linear=True),
  "dualproj": Method(lambda t: mtl.balance.dualproj(), nonnegative=True, equivariant=True, non_conflicting=True),
  "dwa": Method(lambda t: mtl.balance.dwa(window=1), total="tasks", nonnegative=True, equivariant=True),
  "equal": Method(lambda t: mtl.balance.equal(), total="tasks", nonnegative=True, equivariant=True, linear=True),
  "fairgrad": Method(lambda t: mtl.balance.fairgrad(), nonnegative=True, equivariant=True),
  "gradvac": Method(lambda t: mtl.balance.gradvac()),
  "imtl_g": Method(lambda t: mtl.balance.imtl_g(), total=1.0, equivariant=True),
  "krum": Method(lambda t: mtl.balance.krum(n_byzantine=0), simplex=True, total=1.0),
  "mgda": Method(lambda t: mtl.balance.mgda(), simplex=True, total=1.0, equivariant=True, non_conflicting=True),
  "nash": Method(lambda t: mtl.balance.nash(), nonnegative=True, equivariant=True),
  "pcgrad": Method(lambda t: mtl.balance.pcgrad()),
  "uncertainty": Method(lambda t: mtl.balance.uncertainty(), nonnegative=True, equivariant=True),
  "upgrad": Method(
    lambda t: mtl.balance.upgrad(), nonnegative=True, equivariant=True, non_conflicting=True, linear=True
  ),
}


def methods(claim: str) -> list[str]:
  """The names of the methods that claim `claim`."""
  return [name for name, method in TABLE.items() if getattr(method, claim) not in (False, None)]
