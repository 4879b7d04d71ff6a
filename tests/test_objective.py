"""The objective: masks, inputs of their own, keys, the cut at the features, and what users are told."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from tests import _nets
from tests._nets import KEY, close, same

BATCH = _nets.batch(6)


def linear(heads=("a", "b")) -> mtl.Net:
  """Dense trunk, dense heads: two logits for task a, one value for the others."""
  sizes = {name: 2 if name == "a" else 1 for name in heads}
  return mtl.arch.hard_sharing(
    mtl.from_linen(nn.Dense(4)), {name: mtl.from_linen(nn.Dense(size)) for name, size in sizes.items()}
  )


def normed(heads=("a", "b"), cut: bool = True) -> mtl.Net:
  """Dropout and batch statistics in the trunk, batch statistics in the heads."""
  make = {name: mtl.from_linen(_Normed(2 if name == "a" else 1)) for name in heads}
  net = mtl.arch.hard_sharing(_nets.trunk("linen", dropout=0.5), make)
  return net if cut else dataclasses.replace(net, cut=None)


class _Normed(nn.Module):
  size: int

  @nn.compact
  def __call__(self, x, train: bool):
    return nn.Dense(self.size)(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))


def value_and_gradients(net, tasks):
  """The compiled function of a batch that gives the gradients of the losses, and the losses."""
  params, state = net.init(KEY, jnp.asarray(BATCH["x"]))
  losses = mtl.objective(net, tasks)
  return jax.jit(lambda batch: jax.jacrev(lambda p: (losses(p, state, batch, KEY)[0],) * 2, has_aux=True)(params))


def unlabelled(kind: str) -> mtl.Task:
  mask = f"has_{kind}"
  return {
    "classification": lambda: mtl.tasks.classification("b", 2, mask=mask, class_weights=[1.0, 2.0]),
    "binary": lambda: mtl.tasks.binary("b", mask=mask),
    "multilabel": lambda: mtl.tasks.multilabel("b", 1, mask=mask),
    "regression": lambda: mtl.tasks.regression("b", mask=mask),
    "huber": lambda: mtl.tasks.regression("b", mask=mask, loss="huber"),
    "own": lambda: mtl.Task(
      loss=lambda prediction, batch: jnp.sqrt(jnp.abs(prediction[:, 0] - batch["b"])), mask=lambda batch: batch[mask]
    ),
  }[kind]()


HOSTILE = [np.nan, np.inf, -1.0, 7.0]


@pytest.mark.parametrize("kind", ["classification", "binary", "multilabel", "regression", "huber", "own"])
def test_a_batch_without_labels_of_a_task_adds_exactly_nothing(kind):
  classes = kind == "classification"
  heads = {"a": mtl.from_linen(nn.Dense(2)), "b": mtl.from_linen(nn.Dense(2 if classes else 1))}
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), heads)
  at = value_and_gradients(net, {"a": mtl.tasks.classification("a", 2), "b": unlabelled(kind)})
  shape = (6, 1) if kind == "multilabel" else (6,)
  for label in (-1, 99) if classes else HOSTILE:
    labels = np.full(shape, label, np.int32 if classes else np.float32)
    gradients, losses = at(BATCH | {"b": labels, f"has_{kind}": np.zeros(6, np.float32)})
    assert float(losses["b"]) == 0.0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradients["b"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients)), label
    assert float(losses["a"]) > 0.0


@pytest.mark.parametrize("kind", ["regression", "own"])
def test_masked_examples_count_for_nothing_whatever_their_label(kind):
  mask = np.array([1, 0, 1, 1, 0, 1], bool)
  clean = {key: value[mask] for key, value in BATCH.items()} | {f"has_{kind}": np.ones(4, bool)}
  at = value_and_gradients(linear(("b",)), {"b": unlabelled(kind)})
  expected_gradients, expected = at(clean)
  for label in HOSTILE:
    gradients, losses = at(BATCH | {"b": np.where(mask, BATCH["b"], np.float32(label)), f"has_{kind}": mask})
    close(losses, expected)
    close(gradients, expected_gradients)


def test_the_loss_is_the_weighted_mean_under_fractional_masks():
  weight = np.array([0.5, 0.0, 1.0, 0.25, 0.0, 0.125], np.float32)
  batch = BATCH | {"has_regression": weight}
  net = linear(("b",))
  params, state = net.init(KEY, BATCH["x"])
  losses, _ = mtl.objective(net, {"b": unlabelled("regression")})(params, state, batch)
  prediction = net.apply(params, state, BATCH["x"])[0]["b"][:, 0]
  np.testing.assert_allclose(losses["b"], np.average((prediction - BATCH["b"]) ** 2, weights=weight), rtol=1e-6)


ENTRIES = np.array([[1, 0], [0, 0], [3, 0.5], [0, 2], [1, 1], [0, 0]], np.float32)


@pytest.mark.parametrize("kind", ["multilabel", "regression", "own"])
def test_weights_of_entries_make_the_mean_over_all_entries(kind):
  truth = np.stack([BATCH["a"], 1 - BATCH["a"]], axis=1).astype(np.float32)
  own = mtl.Task(lambda p, batch: jnp.sqrt(jnp.abs(p - batch["b"])), lambda batch: batch["w"])
  task = {
    "multilabel": mtl.tasks.multilabel("b", 2, weight="w"),
    "regression": mtl.tasks.regression("b", size=2, weight="w", loss="absolute"),
    "own": own,
  }[kind]
  net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"b": mtl.from_linen(nn.Dense(2))})

  def expected(params):
    prediction = net.apply(params, {"shared": {}, "task": {"b": {}}}, jnp.asarray(BATCH["x"]))[0]["b"]
    away = jnp.abs(prediction - truth)
    values = {"multilabel": jnp.logaddexp(0.0, prediction) - prediction * truth, "regression": away, "own": away**0.5}
    return (values[kind] * ENTRIES).sum() / ENTRIES.sum()

  params, _ = net.init(KEY, jnp.asarray(BATCH["x"]))
  want, want_gradients = jax.jit(jax.value_and_grad(expected))(params)
  at = value_and_gradients(net, {"b": task})
  for label in HOSTILE:
    gradients, losses = at(BATCH | {"b": np.where(ENTRIES > 0, truth, np.float32(label)), "w": ENTRIES})
    np.testing.assert_allclose(losses["b"], want, rtol=1e-5)
    close(gradients["b"], want_gradients)


def test_without_a_mask_the_loss_is_the_mean():
  net = linear(("b",))
  params, state = net.init(KEY, BATCH["x"])
  losses, _ = mtl.objective(net, {"b": mtl.Task(loss=lambda p, batch: p[:, 0])})(params, state, BATCH)
  np.testing.assert_allclose(losses["b"], net.apply(params, state, BATCH["x"])[0]["b"].mean(), rtol=1e-6)


def test_tasks_with_the_same_input_share_one_forward_pass_others_have_their_own():
  calls = []

  def counted(x):
    calls.append(x.shape)
    return x

  trunk = mtl.Net(lambda key, x: ({"w": jnp.ones(())}, {}), lambda p, s, x, **_: (counted(x) * p["w"], s))
  net = mtl.arch.hard_sharing(trunk, {name: mtl.from_linen(nn.Dense(1)) for name in "abc"})
  params, state = net.init(KEY, jnp.ones((2, 3)))
  tasks = {name: mtl.Task(loss=lambda p, batch: p[:, 0]) for name in "abc"}
  batch = {"left": jnp.ones((4, 3)), "right": 2 * jnp.ones((5, 3))}
  losses = mtl.objective(net, tasks, {"a": "left", "b": "right", "c": "left"})
  calls.clear()
  found, _ = losses(params, state, batch)
  assert calls == [(4, 3), (5, 3)]
  assert list(found) == ["a", "b", "c"]
  for name, key in (("a", "left"), ("b", "right"), ("c", "left")):
    np.testing.assert_allclose(found[name], net.apply(params, state, batch[key])[0][name].mean(), rtol=1e-6)


@pytest.mark.parametrize("inputs", ["x", {"a": "x", "b": "z"}])
def test_nets_with_and_without_split_agree_statistics_included(inputs):
  batch = BATCH | {"z": 1.0 + 2.0 * BATCH["x"]}
  results = []
  for cut in (True, False):
    net = normed(cut=cut)
    assert (net.cut is not None) == cut
    params, state = net.init(KEY, BATCH["x"])
    results.append(jax.jit(mtl.objective(net, _nets.tasks(), inputs))(params, state, batch, KEY))
  close(*results)


def test_each_heads_statistics_see_its_own_input_only():
  batch = BATCH | {"z": 100.0 + BATCH["x"]}
  net = normed(cut=False)
  params, state = net.init(KEY, BATCH["x"])
  _, alone = mtl.objective(net, _nets.tasks())(params, state, batch, KEY)
  _, mixed = mtl.objective(net, _nets.tasks(), {"a": "x", "b": "z"})(params, state, batch, KEY)
  close(mixed["state"]["task"]["a"], alone["state"]["task"]["a"])


def test_the_key_gives_the_predictions_that_apply_gives():
  net = normed()
  params, state = net.init(KEY, BATCH["x"])
  tasks = {name: mtl.Task(loss=lambda p, batch: p.sum(axis=1)) for name in "ab"}
  losses, aux = mtl.objective(net, tasks)(params, state, BATCH, KEY)
  predictions, after = net.apply(params, state, BATCH["x"], key=KEY, train=True)
  close(losses, {name: y.sum(axis=1).mean() for name, y in predictions.items()})
  close(aux["state"], after)
  other, _ = mtl.objective(net, tasks)(params, state, BATCH, jax.random.key(1))
  assert float(other["a"]) != float(losses["a"])


def test_evaluation_is_deterministic_and_keeps_the_state():
  net = normed()
  params, state = net.init(KEY, BATCH["x"])
  losses = mtl.objective(net, _nets.tasks(), train=False)
  found, aux = losses(params, state, BATCH)
  same(found, losses(params, state, BATCH, KEY)[0])
  same(aux["state"], state)


def test_the_order_of_tasks_is_that_of_the_tasks_not_of_the_heads():
  losses = mtl.objective(linear(("a", "b")), dict(reversed(_nets.tasks().items())))
  params, state = linear().init(KEY, BATCH["x"])
  assert losses.names == ("b", "a") == tuple(losses(params, state, BATCH)[0])


def task(**options) -> mtl.Task:
  return mtl.Task(**{"loss": lambda prediction, batch: prediction[:, 0]} | options)


ERRORS = {
  "no tasks": ({}, {}, "at least one task, found none"),
  "task without head": (
    {"a": task(), "b": task(), "c": task()},
    {},
    r"task 'c' is not in the net, which has 'a', 'b': add it there or remove the task\.",
  ),
  "head without task": (
    {"a": task()},
    {},
    r"task 'b' of the net is not in tasks, which has 'a': add the task or remove it there\.",
  ),
  "misspelt head": ({"a": task(), "bb": task()}, {}, r"task 'b' of the net is not in tasks.*did you mean 'bb'"),
  "inputs of an unknown task": (
    {"a": task(), "b": task()},
    {"inputs": {"a": "x", "b": "x", "c": "x"}},
    "task 'c' of inputs is not in tasks",
  ),
  "no input of a task": ({"a": task(), "b": task()}, {"inputs": {"a": "x"}}, "task 'b' is not in inputs"),
}


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("name", list(ERRORS))
def test_mistakes_in_names_are_told_in_one_line(name, cut):
  tasks, options, message = ERRORS[name]
  net = linear() if cut else dataclasses.replace(linear(), cut=None)
  with pytest.raises(mtl.UserError, match=message) as error:
    losses = mtl.objective(net, tasks, **options)
    losses(*net.init(KEY, BATCH["x"]), BATCH)
  assert "\n" not in str(error.value)


CALL_ERRORS = {
  "missing input": (task(), {"inputs": "y"}, r"the batch has no input 'y', only .*'x': set inputs= to the key"),
  "scalar loss": (
    task(loss=lambda p, batch: p.mean()),
    {},
    r"task 'b': its loss has shape \(\), expected one value per example, \(B,\)",
  ),
  "loss matrix": (task(loss=lambda p, batch: p), {}, r"task 'b': its loss has shape \(6, 1\), expected .*\(B,\)"),
  "loss matrix against weights": (
    task(loss=lambda p, batch: p - batch["b"][None, :], mask=lambda batch: jnp.ones((6, 1))),
    {},
    r"task 'b': its loss has shape \(6, 6\), expected one value per example, \(B,\)",
  ),
  "scalar loss and weight": (
    task(loss=lambda p, batch: p.mean(), mask=lambda batch: jnp.ones(())),
    {},
    r"task 'b': its loss has shape \(\), expected one value per example",
  ),
  "short mask": (
    task(mask=lambda batch: jnp.ones(5)),
    {},
    r"task 'b': its mask has shape \(5,\), expected \(6,\), one weight per example",
  ),
  "mask matrix": (task(mask=lambda batch: jnp.ones((6, 1))), {}, r"task 'b': its mask has shape \(6, 1\), expected"),
  "mask of ready-made tasks": (
    mtl.tasks.regression("b", mask="x"),
    {},
    r"mask 'x' of label 'b' has shape \(6, 3\), expected \(6,\)",
  ),
  "missing label": (mtl.tasks.regression("bb"), {}, r"the batch has no label 'bb', only .* \(did you mean 'b'\?\)"),
  "missing mask": (mtl.tasks.regression("b", mask="has_b"), {}, r"the batch has no mask 'has_b', only"),
}


@pytest.mark.parametrize("name", list(CALL_ERRORS))
def test_mistakes_in_shapes_and_batches_are_told_in_one_line(name):
  wrong, options, message = CALL_ERRORS[name]
  net = linear()
  losses = mtl.objective(net, {"a": mtl.tasks.classification("a", 2), "b": wrong}, **options)
  with pytest.raises(mtl.UserError, match=message) as error:
    jax.jit(losses)(*net.init(KEY, BATCH["x"]), BATCH, KEY)
  assert "\n" not in str(error.value)
