"""Nets that behave in training as they do outside of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from mtl_jax.net import Net, check_net


def in_inference(net: Net) -> Net:
  """The net as it is outside of training, also in training: batch statistics stay as they are, and nothing is dropped.

  Parameters are trained as before, unless they are frozen. Small batches spoil the statistics of a pretrained trunk.

  Args:
    net: A trunk or a head.

  Returns:
    The net; so are its stages.

  >>> import mtl_jax as mtl
  >>> in_inference(mtl.from_linen(mtl.nn.ResNet((1,), width=8))).stages[0].cut is None
  True
  """
  check_net("in_inference: net", net)

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    return net.apply(params, state, x, key=key, train=False, step=step)

  return dataclasses.replace(net, apply=apply, stages=tuple(map(in_inference, net.stages)))
