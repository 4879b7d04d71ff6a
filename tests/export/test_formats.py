"""Every format stores what networks and tasks of all kinds do, as its own runtime finds.

Those whose runtime is not installed are skipped, which pytest tells; `make test-exports` installs and runs all of them.
"""

import importlib.util
import json
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import UserError
from mtl_jax.export import FORMATS, export

RUNTIMES = {
  "onnx": ("jax2onnx", "onnxruntime"),
  "savedmodel": ("tensorflow",),
  "tflite": ("tensorflow", "ai_edge_litert"),
}
KINDS = [(name, way) for name in ("stablehlo", *RUNTIMES) for way in (None, *FORMATS[name].quantize)]
IDS = ["-".join(filter(None, kind)) for kind in KINDS]


def model(net, tasks, x):
  """A model that is not trained, but whose parameters are all other than their first values."""
  params, state = net.init(jax.random.key(0), jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), x))
  keys = iter(jax.random.split(jax.random.key(1), 99))
  params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), params)
  return mtl.train.Trained(mtl.Problem(net, tasks), params, state, 7, mtl.data.describe({"x": x}))


@pytest.fixture(scope="module")
def images():
  """Convolutions, batch statistics, pooling, enlarged maps; detection, counts and classes of pixels."""
  *maps, _ = mtl.nn.stages(mtl.nn.ResNet((1, 1), width=8, small_images=True))
  heads = {"objects": mtl.nn.DetectionHead(3, 8), "count": mtl.nn.CountHead(8), "pixels": mtl.nn.DenseHead(4, (8,), 2)}
  tasks = {
    "objects": mtl.tasks.detection("kinds", 3, most=12),
    "count": mtl.tasks.counts("count", mean=2.0),
    "pixels": mtl.tasks.segmentation("pixels", 4),
  }
  trunk = mtl.arch.chain(mtl.from_linen(mtl.nn.Pixels(0.5, 0.5)), *maps)
  net = mtl.arch.hard_sharing(trunk, {name: mtl.from_linen(head) for name, head in heads.items()})
  x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
  return model(net, tasks, x), {"x": x}


@pytest.fixture(scope="module")
def numbers():
  """Experts and gates over numbers, several inputs by name; classes and amounts."""

  class Both(nn.Module):
    @nn.compact
    def __call__(self, x):
      return nn.relu(nn.Dense(16)(x["a"]) + nn.Embed(9, 16)(x["b"]))

  heads = {"kind": mtl.from_linen(mtl.nn.MLP((), 5)), "size": mtl.from_linen(mtl.nn.MLP((), 1))}
  net = mtl.arch.mmoe(mtl.from_linen(Both()), heads, experts=2)
  tasks = {"kind": mtl.tasks.classification("kind", 5), "size": mtl.tasks.regression("size", mean=3.0, std=2.0)}
  rng = np.random.default_rng(0)
  x = {"a": rng.normal(size=(3, 6)).astype(np.float32), "b": rng.integers(0, 9, 3).astype(np.int32)}
  return model(net, tasks, x), {"x": x}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["images", "numbers"])
@pytest.mark.parametrize(("format", "quantize"), KINDS, ids=IDS)
def test_what_is_stored_says_what_the_model_says(tmp_path, request, format, quantize, which):
  for runtime in RUNTIMES.get(format, ()):
    if importlib.util.find_spec(runtime) is None:
      pytest.skip(f"{format} is not tested: it needs {runtime}: make test-exports")
  trained, arrays = request.getfixturevalue(which)
  done = export(trained, tmp_path / "model", arrays, format=format, quantize=quantize)
  assert done.difference < (1e-5 if quantize is None else np.inf)  # of 8 bits another box may be the best
  card = json.loads(done.card.read_text())
  assert card["quantize"] == quantize and list(card["outputs"]) == list(mtl.export.deployed(trained).outputs)
  assert done.batch == (1 if format == "tflite" else None)
  assert done.examples == 3 and sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.json"]


@pytest.mark.slow
@pytest.mark.parametrize("format", RUNTIMES)
def test_without_the_extra_one_line_names_it(numbers, tmp_path, monkeypatch, format):
  for runtime in RUNTIMES[format]:
    monkeypatch.setitem(sys.modules, runtime, None)
  with pytest.raises(UserError, match=rf"export to {format} needs an extra: pip install 'mtl-jax\[{format}\]'"):
    export(*numbers[:1], tmp_path / "model", numbers[1], format=format)
  assert not list(tmp_path.iterdir())
