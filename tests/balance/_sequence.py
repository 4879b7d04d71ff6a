"""Balancers over several steps with other gradients in each."""

import jax
import jax.numpy as jnp
import numpy as np

import mtl_jax as mtl
from mtl_jax.balance.serving import combine


def gradients(steps: int, tasks: int, columns: int = 7, seed: int = 0) -> np.ndarray:
  """(steps, T, columns) task gradients, of lengths over a factor of about 10, those of a task alike."""
  rng = np.random.default_rng((seed, tasks))
  j = rng.normal(size=(1, tasks, columns)) + 0.5 * rng.normal(size=(steps, tasks, columns))
  return (j * np.exp(rng.uniform(-1, 1, (1, tasks, 1)))).astype(np.float32)


def run_steps(balancer: mtl.balance.Balancer, j: np.ndarray, losses: np.ndarray | None = None):
  """Updates (steps, columns), weights (steps, T) and the last state; parameters in two leaves of different rank."""
  steps, tasks, columns = j.shape
  losses = np.ones((steps, tasks), np.float32) if losses is None else np.asarray(losses, np.float32)
  state = balancer.init(tasks, {"a": jnp.zeros((2, 1)), "b": jnp.zeros(columns - 2)})

  def step(state, seen):
    j, task_losses = seen
    rows = {"a": j[:, :2, None], "b": j[:, 2:]}
    update, weights, state = combine(balancer, rows, task_losses, state)
    return state, (jnp.concatenate([update["a"][:, 0], update["b"]]), weights)

  state, (updates, weights) = jax.jit(lambda s, x: jax.lax.scan(step, s, x))(
    state, (jnp.asarray(j), jnp.asarray(losses))
  )
  return np.asarray(updates), np.asarray(weights), state


def project(x: np.ndarray) -> np.ndarray:
  """The nearest point of the simplex, by bisection for the threshold."""
  low, high = x.min() - 1.0, x.max()
  for _ in range(100):
    middle = 0.5 * (low + high)
    low, high = (middle, high) if np.maximum(x - middle, 0.0).sum() > 1.0 else (low, middle)
  return np.maximum(x - low, 0.0)
