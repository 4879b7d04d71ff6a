"""Ways in which checkpoints on a disk come to harm, and what a restore then makes of them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

import mtl_jax as mtl
from mtl_jax.train.checkpoint import Checkpoints

STEPS = (20, 30)
"""Those of the two checkpoints that `train` leaves."""
KEPT = "the newest, as saved"
EARLIER = "the one before, as saved, with a warning"
REFUSED = "none, in one clear line"
FAULT = "anything else"
OUTCOMES = (KEPT, EARLIER, REFUSED, FAULT)


def train(run_dir: Path) -> dict[int, Any]:
  """Trains a small run with two checkpoints; returns what they hold, by step."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(200, 8)).astype(np.float32)
  data = {"x": x, "kind": (x[:, 0] > 0).astype(np.int32), "size": x[:, 1] * x[:, 2]}
  tasks = {"kind": mtl.tasks.classification("kind", num_classes=2), "size": mtl.tasks.regression("size")}
  heads = {"kind": mtl.from_linen(nn.Dense(2)), "size": mtl.from_linen(nn.Dense(1))}
  net, balancer, tx = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(32)), heads), mtl.balance.pcgrad(), optax.adam(1e-2)
  programs = mtl.train.compile_programs(net, tasks, balancer, tx, data)
  saved = {}
  for steps in STEPS:
    result = mtl.fit(
      net, tasks, balancer, tx, data, steps=steps, batch_size=32, valid=data, eval_every=10,
      run_dir=run_dir, resume=True, progress=False, loop=mtl.train.Loop(checkpoint_every=steps, programs=programs),
    )  # fmt: skip
    saved[steps] = {"train": result.state, "best": (result.params, result.net_state)}
  return saved


def outcome(checkpoints_dir: Path, saved: dict[int, Any]) -> str:
  """What a restore makes of the directory."""
  said: list[str] = []
  try:
    with Checkpoints(checkpoints_dir) as checkpoints:
      found = checkpoints.restore_newest(saved[STEPS[-1]], said.append)
  except mtl.UserError as error:
    return FAULT if "\n" in str(error) else REFUSED
  except Exception as error:
    return f"{FAULT}: {type(error).__name__}: {error}"
  if found is None or found[0] not in saved or _bytes(found[1]) != _bytes(saved[found[0]]):
    return FAULT
  if found[0] == STEPS[-1]:
    return KEPT
  return EARLIER if said and not any("\n" in line for line in said) else FAULT


def _bytes(tree: Any) -> list[bytes]:
  def plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

  return [np.asarray(plain(leaf)).tobytes() for leaf in jax.tree.leaves(tree)]


def _files(directory: Path) -> list[Path]:
  return sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)


def _truncate(directory: Path, rng: random.Random) -> None:
  path = rng.choice(_files(directory))
  path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def _flip(directory: Path, rng: random.Random) -> None:
  path = rng.choice(_files(directory))
  data = bytearray(path.read_bytes())
  data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  path.write_bytes(data)


def _flip_in_array(directory: Path, rng: random.Random) -> None:
  """In one of the largest files, which hold the numbers."""
  path = max(_files(rng.choice(sorted(directory.iterdir()))), key=lambda file: file.stat().st_size)
  data = bytearray(path.read_bytes())
  data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  path.write_bytes(data)


def _zeros(directory: Path, rng: random.Random) -> None:
  """A block that was never written."""
  path = rng.choice(_files(directory))
  data = bytearray(path.read_bytes())
  start = rng.randrange(len(data))
  data[start : start + 512] = bytes(len(data[start : start + 512]))
  path.write_bytes(data)


def _delete(directory: Path, rng: random.Random) -> None:
  rng.choice(_files(directory)).unlink()


def _delete_directory(directory: Path, rng: random.Random) -> None:
  shutil.rmtree(rng.choice(sorted(path for path in directory.glob("*/**/*") if path.is_dir())))


def _swap(a: Path, b: Path) -> None:
  aside = a.with_name("aside")
  a.rename(aside)
  b.rename(a)
  aside.rename(b)


def _swap_steps(directory: Path, rng: random.Random) -> None:
  _swap(*(directory / str(step) for step in STEPS))


def _swap_parts(directory: Path, rng: random.Random) -> None:
  part = rng.choice(["tree", "notes"])
  _swap(*(directory / str(step) / part for step in STEPS))


def _copy_part(directory: Path, rng: random.Random) -> None:
  """A part of one step over that of the other."""
  part = rng.choice(["tree", "notes"])
  source, target = rng.sample([directory / str(step) / part for step in STEPS], 2)
  shutil.rmtree(target)
  shutil.copytree(source, target)


def _rename(directory: Path, rng: random.Random) -> None:
  name = rng.choice(["10", "25", "40", "0030", "30.bak", "thirty"])
  (directory / str(rng.choice(STEPS))).rename(directory / name)


CORRUPTIONS: dict[str, Callable[[Path, random.Random], None]] = {
  "a file cut short": _truncate,
  "a bit flipped": _flip,
  "a bit of an array flipped": _flip_in_array,
  "512 bytes zero": _zeros,
  "a file deleted": _delete,
  "a directory deleted": _delete_directory,
  "two steps swapped": _swap_steps,
  "trees or notes of two steps swapped": _swap_parts,
  "tree or notes of another step": _copy_part,
  "a step renamed": _rename,
}
