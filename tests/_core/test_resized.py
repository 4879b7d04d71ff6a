"""Linear interpolation is that of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax._core.resized import resized


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("sizes", [(12, 10), (6, 20), (3, 4), (17, 2), (5, 10)])
def test_it_is_that_of_jax(sizes, antialias):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32))
  expected = jax.image.resize(x, (2, *sizes, 3), "linear", antialias=antialias)
  np.testing.assert_allclose(resized(x, sizes, antialias), expected, atol=1e-6)


def test_the_number_of_examples_may_be_free():
  (count,) = jax.export.symbolic_shape("b")
  found = jax.eval_shape(lambda x: resized(x, (8, 4)), jax.ShapeDtypeStruct((count, 4, 4, 1), "float32"))
  assert str(found.shape) == "(b, 8, 4, 1)"
