"""`mtl-jax serve` under load: answers per second and their delay, memory over minutes, overload, and a stop.

`python benchmarks/serve.py`, a quarter of an hour. Service and clients are processes of their own on this machine, and
share its cores, so a service alone does better.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from _clients import Load, ask
from _machine import describe, write
from _markdown import table

PYTHON = [sys.executable, "-m", "mtl_jax"]


class Service(NamedTuple):
  """A service in a process of its own."""

  process: subprocess.Popen
  port: int
  log: Path

  def memory(self) -> float:
    """Its resident memory in MiB."""
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
    return int(line) / 1024

  def answered(self) -> int:
    """How many requests for predictions it has answered with 200, by its own log."""
    return self.log.read_text().count("POST /predict 200")


def main(clients: tuple[int, ...] = (1, 8, 64), seconds: float = 10.0, minutes: float = 10.0, run: Path | None = None):
  """Writes benchmarks/results/serve.md.

  Args:
    clients: How many clients ask at once.
    seconds: How long, for each of these numbers.
    minutes: How long the memory is watched.
    run: A run of the recipe `digits`; None: one of 200 steps is made.
  """
  with tempfile.TemporaryDirectory() as directory:
    place = Path(directory)
    if run is None:
      run = place / "run"
      subprocess.run([*PYTHON, "train", "digits", "--steps", "200", "--run-dir", str(run)], check=True)
    x = np.random.default_rng(0).random((12, 12, 1), np.float32).round(3)
    lists = json.dumps({"examples": [{"x": x.tolist()}]}).encode()
    text = json.dumps({"examples": [{"x": base64.b64encode(x.tobytes()).decode()}]}).encode()
    eight = json.dumps({"examples": [{"x": base64.b64encode(x.tobytes()).decode()}] * 8}).encode()
    with served(run, place) as service:
      before = service.memory()
      bodies = {"lists": lists, "base64": text, "base64, 8 examples": eight}
      speed = [line(service, name, body, count, seconds) for name, body in bodies.items() for count in clients]
      memory, load = watched(service, text, 60 * minutes)
      exit_code, stopped, accepted = stop(service, text)
    with served(run, place, "--queue", "8", "--max-batch-size", "4") as service:
      crowd = asyncio.run(ask(service.port, 64, seconds, text, patience=0.2))
      after = asyncio.run(ask(service.port, 4, 2.0, text))
  write(
    "serve.md",
    f"""# A service under load

`python benchmarks/serve.py --seconds {seconds:g} --minutes {minutes:g}`

{describe("starlette", "uvicorn", "httptools")}; {len(os.sched_getaffinity(0))} of the cores for service and clients
together; load average {os.getloadavg()[0]:.1f}.

Recipe `digits` (a small CNN, three tasks), defaults of `mtl-jax serve`: batches of up to 32 examples, which wait for 2
ms for others. Clients keep their connection and have one request at a time on its way. *lists*: an example of 144
numbers as JSON; *base64*: the same as text.

{table(["body", "clients", "requests/s", "p50 ms", "p99 ms", "other than 200"], speed)}

## Memory

64 clients for {minutes:g} minutes, {len(load.latencies):,} answers, {others(load)} other than 200. Resident memory of
the service in MiB: {before:.0f} when it was ready; then, at equal distances of time, \
{", ".join(f"{value:.0f}" for value in memory)}.

## More clients than places

`--queue 8 --max-batch-size 4`, 64 clients for {seconds:g} s; who is refused waits for 0.2 s.

{table(["status", "answers"], [[status, f"{count:,}"] for status, count in sorted(crowd.statuses.items())])}

Afterwards 4 clients: {after.statuses["200"]:,} answers of status 200, {others(after)} others.

## A stop

SIGTERM while 64 clients ask: the service logged {accepted:,} answers of status 200, the clients read
{stopped.statuses["200"]:,}; {stopped.statuses["lost"]} requests met a connection that had been closed and were not
accepted. Exit code {exit_code}.
""",
  )


@contextlib.contextmanager
def served(run: Path, place: Path, *words: str) -> Iterator[Service]:
  """A service that is ready."""
  log = place / f"log{time.time_ns()}"
  with log.open("w") as out:
    process = subprocess.Popen([*PYTHON, "serve", str(run), "--port", "0", *words], stdout=out, stderr=out)
  try:
    while not (found := re.search(r"listening on http://127.0.0.1:(\d+)", log.read_text())):
      assert process.poll() is None, log.read_text()
      time.sleep(0.1)
    service = Service(process, int(found[1]), log)
    while not ready(service.port):
      time.sleep(0.1)
    yield service
  finally:
    process.kill()
    process.wait()


def ready(port: int) -> bool:
  """Whether the service answers."""
  try:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
      return True
  except urllib.error.HTTPError:
    return False


def line(service: Service, name: str, body: bytes, clients: int, seconds: float) -> list[str]:
  """A line of the table."""
  asyncio.run(ask(service.port, clients, 1.0, body))  # warms up
  load = asyncio.run(ask(service.port, clients, seconds, body))
  p50, p99 = (f"{1000 * np.quantile(load.latencies, q):.1f}" for q in (0.5, 0.99))
  return [name, str(clients), f"{len(load.latencies) / load.seconds:.0f}", p50, p99, str(others(load))]


def others(load: Load) -> int:
  """How many answers were of another status than 200."""
  return load.statuses.total() - load.statuses["200"]


def watched(service: Service, body: bytes, seconds: float) -> tuple[list[float], Load]:
  """The memory at ten times, while 64 clients ask."""

  async def both():
    async def look():
      found = []
      for _ in range(10):
        await asyncio.sleep(seconds / 10)
        found.append(service.memory())
      return found

    return await asyncio.gather(look(), ask(service.port, 64, seconds, body))

  return asyncio.run(both())


def stop(service: Service, body: bytes) -> tuple[int, Load, int]:
  """The exit code after SIGTERM amid requests, what clients saw, and how many the service says it answered."""
  earlier = service.answered()

  async def both():
    async def end():
      await asyncio.sleep(2)
      service.process.send_signal(signal.SIGTERM)

    return await asyncio.gather(ask(service.port, 64, 4.0, body), end())

  load, _ = asyncio.run(both())
  code = service.process.wait(60)
  return code, load, service.answered() - earlier


if __name__ == "__main__":
  tyro.cli(main)
