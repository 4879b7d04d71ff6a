"""NYUv2: a few steps on the real images, by several architectures' shapes, without leaks between its parts."""

import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.recipes.nyuv2 import nyuv2


def arrays(count):
  rng = np.random.default_rng(0)
  maps = (count, 96, 128)
  return {
    "x": rng.integers(0, 256, (*maps, 3)).astype(np.uint8),
    "segmentation": rng.integers(-1, 13, maps).astype(np.int8),
    "depth": rng.uniform(0, 9, maps).astype(np.float32),
    "normals": rng.normal(size=(*maps, 3)).astype(np.float32),
  }


ABOUT = {"classes": [f"class {i}" for i in range(13)], "depth": {"unit": "m", "mean": 3.0, "std": 1.5}}


@pytest.mark.parametrize(
  ("arch", "net"),
  [(None, "unet"), ("mtan", "unet"), ("cross_stitch", "unet"), (None, "segnet"), ("mtan", "segnet")],
)
def test_shapes_of_architectures(arch, net):
  batch = arrays(2)
  recipe = nyuv2(width=4, net=net).adapt(mtl.data.describe(batch, ABOUT))
  net = recipe.network(list(recipe.tasks), arch and mtl.arch.as_arch(arch))
  batch = jax.eval_shape(recipe.transform, batch, jax.random.key(0))
  params, state = jax.eval_shape(net.init, jax.random.key(0), batch["x"])
  losses, _ = jax.eval_shape(mtl.objective(net, recipe.tasks), params, state, batch, jax.random.key(0))
  assert {name: loss.shape for name, loss in losses.items()} == {"segmentation": (), "depth": (), "normals": ()}
  assert {name: task.main_metric for name, task in recipe.tasks.items()} == {
    "segmentation": "miou", "depth": "abs_error", "normals": "mean_angle"
  }  # fmt: skip


@pytest.mark.slow
def test_it_learns_from_the_real_images(real_data):
  real_data("nyuv2", "nyuv2_96x128.npz")
  recipe = nyuv2(width=4)
  splits = recipe.data(0)
  assert [len(part["x"]) for part in splits[:3]] == [720, 75, 654] and len(splits.about["classes"]) == 13
  recipe = recipe.adapt(mtl.data.describe(splits.train, splits.about))
  few = [{key: values[:16] for key, values in part.items()} for part in splits[:2]]
  run = mtl.fit(
    recipe.network(list(recipe.tasks)), recipe.tasks, mtl.balance.equal(), recipe.optimizer(0.01, 8), few[0],
    valid=few[1], steps=8, batch_size=4, eval_every=8, transform=recipe.transform, progress=False,
    loop=mtl.train.Loop(log_every=1),
  )  # fmt: skip
  lines = [line for line in run.history if line["kind"] == "train"]
  total = [sum(line[f"losses/{name}"] for name in recipe.tasks) for line in lines]
  assert len(total) == 8 and sum(total[-2:]) < sum(total[:2])
