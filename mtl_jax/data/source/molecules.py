"""Toxicity and bioactivity of molecules: four sets of MoleculeNet, each with many tasks and missing labels."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError, check_choice, reason
from mtl_jax.data import smiles as _smiles
from mtl_jax.data.source._folder import arrays_of, folder
from mtl_jax.data.source._lines import text_of

_FOLDER = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets"
_FILES = {"tox21": "tox21", "sider": "sider", "clintox": "clintox", "toxcast": "toxcast_data"}
_WRITTEN = {0: ("0", "0.0"), 1: ("1", "1.0"), -1: ("",)}
_KEPT = ("ecfp4", "scaffold", "valid")


class Molecules(NamedTuple):
  """A set of molecules.

  Attributes:
    tasks: The T columns of the labels, by the names that the set has for them.
    labels: (N, T) int8, 0 or 1, and -1 where the label is missing.
    smiles: (N,) the molecules in words.
    fingerprints: (N, 1024) uint8, 0 or 1, as `mtl.data.smiles.fingerprints` makes them.
    scaffolds: (N,) a number for each Bemis-Murcko scaffold, as `mtl.data.smiles.scaffolds` makes them.
  """

  tasks: tuple[str, ...]
  labels: np.ndarray
  smiles: np.ndarray
  fingerprints: np.ndarray
  scaffolds: np.ndarray


def molecules(name: str, data_dir: str | os.PathLike[str] | None = None) -> Molecules:
  """A set of MoleculeNet, without the few molecules that RDKit cannot read.

  Args:
    name: `"tox21"` (8006 molecules, 12 tasks), `"sider"` (1427, 27), `"clintox"` (1487, 2) or `"toxcast"` (8597, 617).
    data_dir: A directory with MoleculeNet's file `molecules/NAME.csv.gz`; None: that of the environment variable
      `MTL_JAX_DATA`. Fingerprints and scaffolds are made by RDKit, unless the arrays `ecfp4` (N, 128), their bits
      packed by `np.packbits`, `scaffold` (N,) and `valid` (N,) of the file's rows lie in `molecules/NAME.npz`.

  Returns:
    The molecules.

  Raises:
    UserError: An unknown set; no directory is given; a file is missing or is another; RDKit is needed and missing.

  References:
    Wu et al., *MoleculeNet: A Benchmark for Molecular Machine Learning*, 2018.
  """
  check_choice("molecules", "set", name, _FILES)
  directory = folder(data_dir)
  what = f"get {_FOLDER}/{_FILES[name]}.csv.gz and put it"
  if directory is None:
    raise UserError(
      f"{name} is not here: {what} at D/molecules/{name}.csv.gz of a directory D, and set MTL_JAX_DATA=D."
    )
  path = directory / "molecules" / f"{name}.csv.gz"
  if not path.is_file():
    raise UserError(f"{name} is not at {path}: {what} there.")
  tasks, labels, smiles = _read(path)
  kept = path.with_name(f"{name}.npz")
  if kept.is_file():
    valid, fingerprints, scaffolds = _made(kept, len(smiles))
    return Molecules(tasks, labels[valid], smiles[valid], fingerprints[valid], scaffolds[valid])
  valid = _smiles.readable(smiles)
  own = smiles[valid]
  return Molecules(tasks, labels[valid], own, _smiles.fingerprints(own), _smiles.scaffolds(own))


def _read(path: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
  advice = "get the file once more"
  text = io.StringIO(text_of(path, advice), newline="")
  try:
    header, *rows = csv.reader(text)
  except (csv.Error, ValueError) as error:  # of an empty file there is no header
    raise UserError(f"molecules: cannot read {path}: {reason(error).rstrip('.')}: {advice}.") from error
  if "smiles" not in header:
    raise UserError(f"{path} has the columns {', '.join(header[:4])}, expected one named smiles, as in MoleculeNet.")
  if not rows:
    raise UserError(f"{path} holds no molecules, expected a row for each.")
  for row in rows:
    if len(row) != len(header):
      raise UserError(f"{path} has a row of {len(row)} columns, expected {len(header)}: {advice}.")
  columns = dict(zip(header, zip(*rows, strict=True), strict=True))
  smiles = np.array(columns.pop("smiles"))
  columns.pop("mol_id", None)
  words = np.array(list(columns.values())).T
  labels = np.full(words.shape, -2, np.int8)
  for value, written in _WRITTEN.items():
    labels[np.isin(words, written)] = value
  if (labels == -2).any():
    raise UserError(f"{path} has the label {str(words[labels == -2][0])!r}, expected 0, 1 or nothing.")
  return tuple(columns), labels, smiles


def _made(path: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """What RDKit has made of the molecules before: which it could read, fingerprints and scaffolds."""
  found = arrays_of("molecules", path, _KEPT)
  for key, values in found.items():
    if len(values) != count:
      raise UserError(
        f"{path} has {len(values)} rows of {key}, expected {count} rows as in the file beside it: delete it, or make "
        "it anew."
      )
  packed, scaffolds, valid = (found[key] for key in _KEPT)
  return valid, np.unpackbits(packed, axis=1), scaffolds
