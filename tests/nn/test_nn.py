"""Built-in modules: shapes, published sizes, dtypes, what training mode changes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from tests.nn._table import TABLE, cast, filled, inputs, kinds, like, weighted


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("train", [False, True])
def test_shape_and_dtype(name, train):
  module, shape, x = TABLE[name]
  net = mtl.from_linen(module)
  params, state = jax.eval_shape(net.init, jax.random.key(0), x)
  key = jax.random.key(1)
  for dtype in (jnp.float32, jnp.bfloat16):
    low = like((params, x), dtype)
    y, new_state = jax.eval_shape(lambda p, s, x: net.apply(p, s, x, key=key, train=train), low[0], state, low[1])
    assert kinds(y) == kinds(like(shape, dtype))
    assert kinds(new_state) == kinds(state)


@pytest.mark.parametrize(
  "name",
  ["mlp head", "cnn", "resnet small", "resnet pre", "transformer", "bert", "temporal conv", "recurrent", "graphs"],
)
def test_bfloat16_computes_about_the_same(name):
  x = inputs(TABLE[name].x)
  apply, params, state = weighted(TABLE[name].module, x)
  full, _ = apply(params, state, x)
  low, _ = apply(cast(params, jnp.bfloat16), state, cast(x, jnp.bfloat16))
  # bfloat16 keeps 8 bits: 0.4% a rounding, over a handful of layers.
  scale = float(jnp.abs(full).max())
  np.testing.assert_allclose(np.asarray(low, np.float32) / scale, full / scale, atol=0.05)
  assert scale > 0.01


@pytest.mark.parametrize(
  ("stages", "bottleneck", "published"),
  [((2, 2, 2, 2), False, 11_689_512), ((3, 4, 6, 3), False, 21_797_672), ((3, 4, 6, 3), True, 25_557_032)],
)
def test_resnet_has_the_published_size(stages, bottleneck, published):
  net = mtl.from_linen(mtl.nn.ResNet(stages, bottleneck=bottleneck))
  x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
  assert _count(params) == published - (
    (2048 if bottleneck else 512) * 1000 + 1000
  )  # Without the classifier of 1000 classes.


@pytest.mark.parametrize(("small_images", "side"), [(True, 4), (False, 1)])
def test_resnet_resolution(small_images, side):
  module = mtl.nn.ResNet((1, 1, 1, 1), width=4, small_images=small_images)
  x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  _, variables = jax.eval_shape(
    lambda k, x: module.init_with_output(k, x, capture_intermediates=True), jax.random.key(0), x
  )
  assert variables["intermediates"]["stage_3_block_0"]["__call__"][0].shape == (1, side, side, 32)


def test_residual_blocks_begin_as_the_identity():
  net = mtl.from_linen(mtl.nn.ResNet((2,), width=2, small_images=True))
  x = jnp.ones((2, 4, 4, 1))
  params, state = jax.jit(net.init)(jax.random.key(0), x)
  apply = jax.jit(net.apply)
  y, _ = apply(params, state, x)
  params["stage_0_block_1"]["Conv_1"]["kernel"] += 1.0
  np.testing.assert_array_equal(apply(params, state, x)[0], y)
  params["Conv_0"]["kernel"] += 1.0
  assert not np.allclose(apply(params, state, x)[0], y)


def test_mlp_is_the_formula():
  x = inputs((5, 3, 2))
  apply, params, state = weighted(mtl.nn.MLP((4,), out=2), x)
  first, last = params["Dense_0"], params["Dense_1"]
  hidden = np.maximum(x.reshape(5, 6) @ first["kernel"] + first["bias"][None], 0)
  # Two products of at most six terms each, in float32.
  np.testing.assert_allclose(
    apply(params, state, x)[0], hidden @ last["kernel"] + last["bias"][None], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize("module", [mtl.nn.MLP((200,), dropout=0.5), mtl.nn.CNN((2,), features=200, dropout=0.5)])
def test_dropout_only_when_training(module):
  x = jnp.ones((2, 4, 4, 1))
  apply, params, state = weighted(module, x)
  params = jax.tree.map(lambda a: jnp.abs(a) + 0.1, params)  # No unit is 0 but by dropout.

  def zeros(train, seed):
    return np.asarray(apply(params, state, x, key=jax.random.key(seed), train=train)[0] == 0)

  assert not zeros(False, 0).any()
  dropped = zeros(True, 0)
  assert 0.4 < dropped.mean() < 0.6  # 400 fair coins: four standard deviations.
  assert (dropped != zeros(True, 1)).any()


@pytest.mark.parametrize("name", ["transformer", "bert", "temporal conv", "recurrent", "graphs"])
def test_keys_count_only_when_training(name):
  case = TABLE[name]
  x = inputs(case.x)
  apply, params, state = weighted(case.module.clone(dropout=0.5), x)
  first, again, other, still, tested = (
    apply(params, state, x, key=jax.random.key(seed), train=train)[0]
    for seed, train in ((0, True), (0, True), (1, True), (0, False), (1, False))
  )
  assert (first == again).all() and (first != other).mean() > 0.5
  assert (still == tested).all()


@pytest.mark.parametrize("preactivation", [False, True])
def test_batch_statistics(preactivation):
  x = 3 + 2 * inputs((8, 6, 6, 1))
  module = mtl.nn.ResNet((1,), width=4, small_images=True, preactivation=preactivation)
  apply, params, state = weighted(module, x)
  y, new = apply(params, state, x, train=True)
  again, same = apply(params, state, x)
  assert not np.allclose(y, again, rtol=0.1)
  assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, same))
  # After many steps on one batch the running statistics are its own, and both modes agree: 0.9 ** 150 is 1e-7.
  for _ in range(150):
    _, new = apply(params, new, x, train=True)
  np.testing.assert_allclose(apply(params, new, x)[0], y, rtol=1e-3, atol=1e-3)


def test_trains_in_bfloat16():
  trunk = mtl.nn.ResNet((1,), width=4, small_images=True)
  net = mtl.arch.hard_sharing(mtl.from_linen(trunk), {"y": mtl.from_linen(mtl.nn.MLP((), out=1))})
  tasks, balancer, tx = {"y": mtl.tasks.regression("y")}, mtl.balance.equal(), optax.adam(1e-2)
  x = inputs((16, 6, 6, 1))
  batch = {"x": x, "y": x.mean(axis=(1, 2, 3))}
  started = dataclasses.replace(net, init=lambda key, x: filled(net, x))
  state = mtl.init_train_state(started, tasks, balancer, tx, batch, jax.random.key(0))
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks, compute_dtype=jnp.bfloat16), balancer, tx))
  losses = []
  for _ in range(30):
    state, metrics = step(state, batch)
    losses.append(float(metrics["losses"]["y"]))
  assert losses[-1] < 0.5 * losses[0]
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((state.params, state.state)))


@pytest.mark.parametrize(
  "name",
  ["mlp head", "positions", "cnn", "cnn mean", "resnet", "resnet pre", "segnet", "unet", "transformer"]
  + ["transformer vectors", "bert", "temporal conv", "recurrent", "graphs"],
)
def test_stages_in_turn_are_the_whole(name):
  """With the same parameters, under the same names, whether initialised whole or in stages."""
  module, shape, like_x = TABLE[name]
  x, key = inputs(like_x), jax.random.key(3)
  net, parts = mtl.from_linen(module), mtl.nn.stages(module)
  assert len(parts) == module.num_stages > 1
  made = jax.eval_shape(net.init, key, x)
  y, params, state = x, {}, {}
  for part in parts:
    own, stats = jax.eval_shape(part.init, key, y)
    y = jax.eval_shape(lambda p, s, y, part=part: part.apply(p, s, y, train=True)[0], own, stats, y)
    params |= own
    state = {name: {**state.get(name, {}), **entries} for name, entries in {**state, **stats}.items()}
  assert jax.tree.structure((params, state)) == jax.tree.structure(made) and kinds(y) == kinds(shape)
  params, state = filled(net, x)

  @jax.jit
  def both(params, state, x):
    whole, y, after = net.apply(params, state, x, train=True), x, {}
    for part in parts:
      y, own = part.apply(params, state, y, train=True)
      after = own if not after else jax.tree.map(lambda a, b, old: jnp.where(a == old, b, a), after, own, state)
    return whole, (y, after)

  (whole, after), (parted, changed) = both(params, state, x)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), parted, whole)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), changed, after)


def test_stages_have_the_initial_parameters_of_the_whole():
  module, x, key = mtl.nn.MLP((4,), out=2), inputs((3, 5)), jax.random.key(3)
  whole, _ = mtl.from_linen(module).init(key, x)
  first, second = mtl.nn.stages(module)
  params, state = first.init(key, x)
  own, _ = second.init(key, first.apply(params, state, x)[0])
  jax.tree.map(np.testing.assert_array_equal, {**params, **own}, whole)


def test_module_without_stages():
  with pytest.raises(mtl.UserError, match="stages: BatchNorm has no stages, expected a trunk of mtl.nn"):
    mtl.nn.stages(nn.BatchNorm())


@pytest.mark.parametrize("trunk", [mtl.nn.CNN((4,)), mtl.nn.ResNet()])
def test_images_without_channels(trunk):
  line = rf"{type(trunk).__name__}: the input has shape \(2, 8, 8\), .*: add the channel axis, x\[..., None\]"
  with pytest.raises(mtl.UserError, match=line):
    jax.eval_shape(trunk.init, jax.random.key(0), jnp.ones((2, 8, 8)))


def test_patches_are_squares_of_the_image():
  image = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
  found = mtl.nn.Patches(2).apply({}, image)
  for row in range(2):
    for column in range(3):
      square = image[1, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
      np.testing.assert_array_equal(found[1, 3 * row + column], square.reshape(-1))
  with pytest.raises(mtl.UserError, match="Patches: images of 4 x 6 pixels, expected sides that 4 divides"):
    mtl.nn.Patches(4).apply({}, image)


def test_pixels_of_8_bits_are_those_of_floats():
  image = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
  module = mtl.nn.Pixels((0.1, 0.2, 0.3), 0.25)
  found, other = module.apply({}, jnp.asarray(image)), module.apply({}, jnp.asarray(image / 255, jnp.float32))
  np.testing.assert_allclose(found, (image / 255 - [0.1, 0.2, 0.3]) / 0.25, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(other, found, rtol=1e-6, atol=1e-6)
