"""Pretrained nets begin with the weights given, in every part of a model, and are opened without them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import UserError, transfer
from mtl_jax._core.paths import by_path
from mtl_jax._core.shapes import shapes
from tests.train._run import TASKS, arrays

TRUNK = mtl.from_linen(mtl.nn.MLP((4, 3)))
X = jnp.ones((2, 6))
WEIGHTS = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, TRUNK.init(jax.random.key(1), X))


class Source:
  """Weights that count how often they are read, and may be gone."""

  def __init__(self, weights=WEIGHTS):
    self.weights, self.reads = weights, 0

  def __call__(self):
    self.reads += 1
    if self.weights is None:
      raise UserError("the weights are gone")
    return self.weights


def heads():
  return {"kind": mtl.from_linen(mtl.nn.MLP((), 2)), "size": mtl.from_linen(mtl.nn.MLP((), 1))}


def same(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_it_begins_with_the_weights_in_every_part_of_a_model():
  source = Source()
  trunk = transfer.pretrained(TRUNK, source)
  before = mtl.from_linen(mtl.nn.MLP((6,)))
  for net, place in (
    (mtl.arch.hard_sharing(trunk, heads()), lambda params: params["shared"]),
    (mtl.arch.hard_sharing(mtl.arch.chain(before, trunk), heads()), lambda params: params["shared"]["stage_1"]),
    (mtl.arch.hard_sharing(before, {"a": trunk}), lambda params: params["task"]["a"]),
    (mtl.arch.hard_sharing(mtl.arch.chain(*trunk.stages), heads()), lambda p: _joined(p["shared"])),
  ):
    same(place(net.init(jax.random.key(0), X)[0]), WEIGHTS[0])
  assert source.reads == 1


def _joined(stages):
  return {name: layer for stage in stages.values() for name, layer in stage.items()}


def test_copies_begin_alike():
  """Where an architecture has a trunk for each task."""
  net = mtl.arch.cross_stitch(transfer.pretrained(TRUNK, Source()), heads())
  params, _ = net.init(jax.random.key(0), X)
  kernels = [leaf for path, leaf in by_path(params).items() if path.endswith("Dense_0/kernel") and leaf.ndim == 3]
  assert kernels
  for kernel in kernels:
    same(list(kernel), [WEIGHTS[0]["Dense_0"]["kernel"]] * len(kernel))


def test_shapes_need_no_weights_and_are_not_taken_for_values():
  source = Source(None)
  init = jax.jit(transfer.pretrained(TRUNK, source).init)  # jitted by the user, its traces kept by JAX
  params, _ = shapes(init, jax.random.key(0), X)
  assert params["Dense_0"]["kernel"].shape == (6, 4) and not source.reads
  with pytest.raises(UserError, match="gone"):
    init(jax.random.key(0), X)
  source.weights = WEIGHTS
  same(init(jax.random.key(0), X)[0], WEIGHTS[0])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda p: p | {"Dense_0": p["Dense_0"] | {"bias": np.ones(5, np.float32)}},
      r"float32\[5\], expected float32\[4\]",
    ),
    (lambda p: p | {"Dense_0": p["Dense_0"] | {"bias": np.ones(4, np.int32)}}, r"int32\[4\], expected float32\[4\]"),
    (lambda p: p | {"Dense_2": p["Dense_0"]}, "the net has no params/Dense_2/bias, params/Dense_2/kernel"),
    (lambda p: {"Dense_0": p["Dense_0"]}, "the weights lack params/Dense_1/bias, .*pass partial=True"),
  ],
)
def test_weights_of_another_net(change, message):
  with pytest.raises(UserError, match=message):
    transfer.pretrained(TRUNK, Source((change(WEIGHTS[0]), {}))).init(jax.random.key(0), X)


def test_partial_weights_leave_the_rest_as_it_begins():
  part = {"Dense_0": {"bias": np.full(4, 7, np.float16)}}
  found = transfer.pretrained(TRUNK, lambda: (part, {}), partial=True).init(jax.random.key(0), X)[0]
  assert found["Dense_0"]["bias"].dtype == jnp.float32 and found["Dense_0"]["bias"].tolist() == [7] * 4
  same(found["Dense_1"], TRUNK.init(jax.random.key(0), X)[0]["Dense_1"])


def test_a_run_begins_with_them_and_is_opened_without(tmp_path):
  source = Source()
  net = mtl.arch.hard_sharing(transfer.in_inference(transfer.pretrained(TRUNK, source)), heads())
  options = {"steps": 2, "batch_size": 8, "run_dir": tmp_path, "progress": False, "valid": arrays(20, 1)}
  run = mtl.fit(net, TASKS, "equal", optax.sgd(0.0), arrays(40, 0), **options)
  same(run.params["shared"], WEIGHTS[0])
  source.weights = None
  gone = mtl.arch.hard_sharing(transfer.pretrained(TRUNK, source), heads())
  same(mtl.load(tmp_path, gone, TASKS).params["shared"], WEIGHTS[0])
