"""The adapters: one network, three libraries, the same numbers; modes and randomness."""

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


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_libraries_agree_on_losses_and_task_gradients(library, train):
  expected_losses, expected, _ = task_gradients("linen", train=train)
  losses, found, _ = task_gradients(library, train=train)
  close(losses, expected_losses)
  close(found, expected)
  assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(expected["task"]))


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


def test_split_keys_reach_trunk_and_heads_as_apply_hands_them_out():
  net, params, state = start("linen", 0.5)
  whole, _ = net.apply(params, state, X, key=KEY, train=True)
  keys = mtl.net.keys_of(KEY, net.cut)
  features, _ = net.cut.trunk(params["shared"], state["shared"], X, key=keys["shared"], train=True)
  head = net.cut.heads["b"]
  same(head(params["task"]["b"], state["task"]["b"], features, key=keys["task"]["b"], train=True)[0], whole["b"])


def test_a_linen_class_in_place_of_an_instance():
  with pytest.raises(mtl.UserError, match=r"found the class LinenTrunk, expected an instance: LinenTrunk\(...\)"):
    mtl.from_linen(_nets.LinenTrunk)


def test_hard_sharing_without_heads():
  with pytest.raises(mtl.UserError, match="at least one head, found none"):
    mtl.arch.hard_sharing(_nets.trunk("linen"), {})
