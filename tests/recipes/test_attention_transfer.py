"""Pretrained towers that attend to each other, on images of the right shape; other architectures in their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import recipes

ARRAYS = {
  "x": jax.ShapeDtypeStruct((2, 192, 256, 3), jnp.uint8),
  "platelets": jax.ShapeDtypeStruct((2,), jnp.bool_),
  "red_cells": jax.ShapeDtypeStruct((2,), jnp.float32),
}


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "names"), [(None, 2), (None, 1), ("hard_sharing", 2)])
def test_shapes(arch, names):
  recipe = recipes.find("attention_transfer")(pretrained=False, height=48)
  tasks = dict(list(recipe.tasks.items())[:names])
  net = recipe.network(list(tasks), arch and mtl.arch.as_arch(arch))
  batch = jax.eval_shape(recipe.transform, ARRAYS, jax.random.key(0))
  params, state = jax.eval_shape(net.init, jax.random.key(0), batch["x"])
  losses, _ = jax.eval_shape(mtl.objective(net, tasks), params, state, batch, jax.random.key(0))
  assert {name: loss.shape for name, loss in losses.items()} == dict.fromkeys(tasks, ())
  assert ("attention" in jax.eval_shape(net.report, params, state)) == (arch is None)


def test_labels_follow_from_the_cells(real_data):
  real_data("bccd", "bccd_192x256.npz")
  train, _, test = recipes.find("attention_transfer")(pretrained=False).data(0)[:3]
  assert len(train["x"]) == 205 and len(test["x"]) == 72
  assert 0.4 < train["platelets"].mean() < 0.7 and abs(train["red_cells"].mean() - 11.6) < 0.3
  assert np.std(train["red_cells"]) == pytest.approx(5.0, abs=1.0)
