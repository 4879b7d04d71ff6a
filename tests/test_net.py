"""The adapters: one network, three libraries, the same numbers; modes, randomness, state and purity."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mtl_jax as mtl
from tests import _nets

KEY = jax.random.key(0)
X = jnp.asarray(_nets.batch()["x"])
every_library = pytest.mark.parametrize("library", _nets.LIBRARIES)


def close(a, b, rtol=1e-5, atol=1e-6):
  # float32 sums of a handful of terms in another order: a few ulp
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b) -> bool:
  return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@functools.cache
def start(library: str, dropout: float = 0.0):
  """The multi-task net and what its init gives: compiled once for all tests."""
  net = _nets.multi_task(library, dropout)
  return net, *net.init(KEY, X)


@functools.cache
def task_gradients(library: str, *, train: bool = True, compute_dtype=None):
  """Losses, their stacked gradients in Linen's layout, and the state after, all libraries at Linen's weights."""
  net, params, state = start(library)
  params = _nets.from_linen_params(library, start("linen")[1], params)
  losses = mtl.objective(net, _nets.tasks(), train=train, compute_dtype=compute_dtype)

  def stacked(params):
    by_name, aux = losses(params, state, _nets.batch(), KEY)
    vector = jnp.stack([by_name["a"], by_name["b"]])
    return vector, (vector, aux["state"])

  gradients, (values, after) = jax.jit(jax.jacrev(stacked, has_aux=True))(params)
  return values, _nets.to_linen(library, gradients), after


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_libraries_agree_on_losses_and_task_gradients(library, train):
  expected_losses, expected, _ = task_gradients("linen", train=train)
  losses, found, _ = task_gradients(library, train=train)
  close(losses, expected_losses)
  close(found, expected)
  assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(expected["task"]))


@every_library
def test_batch_statistics_change_only_in_training(library):
  net = _nets.trunk(library)
  params, state = net.init(KEY, X)
  _, after_eval = net.apply(params, state, X, key=KEY)
  y, after_train = net.apply(params, state, X, key=KEY, train=True)
  same(after_eval, state)
  assert jax.tree.structure(after_train) == jax.tree.structure(state)
  assert differ(after_train, state)
  assert differ(net.apply(params, after_train, X)[0], net.apply(params, state, X)[0])
  assert differ(net.apply(params, state, X)[0], y)


def test_batch_statistics_are_the_same_in_linen_and_nnx():
  nets = {library: _nets.trunk(library) for library in ("linen", "nnx")}
  linen_params, state = nets["linen"].init(KEY, X)
  _, linen = nets["linen"].apply(linen_params, state, X, train=True, key=KEY)
  params, state = nets["nnx"].init(KEY, X)
  whole = {"shared": params, "task": {}}
  params = _nets.from_linen_params("nnx", {"shared": linen_params, "task": {}}, whole)["shared"]
  _, other = nets["nnx"].apply(params, state, X, train=True, key=KEY)
  close(other["norm"], linen["batch_stats"]["norm"])
  mean = np.asarray(X @ linen_params["first"]["kernel"]).mean(axis=0) + linen_params["first"]["bias"]
  close(other["norm"]["mean"], 0.1 * mean)  # 0.9 * 0 + 0.1 * the batch's


@every_library
def test_dropout_draws_from_the_key_in_training_only(library):
  net = _nets.trunk(library, dropout=0.5)
  params, state = net.init(KEY, X)
  one, two = jax.random.split(KEY)

  def run(key, train):
    return net.apply(params, state, X, key=key, train=train)[0]

  assert differ(run(one, True), run(two, True))
  same(run(one, True), run(one, True))
  same(run(one, False), run(two, False))
  same(run(one, False), run(None, False))


@every_library
def test_training_without_a_key_is_an_error_where_randomness_is_drawn(library):
  net = _nets.trunk(library, dropout=0.5)
  params, state = net.init(KEY, X)
  expected = RuntimeError if library == "equinox" else mtl.UserError  # Equinox tells it well itself
  with pytest.raises(expected, match="requires a key|pass key= to apply") as error:
    net.apply(params, state, X, train=True)
  assert library == "equinox" or "\n" not in str(error.value)


@every_library
def test_training_without_a_key_is_fine_where_none_is_drawn(library):
  net = _nets.head(library, 2)
  params, state = net.init(KEY, jnp.ones((5, _nets.HIDDEN)))
  assert net.apply(params, state, jnp.ones((5, _nets.HIDDEN)), train=True)[0].shape == (5, 2)


def test_linen_custom_random_streams_derive_from_the_key():
  class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x):
      return {name: jax.random.normal(self.make_rng(name), x.shape) for name in ("noise", "jitter", "dropout")}

  net = mtl.from_linen(Noisy())
  params, state = net.init(KEY, X)
  y, _ = net.apply(params, state, X, key=KEY, train=True)
  again, _ = net.apply(params, state, X, key=KEY, train=True)
  other, _ = net.apply(params, state, X, key=jax.random.key(1), train=True)
  same(y, again)
  assert all(differ(y[name], other[name]) for name in y)
  assert differ(y["noise"], y["jitter"]) and differ(y["noise"], y["dropout"])


def test_linen_sown_intermediates_do_not_enter_the_state():
  class Sower(nn.Module):
    @nn.compact
    def __call__(self, x):
      self.sow("intermediates", "x", x)
      return nn.Dense(2)(x)

  net = mtl.from_linen(Sower())
  params, state = net.init(KEY, X)
  _, after = net.apply(params, state, X, train=True)
  assert state == after == {}


def test_linen_collections_that_grow_are_an_error():
  class Sower(nn.Module):
    @nn.compact
    def __call__(self, x):
      self.sow("losses", "x", x)
      return x

  net = mtl.from_linen(Sower())
  with pytest.raises(mtl.UserError, match="Sower changes the structure of 'losses'"):
    net.apply(*net.init(KEY, X), X, train=True)


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_nnx_sown_intermediates_do_not_enter_the_state():
  class Sower(nnx.Module):
    def __init__(self, rngs):
      self.norm = nnx.BatchNorm(_nets.FEATURES, rngs=rngs)

    def __call__(self, x):
      self.sow(nnx.Intermediate, "x", x)
      return self.norm(x)

  net = mtl.from_nnx(Sower)
  params, state = net.init(KEY, X)
  _, after = net.apply(params, state, X, train=True)
  assert jax.tree.structure(after) == jax.tree.structure(state)
  net.apply(params, after, X, train=True)


def test_nnx_instance_and_factory_are_the_same_network():
  built = _nets.NnxTrunk(nnx.Rngs(KEY), dropout=0.5)
  nets = {"instance": mtl.from_nnx(built), "factory": mtl.from_nnx(lambda rngs: _nets.NnxTrunk(rngs, dropout=0.5))}
  results = {}
  for name, net in nets.items():
    params, state = net.init(KEY, X)
    results[name] = params, net.apply(params, state, X, key=KEY, train=True)
  close(results["instance"], results["factory"])
  same(nets["instance"].init(KEY, X), nets["instance"].init(jax.random.key(1), X))
  assert differ(nets["factory"].init(KEY, X), nets["factory"].init(jax.random.key(1), X))


def test_the_callers_nnx_module_is_never_mutated():
  module = _nets.NnxTrunk(nnx.Rngs(0), dropout=0.5)
  module.train()
  before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.filterlib.Not(nnx.RngState))))
  rngs = jax.tree.map(lambda r: np.asarray(jax.random.key_data(r) if r.dtype != jnp.uint32 else r), _rngs(module))
  net = mtl.from_nnx(module)
  params, state = net.init(KEY, X)
  for train in (True, False):
    net.apply(params, state, X, key=KEY, train=train)
  after = nnx.to_pure_dict(nnx.state(module, nnx.filterlib.Not(nnx.RngState)))
  same(after, before)
  same(jax.tree.map(lambda r: np.asarray(jax.random.key_data(r) if r.dtype != jnp.uint32 else r), _rngs(module)), rngs)
  assert module.dropout.deterministic is False and module.norm.use_running_average is False


def _rngs(module):
  return nnx.to_pure_dict(nnx.state(module, nnx.RngState))


def test_nnx_list_modules():
  class Stack(nnx.Module):
    def __init__(self, rngs):
      self.layers = nnx.List([nnx.Linear(_nets.FEATURES, _nets.FEATURES, rngs=rngs) for _ in range(11)])
      self.norms = nnx.List([nnx.BatchNorm(_nets.FEATURES, rngs=rngs) for _ in range(11)])

    def __call__(self, x):
      for layer, norm in zip(self.layers, self.norms, strict=True):
        x = norm(jnp.tanh(layer(x)))
      return x

  module = Stack(nnx.Rngs(3))
  module.eval()
  net = mtl.from_nnx(module)
  params, state = net.init(KEY, X)
  close(net.apply(params, state, X)[0], module(X))
  step = jax.jit(lambda p, s: net.apply(p, s, X, train=True)[1])
  after = step(params, state)
  assert jax.tree.structure(after) == jax.tree.structure(state)
  step(params, after)


def test_nnx_vmapped_random_streams_keep_their_shapes():
  class Ensemble(nnx.Module):
    def __init__(self, rngs):
      @nnx.split_rngs(splits=3)
      @nnx.vmap
      def make(rngs):
        return nnx.Dropout(0.5, rngs=rngs)

      self.members = make(rngs)

    def __call__(self, x):
      return nnx.vmap(lambda member, x: member(x), in_axes=(0, None))(self.members, x)

  net = mtl.from_nnx(Ensemble(nnx.Rngs(0)))
  params, state = net.init(KEY, X)
  y, _ = net.apply(params, state, X, key=KEY, train=True)
  assert y.shape == (3, *X.shape)
  assert differ(y[0], y[1])


class Flagged(nn.Module):
  """Reports under which flags it was called."""

  @nn.compact
  def __call__(self, x, train=None, deterministic=None, use_running_average=None):
    return x, {"train": train, "deterministic": deterministic, "use_running_average": use_running_average}


class FlaggedNnx(nnx.Module):
  """The same in NNX, with the other names."""

  def __call__(self, x, training=None, inference=None, is_training=None):
    return x, {"training": training, "inference": inference, "is_training": is_training}


@pytest.mark.parametrize("train", [False, True])
def test_mode_reaches_the_module_under_each_of_its_names(train):
  net = mtl.from_linen(Flagged())
  _, flags = net.apply(*net.init(KEY, X), X, train=train)[0]
  assert flags == {"train": train, "deterministic": not train, "use_running_average": not train}
  net = mtl.from_nnx(FlaggedNnx())
  _, flags = net.apply(*net.init(KEY, X), X, train=train)[0]
  assert flags == {"training": train, "inference": not train, "is_training": train}


def test_linen_layers_are_nets_as_they_are():
  for layer in (nn.BatchNorm(), nn.Dropout(0.5)):
    net = mtl.from_linen(layer)
    params, state = net.init(KEY, X)
    assert differ(net.apply(params, state, X, key=KEY, train=True)[0], net.apply(params, state, X)[0])


@pytest.mark.parametrize("mode", ["ema", "batch"])
def test_equinox_batch_norm_agrees_with_equinox_itself(mode):
  def make(key):
    return eqx.nn.make_with_state(_nets.EquinoxTrunk)(key, mode=mode)

  net = mtl.from_equinox(make)
  params, state = net.init(KEY, X)
  y, state = net.apply(params, state, X, train=True)
  model, model_state = make(KEY)
  mapped = jax.vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")
  expected, model_state = mapped(X, model_state)
  close(y, expected)
  evaluated = jax.vmap(eqx.nn.inference_mode(model), in_axes=(0, None), out_axes=(0, None), axis_name="batch")
  close(net.apply(params, state, X)[0], evaluated(X, model_state)[0])


class Counter(eqx.Module):
  """A batched Equinox module that counts its calls."""

  scale: jax.Array
  table: jax.Array
  count: eqx.nn.StateIndex

  def __init__(self, key):
    self.scale = jnp.ones(())
    self.table = jnp.arange(4)
    self.count = eqx.nn.StateIndex(jnp.zeros((), jnp.int32))

  def __call__(self, x, state):
    count = state.get(self.count)
    return x * self.scale + self.table[count].astype(x.dtype), state.set(self.count, count + 1)


def test_equinox_batched_modules_leave_the_callers_state_usable():
  net = mtl.from_equinox(lambda key: eqx.nn.make_with_state(Counter)(key), batched=True)
  x = jnp.zeros((2, 3), jnp.float32)
  params, state = net.init(KEY, x)
  assert len(jax.tree.leaves(params)) == 1  # the integer table is no parameter
  for _ in range(2):  # pure: the same state can be used again
    y, after = net.apply(params, state, x, train=True)
  assert float(y[0, 0]) == 0.0
  y, _ = net.apply(params, after, x, train=True)
  assert float(y[0, 0]) == 1.0


def instances():
  """Nets of modules that already exist."""
  model, model_state = eqx.nn.make_with_state(_nets.EquinoxTrunk)(KEY)
  return {
    "nnx": mtl.from_nnx(_nets.NnxTrunk(nnx.Rngs(0), dropout=0.5)),
    "equinox": mtl.from_equinox(eqx.nn.MLP(_nets.FEATURES, _nets.HIDDEN, 4, 1, key=KEY)),
    "equinox with state": mtl.from_equinox((model, model_state)),
    "equinox factory": mtl.from_equinox(lambda key: (model, model_state)),
  }


@pytest.mark.parametrize("name", list(instances()))
def test_donating_what_init_gave_leaves_the_callers_module_alive(name):
  net = instances()[name]
  step = jax.jit(lambda p, s: (p, net.apply(p, s, X, key=KEY, train=True)), donate_argnums=(0, 1))
  params, state = net.init(KEY, X)
  before = net.apply(params, state, X)[0]
  jax.block_until_ready(step(params, state))
  params, state = net.init(KEY, X)  # from the caller's arrays, which must not have been deleted
  same(net.apply(params, state, X)[0], before)


@every_library
def test_jitted_steps_with_donated_state_compile_once(library):
  net, params, state = start(library, 0.5)
  state = jax.tree.map(jnp.copy, state)
  traces = 0

  def step(params, state, key):
    nonlocal traces
    traces += 1
    y, state = net.apply(params, state, X, key=key, train=True)
    return y, state

  jitted = jax.jit(step, donate_argnums=1)
  for key in jax.random.split(KEY, 3):
    y, state = jitted(params, state, key)
  assert traces == 1
  assert np.isfinite(y["a"]).all()


@every_library
def test_bfloat16_keeps_losses_gradients_and_state_in_float32(library):
  state = start(library)[2]
  with jax.numpy_dtype_promotion("standard"):  # the libraries' batch norms mix their float32 statistics in
    values, grads, after = task_gradients(library, compute_dtype=jnp.bfloat16)
  exact, exact_grads, _ = task_gradients(library)
  assert {leaf.dtype for leaf in jax.tree.leaves((grads, values))} == {jnp.dtype("float32")}
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
  # bfloat16 has 8 bits: 0.4% a rounding, a few of them in a row
  close(values, exact, rtol=0.05, atol=0.02)
  close(grads, exact_grads, rtol=0.2, atol=0.05)
  assert differ(values, exact)


@every_library
def test_bfloat16_of_the_net_itself(library):
  net = _nets.head(library, 2)
  x = jnp.ones((5, _nets.HIDDEN), jnp.bfloat16)
  params, state = net.init(KEY, x.astype(jnp.float32))
  params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
  assert net.apply(params, state, x)[0].dtype == jnp.bfloat16


def test_split_keys_reach_trunk_and_heads_as_apply_hands_them_out():
  net, params, state = start("linen", 0.5)
  whole, _ = net.apply(params, state, X, key=KEY, train=True)
  keys = mtl.net.split_keys(KEY, net.split)
  features, _ = net.split.trunk(params["shared"], state["shared"], X, key=keys["shared"], train=True)
  head = net.split.heads["b"]
  same(head(params["task"]["b"], state["task"]["b"], features, key=keys["task"]["b"], train=True)[0], whole["b"])


def test_a_linen_class_in_place_of_an_instance():
  with pytest.raises(mtl.UserError, match=r"found the class LinenTrunk, expected an instance: LinenTrunk\(...\)"):
    mtl.from_linen(_nets.LinenTrunk)


def test_hard_sharing_without_heads():
  with pytest.raises(mtl.UserError, match="at least one head, found none"):
    mtl.arch.hard_sharing(_nets.trunk("linen"), {})
