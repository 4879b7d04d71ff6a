"""How good the weights of the `sketched` engine are: cosines of real task gradients, and what training makes of them.

`python benchmarks/sketch.py`, minutes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import number, table

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax._core.gram import gram
from mtl_jax.engine.linearize import linearize
from mtl_jax.engine.rows import rows
from mtl_jax.engine.sketched import sketch


def main(
  powers: tuple[int, ...] = (10, 11, 12, 13, 14, 15, 16),
  trained: tuple[int, ...] = (10, 12),
  draws: int = 20,
  batches: int = 5,
  seeds: int = 8,
) -> None:
  """Writes benchmarks/results/sketch.md.

  Args:
    powers: Sketches of length 2 ** power.
    trained: Those that networks are trained with.
    draws: Draws of random signs a batch.
    batches: Training steps at which gradients are looked at, 40 steps apart.
    seeds: Trainings an engine.
  """
  recipe = recipes.load("digits")
  text = [f"# Sketched task gradients of digits\n\n{describe()}.\n"]
  text.append("Error of the cosines between task gradients, over batches, draws of signs and pairs of tasks.\n")
  text.append(table(["k", "root mean square", "largest", "x sqrt(k)"], errors(recipe, powers, draws, batches)))
  text.append(
    f"\nPCGrad trained with exact inner products, and the difference that sketches make, over {seeds} seeds: test "
    "metrics, mean and its standard error.\n"
  )
  text.append(training(recipe, trained, seeds))
  write("sketch.md", "\n".join(text))


def errors(recipe: recipes.Recipe, powers: tuple[int, ...], draws: int, batches: int) -> list[list[str]]:
  """Of sketches of each length."""
  net, tasks = recipe.network(tuple(recipe.tasks)), recipe.tasks
  data = recipe.data(0).train
  balancer, tx = mtl.balance.pcgrad(), optax.adam(1e-3)
  losses = mtl.objective(net, tasks, recipe.inputs)
  batch_at = lambda i: {key: jnp.asarray(value[i * 128 : (i + 1) * 128]) for key, value in data.items()}  # noqa: E731
  state = mtl.init_train_state(net, tasks, balancer, tx, batch_at(0), jax.random.key(0), inputs=recipe.inputs)
  step = jax.jit(mtl.make_train_step(losses, balancer, tx))

  @jax.jit
  def gradients(params, net_state, batch):
    return rows(linearize(losses, params, net_state, batch, jax.random.key(0)), one_by_one=True)

  found: dict[int, list[np.ndarray]] = {power: [] for power in powers}
  for at in range(batches):
    jacobian = gradients(state.params, state.state, batch_at(0))
    exact = cosines(gram(jacobian))
    leaves = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(jacobian))}
    for power in powers:
      one = jax.jit(jax.vmap(lambda row, key, k=2**power: sketch(row, key, k), in_axes=(0, None)))
      for draw in range(draws):
        sketches = one(leaves, jax.random.key(1000 * at + draw))
        found[power].append(cosines(gram(sketches)) - exact)
    for i in range(40):
      state, _ = step(state, batch_at(i % (len(next(iter(data.values()))) // 128)))
  out = []
  for power, each in found.items():
    error = np.concatenate(each)
    root = float(np.sqrt(np.mean(error**2)))
    out.append([f"2^{power}", number(root), number(float(np.abs(error).max())), number(root * 2 ** (power / 2))])
  return out


def cosines(matrix: jax.Array) -> np.ndarray:
  """Those of all pairs."""
  g = np.asarray(matrix, np.float64)
  norms = np.sqrt(np.diag(g))
  return (g / norms[:, None] / norms[None, :])[np.triu_indices(len(g), 1)]


def training(recipe: recipes.Recipe, trained: tuple[int, ...], seeds: int) -> str:
  """Test metrics of the whole recipe by engine, and how far from the exact ones of the same seeds."""
  from mtl_jax.experiment import configure, train_run

  splits = recipe.data(0)
  metrics = [f"{name} {task.main_metric}" for name, task in recipe.tasks.items()]

  def test_of(seed: int, engine: str, *options: str) -> list[float]:
    experiment = configure("digits", balancer="pcgrad", engine=engine, engine_options=options, seed=seed)
    _, test = train_run(experiment, splits, run_dir=None, progress=False)
    return [test[name][task.main_metric] for name, task in recipe.tasks.items()]

  exact = np.array([test_of(seed, "stacked") for seed in range(seeds)])
  lines = [["exact", *(f"{mean:.4f} +- {error:.4f}" for mean, error in zip(*_mean(exact), strict=True))]]
  for power in trained:
    found = np.array([test_of(seed, "sketched", "--k", str(2**power)) for seed in range(seeds)]) - exact
    lines.append([f"2^{power}", *(f"{mean:+.4f} +- {error:.4f}" for mean, error in zip(*_mean(found), strict=True))])
  return table(["k", *metrics], lines)


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Over seeds, and its standard error."""
  return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


if __name__ == "__main__":
  tyro.cli(main)
