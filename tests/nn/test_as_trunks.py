"""Modules as trunks of architectures that work between their stages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, filled, inputs, kinds, like

TRUNKS = [
  "segnet",
  "unet",
  "transformer",
  "transformer vectors",
  "transformer set",
  "bert",
  "temporal conv",
  "recurrent",
  "graphs",
  "tabular resnet",
  "graphs vectors",
]
ARCHITECTURES = {"hard_sharing": {}, "cross_stitch": {}, "mmoe": {"experts": 2, "shared_stages": 1}}


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_take_it(name, architecture):
  module, y, x = TABLE[name]
  heads = {task: mtl.from_linen(nn.Dense(1)) for task in ("a", "b")}
  net = getattr(mtl.arch, architecture)(mtl.from_linen(module), heads, **ARCHITECTURES[architecture])
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  for dtype in (jnp.float32, jnp.bfloat16):
    low, low_x = like((params, x), dtype)
    predictions, after = jax.eval_shape(
      lambda p, s, x: net.apply(p, s, x, key=jax.random.key(1), train=True), low, state, low_x
    )
    assert kinds(predictions) == {task: ((*y.shape[:-1], 1), dtype) for task in heads}
    assert kinds(after) == kinds(state)


def test_towers_of_pixels_keep_their_own_indices():
  """Towers that are not mixed are nets of their own, whatever lies between their stages."""
  module, _, x = TABLE["segnet"]
  x = inputs(x)
  net = mtl.arch.cross_stitch(mtl.from_linen(module), {t: mtl.from_linen(nn.Dense(1)) for t in ("a", "b")}, keep=1.0)
  params, state = filled(net, x)
  params["shared"]["stitch"] = jax.tree.map(lambda a: jnp.eye(2), params["shared"]["stitch"])

  @jax.jit
  def run(params, state, x):
    found, alone = net.apply(params, state, x)[0], {}
    for i, task in enumerate(found):
      y = x
      for j, stage in enumerate(mtl.nn.stages(module)):
        own = jax.tree.map(
          lambda a, i=i: a[i], (params["shared"]["towers"][f"stage_{j}"], state["shared"][f"stage_{j}"])
        )
        y, _ = stage.apply(*own, y)
      alone[task] = nn.Dense(1).apply({"params": params["task"][task]}, y)
    return found, alone

  found, alone = run(params, state, x)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, alone)
