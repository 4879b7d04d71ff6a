"""SegNet: pooling and its undoing, published size, gradients, errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.nn.segnet import _pool, _unpool
from tests.nn._table import TABLE, cast, floats, inputs, weighted


def test_values_return_to_where_they_were():
  x = inputs((2, 4, 6, 3))
  pooled, index = jax.jit(_pool)(x)
  np.testing.assert_array_equal(pooled, nn.max_pool(x, (2, 2), (2, 2)))
  found = np.asarray(jax.jit(_unpool)(pooled, index))
  largest = np.repeat(np.repeat(pooled, 2, axis=1), 2, axis=2)
  np.testing.assert_array_equal(found, np.where(x == largest, x, 0))


def test_one_of_equal_pixels_has_the_gradient():
  x = jnp.zeros((1, 2, 2, 1))
  gradient = jax.grad(lambda x: _unpool(*_pool(x)).sum())(x)
  np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0])


def test_encoder_has_the_published_size():
  """That of VGG-16's convolutions, 14,714,688, with scales of batch normalisation: biases are there in both."""
  net = mtl.from_linen(mtl.nn.SegNet())
  params, _ = jax.eval_shape(net.init, jax.random.key(0), floats(1, 32, 32, 3))
  own = {name: leaf for name, leaf in params.items() if name.startswith("encoder")}
  assert sum(leaf.size for leaf in jax.tree.leaves(own)) == 14_714_688 + 4224
  kernels = {name: leaf["kernel"].shape[2:] for name, leaf in params.items() if "decoder" in name and "conv" in name}
  assert kernels["decoder_4_conv_2"] == (512, 512) and kernels["decoder_3_conv_2"] == (512, 256)
  assert kernels["decoder_1_conv_1"] == (128, 64) and kernels["decoder_0_conv_1"] == (64, 64)


@pytest.mark.parametrize(
  ("x", "options", "line"),
  [
    (
      floats(1, 8, 6, 1),
      {},
      "images of 8 x 6 pixels, expected sides that 4 divides, since each of 2 stages halves them",
    ),
    (floats(1, 8, 8, 1), {"depths": (1,)}, "found 1 depths for 2 widths"),
    (floats(1, 8, 8), {}, "the input has shape .*: add the channel axis"),
  ],
)
def test_what_it_refuses(x, options, line):
  module = mtl.nn.SegNet(**{"widths": (4, 4), "depths": (1, 1)} | options)
  with pytest.raises(mtl.UserError, match=f"SegNet: .*{line}"):
    jax.eval_shape(module.init, jax.random.key(0), x)


def test_bfloat16_computes_about_the_same():
  """But for pixels whose largest neighbour is another after rounding, which unpooling puts elsewhere."""
  x = inputs(TABLE["segnet"].x)
  apply, params, state = weighted(TABLE["segnet"].module, x)
  full, _ = apply(params, state, x)
  low, _ = apply(cast(params, jnp.bfloat16), state, cast(x, jnp.bfloat16))
  error = np.abs(np.asarray(low, np.float32) - full) / np.abs(full).max()
  assert (error < 0.05).mean() > 0.95 and error.mean() < 0.01
