"""ESMM: tasks as steps on one way, whose probabilities multiply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import entry
from mtl_jax.arch._parts import check_parts
from mtl_jax.arch.chain import split_key
from mtl_jax.arch.hard_sharing import hard_sharing, init_heads
from mtl_jax.net import Net


def esmm(trunk: Net, heads: Mapping[str, Net]) -> Net:
  r"""Steps that follow each other, such as a click and then a conversion; a task predicts that all up to its own come.

  $$ P_t = \prod_{s \le t} \sigma(z_s), \quad z_s = h_s(f(x)), \qquad \hat y_t = \log \frac{P_t}{1 - P_t} $$

  So $\sigma(z_t)$ is the probability of step t where the one before has come, and it is learned from all examples, not
  only from those where that was seen. The logit is exact for logits of any size: with that of the steps before, p,
  $\hat y = -\log(e^{-p} + e^{-z} + e^{-p-z})$.

  Args:
    trunk: Maps the input to the features that all heads read.
    heads: For each task, in the order of the steps, a net from those features to one logit per example, (B,) or (B, 1).
      The label of task t is whether steps 1 to t have all come: take `mtl.tasks.binary`.

  Returns:
    The multi-task `Net`, whose predictions are logits in the shapes of the heads'. Trunk and all heads but the last are
    shared, since later losses reach them; the last belongs to its task.

  Raises:
    UserError: Something is no `Net`; no heads; when it is applied, a head gives more than one logit.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> head = mtl.from_linen(nn.Dense(1))
  >>> net = esmm(mtl.from_linen(mtl.nn.MLP((8,))), {"click": head, "buy": head})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> sorted(params["shared"]["heads"]), list(params["task"]["buy"])
  (['click'], ['kernel', 'bias'])
  >>> found, _ = net.apply(params, state, jnp.ones((5, 4)))
  >>> bool((found["buy"] < found["click"]).all())
  True

  When to use:
    Labels of a later step exist only where the one before happened, such as purchases after clicks, and predictions are
    wanted for all.

  References:
    Ma et al., *Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate*, SIGIR
    2018.
  """
  heads = check_parts("esmm", trunk, heads)
  *earlier, last = heads
  of_earlier = {name: heads[name] for name in earlier}

  def init(key, x):
    keys = jax.random.split(key, 1 + len(earlier))
    params, state = trunk.init(entry(keys, 0), x)
    features, _ = trunk.apply(params, state, x)
    made = init_heads(of_earlier, keys, features)
    states = {name: s for name, (_, s) in made.items()}
    return {"trunk": params, "heads": {n: p for n, (p, _) in made.items()}}, {"trunk": state, "heads": states}

  def apply(params, state, x, *, key: Any = None, **mode):
    trunk_key, *keys = split_key(key, 1 + len(earlier))
    features, after = trunk.apply(params["trunk"], state["trunk"], x, key=trunk_key, **mode)
    logits, states, before = {}, {}, None
    for (name, head), own in zip(of_earlier.items(), keys, strict=True):
      z, states[name] = head.apply(params["heads"][name], state["heads"][name], features, key=own, **mode)
      before = logits[name] = also(before, name, z)
    return {"features": features, "logits": logits}, {"trunk": after, "heads": states}

  def step_of(name):
    return Net(lambda key, features: ({}, {}), lambda params, state, features: (features["logits"][name], state))

  def init_last(key, features):
    return heads[last].init(key, features["features"])

  def apply_last(params, state, features, **context):
    z, state = heads[last].apply(params, state, features["features"], **context)
    return also(features["logits"][earlier[-1]] if earlier else None, last, z), state

  return hard_sharing(Net(init, apply), {name: step_of(name) for name in earlier} | {last: Net(init_last, apply_last)})


def also(before: jax.Array | None, name: str, z: jax.Array) -> jax.Array:
  """The logit of the product of two probabilities, from their logits, in the shape of the second."""
  z = one_logit("esmm", name, z)
  if before is None:
    return z
  p, q = before.reshape(-1).astype(jnp.float32), z.reshape(-1).astype(jnp.float32)
  return -jax.nn.logsumexp(jnp.stack([-p, -q, -p - q]), axis=0).astype(z.dtype).reshape(z.shape)


def one_logit(arch: str, name: str, z: Any, advice: str = "take a head of one unit") -> jax.Array:
  """The prediction of a head, which must be one number per example."""
  if not isinstance(z, jax.Array) or z.shape[1:] not in ((), (1,)):
    found = list(z.shape) if isinstance(z, jax.Array) else "no array"
    raise UserError(f"{arch}: head {name!r} gives {found}, expected one logit per example, (B,) or (B, 1): {advice}.")
  return z
