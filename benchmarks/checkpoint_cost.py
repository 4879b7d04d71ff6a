"""What asynchronous checkpoints cost: `python benchmarks/checkpoint_cost.py`.

The same run of `multimnist` with a checkpoint at every 100th step and with none but the last, in turn, several times in
one process; times are of the steps between the first and the last checkpoint. Writes
`benchmarks/results/checkpoint_cost.md`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.experiment.config import configure, data_of
from mtl_jax.experiment.run import compile_run, fit_run


def main(recipe: str = "multimnist", steps: int = 600, every: int = 100, rounds: int = 3) -> None:
  """Measures.

  Args:
    recipe: What is trained.
    steps: Steps of a run, a multiple of `every`.
    every: Steps between checkpoints.
    rounds: Pairs of runs.
  """
  experiment = configure(recipe, steps=steps)
  splits = data_of(experiment)
  programs = compile_run(experiment, splits)

  def run(saved: int) -> float:
    """Seconds per step, with a checkpoint at every so many steps."""
    moments = []

    def stepping(state, batch):
      moments.append(time.perf_counter())
      return programs.step(state, batch)

    loop = mtl.train.Loop(programs=programs._replace(step=stepping), checkpoint_every=saved, log_every=every)
    with tempfile.TemporaryDirectory() as folder:
      fit_run(
        experiment, splits._replace(valid=None), run_dir=Path(folder, "run"), loop=loop, progress=False, score=None
      )
    return (moments[-1] - moments[every]) / (len(moments) - 1 - every)

  run(every)  # compiles
  pairs = [(run(steps), run(every)) for _ in range(rounds)]
  without, with_them = np.median(pairs, axis=0) * 1e3
  ratios = [b / a for a, b in pairs]
  rows = [
    [
      recipe,
      f"{without:.2f}",
      f"{with_them:.2f}",
      f"{np.median(ratios):.3f}",
      f"{min(ratios):.3f}",
      f"{max(ratios):.3f}",
    ]
  ]
  head = ["recipe", "ms a step without", f"with one per {every} steps", "median ratio", "least", "largest"]
  write("checkpoint_cost.md", f"# Checkpoints\n\n{__doc__}\n{describe()}\n\n{table(head, rows)}\n")
  print(table(head, rows))


if __name__ == "__main__":
  tyro.cli(main)
