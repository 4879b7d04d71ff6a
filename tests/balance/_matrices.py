"""Matrices of task gradients on which balancers are tested, and balancers run on all of them at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.balance.serving import combine
from tests.balance._table import TABLE

TASKS = (1, 2, 3, 40)
COLUMNS = 11


@functools.cache
def hostile(tasks: int) -> np.ndarray:
  """(N, T, 11) matrices of every rank and scale, with zero, identical and opposite rows."""
  rng = np.random.default_rng(tasks)
  found = []
  for rank in range(tasks + 1) if tasks < 10 else (0, 1, 5, COLUMNS):
    for scale in (1e-10, 1.0, 1e15):
      found.append(scale * rng.normal(size=(tasks, rank)) @ rng.normal(size=(rank, COLUMNS)))
  for scale in (1e-10, 1.0, 1e15):
    row = rng.normal(size=COLUMNS)
    found.append(scale * np.tile(row, (tasks, 1)))
    found.append(scale * np.outer((-1.0) ** np.arange(tasks), row))
    one_zero = rng.normal(size=(tasks, COLUMNS))
    one_zero[0] = 0
    found.append(scale * one_zero)
    pair = rng.normal(size=(tasks, COLUMNS))
    pair[-1] = -pair[0] if tasks > 1 else pair[0]
    found.append(scale * pair)
  return np.stack(found).astype(np.float32)


@functools.cache
def lopsided(tasks: int) -> np.ndarray:
  """As many (T, 11) matrices of full rank with rows of norms from 1e-10 to 1e15, beyond what float32 can compare."""
  rng = np.random.default_rng(200 + tasks)
  rows = 10.0 ** rng.uniform(-10, 15, (len(hostile(tasks)), tasks, 1))
  return (rows * rng.normal(size=(len(rows), tasks, COLUMNS))).astype(np.float32)


@functools.cache
def well_posed(tasks: int) -> np.ndarray:
  """As many (T, 11) matrices of full rank, rows of norms between about 1 and 30."""
  rng, count = np.random.default_rng(100 + tasks), len(hostile(tasks))
  j = rng.normal(size=(count, tasks, COLUMNS)) * np.exp(rng.uniform(0, 2, (count, tasks, 1)))
  return j.astype(np.float32)


def losses(tasks: int) -> np.ndarray:
  """(N, T) positive losses."""
  return np.random.default_rng(7).uniform(0.1, 3.0, (len(hostile(tasks)), tasks)).astype(np.float32)


@functools.cache
def _runner(name: str, tasks: int):
  # One compilation a method and number of tasks, most of the tests' time: all sets of matrices have the same size.
  balancer = TABLE[name].make(tasks)

  def one(j, task_losses, state):
    # Where the batch is cut, all parts have the same gradients.
    rows = {"early": j[:, :4], "late": j[:, 4:]}
    rows = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(balancer.shares)), rows)
    update, weights, state = combine(balancer, rows, task_losses, state)
    return jnp.concatenate([update["early"], update["late"]]), weights, state

  return balancer, jax.jit(jax.vmap(one))


def initial(balancer, tasks: int):
  """The balancer's state for the parameters whose gradients the matrices are."""
  return balancer.init(tasks, {"early": jnp.zeros(4), "late": jnp.zeros(COLUMNS - 4)})


def repeated(state, times: int):
  """The state as often as there are matrices, its leaves (N, ...)."""
  return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (times, *leaf.shape)), state)


def run(name: str, j: np.ndarray, task_losses: np.ndarray | None = None, states=None, warm_up: int = 0):
  """Updates (N, 11), weights (N, T) and states of the balancer at each matrix of `j`.

  `states` are those before, one for each matrix; None: the first. `warm_up` steps with other losses come before, so
  that methods with a memory have one.
  """
  tasks = j.shape[1]
  balancer, batched = _runner(name, tasks)
  states = repeated(initial(balancer, tasks), len(j)) if states is None else states
  losses_now = losses(tasks) if task_losses is None else task_losses
  for step in range(warm_up):
    _, _, states = batched(j, (1.0 + step) * losses_now, states)
  update, weights, states = batched(j, losses_now, states)
  return np.asarray(update), np.asarray(weights), states
