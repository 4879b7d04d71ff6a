"""Networks, tasks and batches that training steps are timed on."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl


class Workload(NamedTuple):
  """A multi-task net, its tasks and one batch.

  Attributes:
    net: The net.
    tasks: T regression or classification tasks.
    batch: The batch.
    widths: Of the trunk's dense layers, where it is an MLP (peers build the same), else None.
    inputs: The key of the batch that holds the input, or one per task.
  """

  net: mtl.Net
  tasks: dict[str, mtl.Task]
  batch: dict[str, Any]
  widths: tuple[int, ...] | None = None
  inputs: str | dict[str, str] = "x"


class Transformer(nn.Module):
  """Tokens (B, L) to the mean feature (B, width), pre-norm blocks."""

  vocabulary: int = 1000
  width: int = 128
  layers: int = 4
  heads: int = 4

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """The features."""
    x = nn.Embed(self.vocabulary, self.width)(tokens)
    x = x + self.param("position", nn.initializers.normal(0.02), (tokens.shape[1], self.width))[None]
    for _ in range(self.layers):
      x = x + nn.MultiHeadDotProductAttention(num_heads=self.heads)(nn.LayerNorm()(x))
      x = x + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
    return nn.LayerNorm()(x).mean(axis=1)


def mlp(tasks: int) -> Workload:
  """MLP 256-1024x4, heads 64-1, batch 256, T regressions."""
  return _regressions(mtl.nn.MLP((1024,) * 4), (64,), tasks, _normal(256, 256), widths=(1024,) * 4)


def disjoint(tasks: int) -> Workload:
  """MLP 256-1024x4, heads 64-1, T regressions, each with 256 / T examples of its own."""
  whole, size = mlp(tasks), max(256 // tasks, 1)
  batch = {name: whole.batch[name][i * size : (i + 1) * size] for i, name in enumerate(whole.tasks)}
  batch |= {f"x_{name}": whole.batch["x"][i * size : (i + 1) * size] for i, name in enumerate(whole.tasks)}
  return Workload(whole.net, whole.tasks, batch, None, {name: f"x_{name}" for name in whole.tasks})


def cnn(tasks: int) -> Workload:
  """A CNN of 32, 64 and 64 channels on 32 x 32 x 3, batch 64, T regressions."""
  return _regressions(mtl.nn.CNN((32, 64, 64)), (64,), tasks, _normal(64, 32, 32, 3))


def tox21(tasks: int) -> Workload:
  """The size of a Tox21 fingerprint network: MLP 1024-512-256, linear heads, batch 128, T binary tasks (there 12)."""
  names = [f"t{i}" for i in range(tasks)]
  rng = np.random.default_rng(0)
  batch = {"x": (rng.random((128, 1024)) < 0.05).astype(np.float32)}
  batch |= {name: (rng.random(128) < 0.1).astype(np.int32) for name in names}
  heads = {name: mtl.from_linen(mtl.nn.MLP((), out=1)) for name in names}
  net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((512, 256))), heads)
  return Workload(net, {name: mtl.tasks.binary(name) for name in names}, jax.tree.map(jnp.asarray, batch), (512, 256))


def transformer(tasks: int) -> Workload:
  """Four layers of width 128 on 32 tokens, batch 32, T regressions."""
  tokens = np.random.default_rng(0).integers(0, 1000, (32, 32)).astype(np.int32)
  return _regressions(Transformer(), (), tasks, tokens)


def _normal(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _regressions(trunk, head_widths, tasks, x, widths=None) -> Workload:
  names = [f"t{i}" for i in range(tasks)]
  rng = np.random.default_rng(1)
  batch = {"x": x} | {name: rng.normal(size=len(x)).astype(np.float32) for name in names}
  heads = {name: mtl.from_linen(mtl.nn.MLP(head_widths, out=1)) for name in names}
  net = mtl.arch.hard_sharing(mtl.from_linen(trunk), heads)
  return Workload(net, {name: mtl.tasks.regression(name) for name in names}, jax.tree.map(jnp.asarray, batch), widths)


WORKLOADS = {"mlp": mlp, "cnn": cnn, "tox21": tox21, "transformer": transformer, "disjoint": disjoint}
