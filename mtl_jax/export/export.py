"""`export`: a trained model as a file or directory, a card beside it, and the proof that both say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax._core.checks import check_numbers
from mtl_jax._core.errors import UserError, check_choice, reason
from mtl_jax._core.extras import extra
from mtl_jax._core.files import replacing, using
from mtl_jax.data.arrays import leaves_of
from mtl_jax.export.card import card_of
from mtl_jax.export.deployed import Deployed, deployed
from mtl_jax.export.formats import FORMATS
from mtl_jax.train import Trained
from mtl_jax.train.log import write_json

TOLERANCE = 1e-4
"""What an exported model may differ by, in units of an output's largest value, at least 1; not so a quantized one."""


class Exported(NamedTuple):
  """What was written.

  Attributes:
    path: The file, or directory.
    card: The card, JSON.
    difference: The largest difference of an output from the model's, in units of the largest value of that output, at
      least 1.
    examples: On how many examples they were compared.
    batch: The number of examples that it takes at once; None: any.
    size: In bytes.
  """

  path: Path
  card: Path
  difference: float
  examples: int
  batch: int | None
  size: int


def export(
  trained: Trained,
  path: str | Path,
  arrays: Mapping[str, Any],
  *,
  format: str = "stablehlo",
  tasks: Sequence[str] | None = None,
  batch: int | None = None,
  quantize: str | None = None,
  about: Mapping[str, Any] | None = None,
) -> Exported:
  """Writes a trained model as a file, or directory, for another runtime, and a card beside it that explains it.

  What is written is then read by its own runtime, in a process that can import neither this library nor Flax, and run
  on the examples given. Only where it says what the model says do file and card appear. Where weights are quantized it
  cannot say just the same: how far it is off is told, and must be a number.

  Inputs are the arrays that the model reads, by their paths, `x` or `x/image`, of any number of examples; outputs are
  those of `Trained.predict`, `<task>.<output>`, in the units and classes of the labels.

  Args:
    trained: The model, of `mtl.load`, with its tasks.
    path: The file, or for some formats the directory; the card has the same name with `.json` behind it.
    arrays: Some real examples, `{key: (N, ...)}`, as those trained on, to compare by; labels are not needed.
    format: One of `mtl.export.FORMATS`.
    tasks: The tasks to keep; None: all.
    batch: The number of examples that it takes at once; None: any, which not every format can store of every model, or
      that of `Format.batch`.
    quantize: Weights in fewer bits, `"int8"` or `"fp16"`, where the format knows it; None: as they are.
    about: What else the card says, as JSON.

  Returns:
    What was written.

  Raises:
    UserError: The format is unknown, needs an extra or knows no such quantization; an operation cannot be stored, which
      is named; what is written says something else than the model; or it cannot be written.
  """
  check_choice("export", "format", format, FORMATS)
  path, kind = Path(path), FORMATS[format]
  check_quantize(format, quantize)
  model = deployed(trained, tasks)
  check_numbers({"batch_size": 1 if batch is None else batch})
  batch = kind.batch if batch is None else batch
  given = _examples(arrays, model, batch)
  expected = {name: np.asarray(value) for name, value in jax.jit(model.function)(given).items()}
  card, count = path.with_name(path.name + ".json"), _count(given)
  with using(path), replacing(path) as partial:
    if path.is_dir() and any(path.iterdir()):
      raise UserError(f"{path} is a directory that is not empty: choose another name, or delete it.")
    _write(format, model, partial, batch, quantize)
    found = kind.run(model, partial, given, count if batch is None else batch)
    difference = _difference(format, found, expected, TOLERANCE if quantize is None else np.inf)
    record = (
      {"format": format, "quantize": quantize} | card_of(model, batch) | {"file": path.name, "sha256": _digest(partial)}
    )
    write_json(card, record | {"checked": {"examples": count, "difference": difference}, **(about or {})})
  return Exported(path, card, difference, count, batch, sum(file.stat().st_size for file in _files(path)))


def check_quantize(format: str, quantize: str | None) -> None:
  """Fails where a format cannot quantize weights, or not so.

  Args:
    format: One of `mtl.export.FORMATS`.
    quantize: As in `export`.

  Raises:
    UserError: It cannot.
  """
  known = FORMATS[format].quantize
  if quantize is not None and quantize not in known:
    others = f"choose from {', '.join(known)}" if known else "leave it out, or choose another format"
    raise UserError(f"export: {format} cannot be quantized to {quantize!r}: {others}.")


def _digest(path: Path) -> str:
  """The SHA-256 of a file; of a directory that of the lines that `sha256sum` writes of all of its files, sorted."""
  if path.is_file():
    return hashlib.sha256(path.read_bytes()).hexdigest()
  names = sorted(f"./{file.relative_to(path).as_posix()}" for file in _files(path))
  lines = (f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
  return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
  """A file, or all those in a directory."""
  return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _examples(arrays: Mapping[str, Any], model: Deployed, batch: int | None) -> dict[str, np.ndarray]:
  """The inputs among arrays, in the dtypes of the model; with `batch` a multiple of it, some twice if need be."""
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
  count = -(-_count(given) // batch) * batch
  return {name: np.ascontiguousarray(np.resize(values, (count, *values.shape[1:]))) for name, values in given.items()}


def _write(format: str, model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes what is stored; one clear line where the format cannot hold the model."""
  kind = FORMATS[format]
  try:
    with extra(kind.extra, f"export to {format} needs an extra"):
      kind.write(model, path, batch, quantize)
  except (UserError, OSError):
    raise
  except Exception as error:  # whatever a format makes of operations or free shapes that it does not know
    told = f"{batch} examples" if batch else "any number of examples (one number may do: batch)"
    raise UserError(f"this model cannot be exported to {format} for {told}: {reason(error)}.") from error


def _count(arrays: Mapping[str, np.ndarray]) -> int:
  return len(next(iter(arrays.values())))


def _difference(format: str, found: Mapping[str, Any], expected: Mapping[str, np.ndarray], tolerance: float) -> float:
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
    apart = np.abs(np.asarray(found[name], np.float64) - value) / scale
    own = float(apart.max(initial=0.0)) if np.isfinite(apart).all() else np.nan
    if not own <= tolerance:
      raise UserError(f"export: {format} differs in {name} by {own:.1e} of its largest value, expected {tolerance:g}.")
    worst = max(worst, own)
  return worst
