"""A small run over virtual devices: the losses of each step."""

import jax
import numpy as np
import optax

import mtl_jax as mtl


def arrays(count=96, seed=0):
  random = np.random.default_rng(seed)
  x = random.normal(size=(count, 8)).astype(np.float32)
  return {"x": x, "kind": (x[:, 0] > x[:, 1]).astype(np.int32), "size": x[:, 2] * x[:, 3]}


TASKS = {"kind": mtl.tasks.classification("kind", num_classes=2), "size": mtl.tasks.regression("size")}
TX = optax.adam(1e-2)


def net(trunk=None):
  heads = {"kind": mtl.nn.MLP((), out=2), "size": mtl.nn.MLP((), out=1)}
  trunk = mtl.nn.MLP((32, 64)) if trunk is None else trunk
  return mtl.arch.hard_sharing(mtl.from_linen(trunk), {name: mtl.from_linen(head) for name, head in heads.items()})


def fit(mesh=None, rules=None, balancer=None, steps=8, log_every=1, **options):
  """A run of `fit` on validation data that no mesh's devices divide."""
  balancer = mtl.balance.equal() if balancer is None else balancer
  options = {"batch_size": 32, "progress": False} | options
  return mtl.fit(
    net(), TASKS, balancer, TX, arrays(), valid=arrays(31, 1), steps=steps, mesh=mesh, rules=rules,
    loop=mtl.train.Loop(log_every=log_every), **options,
  )  # fmt: skip


def losses(result):
  """(steps, 2)."""
  lines = [line for line in result.history if line["kind"] == "train"]
  return np.array([[line["losses/kind"], line["losses/size"]] for line in lines])


def valid_losses(result):
  lines = [line for line in result.history if line["kind"] == "valid"]
  return np.array([[line["kind/loss"], line["size/loss"]] for line in lines])


def placement(tree):
  """The placement of each array, by its path."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): str(leaf.sharding.spec) for path, leaf in leaves}
