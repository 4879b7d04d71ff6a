"""Prompts: learned tokens of a task in front of the sequence that a shared trunk reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.named import described
from mtl_jax.arch._parts import check_count, check_parts, is_float, stages_of
from mtl_jax.arch._streams import between_stages
from mtl_jax.net import Net


def prompt(trunk: Net, heads: Mapping[str, Net], length: int = 10) -> Net:
  r"""One trunk; between its first stage and the others a task puts P learned tokens in front of the sequence.

  $$ \hat y_t = h_t\big(f^{(2..L)}([p_{t,1}; \ldots; p_{t,P}; f^{(1)}(x)])\big) $$

  Tokens start at random, with standard deviation 0.02.

  Args:
    trunk: Shared by all tasks, with at least two stages, of which the first gives a sequence: an array (B, L, D), or
      `{"x": (B, L, D), "mask": (B, L)}`. The others must take sequences of L + P positions.
    heads: For each task a net from what the trunk gives to its prediction. If that still is a sequence, its first P
      positions are those of the prompt.
    length: P, at least 1.

  Returns:
    The multi-task `Net`. The stages are shared; prompts, heads and batch statistics belong to their tasks. The first
    stage runs once, the others once per task. The net has no cut. To train prompts and heads alone, freeze `^shared/`.

  Raises:
    UserError: Something is no `Net`; no heads; a trunk without stages; `length` below 1; when it is applied, the first
      stage gives no sequence, or packed rows.

  >>> import flax.linen as nn, mtl_jax as mtl
  >>> def mean(params, state, x):
  ...   return x.mean(axis=1), state
  >>> words = mtl.from_linen(nn.Embed(20, 4))
  >>> trunk = mtl.arch.chain(words, mtl.Net(lambda key, x: ({}, {}), mean))
  >>> net = prompt(trunk, {"kind": mtl.from_linen(nn.Dense(3))}, length=2)
  >>> params, state = net.init(jax.random.key(0), jnp.zeros((5, 7), jnp.int32))
  >>> params["task"]["kind"]["prompt"]["stage_0"]["tokens"].shape
  (2, 4)

  Deviations: Lester et al. start with vectors of words from the vocabulary.

  When to use:
    A pretrained transformer must stay as it is, and tasks are to share one batch.

  References:
    Lester et al., *The Power of Scale for Parameter-Efficient Prompt Tuning*, EMNLP 2021.
    Jia et al., *Visual Prompt Tuning*, ECCV 2022.
  """
  heads = check_parts("prompt", trunk, heads)
  stages_of("prompt", trunk)
  check_count("prompt", "length", length)

  def init(key, x):
    return {"tokens": 0.02 * jax.random.normal(key, (length, _sequence(x).shape[-1]))}, {}

  def apply(params, state, x):
    words = _sequence(x)
    tokens = params["tokens"].astype(words.dtype)
    words = jnp.concatenate([jnp.broadcast_to(tokens, (len(words), *tokens.shape)), words], axis=1)
    if not isinstance(x, Mapping):
      return words, state
    if "segments" in x:
      raise UserError(
        "prompt: rows are packed with several sequences, expected one per row, before which a prompt can stand:"
        " pack them with most=1 and give the trunk a mask in place of segments."
      )
    mask = {}
    if "mask" in x:
      mask["mask"] = jnp.concatenate([jnp.ones((len(words), length), x["mask"].dtype), x["mask"]], axis=1)
    return {**x, "x": words, **mask}, state

  return between_stages("prompt", trunk, heads, Net(init, apply), after=lambda stage: stage == 0)


def _sequence(x: Any) -> jax.Array:
  words = x.get("x") if isinstance(x, Mapping) else x
  if not isinstance(words, jax.Array) or words.ndim != 3 or not is_float(words):
    found = f"an array {words.dtype}{list(words.shape)}" if isinstance(words, jax.Array) else described(x)
    raise UserError(
      f"prompt: the first stage of the trunk gives {found}, expected a sequence, (B, L, D) or {{'x': (B, L, D), "
      "'mask': (B, L)}: let it be the layer that makes vectors of tokens or patches."
    )
  return words
