"""The time of a training step: every engine beside equal weighting, interleaved in one run.

`python benchmarks/step_time.py --workloads mlp tox21 --tasks 8 32`; with `--peers` beside TorchJD (`pip install torch
torchjd`). Ratios are to the step of equal weighting of the same workload and number of tasks; the bound is that of T
backward passes in place of one, (1 + 2 T) / 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import number, table
from _torch_steps import peak_memory
from _torch_steps import steps as torch_steps
from _workloads import WORKLOADS, Workload

import mtl_jax as mtl

Step = Callable[[], Any]


def main(
  workloads: tuple[str, ...] = ("mlp", "cnn", "tox21", "transformer", "disjoint"),
  tasks: tuple[int, ...] = (2, 8, 32, 128),
  methods: tuple[str, ...] = ("pcgrad",),
  engines: tuple[str, ...] = ("stacked", "gram", "factored", "features", "every"),
  rounds: int = 15,
  budget: float = 60.0,
  peers: bool = False,
  out: str | None = None,
) -> None:
  """Prints a table a workload.

  Args:
    workloads: Which.
    tasks: The numbers of tasks T.
    methods: Balancers.
    engines: Engines; `every` refreshes each 10 steps with `gram`, which shows in its mean only.
    rounds: How often each step is timed, in turn with all others.
    budget: Seconds after which a workload's rounds end.
    peers: Also PyTorch with TorchJD and LibMTL's algorithm, on MLP workloads.
    out: Also write the tables to benchmarks/results/OUT.
  """
  versions = describe(*(("torch", "torchjd") if peers else ()))
  text = [f"Milliseconds a step, medians of up to {rounds} interleaved rounds. {versions}."]
  for name in workloads:
    rows = []
    for count in tasks:
      rows += measure(WORKLOADS[name](count), count, methods, engines, rounds, budget, peers)
    header = ["T", "method", "engine", "ms", "mean", "quartiles", "x equal", "x bound", "temp MiB"]
    text.append(f"\n## {name}: {WORKLOADS[name].__doc__}\n\n{table(header, rows)}")
  if out is None:
    print("\n".join(text))
  else:
    write(out, "# Time of a training step\n\n" + "\n".join(text))


def measure(
  workload: Workload,
  count: int,
  methods: tuple[str, ...],
  engines: tuple[str, ...],
  rounds: int,
  budget: float,
  peers: bool,
) -> list[list[str]]:
  """The rows of one workload and number of tasks."""
  made = {"every": lambda: mtl.engine.every(10, mtl.engine.gram())}
  candidates: dict[tuple[str, str], Step] = {}
  memory: dict[tuple[str, str], float] = {}
  if workload.inputs == "x":
    candidates["equal", "optax by hand"], memory["equal", "optax by hand"] = by_hand(workload)
  pairs = [("equal", "losses"), *((method, engine) for method in methods for engine in engines)]
  for method, engine in pairs:
    if engine == "features" and workload.inputs != "x":
      continue  # tasks with inputs of their own share no features
    step, temp = jax_step(workload, getattr(mtl.balance, method)(), made.get(engine, getattr(mtl.engine, engine))())
    candidates[method, engine], memory[method, engine] = step, temp
  if peers:
    for method in ("equal", *methods):
      for name, step in torch_steps(workload, method).items():
        candidates[method, name], memory[method, name] = step, peak_memory(step)
  times = interleaved(candidates, rounds, budget)
  equal, bound = np.median(times["equal", "losses"]), (1 + 2 * count) / 3
  rows = []
  for (method, engine), found in times.items():
    middle = float(np.median(found))
    low, high = np.quantile(found, [0.25, 0.75])
    temp = memory.get((method, engine))
    cells = [
      number(middle),
      number(float(np.mean(found))),
      f"{number(low)}-{number(high)}",
      number(middle / equal),
      number(middle / equal / bound),
    ]
    rows.append([str(count), method, engine, *cells, "-" if temp is None else f"{temp:.0f}"])
  return rows


def jax_step(workload: Workload, balancer: mtl.balance.Balancer, engine: mtl.engine.Engine) -> tuple[Step, float]:
  """A step of the library, and the temporary memory of its program in MiB."""
  tx = optax.adam(1e-3)
  net, tasks, batch, inputs = workload.net, workload.tasks, workload.batch, workload.inputs
  state = mtl.init_train_state(net, tasks, balancer, tx, batch, jax.random.key(0), inputs=inputs, engine=engine)
  step = jax.jit(mtl.make_train_step(mtl.objective(net, tasks, inputs), balancer, tx, engine), donate_argnums=0)
  compiled = step.lower(state, batch).compile()
  return _repeated(compiled, state, batch), _temporary(compiled)


def by_hand(workload: Workload) -> tuple[Step, float]:
  """Equal weighting as one would write it without the library: a jitted sum of losses and optax."""
  tx, net, batch = optax.adam(1e-3), workload.net, workload.batch
  params, net_state = net.init(jax.random.key(0), batch["x"])

  def loss(params, batch):
    predictions, _ = net.apply(params, net_state, batch["x"], train=True)
    return sum(jnp.mean(task.loss(predictions[name], batch)) for name, task in workload.tasks.items())

  def step(state, batch):
    params, opt_state = state
    value, grads = jax.value_and_grad(loss)(params, batch)
    updates, opt_state = tx.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), value

  compiled = jax.jit(step, donate_argnums=0).lower((params, tx.init(params)), batch).compile()
  return _repeated(compiled, (params, tx.init(params)), batch), _temporary(compiled)


def _temporary(compiled: Any) -> float:
  return compiled.memory_analysis().temp_size_in_bytes / 2**20


def _repeated(compiled: Any, state: Any, batch: Any) -> Step:
  def step():
    nonlocal state
    state, metrics = compiled(state, batch)
    jax.block_until_ready((state, metrics))

  return step


def interleaved(
  candidates: dict[tuple[str, str], Step], rounds: int, budget: float
) -> dict[tuple[str, str], list[float]]:
  """Milliseconds of each step, one of each a round, after two to warm up."""
  times: dict[tuple[str, str], list[float]] = {key: [] for key in candidates}
  for step in candidates.values():
    step()
    step()
  begin = time.perf_counter()
  for done in range(rounds):
    if done >= 3 and time.perf_counter() - begin > budget:
      break
    for key, step in candidates.items():
      start = time.perf_counter()
      step()
      times[key].append(1e3 * (time.perf_counter() - start))
  return times


if __name__ == "__main__":
  tyro.cli(main)
