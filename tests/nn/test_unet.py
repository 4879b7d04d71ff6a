"""U-Net and the head of pixels: published size, what is read where, the size of predictions, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, floats, inputs, weighted


def test_it_has_the_published_size():
  """That of the original with three channels and two classes, 31,031,810, but for batch normalisation."""
  net, head = mtl.from_linen(mtl.nn.UNet()), mtl.from_linen(mtl.nn.DenseHead(2, ()))
  params, _ = jax.eval_shape(net.init, jax.random.key(0), floats(1, 32, 32, 3))
  own, _ = jax.eval_shape(head.init, jax.random.key(0), floats(1, 32, 32, 64))
  channels = 2 * (64 + 128 + 256 + 512) * 2 + 2 * 1024  # each convolution had a bias, and has a scale beside it
  assert sum(leaf.size for leaf in jax.tree.leaves((params, own))) == 31_031_810 + channels


def test_the_decoder_reads_the_encoder():
  x = inputs(TABLE["unet"].x)
  apply, params, state = weighted(TABLE["unet"].module, x)
  y, _ = apply(params, state, x)
  params["decoder_0_conv_0"]["kernel"] = params["decoder_0_conv_0"]["kernel"].at[:, :, :4].set(0)  # of the skip
  assert np.abs(apply(params, state, x)[0] - y).max() > 0.1
  params["decoder_0_conv_0"]["kernel"] = params["decoder_0_conv_0"]["kernel"].at[:, :, 4:].set(0)
  still, _ = apply(params, state, x)
  np.testing.assert_array_equal(apply(params, state, x + 1)[0], still)


def test_predictions_are_enlarged():
  head = mtl.nn.DenseHead(1, (), scale=2)
  params = {"out": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}
  found = head.apply({"params": params}, jnp.arange(3.0).reshape(1, 1, 3, 1))[0, :, :, 0]
  np.testing.assert_allclose(found, [[0, 0.25, 0.75, 1.25, 1.75, 2]] * 2, rtol=1e-6)


@pytest.mark.parametrize(
  ("module", "x", "line"),
  [
    (mtl.nn.UNet((4, 4, 4)), floats(1, 8, 6, 1), "UNet: images of 8 x 6 pixels, expected sides that 4 divides"),
    (mtl.nn.UNet((4, 4), stride=4), floats(1, 8, 12, 1), "UNet: images of 8 x 12 pixels, .* that 8 divides"),
    (mtl.nn.UNet((4, 4)), floats(1, 8, 8), "UNet: the input has shape .*: add the channel axis"),
    (mtl.nn.DenseHead(3), floats(1, 8), "DenseHead: the input has shape"),
  ],
)
def test_what_they_refuse(module, x, line):
  with pytest.raises(mtl.UserError, match=line):
    jax.eval_shape(module.init, jax.random.key(0), x)
