"""What a step of each recipe costs here, and what it would need on eight TPU v5e: `python benchmarks/recipe_costs.py`.

Each recipe runs in a process of its own, `MTL_JAX_DATA` names the folder with the data. Writes
`benchmarks/results/recipe_costs.md`; with `--kept FOLDER` recipes whose figures are there are not measured again.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from _machine import describe, write
from _markdown import number, table
from _options import words_of

import mtl_jax as mtl
from mtl_jax.experiment.config import configure, data_of, in_step, problem_of
from mtl_jax.experiment.planning import plan_run

CASES = (
  *("digits", "multimnist", "detect_classify", "detect_classify data=bccd", "attention_transfer"),
  *("nyuv2", "office31", "tox21", "qm9", "census"),
  *("joint_nlu", "joint_nlu data=snips", "parse", "sentences", "sentences pretrained=False", "image_text"),
  "speech_language",
)
TOPOLOGY = "v5e:2x4"
DEVICES = math.prod(map(int, TOPOLOGY.partition(":")[2].split("x")))
STEPS = 5
LOOKED_AT = 50
"""Batches in which padding is counted."""


def main(cases: tuple[str, ...] = CASES, balancer: str = "pcgrad", kept: Path | None = None, one: str = "") -> None:
  """Measures, and writes the table.

  Args:
    cases: Recipes, with options such as `data=bccd`.
    balancer: What they are trained with.
    kept: A directory that keeps figures.
    one: Measures this part of one recipe here, `here:RECIPE` or `plan:RECIPE`, and prints its figures.
  """
  if one:
    part, _, case = one.partition(":")
    print(json.dumps({"here": here, "plan": planned}[part](case, balancer)))
    return
  folder = kept or Path(tempfile.mkdtemp())
  folder.mkdir(exist_ok=True)
  rows = []
  for case in cases:
    file = folder / f"{case.replace(' ', '-')}.json"
    if not file.exists():
      found: dict[str, Any] = {}
      for part in ("here", "plan"):
        words = [sys.executable, __file__, "--one", f"{part}:{case}", "--balancer", balancer]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        found |= json.loads(done.stdout.strip().splitlines()[-1])
      file.write_text(json.dumps(found))
    rows.append((case, json.loads(file.read_text())))
  write("recipe_costs.md", page(rows, balancer))


def experiment_of(case: str, balancer: str, **options: Any) -> Any:
  """The recipe with its options, as the command line has it."""
  name, *own = case.split()
  return configure(name, recipe_options=words_of(own), balancer=balancer, **options)


def here(case: str, balancer: str) -> dict[str, Any]:
  """The median time of a step on this machine, batches from memory, and the memory of the compiled step."""
  experiment = experiment_of(case, balancer)
  splits = data_of(experiment)
  problem = in_step(problem_of(experiment, mtl.data.describe(splits.train, splits.about)), splits.train)
  config, transform = experiment.config, experiment.recipe.transform
  tx = experiment.recipe.optimizer(config.learning_rate, config.steps)
  batches = iter(mtl.data.batches(splits.train, config.batch_size))
  tokens = [tokens_of(next(batches)) for _ in range(LOOKED_AT)]
  batch = jax.tree.map(jax.numpy.asarray, next(batches))
  of_step = {"inputs": problem.inputs}
  state = mtl.init_train_state(problem.net, problem.tasks, experiment.balancer, tx, batch, jax.random.key(0), **of_step)
  step = mtl.make_train_step(mtl.objective(problem.net, problem.tasks, problem.inputs), experiment.balancer, tx)

  def whole(state: Any, batch: Any) -> Any:
    moved = batch if transform is None else transform(batch, jax.random.fold_in(state.key, state.step))
    return step(state, moved)

  lowered = jax.jit(whole, donate_argnums=0).lower(state, batch)
  compiled = lowered.compile()
  text, seconds = compiled.as_text() or "", []
  for _ in range(STEPS + 1):
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(compiled(state, batch))
    seconds.append(time.perf_counter() - begun)
  median, memory = float(np.median(seconds[1:])), compiled.memory_analysis()
  count, (real, places) = config.batch_size, np.sum(tokens, axis=0)
  return {
    **{"batch": count, "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params))},
    **{"ms": 1e3 * median, "rate": count / median, "MiB": memory.temp_size_in_bytes / 2**20},
    **({"tokens": real / LOOKED_AT / median, "padding": 1 - real / places} if places else {}),
    "host": sum(text.count(word) for word in ("callback", "infeed", "outfeed")),
  }


def tokens_of(batch: Any) -> tuple[int, int]:
  """The tokens in a batch of packed sentences, and the places for them."""
  leaves = jax.tree_util.tree_leaves_with_path(batch)
  found = [np.asarray(leaf) for path, leaf in leaves if str(getattr(path[-1], "key", "")) == "segments"]
  return sum(int(np.sum(one > 0)) for one in found), sum(one.size for one in found)


def planned(case: str, balancer: str) -> dict[str, Any]:
  """What the step would need on the topology, with the engine that is chosen there; the batch is one that divides."""
  jax.config.update("jax_platforms", "cpu")
  batch = -(-experiment_of(case, balancer).config.batch_size // DEVICES) * DEVICES
  (report,) = plan_run(experiment_of(case, balancer, batch_size=batch), TOPOLOGY, [mtl.engine.auto()])
  found = report.as_json()
  return {
    "fits": found["fits"],
    "device MiB": sum(found["memory"].values()) / 2**20 if found["memory"] else None,
    "sent MB": sum(one["sent"] for one in found["collectives"]) / 1e6,
    "predicted ms": found["roofline"] and 1e3 * found["roofline"]["seconds"],
    "bound": found["roofline"] and found["roofline"]["bound"],
  }


def page(rows: list[tuple[str, dict[str, Any]]], balancer: str) -> str:
  """The page."""
  header = [
    *("recipe", "batch", "parameters", "step, ms", "examples/s", "tokens/s", "padding", "MiB"),
    *("v5e: MiB", "sent, MB", "ms", "bound by"),
  ]
  lines = [
    [
      *(case, f"{own['batch']}", f"{own['parameters']:,}", number(own["ms"]), number(own["rate"])),
      *((number(own["tokens"]), f"{100 * own['padding']:.1f} %") if "tokens" in own else ("", "")),
      number(own["MiB"]),
      number(own["device MiB"]) if own["fits"] else "does not fit",
      *(number(own["sent MB"]), number(own["predicted ms"]), own["bound"]),
    ]
    for case, own in rows
  ]
  asked = [case for case, own in rows if own["host"]]
  told = f"Steps that ask the host for something: {', '.join(asked) or 'none'}."
  return (
    f"# What a step of a recipe costs\n\n`python benchmarks/recipe_costs.py`, {balancer}, the engine chosen by itself."
    f"\n\n{describe('flax')}. Median of {STEPS} steps, augmentation included; MiB are temporary memory. Examples of "
    f"recipes of text are rows, which hold several sentences; padding is the share of places without a token, in "
    f"{LOOKED_AT} batches. Then, for one device of {TOPOLOGY}, eight TPU v5e, the batch, or the next multiple of "
    "eight, divided among them: the memory of the program, what is sent in a step, and the time of a step by a "
    f"roofline, which real steps are slower than.\n\n{table(header, lines)}\n\n"
    f"{told}"
  )


if __name__ == "__main__":
  tyro.cli(main)
