"""Which evaluation is the best: losses of any sign, tasks without labels, scores of one's own."""

import dataclasses
import functools
import json
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax.train._score import Best, judge


def _judged(evaluations, score=None):
  """The best after evaluations `[{task: loss}, ...]` at steps 1, 2, ..., by way of JSON as in checkpoints."""
  best, told = Best(), []
  for step, losses in enumerate(evaluations, 1):
    best = judge(best, step, {name: {"loss": loss} for name, loss in losses.items()}, score, told.append)
    best = Best(**json.loads(json.dumps(dataclasses.asdict(best))))
  return best, told


def test_positive_losses_count_by_their_relative_change():
  """b is 1e-6 of a, in other units; halved it makes up for a that is a half worse, which the mean loss does not see."""
  evaluations = [{"a": 1.0, "b": 1e-6}, {"a": 1.5, "b": 0.5e-6}, {"a": 1.5, "b": 0.7e-6}]
  best, told = _judged(evaluations)
  assert best.step == 2 and best.evaluations_since == 1 and not told
  assert best.score == pytest.approx((math.log(1.5) + math.log(0.5e-6)) / 2)
  assert _judged(evaluations, mtl.train.mean_loss)[0].step == 1


def test_the_mean_of_a_metric_grows_while_losses_rise():
  evaluations = [{"a": {"loss": 0.2, "auc": 0.8}, "b": {"loss": 0.2, "f1": 0.4, "auc": 0.1}}]
  evaluations.append({"a": {"loss": 0.3, "auc": 0.7}, "b": {"loss": 0.9, "f1": 0.7, "auc": 0.0}})
  assert list(map(mtl.train.mean_metric({"a": "auc", "b": "f1"}), evaluations)) == pytest.approx([-0.6, -0.7])
  assert list(map(mtl.train.mean_metric("auc"), evaluations)) == pytest.approx([-0.45, -0.35])


def test_metrics_that_are_not_defined_are_left_out_and_such_as_there_are_not_are_told():
  score = mtl.train.mean_metric("auc")
  assert score({"a": {"auc": math.nan}, "b": {"auc": 0.5}}) == -0.5
  assert math.isnan(score({"a": {"auc": math.nan}})) and math.isnan(score({}))
  with pytest.raises(mtl.UserError, match=r"mean_metric: 'auc' of task 'b', expected one of its metrics: loss, f1\."):
    score({"a": {"auc": 0.1}, "b": {"loss": 1.0, "f1": 0.3}})
  with pytest.raises(mtl.UserError, match="mean_metric: None of task 'b'"):
    mtl.train.mean_metric({"a": "auc"})({"b": {"auc": 0.1}})


def test_below_zero_the_loss_itself_counts_and_one_warning_names_the_task():
  a = [2.0, 0.5, -0.1, -3.9, -3.7, -3.95, -3.8]
  best, told = _judged([{"a": loss, "b": 1.0} for loss in a])
  assert best.step == 6 and best.evaluations_since == 1 and best.score == pytest.approx(-3.95 / 2)
  assert len(told) == 1 and "found -0.1 of task 'a': from now on" in told[0] and "mtl.train.mean_loss" in told[0]


def test_the_best_so_far_counts_anew_when_a_loss_falls_below_zero():
  """By its logarithm the loss 1e-9 would beat everything for ever."""
  assert _judged([{"a": 1e-9}, {"a": -1.0}])[0].step == 2
  assert _judged([{"a": 1e-9, "b": 1.0}, {"a": -0.1, "b": 9.0}])[0].step == 1
  # Going back above zero, the task goes on to count by its loss.
  assert _judged([{"a": -1.0}, {"a": 1e-9}])[0].step == 1


def test_zero_losses_neither_tie_nor_rule():
  """A task that is fitted perfectly counts for nothing more, and the others decide."""
  evaluations = [{"a": 0.1, "b": 1.0}, {"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 0.8}, {"a": 0.0, "b": 0.9}]
  best, told = _judged(evaluations)
  assert best.step == 3 and len(told) == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_are_never_the_best(loss):
  best, _ = _judged([{"a": 1.0, "b": 1.0}, {"a": loss, "b": 0.1}])
  assert best.step == 1 and best.evaluations_since == 1


def test_a_score_must_be_a_number():
  assert _judged([{"a": 1.0}, {"a": 2.0}], lambda metrics: jnp.float32(-metrics["a"]["loss"]))[0].step == 2
  with pytest.raises(mtl.UserError, match="score returned None, expected a number"):
    _judged([{"a": 1.0}], lambda metrics: None)


def _gaussian(label):
  """The negative log likelihood of a normal distribution with predicted mean and log of the standard deviation."""

  def loss(prediction, batch):
    mean, log_std = prediction[:, 0], prediction[:, 1]
    return log_std + 0.5 * jnp.square((batch[label] - mean) * jnp.exp(-log_std))

  return mtl.Task(loss, mask=lambda batch: ~jnp.isnan(batch[label]))


def _arrays(count, seed):
  random = np.random.default_rng(seed)
  x = random.normal(size=(count, 4)).astype(np.float32)
  noise = 0.02 * random.normal(size=(2, count)).astype(np.float32)
  return {"x": x, "a": x[:, 0] + noise[0], "b": x[:, 1] - x[:, 2] + noise[1]}


_NET = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(16)), {name: mtl.from_linen(nn.Dense(2)) for name in "ab"})
_TASKS = {name: _gaussian(name) for name in "ab"}


_BALANCER, _TX = mtl.balance.equal(), optax.adam(3e-2)


@functools.cache
def _programs():
  """Compiled once for all tests."""
  return mtl.train.compile_programs(_NET, _TASKS, _BALANCER, _TX, _arrays(16, 0))


def _fit(**options):
  options = {"steps": 200, "eval_every": 10, "valid": _arrays(64, 1), "progress": False, "batch_size": 16} | options
  loop = mtl.train.Loop(programs=_programs(), log_every=100)
  return mtl.fit(_NET, _TASKS, _BALANCER, _TX, _arrays(16, 0), loop=loop, **options)


def test_gaussian_log_likelihoods_have_their_true_best():
  """16 examples are overfitted: likelihoods of other examples rise, fall and rise again."""
  with pytest.warns(UserWarning, match="a validation loss of zero or below has no logarithm") as told:
    result = _fit()
  assert len(told) == 2  # one for each task
  valid = [line for line in result.history if line["kind"] == "valid"]
  sums = [line["a/loss"] + line["b/loss"] for line in valid]
  best = valid[int(np.argmin(sums))]
  assert best["a/loss"] < 0 and best["b/loss"] < 0 and 10 < best["step"] < 200
  assert result.best_step == best["step"]


def test_a_task_without_validation_labels_is_left_out_and_named():
  valid = _arrays(64, 1)
  valid["b"] = np.full(64, np.nan, np.float32)
  with pytest.warns(UserWarning, match="task 'b' has no labels in the validation data: left out of the score"):
    result = _fit(valid=valid, steps=20)
  evaluations = [line for line in result.history if line["kind"] == "valid"]
  assert result.best_step == min(evaluations, key=lambda line: line["a/loss"])["step"]


def test_validation_data_without_any_label(tmp_path):
  valid = _arrays(64, 1) | {name: np.full(64, np.nan, np.float32) for name in "ab"}
  with pytest.raises(mtl.UserError, match=r"the validation data have no label of any task \(a, b\)"):
    _fit(valid=valid, run_dir=tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_resumed_run_has_the_same_score(tmp_path):
  _fit(steps=10, run_dir=tmp_path, score=mtl.train.mean_loss)
  with pytest.raises(mtl.UserError, match="fit/score was 'mean_loss', is None"):
    _fit(steps=10, run_dir=tmp_path, resume=True)
