"""Examples per second of each source of data, and the share of training time that waits for them.

`python benchmarks/input_pipeline.py`, minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _machine import describe, write
from _markdown import number, table

import mtl_jax as mtl
from mtl_jax import recipes
from mtl_jax.data import source
from mtl_jax.train.clock import waiting_for_data


def main(steps: int = 60, batch_size: int = 128, batches: int = 30) -> None:
  """Writes benchmarks/results/input_pipeline.md.

  Args:
    steps: Of the training on each source.
    batch_size: Examples per step.
    batches: Batches that are read, after ten, to count examples.
  """
  recipe = recipes.load("digits")
  arrays = {key: np.asarray(values) for key, values in recipe.data(0).train.items()}
  tx = recipe.optimizer(recipe.learning_rate, steps)
  balancer = mtl.balance.pcgrad()
  net = recipe.network(tuple(recipe.tasks))
  programs = mtl.train.compile_programs(net, recipe.tasks, balancer, tx, arrays, inputs=recipe.inputs)
  lines = []
  with tempfile.TemporaryDirectory() as directory:
    for name, data in sources(Path(directory), arrays, batch_size).items():
      speed = examples_per_second(data, batch_size, batches)
      loop = mtl.train.Loop(log_every=10, programs=programs)
      result = mtl.fit(
        net, recipe.tasks, balancer, tx, data, inputs=recipe.inputs, steps=steps, batch_size=batch_size, progress=False,
        loop=loop,
      )  # fmt: skip
      waiting = waiting_for_data(result.history)
      first = float(lines[0][1].replace(",", "")) if lines else speed
      cells = [f"{speed:,.0f}", number(speed / first), f"{1e3 * result.step_seconds:.1f}", f"{waiting:.1%}"]
      lines.append([name, *cells])
      print(lines[-1], flush=True)
  heading = ["source", "examples a second", "of arrays in memory", "step in ms", "waiting for data"]
  write(
    "input_pipeline.md",
    f"# Sources of data\n\n`python benchmarks/input_pipeline.py --steps {steps}`\n\n"
    f"{describe('grain', 'pyarrow', 'array_record')}; load average "
    f"{os.getloadavg()[2]:.0f}.\n\nThe {len(arrays['x'])} training examples of `digits`, "
    f"batches of {batch_size} in shuffled order. *Examples a second*: batches drawn as fast as they come, on the "
    "host. "
    f"*Waiting for data*: the share of the time of {steps} PCGrad steps of the recipe's network in which the device "
    "had nothing to do since the next batch was not there; batches are read and placed by a thread, two ahead.\n\n"
    + table(heading, lines),
  )


def sources(directory: Path, arrays: Mapping[str, np.ndarray], batch_size: int) -> dict[str, Any]:
  """The same examples in memory and in every kind of file."""
  import grain
  import pyarrow as pa
  import pyarrow.parquet
  from array_record.python.array_record_module import ArrayRecordWriter
  from flax.serialization import msgpack_serialize

  (directory / "npy").mkdir()
  for key, values in arrays.items():
    np.save(directory / "npy" / f"{key}.npy", values)
  np.savez(directory / "data.npz", **dict[str, Any](arrays))
  examples = [{key: values[i] for key, values in arrays.items()} for i in range(len(arrays["x"]))]
  writer = ArrayRecordWriter(str(directory / "data.array_record"), "group_size:1")
  for example in examples:
    writer.write(msgpack_serialize(example))
  writer.close()
  pyarrow.parquet.write_table(
    pa.table({key: column(values) for key, values in arrays.items()}), directory / "data.parquet", row_group_size=256
  )
  columns = source.parquet(directory / "data.parquet")
  shapes = {key: values.shape[1:] for key, values in arrays.items()}
  assert {key: leaf.shape for key, leaf in columns.spec.items()} == shapes
  return {
    "arrays in memory": dict(arrays),
    "`npy`": source.npy(directory / "npy"),
    "`npz`": source.npz(directory / "data.npz"),
    "`parquet`": columns,
    "`array_record`": source.array_record(directory / "data.array_record"),
    "`grain.MapDataset`": grain.MapDataset.source(examples),
    "`mapped`, noise in numpy": source.mapped(arrays, noisy),
    "`mapped`, one worker process": source.mapped(arrays, noisy, workers=1),
    "`stream`": source.stream(lambda: iter(mtl.data.batches(arrays, batch_size))),
  }


def column(values: np.ndarray) -> Any:
  """A column of numbers, or of lists of lists of a fixed size."""
  import pyarrow as pa

  found = pa.array(values.ravel())
  for size in reversed(values.shape[1:]):
    found = pa.FixedSizeListArray.from_arrays(found, size)
  return found


def noisy(example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
  x = example["x"]
  return {**example, "x": x + rng.normal(scale=0.1, size=x.shape).astype(x.dtype)}


def examples_per_second(data: Any, batch_size: int, batches: int) -> float:
  """How many examples a second the batches of a source hold, drawn as fast as they come."""
  iterator = iter(mtl.data.batches(data, batch_size))
  for _ in range(10):
    next(iterator)
  begin = time.perf_counter()
  for _ in range(batches):
    next(iterator)
  seconds = time.perf_counter() - begin
  iterator.close()
  return batches * batch_size / seconds


if __name__ == "__main__":
  tyro.cli(main)
