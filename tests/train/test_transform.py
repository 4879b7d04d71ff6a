"""`transform=` of `fit`: on training batches alone, by keys of its own, the same after a kill, and what is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.train._transform import transforming
from tests.train._run import TASKS, arrays, digest

NET = mtl.arch.hard_sharing(
  mtl.from_linen(nn.Dense(4)), {"kind": mtl.from_linen(nn.Dense(2)), "size": mtl.from_linen(nn.Dense(1))}
)


def noisy(batch, key):
  return {**batch, "x": batch["x"] + 0.5 * jax.random.normal(key, batch["x"].shape)}


def programs(transform):
  equal, tx = mtl.balance.equal(), optax.sgd(0.1)
  return mtl.train.compile_programs(NET, TASKS, equal, tx, arrays(64, 0), transform=transform)


@pytest.fixture(scope="module")
def compiled():
  return programs(noisy)


def run(compiled, steps, run_dir=None, transform=noisy, **options):
  loop = mtl.train.Loop(programs=compiled)
  options = {"batch_size": 16, "progress": False, "run_dir": run_dir, "eval_every": 4, **options}
  return mtl.fit(
    NET, TASKS, mtl.balance.equal(), optax.sgd(0.1), arrays(64, 0), valid=arrays(16, 1), steps=steps,
    transform=transform, loop=loop, **options,
  )  # fmt: skip


@pytest.mark.slow
def test_a_resumed_run_draws_the_same_and_evaluation_none(compiled, tmp_path):
  straight = run(compiled, 8)
  run(compiled, 4, tmp_path / "run")
  resumed = run(compiled, 8, tmp_path / "run", resume=True)
  assert digest(resumed.state.params) == digest(straight.state.params)
  plain = programs(None)
  assert digest(run(plain, 4, transform=None).state.params) != digest(run(compiled, 4).state.params)
  params = straight.state.params, straight.state.state
  assert compiled.evaluate(*params, arrays(16, 1)) == plain.evaluate(*params, arrays(16, 1))
  with pytest.raises(mtl.UserError, match="another configuration: fit/transform was 'noisy', is None"):
    run(plain, 12, tmp_path / "run", resume=True, transform=None)


@pytest.mark.parametrize("sharding", ["device", "mesh"])
def test_keys_are_the_transforms_own(compiled, sharding):
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  where = device if sharding == "device" else mtl.shard.batch_sharding(mtl.make_mesh("data=1"))
  seen = []
  state = compiled.create(jax.random.key(3))

  def look(batch, key):
    seen.append(jax.random.key_data(key))
    return batch

  step = transforming(lambda state, batch: (state, {"x": batch["x"]}), look, where)
  for number in range(3):
    step(state._replace(step=jnp.int32(number)), {"x": jnp.ones((4, 2))})
  own = [jax.random.key_data(jax.random.fold_in(state.key, number)) for number in range(3)]
  assert len({tuple(np.asarray(data).tolist()) for data in [*seen, *own]}) == 6


@pytest.mark.parametrize(
  ("transform", "message"),
  [
    (lambda batch, key: None, "transform returned a NoneType, expected the batch, a dictionary of arrays"),
    (
      lambda batch, key: {**batch, "x": batch["x"][:, :3]},
      r"transform changed 'x' from \(16, 6\) to \(16, 3\): it must",
    ),
    (
      lambda batch, key: {"x": batch["x"], "z": batch["x"]},
      r"'size' from \(16,\) to nothing, .*'z' from nothing to \(16",
    ),
  ],
)
def test_mistakes_are_told_in_one_line(transform, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    run(programs(transform), 2)
  assert "\n" not in str(error.value)
