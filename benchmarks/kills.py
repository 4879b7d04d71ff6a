"""Runs killed at random moments end as if nobody had killed them: `python benchmarks/kills.py`, half an hour.

Each run is killed by SIGKILL, which no program hears, at random moments of its steps, saves and evaluations, until it
has been killed as often as asked for, and then left to end. Its last state and its best model, to the bit, are compared
with those of a run that was left alone. Writes `benchmarks/results/kills.md`.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro
from _machine import describe, write
from _markdown import table

JOB = str(Path(__file__).with_name("_kills_job.py"))
KINDS = {
  "one process": ("arrays", 1, 30),
  "one process, three sources": ("mixture", 1, 10),
  "two processes": ("arrays", 2, 10),
}


def main(runs: int | None = None, kills: int = 2, seed: int = 0) -> None:
  """Kills them.

  Args:
    runs: Of each kind; None: 50 in all.
    kills: How often each run is killed.
    seed: Of the moments.
  """
  rng, rows = random.Random(seed), []
  for name, (kind, count, own) in KINDS.items():
    wanted, equal, moments, steps = runs or own, 0, [], []
    with tempfile.TemporaryDirectory() as folder:
      whole = left_alone(kind, count, Path(folder, "whole"))
      length = size(Path(folder, "whole"))
      for number in range(wanted):
        place = Path(folder, f"run{number}")
        for share in sorted(rng.random() for _ in range(kills)):
          moments.append(kill(kind, count, place, share * length, rng.uniform(0.0, 0.1)))
          steps.append(newest(place))
        equal += left_alone(kind, count, place) == whole
    rows.append([name, str(wanted), str(sum(moments)), str(len(set(steps))), f"{equal} of {wanted}"])
    print(rows[-1], flush=True)
  head = ["runs", "number", "kills before the end", "different steps that they went on from", "equal to the bit"]
  write("kills.md", f"# Killed runs\n\n{__doc__}\n{describe()}\n\n{table(head, rows)}\n")


def start(kind: str, count: int, place: Path) -> list[subprocess.Popen[str]]:
  """The processes of a run."""
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
  words = [sys.executable, JOB, kind, str(count)]
  cache = {
    "JAX_COMPILATION_CACHE_DIR": str(place.parent / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": {**os.environ, **cache}}
  return [subprocess.Popen([*words, str(rank), str(port), str(place)], **quiet) for rank in range(count)]


def left_alone(kind: str, count: int, place: Path) -> list[str]:
  """The digests of a run that is not killed."""
  processes = start(kind, count, place)
  for process in processes:
    process.communicate()
  if any(process.returncode for process in processes):
    raise SystemExit(f"a run of {kind} failed: {[process.returncode for process in processes]}")
  return [Path(f"{place}.{rank}.digest").read_text() for rank in range(count)]


def kill(kind: str, count: int, place: Path, length: float, seconds: float) -> bool:
  """Kills one of the processes of a run some seconds after its log is so long; whether it had not ended by then."""
  processes = start(kind, count, place)
  while size(place) < length and all(process.poll() is None for process in processes):
    time.sleep(0.002)
  time.sleep(seconds)
  alive = processes[-1].poll() is None
  processes[-1].send_signal(signal.SIGKILL)
  for process in processes:
    process.communicate()
  return alive


def size(place: Path) -> int:
  """Of the log."""
  log = place / "metrics.jsonl"
  return log.stat().st_size if log.exists() else 0


def newest(place: Path) -> int:
  """The step of the newest complete checkpoint."""
  return max((int(path.name) for path in (place / "checkpoints").glob("*") if path.name.isdigit()), default=0)


if __name__ == "__main__":
  tyro.cli(main)
