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
    stationary: The update vanishes only where the tasks' gradients have a vanishing positive combination.
    weighs_heads: Heads get weighted gradients; None: those of loss weighters do.
    continuous: Weights change little where the gradients do.
    least: The fewest tasks it takes.
    main: The first task is not like the others: there is no method on the others alone.
  """

  make: Callable[[int], mtl.balance.Balancer]
  simplex: bool = False
  total: float | str | None = None
  nonnegative: bool = False
  equivariant: bool = False
  non_conflicting: bool = False
  linear: bool = False
  stationary: bool = False
  weighs_heads: bool | None = None
  continuous: bool = True
  least: int = 1
  main: bool = False


TABLE: dict[str, Method] = {
  "aligned": Method(lambda t: mtl.balance.aligned(), equivariant=True),
  "cagrad": Method(lambda t: mtl.balance.cagrad(c=1.0), equivariant=True, non_conflicting=True),
  "config": Method(lambda t: mtl.balance.config(), equivariant=True, linear=True),
  "constant": Method(lambda t: mtl.balance.constant([1.0 + i for i in range(t)]), nonnegative=True, linear=True),
  "cosmos": Method(lambda t: mtl.balance.cosmos(), equivariant=True),
  "db": Method(lambda t: mtl.balance.db(), nonnegative=True, equivariant=True),
  "dualproj": Method(
    lambda t: mtl.balance.dualproj(),
    nonnegative=True,
    stationary=True,
    equivariant=True,
    non_conflicting=True,
  ),
  "dwa": Method(lambda t: mtl.balance.dwa(window=1), total="tasks", nonnegative=True, equivariant=True),
  "equal": Method(
    lambda t: mtl.balance.equal(), total="tasks", nonnegative=True, stationary=True, equivariant=True, linear=True
  ),
  "excess": Method(lambda t: mtl.balance.excess(), simplex=True, total=1.0, equivariant=True, weighs_heads=True),
  "fairgrad": Method(lambda t: mtl.balance.fairgrad(), nonnegative=True, equivariant=True),
  "famo": Method(lambda t: mtl.balance.famo(), simplex=True, total=1.0, equivariant=True),
  "geometric": Method(lambda t: mtl.balance.geometric(), nonnegative=True, equivariant=True),
  "graddrop": Method(lambda t: mtl.balance.graddrop(), total="tasks", nonnegative=True),
  "gradnorm": Method(
    lambda t: mtl.balance.gradnorm(), total="tasks", nonnegative=True, equivariant=True, weighs_heads=True
  ),
  "gradvac": Method(lambda t: mtl.balance.gradvac()),
  "imtl_g": Method(lambda t: mtl.balance.imtl_g(), total=1.0, equivariant=True),
  "imtl_l": Method(lambda t: mtl.balance.imtl_l(), nonnegative=True, equivariant=True),
  "krum": Method(lambda t: mtl.balance.krum(n_byzantine=0), simplex=True, total=1.0, least=3),
  "metabalance": Method(lambda t: mtl.balance.metabalance(), nonnegative=True, main=True),
  "mgda": Method(lambda t: mtl.balance.mgda(), simplex=True, total=1.0, equivariant=True, non_conflicting=True),
  "moco": Method(lambda t: mtl.balance.moco(), simplex=True, total=1.0, equivariant=True),
  "modo": Method(lambda t: mtl.balance.modo(), simplex=True, total=1.0, equivariant=True),
  "nash": Method(lambda t: mtl.balance.nash(), nonnegative=True, equivariant=True),
  "pbi": Method(lambda t: mtl.balance.pbi(), equivariant=True),
  "pcd": Method(lambda t: mtl.balance.pcd(), nonnegative=True, main=True),
  "pcgrad": Method(lambda t: mtl.balance.pcgrad()),
  "random": Method(lambda t: mtl.balance.random(), simplex=True, total=1.0),
  "scale_invariant": Method(lambda t: mtl.balance.scale_invariant(), nonnegative=True, equivariant=True),
  # At its own rate of 5 the inner steps jump between vertices, and make 1e-4 of rounding of 1e-7.
  "sdmgrad": Method(lambda t: mtl.balance.sdmgrad(learning_rate=0.5), simplex=True, total=1.0),
  "stch": Method(lambda t: mtl.balance.stch(warmup=2, window=1), nonnegative=True, equivariant=True),
  "trimmed_mean": Method(lambda t: mtl.balance.trimmed_mean((t - 1) // 2), simplex=True, total=1.0, equivariant=True),
  "uncertainty": Method(lambda t: mtl.balance.uncertainty(), nonnegative=True, equivariant=True),
  "upgrad": Method(
    lambda t: mtl.balance.upgrad(),
    nonnegative=True,
    stationary=True,
    equivariant=True,
    non_conflicting=True,
    linear=True,
  ),
  # Combinators, over methods that differ in what they need.
  "chain": Method(
    lambda t: mtl.balance.chain(mtl.balance.uncertainty(), mtl.balance.upgrad()),
    nonnegative=True,
    equivariant=True,
    non_conflicting=True,
  ),
  "log_losses": Method(lambda t: mtl.balance.log_losses(mtl.balance.mgda()), nonnegative=True, equivariant=True),
  "per_group": Method(lambda t: mtl.balance.per_group(mtl.balance.mgda(), ["early|Dense_0"]), simplex=True, total=1.0),
  "rescale": Method(lambda t: mtl.balance.rescale(mtl.balance.nash(), "sum"), total="tasks", nonnegative=True),
  "smooth": Method(lambda t: mtl.balance.smooth(mtl.balance.mgda()), simplex=True, total=1.0, equivariant=True),
}


# One per way in which a method uses an engine: losses, those after the update too, G, G of some layers, two halves of a
# batch, three thirds, rows, rows by path, head weights of its own. What methods make of these is tested elsewhere.
KINDS = ("uncertainty", "famo", "mgda", "gradnorm", "modo", "sdmgrad", "graddrop", "per_group", "chain")


def methods(claim: str | None = None) -> list[str]:
  """The names of the methods that claim `claim`, or of all."""
  return [name for name, method in TABLE.items() if claim is None or getattr(method, claim) not in (False, None)]
