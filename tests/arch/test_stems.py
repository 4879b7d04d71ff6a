"""A net for each kind of input before one trunk."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core.paths import by_path

X = {"image": jnp.float32(np.random.default_rng(0).normal(size=(4, 3))), "text": jnp.arange(8.0).reshape(4, 2)}
SAME = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x, state))


def dense(width):
  return mtl.from_linen(nn.Dense(width, use_bias=False))


STEMS = {"image": dense(5), "text": dense(5)}


def joined(image, text, join):
  return {"concat": np.concatenate([image, text], axis=1), "sum": image + text, "mean": (image + text) / 2}[join]


@pytest.mark.parametrize("join", ["concat", "sum", "mean"])
def test_outputs_of_the_stems_are_joined(join):
  net = mtl.arch.stems(STEMS, SAME, join)
  params, state = net.init(jax.random.key(0), X)
  image, text = (np.asarray(X[name]) @ np.asarray(params["stage_0"][name]["kernel"]) for name in ("image", "text"))
  found, _ = net.apply(params, state, dict(reversed(X.items())))  # the order is that of the stems
  np.testing.assert_allclose(found, joined(image, text, join), rtol=1e-5)
  np.testing.assert_allclose(net.apply(params, state, {"text": X["text"]})[0], text, rtol=1e-5)


@pytest.mark.parametrize("inputs", [{"a": ("image",), "b": ("text",)}, ("text", "image")])
def test_tasks_read_their_own_inputs_or_all(inputs):
  net = mtl.arch.hard_sharing(mtl.arch.stems(STEMS, dense(4), "sum"), {"a": dense(1), "b": dense(1)})
  tasks = {name: mtl.tasks.regression(f"y_{name}") for name in "ab"}
  objective, batch = mtl.objective(net, tasks, inputs), {**X, "y_a": jnp.ones(4), "y_b": jnp.ones(4)}

  @jax.jit
  def run(key):
    params, state = net.init(key, X)
    return jax.jacrev(lambda params: jnp.stack([*objective(params, state, batch)[0].values()]))(params)

  found = by_path(run(jax.random.key(0)))
  moved = {name: [bool(np.any(found[f"shared/stage_0/{name}/kernel"][i])) for i in range(2)] for name in X}
  own = isinstance(inputs, dict)
  assert moved == {"image": [True, not own], "text": [not own, True]}


def test_a_run_trains_the_stems_of_all_tasks_and_opens_again(tmp_path):
  """Each task reads a key of its own, and the net is made with all of them."""
  net = mtl.arch.hard_sharing(mtl.arch.stems(STEMS, dense(4), "sum"), {"a": dense(1), "b": dense(1)})
  tasks = {name: mtl.tasks.regression(f"y_{name}") for name in "ab"}
  inputs = {"a": ("image",), "b": ("text",)}
  data = {key: np.asarray(value, np.float32) for key, value in X.items()}
  data |= {"y_a": np.ones(4, np.float32), "y_b": np.ones(4, np.float32)}
  options = {"inputs": inputs, "steps": 1, "batch_size": 4, "progress": False, "run_dir": tmp_path / "run"}
  run = mtl.fit(net, tasks, mtl.balance.equal(), optax.sgd(0.1), data, **options)
  assert sorted(run.params["shared"]["stage_0"]) == ["image", "text"]
  again = mtl.load(tmp_path / "run", net, tasks, inputs=inputs)
  for path, leaf in by_path(again.params).items():
    np.testing.assert_array_equal(leaf, by_path(run.params)[path])
  whole, images = again.predict(data), again.reading({"image": 0}).predict({"image": data["image"]})
  assert list(images) == ["a"]  # the texts of the other task are not needed
  np.testing.assert_array_equal(images["a"]["value"], whole["a"]["value"])
  assert again.reading(data) is again and again.reading({"sound": 0}) is again


def test_the_state_of_a_stem_that_is_absent_stays():
  counting = mtl.Net(lambda key, x: ({}, jnp.int32(0)), lambda params, state, x: (x, state + 1))
  net = mtl.arch.stems({"image": counting, "text": counting}, SAME)
  params, state = net.init(jax.random.key(0), X)
  _, after = net.apply(params, state, {"text": X["text"]})
  assert jax.tree.map(int, after["stage_0"]) == {"image": 0, "text": 1}


def test_sequences_keep_their_mask_and_dropout_differs():
  class Drop(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
      return {"x": nn.Dropout(0.5, deterministic=not train)(x["x"]), "mask": x["mask"]}

  x = {"x": jnp.ones((2, 3, 16)), "mask": jnp.arange(3)[None] < jnp.array([[1], [3]])}
  net = mtl.arch.stems({"image": mtl.from_linen(Drop()), "text": mtl.from_linen(Drop())}, SAME)
  params, state = net.init(jax.random.key(0), {"image": x, "text": x})
  y, _ = net.apply(params, state, {"image": x, "text": x}, key=jax.random.key(0), train=True)
  np.testing.assert_array_equal(y["mask"], x["mask"])
  assert y["x"].shape == (2, 3, 32) and not np.array_equal(y["x"][..., :16], y["x"][..., 16:])


def test_architectures_that_work_between_stages_take_it():
  trunk = mtl.arch.stems(STEMS, mtl.from_linen(mtl.nn.MLP((4, 4))), "mean")
  assert len(trunk.stages) == 3
  net = mtl.arch.cross_stitch(trunk, {"a": dense(1), "b": dense(1)})

  def run(key):
    return net.apply(*net.init(key, X), {"image": X["image"]})[0]

  assert jax.eval_shape(run, jax.random.key(0))["a"].shape == (4, 1)


def test_errors():
  make = inspect.unwrap(mtl.arch.stems)  # past the test's type checker
  with pytest.raises(mtl.UserError, match="stems: nets is a list, expected a dictionary"):
    make([SAME], SAME)
  with pytest.raises(mtl.UserError, match="stems needs at least one stem, found none"):
    make({}, SAME)
  with pytest.raises(mtl.UserError, match="stems: stem 'image' is a Dense, expected a Net"):
    make({"image": nn.Dense(2)}, SAME)
  with pytest.raises(mtl.UserError, match="stems: trunk is a Dense, expected a Net"):
    make(STEMS, nn.Dense(2))
  with pytest.raises(mtl.UserError, match=r"stems: unknown join 'summ' \(did you mean 'sum'"):
    make(STEMS, SAME, "summ")
  net = mtl.arch.stems(STEMS, SAME)
  params, state = net.init(jax.random.key(0), {"image": X["image"]})
  with pytest.raises(mtl.UserError, match="stems: no stem for the input 'txt' .did you mean 'text'.*: there are image"):
    net.apply(params, state, {"txt": X["text"]})
  with pytest.raises(mtl.UserError, match="stems: the stem 'text' has no parameters: initialise with all inputs"):
    net.apply(params, state, X)
  with pytest.raises(mtl.UserError, match="stems: the input is an ArrayImpl, expected {key: input}: several keys"):
    net.apply(params, state, X["image"])
  with pytest.raises(mtl.UserError, match="stems: the input is an empty dictionary, expected"):
    net.apply(params, state, {})
  other = mtl.arch.stems({"image": dense(5), "text": dense(6)}, SAME, "sum")
  with pytest.raises(mtl.UserError, match=r"stems: 'image' gives \(4, 5\) and 'text' \(4, 6\), which 'sum' cannot"):
    other.init(jax.random.key(0), X)


def test_inputs_that_are_not_joined_may_have_other_lengths():
  mean = mtl.Net(lambda key, x: ({}, {}), lambda params, state, x: (x.mean(axis=1), state))
  net = mtl.arch.hard_sharing(mtl.arch.stems(STEMS, mean, "first"), {"a": dense(1), "b": dense(1)})
  x = {name: jnp.ones((4, length, 3)) for name, length in (("image", 7), ("text", 2))}
  params, state = net.init(jax.random.key(0), x)
  assert set(params["shared"]["stage_0"]) == {"image", "text"}
  both, image, text = (net.apply(params, state, own)[0]["a"] for own in (x, {"image": x["image"]}, {"text": x["text"]}))
  np.testing.assert_array_equal(both, image)
  assert not np.allclose(both, text)


def test_sources_of_a_mixture_go_through_the_stems_of_their_keys():
  """In a batch they are `a/image` and `b+c/text`; the net knows them as what they are in their sources."""
  net = mtl.arch.hard_sharing(mtl.arch.stems(STEMS, dense(4), "first"), {name: dense(1) for name in "abc"})
  tasks = {name: mtl.tasks.regression(f"y_{name}") for name in "abc"}
  inputs = {"a": ("image",), "b": ("text",), "c": ("text",)}
  ones = np.ones(4, np.float32)
  sources = {"a": {"image": X["image"], "y_a": ones}, ("b", "c"): {"text": X["text"], "y_b": ones, "y_c": 2 * ones}}
  data = mtl.data.mixture(sources)
  options = {"steps": 3, "batch_size": 4, "eval_every": 3, "valid": data, "inputs": inputs, "progress": False}
  run = mtl.fit(net, tasks, mtl.balance.equal(), optax.sgd(1e-3), data, **options)
  assert set(run.params["shared"]["stage_0"]) == {"image", "text"}
