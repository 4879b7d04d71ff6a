"""The finished runs of a comparison, each in a file: none is made twice, and several programs can share the work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import claimed, remove, using
from mtl_jax.experiment.comparison import Run
from mtl_jax.train.log import changed_settings, flatten, write_json
from mtl_jax.train.run_dir import read_json

STARTED = "started.json"
"""What determines the comparison."""
RUNS = "runs"
"""The folder of its runs."""


class Finished:
  """The finished runs of a comparison: in the memory of this program, and in a folder where there is one.

  A file holds what counts of a run, JSON. While a program trains, it holds a lock beside the file, which the system
  takes away when the program ends, in whatever way.
  """

  def __init__(self, out_dir: Path | None = None):
    """Those in a directory; None: those of this program alone."""
    self._folder = None if out_dir is None else out_dir / RUNS
    self._runs: dict[tuple[str, int], Run] = {}
    if self._folder is not None:
      with using(self._folder):
        self._folder.mkdir(parents=True, exist_ok=True)

  def _path(self, title: str, seed: int) -> Path:
    assert self._folder is not None
    readable = re.sub(r"\W+", "_", title)[:60]  # a name of the user's is no path
    return self._folder / f"{readable}-{hashlib.sha256(title.encode()).hexdigest()[:8]}-{seed}.json"

  def get(self, title: str, seed: int) -> Run | None:
    """A run; None: it is not finished. A damaged file is told, and its run counts as not finished."""
    if (title, seed) in self._runs or self._folder is None:
      return self._runs.get((title, seed))
    path = self._path(title, seed)
    with using(path):
      if not path.exists():
        return None
      text = path.read_bytes()
    try:
      stored = json.loads(text)
      run = Run(**stored["run"])
      if (stored["title"], stored["seed"]) != (title, seed) or not isinstance(run.test, Mapping):
        raise ValueError("it is of another run")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
      warnings.warn(f"{path} is damaged ({error}): that run is made again.", stacklevel=2)
      return None
    return self._runs.setdefault((title, seed), run)

  def put(self, title: str, seed: int, run: Run) -> None:
    """Keeps a run."""
    self._runs[title, seed] = run
    if self._folder is not None:
      write_json(self._path(title, seed), {"title": title, "seed": seed, "run": run._asdict()})

  @contextlib.contextmanager
  def claim(self, title: str, seed: int) -> Iterator[bool]:
    """Whether this program is to make a run: it is not finished, and no other program is making it."""
    if self._folder is None:
      yield self.get(title, seed) is None
      return
    with claimed(self._path(title, seed).with_suffix(".lock")) as mine:
      yield mine and self.get(title, seed) is None


def holds_comparison(out_dir: Path) -> bool:
  """Whether a comparison has been begun in a directory."""
  with using(out_dir):
    return (out_dir / STARTED).exists()


@contextlib.contextmanager
def unless_in_vain(out_dir: Path) -> Iterator[None]:
  """After a mistake of the user by which no run was finished, nothing of the comparison stays."""
  try:
    yield
  except UserError:
    with contextlib.suppress(OSError):
      if not any((out_dir / RUNS).glob("*.json")):
        remove(out_dir / RUNS)
        (out_dir / STARTED).unlink()
    raise


def begin(out_dir: Path, comparison: Mapping[str, Any]) -> None:
  """Writes down what determines a comparison, or checks that it is the one in the directory.

  Raises:
    UserError: The directory holds another comparison.
  """
  path = out_dir / STARTED
  if not holds_comparison(out_dir):
    write_json(path, comparison)
    return
  before = read_json(path, ": choose another directory")
  if not isinstance(before, dict):
    raise UserError(f"{path} holds {type(before).__name__}, expected an object: choose another directory.")
  different = changed_settings(flatten(before), flatten(json.loads(json.dumps(comparison))))
  if different:
    raise UserError(f"the comparison in {out_dir} was begun with other options: {'; '.join(different.values())}.")
