"""Updates that TorchJD publishes for one matrix of gradients."""

import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._weigh import products, weigh

GRADIENTS = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])

PUBLISHED = {
  "aligned": (mtl.balance.aligned, [0.2133, 0.9673, 0.9673]),
  "cagrad": (lambda: mtl.balance.cagrad(c=0.5, rescale=0), [0.1835, 1.2041, 1.2041]),
  "config": (mtl.balance.config, [0.1588, 2.0706, 2.0706]),
  "dualproj": (lambda: mtl.balance.dualproj(norm_eps=1e-4, reg_eps=1e-4), [0.5563, 1.1109, 1.1109]),
  "imtl_g": (mtl.balance.imtl_g, [0.0767, 1.0, 1.0]),
  "mgda": (mtl.balance.mgda, [0.0, 1.0, 1.0]),
  "nash": (mtl.balance.nash, [0.0542, 0.7061, 0.7061]),
  "upgrad": (lambda: mtl.balance.upgrad(norm_eps=1e-4, reg_eps=1e-4), [0.2929, 1.9004, 1.9004]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_updates(name):
  make, expected = PUBLISHED[name]
  # The published digits, and rounding of weights times the gradients' length of 6.
  np.testing.assert_allclose(weigh(make(), products(GRADIENTS[None])) @ GRADIENTS, [expected], atol=6e-5)
