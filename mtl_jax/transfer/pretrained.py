"""Nets that begin with weights from elsewhere in place of random ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from mtl_jax._core.errors import UserError, some
from mtl_jax._core.paths import by_path
from mtl_jax._core.shapes import only_shapes
from mtl_jax.net import Net, check_net
from mtl_jax.transfer._filled import filled


def pretrained(net: Net, weights: Callable[[], tuple[Any, Any]], *, partial: bool = False) -> Net:
  """The net, whose `init` gives pretrained parameters and state.

  It goes wherever a net does: as the trunk or a head of any architecture, as a part of a chain, in stages.

  Args:
    net: The net.
    weights: `weights() -> (params, state)`, parts of the net's trees, such as `efficientnet_lite0` gives. It is called
      when the net is first initialised, and once. A trained run is opened without it.
    partial: Whether leaves that it does not give begin at random, in place of an error.

  Returns:
    The net; its stages are pretrained, too.

  Raises:
    UserError: From `init`: the weights are of another net, or lack a part of this one.

  >>> import jax, jax.numpy as jnp, mtl_jax as mtl
  >>> ones = {"Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
  >>> net = pretrained(mtl.from_linen(mtl.nn.MLP((2,))), lambda: (ones, {}))
  >>> params, state = net.init(jax.random.key(0), jnp.zeros((1, 3)))
  >>> net.apply(params, state, jnp.ones((1, 3)))[0].tolist()
  [[4.0, 4.0]]
  """
  check_net("pretrained: net", net)

  @functools.cache
  def read() -> dict[str, Any]:
    params, state = weights()
    return by_path({"params": params, "state": state})

  def begun(net: Net, whole: bool) -> Net:
    def init(key: Any, x: Any) -> tuple[Any, Any]:
      model = net.init(key, x)
      return model if only_shapes() else _filled(model, read(), whole, partial)

    return dataclasses.replace(net, init=init, stages=tuple(begun(stage, False) for stage in net.stages))

  return begun(net, True)


def _filled(model: tuple[Any, Any], given: Mapping[str, Any], whole: bool, partial: bool) -> tuple[Any, Any]:
  """Parameters and state with those given; of a stage, which is not the whole net, those of its places."""
  tree = dict(zip(("params", "state"), model, strict=True))
  known = by_path(tree)
  if whole and (others := [path for path in given if path not in known]):
    raise UserError(f"pretrained: the net has no {some(others, 3)}: the weights are of another net.")
  if not partial and (missing := [path for path in known if path not in given]):
    raise UserError(f"pretrained: the weights lack {some(missing, 3)}: pass partial=True to begin there at random.")
  found = filled(tree, given, "pretrained")
  return found["params"], found["state"]
