"""AdaShare: each task learns which stages of the trunk it uses and which it skips."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import terms
from mtl_jax._core.errors import UserError
from mtl_jax.arch._choices import chosen, temperature_of
from mtl_jax.arch._parts import check_parts, mapped, stages_of
from mtl_jax.arch._routes import as_examples, by_task, spread
from mtl_jax.arch._towers import tower
from mtl_jax.arch.chain import numbered, split_key
from mtl_jax.net import Net


def adashare(
  trunk: Net,
  heads: Mapping[str, Net],
  temperature: terms.Strength | None = None,
  sparsity: terms.Strength = 0.05,
  sharing: terms.Strength = 0.05,
) -> Net:
  r"""One trunk, of which each task learns what stages to use; only those that keep the shape can be skipped.

  $$ h_t^{(l)} = u_t^{(l)} f^{(l)}(h_t^{(l-1)}) + (1 - u_t^{(l)}) h_t^{(l-1)}, \qquad
     u_t^{(l)} = \sigma\big((a_t^{(l)} + g - g') / \tau\big), \quad g, g' \sim Gumbel(0, 1) $$

  The temperature $\tau$ follows the step. Without a step, as in evaluation, u is 1 where a is at least 0, else 0. For
  residual blocks, $f(h) = h + r(h)$, skipping leaves out r. The terms, with $\alpha = \sigma(a)$ and L stages that can
  be skipped:

  - `sparsity`: $\sum_{t,l} \log \alpha_t^{(l)}$, for tasks that use few stages.
  - `sharing`: $\sum_{l=0}^{L-1} \frac{L - l}{L} \sum_{s<t} |\alpha_s^{(l)} - \alpha_t^{(l)}|$, for tasks that use the
    same stages, the first ones above all.

  Args:
    trunk: With at least two stages, one of which gives what it gets in shape.
    heads: For each task a net from what the trunk gives to its prediction.
    temperature: $\tau$, a number above 0 or a function of the step; None: it falls from 5 to 0.5 in 10 000 steps.
    sparsity: The strength of the term.
    sharing: The strength of the term.

  Returns:
    The multi-task `Net`, without a cut, since tasks differ within the trunk. The trunk is shared; a task has
    `{"policy": a, (L,), "head": ...}`. All tasks' examples go through the trunk as one batch, of which batch statistics
    are taken. It reports `use/<task>`, (L,), $\alpha$.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; a temperature not above 0; when it is
      initialised, no stage keeps the shape.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> heads = {name: mtl.from_linen(nn.Dense(1)) for name in ("a", "b")}
  >>> net = adashare(mtl.from_linen(mtl.nn.MLP((8, 8, 8))), heads)
  >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
  >>> net.report(params, state)["use/a"].tolist()
  [0.5, 0.5]

  Deviations: weights and policies are trained on the same batches, and all stages from the first step on.

  When to use:
    The trunk has many stages of one shape, such as residual blocks, and inference must stay near the cost of one trunk
    for each task.

  References:
    Sun et al., *AdaShare: Learning What To Share For Efficient Deep Multi-Task Learning*, NeurIPS 2020.
  """
  heads, stages = check_parts("adashare", trunk, heads), stages_of("adashare", trunk)
  tau, names = temperature_of("adashare", temperature), [*numbered(stages)]

  def init(key, x):
    trunk_key, key = jax.random.split(key)
    params, state, skips = {}, {}, 0
    for name, stage, own in zip(names, stages, jax.random.split(trunk_key, len(stages)), strict=True):
      params[name], state[name] = stage.init(own, x)
      y, _ = stage.apply(params[name], state[name], x)
      skips, x = skips + _alike(x, y), y
    if not skips:
      raise UserError(
        "adashare: no stage of the trunk gives the shape that it gets, so tasks can skip none: take stages of equal "
        "width, such as mtl.nn.MLP((64, 64, 64))."
      )
    task, task_state = {}, {}
    for (name, head), own in zip(heads.items(), jax.random.split(key, len(heads)), strict=True):
      head_params, task_state[name] = head.init(own, x)
      task[name] = {"policy": jnp.zeros(skips), "head": head_params}
    return {"shared": params, "task": task}, {"shared": state, "task": task_state}

  def apply(params, state, x, *, key: Any = None, train: bool = False, step: Any = None):
    draw, trunk_key, key = split_key(key, 3)
    policies = jnp.stack([params["task"][name]["policy"] for name in heads])
    use = iter(chosen(jnp.stack([policies, jnp.zeros_like(policies)], -1), tau, draw, train, step)[..., 0].T)
    mode, shared, is_spread = {"train": train, "step": step}, {}, False
    for name, stage, own in zip(names, stages, split_key(trunk_key, len(stages)), strict=True):
      y, shared[name] = stage.apply(params["shared"][name], state["shared"][name], x, key=own, **mode)
      if not _alike(x, y):
        x = y
        continue
      if not is_spread:  # from here on tasks differ
        x, y, is_spread = as_examples(spread(x, len(heads))), as_examples(spread(y, len(heads))), True
      x = mapped(functools.partial(_between, next(use)), y, x)
    features, predictions, task = by_task(x, len(heads)), {}, {}
    for i, ((name, head), own) in enumerate(zip(heads.items(), split_key(key, len(heads)), strict=True)):
      own_params, own_state = params["task"][name]["head"], state["task"][name]
      predictions[name], task[name] = head.apply(own_params, own_state, tower(i)(features), key=own, **mode)
    return predictions, {"shared": shared, "task": task}

  def used(params):
    return {name: jax.nn.sigmoid(own["policy"].astype(jnp.float32)) for name, own in params["task"].items()}

  def rare(params):
    logits = jnp.stack([own["policy"] for own in params["task"].values()])
    return jnp.sum(jax.nn.log_sigmoid(logits.astype(jnp.float32)))

  def differing(params):
    use = jnp.stack([*used(params).values()])
    count, skips = use.shape
    one, other = np.triu_indices(count, 1)
    weights = np.arange(skips, 0, -1, dtype=np.float32) / skips  # least for the last stage
    return jnp.sum(jnp.abs(use[one] - use[other]).sum(axis=0) * weights)

  found = {"sparsity": terms.penalty(rare, sparsity), "sharing": terms.penalty(differing, sharing)}
  return Net(
    init, apply, terms=found, report=lambda params, state: {f"use/{name}": u for name, u in used(params).items()}
  )


def _alike(x: Any, y: Any) -> bool:
  """Whether a stage gives the shapes that it gets."""
  return jax.tree.structure(x) == jax.tree.structure(y) and all(
    (a.shape, a.dtype) == (b.shape, b.dtype) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
  )


def _between(use: jax.Array, used: jax.Array, skipped: jax.Array) -> jax.Array:
  """What tasks have after a stage, of examples of all tasks: u (T,) of the one array, the rest of the other."""
  share = jnp.tile(use, len(used) // len(use)).astype(used.dtype).reshape(-1, *[1] * (used.ndim - 1))
  return share * used + (1 - share) * skipped
