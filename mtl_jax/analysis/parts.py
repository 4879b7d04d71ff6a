"""What a multi-task net is made of: parameters and work of each part, shared and per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.many import FEW
from mtl_jax._core.shapes import shapes
from mtl_jax.net import Net


class Part(NamedTuple):
  """A part of a multi-task net.

  Attributes:
    name: Its path in the parameters, such as `shared/experts` or `task/left`.
    parameters: How many numbers are trained in it.
    flops: The floating-point operations of its forward pass for one example; None: they are counted in another part.
  """

  name: str
  parameters: int
  flops: float | None = None


def parts(net: Net, x: Any) -> list[Part]:
  """The parts of a net: the trunk's entries, then the tasks. Nothing is computed, and nothing compiled.

  Args:
    net: A multi-task net.
    x: A batch of its input, or shapes in place of arrays.

  Returns:
    The parts. The first of the shared ones has the work of the whole trunk, a task that of its head; of a net that is
    not a trunk with independent heads, the first has the work of all.

  >>> import flax.linen as nn, jax.numpy as jnp, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((8,))), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> parts(net, jnp.ones((4, 5)))
  [Part(name='shared/Dense_0', parameters=48, flops=9...), Part(name='task/kind', parameters=27, flops=5...)]
  """
  params, state = shapes(net.init, jax.random.key(0), x)
  shared = params["shared"] if isinstance(params["shared"], Mapping) else {"": params["shared"]}
  found = [Part(f"shared/{key}".rstrip("/"), _size(entry)) for key, entry in shared.items() if _size(entry)]
  tasks = [Part(f"task/{name}", _size(entry)) for name, entry in params["task"].items()]
  size = jax.tree.leaves(x)[0].shape[0]
  if net.cut is None:
    work = _flops(lambda params, state, x: net.apply(params, state, x)[0], params, state, x) / size
    whole = found or tasks
    whole[0] = whole[0]._replace(flops=work)
    return [*found, *tasks]
  features = jax.eval_shape(net.cut.trunk, params["shared"], state["shared"], x)[0]
  if found:
    found[0] = found[0]._replace(flops=_flops(net.cut.trunk, params["shared"], state["shared"], x) / size)
  for i, (name, head) in enumerate(net.cut.heads.items()):
    work = _flops(head, params["task"][name], state["task"][name], features) / size
    tasks[i] = tasks[i]._replace(flops=work)
  return [*found, *tasks]


def in_short(found: Sequence[Part]) -> list[Part]:
  """The parts, with many tasks as one.

  >>> in_short([Part("shared", 5)] + [Part(f"task/{i}", 2, 3.0) for i in range(20)])
  [Part(name='shared', parameters=5, flops=None), Part(name='20 tasks', parameters=40, flops=60.0)]
  """
  tasks = [part for part in found if part.name.startswith("task/")]
  if len(tasks) <= FEW:
    return [*found]
  flops = [part.flops for part in tasks if part.flops is not None]
  together = Part(f"{len(tasks)} tasks", sum(part.parameters for part in tasks), sum(flops) if flops else None)
  return [*(part for part in found if part not in tasks), together]


def _size(tree: Any) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _flops(function: Any, *arguments: Any) -> float:
  counted = jax.jit(function).lower(*arguments).cost_analysis()
  return float(dict(counted or {}).get("flops", 0.0))  # not there where there is nothing to count
