"""FiLM: each task scales and shifts the features of every stage of a shared trunk."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from mtl_jax.arch._parts import check_parts
from mtl_jax.arch._streams import between_stages, of_floats, on_floats
from mtl_jax.net import Net


def film(trunk: Net, heads: Mapping[str, Net]) -> Net:
  r"""One trunk; after each stage a task multiplies every channel by a factor and adds a shift, both its own.

  $$ h_t^{(l)} = \gamma_t^{(l)} \odot f^{(l)}(h_t^{(l-1)}) + \beta_t^{(l)}, \qquad \hat y_t = h_t(h_t^{(L)}) $$

  It starts with $\gamma = 1$ and $\beta = 0$, so it is hard sharing at first.

  Args:
    trunk: Shared by all tasks. A trunk without stages counts as one stage.
    heads: For each task a net from what the trunk gives to its prediction.

  Returns:
    The multi-task `Net`. The stages are shared; scales, shifts, heads and batch statistics belong to their tasks. The
    first stage runs once, the others once per task. The net has no cut.

  Raises:
    UserError: Something is no `Net`; no heads; when it is initialised, a stage gives no features (B, ..., width).

  >>> import jax, flax.linen as nn, mtl_jax as mtl
  >>> net = film(mtl.from_linen(mtl.nn.MLP((8, 4))), {"kind": mtl.from_linen(nn.Dense(3))})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 2)))
  >>> params["task"]["kind"]["film"]["stage_1"]["scale"].tolist()
  [1.0, 1.0, 1.0, 1.0]

  Deviations: scales and shifts are parameters of the task, where the paper's are the output of a network that reads a
  condition, such as a question.

  When to use:
    There are many tasks and next to no room for parameters of their own: two numbers per task and channel.

  References:
    Perez et al., *FiLM: Visual Reasoning with a General Conditioning Layer*, AAAI 2018.
  """
  heads = check_parts("film", trunk, heads)

  def make(key, width):
    del key
    return {"scale": jnp.ones(width), "shift": jnp.zeros(width)}

  def init(key, x):
    return of_floats("film", make, key, x), {}

  def modulated(own, x):
    return x * jnp.broadcast_to(own["scale"], x.shape) + jnp.broadcast_to(own["shift"], x.shape)

  def apply(params, state, x):
    return on_floats(modulated, params, x), state

  return between_stages("film", trunk, heads, Net(init, apply))
