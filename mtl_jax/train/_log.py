"""Logs of a run: JSON lines always, TensorBoard on request; JSON files written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl_jax._errors import UserError


def write_json(path: Path, value: Any) -> None:
  """Writes JSON atomically: readers see the old file or the new one, never a part."""
  partial = path.with_name(path.name + ".partial")
  partial.write_text(json.dumps(value, indent=2, default=_plain) + "\n")
  os.replace(partial, path)


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


class Log:
  """`metrics.jsonl`, one JSON object a line, and TensorBoard events if asked for."""

  def __init__(self, run_dir: Path | None, *, since: int = 0, tensorboard: bool = False):
    """Opens the logs of `run_dir` (None: nothing is written), dropping lines after step `since`."""
    self._file = self._board = None
    if run_dir is None:
      return
    path = run_dir / "metrics.jsonl"
    kept = [line for line in path.read_text().splitlines() if _step(line) <= since] if path.exists() else []
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(line + "\n" for line in kept))
    os.replace(partial, path)
    self._file = path.open("a")
    if tensorboard:
      try:
        from tensorboardX import SummaryWriter
      except ImportError as error:
        raise UserError("TensorBoard logs need an extra: pip install 'mtl-jax[tensorboard]'.") from error
      self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=since)

  def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
    """Adds one line, `{"kind": ..., "step": ..., **flattened values}`; NaN and infinity become null."""
    flat = flatten(values)
    if self._file is not None:
      finite = {key: v if not isinstance(v, float) or math.isfinite(v) else None for key, v in flat.items()}
      self._file.write(json.dumps({"kind": kind, "step": step, **finite}) + "\n")
      self._file.flush()
    if self._board is not None:
      for key, value in flat.items():
        if isinstance(value, int | float):
          self._board.add_scalar(f"{kind}/{key}", value, step)

  def close(self) -> None:
    """Closes the files."""
    for file in (self._file, self._board):
      if file is not None:
        file.close()


def _step(line: str) -> int | float:
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError):  # a line cut by a kill
    return math.inf


def read_log(run_dir: Path) -> list[dict[str, Any]]:
  """The lines of `metrics.jsonl`, without a last one cut by a kill."""
  lines = (run_dir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines if _step(line) < math.inf]
