"""MoCo against its formula in numpy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.balance._sequence import gradients, project, run_steps

LOSSES = np.array([2.0, 0.5, 1.0])


@pytest.mark.parametrize("normalize", ["none", "l2", "loss", "loss+"])
@pytest.mark.parametrize(("rho", "decay"), [(0.0, 0.0), (0.3, 0.5)])
def test_tracked_gradients_and_projected_weights(normalize, rho, decay):
  j = 0.5 * gradients(6, 3)
  balancer = mtl.balance.moco(beta=0.4, gamma=0.2, rho=rho, decay=decay, normalize=normalize)
  updates, weights, state = run_steps(balancer, j, np.tile(LOSSES, (6, 1)))
  y, lam = np.zeros(j.shape[1:]), np.full(3, 1 / 3)
  for k, g in enumerate(j.astype(np.float64), 1):
    y = y - 0.4 / k**decay * (y - g)
    length = np.linalg.norm(y, axis=1)
    divisor = {"none": np.ones(3), "l2": length, "loss": LOSSES, "loss+": LOSSES * length}[normalize]
    unit = y / divisor[:, None]
    lam = project(lam - 0.2 / k**decay * (unit @ unit.T + rho * np.eye(3)) @ lam)
    np.testing.assert_allclose(updates[k - 1], lam @ unit, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(weights[k - 1] * divisor, lam, atol=1e-5)
  assert not np.allclose(lam, 1 / 3, atol=0.02)
  np.testing.assert_allclose(state.weights, lam, atol=1e-5)


def test_reads_losses_where_it_divides_by_them():
  assert "losses" not in mtl.balance.moco(normalize="l2").needs
  assert "losses" in mtl.balance.moco(normalize="loss+").needs and mtl.balance.moco(normalize="loss").losses_above == 0


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"beta": 0.0}, "beta is 0.0"),
    ({"gamma": -1.0}, "gamma -1.0"),
    ({"normalize": "los"}, "unknown normalize 'los' .did you mean 'loss'"),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(mtl.UserError, match=message):
    inspect.unwrap(mtl.balance.moco)(**options)  # without the tests' type checks


@pytest.mark.parametrize("name", ["moco", "excess", "db"])
def test_methods_with_memory_need_the_shared_parameters(name):
  with pytest.raises(mtl.UserError, match=f"{name}: it remembers task gradients"):
    getattr(mtl.balance, name)().init(2)
  state = getattr(mtl.balance, name)().init(2, {"w": jnp.zeros((3, 4), jnp.bfloat16)})
  (remembered,) = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2, 3, 4)]
  assert remembered.dtype == jnp.float32
