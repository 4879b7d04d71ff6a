"""`export`: a file of a trained model, a card beside it, and the proof that both say the same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, check_choice, reason
from mtl_jax._core.files import replacing, using
from mtl_jax.data.arrays import leaves_of
from mtl_jax.export.deployed import Deployed, deployed
from mtl_jax.export.formats import FORMATS
from mtl_jax.train import Trained
from mtl_jax.train.log import write_json

TOLERANCE = 1e-4
"""What an exported model may differ by, in units of an output's largest value, at least 1."""

_BARE = """
import sys

class Absent:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in ("mtl_jax", "flax"):
      raise ImportError(name + " is not here")

sys.meta_path.insert(0, Absent())
"""
_MAIN = """
file, given, found = sys.argv[1:]
with numpy.load(given) as arrays:
  outputs = run(file, dict(arrays))
numpy.savez(found, **outputs)
"""


class Exported(NamedTuple):
  """What was written.

  Attributes:
    path: The file.
    card: The card, JSON.
    difference: The largest difference of an output from the model's, in units of the largest value of that output, at
      least 1.
    examples: On how many examples they were compared.
  """

  path: Path
  card: Path
  difference: float
  examples: int


def export(
  trained: Trained,
  path: str | Path,
  arrays: Mapping[str, Any],
  *,
  format: str = "stablehlo",
  tasks: Sequence[str] | None = None,
  batch: int | None = None,
  about: Mapping[str, Any] | None = None,
) -> Exported:
  """Writes a trained model as a file for another runtime, with what its outputs mean on a card beside it.

  The file is then read by its own runtime, in a process that can import neither this library nor Flax, and run on the
  examples given. Only where it says what the model says do file and card appear.

  Inputs are the arrays that the model reads, by their paths, `x` or `x/image`, of any number of examples; outputs are
  those of `Trained.predict`, `<task>.<output>`, in the units and classes of the labels.

  Args:
    trained: The model, of `mtl.load`, with its tasks.
    path: The file; the card has the same name with `.json` behind it.
    arrays: Some real examples, `{key: (N, ...)}`, as those trained on, to compare by; labels are not needed.
    format: One of `mtl.export.FORMATS`.
    tasks: The tasks to keep; None: all.
    batch: The number of examples that the file takes; None: any, which not every format can store of every model.
    about: What else the card says, as JSON.

  Returns:
    What was written.

  Raises:
    UserError: The format is unknown or needs an extra; an operation cannot be stored, which is named; the file says
      something else than the model; or it cannot be written.
  """
  check_choice("export", "format", format, FORMATS)
  path, kind = Path(path), FORMATS[format]
  model = deployed(trained, tasks)
  check_numbers({"batch_size": 1 if batch is None else batch})
  given = _examples(arrays, model, batch)
  expected = {name: np.asarray(value) for name, value in jax.jit(model.function)(given).items()}
  card = path.with_name(path.name + ".json")
  with using(path), replacing(path) as partial:
    partial.write_bytes(_made(format, model, batch))
    found = _run_elsewhere(kind.program, partial, given)
    difference = _difference(format, found, expected)
    record = _card(trained, model, format, batch, path.name, hashlib.sha256(partial.read_bytes()).hexdigest())
    write_json(card, record | {"checked": {"examples": _count(given), "difference": difference}, **(about or {})})
  return Exported(path, card, difference, _count(given))


def _examples(arrays: Mapping[str, Any], model: Deployed, batch: int | None) -> dict[str, np.ndarray]:
  """The inputs among arrays, in the dtypes of the model; with `batch` so many, some of them again if need be."""
  leaves = leaves_of(dict(arrays))
  given = {}
  for name, leaf in model.inputs.items():
    if name not in leaves:
      raise UserError(f"export: the examples have no {name!r}, only {', '.join(leaves)}.")
    values = np.asarray(leaves[name])
    if values.shape[1:] != leaf.shape:
      raise UserError(f"export: input {name!r} has shape {values.shape}, expected {('N', *leaf.shape)}.")
    given[name] = np.ascontiguousarray(values.astype(leaf.dtype))
  if not _count(given):
    raise UserError("export: there are no examples to compare by, expected at least one.")
  if batch is None:
    return given
  return {name: np.ascontiguousarray(np.resize(values, (batch, *values.shape[1:]))) for name, values in given.items()}


def _made(format: str, model: Deployed, batch: int | None) -> bytes:
  """The file; one clear line where the format cannot hold the model."""
  kind = FORMATS[format]
  try:
    return kind.made(model, batch)
  except ImportError as error:
    raise UserError(f"export to {format} needs an extra: pip install 'mtl-jax[{kind.extra}]'.") from error
  except Exception as error:  # whatever a format makes of operations or free shapes that it does not know
    told = f"{batch} examples" if batch else "any number of examples (one number may do: batch)"
    raise UserError(f"this model cannot be exported to {format} for {told}: {reason(error)}.") from error


def _count(arrays: Mapping[str, np.ndarray]) -> int:
  return len(next(iter(arrays.values())))


def _run_elsewhere(program: str, path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """What the file computes in a process of its own, which knows the format alone."""
  with tempfile.TemporaryDirectory() as directory:
    given, found = Path(directory, "given.npz"), Path(directory, "found.npz")
    np.savez(given, **arrays)  # pyright: ignore[reportArgumentType]
    code = _BARE + program + "\nimport numpy\n" + _MAIN
    words = [sys.executable, "-c", code, str(path.absolute()), str(given), str(found)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
      told = (done.stderr.strip().splitlines() or ["no message"])[-1]
      raise UserError(f"export: the file cannot be run in its own runtime: {told}")
    with np.load(found) as outputs:
      return dict(outputs)


def _difference(format: str, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
  """How far outputs are from those of the model; raises a `UserError` where they are others."""
  if found.keys() != expected.keys():
    raise UserError(f"export: {format} gives the outputs {', '.join(found)}, expected {', '.join(expected)}.")
  worst = 0.0
  for name, value in expected.items():
    if found[name].shape != value.shape:
      raise UserError(f"export: {format} gives {name} as {found[name].shape}, expected {value.shape}.")
    if value.dtype.kind != "f":  # classes: nearly equal scores may be ranked otherwise
      continue
    scale = max(1.0, float(np.abs(value).max(initial=0.0)))
    apart = np.abs(found[name].astype(np.float64) - value) / scale
    own = float(apart.max(initial=0.0)) if np.isfinite(apart).all() else np.inf
    if own > TOLERANCE:
      raise UserError(f"export: {format} differs in {name} by {own:.1e} of its largest value, expected {TOLERANCE:g}.")
    worst = max(worst, own)
  return worst


def _card(trained: Trained, model: Deployed, format: str, batch: int | None, name: str, digest: str) -> dict[str, Any]:
  """What a reader of the file needs to know."""

  def told(shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {"shape": [batch, *leaf.shape], "dtype": str(leaf.dtype)} for key, leaf in shapes.items()}

  packages = ("mtl-jax", "jax", "flax")
  return {
    "format": format,
    "file": name,
    "sha256": digest,
    "tasks": list(model.tasks),
    "inputs": told(model.inputs),
    "outputs": told(model.outputs),
    "step": trained.step,
    "data": json.loads(json.dumps(trained.data.about)),
    "versions": {package: importlib.metadata.version(package) for package in packages},
  }
