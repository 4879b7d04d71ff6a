"""Hundreds of tasks: steps against steps written by hand for them, the first step, evaluation, and a whole training.

`python benchmarks/many_tasks.py`, some minutes. Each figure is taken in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from _machine import describe, write
from _markdown import table

import mtl_jax as mtl
from mtl_jax.balance import Stats

FEATURES = 28
TRUNK, HEAD = mtl.from_linen(mtl.nn.MLP((64,), 32)), mtl.from_linen(mtl.nn.MLP((), 1))


def schools(count: int, low: int, high: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
  """Tasks with examples of their own: a linear truth of rank 3, and noise."""
  truth = np.random.default_rng(0).normal(size=(count, 3)) @ np.random.default_rng(1).normal(size=(3, FEATURES))
  rng, found = np.random.default_rng(seed), {}
  for i in range(count):
    x = rng.normal(size=(rng.integers(low, high), FEATURES)).astype(np.float32)
    found[f"s{i:03d}"] = {"x": x, "y": (x @ truth[i] + 0.1 * rng.normal(size=len(x))).astype(np.float32)}
  return found


def net_of(names: list[str]) -> mtl.Net:
  """A trunk of two layers, linear heads."""
  return mtl.arch.hard_sharing(TRUNK, dict.fromkeys(names, HEAD))


def own_examples(method: str, count: int, size: int, started: float) -> dict[str, float]:
  """Tasks with `size` examples of their own each in a step."""
  data = schools(count, 80, 120, 2)
  names, balancer, tx = list(data), getattr(mtl.balance, method)(), optax.adam(1e-3)
  tasks, net = {name: mtl.tasks.regression("y") for name in names}, net_of(names)
  mixture = mtl.data.mixture(data, sizes=size)
  programs = mtl.train.compile_programs(net, tasks, balancer, tx, mixture)
  batch = next(iter(mtl.data.batches(mixture, count * size, sharding=jax.devices()[0])))
  state = programs.create(jax.random.key(0))
  x, y = (jnp.stack([batch[f"{name}/{key}"] for name in names]) for key in ("x", "y"))
  params = by_hand(state.params)
  state, metrics = programs.step(state, batch)
  jax.block_until_ready(metrics)
  found = {"first": time.time() - started}

  def loss(shared, head, x, y):
    features = TRUNK.apply(shared, {}, x)[0]
    return jnp.mean((HEAD.apply(head, {}, features)[0][:, 0] - y) ** 2)

  def step(state, x, y):
    params, opt_state, own = state
    if method == "equal":
      total = lambda p: jax.vmap(loss, (None, 0, 0, 0))(p["shared"], p["task"], x, y).sum()  # noqa: E731
      grads = jax.grad(total)(params)
    else:
      each = jax.vmap(jax.value_and_grad(loss, argnums=(0, 1)), (None, 0, 0, 0))
      losses, (rows, heads) = each(params["shared"], params["task"], x, y)
      flat = jnp.concatenate([leaf.reshape(count, -1) for leaf in jax.tree.leaves(rows)], axis=1)
      weights, own = balancer.weigh(Stats(losses, flat @ flat.T), own)
      grads = {"shared": jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), rows), "task": heads}
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, own

  hand = jax.jit(step, donate_argnums=0)
  start = (params, tx.init(params), balancer.init(count, params["shared"]))
  found |= side_by_side(lambda s: programs.step(s, batch)[0], state, lambda s: hand(s, x, y), start)
  valid = schools(count, 19, 24, 3)
  trained = programs.create(jax.random.key(0))
  times = []
  for _ in range(4):
    begun = time.time()
    programs.evaluate(trained.params, trained.state, valid)
    times.append(time.time() - begun)
  return found | {"first evaluation": times[0], "evaluation": float(np.median(times[1:]))}


def one_input(method: str, count: int, size: int, started: float) -> dict[str, float]:
  """Tasks that label the same examples, against a network with one wide head."""
  rng = np.random.default_rng(0)
  names, balancer, tx = [f"t{i:03d}" for i in range(count)], getattr(mtl.balance, method)(), optax.adam(1e-3)
  data = {"x": rng.normal(size=(2000, FEATURES)).astype(np.float32)}
  truth = rng.normal(size=(FEATURES, count)).astype(np.float32)
  data |= {name: data["x"] @ truth[:, i] for i, name in enumerate(names)}
  tasks, net = {name: mtl.tasks.regression(name) for name in names}, net_of(names)
  programs = mtl.train.compile_programs(net, tasks, balancer, tx, data)
  batch = next(iter(mtl.data.batches(data, size, sharding=jax.devices()[0])))
  state = programs.create(jax.random.key(0))
  begun = time.time()
  state, metrics = programs.step(state, batch)
  jax.block_until_ready(metrics)
  found = {"first": time.time() - started, "compilation": time.time() - begun}
  wide = mtl.from_linen(mtl.nn.MLP((), count))
  x, y = batch["x"], jnp.stack([batch[name] for name in names], axis=1)
  shared, _ = TRUNK.init(jax.random.key(0), x)
  head, _ = wide.init(jax.random.key(1), TRUNK.apply(shared, {}, x)[0])

  def step(state, x, y):
    params, opt_state = state

    def total(p):
      features = TRUNK.apply(p["shared"], {}, x)[0]
      return jnp.mean((wide.apply(p["task"], {}, features)[0] - y) ** 2, axis=0).sum()

    updates, opt_state = tx.update(jax.grad(total)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  hand, params = jax.jit(step, donate_argnums=0), {"shared": shared, "task": head}
  return found | side_by_side(
    lambda s: programs.step(s, batch)[0], state, lambda s: hand(s, x, y), (params, tx.init(params))
  )


def whole(method: str, count: int, size: int, started: float) -> dict[str, float]:
  """A training of 1500 steps with ten evaluations, from the start of the program."""
  data, valid = schools(count, 80, 120, 2), schools(count, 19, 24, 3)
  tasks = {name: mtl.tasks.regression("y") for name in data}
  mixture, begun = mtl.data.mixture(data, sizes=size), time.time()
  result = mtl.fit(
    net_of(list(data)), tasks, method, optax.adam(3e-3), mixture, valid=valid, steps=1500, progress=False
  )
  return {"fit": time.time() - begun, "whole": time.time() - started, "step": 1e3 * result.step_seconds}


def by_hand(params: dict) -> dict:
  """Copies of the parameters, heads along a leading axis."""
  heads = [params["task"][name] for name in params["task"]]
  return {
    "shared": jax.tree.map(jnp.copy, params["shared"]),
    "task": jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads),
  }


def side_by_side(ours, state, theirs, start, rounds: int = 7, steps: int = 60) -> dict[str, float]:
  """Median milliseconds a step of both, in turns, after a first round."""
  times = ([], [])
  states = [state, start]
  for _ in range(rounds + 1):
    for i, step in enumerate((ours, theirs)):
      begun = time.perf_counter()
      for _ in range(steps):
        states[i] = step(states[i])
      jax.block_until_ready(states[i])
      times[i].append(1e3 * (time.perf_counter() - begun) / steps)
  one, other = (float(np.median(each[1:])) for each in times)
  return {"step": one, "by hand": other, "ratio": float(np.median([a / b for a, b in zip(*times, strict=True)][1:]))}


KINDS = {"own": own_examples, "one": one_input, "whole": whole}


def measured(kind: str, method: str, count: int, size: int) -> dict[str, float]:
  """The figures of one case, from a process of its own."""
  command = [sys.executable, __file__, "--kind", kind, "--method", method, "--count", str(count), "--size", str(size)]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  print(kind, method, done.stdout.strip().splitlines()[-1], flush=True)
  return json.loads(done.stdout.strip().splitlines()[-1])


def main(kind: str | None = None, method: str = "equal", count: int = 139, size: int = 8) -> None:
  """Writes benchmarks/results/many_tasks.md; with `kind` prints the figures of one case.

  Args:
    kind: `own`, `one` or `whole`.
    method: The balancer.
    count: T.
    size: Examples a step, of each task or of all.
  """
  if kind is not None:
    print(json.dumps(KINDS[kind](method, count, size, _STARTED)))
    return
  own = {name: measured("own", name, 139, 8) for name in ("equal", "nash", "pcgrad")}
  one = {name: measured("one", name, 617, 128) for name in ("equal",)}
  runs = {name: measured("whole", name, 139, 8) for name in ("equal", "pcgrad")}
  number = "{:.2f}".format
  heading = ["method", "step", "by hand", "ratio", "import to first step", "first evaluation", "evaluation"]
  keys = ["step", "by hand", "ratio", "first", "first evaluation", "evaluation"]
  wide = ["method", "step", "one wide head", "ratio", "compilation of the step", "import to first step"]
  wide_keys = ["step", "by hand", "ratio", "compilation", "first"]
  text = f"""# Hundreds of tasks

`python benchmarks/many_tasks.py`

{describe()}; load average {os.getloadavg()[0]:.1f}. Steps in ms, medians of 7 rounds of 60 steps in turns with the step
by hand, the ratio that of the rounds; all else in seconds. MLP 28-64-32, linear heads, Adam.

139 tasks with 8 examples of their own each a step, against `jax.vmap` over the tasks, by hand; evaluation of some 3000
examples:

{table(heading, [[name, *(number(found[key]) for key in keys)] for name, found in own.items()])}

617 tasks on one input, 128 examples, against a network with one head of 617 outputs:

{table(wide, [[name, *(number(found[key]) for key in wide_keys)] for name, found in one.items()])}

`fit` of the 139 tasks, 1500 steps and ten evaluations, data in memory:

{table(["method", "fit", "from import"], [[n, number(f["fit"]), number(f["whole"])] for n, f in runs.items()])}
"""
  write("many_tasks.md", text)


_STARTED = time.time() - time.process_time()  # of the process, imports included

if __name__ == "__main__":
  tyro.cli(main)
