"""Nets that are not trained."""

from __future__ import annotations

from typing import Any

from mtl_jax.net import Net, check_net


def fixed(net: Net) -> Net:
  r"""The net as a function that training leaves as it is: it has no parameters, and what it computes with is state.

  So no gradient is taken in it, no optimizer keeps moments of it, and no backward pass goes below it where everything
  before it is fixed, too. It holds under any architecture, where `mtl.fit(frozen=)` needs the paths of parameters. In
  training the net is what it is outside of it: batch statistics stay, and nothing is dropped.

  Args:
    net: A trunk, a stage of one, or a head.

  Returns:
    The net, `init(key, x) -> ({}, {"params": ..., "state": ...})`; its stages are fixed, too.

  >>> import jax, jax.numpy as jnp, mtl_jax as mtl
  >>> lower = fixed(mtl.from_linen(mtl.nn.MLP((4,))))
  >>> net = mtl.arch.chain(lower, mtl.from_linen(mtl.nn.MLP((3,))))
  >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 2)))
  >>> params["stage_0"], list(state["stage_0"])
  ({}, ['params', 'state'])

  Deviations: saving and counting what is trained leaves it out; with `compute_dtype` it keeps its own dtype; a mesh
  whose rules divide parameters has a copy of it on every device.
  """
  check_net("fixed: net", net)

  def init(key: Any, x: Any) -> tuple[Any, Any]:
    params, state = net.init(key, x)
    return {}, {"params": params, "state": state}

  def apply(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
    return net.apply(state["params"], state["state"], x)[0], state

  return Net(init, apply, stages=tuple(map(fixed, net.stages)))
