"""Programs that do a part of a command's work: the same command in other processes, here or on a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax._core.errors import UserError
from mtl_jax._core.extras import extra
from mtl_jax.cli.training import Dotted

SECONDS = 30
"""How long a worker may take to end, with its work done or told to."""


class Worker(NamedTuple):
  """A program that works.

  Attributes:
    working: `working()`: whether it still is.
    failed: `failed()`, of one that has ended: whether it did not do its work.
    end: `end()` ends it.
  """

  working: Callable[[], bool]
  failed: Callable[[], bool]
  end: Callable[[], None]


def words_of(name: str, command: Any, dotted: Dotted) -> list[str]:
  """A command as words: `words_of("compare", ...)` is what comes after `mtl-jax`.

  Args:
    name: Its name.
    command: Its options.
    dotted: Those of the parts that it names.
  """
  words = []
  for field in dataclasses.fields(command):
    value = getattr(command, field.name)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if field.default is dataclasses.MISSING:
      words = [str(value), *words]  # the one that has no name
    elif value != default:
      option = field.name.replace("_", "-")
      if isinstance(value, bool):
        words.append(f"--{option}" if value else f"--no-{option}")
      else:
        words += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
  for part, options in dotted.items():
    words += [f"--{part}.{word[2:]}" if word.startswith("--") else word for word in options]
  return [name, *words]


def in_processes(commands: Sequence[Sequence[str]], logs: Path, options: dict[str, Any]) -> Iterator[Worker]:
  """Processes of this machine."""
  del options
  for number, words in enumerate(commands):
    with (logs / f"{number}.log").open("w") as log:
      process = subprocess.Popen([sys.executable, "-m", "mtl_jax", *words], stdout=log, stderr=subprocess.STDOUT)

    def end(process: subprocess.Popen[bytes] = process) -> None:
      process.terminate()
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS)
      process.kill()

    yield Worker(lambda process=process: process.poll() is None, lambda process=process: bool(process.returncode), end)


@contextlib.contextmanager
def _asked(cluster: str) -> Iterator[None]:
  """Within it what a scheduler has to say is one line."""
  try:
    yield
  except Exception as error:
    raise UserError(f"{cluster} takes no jobs: {error}") from error


def by_submitit(cluster: str) -> Callable[..., Iterator[Worker]]:
  """Jobs of Slurm, or `"local"` ones, by the library submitit."""

  def start(commands: Sequence[Sequence[str]], logs: Path, options: dict[str, Any]) -> Iterator[Worker]:
    with extra("slurm", f"jobs on {cluster} need an extra"):
      submitit: Any = importlib.import_module("submitit")
    with _asked(cluster):
      executor = submitit.AutoExecutor(logs, cluster=cluster)
      executor.update_parameters(**({"timeout_min": 60 * 24} | options))
      jobs = [
        executor.submit(submitit.helpers.CommandFunction([sys.executable, "-m", "mtl_jax", *words]))
        for words in commands
      ]
    for job in jobs:
      yield Worker(lambda job=job: not job.done(), lambda job=job: job.exception() is not None, job.cancel)

  return start


def by_ray(commands: Sequence[Sequence[str]], logs: Path, options: dict[str, Any]) -> Iterator[Worker]:
  """Tasks of a Ray cluster, that of the environment or a local one."""
  with extra("ray", "jobs on ray need an extra"):
    ray: Any = importlib.import_module("ray")

  def run(words: list[str], log: str) -> int:
    with open(log, "w") as file:
      return subprocess.run(
        [sys.executable, "-m", "mtl_jax", *words], stdout=file, stderr=subprocess.STDOUT, check=False
      ).returncode

  with _asked("ray"):
    if not ray.is_initialized():
      with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # of JAX; what Ray starts are other programs
        ray.init(log_to_driver=False, logging_level="warning")
    remote = ray.remote(**({"num_cpus": 1} | options))(run)
  for number, words in enumerate(commands):
    found = remote.remote(list(words), str(logs / f"{number}.log"))
    yield Worker(
      lambda found=found: not ray.wait([found], timeout=0)[0],
      lambda found=found: ray.get(found) != 0,
      lambda found=found: ray.cancel(found, force=True),
    )


WHERE: dict[str, Callable[..., Iterator[Worker]]] = {
  "processes": in_processes,
  "local": by_submitit("local"),
  "slurm": by_submitit("slurm"),
  "ray": by_ray,
}
"""Where workers can be: `start(commands, logs, options)` starts them."""


def numbers(words: Sequence[str]) -> dict[str, Any]:
  """Options of a cluster, `--partition gpu --cpus-per-task 4`, as arguments.

  >>> numbers(("--partition", "gpu", "--cpus-per-task", "4"))
  {'partition': 'gpu', 'cpus_per_task': 4}
  """
  names, values = words[::2], words[1::2]
  if len(names) != len(values) or not all(name.startswith("--") for name in names):
    raise UserError(f"--cluster: found {' '.join(words)}, expected one value for each option.")
  pairs = zip(names, values, strict=True)
  return {name[2:].replace("-", "_"): int(value) if value.isdigit() else value for name, value in pairs}
