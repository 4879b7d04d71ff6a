"""Spans: loss and best span by hand, metrics of overlaps, the head, what users are told."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.tasks.loss import masked_mean

LOGITS = np.random.default_rng(0).normal(size=(8, 5, 2)).astype(np.float32) * 2
FIRST = np.array([0, 1, 2, 3, 4, 0, 2, -1], np.int32)
LAST = np.array([4, 1, 3, 4, 4, 0, 4, -7], np.int32)
THERE = np.array([1] * 7 + [0], np.float32)
for row in (0, 3):  # these are found
  LOGITS[row, [FIRST[row], LAST[row]], [0, 1]] += 9
BATCH = {"start": FIRST, "end": LAST, "there": THERE}
LOGS = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))


def best(longest):
  pairs = [(i, j) for i, j in itertools.product(range(5), range(5)) if 0 <= j - i < longest]
  return [max(pairs, key=lambda pair, row=row: row[pair[0], 0] + row[pair[1], 1]) for row in LOGS]


def test_loss_is_the_formula():
  task = mtl.tasks.span("start", "end", mask="there")
  rows = np.arange(7)
  expected = -(LOGS[rows, FIRST[:7], 0] + LOGS[rows, LAST[:7], 1]) / 2
  np.testing.assert_allclose(task.loss(jnp.asarray(LOGITS), BATCH)[:7], expected, rtol=1e-5, atol=1e-6)
  loss, gradient = jax.value_and_grad(lambda p: masked_mean("t", task, p, BATCH))(jnp.asarray(LOGITS))
  assert float(loss) == pytest.approx(expected.mean(), rel=1e-5) and not gradient[7].any()


@pytest.mark.parametrize("longest", [1, 2, 30])
def test_the_best_span_ends_behind_its_start_and_is_not_too_long(longest):
  found = mtl.tasks.span("start", "end", longest=longest).output(jnp.asarray(LOGITS))
  assert list(zip(found["start"].tolist(), found["end"].tolist(), strict=True)) == best(longest)
  expected = [np.exp(row[i, 0] + row[j, 1]) for row, (i, j) in zip(LOGS, best(longest), strict=True)]
  np.testing.assert_allclose(found["probability"], expected, rtol=1e-4)


def test_metrics():
  task = mtl.tasks.span("start", "end", mask="there")
  f1, exact = [], []
  for (i, j), first, last in zip(best(30)[:7], FIRST, LAST, strict=False):
    own, true = set(range(i, j + 1)), set(range(first, last + 1))
    share = len(own & true)
    f1.append(2 * share / (len(own) + len(true)))
    exact.append(own == true)
  found = {
    name: float(metric.compute(metric.update(jnp.asarray(LOGITS), task.label(BATCH), THERE)))
    for name, metric in task.metrics.items()
  }
  assert found == {"f1": pytest.approx(np.mean(f1), rel=1e-5), "exact": pytest.approx(np.mean(exact))}
  assert 0 < found["exact"] < found["f1"] < 1 and task.main_metric == "f1"


def test_the_head_takes_no_padding_and_the_segments_named():
  x = {
    "x": jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 3)), jnp.float32),
    "mask": jnp.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], bool),
    "segments": jnp.array([[1, 1, 2, 2, 2, 0], [1, 2, 2, 0, 0, 0]]),
  }
  for within, places in (((), x["mask"]), ((2,), x["segments"] == 2)):
    net = mtl.from_linen(mtl.nn.SpanHead(within))
    params, state = net.init(jax.random.key(0), x)
    logits, _ = net.apply(params, state, x)
    np.testing.assert_array_equal(logits[..., 0] > -1e8, places)
    found = mtl.tasks.span("start", "end").output(logits)
    for row in range(2):
      assert places[row, found["start"][row] : found["end"][row] + 1].all()


def test_records():
  task = mtl.tasks.span("start", "end")
  outputs = {name: values[0] for name, values in task.output(jnp.asarray(LOGITS)).items()}
  assert task.record(outputs).keys() == {"start", "end", "probability"}


def test_what_users_are_told():
  task = mtl.tasks.span("start", "end", mask="there")
  task.check("t", BATCH)
  with pytest.raises(mtl.UserError, match="task 't': label 'start' holds -1 in example 7, expected positions from 0"):
    mtl.tasks.span("start", "end").check("t", BATCH)
  with pytest.raises(mtl.UserError, match="the span of example 2 begins at 4 and ends at 3, expected an end"):
    task.check("t", {**BATCH, "start": np.where(FIRST == 2, 4, FIRST)})
  with pytest.raises(mtl.UserError, match="label 'end' has dtype float32, expected integers"):
    task.check("t", {**BATCH, "end": LAST.astype(np.float32)})
  with pytest.raises(mtl.UserError, match=r"their prediction \(8, 5\), expected \(B,\), \(B,\) and \(B, L, 2\)"):
    task.loss(jnp.zeros((8, 5)), BATCH)
  with pytest.raises(mtl.UserError, match="longest is 0, expected at least 1"):
    mtl.tasks.span("start", "end", longest=0)
