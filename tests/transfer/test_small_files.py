"""What tasks add to a frozen encoder of text, by LoRA or adapters, is kept in a small file and put back by it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import transfer

TRUNK = mtl.from_linen(mtl.nn.Bert(vocabulary=200, width=16, layers=2, heads=2, max_length=10, pool=None))
ARCHITECTURES = {
  "lora": functools.partial(mtl.arch.lora, rank=1, kernels="(query|value)/kernel"),
  "adapters": functools.partial(mtl.arch.adapters, bottleneck=2),
}


def rows(count, seed):
  """Rows of two sentences; which token is in a sentence tells its label."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, 200, (count, 10)).astype(np.int32)
  segments = np.tile(np.int32([1, 1, 1, 1, 2, 2, 2, 2, 2, 0]), (count, 1))
  labels = np.stack([tokens[:, 0] > 100, tokens[:, 4] > 100], axis=1).astype(np.int32)
  return {"x": {"tokens": tokens, "segments": segments}, "a": labels, "b": 1 - labels}


def head():
  return mtl.arch.chain(mtl.from_linen(mtl.nn.SegmentPool(2)), mtl.from_linen(mtl.nn.MLP((), 2, flatten=False)))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_there_and_back(arch, tmp_path):
  x = jax.tree.map(jnp.asarray, rows(2, 0)["x"])
  weights = jax.jit(TRUNK.init)(jax.random.key(1), x)
  trunk = transfer.pretrained(TRUNK, lambda: weights)
  net = ARCHITECTURES[arch](trunk, {"a": head(), "b": head()})
  tasks = {name: mtl.tasks.classification(name, 2, ignore=-1) for name in ("a", "b")}
  options = {"steps": 3, "batch_size": 4, "frozen": ("^shared/",), "progress": False, "seed": 0}
  run = mtl.fit(net, tasks, "equal", optax.adam(0.05), rows(16, 0), **options)

  file, whole = tmp_path / "small.safetensors", tmp_path / "whole.safetensors"
  names = transfer.save_safetensors(file, run.params, only="^task/")
  transfer.save_safetensors(whole, run.params)
  assert names and all(name.startswith("task/") for name in names)
  assert file.stat().st_size < whole.stat().st_size / 3

  # Another process has the weights of the trunk, and the file; heads begin with other numbers.
  params, state = jax.jit(net.init)(jax.random.key(7), x)
  apply = jax.jit(net.apply)
  expected, _ = apply(run.params, run.net_state, x)
  before, _ = apply(params, state, x)
  after, _ = apply(transfer.load_into(params, file), state, x)
  for name in tasks:
    assert np.abs(before[name] - expected[name]).max() > 1e-3
    np.testing.assert_array_equal(after[name], expected[name])
