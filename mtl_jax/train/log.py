"""Logs of a run: JSON lines always, TensorBoard on request; JSON files written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax._core.extras import extra
from mtl_jax._core.files import replacing, using
from mtl_jax._core.finite import finite

METRICS = "metrics.jsonl"


def write_json(path: Path, value: Any) -> None:
  """Writes JSON atomically: readers see the old file or the new one, never a part."""
  _replace(path, json.dumps(value, indent=2, default=_plain) + "\n")


def _replace(path: Path, text: str) -> None:
  with using(path), replacing(path) as partial:
    partial.write_text(text)


def _plain(value: Any) -> Any:
  return value.tolist() if hasattr(value, "tolist") else str(value)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """A nested mapping of numbers as one, keys joined by `/`.

  >>> flatten({"losses": {"left": 0.5}, "step": 3})
  {'losses/left': 0.5, 'step': 3}
  """
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    flat |= flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
  return flat


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
  """What is other in flat settings, in words by its key; an option that an older version did not have is not given.

  >>> changed_settings({"steps": 3, "seed": 0}, {"steps": 5, "seed": 0, "frozen": []})
  {'steps': 'steps was 3, is 5'}
  """

  def meant(value: Any) -> Any:
    return None if value == [] else value

  both = sorted(before.keys() | now.keys())
  different = [key for key in both if meant(before.get(key)) != meant(now.get(key))]
  return {key: f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in different}


class Log:
  """`metrics.jsonl`, one JSON object a line, and TensorBoard events if asked for."""

  def __init__(self, run_dir: Path | None, *, since: int = 0, tensorboard: bool = False):
    """Opens the logs of `run_dir` (None: nothing is written), dropping lines after step `since`."""
    self._file = self._board = self._run_dir = None
    if run_dir is None:
      return
    self._run_dir, self._path = run_dir, run_dir / METRICS
    self.rewind(since)
    if tensorboard:
      with extra("tensorboard", "TensorBoard logs need an extra"):
        from tensorboardX import SummaryWriter
      self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=since)

  def rewind(self, since: int) -> None:
    """Drops the lines after step `since`, that of a checkpoint which the run goes on from."""
    if self._run_dir is None:
      return
    if self._file is not None:
      self._file.close()
    _replace(self._path, "".join(line + "\n" for line in _lines(self._run_dir) if _step(line) <= since))
    with using(self._path):
      self._file = self._path.open("a")

  def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
    """Adds one line, `{"kind": ..., "step": ..., **flattened values}`; NaN and infinity become null."""
    flat = flatten(values)
    if self._file is not None:
      with using(self._path):
        self._file.write(json.dumps(finite({"kind": kind, "step": step, **flat})) + "\n")
        self._file.flush()
    if self._board is not None:
      for key, value in flat.items():
        if isinstance(value, int | float):
          self._board.add_scalar(f"{kind}/{key}", value, step)

  def close(self) -> None:
    """Closes the files."""
    for file in (self._file, self._board):
      if file is not None:
        with contextlib.suppress(OSError):  # each line has been written; a full disk has been told
          file.close()

  def __enter__(self) -> Log:
    """The log itself."""
    return self

  def __exit__(self, *error: Any) -> None:
    """Closes the files."""
    self.close()


def _step(line: str) -> int | float:
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError, TypeError):  # a line cut by a kill
    return math.inf


def read_log(run_dir: Path) -> list[dict[str, Any]]:
  """The lines of `metrics.jsonl`, without a last one cut by a kill; a file that is gone is told."""
  if not (run_dir / METRICS).exists():
    warnings.warn(f"{run_dir / METRICS} is gone: the history of the run before now is lost.", stacklevel=2)
  return [json.loads(line) for line in _lines(run_dir) if _step(line) < math.inf]


def _lines(run_dir: Path) -> list[str]:
  path = run_dir / METRICS
  with using(path):
    return path.read_text(errors="replace").splitlines() if path.exists() else []
