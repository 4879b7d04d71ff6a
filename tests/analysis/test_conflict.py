"""Cosines between task gradients against those of whole Jacobians."""

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.analysis import gradient_cosines
from tests.engine._problem import problem


def test_gradient_cosines():
  net, tasks, batch, _ = problem(3)

  params, state = net.init(jax.random.key(0), batch["x"])
  objective = mtl.objective(net, tasks)
  cosines = jax.jit(gradient_cosines(objective))(params, state, batch)
  losses = lambda shared: [*objective({**params, "shared": shared}, state, batch)[0].values()]  # noqa: E731
  rows = jax.jit(jax.jacrev(losses))(params["shared"])
  flat = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(row)]) for row in rows]
  for i, j in ((0, 1), (0, 2), (1, 2)):
    expected = flat[i] @ flat[j] / np.linalg.norm(flat[i]) / np.linalg.norm(flat[j])
    assert float(cosines[f"t{i},t{j}"]) == pytest.approx(expected, abs=1e-5)
