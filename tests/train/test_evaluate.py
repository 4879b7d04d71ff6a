"""Evaluation: weights of examples and entries in every metric, whatever the batches and their padding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics as reference

import mtl_jax as mtl

RNG = np.random.default_rng(0)
SIZE = 11
SCORES = RNG.normal(size=(SIZE, 3)).astype(np.float32)
LABEL = RNG.integers(0, 2, (SIZE, 3))
WEIGHT = RNG.integers(0, 4, (SIZE, 3)).astype(np.float32)
GIVEN = (RNG.uniform(size=SIZE) > 0.3).astype(np.float32)
# A net whose predictions are its input.
NET = mtl.Net(lambda key, x: ({}, {}), lambda p, s, x, **_: ({"t": x}, s))


def evaluate(task, arrays, batch_size):
  return mtl.train.make_evaluate(NET, {"t": task}, batch_size=batch_size)({}, {}, {"x": SCORES} | arrays)["t"]


@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.slow
def test_weights_of_entries(batch_size):
  task = mtl.tasks.multilabel("y", 3, mask="given", weight="w")
  weight = WEIGHT * GIVEN[:, None]
  label = np.where(weight > 0, LABEL, np.nan).astype(np.float32)
  found = evaluate(task, {"y": label, "given": GIVEN, "w": WEIGHT}, batch_size)
  columns = [(LABEL[:, k], SCORES[:, k], weight[:, k]) for k in range(3)]
  auc = [reference.roc_auc_score(y, s, sample_weight=w) for y, s, w in columns]
  assert found["roc_auc"] == pytest.approx(np.mean(auc), rel=1e-5)
  for name in ("precision", "recall", "f1"):
    want = [getattr(reference, f"{name}_score")(y, s > 0, sample_weight=w) for y, s, w in columns]
    assert found[name] == pytest.approx(np.mean(want), rel=1e-5), name
  assert found["accuracy"] == pytest.approx(np.average((SCORES > 0) == LABEL, weights=weight), rel=1e-5)
  losses = np.log1p(np.exp(-SCORES * (2 * LABEL - 1)))
  assert found["loss"] == pytest.approx(np.average(losses, weights=weight), rel=1e-5)


@pytest.mark.parametrize("batch_size", [4, 256])
def test_weights_of_examples_and_none(batch_size):
  label = SCORES[::-1] * 2.0
  for key, weight in (("w", WEIGHT[:, 0]), (None, np.ones(SIZE))):
    found = evaluate(
      mtl.tasks.regression("y", size=3, weight=key), {"y": label, "w": weight.astype(np.float32)}, batch_size
    )
    assert found["r2"] == pytest.approx(reference.r2_score(label, SCORES, sample_weight=weight), rel=1e-4)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(label, SCORES, sample_weight=weight), rel=1e-5)
    assert found["loss"] == pytest.approx(reference.mean_squared_error(label, SCORES, sample_weight=weight), rel=1e-5)
    assert found["rmse"] == pytest.approx(found["loss"] ** 0.5, rel=1e-5)


@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.slow
def test_ready_made_metrics_on_a_task_of_ones_own(batch_size):
  def label_of(batch):
    return batch["y"]

  def loss_of(prediction, batch):
    return batch["scale"] * jnp.abs(prediction[:, 0] - label_of(batch).astype(jnp.float32))

  def decide(prediction):
    return (prediction[:, 0] > 0).astype(jnp.int32)

  m = mtl.tasks.metrics
  metrics = {"f1": m.f1(decide), "roc_auc": m.roc_auc(lambda p: p[:, 0]), "accuracy": m.accuracy(decide)}
  task = mtl.Task(loss_of, lambda batch: batch["w"], metrics, label_of)
  label, scores, weight, scale = LABEL[:, 0], SCORES[:, 0], WEIGHT[:, 0], np.arange(SIZE, dtype=np.float32)
  found = evaluate(task, {"y": label, "w": weight, "scale": scale}, batch_size)
  assert found["f1"] == pytest.approx(reference.f1_score(label, scores > 0, sample_weight=weight))
  assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(label, scores, sample_weight=weight))
  assert found["accuracy"] == pytest.approx(np.average((scores > 0) == label, weights=weight))
  assert found["loss"] == pytest.approx(np.average(scale * np.abs(scores - label), weights=weight))


def test_metrics_get_the_label_that_the_task_reads_and_else_the_whole_batch():
  keys = []

  def value(prediction, label):
    keys.append(set(label))
    return prediction[:, 0] + label["box"][:, 1] + label["y"].astype(jnp.float32)

  metrics = {"sum": mtl.tasks.metrics.mean(value, higher_is_better=True)}
  arrays = {"y": LABEL[:, 0], "box": SCORES[::-1], "w": GIVEN}
  want = np.average(SCORES[:, 0] + SCORES[::-1, 1] + LABEL[:, 0], weights=GIVEN)
  for options in ({"label": lambda batch: {key: batch[key] for key in ("box", "y")}}, {}):
    task = mtl.Task(lambda prediction, batch: prediction[:, 0], lambda batch: batch["w"], metrics, **options)
    assert evaluate(task, arrays, 4)["sum"] == pytest.approx(want)
  assert keys == [{"box", "y"}, {"x", "box", "y", "w"}]


@pytest.mark.parametrize("of_source", [False, True])
def test_metrics_get_what_they_read_beside_the_label(of_source):
  """Groups of examples, in a data set of all tasks and in one of the task's own."""
  task = mtl.tasks.with_metrics(mtl.tasks.binary("y"), auc=mtl.tasks.metrics.group_auc("user", lambda p: p[:, 0]))
  task = dataclasses.replace(
    task, loss=lambda prediction, batch: prediction[:, 0], metrics={"auc": task.metrics["auc"]}
  )
  user, label = np.arange(SIZE) % 2, LABEL[:, 0]
  arrays = {"x": SCORES, "y": label, "user": user}
  found = mtl.train.make_evaluate(NET, {"t": task}, batch_size=4)({}, {}, {"t": arrays} if of_source else arrays)
  areas = [reference.roc_auc_score(label[user == g], SCORES[user == g, 0]) for g in (0, 1)]
  assert found["t"]["auc"] == pytest.approx(np.average(areas, weights=np.bincount(user)))


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc", "r2"])
def test_ready_made_metrics_on_the_whole_batch_are_told_in_one_line(name):
  make = getattr(mtl.tasks.metrics, name)
  metric = make(lambda p: p > 0) if name in ("accuracy", "f1") else make()
  task = mtl.Task(lambda prediction, batch: prediction[:, 0], metrics={name: metric})
  with pytest.raises(mtl.UserError, match=r"got a dictionary of 'x', 'y' for a label, .* label=lambda batch") as error:
    evaluate(task, {"y": LABEL[:, 0]}, 256)
  assert "\n" not in str(error.value)


def test_losses_of_a_wrong_shape_are_told_in_one_line():
  task = mtl.Task(loss=lambda prediction, batch: prediction[:, :1] - batch["y"][None, :])
  with pytest.raises(mtl.UserError, match=r"task 't': its loss has shape \(11, 11\), expected one value per example"):
    evaluate(task, {"y": SCORES[:, 0]}, 256)


def test_metrics_that_lack_entries_are_told_in_one_line():
  exact = mtl.tasks.metrics.mean(lambda p, batch: jnp.all(p > 0, axis=1).astype(jnp.float32), higher_is_better=True)
  task = mtl.Task(lambda p, batch: jnp.abs(p), lambda batch: batch["w"], {"exact": exact})
  with pytest.raises(mtl.UserError, match=r"values of shape \(11,\), but weights of shape \(11, 3\)"):
    evaluate(task, {"w": WEIGHT}, 256)


def whole(value):
  """A collected metric of scores of one column, labels (kind, box) and weights, and what it was called with."""
  calls = []

  def compute(scores, labels, weights):
    calls.append((scores, labels, weights))
    return value(scores, *labels, weights)

  return mtl.tasks.metrics.collected(compute, score=lambda prediction: prediction[:, 0]), calls


@pytest.mark.parametrize("batch_size", [3, 4, 11, 256])
def test_collected_metrics_see_all_that_counts_of_the_data_set_at_once(batch_size):
  def value(scores, kind, box, weights):
    return np.median(scores * kind + box[:, 1]) + np.average(np.argsort(scores), weights=weights)

  metric, calls = whole(value)
  task = mtl.Task(
    lambda prediction, batch: prediction[:, 0],
    lambda batch: batch["w"],
    {"whole": metric},
    lambda batch: (batch["kind"], batch["box"]),
  )
  kind, box, weight = LABEL[:, 0], SCORES[::-1], WEIGHT[:, 0] * GIVEN
  counts = weight > 0
  assert 0 < counts.sum() < SIZE and counts[-1]  # padding repeats the last example
  missing = np.where(counts[:, None], box, np.nan)
  found = evaluate(task, {"kind": kind, "box": missing, "w": weight}, batch_size)
  want = (SCORES[counts, 0], kind[counts], box[counts], weight[counts])
  assert len(calls) == 1
  for one, other in zip((calls[0][0], *calls[0][1], calls[0][2]), want, strict=True):
    assert type(one) is np.ndarray
    np.testing.assert_array_equal(one, other)
  assert found["whole"] == pytest.approx(value(*want))
  found = evaluate(task, {"kind": kind, "box": missing, "w": 0 * weight}, batch_size)
  assert np.isnan(found["whole"]) and len(calls) == 1


def test_collected_metrics_of_weighted_entries():
  def error(scores, labels, weights):
    assert weights.shape == labels.shape and weights.any(axis=1).all()
    return np.average(np.abs(scores - labels), weights=weights)

  metric = mtl.tasks.metrics.collected(error, higher_is_better=False)
  task = mtl.Task(lambda p, batch: jnp.abs(p), lambda batch: batch["w"], {"error": metric}, lambda batch: batch["y"])
  weight = WEIGHT * GIVEN[:, None]
  found = evaluate(task, {"y": LABEL, "w": weight}, 4)
  assert found["error"] == pytest.approx(np.average(np.abs(SCORES - LABEL), weights=weight))
  assert not task.higher_is_better


@pytest.mark.parametrize("size", [8, 80])
@pytest.mark.parametrize("name", ["collected", "roc_auc"])
@pytest.mark.slow
def test_metrics_of_the_whole_data_set_move_and_copy_each_example_once(name, size, monkeypatch):
  m = mtl.tasks.metrics
  metric, per_example = {
    "collected": (m.collected(lambda scores, labels, weights: 0.0, score=lambda p: p[:, 0]), 4 + 4 + 4),
    "roc_auc": (m.roc_auc(lambda p: p[:, 0]), 4 + 1 + 4),
  }[name]
  task = mtl.Task(lambda prediction, batch: prediction[:, 0], metrics={name: metric}, label=lambda batch: batch["y"])
  bytes_of = {"device_get": 0, "concatenate": 0}

  def counted(module, function):
    original = getattr(module, function)

    def call(*args, **options):
      result = original(*args, **options)
      bytes_of[function] += sum(leaf.nbytes for leaf in jax.tree.leaves(result))
      return result

    monkeypatch.setattr(module, function, call)

  x, label = np.random.default_rng(0).normal(size=(size, 2)).astype(np.float32), np.arange(size) % 2
  run = mtl.train.make_evaluate(NET, {"t": task}, batch_size=4)
  counted(jax, "device_get")
  counted(np, "concatenate")
  run({}, {}, {"x": x, "y": label})
  losses = 8  # the state of the loss, which is merged on the device
  assert bytes_of == {"device_get": size * per_example + losses, "concatenate": size * per_example}


@pytest.mark.parametrize(("batch_size", "accumulate", "most"), [(4, 1, 16), (8, 4, 8), (128, 1, 256)])
def test_validation_takes_no_more_at_a_time_than_fits_where_the_step_does(batch_size, accumulate, most):
  sizes = []

  def apply(params, state, x, **_):
    sizes.append(x.shape[0])
    return {"y": x @ params["shared"]}, state

  net = mtl.Net(lambda key, x: ({"shared": jnp.ones(3), "task": {"y": {}}}, {}), apply)
  data = {"x": np.ones((600, 3), np.float32), "y": np.ones(600, np.float32)}
  tasks = {"y": mtl.tasks.regression("y")}
  mtl.fit(net, tasks, "equal", optax.sgd(0.01), data, valid=data, steps=1, batch_size=batch_size, accumulate=accumulate)
  assert max(sizes) == most
