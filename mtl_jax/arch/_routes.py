"""Tasks that go through one trunk by ways of their own, as one batch of all their examples."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def spread(tree: Any, count: int) -> Any:
  """What all tasks have alike so far, (B, ...), once for each, (B, T, ...)."""

  def one(leaf):
    return jnp.broadcast_to(leaf[:, None], (leaf.shape[0], count, *leaf.shape[1:]))

  return jax.tree.map(one, tree)


def as_examples(tree: Any) -> Any:
  """(B, T, ...) as a batch of B T examples. The tasks of an example stay together, on the device that it is on."""
  return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def by_task(tree: Any, count: int) -> Any:
  """A batch of B T examples as (B, T, ...)."""
  return jax.tree.map(lambda leaf: leaf.reshape(-1, count, *leaf.shape[1:]), tree)
