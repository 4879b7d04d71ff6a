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
from mtl_jax.balance._gram import gram
from mtl_jax.engine._linearize import linearize
from mtl_jax.engine._rows import rows
from mtl_jax.engine.sketched import sketch


def main(
  powers: tuple[int, ...] = (10, 11, 12, 13, 14, 15, 16), draws: int = 20, batches: int = 5, seeds: int = 3
) -> None:
  """Writes benchmarks/results/sketch.md.

  Args:
    powers: Sketches of length 2 ** power.
    draws: Draws of random signs a batch.
    batches: Training steps at which gradients are looked at, 40 steps apart.
    seeds: Trainings an engine.
  """
  recipe = recipes.load("digits")
  text = [f"# Sketched task gradients of digits\n\n{describe()}.\n"]
  text.append("Error of the cosines between task gradients, over batches, draws of signs and pairs of tasks.\n")
  text.append(table(["k", "root mean square", "largest", "x sqrt(k)"], errors(recipe, powers, draws, batches)))
  text.append(
    f"\nPCGrad trained with exact and with sketched inner products, {seeds} seeds: mean and spread on test.\n"
  )
  text.append(training(recipe, seeds))
  write("sketch.md", "\n".join(text))


def errors(recipe: recipes.Recipe, powers: tuple[int, ...], draws: int, batches: int) -> list[list[str]]:
  """Of sketches of each length."""
  net, tasks = recipe.net(tuple(recipe.tasks)), recipe.tasks
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


def training(recipe: recipes.Recipe, seeds: int) -> str:
  """Test metrics of the whole recipe by engine."""
  from mtl_jax.recipes._run import configure, train_run

  splits = recipe.data(0)
  engines = {"stacked": (), "sketched": ("--k", "1024")}
  lines = []
  for engine, options in engines.items():
    each: dict[str, list[float]] = {}
    for seed in range(seeds):
      config = configure(recipe="digits", balancer="pcgrad", engine=engine, engine_options=options, seed=seed)
      _, test = train_run(config, splits, run_dir=None, progress=False)
      for name, task in recipe.tasks.items():
        each.setdefault(f"{name} {task.main_metric}", []).append(test[name][task.main_metric])
    cells = [f"{np.mean(values):.4f} +- {np.std(values):.4f}" for values in each.values()]
    lines.append([engine if not options else "sketched(1024)", *cells])
  return table(["engine", *each], lines)


if __name__ == "__main__":
  tyro.cli(main)
