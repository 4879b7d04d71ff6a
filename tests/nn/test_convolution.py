"""Convolutions of one pixel are products with a matrix, and say what convolutions say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.nn._convolution import convolve

FORM = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("side", [1, 3])
def test_as_the_convolution(side, strides, padding):
  keys = jax.random.split(jax.random.key(0), 2)
  x, kernel = jax.random.normal(keys[0], (2, 7, 6, 5)), jax.random.normal(keys[1], (side, side, 5, 4))

  def of(function):
    def loss(x, kernel):
      return jnp.sum(jnp.sin(function(x, kernel, strides, padding, **FORM)))

    return jax.value_and_grad(loss, (0, 1))(x, kernel)

  found, expected = of(convolve), of(jax.lax.conv_general_dilated)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)
  program = str(jax.make_jaxpr(lambda x, k: convolve(x, k, strides, padding, **FORM))(x, kernel))
  assert ("dot_general" in program) == (side == 1)
  assert ("conv_general_dilated" in program) == (side == 3)


def test_groups_and_padding_of_other_kinds_are_left_to_the_convolution():
  x, kernel = jnp.ones((1, 4, 4, 4)), jnp.ones((1, 1, 2, 4))
  assert convolve(x, kernel, (1, 1), "SAME", feature_group_count=2, **FORM).shape == (1, 4, 4, 4)
  assert convolve(x, jnp.ones((1, 1, 4, 3)), (1, 1), [(1, 1), (0, 0)], **FORM).shape == (1, 6, 4, 3)
