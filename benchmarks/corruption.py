"""Whether checkpoints that came to harm on the disk are ever believed: random damage, and what is restored then.

`python benchmarks/corruption.py`, a minute or two.
"""

from __future__ import annotations

import collections
import random
import shutil
import tempfile
from pathlib import Path

import tyro
from _corruptions import CORRUPTIONS, FAULT, OUTCOMES, outcome, train
from _machine import describe, write
from _markdown import table


def main(count: int = 200, seed: int = 0) -> None:
  """Writes benchmarks/results/corruption.md.

  Args:
    count: Damaged copies of a run's checkpoints.
    seed: Of the damage.
  """
  found: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in CORRUPTIONS}
  with tempfile.TemporaryDirectory() as scratch:
    run_dir, copy = Path(scratch) / "run", Path(scratch) / "copy"
    saved = train(run_dir)
    for number in range(count):
      rng = random.Random(f"{seed} {number}")
      name = list(CORRUPTIONS)[number % len(CORRUPTIONS)]
      shutil.copytree(run_dir / "checkpoints", copy / "checkpoints")
      CORRUPTIONS[name](copy / "checkpoints", rng)
      result = outcome(copy / "checkpoints", saved)
      if result.startswith(FAULT):
        print(f"number {number}, {name}: {result}")
      found[name][FAULT if result.startswith(FAULT) else result] += 1
      shutil.rmtree(copy)
  total = sum(found.values(), collections.Counter())
  lines = [[name, *(str(each[key]) for key in OUTCOMES)] for name, each in [*found.items(), ("all", total)]]
  write(
    "corruption.md",
    f"# Damaged checkpoints\n\n`python benchmarks/corruption.py --count {count} --seed {seed}`\n\n{describe()}.\n\n"
    f"{count} damaged copies of a run with the checkpoints of two steps. What was restored, compared bit by bit with "
    "what was saved:\n\n" + table(["damage", *OUTCOMES], lines),
  )


if __name__ == "__main__":
  tyro.cli(main)
