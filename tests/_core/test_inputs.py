"""Inputs of several parts: trees and several keys, from the data check to predictions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.engine.linearize import _parts
from mtl_jax.experiment.files import arrays_like
from mtl_jax.plan import plan
from tests._nets import close, same

RNG = np.random.default_rng(0)
IMAGE, TEXT = RNG.normal(size=(20, 3)).astype(np.float32), RNG.normal(size=(20, 2)).astype(np.float32)
LABELS = {"a": (IMAGE[:, 0] > 0).astype(np.int32), "b": TEXT[:, 0]}
TASKS = {"a": mtl.tasks.classification("a", 2), "b": mtl.tasks.regression("b")}


class Joined(nn.Module):
  """One layer over all parts of its input."""

  @nn.compact
  def __call__(self, x):
    return nn.Dense(4)(jnp.concatenate(jax.tree.leaves(x), axis=-1))


NET = mtl.arch.hard_sharing(
  mtl.from_linen(Joined()), {"a": mtl.from_linen(nn.Dense(2)), "b": mtl.from_linen(nn.Dense(1))}
)
FORMS = {
  "array": ({"x": np.concatenate([IMAGE, TEXT], axis=1)}, "x"),
  "dictionary": ({"x": {"image": IMAGE, "text": TEXT}}, "x"),
  "nested": ({"x": (IMAGE, {"text": (TEXT,), "none": None})}, "x"),
  "keys": ({"image": IMAGE, "text": TEXT}, ("image", "text")),
  "keys of each task": ({"image": IMAGE, "text": TEXT}, {"a": ["text", "image"], "b": ("image", "text")}),
}


def run(form, **options):
  arrays, inputs = FORMS[form]
  data = arrays | LABELS
  return mtl.fit(
    NET, TASKS, mtl.balance.pcgrad(), optax.sgd(0.1), data, steps=3, batch_size=8, valid=data, inputs=inputs,
    progress=False, eval_every=2, **options,
  )  # fmt: skip


@pytest.fixture(scope="module")
def of_array():
  return run("array")


@pytest.mark.parametrize("form", ["dictionary", "nested", "keys of each task"])
@pytest.mark.slow
def test_every_form_of_an_input_trains_evaluates_and_predicts_like_one_array(form, of_array):
  arrays, inputs = FORMS[form]
  result = run(form)
  same(result.state.params, of_array.state.params)
  valid = [line for line in result.history if line["kind"] == "valid"]
  assert valid == [line for line in of_array.history if line["kind"] == "valid"]
  whole = [
    mtl.train.predict_all(NET, TASKS, result.params, result.net_state, data, keys, batch_size=8)
    for data, keys in (FORMS["array"], (arrays, inputs))
  ]
  same(*whole)
  assert whole[0]["a"]["class"].shape == (20,)


def test_gradient_accumulation_cuts_every_part(of_array):
  close(run("dictionary", accumulate=2).state.params, of_array.state.params)


def test_methods_that_split_the_batch_cut_every_part():
  (first, _), (second, _) = _parts({"x": {"a": np.arange(4), "b": (-np.arange(4),)}}, None, 2)
  assert first["x"]["a"].tolist() == [0, 2] and second["x"]["b"][0].tolist() == [-1, -3]


@pytest.mark.parametrize("form", ["dictionary", "keys"])
def test_plans(form):
  arrays, inputs = FORMS[form]
  arguments = (NET, TASKS, mtl.balance.equal(), optax.sgd(0.1))
  reports = plan(*arguments, arrays | LABELS, "cpu:1", [mtl.engine.losses()], inputs=inputs)
  assert reports[0].memory is not None
  wrong = jax.tree.map(lambda leaf: leaf, arrays | LABELS)
  (wrong["x"] if form == "dictionary" else wrong)["text"] = np.float32(0)
  with pytest.raises(mtl.UserError, match=f"the batch's '{'x/text' if form == 'dictionary' else 'text'}' has shape"):
    plan(*arguments, wrong, "cpu:1", [mtl.engine.losses()], inputs=inputs)


def test_tasks_of_the_same_keys_share_one_forward_pass():
  calls = []

  def trunk(params, state, x, **_):
    calls.append(sorted(x))
    return x["image"] * params["w"], state

  net = mtl.arch.hard_sharing(
    mtl.Net(lambda key, x: ({"w": jnp.ones(())}, {}), trunk), {name: mtl.from_linen(nn.Dense(1)) for name in "abc"}
  )
  params, state = net.init(jax.random.key(0), {"image": jnp.ones((2, 3))})
  tasks = {name: mtl.Task(loss=lambda p, batch: p[:, 0]) for name in "abc"}
  inputs = {"a": ("image", "text"), "b": ("image",), "c": ["text", "image"]}
  calls.clear()
  mtl.objective(net, tasks, inputs)(params, state, {"image": jnp.ones((2, 3)), "text": jnp.ones(2)})
  assert calls == [["image", "text"], ["image"]]


@pytest.mark.parametrize(
  ("inputs", "message"),
  [
    ((), r"inputs holds \(\), expected a key or several different ones"),
    ({"a": ["x", "x"], "b": "x"}, r"inputs holds \['x', 'x'\]"),
    (("image", "texts"), r"the data has no input 'texts', only .* \(did you mean 'text'\?\): set inputs="),
    ({"a": ("image", "text"), "b": "x"}, "the data has no input 'x', only"),
  ],
)
def test_mistakes_are_told_in_one_line(inputs, message):
  with pytest.raises(mtl.UserError, match=message) as error:
    mtl.fit(NET, TASKS, mtl.balance.equal(), optax.sgd(0.1), FORMS["keys"][0] | LABELS, steps=1, inputs=inputs)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", list(FORMS))
def test_files_hold_parts_by_their_paths(form, tmp_path):
  known = FORMS[form][0]
  names = {"array": ["x"], "dictionary": ["x/image", "x/text"], "nested": ["x/0", "x/1/text/0"]}
  parts = dict(zip(names.get(form, ["image", "text"]), jax.tree.leaves(known), strict=True))
  np.savez(tmp_path / "in.npz", **{name: part[:7] for name, part in parts.items()})
  shapes = mtl.data.describe(known).arrays
  same(arrays_like(shapes, tmp_path / "in.npz", list(known)), jax.tree.map(lambda part: part[:7], known))
  name, part = next(iter(parts.items()))
  np.savez(tmp_path / "other.npz", other=part)
  np.savez(tmp_path / "narrow.npz", **(parts | {name: part[:, :1]}))
  for file, message in (("other", f"has no array '{name}'"), ("narrow", rf"'{name}' has shape \(20, 1\), exp")):
    with pytest.raises(mtl.UserError, match=message):
      arrays_like(shapes, tmp_path / f"{file}.npz", list(known))


@pytest.mark.parametrize("value", [2**32 + 1, -(2**31) - 1])
def test_ids_that_jax_would_change_are_refused_to_predict_from(value, of_array):
  with pytest.raises(mtl.UserError, match=rf"input 'x/id' holds {value} in example 1, which is -?\d+ in JAX's int32"):
    mtl.train.predict_all(
      NET, TASKS, of_array.params, of_array.net_state, {"x": {"id": np.array([1, value]), "z": np.ones((2, 5))}}
    )
