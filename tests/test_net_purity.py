"""What adapters keep and leave alone: state, the caller's modules, donated buffers, dtypes."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import mtl_jax as mtl
from tests import _nets
from tests._nets import KEY, X, close, differ, every_library, same, start, task_gradients


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
@pytest.mark.slow
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
