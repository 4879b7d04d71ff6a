"""AITM: towers in the order of the tasks, each of which takes over information from the one before."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import terms
from mtl_jax._core.errors import UserError
from mtl_jax._core.packed import entry
from mtl_jax.arch._parts import after_stem, check_parts, parted, reading
from mtl_jax.arch._towers import examples_first, tower, towers
from mtl_jax.arch._transfer import transfer, transferred
from mtl_jax.arch.chain import split_key
from mtl_jax.arch.esmm import one_logit
from mtl_jax.arch.hard_sharing import hard_sharing
from mtl_jax.net import Net


def aitm(trunk: Net, heads: Mapping[str, Net], shared_stages: int = 0, calibration: float = 0.6) -> Net:
  r"""T towers, copies of the trunk, for steps that follow each other; each attends to itself and to the one before.

  $$ z_1 = q_1, \quad z_t = \sum_{u \in \{p_t, q_t\}} w_u V_t u, \quad
     w = softmax_u\big(\langle K_t u, Q_t u \rangle / \sqrt D\big), \quad p_t = \phi(P_t z_{t-1} + b_t) $$

  with $q_t = f_t(x)$, (B, ..., D), what tower t gives, ReLU $\phi$, and $\hat y_t = h_t(z_t)$. Since a step comes only
  after the one before, training adds $\alpha R$ with
  $R = \frac{1}{B} \sum_b \sum_{t > 1} \max(\sigma(\hat y_{tb}) - \sigma(\hat y_{t-1,b}), 0)$.

  Args:
    trunk: What each tower is.
    heads: For each task, in the order of the steps, a net from what a tower gives to one logit per example, (B,) or
      (B, 1): take `mtl.tasks.binary`.
    shared_stages: The first stages of the trunk that are not copied, such as embeddings.
    calibration: $\alpha$, at least 0. With 0 there is no term, and heads may predict anything.

  Returns:
    The multi-task `Net`. All towers and transfers but the last are shared, since later losses reach them; the last
    belong to their task. Its term is called `calibration`. It reports `transfer/<task>`, the mean weight of what comes
    from the task before in the last batch.

  Raises:
    UserError: Something is no `Net`; no heads; the trunk has no more stages than `shared_stages`; `calibration` below
      0; when it is initialised, towers give no features; in the term, a head gives more than one logit.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> head = mtl.from_linen(nn.Dense(1))
  >>> net = aitm(mtl.from_linen(mtl.nn.MLP((8,))), {"click": head, "buy": head})
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> params["shared"]["towers"]["Dense_0"]["kernel"].shape, sorted(params["task"]["buy"])
  ((1, 4, 8), ['head', 'tower', 'transfer'])
  >>> list(net.terms)
  ['calibration']

  When to use:
    Tasks follow each other, such as click, application, approval and activation: each happens only where the one before
    did.

  References:
    Xi et al., *Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task Learning in
    Targeted Display Advertising*, KDD 2021.
  """
  heads = check_parts("aitm", trunk, heads)
  if not calibration >= 0:
    raise UserError(f"aitm: calibration is {calibration}, expected at least 0.")
  stem, one_tower = parted("aitm", trunk, shared_stages)
  *earlier, last = heads
  copies = towers(one_tower, len(earlier))

  def init(key, x):
    key, transfer_key = jax.random.split(key)
    params, state = {}, {}
    if earlier:
      params["towers"], state["towers"] = copies.init(key, x)
    if earlier[1:]:
      q, _ = copies.apply(params["towers"], state["towers"], x)
      keys = jax.random.split(transfer_key, len(earlier) - 1)
      params["transfer"] = jax.vmap(transfer, (0, None))(keys, entry(q, 0))
      state["transfer"] = jnp.full(len(keys), 0.5, jnp.float32)
    return params, state

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    after = dict(state)
    if not earlier:
      return {"input": x}, after
    q, after["towers"] = copies.apply(params["towers"], state["towers"], x, key=key, train=train, step=step)
    if earlier[1:]:

      def one(before, later):
        z, weight = transferred(later[0], before, later[1])
        return z, (z, weight)

      later = jax.tree.map(lambda leaf: leaf[1:], q)
      _, (z, weights) = jax.lax.scan(one, entry(q, 0), (params["transfer"], later))
      q = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b]), q, z)
      after["transfer"] = weights if train else state["transfer"]
    return {"input": x, "towers": examples_first(q)}, after

  def init_last(key, features):
    key, tower_key, transfer_key = jax.random.split(key, 3)
    params, state = {}, {}
    params["tower"], state["tower"] = one_tower.init(tower_key, features["input"])
    z, _ = one_tower.apply(params["tower"], state["tower"], features["input"])
    if earlier:
      params["transfer"], state["transfer"] = transfer(transfer_key, z), jnp.full((), 0.5, jnp.float32)
      z, _ = transferred(params["transfer"], _tower(features, -1), z)
    params["head"], state["head"] = heads[last].init(key, z)
    return params, state

  def apply_last(params, state, features, *, key: Any = None, train: bool = False, step: Any = None):
    (key, tower_key), after, mode = split_key(key, 2), dict(state), {"train": train, "step": step}
    z, after["tower"] = one_tower.apply(params["tower"], state["tower"], features["input"], key=tower_key, **mode)
    if earlier:
      z, weight = transferred(params["transfer"], _tower(features, -1), z)
      after["transfer"] = weight if train else state["transfer"]
    y, after["head"] = heads[last].apply(params["head"], state["head"], z, key=key, **mode)
    return y, after

  def report(params, state):
    del params
    found = {f"transfer/{name}": state["shared"]["transfer"][i] for i, name in enumerate(earlier[1:])}
    own = {f"transfer/{name}": own["transfer"] for name, own in state["task"].items() if "transfer" in own}
    return found | own

  def exceeding(predictions, batch):
    del batch
    advice = "calibration=0 leaves the term out"
    logits = [one_logit("aitm", name, predictions[name], advice) for name in heads]
    p = [jax.nn.sigmoid(z.reshape(-1)) for z in logits]
    return sum(jax.nn.relu(after - before) for before, after in itertools.pairwise(p))

  own = {name: reading(heads[name], lambda features, i=i: _tower(features, i)) for i, name in enumerate(earlier)}
  net = hard_sharing(after_stem(stem, Net(init, apply)), own | {last: Net(init_last, apply_last)})
  wanted = {"calibration": terms.of_predictions(exceeding, calibration)} if earlier and calibration else {}
  return dataclasses.replace(net, report=report, terms=wanted)


def _tower(features: Any, number: int) -> Any:
  return tower(number)(features["towers"])
