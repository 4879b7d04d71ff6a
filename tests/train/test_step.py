"""One training step: on the device alone, safe against NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax._core import devices
from tests.engine._problem import problem


def _setup(balancer, *, engine=None, nonfinite="skip", num_tasks=3):
  net, tasks, batch, inputs = problem(num_tasks)
  tx = optax.adam(1e-2)
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), inputs=inputs, engine=engine)
  step = mtl.make_train_step(mtl.objective(net, tasks, inputs), balancer, tx, engine, nonfinite=nonfinite)
  return jax.jit(step, donate_argnums=0), state, batch


def test_losses_fall():
  step, state, batch = _setup(mtl.balance.pcgrad())
  first = None
  for _ in range(60):
    state, metrics = step(state, batch)
    first = metrics if first is None else first
  for name, loss in metrics["losses"].items():
    assert float(loss) < 0.5 * float(first["losses"][name])


def _parameters(state):
  return [np.array(leaf) for leaf in jax.tree.leaves((state.params, state.opt_state, state.balancer))
          if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]  # fmt: skip


@pytest.mark.parametrize("on_cpu", [True, False])
def test_skipped_steps_change_nothing_and_name_the_task(on_cpu, monkeypatch):
  """By a branch on one CPU, by a choice between two states elsewhere."""
  monkeypatch.setattr(devices, "on_one_cpu", lambda: on_cpu)
  step, start, batch = _setup(mtl.balance.uncertainty(), nonfinite="skip")
  start, _ = step(start, batch)
  before = _parameters(start)
  for key, value in (("y_t1", np.nan), ("y_t1", np.inf), ("x", np.nan), ("x", np.inf)):
    state, metrics = step(jax.tree.map(jnp.copy, start), {**batch, key: batch[key].at[0].set(value)})
    for a, b in zip(before, _parameters(state), strict=True):
      np.testing.assert_array_equal(a, b)
    assert int(metrics["skipped"]) == 1 and int(state.first_nonfinite) == 1 and int(state.step) == 2
    assert state.nonfinite.tolist() == ([0, 1, 0] if key == "y_t1" else [1, 1, 1])
    state, _ = step(state, batch)
    assert any((a != b).any() for a, b in zip(before, _parameters(state), strict=True))
    assert int(state.skipped) == 1


def test_stop_freezes_training_at_the_first_mishap():
  step, state, batch = _setup(mtl.balance.equal(), nonfinite="stop")
  state, _ = step(state, batch)
  before = _parameters(state)
  for data in ({**batch, "y_t0": batch["y_t0"].at[0].set(np.nan)}, batch, batch):
    state, _ = step(state, data)
  for a, b in zip(before, _parameters(state), strict=True):
    np.testing.assert_array_equal(a, b)
  assert int(state.skipped) == 1 and int(state.first_nonfinite) == 1


def test_ignore_lets_nan_through():
  step, state, batch = _setup(mtl.balance.equal(), nonfinite="ignore")
  state, _ = step(state, {**batch, "y_t0": batch["y_t0"].at[0].set(np.nan)})
  assert any(np.isnan(leaf).any() for leaf in _parameters(state))


def test_another_number_of_tasks_than_the_state_was_made_for_is_an_error():
  _, state, batch = _setup(mtl.balance.equal(), num_tasks=2)
  net, tasks, batch, _ = problem(3)
  step = mtl.make_train_step(mtl.objective(net, tasks), mtl.balance.equal(), optax.adam(1e-2))
  more = mtl.init_train_state(net, tasks, mtl.balance.equal(), optax.adam(1e-2), batch, jax.random.key(0))
  state = more._replace(nonfinite=state.nonfinite)
  with pytest.raises(mtl.UserError, match=r"objective has 3 tasks \(t0, t1, t2\), but the train state was made for 2"):
    jax.eval_shape(step, state, batch)


def test_unknown_nonfinite_is_an_error():
  net, tasks, _, _ = problem(2)
  with pytest.raises(mtl.UserError, match="nonfinite is 'halt', expected"):
    mtl.make_train_step(mtl.objective(net, tasks), mtl.balance.equal(), optax.sgd(1.0), nonfinite="halt")
