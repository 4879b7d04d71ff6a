"""Every architecture on digits and on a census, against single-task training; and how fast experts run.

`MTL_JAX_DATA=FOLDER python benchmarks/architectures.py`, where the folder holds `adult/adult_train.csv.gz` and
`adult/adult_test.csv.gz` (UCI Adult with a header line), an hour or so on two cores.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import time
from pathlib import Path

import _census
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.analysis.plots import standard_error
from mtl_jax.experiment.options import without_options

# The first stage of both trunks is shared where experts could be copies of it too: they start from features.
OPTIONS = {"shared_stages": 1}


def architectures() -> dict[str, mtl.arch.Architecture]:
  """All that need no options, by their names."""
  found = {}
  for name in without_options(mtl.arch):
    function = getattr(mtl.arch, name)
    options = {key: value for key, value in OPTIONS.items() if key in inspect.signature(function).parameters}
    found[name] = functools.partial(function, **options)
  return found


def compared(name: str, seeds: int, steps: int, kept: Path) -> str:
  """The table of one data set; finished ones are kept, so that an interrupted run goes on."""
  file = kept / f"{name}-{seeds}-{steps}.json"
  if not file.exists():
    recipe = _census.recipe() if name == "census" else name
    out = mtl.compare(recipe, ["equal"], architectures(), seeds=seeds, steps=steps, skip=True, progress=False)
    kept.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"metrics": out.metrics, "methods": [m._asdict() for m in out.methods]}))
  found = json.loads(file.read_text())
  heading = [
    "architecture",
    *(f"{t}: {m}" for t, m in found["metrics"].items()),
    "Delta_m %",
    "ms a step",
    "parameters",
  ]
  rows = []
  for method in found["methods"]:
    cells = [_cell(method["scores"][task], 3) for task in found["metrics"]]
    change = "" if method["name"] == "single-task" else _cell(method["delta_m"], 2)
    rows.append([method["name"], *cells, change, f"{1e3 * method['step_seconds']:.1f}", f"{method['parameters']:,}"])
  return table(heading, rows)


def _cell(values: list[float], digits: int) -> str:
  return f"{np.mean(values):.{digits}f} +- {standard_error(values):.{digits}f}"


def speed(experts: int = 8, width: int = 512, batch: int = 1024, rounds: int = 9) -> str:
  """The FLOP rate of gradients of MMoE against that of one dense trunk with the same FLOPs, in turns."""
  wide = int((-width + (width**2 + 8 * experts * width**2) ** 0.5) / 2)  # width * w + w^2 = experts * 2 width^2
  heads = {f"t{i}": mtl.from_linen(mtl.nn.MLP((), 1)) for i in range(3)}
  tasks = {name: mtl.tasks.regression(name) for name in heads}
  data = {name: jnp.zeros(batch) for name in heads} | {"x": jax.random.normal(jax.random.key(0), (batch, width))}
  nets = {
    f"mmoe, {experts} experts of {width}-{width}": mtl.arch.mmoe(
      mtl.from_linen(mtl.nn.MLP((width, width))), heads, experts=experts
    ),
    f"hard_sharing, {wide}-{wide}": mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((wide, wide))), heads),
  }
  programs, times = {}, {name: [] for name in nets}
  for name, net in nets.items():
    params, state = net.init(jax.random.key(1), data["x"])
    losses = mtl.objective(net, tasks)
    total = jax.grad(lambda p, s, b, losses=losses: sum(losses(p, s, b)[0].values()))
    compiled = jax.jit(total).lower(params, state, data).compile()
    programs[name] = (functools.partial(compiled, params, state, data), compiled.cost_analysis()["flops"])
  for _ in range(rounds + 1):
    for name, (run, _) in programs.items():
      begun = time.perf_counter()
      jax.block_until_ready(run())
      times[name].append(time.perf_counter() - begun)
  rates = {name: np.array([flops / t for t in times[name][1:]]) / 1e9 for name, (_, flops) in programs.items()}
  ours, dense = rates.values()
  rows = [
    [name, f"{programs[name][1] / 1e9:.2f}", f"{1e3 * np.median(times[name][1:]):.1f}", f"{np.median(rate):.1f}"]
    for name, rate in rates.items()
  ]
  return table(["net", "GFLOP", "ms", "GFLOP/s"], rows) + f"\n\nRatio of the rates: {np.median(ours / dense):.2f}."


def main(seeds: int = 3, digits_steps: int = 500, census_steps: int = 500, kept: Path = Path("runs/architectures")):
  """Runs all, and writes `benchmarks/results/architectures.md`.

  Args:
    seeds: Runs of each network.
    digits_steps: Their steps on digits.
    census_steps: Their steps on the census.
    kept: Where finished parts are kept.
  """
  text = f"""# Architectures

`MTL_JAX_DATA=FOLDER python benchmarks/architectures.py`

{describe()}; load average {os.getloadavg()[0]:.1f}. Equal weights, the recipe's own trunk, heads and learning rate for
every architecture, each with its default options (the first stage of the trunk shared where there are experts). Test
scores of the model that was best on validation data, mean and standard error over {seeds} seeds. Delta_m against
single-task training of the same trunk, steps and seeds; lower is better. Times were taken one network after the other,
on a machine that others use too: they are no comparison closer than a factor of 1.5, and outliers are the others'.

`ltb` and `adashare` choose by temperatures that by default fall over 10 000 steps, so after {census_steps} they are
judged by choices that they have hardly tried: give them `temperature=` for short trainings. Left out where they do
not fit: `adashare` needs stages of one shape, `esmm` and `aitm` binary tasks, `prompt` sequences.

## digits, {digits_steps} steps of 128 examples

{compared("digits", seeds, digits_steps, kept)}

## Census (UCI Adult), {census_steps} steps of 256 people

{compared("census", seeds, census_steps, kept)}

## How fast experts run

Gradients of three losses with respect to all parameters, batch 1024, in turns, medians:

{speed()}
"""
  write("architectures.md", text)


if __name__ == "__main__":
  tyro.cli(main)
